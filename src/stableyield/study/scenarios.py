"""Run scenarios: everything is read and checked first, then solved one by one and verified."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from stableyield.allocation import Plan, checked, solve
from stableyield.config import AllocationParameters
from stableyield.errors import InfeasibleError, ParameterError
from stableyield.study.scenario import Scenario, check_names
from stableyield.study.scenario_file import read_scenarios
from stableyield.study.scenario_problem import Task, panel_cache, task_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class ScenarioOutcome:
    """A scenario and the plan it led to.

    Parameters
    ----------
    scenario : Scenario
    plan : Plan
        Verified. Without a solution it leaves the book as it is.
    assumptions : tuple of str
        What was assumed because the market lacks it.
    """

    scenario: Scenario
    plan: Plan
    assumptions: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The scenario's name."""
        return self.scenario.name

    @property
    def has_plan(self) -> bool:
        """Whether a plan was found."""
        return self.plan.certificate.has_solution

    @property
    def reason(self) -> str:
        """Why there is no plan, or no proven or no unrelaxed one; empty when all is well."""
        found = [limit.detail for limit in self.plan.infeasible_because]
        found += self.plan.explanation["relaxed"]
        if self.plan.status == "time_limit":
            what = "the best plan found in time" if self.has_plan else "no plan was found in time"
            found.append(what)
        return "; ".join(found)

    @cached_property
    def pools_usd(self) -> dict[str, float]:
        """USD in each pool after the plan, by pool id."""
        money = self.plan.settlement
        return money.after.positions_usd(money.prices_usd)


@dataclass(frozen=True, eq=False)
class ScenarioResults:
    """What scenarios led to, in the order in which they were given."""

    outcomes: tuple[ScenarioOutcome, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the scenarios, in order."""
        return tuple(outcome.name for outcome in self.outcomes)

    def outcome(self, name: str) -> ScenarioOutcome:
        """The outcome of one scenario.

        Raises
        ------
        ParameterError
            When there is none of that name.
        """
        for outcome in self.outcomes:
            if outcome.name == name:
                return outcome
        raise ParameterError(
            f"no scenario is called {name!r}", remedy=f"there are: {', '.join(self.names)}"
        )

    def table(self) -> pd.DataFrame:
        """One row a scenario, see `stableyield.study.scenario_tables.results_table`."""
        from stableyield.study.scenario_tables import results_table  # noqa: PLC0415 - pandas

        return results_table(self.outcomes)

    def allocations(self, name: str) -> pd.DataFrame:
        """Positions after one scenario's plan, one row a pool and token."""
        from stableyield.study.scenario_tables import allocations_table  # noqa: PLC0415 - pandas

        return allocations_table(self.outcome(name))

    def transactions(self, name: str) -> pd.DataFrame:
        """Transactions of one scenario's plan, in their order; holds are left out."""
        from stableyield.study.scenario_tables import transactions_table  # noqa: PLC0415 - pandas

        return transactions_table(self.outcome(name))


def run_scenarios(
    source: Path | str | Sequence[Scenario],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> ScenarioResults:
    """Solve and verify every scenario.

    Parameters
    ----------
    source : Path, str or sequence of Scenario
        A scenario file (docs/scenarios.md), or scenarios made in Python.
    progress : callable, optional
        Called with the number of scenarios done and of all.

    Returns
    -------
    ScenarioResults
        A scenario without a plan is an outcome with its reason; the others are not touched by it.

    Raises
    ------
    InputError
        When the file, a problem, a market or a parameter is wrong: all of them are read and
        checked before the first scenario is solved.
    IntegrityError
        When a plan fails its verification: a bug.
    """
    scenarios = read_scenarios(source) if isinstance(source, (Path, str)) else tuple(source)
    check_names(scenarios)
    panels = panel_cache()
    tasks = [task_of(scenario, panels) for scenario in scenarios]
    outcomes = []
    for n_done, task in enumerate(tasks, start=1):
        outcomes.append(ScenarioOutcome(task.scenario, _plan(task), task.assumptions))
        if progress is not None:
            progress(n_done, len(tasks))
    return ScenarioResults(tuple(outcomes))


def _plan(task: Task) -> Plan:
    try:
        return checked(solve(task.problem))
    except InfeasibleError:  # relaxing did not help: the limits in conflict are the result
        kept: AllocationParameters = task.problem.parameters.with_overrides({"on_failure": "hold"})
        return checked(solve(task.problem.with_parameters(kept)))
