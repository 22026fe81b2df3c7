"""HiGHS: a sparse model in, a solution with its bound out. One thread: same input, same output."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.sparse import SparseModel
from stableyield.errors import SolverError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Start = tuple[NDArray[np.int32], Floats]  # columns and their values

# Sharp first: a row may be off by this many units of money, of which AUM is 1,000. The last is the
# solver's own tolerance while it chose the pattern.
PATTERN_TOLERANCES = (1e-9, 1e-7, 1e-6)
UNDECIDED = "undecided"  # the solver gave up for numerical reasons
WAYS_OUT: tuple[dict[str, Any], ...] = (
    {},
    {"presolve": "on"},
    {"presolve": "on", "simplex_strategy": 4},
)
PRESOLVED_ROWS = 10_000  # a smaller linear program is solved in half the time as it is


@dataclass(frozen=True, eq=False)
class SolverResult:
    """What the solver says.

    Parameters
    ----------
    status : str
        ``optimal``, ``time_limit``, ``node_limit`` or ``infeasible``.
    x : ndarray of shape (n_columns,), or None
        The solution; None where there is none.
    row_dual, column_dual : ndarray, or None
        Gain of the objective per unit of a row's or column's bound; of a linear program only.
    objective, bound : float
        Of the maximisation, in units of the objective; the bound is proven.
    seconds : float
        Wall time of the solver.
    """

    status: str
    x: Floats | None
    objective: float
    bound: float
    seconds: float
    row_dual: Floats | None = None
    column_dual: Floats | None = None


@dataclass(frozen=True)
class Effort:
    """How far to search.

    Parameters
    ----------
    gap : float
        Absolute gap at which to stop, in units of the objective.
    seconds : float
        Time limit.
    max_nodes : int, optional
        Nodes of the search tree at which to stop: a limit that does not depend on the machine.
    heuristics : bool
        Spend time on finding better solutions; without, most problems are solved two to four times
        faster, with the same answer.
    proof_only : bool
        Spend no time at all on finding better solutions than those that the search meets: the
        start is believed to be nearly the best.
    presolve : bool
        Simplify first. The program is tight as it is: where a good start is known or the program is
        small, simplifying costs more than it brings and hides structure from the cuts.
    """

    gap: float
    seconds: float
    max_nodes: int | None = None
    heuristics: bool = False
    proof_only: bool = False
    presolve: bool = True

    @property
    def options(self) -> dict[str, Any]:
        """The solver's options."""
        options: dict[str, Any] = {
            "mip_abs_gap": self.gap,
            "mip_rel_gap": 0.0,
            "time_limit": self.seconds,
            # a binary of 1e-6 hides 1e-6 of its largest amount: what the pattern then misses
            "mip_feasibility_tolerance": 1e-9,
        }
        if self.proof_only:
            options["mip_heuristic_effort"] = 0.0
            options["mip_heuristic_run_root_reduced_cost"] = False
        if not self.presolve:
            options["presolve"] = "off"
        if self.max_nodes is not None:
            options["mip_max_nodes"] = self.max_nodes
        if not self.heuristics:
            options |= {
                "mip_heuristic_run_rins": False,
                "mip_heuristic_run_rens": False,
                "mip_heuristic_run_feasibility_jump": False,
                "mip_allow_restart": False,
            }
        return options


class LinearRelaxation:
    """The linear relaxation of a model, to which rows are added; each solve starts from the last.

    Parameters
    ----------
    model : SparseModel
    seconds : float
        Time limit of each solve.
    """

    def __init__(self, model: SparseModel, seconds: float) -> None:
        linear = replace(model, integer=np.zeros_like(model.integer))
        options: dict[str, Any] = {"time_limit": seconds}
        if len(model.row_lower) <= PRESOLVED_ROWS:
            options["presolve"] = "off"
        self._highs = _loaded(linear, options)

    def solve(self) -> SolverResult:
        """Solve it as it is now."""
        status, seconds = _run(self._highs)
        if status != "optimal":
            return SolverResult(status, None, -np.inf, np.inf, seconds)
        return _linear_result(self._highs, status, seconds)

    def add_rows(self, start: Ints, column: Ints, value: Floats, upper: Floats) -> None:
        """Add rows ``sum(value * x[column]) <= upper``; row r has ``start[r]:start[r + 1]``."""
        lower = np.full(len(upper), -highspy.kHighsInf)
        n_rows, n_entries = len(upper), len(value)
        starts, columns = start[:-1].astype(np.int32), column.astype(np.int32)
        self._highs.addRows(n_rows, lower, upper, n_entries, starts, columns, value)


def solve_mip(model: SparseModel, effort: Effort, start: Start | None = None) -> SolverResult:
    """Solve a model as far as the effort goes.

    Parameters
    ----------
    model : SparseModel
    effort : Effort
    start : pair of ndarray, optional
        Columns and their values in a known solution; the others are completed by the solver.

    Raises
    ------
    SolverError
        When the solver refuses the model or stops for a reason other than optimality,
        infeasibility or a limit of the effort.
    """
    options = effort.options
    if not model.integer.any() and len(model.row_lower) <= PRESOLVED_ROWS:
        options["presolve"] = "off"
    if start is not None:  # with a good start the search is for the proof
        options |= {"mip_allow_cut_separation_at_nodes": False, "mip_pscost_minreliable": 1}
    seconds = 0.0
    for again in WAYS_OUT:
        highs = _loaded(model, options | again)
        if start is not None:
            highs.setSolution(len(start[0]), start[0], start[1])
        status, took = _run(highs)
        seconds += took
        if status != UNDECIDED:
            break
    else:
        raise SolverError(
            "HiGHS stopped without an answer", remedy="report this as a bug, with the problem file"
        )
    info = highs.getInfo()
    has_solution = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    if status == "infeasible":
        return SolverResult(status, None, -np.inf, -np.inf, seconds)
    if status != "optimal" and not has_solution:
        return SolverResult(status, None, -np.inf, -info.mip_dual_bound, seconds)
    if not model.integer.any():
        return _linear_result(highs, status, seconds)
    x = np.array(highs.getSolution().col_value)
    objective = -info.objective_function_value
    return SolverResult(status, x, objective, max(-info.mip_dual_bound, objective), seconds)


def solve_with_pattern(model: SparseModel, x: Floats) -> SolverResult:
    """The best flows when every integer keeps its (rounded) value in ``x``, with duals.

    Reading 0.9999999 as 1 without this would leave flows that belong to 0.9999999.
    """
    pattern = np.round(x)
    fixed = replace(
        model,
        lower=np.where(model.integer, pattern, model.lower),
        upper=np.where(model.integer, pattern, model.upper),
        integer=np.zeros_like(model.integer),
    )
    status, seconds = "", 0.0
    for tolerance in PATTERN_TOLERANCES:
        highs = _loaded(fixed, {"primal_feasibility_tolerance": tolerance})
        status, took = _run(highs)
        seconds += took
        if status == "optimal":
            break
    else:
        raise SolverError(f"the rounded solution is {status}", remedy="report this as a bug")
    return _linear_result(highs, status, seconds)


def _linear_result(highs: highspy.Highs, status: str, seconds: float) -> SolverResult:
    solution = highs.getSolution()
    objective = -highs.getInfo().objective_function_value
    return SolverResult(
        status,
        np.array(solution.col_value),
        objective,
        objective,
        seconds,
        row_dual=-np.array(solution.row_dual),
        column_dual=-np.array(solution.col_dual),
    )


def _loaded(model: SparseModel, options: dict[str, Any]) -> highspy.Highs:
    highs = highspy.Highs()  # type: ignore[no-untyped-call]
    settings = {"output_flag": False, "threads": 1, "random_seed": 0, **options}
    for name, value in settings.items():
        if highs.setOptionValue(name, value) != highspy.HighsStatus.kOk:
            raise SolverError(f"HiGHS refuses the option {name}={value}")
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(model.cost), len(model.row_lower)
    lp.sense_ = highspy.ObjSense.kMinimize
    lp.col_cost_ = -model.cost
    lp.col_lower_, lp.col_upper_ = model.lower, model.upper
    lp.row_lower_, lp.row_upper_ = model.row_lower, model.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_ = model.start
    lp.a_matrix_.index_ = model.index
    lp.a_matrix_.value_ = model.value
    if model.integer.any():
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[int(is_integer)] for is_integer in model.integer]
    if highs.passModel(lp) != highspy.HighsStatus.kOk:
        raise SolverError("HiGHS refuses the model", remedy="report this as a bug")
    return highs


def _run(highs: highspy.Highs) -> tuple[str, float]:
    started = time.perf_counter()
    highs.run()
    seconds = time.perf_counter() - started
    status = highs.getModelStatus()
    known = {
        highspy.HighsModelStatus.kOptimal: "optimal",
        highspy.HighsModelStatus.kTimeLimit: "time_limit",
        highspy.HighsModelStatus.kSolutionLimit: "node_limit",
        highspy.HighsModelStatus.kInfeasible: "infeasible",
        # every variable of ours is bounded, so this can only mean infeasible
        highspy.HighsModelStatus.kUnboundedOrInfeasible: "infeasible",
        highspy.HighsModelStatus.kUnknown: UNDECIDED,
    }
    if status not in known:
        raise SolverError(
            f"HiGHS stopped with {highs.modelStatusToString(status)}",
            remedy="report this as a bug, with the problem file",
        )
    return known[status], seconds
