"""Why a plan is as it is: which limits hold the gain down, and which contradict each other."""

from __future__ import annotations

import math
from itertools import chain, combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.milp import AllocationModel, build_model
from stableyield.allocation.plan import Limit
from stableyield.allocation.problem import AllocationProblem
from stableyield.allocation.solver import Effort, SolverResult, solve_mip
from stableyield.config import AllocationParameters
from stableyield.domain.pool import PoolState

Bools = NDArray[np.bool_]

WORTH_TELLING = 1e-9  # USD of gain per USD of limit


def binding_limits(
    problem: AllocationProblem, model: AllocationModel, result: SolverResult
) -> list[dict[str, Any]]:
    """Limits that bind, with USD of gain per extra USD of limit, the most valuable first.

    The values hold for small changes with the same set of transactions: they are the duals of the
    program with its on-off decisions fixed.
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
    for name, dual in zip(model.sparse.row_names, row, strict=True):
        if name.startswith("position cap "):
            pool = int(name.removeprefix("position cap "))
            if round(x[model.used[pool]]) == 0:
                continue
            key = (tightest_cap(problem, pool), problem.pools[pool].pool_id)
            value[key] = value.get(key, 0.0) + dual
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


def tightest_cap(problem: AllocationProblem, pool: int) -> str:
    """Name of the parameter that caps the position in a pool."""
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
    return min(caps, key=lambda name: caps[name])


# --- infeasibility --------------------------------------------------------------------------------


def why_infeasible(problem: AllocationProblem) -> tuple[Limit, ...]:
    """The limits that no plan can meet together, with what they need and what there is.

    Counting explains most cases at once; what is left is found by lifting one limit at a time and
    solving again.
    """
    found = [*_too_few_pools(problem), *_too_little_room(problem)]
    return tuple(found) if found else _by_lifting(problem)


def relaxed(problem: AllocationProblem) -> tuple[AllocationProblem, list[str]] | None:
    """The problem with limits relaxed until it can be met, and what was relaxed; None if never.

    Order: ``min_pools`` down to what is possible, ``min_invested_pct`` to 0, group caps to 1. Each
    note names one step with the old and the new value.
    """
    notes: list[str] = []
    for names in (("min_pools",), ("min_invested_pct",), _GROUP_CAPS):
        before = problem.parameters
        if (lifted := _lifted(before, names)) == before:
            continue
        problem = problem.with_parameters(lifted)
        if is_feasible(problem):
            if names == ("min_pools",):
                problem = _most_pools(problem.with_parameters(before))
            return problem, [*notes, *_steps(before, problem.parameters, names)]
        notes += _steps(before, problem.parameters, names)
    return None


def is_feasible(problem: AllocationProblem) -> bool:
    """Whether any plan meets all limits."""
    effort = Effort(math.inf, problem.parameters.time_limit_seconds)
    result = solve_mip(build_model(problem).sparse, effort)
    return result.x is not None


_GROUP_CAPS = ("group1_max_pct", "group2_max_pct", "group3_max_pct")


def _lifted(parameters: AllocationParameters, names: tuple[str, ...]) -> AllocationParameters:
    values = {name: 1.0 if name in _GROUP_CAPS else 0 for name in names}
    return parameters.model_copy(update=values)


def _most_pools(problem: AllocationProblem) -> AllocationProblem:
    """The problem with the largest ``min_pools`` that can be met; 0 is known to be possible."""
    possible, impossible = 0, problem.min_pools
    while impossible - possible > 1:
        middle = (possible + impossible) // 2
        update = {"min_pools": middle}
        if is_feasible(problem.with_parameters(problem.parameters.model_copy(update=update))):
            possible = middle
        else:
            impossible = middle
    return problem.with_parameters(problem.parameters.model_copy(update={"min_pools": possible}))


def _steps(
    before: AllocationParameters, after: AllocationParameters, names: tuple[str, ...]
) -> list[str]:
    old, new = before.model_dump(), after.model_dump()
    return [
        f"{name} relaxed from {old[name]:g} to {new[name]:g}"
        for name in names
        if old[name] != new[name]
    ]


def _able(problem: AllocationProblem) -> Bools:
    """Pools that can end with a position of real size."""
    drifted = problem.count_threshold_usd * (1.0 - problem.parameters.cap_tolerance)
    state = problem.state
    stays = np.isin(state, [s.value for s in (PoolState.OPEN, PoolState.WITHDRAW_ONLY)])
    can_grow = (state == PoolState.OPEN.value) & (problem.cap_usd >= problem.count_threshold_usd)
    is_big = (stays | (state == PoolState.FROZEN.value)) & (problem.position_usd >= drifted)
    result: Bools = can_grow | is_big
    return result


def _too_few_pools(problem: AllocationProblem) -> list[Limit]:
    wanted, size = problem.min_pools, problem.count_threshold_usd
    if wanted == 0:
        return []
    able = _able(problem)
    of_all = f"{wanted} pools of at least {size:,.2f} USD are demanded"
    found = []
    if (n_able := int(able.sum())) < wanted:
        open_pools = problem.state == PoolState.OPEN.value
        small = int(np.count_nonzero(open_pools & (problem.cap_usd < size)))
        detail = f"{of_all}, {n_able} of {len(able)} can hold that"
        if small > 0:
            detail += f"; {small} {'is' if small == 1 else 'are'} capped below it"
        found.append(Limit("min_pools", wanted, n_able, detail))
    by_money = math.floor(problem.aum_usd / size * (1.0 + 1e-9)) if size > 0.0 else wanted
    if by_money < wanted:
        detail = f"{of_all}, the money is enough for {by_money}"
        found.append(Limit("min_pool_share", wanted * size, problem.aum_usd, detail))
    room = int(np.count_nonzero(able & (problem.group == 0)))
    for group, cap_usd in problem.group_cap_usd.items():
        members = int(np.count_nonzero(able & (problem.group == group)))
        tolerant = cap_usd * (1.0 + problem.parameters.cap_tolerance)
        fits = math.floor(tolerant / size * (1.0 + 1e-9)) if size > 0.0 else members
        room += min(members, fits)
    if not found and room < wanted:
        caps = ", ".join(f"{g}: {cap:,.0f} USD" for g, cap in problem.group_cap_usd.items())
        detail = f"{of_all}, the group caps ({caps}) leave room for {room}"
        found.append(Limit("group caps and min_pools", wanted, room, detail))
    return found


def _too_little_room(problem: AllocationProblem) -> list[Limit]:
    needed = problem.parameters.min_invested_pct * problem.aum_usd
    stays = problem.state != PoolState.EXIT.value
    can_grow = problem.state == PoolState.OPEN.value
    most = np.where(can_grow, np.maximum(problem.cap_usd, problem.position_usd), 0.0)
    most = np.where(~can_grow & stays, problem.position_usd, most)
    room = float(most[problem.group == 0].sum())
    for group, cap_usd in problem.group_cap_usd.items():
        tolerant = cap_usd * (1.0 + problem.parameters.cap_tolerance)
        room += min(float(most[problem.group == group].sum()), tolerant)
    if room >= needed:
        return []
    detail = f"{needed:,.2f} USD must be invested, caps leave room for {room:,.2f} USD"
    return [Limit("min_invested_pct", needed, room, detail)]


def _by_lifting(problem: AllocationProblem) -> tuple[Limit, ...]:
    """The limits without which there is a plan: single ones, else the fewest that must go together.

    Gas is to blame only when no limit is.
    """
    families = {
        names: needed
        for names, needed in (
            (("min_pools",), float(problem.min_pools)),
            (("min_invested_pct",), problem.parameters.min_invested_pct * problem.aum_usd),
            (_GROUP_CAPS, math.nan),
        )
        if _lifted(problem.parameters, names) != problem.parameters
    }
    for n_together in range(1, len(families) + 1):
        found = []
        for chosen in combinations(families, n_together):
            names = tuple(chain.from_iterable(chosen))
            if is_feasible(problem.with_parameters(_lifted(problem.parameters, names))):
                needed = families[chosen[0]] if n_together == 1 else math.nan
                available = (
                    float(_most_pools(problem).min_pools) if names == ("min_pools",) else math.nan
                )
                detail = f"without {', '.join(names)} there is a plan"
                found.append(Limit(", ".join(names), needed, available, detail))
        if found:
            return tuple(found)
    due = "gas of the transactions that the limits force cannot be paid"
    return (Limit("gas", math.nan, problem.aum_usd, due),)
