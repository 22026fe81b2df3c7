"""Closing in on the optimum from both sides: plans from below, the sharpened relaxation from above.

What is between the two decides how much of the program can still matter; the rest is shaved off
(`stableyield.allocation.shaving`). Of a carried book the two mostly meet, or little is left to
search: leaving the book alone is nearly the best plan, or a few moves are.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.flows import flows_of
from stableyield.allocation.milp import AllocationModel
from stableyield.allocation.problem import AllocationProblem
from stableyield.allocation.shaving import Program, relaxed, shaved
from stableyield.allocation.solver import Effort, SolverResult, solve_mip
from stableyield.allocation.starts import ON, rounded_up

Floats = NDArray[np.float64]

FIRST_ROUNDS = 1  # of cuts while nothing is shaved off yet
ROUNDS = 3
MAX_PASSES = 8
FEWEST_MOVES = 40  # up to this many, searching all is faster
MANY_MOVES = 1_000  # of more the relaxation is not sharpened: that would take too long
HOPELESS = 0.9  # when a pass leaves more than this share of the moves, what is open is too much
PROGRESS = 0.7  # a pass that leaves more than this share of the moves and of the gap is the last
NEAR_NODES = 50  # for what the relaxation leaves fractional


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of a model so far; objectives in its units.

    Parameters
    ----------
    x : ndarray of shape (n_columns,), or None
        The best solution, in the columns of the whole model.
    objective, bound : float
        Of ``x``, and of all solutions.
    is_held : bool
        Whether ``x`` leaves the book alone.
    program : Program
        Has every solution that is better than ``bound`` allows to leave out.
    status : str
        ``optimal``; ``infeasible`` or ``time_limit`` where the relaxation was.
    relaxation : SolverResult, optional
        The first, before anything is shaved off; rows of cuts come after those of the model.
    """

    x: Floats | None
    objective: float
    bound: float
    is_held: bool
    program: Program
    status: str = "optimal"
    relaxation: SolverResult | None = None


class Closing:
    """Plans and bounds of a model with exact conversions and without super-pools.

    Parameters
    ----------
    problem : AllocationProblem
    model : AllocationModel
        Of all pools.
    gap : float
        Gap at which to stop, in units of the objective.
    seconds : float
        Time limit.
    """

    def __init__(
        self, problem: AllocationProblem, model: AllocationModel, gap: float, seconds: float
    ) -> None:
        self._model, self._gap = model, gap
        self._deadline = time.perf_counter() + seconds
        program = Program.of(model.sparse, flows_of(problem, model))
        self._known = Known(None, -np.inf, np.inf, False, program)
        self._cutoff = -np.inf  # the highest that something was shaved off for

    def close_in(self) -> Known:
        """Shave until the gap is closed or little more falls; of very few moves nothing."""
        self._hold()
        if self._n_moves <= FEWEST_MOVES:
            return self._known
        look_near_in = int(self._known.is_held)
        gap = np.inf
        for n in range(MAX_PASSES):
            result = self._relax(FIRST_ROUNDS if n < look_near_in else ROUNDS)
            if result.x is not None and n == look_near_in and not self._is_closed:
                self._look_near(result)
            if result.x is None or self._is_closed:
                break
            last, n_moves = gap, self._n_moves
            gap = self._known.bound - self._known.objective
            self._shave(result)
            left = self._n_moves / max(n_moves, 1)
            if n >= look_near_in and left > HOPELESS:
                break
            if n > 0 and min(left, gap / last) > PROGRESS:
                break
        return self._known

    def search(self, gap: float, max_nodes: int | None = None) -> Known:
        """Search what is left, to a gap in units of the objective, or up to some nodes."""
        program, known = self._known.program, self._known
        if self._is_closed:
            return known
        start = None if known.x is None else program.start(known.x)
        is_whole = known.relaxation is None  # so few moves that simplifying costs more
        effort = Effort(gap / 2.0, self._left(), max_nodes, presolve=not is_whole)
        result = solve_mip(program.sparse, effort, start)
        self._bound_by(result.bound)
        self._take(program, result)
        if (result.x is None and known.x is None) or result.status.endswith("limit"):
            self._known = replace(self._known, status=result.status)
        return self._known

    # --- steps ---

    def _hold(self) -> None:
        """Leave the book alone, where no limit forbids it."""
        program = self._known.program
        if not np.any(program.flows.is_forced):
            alone = program.without_moves()
            self._take(alone, solve_mip(alone.sparse, Effort(0.0, self._left())))
            self._known = replace(self._known, is_held=self._known.x is not None)

    def _relax(self, n_rounds: int) -> SolverResult:
        known = self._known
        if self._n_moves > MANY_MOVES:
            n_rounds = 0
        enough = known.objective + self._gap
        program, result = relaxed(known.program, enough, n_rounds, self._left())
        first = known.relaxation or result
        self._known = replace(known, program=program, relaxation=first)
        if result.x is None and known.x is None:
            self._known = replace(self._known, status=result.status)
        if result.x is not None or result.status == "infeasible":
            self._bound_by(result.objective)
        return result

    def _look_near(self, relaxation: SolverResult) -> None:
        """A plan that decides only what the relaxation leaves fractional."""
        x = relaxation.x
        if x is None:
            raise AssertionError
        near = self._known.program.fixed_where_decided(x, ON)
        up = dict(zip(*rounded_up(self._model, self._known.program.in_whole(x)), strict=True))
        columns = near.flows.binary
        start = columns.astype(np.int32), np.array([up[c] for c in near.columns[columns]])
        effort = Effort(self._gap / 2.0, self._left(), NEAR_NODES)
        self._take(near, solve_mip(near.sparse, effort, start))

    def _shave(self, relaxation: SolverResult) -> None:
        known = self._known
        self._cutoff = known.objective + self._gap / 2.0
        self._known = replace(known, program=shaved(known.program, relaxation, self._cutoff))

    # --- what is known ---

    @property
    def _is_closed(self) -> bool:
        return self._known.bound - self._known.objective <= self._gap

    @property
    def _n_moves(self) -> int:
        return len(self._known.program.flows.binary)

    def _take(self, program: Program, result: SolverResult) -> None:
        if result.x is not None and result.objective > self._known.objective:
            x = program.in_whole(result.x)
            self._known = replace(self._known, x=x, objective=result.objective, is_held=False)

    def _bound_by(self, bound: float) -> None:
        """What was shaved off may be as good as the cutoff that it was shaved off for."""
        self._known = replace(self._known, bound=min(self._known.bound, max(bound, self._cutoff)))

    def _left(self) -> float:
        return max(self._deadline - time.perf_counter(), 0.0)
