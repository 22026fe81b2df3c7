"""Whether limits can be met together, which of them cannot, and how far each would have to give.

A limit is made harmless by its weakest value, and a question about limits is a question whether the
program has any solution with some of them at other values. What was not settled in time is neither
yes nor no: a limit is then not cleared of blame, and a value not called possible.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.assembly import UNITS_PER_AUM
from stableyield.allocation.milp import build_model
from stableyield.allocation.problem import AllocationProblem
from stableyield.allocation.solver import Effort, solve_mip
from stableyield.allocation.sparse import SparseModel
from stableyield.config import AllocationParameters
from stableyield.domain.pool import PoolState

Bools = NDArray[np.bool_]

SHARE_STEP = 1e-4  # how exactly shares are found
USD_STEPS = 1_000  # amounts: to this part of their own order of magnitude
EVEN = 1e-6  # of a step: a value so near to a step is one
MAX_NODES = 300  # of the search for any solution; most need one


@dataclass(frozen=True)
class Lever:
    """Parameters that limit the same thing, of which the strictest counts.

    Parameters
    ----------
    names : tuple of str
    weakest : float
        The value at which none of them limits anything.
    is_cap : bool
        Larger values are weaker; otherwise smaller ones are.
    """

    names: tuple[str, ...]
    weakest: float
    is_cap: bool = True

    def value(self, parameters: AllocationParameters) -> float:
        """The strictest of the values."""
        strictest = min if self.is_cap else max
        return float(strictest(getattr(parameters, name) for name in self.names))

    def at(self, parameters: AllocationParameters, value: float) -> dict[str, float]:
        """The values that change so that none is stricter than ``value``."""
        old = {name: getattr(parameters, name) for name in self.names}
        return {n: value for n, was in old.items() if (was < value if self.is_cap else was > value)}

    def strictest(self, parameters: AllocationParameters) -> tuple[str, ...]:
        """The parameters that have the strictest value."""
        value = self.value(parameters)
        return tuple(name for name in self.names if getattr(parameters, name) == value)

    def step(self, parameters: AllocationParameters) -> float:
        """How exactly a value of it is found."""
        if self == MIN_POOLS:
            return 1.0
        value = self.value(parameters)
        if is_amount(self.names[0]) and value > 0.0:
            return float(10.0 ** math.floor(math.log10(value)) / USD_STEPS)
        return SHARE_STEP


MIN_POOLS = Lever(("min_pools",), 0.0, is_cap=False)
MIN_INVESTED = Lever(("min_invested_pct",), 0.0, is_cap=False)
GROUP_CAPS = tuple(Lever((f"group{g}_max_pct",), 1.0) for g in (1, 2, 3))
SHARE_CAPS = Lever(("max_alloc_percentage", "position_max_pct_total_assets"), 1.0)
TVL_CAPS = Lever(("tvl_limit_percentage", "position_max_pct_pool_tvl"), 0.999)
SIZES = (
    Lever(("min_transaction_value",), 0.0, is_cap=False),
    Lever(("min_position_usd",), 0.0, is_cap=False),
    Lever(("min_pool_share",), 1e-4, is_cap=False),  # an empty position is no pool at any value
)
# in the order in which one would rather give them up
LEVERS = (MIN_POOLS, MIN_INVESTED, *GROUP_CAPS, SHARE_CAPS, TVL_CAPS, *SIZES)
_ROWS = {MIN_POOLS: "min_pools", MIN_INVESTED: "min_invested_pct"} | {
    cap: f"group {g}" for g, cap in enumerate(GROUP_CAPS, start=1)
}
Values = Mapping[Lever, float]


class Feasibility:
    """Answers whether a problem has a plan when some limits have other values.

    Parameters
    ----------
    problem : AllocationProblem
        All answers together take at most its ``time_limit_seconds``.
    """

    def __init__(self, problem: AllocationProblem) -> None:
        self.problem = problem
        self._deadline = time.perf_counter() + problem.parameters.time_limit_seconds
        self._known: dict[frozenset[tuple[str, float]], bool | None] = {}

    def changes(self, values: Values) -> dict[str, float]:
        """Parameters that differ when the limits have these values."""
        parameters = self.problem.parameters
        changed: dict[str, float] = {}
        for lever, value in values.items():
            changed |= lever.at(parameters, value)
        return {n: int(v) if n in MIN_POOLS.names else v for n, v in changed.items()}

    def with_values(self, values: Values) -> AllocationProblem:
        """The problem with limits at other values."""
        changed = self.changes(values)
        parameters = self.problem.parameters.model_copy(update=changed)
        return self.problem.with_parameters(parameters)

    def is_met(self, values: Values) -> bool | None:
        """Whether there is a plan at these values; None when that was not found in time."""
        key = frozenset(self.changes(values).items())
        if key not in self._known:
            self._known[key] = self._ask(self.with_values(values))
        return self._known[key]

    def _ask(self, problem: AllocationProblem) -> bool | None:
        left = self._deadline - time.perf_counter()
        if left <= 0.0:
            return None
        sparse = build_model(problem).sparse
        # any solution will do: without an objective the first one ends the search
        anything = replace(sparse, cost=np.zeros_like(sparse.cost))
        result = solve_mip(anything, Effort(math.inf, left, MAX_NODES))
        if result.x is not None:
            return True
        return False if result.status == "infeasible" else None

    def smallest_conflict(self, lifted: Sequence[Lever] = ()) -> tuple[Lever, ...]:
        """Limits that contradict each other while all others are at their weakest.

        Without any one of them the rest can be met. (Deletion filter: Chinneck, Dravnieks, 1991,
        https://doi.org/10.1287/ijoc.3.2.157)
        """
        blamed = [lever for lever in LEVERS if lever not in lifted]
        suspects: list[tuple[Lever, ...]] = [SIZES, (SHARE_CAPS, TVL_CAPS), GROUP_CAPS]
        suspects += [(MIN_INVESTED,), (MIN_POOLS,)]
        while suspects:
            some = tuple(lever for lever in suspects.pop(0) if lever in blamed)
            fewer = [lever for lever in blamed if lever not in some]
            if not some or not fewer:
                continue
            if self.is_met(weakest(lever for lever in LEVERS if lever not in fewer)) is False:
                blamed = fewer
            elif len(some) > 1:  # one by one, the last first
                suspects = [*((lever,) for lever in reversed(some)), *suspects]
        return tuple(blamed)

    def nearest(self, lever: Lever, others: Values) -> float:
        """The value of a limit next to what it is at which there is a plan, by bisection.

        There has to be one at its weakest. In steps of one pool, 0.01 points of a share, or a
        thousandth of an amount.
        """
        value = lever.value(self.problem.parameters)
        if self.is_met({**others, lever: value}):
            return value
        step = lever.step(self.problem.parameters)
        # what is stricter than a value that cannot be met cannot be met either
        stricter = (
            math.floor(value / step + EVEN) if lever.is_cap else math.ceil(value / step - EVEN)
        )
        impossible, possible = stricter, round(lever.weakest / step)
        if (bracket := self._bracket(lever, others)) is not None:
            (good, bad), towards = bracket, max if lever.is_cap else min
            if self.is_met({**others, lever: _on_grid(good, step)}):
                possible = good
            if (bad < possible) is lever.is_cap and bad != possible:
                impossible = towards(impossible, bad)
        while abs(possible - impossible) > 1:
            middle = (possible + impossible) // 2
            if self.is_met({**others, lever: _on_grid(middle, step)}):
                possible = middle
            else:
                impossible = middle
        return _on_grid(possible, step)

    def _bracket(self, lever: Lever, others: Values) -> tuple[int, int] | None:
        """Steps of a limit that can be met, and that cannot, from its row's best activity.

        Only of limits that are one row of the program.
        """
        left = self._deadline - time.perf_counter()
        name = _ROWS.get(lever)
        if name is None or left <= 0.0:
            return None
        problem = self.with_values(others)
        sparse = build_model(problem).sparse
        row = sparse.row_names.index(name)
        step = lever.step(self.problem.parameters)
        unit = 1.0 if lever == MIN_POOLS else UNITS_PER_AUM  # of the row, in a limit of 1
        sign = -1.0 if lever.is_cap else 1.0
        result = solve_mip(_alone(sparse, row, sign), Effort(0.5 * step * unit, left, MAX_NODES))
        if result.x is None:
            return None
        fixed = _frozen_part(problem, lever)
        good, bad = sign * result.objective / unit + fixed, sign * result.bound / unit + fixed
        if not lever.is_cap:
            return math.floor(good / step + EVEN), math.ceil(bad / step + EVEN)
        stays = _members(problem, lever) & (problem.state != PoolState.EXIT.value)
        held = float(problem.position_usd[stays].sum()) / problem.aum_usd
        if (
            bad <= held + EVEN * step
        ):  # over its cap by less than the tolerance a group may stay as it is
            bad = min(bad, held / (1.0 + problem.parameters.cap_tolerance))
        return math.ceil(good / step - EVEN), math.floor(bad / step - EVEN)

    def nearest_together(self, levers: Sequence[Lever]) -> dict[Lever, float]:
        """Values at which there is a plan, of those limits only that have to give.

        The last limit is kept as near to what it is as it can be when the others are lifted, then
        the one before it, and so on: the first gives the most.
        """
        values = weakest(levers)
        for lever in reversed(levers):
            others = {other: value for other, value in values.items() if other is not lever}
            values[lever] = self.nearest(lever, others)
        old = self.problem.parameters
        return {lever: values[lever] for lever in levers if values[lever] != lever.value(old)}


def is_feasible(problem: AllocationProblem) -> bool:
    """Whether any plan that meets all limits was found in ``time_limit_seconds``."""
    return Feasibility(problem).is_met({}) is True


def weakest(levers: Iterable[Lever]) -> dict[Lever, float]:
    """The values at which these limit nothing."""
    return {lever: lever.weakest for lever in levers}


def _alone(sparse: SparseModel, row: int, sign: float) -> SparseModel:
    """The program whose objective is the activity of a row, which limits nothing any more."""
    entries = sparse.index == row
    columns = np.repeat(np.arange(len(sparse.cost)), np.diff(sparse.start))[entries]
    cost = np.zeros_like(sparse.cost)
    cost[columns] = sign * sparse.value[entries]
    row_lower, row_upper = sparse.row_lower.copy(), sparse.row_upper.copy()
    row_lower[row], row_upper[row] = -np.inf, np.inf
    return replace(sparse, cost=cost, row_lower=row_lower, row_upper=row_upper)


def _frozen_part(problem: AllocationProblem, lever: Lever) -> float:
    """What frozen positions are of a limit: the rows are about all others."""
    frozen = (problem.state == PoolState.FROZEN.value) & (problem.position_usd > 0.0)
    if lever == MIN_POOLS:
        drifted = problem.count_threshold_usd * (1.0 - problem.parameters.cap_tolerance)
        return float(np.count_nonzero(frozen & (problem.position_usd >= drifted)))
    of_lever = frozen & _members(problem, lever)
    return float(problem.position_usd[of_lever].sum()) / problem.aum_usd


def _members(problem: AllocationProblem, lever: Lever) -> Bools:
    """Pools that a group's cap is about; of other limits all."""
    if lever not in GROUP_CAPS:
        return np.ones(len(problem.pools), dtype=bool)
    result: Bools = problem.group == GROUP_CAPS.index(lever) + 1
    return result


def is_amount(name: str) -> bool:
    """Whether a parameter is in USD, and not a share or a count."""
    return name.endswith(("_usd", "_value"))


def _on_grid(number: int, step: float) -> float:
    return round(number * step, 10)
