"""The optimiser against two plain cvxpy + HiGHS models of the same problems, in one run.

Usage::

    python benchmarks/allocation.py            # the table of benchmarks/README.md
    python benchmarks/allocation.py --quick    # small sizes, one seed, under a minute
    python benchmarks/allocation.py --full     # plain models at more sizes, on five seeds

Times are CPU seconds of one thread, from the problem to the finished plan. All solvers stop at the
same gap in dollars. Needs the extra ``bench``. Ends with an error when an objective is above what
another solver proved to be impossible, or when a plan fails the verifier.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from allocation_report import Record, Report, draw
from daily import DailyResult, daily
from instances import market
from plain_models import solve_plain, vectorised, with_loops
from stableyield.allocation import AllocationProblem, solve, verify
from stableyield.allocation.optimiser import gap_usd
from stableyield.market.mock import mock_instance
from stages import stopwatch

HERE = Path(__file__).resolve().parent
TABLE = HERE / "results" / "allocation.md"
FIGURE = HERE.parent / "docs" / "images" / "allocation_benchmark.png"

MODES = ("fast", "standard", "proven")
MANY_POOLS = 250  # from here on a gap of 1e-4 of the gain is measured too
PLAIN = {"cvxpy, arrays": vectorised, "cvxpy, loops": with_loops}
ROUNDING_USD, ROUNDING_SHARE = 1e-3, 1e-9  # how far solvers may disagree: of AUM, the share


@dataclass(frozen=True)
class Case:
    """A family of instances; no pools: the notebooks' mock decision."""

    n_pools: int
    n_tokens: int
    aum_usd: float

    @property
    def label(self) -> str:
        name = f"{self.n_pools:,} x {self.n_tokens}, "
        return name + f"{self.aum_usd:.0e}".replace("e+0", "e")

    def problem(self, seed: int) -> AllocationProblem:
        if self.n_pools == 15:  # the notebooks' mock decision, which has one seed
            return AllocationProblem.from_json(mock_instance().problem)
        return market(self.n_pools, self.n_tokens, self.aum_usd, seed)


CASES = (
    Case(15, 3, 1e6),
    Case(60, 8, 1e6),
    Case(60, 8, 2e7),
    Case(250, 16, 1e6),
    Case(250, 16, 2e7),
    Case(1000, 28, 1e6),
    Case(4000, 28, 1e6),
    Case(4000, 28, 1e9),
)
BACKTESTS = ((60, 8, 1e6, "standard"), (250, 16, 1e6, "standard"), (250, 16, 1e6, "proven"))


@dataclass(frozen=True)
class Scope:
    """How much is run."""

    n_seeds: int
    n_seeds_plain: int
    largest: int
    largest_loops: int
    largest_arrays: int
    limit_seconds: float
    n_days: int

    def plain_for(self, case: Case, n_done: int) -> list[str]:
        """Plain solvers of an instance, of which ``n_done`` of its family came before."""
        if n_done >= self.n_seeds_plain:
            return []
        largest = {"cvxpy, arrays": self.largest_arrays, "cvxpy, loops": self.largest_loops}
        return [name for name, size in largest.items() if case.n_pools <= size]


DEFAULT = Scope(5, 3, 4000, 60, 250, 30.0, 30)
QUICK = Scope(1, 1, 250, 60, 60, 10.0, 5)
FULL = Scope(5, 5, 4000, 250, 1000, 60.0, 90)


# --- one solver on one instance ---


def run_ours(problem: AllocationProblem, case: Case, seed: int, solver: str) -> Record:
    """Solve, time and verify; the solver is a mode, or the proof to a share of the gain."""
    fresh = replace(problem)  # nothing that another run has computed
    began = time.process_time()
    with stopwatch() as stages:
        plan = solve(fresh)
    seconds = time.process_time() - began
    proof = plan.certificate
    if proof.has_solution and (violations := verify(plan).violations):
        sys.exit(f"{case.label}, seed {seed}, {solver}: {violations[0]}")
    return Record(
        case.label,
        case.n_pools,
        case.aum_usd,
        seed,
        f"ours, {solver}",
        plan.status,
        seconds,
        stages["build"],
        sum(stages.values()) - stages["build"],
        proof.objective_usd,
        proof.bound_usd,
        {**stages, "rest": seconds - sum(stages.values())},
        proof.method,
    )


def run_plain(
    problem: AllocationProblem, case: Case, seed: int, solver: str, limit: float
) -> Record:
    """Build and solve a plain model."""
    found = solve_plain(
        replace(problem), PLAIN[solver], gap_usd=gap_usd(problem), limit_seconds=limit
    )
    return Record(
        case.label,
        case.n_pools,
        case.aum_usd,
        seed,
        solver,
        found.status,
        found.seconds,
        found.build_seconds,
        found.solve_seconds,
        found.objective_usd,
        found.bound_usd,
        {},
        f"{found.n_rows:,} x {found.n_columns:,}",
    )


def run_instance(case: Case, seed: int, scope: Scope, n_done: int) -> Iterator[Record]:
    """All solvers on one instance; only the first when there is no plan."""
    problem = case.problem(seed)

    def as_mode(mode: str, gap: float | None = None) -> AllocationProblem:
        values = {"mode": mode, "time_limit_seconds": scope.limit_seconds}
        values |= {} if gap is None else {"gap_usd": gap}
        return problem.with_parameters(problem.parameters.with_overrides(values))

    first = run_ours(as_mode("standard"), case, seed, "standard")
    yield first
    if first.status == "infeasible":
        return
    yield run_ours(as_mode("fast"), case, seed, "fast")
    yield run_ours(as_mode("proven"), case, seed, "proven")
    if case.n_pools >= MANY_POOLS:
        gap = 1e-4 * first.objective_usd
        yield run_ours(as_mode("proven", gap), case, seed, "proven to 1e-4")
    for solver in scope.plain_for(case, n_done):
        yield run_plain(problem, case, seed, solver, scope.limit_seconds)


# --- all ---


def run_case(case: Case, scope: Scope, report: Report) -> None:
    """The first seeds that have a plan."""
    wanted = n_seeds = 1 if case.n_pools == 15 else scope.n_seeds
    seed = 0
    while wanted > 0 and seed < 20:
        seed += 1
        records = []
        for record in run_instance(case, seed, scope, n_seeds - wanted):
            print(f"  {record}", file=sys.stderr, flush=True)
            records.append(record)
        if records[0].status == "infeasible":
            report.without_plan.append(f"{case.label} seed {seed}")
            continue
        report.records += records
        report.disagreements += disagreements(records)
        wanted -= 1


def disagreements(records: list[Record]) -> list[str]:
    """Objectives above what another solver proved to be impossible."""
    return [
        f"{a.case} seed {a.seed}: {a.solver} gains {a.objective_usd:.6f} USD, "
        f"{b.solver} proves at most {b.bound_usd:.6f}"
        for a in records
        for b in records
        # NaN: no plan or no bound, and nothing to compare
        if a.objective_usd > b.bound_usd + ROUNDING_USD + ROUNDING_SHARE * a.aum_usd
    ]


def run_backtests(scope: Scope) -> list[DailyResult]:
    results = []
    for n_pools, n_tokens, aum_usd, mode in BACKTESTS:
        case = Case(n_pools, n_tokens, aum_usd)
        start = market(n_pools, n_tokens, aum_usd, 1, mode=mode)
        results.append(daily(case.label, start, scope.n_days, seed=1))
        print(f"  {results[-1].label}: {results[-1].days_per_second:.1f} days/s", file=sys.stderr)
    return results


def peak_memory(case: Case) -> str:
    """Peak memory in MB of a process of its own."""
    command = [sys.executable, str(HERE / "peak_memory.py")]
    command += [str(case.n_pools), str(case.n_tokens), str(case.aum_usd)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, before = done.stdout.split()
    return f"{case.label}: {peak} MB, of which {before} MB before the instance is drawn"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="under a minute; writes no file")
    size.add_argument("--full", action="store_true", help="larger plain models, on five seeds")
    parser.add_argument("--table", type=Path, default=TABLE, help="markdown file to write")
    parser.add_argument("--figure", type=Path, default=FIGURE, help="png to write")
    arguments = parser.parse_args()
    scope = QUICK if arguments.quick else FULL if arguments.full else DEFAULT

    began = time.perf_counter()
    report = Report(scope.limit_seconds)
    for solver in ("cvxpy, arrays", "cvxpy, loops"):  # the first use of cvxpy pays for its imports
        run_plain(CASES[0].problem(1), CASES[0], 1, solver, scope.limit_seconds)
    for case in CASES:
        if case.n_pools <= scope.largest:
            run_case(case, scope, report)
    report.backtests = run_backtests(scope)
    large = [case for case in CASES if case.n_pools == scope.largest]
    report.memory = [peak_memory(case) for case in large]
    report.wall_seconds = time.perf_counter() - began
    print(report.markdown())
    if not arguments.quick:
        arguments.table.parent.mkdir(parents=True, exist_ok=True)
        arguments.table.write_text(report.markdown() + "\n", encoding="utf-8")
        draw(report, arguments.figure)
    if report.disagreements:
        sys.exit("\n".join(["the solvers disagree:", *report.disagreements]))


if __name__ == "__main__":
    main()
