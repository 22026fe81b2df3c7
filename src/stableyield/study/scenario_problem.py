"""From a scenario to its allocation problem, whatever its market is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stableyield.allocation import AllocationProblem, read_problem
from stableyield.backtest.day import GasPricing, observe, prepare
from stableyield.config import AllocationParameters
from stableyield.domain.portfolio import Book, price_of
from stableyield.errors import InputError, ParameterError
from stableyield.forecast import BASELINES, Forecaster, ForeignForecaster, baseline
from stableyield.market.files import read_market
from stableyield.market.mock import mock_instance
from stableyield.market.panel import MarketPanel
from stableyield.screening import IceboxTracker
from stableyield.study.scenario import MarketDay, MockMarket, ProblemFile, Scenario

Panels = Callable[[Path, bool, bool], MarketPanel]


@dataclass(frozen=True, eq=False)
class Task:
    """A scenario and its problem, ready to be solved.

    Parameters
    ----------
    scenario : Scenario
    problem : AllocationProblem
    assumptions : tuple of str
        What was assumed because the market lacks it.
    """

    scenario: Scenario
    problem: AllocationProblem
    assumptions: tuple[str, ...] = ()


def panel_cache() -> Panels:
    """A reader of market directories that reads each of them once."""

    @cache
    def read(directory: Path, assume_par: bool, confirm_percent: bool) -> MarketPanel:
        return read_market(directory, assume_par=assume_par, confirm_percent=confirm_percent)

    return read


def task_of(scenario: Scenario, panels: Panels) -> Task:
    """The problem of a scenario.

    Raises
    ------
    InputError
        When the problem file, the market or a parameter is wrong; names the scenario.
    """
    try:
        return _task(scenario, panels)
    except InputError as error:
        where = f"{scenario.where}: {error.where}" if error.where else scenario.where
        raise type(error)(
            error.what, where=where, remedy=error.remedy, details=error.details
        ) from error


def _task(scenario: Scenario, panels: Panels) -> Task:
    market = scenario.market
    if isinstance(market, MarketDay):
        panel = panels(market.directory, market.assume_par, market.confirm_percent)
        parameters = _overridden(AllocationParameters(), scenario.parameters)
        return _on_day(scenario, market, panel, parameters)
    problem = read_problem(market.path) if isinstance(market, ProblemFile) else _mock(market)
    parameters = _overridden(problem.parameters, scenario.parameters)
    return Task(scenario, problem.with_parameters(parameters))


def _overridden(
    base: AllocationParameters, overrides: Mapping[str, object]
) -> AllocationParameters:
    """The parameters; ``on_failure = raise`` is hold: a scenario without a plan is a result."""
    parameters = base.with_overrides(overrides)
    if parameters.on_failure == "raise":
        return parameters.with_overrides({"on_failure": "hold"})
    return parameters


def _mock(market: MockMarket) -> AllocationProblem:
    gas = None if market.gas_of is None else mock_instance(market.gas_of, market.seed).gas_usd
    return read_problem(
        mock_instance(market.pools, market.seed, market.aum_usd, gas_usd=gas).problem
    )


def _on_day(
    scenario: Scenario, market: MarketDay, panel: MarketPanel, parameters: AllocationParameters
) -> Task:
    forecaster = _forecaster(market.forecast)
    gas = GasPricing(fixed=market.gas_usd.costs if market.gas_usd is not None else None)
    view = panel.as_of(market.day)
    price = price_of(market.token, view.prices_usd, f"start token on {market.day}")
    book = Book({market.token: market.aum_usd / price})
    inputs = observe(view, parameters, forecaster, IceboxTracker(parameters), gas)
    prepared = prepare(inputs, book, parameters)
    fixed = () if gas.fixed is None else ("Gas costs in USD are fixed, as given.",)
    return Task(
        scenario, prepared.problem, (*panel.provenance.assumptions, *fixed, *prepared.flags)
    )


def _forecaster(name: str) -> Forecaster:
    if name == "foreign":
        return ForeignForecaster()
    if name not in BASELINES:
        raise ParameterError(
            f"no forecaster is called {name!r}",
            remedy=f"choose one of {', '.join([*BASELINES, 'foreign'])}",
        )
    return baseline(name)
