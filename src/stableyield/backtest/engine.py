"""The daily loop: observe, decide, settle, earn, record; for the strategy and its benchmarks.

One day (exec date t): the view ``as_of(t)`` is forecast and screened, each policy decides from its
own book, the plan is applied and its costs leave the book, positions earn the realised return of
t -> t+1, and everything is re-priced at t+1. Only the accounting sees t+1, after the decision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from stableyield.backtest.almanac import Almanac
from stableyield.backtest.benchmarks import benchmarks
from stableyield.backtest.checkpoint import Checkpoint
from stableyield.backtest.course import Course
from stableyield.backtest.day import exec_days, observe
from stableyield.backtest.identity import key_of
from stableyield.backtest.policy import MilpPolicy, Policy
from stableyield.backtest.result import BacktestResult
from stableyield.backtest.runner import Runner
from stableyield.backtest.settings import BacktestSettings
from stableyield.errors import InputError
from stableyield.market.panel import MarketPanel
from stableyield.screening import IceboxDays

__all__ = ["Runner", "run_backtest", "run_policies"]

Progress = Callable[[int, int], None]


def run_backtest(
    panel: MarketPanel,
    settings: BacktestSettings | None = None,
    *,
    progress: Progress | None = None,
    policy: Policy | None = None,
    checkpoint: Path | None = None,
    save_every: int | None = None,
    resume: bool = False,
    **changes: Any,
) -> BacktestResult:
    """Backtest the strategy (or another policy) and its benchmarks over a market's history.

    Parameters
    ----------
    panel : MarketPanel
    settings : BacktestSettings, optional
    progress : callable, optional
        Called with the number of days done and the number of all days.
    policy : Policy, optional
        Instead of the optimiser.
    checkpoint : Path, optional
        Directory that the run is saved in while it goes on.
    save_every : int, optional
        Days between two snapshots; absent: 30, or more where days are lived through so fast that
        saving would take more than a fiftieth of the time.
    resume : bool
        Go on from the checkpoint, if there is one.
    **changes
        Fields of `BacktestSettings` to replace: ``start=...``, ``aum_usd=...``.

    Raises
    ------
    InputError
        When a setting does not fit the market, or the checkpoint is that of another run.
    """
    settings = replace(settings or BacktestSettings(), **changes)
    strategy = policy or MilpPolicy()
    beside = benchmarks(panel, quick=settings.quick) if settings.with_benchmarks else ()
    policies = (strategy, *(other for other in beside if other.name != strategy.name))
    course = Course.of(panel, settings, policies, n_told=1)
    _run(panel, course, _checkpoint(panel, course, checkpoint, save_every), resume, progress)
    return course.result(panel, 0)


def run_policies(
    panel: MarketPanel,
    settings: BacktestSettings | None,
    policies: Sequence[Policy],
    *,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    save_every: int | None = None,
    resume: bool = False,
) -> dict[str, BacktestResult]:
    """Backtest several policies on one market; they share what is observed of each day.

    Parameters
    ----------
    panel : MarketPanel
    settings : BacktestSettings or None
        Its ``with_benchmarks`` is of no meaning here: name the policies that are wanted.
    policies : sequence of Policy
        Each with a name of its own.
    progress, checkpoint, save_every, resume
        As of `run_backtest`.

    Returns
    -------
    dict of str to BacktestResult
        By name, in the order given; the ``benchmarks`` of each are the other policies, except one
        called ``strategy``.

    Raises
    ------
    InputError
        When there is no policy or two have one name, and as `run_backtest`.
    """
    if not policies:
        raise InputError("there is no policy to run", remedy="give at least one")
    course = Course.of(panel, settings or BacktestSettings(), policies, n_told=len(policies))
    _run(panel, course, _checkpoint(panel, course, checkpoint, save_every), resume, progress)
    return {policy.name: course.result(panel, n) for n, policy in enumerate(policies)}


def _checkpoint(
    panel: MarketPanel, course: Course, directory: Path | None, save_every: int | None
) -> Checkpoint | None:
    if directory is None:
        return None
    return Checkpoint(Path(directory), key_of(panel, course.settings, course.policies), save_every)


def _run(
    panel: MarketPanel,
    course: Course,
    checkpoint: Checkpoint | None,
    resume: bool,
    progress: Progress | None,
) -> None:
    """Let the policies live through the days, from the first or from where a checkpoint ends."""
    settings = course.settings
    days = exec_days(*settings.span(panel))
    with checkpoint or nullcontext():
        done = 0 if checkpoint is None else course.relive(checkpoint.open(resume=resume))
        icebox, gas = IceboxDays(panel, settings.parameters), settings.gas
        almanac = Almanac(settings.parameters, settings.forecaster, panel, days[-1])
        views = panel.walk([*days[done:], days[-1] + timedelta(days=1)])
        tomorrow = next(views)
        for n in range(done + 1, len(days) + 1):
            today, tomorrow = tomorrow, next(views)
            inputs = observe(today, settings.parameters, settings.forecaster, icebox, gas, almanac)
            course.advance(inputs, tomorrow)
            if checkpoint is not None and (checkpoint.is_due(n - done) or n == len(days)):
                checkpoint.save(n - done, course.days_since(done), course.state())
                done = n
            if progress is not None:
                progress(n, len(days))
