"""Why a plan is as it is: which limits hold the gain down, and which contradict each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.assembly import Assembly
from stableyield.allocation.feasibility import (
    GROUP_CAPS,
    LEVERS,
    MIN_INVESTED,
    MIN_POOLS,
    SHARE_CAPS,
    SIZES,
    TVL_CAPS,
    Feasibility,
    Lever,
    is_amount,
    weakest,
)
from stableyield.allocation.milp import AllocationModel
from stableyield.allocation.plan import Limit
from stableyield.allocation.problem import AllocationProblem
from stableyield.allocation.solver import SolverResult
from stableyield.allocation.sparse import SparseModel
from stableyield.config import AllocationParameters
from stableyield.domain.pool import PoolState

Floats = NDArray[np.float64]

WORTH_TELLING = 1e-9  # USD of gain per USD of limit


def binding_limits(
    problem: AllocationProblem, model: AllocationModel, result: SolverResult
) -> list[dict[str, Any]]:
    """Limits that bind, with USD of gain per extra USD of limit, the most valuable first.

    The values are the duals of the program with its on-off decisions fixed: what a little more room
    brings to the same transactions. A group that is over its cap by less than ``cap_tolerance`` has
    the value of room above what is held. Parameters that are the same cap are named together.
    """
    x = result.x
    if x is None or result.row_dual is None or result.column_dual is None:
        return []
    scale = 1.0 / 1000.0  # objective units per money unit to USD per USD
    row, column = result.row_dual * scale, result.column_dual * scale
    value: dict[tuple[str, str], float] = {}
    deposits = model.deposits
    # a deposit that does not happen has an excess of 0 by its switch, not by a cap
    happens = np.round(x[deposits.binary]) == 1
    for pool, at_row, at_column in zip(
        deposits.pool[happens],
        row[deposits.row[happens]],
        column[deposits.excess[happens]],
        strict=True,
    ):
        key = (tightest_cap(problem, int(pool)), problem.pools[pool].pool_id)
        value[key] = value.get(key, 0.0) + max(at_row, 0.0) + max(at_column, 0.0)
    capped = _capped_columns(model.sparse)
    for number, (name, dual) in enumerate(zip(model.sparse.row_names, row, strict=True)):
        if name.startswith("position cap "):
            pool = int(name.removeprefix("position cap "))
            if round(x[model.used[pool]]) == 0:
                continue
            key = (tightest_cap(problem, pool), problem.pools[pool].pool_id)
            value[key] = value.get(key, 0.0) + dual + max(column[capped[number]], 0.0)
        elif name.startswith("group "):
            value[f"group{name.removeprefix('group ')}_max_pct", ""] = dual
        elif name == "min_invested_pct":
            value[name, ""] = -dual
    rows = [
        {"limit": limit, "pool_id": pool_id or None, "usd_per_usd": float(gain)}
        for (limit, pool_id), gain in value.items()
        if gain > WORTH_TELLING
    ]
    return sorted(rows, key=lambda r: (-r["usd_per_usd"], r["limit"], r["pool_id"] or ""))


def _capped_columns(model: SparseModel) -> dict[int, int]:
    """Column of the final position by row of a held pool's cap: its bound is the cap once more."""
    is_cap = np.array([name.startswith("position cap ") for name in model.row_names], dtype=bool)
    entries = np.flatnonzero(is_cap[model.index])
    columns = np.repeat(np.arange(len(model.cost)), np.diff(model.start))[entries]
    is_position = ~model.integer[columns]
    rows = model.index[entries][is_position]
    return dict(zip(rows.tolist(), columns[is_position].tolist(), strict=True))


def tightest_cap(problem: AllocationProblem, pool: int) -> str:
    """The parameter that caps the position in a pool; "a and b" where two give the same cap."""
    p = problem.parameters
    caps = {
        "max_alloc_percentage": p.max_alloc_percentage * problem.aum_usd,
        "position_max_pct_total_assets": p.position_max_pct_total_assets * problem.aum_usd,
        "tvl_limit_percentage": p.tvl_limit_percentage * problem.tvl_usd[pool],
        "position_max_pct_pool_tvl": p.position_max_pct_pool_tvl
        / (1.0 - p.position_max_pct_pool_tvl)
        * problem.others_usd[pool],
    }
    if p.profit_optimization:
        del caps["max_alloc_percentage"], caps["position_max_pct_total_assets"]
    lowest = min(caps.values())
    return " and ".join(name for name, cap in caps.items() if cap == lowest)


# --- infeasibility --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contradiction:
    """The fewest limits that cannot be met together: without any of them the others can be.

    Parameters
    ----------
    limits : tuple of Lever
        In the order in which one would rather give them up; empty: gas that cannot be paid.
    remedies : tuple of dict
        Limits and the nearest values at which there is a plan; each dict is enough. One with
        several limits is for all contradictions of the problem together.
    """

    limits: tuple[Lever, ...]
    remedies: tuple[dict[Lever, float], ...] = ()


def contradictions(asked: Feasibility) -> list[Contradiction]:
    """What keeps a problem from having a plan; no limit occurs twice.

    Returns
    -------
    list of Contradiction
        Empty when there is a plan, or when it was not found in time that there is none.
    """
    found: list[tuple[Lever, ...]] = []
    lifted: dict[Lever, float] = {}
    if asked.is_met(weakest(LEVERS)) is False:
        return [Contradiction(())]
    while asked.is_met(lifted) is False:
        found.append(asked.smallest_conflict(tuple(lifted)))
        lifted |= weakest(found[-1])
    alone = [lever for lever in lifted if len(found) == 1 and asked.is_met(weakest([lever]))]
    remedies = [{lever: asked.nearest(lever, {})} for lever in alone]
    if not remedies and asked.is_met(lifted):
        remedies = [asked.nearest_together([lever for lever in LEVERS if lever in lifted])]
    return [Contradiction(limits, tuple(remedies)) for limits in found]


def why_infeasible(problem: AllocationProblem) -> tuple[Limit, ...]:
    """The limits that no plan can meet together, one row for each contradiction.

    ``needed`` and ``available`` are about the first limit named: pools, USD to be invested, or the
    value of a limit. The detail says at which nearest values there is a plan.
    """
    asked = Feasibility(problem)
    found = contradictions(asked)
    if found:
        return tuple(_row(problem, one) for one in found)
    was_found_out = asked.is_met({}) is not None
    why = "no limit is to blame: report this as a bug" if was_found_out else "not found in time"
    return (Limit("unknown", math.nan, math.nan, f"which limits contradict each other: {why}"),)


def relaxed(problem: AllocationProblem) -> tuple[AllocationProblem, list[str]] | None:
    """The problem with limits relaxed until it can be met, and what was relaxed; None if never.

    As few are given up as are needed, in this order: ``min_pools``, ``min_invested_pct``, the group
    caps. None gives more than it must: group 3 stays nearest to its cap, then group 2, group 1,
    ``min_invested_pct`` and last ``min_pools``. Each note has one old and new value.
    """
    asked = Feasibility(problem)
    for levers in ((MIN_POOLS,), (MIN_POOLS, MIN_INVESTED), (MIN_POOLS, MIN_INVESTED, *GROUP_CAPS)):
        if not asked.is_met(weakest(levers)):
            continue
        values = asked.nearest_together(levers)
        old = problem.parameters.model_dump()
        notes = [
            f"{name} relaxed from {old[name]:g} to {new:g}"
            for name, new in asked.changes(values).items()
        ]
        return asked.with_values(values), notes
    return None


# --- in words -------------------------------------------------------------------------------------


def _row(problem: AllocationProblem, found: Contradiction) -> Limit:
    if not found.limits:
        gas_usd = Assembly(problem).exit_gas_usd
        detail = f"gas of what must leave, {gas_usd:,.2f} USD at least, cannot be paid"
        return Limit("gas", gas_usd, problem.aum_usd, detail)
    p, first = problem.parameters, found.limits[0]
    nearest = {lever: value for remedy in found.remedies for lever, value in remedy.items()}
    needed, available = first.value(p), nearest.get(first, math.nan)
    if first == MIN_POOLS:
        needed, size_usd = float(problem.min_pools), problem.count_threshold_usd
        detail = f"{needed:g} pools of at least {size_usd:,.2f} USD are demanded"
        detail += f", {available:g} can be had" if math.isfinite(available) else ""
        detail += _too_small(problem, found.limits)
    elif first == MIN_INVESTED:
        needed, available = needed * problem.aum_usd, available * problem.aum_usd
        detail = f"{needed:,.2f} USD must be invested"
        detail += f", there is room for {available:,.2f}" if math.isfinite(available) else ""
    else:
        needed, available = available, needed
        detail = "money has to leave pools, and cannot or cannot pay the gas"
    names = [name for lever in found.limits for name in lever.strictest(p)]
    detail += f" ({', '.join(f'{name} = {_worded(name, getattr(p, name))}' for name in names)})"
    if found.remedies:
        detail += f"; {', or '.join(_advice(p, remedy) for remedy in found.remedies)}"
    return Limit(" and ".join(names), needed, available, detail)


def _too_small(problem: AllocationProblem, limits: Iterable[Lever]) -> str:
    """How many pools cannot be of real size, where that has to do with it."""
    is_open = problem.state == PoolState.OPEN.value
    n = int(np.count_nonzero(is_open & (problem.cap_usd < problem.count_threshold_usd)))
    if n == 0 or not {SHARE_CAPS, TVL_CAPS, *SIZES} & set(limits):
        return ""
    return f"; {n} open {'pool is' if n == 1 else 'pools are'} capped below that size"


def _advice(parameters: AllocationParameters, remedy: Mapping[Lever, float]) -> str:
    steps = []
    for lever, value in remedy.items():
        names = list(lever.at(parameters, value))
        verb = "raise" if lever.is_cap else "lower"
        steps.append(f"{verb} {' and '.join(names)} to {_worded(names[0], value)}")
    return " and ".join(steps)


def _worded(name: str, value: float) -> str:
    if name in MIN_POOLS.names:
        return f"{value:g}"
    return f"{value:,.2f} USD" if is_amount(name) else f"{100.0 * value:g} %"
