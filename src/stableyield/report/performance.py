"""Performance of one policy from its daily books: pure functions on arrays.

A year has 365 days. A value that does not exist (a Sharpe ratio without volatility) is an
`Undefined` with its reason, never infinity and never a silent 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.portfolio import CENT_USD
from stableyield.domain.rates import DAYS_PER_YEAR, annualised, day_return
from stableyield.errors import ContractError

Floats = NDArray[np.float64]

BPS = 1e4
ZERO_VOLATILITY = 1e-12  # of a day; below it a constant growth is only rounded differently
HIGHEST_LOG_APY = math.log(1e6)  # a rate beyond a million times a year has no meaning
MOST_COST = 100.0  # multiples of the paid costs beyond which nobody asks


@dataclass(frozen=True, slots=True)
class Undefined:
    """A metric that has no value, and why."""

    reason: str


Value = float | Undefined


@dataclass(frozen=True, eq=False)
class PolicyDays:
    """What one policy's book did on each day: arrays of shape (n_days,), USD.

    Parameters
    ----------
    aum_start, aum_end : ndarray
        AUM before the day's plan, with what the owner brought that day, and one day later; not
        negative. A day that starts with 0 has no money to work with.
    gas_usd, conversion_usd, turnover_usd : ndarray
        Costs and moved money of the day's plan.
    flow_usd : ndarray, optional
        What the owner brought (positive) or took before the day's plan; ``aum_start`` contains
        it. Absent: nothing.

    Raises
    ------
    ContractError
        When there is no day, the lengths differ, an amount is unknown or negative, no day has
        money, or money comes from nowhere.
    """

    aum_start: Floats
    aum_end: Floats
    gas_usd: Floats
    conversion_usd: Floats
    turnover_usd: Floats
    flow_usd: Floats | None = None

    def __post_init__(self) -> None:
        n_days = len(self.aum_start)
        if n_days == 0:
            raise ContractError("a backtest without a day has no performance")
        for name in ("aum_start", "aum_end", "gas_usd", "conversion_usd", "turnover_usd"):
            self._check(name, lowest=0.0)
        if self.flow_usd is not None:
            self._check("flow_usd", lowest=-math.inf)
        if not self.has_money.any():
            raise ContractError("no day has any money", remedy="start with some, or bring some")
        _refuse(~self.has_money & (self.aum_end > 0.0), "a book without money ends with some")

    def _check(self, name: str, lowest: float) -> None:
        values, n_days = getattr(self, name), len(self.aum_start)
        if values.shape != (n_days,):
            raise ContractError(f"{name} has shape {values.shape}, expected ({n_days},)")
        bad = ~np.isfinite(values) | (values < lowest)
        if bad.any():
            _refuse(bad, f"{name} is {values[int(np.argmax(bad))]}")

    @cached_property
    def has_money(self) -> NDArray[np.bool_]:
        """Days that had money to work with; the others say nothing of performance."""
        return self.aum_start > 0.0

    @cached_property
    def costs_usd(self) -> Floats:
        """Gas and conversion fees of each day."""
        return self.gas_usd + self.conversion_usd

    @cached_property
    def daily_growth(self) -> Floats:
        """Net growth factor of every day: ``aum_end / aum_start``, 1 on a day without money.

        Chained it is the time-weighted return: it does not depend on when the owner brings or
        takes money.
        """
        return np.divide(
            self.aum_end, self.aum_start, out=np.ones_like(self.aum_end), where=self.has_money
        )

    @cached_property
    def growth(self) -> Floats:
        """Net growth factors of the days with money; shape (n_days_with_money,)."""
        result: Floats = self.daily_growth[self.has_money]
        return result

    @cached_property
    def cost_share(self) -> Floats:
        """Costs as a fraction of the money they were taken from, of the days with money."""
        result: Floats = self.costs_usd[self.has_money] / self.aum_start[self.has_money]
        return result

    @cached_property
    def gross_growth(self) -> Floats:
        """Growth factor of what was left after costs: net growth / (1 - cost share)."""
        if np.any(self.cost_share >= 1.0):
            row = int(np.flatnonzero(self.has_money)[np.argmax(self.cost_share >= 1.0)])
            raise ContractError("costs take the whole AUM", where=f"row {row}")
        return self.growth / (1.0 - self.cost_share)

    @cached_property
    def average_usd(self) -> float:
        """Mean money at work over the days that had some."""
        return float(self.aum_start[self.has_money].mean())

    @cached_property
    def curve(self) -> Floats:
        """The first money and its daily growth chained; shape (n_days + 1,)."""
        first = float(self.aum_start[self.has_money][0])
        result: Floats = first * np.concatenate(([1.0], np.cumprod(self.daily_growth)))
        return result

    @property
    def has_flows(self) -> bool:
        """Whether the owner brought or took money."""
        return self.flow_usd is not None and bool(np.any(self.flow_usd != 0.0))

    @property
    def carries_over(self) -> bool:
        """True when each day starts with what the day before ended with."""
        brought = 0.0 if self.flow_usd is None else self.flow_usd[1:]
        before = self.aum_start[1:] - brought
        return bool(np.allclose(before, self.aum_end[:-1], rtol=1e-9, atol=CENT_USD))

    @property
    def profit_usd(self) -> float:
        """What was earned, without what the owner brought or took.

        Where days do not carry over, the first money and its chained growth.
        """
        if self.carries_over:
            return math.fsum(self.aum_end) - math.fsum(self.aum_start)
        return float(self.curve[-1] - self.curve[0])

    @property
    def aum_end_usd(self) -> float:
        """AUM at the end; where days do not carry over, the end of the curve."""
        return float(self.aum_end[-1] if self.carries_over else self.curve[-1])


def _refuse(bad: NDArray[np.bool_], what: str) -> None:
    if bad.any():
        raise ContractError(what, where=f"row {int(np.argmax(bad))}", remedy="repair the daily log")


def apy(growth: Floats) -> Value:
    """Annual percentage yield (fraction) of daily growth factors, compounded over 365 days."""
    factor = float(np.prod(growth))
    if factor <= 0.0:
        return -1.0
    if math.log(factor) * DAYS_PER_YEAR / len(growth) > HIGHEST_LOG_APY:
        return Undefined(f"growth of {factor:.4g} in {len(growth)} days has no meaningful APY")
    return annualised(factor, len(growth))


def volatility(growth: Floats) -> Value:
    """Standard deviation of the daily growth (n - 1), times the square root of 365."""
    if len(growth) < 2:
        return Undefined("one day has no volatility")
    return float(np.std(growth, ddof=1) * math.sqrt(DAYS_PER_YEAR))


def sharpe(growth: Floats, risk_free_apy: float = 0.0) -> Value:
    """Mean daily excess growth over its standard deviation, times the square root of 365.

    Sharpe (1994), The Sharpe Ratio, Journal of Portfolio Management 21(1).
    """
    if len(growth) < 2:
        return Undefined("one day has no volatility")
    deviation = float(np.std(growth, ddof=1))
    if deviation < ZERO_VOLATILITY:
        return Undefined("no volatility: every day grew alike")
    excess = float(np.mean(growth - 1.0)) - day_return(risk_free_apy)
    return excess / deviation * math.sqrt(DAYS_PER_YEAR)


def sortino(growth: Floats, risk_free_apy: float = 0.0) -> Value:
    """Mean daily excess growth over its downside deviation, times the square root of 365.

    The downside deviation is the root of the mean squared shortfall below the rate, over *all*
    days. Sortino and Price (1994), Performance Measurement in a Downside Risk Framework.

    Undefined for one day and where every day grew alike: of equal shortfalls of any size it would
    be ``-sqrt(365)``.
    """
    if len(growth) < 2:
        return Undefined("one day has no ratio: its shortfall would be divided by itself")
    excess = growth - 1.0 - day_return(risk_free_apy)
    downside = float(np.sqrt(np.mean(np.square(np.minimum(excess, 0.0)))))
    if downside < ZERO_VOLATILITY:
        return Undefined("no day fell below the stated rate")
    if np.ptp(growth) < ZERO_VOLATILITY:
        return Undefined("every day fell short alike: the ratio is the same whatever the shortfall")
    return float(np.mean(excess)) / downside * math.sqrt(DAYS_PER_YEAR)


def drawdowns(curve: Floats) -> Floats:
    """Distance of each point below the highest point so far, as a fraction, 0 or negative."""
    peak = np.maximum.accumulate(curve)
    result: Floats = curve / peak - 1.0
    return result


def under_water(curve: Floats) -> tuple[int, int]:
    """Days that ended below an earlier high: how many, and the longest run of them."""
    below = curve < np.maximum.accumulate(curve)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], below, [False])).astype(np.int8)))
    runs = edges[1::2] - edges[::2]
    return int(below.sum()), int(runs.max(initial=0))


def bootstrap_apy(
    growth: Floats, *, level: float = 0.90, block_days: int = 14, draws: int = 2000, seed: int = 0
) -> tuple[float, float] | Undefined:
    """Confidence interval of the APY (fractions) from a circular block bootstrap.

    Blocks of consecutive days are drawn with replacement from the days laid out in a circle, so
    that the persistence of yields within a block survives. Politis and Romano (1992), A circular
    block-resampling procedure for stationary data.

    Parameters
    ----------
    growth : ndarray of shape (n_days,)
        Daily growth factors.
    level : float
        Coverage; the two tails are equal.
    block_days, draws, seed : int
    """
    n_days = len(growth)
    if n_days < 2 * block_days:
        return Undefined(f"fewer than two blocks of {block_days} days")
    if np.any(growth <= 0.0):
        return Undefined("a day lost everything")
    logs = np.log(growth)
    running = np.concatenate(([0.0], np.cumsum(np.concatenate((logs, logs[:block_days])))))
    n_blocks, rest = divmod(n_days, block_days)
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, n_days, size=(draws, n_blocks + 1))
    whole = (running[block_days : block_days + n_days] - running[:n_days])[starts[:, :n_blocks]]
    part = (running[rest : rest + n_days] - running[:n_days])[starts[:, n_blocks]]
    log_apy = (whole.sum(axis=1) + part) * (DAYS_PER_YEAR / n_days)
    tails = ((1.0 - level) / 2.0, (1.0 + level) / 2.0)
    if float(np.quantile(log_apy, tails[1])) > HIGHEST_LOG_APY:
        return Undefined("the growth of the best draws has no meaningful APY")
    # no draw above the upper tail changes it, but one that overflows would be infinite
    low, high = np.quantile(np.expm1(np.minimum(log_apy, 2.0 * HIGHEST_LOG_APY)), tails)
    return float(low), float(high)


def break_even_cost(strategy: PolicyDays, other: PolicyDays) -> Value:
    """Smallest multiple of the paid costs at which the strategy's lead over another one is gone.

    Both policies keep their trades and pay the multiple. A strategy that knew of higher costs
    would trade less, so the multiple is a lower bound.
    """
    if np.any(strategy.growth <= 0.0) or np.any(other.growth <= 0.0):
        return Undefined("a day lost everything")

    def lead(multiple: float) -> float:
        mine = np.log(strategy.gross_growth) + np.log1p(-multiple * strategy.cost_share)
        theirs = np.log(other.gross_growth) + np.log1p(-multiple * other.cost_share)
        return float(mine.sum() - theirs.sum())

    if lead(0.0) <= 0.0:
        return Undefined("behind even if trading were free")
    dearest = max(float(strategy.cost_share.max()), float(other.cost_share.max()))
    highest = min(MOST_COST, 0.999 / dearest) if dearest > 0.0 else MOST_COST
    # the lead need not fall steadily: look for its first zero before closing in on it
    grid = np.linspace(0.0, highest, 1001)
    gone = next((i for i, multiple in enumerate(grid) if lead(float(multiple)) <= 0.0), None)
    if gone is None:
        return Undefined(f"the lead outlives {highest:.0f} times the costs")
    low, high = float(grid[gone - 1]), float(grid[gone])
    while high - low > 1e-9 * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if lead(middle) > 0.0 else (low, middle)
    return 0.5 * (low + high)


def concentration(shares: Floats) -> Value:
    """Herfindahl-Hirschman index of the invested money by pool, averaged over the invested days.

    Parameters
    ----------
    shares : ndarray of shape (n_days, n_pools)
        USD or share of AUM in each pool, without the wallet.

    Returns
    -------
    float or Undefined
        1 for one pool, 1/n for n equal pools.
    """
    invested = shares.sum(axis=1)
    held = invested > 0.0
    if not held.any():
        return Undefined("nothing was invested")
    weights = shares[held] / invested[held, None]
    return float(np.square(weights).sum(axis=1).mean())
