"""How much money a strategy can carry: net APY against AUM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from stableyield.backtest import BacktestSettings, run_backtest
from stableyield.backtest.policy import MilpPolicy, Policy
from stableyield.errors import ParameterError
from stableyield.market.panel import MarketPanel
from stableyield.study.outcome import Outcome

AUM_USD = (1e4, 1e5, 1e6, 1e7, 1e8, 1e9)
PolicyOf = Callable[[], Policy]


@dataclass(frozen=True)
class CapacityCurve:
    """Outcomes of one policy on the same days with more and more money.

    At the small end fixed gas eats the yield, at the large end pools are too small: their size
    limits leave cash idle, and our own deposits dilute their rates.

    Parameters
    ----------
    policy : str
    outcomes : tuple of Outcome
        By ascending AUM.
    """

    policy: str
    outcomes: tuple[Outcome, ...]

    @property
    def best(self) -> Outcome:
        """The AUM with the highest net APY; the smallest of equal ones."""
        return max(self.outcomes, key=lambda outcome: outcome.net_apy_pct)

    def largest_aum_usd(self, least_apy_pct: float) -> float | None:
        """The largest AUM of the curve that still earns ``least_apy_pct`` net; None: no one."""
        able = (o.aum_start_usd for o in self.outcomes if o.net_apy_pct >= least_apy_pct)
        return max(able, default=None)


def capacity_curve(
    panel: MarketPanel,
    settings: BacktestSettings | None = None,
    *,
    aum_usd: Sequence[float] = AUM_USD,
    policy_of: PolicyOf = MilpPolicy,
    progress: Callable[[int, int], None] | None = None,
) -> CapacityCurve:
    """Backtest a policy with different AUM over the same days.

    Parameters
    ----------
    panel : MarketPanel
    settings : BacktestSettings, optional
    aum_usd : sequence of float
        At least one; USD to start with.
    policy_of : callable
        Makes a new policy for each backtest; the strategy unless given.
    progress : callable, optional
        Called with the number of backtests done and of all.

    Raises
    ------
    ParameterError
        When no AUM is given, or one is not positive.
    """
    if not aum_usd or not min(aum_usd) > 0.0:
        raise ParameterError(f"aum_usd is {list(aum_usd)}", remedy="give positive amounts of USD")
    settings = replace(settings or BacktestSettings(), with_benchmarks=False)
    outcomes = []
    for n_done, usd in enumerate(sorted(aum_usd), start=1):
        result = run_backtest(panel, replace(settings, aum_usd=usd), policy=policy_of())
        outcomes.append(Outcome.of(result))
        if progress is not None:
            progress(n_done, len(aum_usd))
    return CapacityCurve(outcomes[0].policy, tuple(outcomes))
