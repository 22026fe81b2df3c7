"""Run the five backtests that split regret by cause; see `stableyield.study.attribution`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from stableyield.backtest import BacktestSettings, GasPricing
from stableyield.backtest.clairvoyant import Clairvoyant
from stableyield.backtest.engine import run_policies
from stableyield.backtest.policy import MilpPolicy, Policy
from stableyield.domain.costs import GasCosts
from stableyield.errors import ParameterError
from stableyield.market.panel import MarketPanel
from stableyield.study.attribution import Regret, without_diversification
from stableyield.study.outcome import Outcome

# a cent, not nothing: free conversions can go in circles that no order of steps can pay
FREE_GAS = GasPricing(fixed=GasCosts(0.01, 0.01, 0.01))
FREE_CONVERSION = 1e-7
HOLDING_DAYS = (7, 30)


@dataclass(frozen=True, eq=False)
class Rung:
    """One of the five backtests.

    Parameters
    ----------
    policies : tuple of Policy
        The one that ends with the highest profit counts.
    settings : BacktestSettings
    """

    policies: tuple[Policy, ...]
    settings: BacktestSettings

    def run(self, panel: MarketPanel) -> Outcome:
        """What it comes to."""
        results = run_policies(panel, self.settings, self.policies)
        outcomes = (Outcome.of(result) for result in results.values())
        return max(outcomes, key=lambda outcome: outcome.profit_usd)


def ladder(
    panel: MarketPanel,
    settings: BacktestSettings,
    policy: Policy | None = None,
    holding_days: Sequence[int] = HOLDING_DAYS,
) -> tuple[Rung, ...]:
    """The backtests A to E, each free of one more burden than the one before.

    Parameters
    ----------
    panel : MarketPanel
    settings : BacktestSettings
        Of the strategy.
    policy : Policy, optional
        A; the optimiser unless given.
    holding_days : sequence of int
        Holding periods of the clairvoyant where moving costs something.
    """
    same = replace(settings, with_benchmarks=False)
    loose = replace(same, parameters=without_diversification(same.parameters))
    free_of_fees = loose.parameters.with_overrides({"conversion_rate": FREE_CONVERSION})
    free = replace(loose, parameters=free_of_fees, gas=FREE_GAS)
    undiluted = free.parameters.with_overrides({"own_impact": "none"})
    patient = tuple(Clairvoyant(panel, days, f"clairvoyant_{days}_days") for days in holding_days)
    one_day = (Clairvoyant(panel, 1),)
    return (
        Rung((policy or MilpPolicy(),), same),
        Rung(patient, same),
        Rung(patient, loose),
        Rung(one_day, free),
        Rung(one_day, replace(free, parameters=undiluted)),
    )


def regret(
    panel: MarketPanel,
    settings: BacktestSettings | None = None,
    *,
    policy: Policy | None = None,
    holding_days: Sequence[int] = HOLDING_DAYS,
    progress: Callable[[int, int], None] | None = None,
) -> Regret:
    """What perfect foresight without limits, costs and dilution earns more, and by what.

    Parameters
    ----------
    panel : MarketPanel
    settings : BacktestSettings, optional
    policy : Policy, optional
        The strategy; the optimiser unless given. It is run once and must be new.
    holding_days : sequence of int
        Holding periods of the clairvoyant where moving costs something: the best one counts.
    progress : callable, optional
        Called with the number of backtests done and of all.

    Raises
    ------
    ParameterError
        When there is no holding period, or one is below a day.
    InputError
        When a setting does not fit the market.
    """
    if not holding_days or min(holding_days) < 1:
        raise ParameterError(
            f"holding_days are {list(holding_days)}", remedy="give at least one, of 1 day or more"
        )
    rungs = ladder(panel, settings or BacktestSettings(), policy, holding_days)
    outcomes = []
    for n_done, rung in enumerate(rungs, start=1):
        outcomes.append(rung.run(panel))
        if progress is not None:
            progress(n_done, len(rungs))
    return Regret(tuple(outcomes))
