"""What known and imagined shocks do to a loop: equity lost and liquidation by leverage.

A shock is a path of a few rounded numbers, made by hand after what was seen: the price of the
collateral in units of the borrowed coin (close, and low where it was much lower), and what happens
to rates and cash. It starts from a loop that was opened the day before at par. Nobody trades while
it lasts, as one cannot count on it; liquidators do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import pandas as pd

from stableyield.domain.rates import DAYS_PER_YEAR
from stableyield.errors import InfeasibleError
from stableyield.loops.accounting import (
    LegRates,
    LiquidationTerms,
    LoopBook,
    Prices,
    accrue,
    liquidate,
)
from stableyield.loops.formulas import leverage_limit
from stableyield.loops.settings import check_between

_DAY = 1.0 / DAYS_PER_YEAR
_STEP = 0.01  # of leverage, in the search for the largest one that is safe enough


@dataclass(frozen=True, slots=True)
class Shock:
    """A shock, day by day.

    Parameters
    ----------
    name : str
    closes : tuple of float
        Price of the collateral over that of the debt at the end of each day.
    lows : tuple of float
        Lowest of each day; as long as ``closes``, or empty: the closes.
    supply_apr, borrow_apr : float
        While it lasts; fractions.
    can_leave : bool
        False: there is no cash to withdraw, so the position cannot be left at the end either.
    coin : str
        The coin it happened to; empty: any.
    text : str
        What it is after.
    """

    name: str
    closes: tuple[float, ...]
    lows: tuple[float, ...] = ()
    supply_apr: float = 0.04
    borrow_apr: float = 0.05
    can_leave: bool = True
    coin: str = ""
    text: str = ""


SHOCKS: tuple[Shock, ...] = (
    Shock(
        "USDC, March 2023",
        coin="USDC",
        closes=(0.97, 0.99, 0.999),
        lows=(0.875, 0.945, 0.988),
        supply_apr=0.06,
        borrow_apr=0.15,
        text="USDC against USDT after Silicon Valley Bank failed: a low of 0.877 on 11 March, back "
        "within three days. Aave's oracle saw about 0.88.",
    ),
    Shock(
        "UST, May 2022",
        coin="UST",
        closes=(0.79, 0.80, 0.80, 0.41, 0.15, 0.20, 0.13),
        lows=(0.79, 0.68, 0.30, 0.36, 0.13, 0.15, 0.09),
        supply_apr=0.20,
        borrow_apr=0.10,
        text="UST against a coin that held: 0.80 for three days, then gone.",
    ),
    Shock(
        "DAI, March 2023",
        coin="DAI",
        closes=(0.97, 0.99, 0.999),
        lows=(0.895, 0.95, 0.987),
        supply_apr=0.05,
        borrow_apr=0.10,
        text="DAI against USDT: it followed the USDC behind it, low 0.897.",
    ),
    Shock(
        "DAI as debt, March 2020",
        coin="DAI",
        closes=(0.966, 0.915, 1.001, 0.967, 0.972),
        supply_apr=0.04,
        borrow_apr=0.08,
        text="USDC against borrowed DAI: DAI rose to 1.09 while vaults were closed. A debt that "
        "rises hurts as a collateral that falls.",
    ),
    Shock(
        "USDe, October 2025",
        coin="USDe",
        closes=(0.998, 0.999),
        lows=(0.65, 0.995),
        supply_apr=0.08,
        borrow_apr=0.12,
        text="The shape of 10 October 2025: 0.65 for an hour at one exchange, par on the others. "
        "A loop whose oracle reads that exchange is liquidated at 0.65.",
    ),
    Shock("-5 %", closes=(0.95,) * 7, text="Synthetic: 5 % lost and not regained in a week."),
    Shock("-12 %", closes=(0.88,) * 7, text="Synthetic: 12 % lost and not regained in a week."),
    Shock(
        "Utilisation 100 %",
        closes=(1.0,) * 30,
        supply_apr=0.45,
        borrow_apr=0.60,
        can_leave=False,
        text="Synthetic: nothing can be withdrawn for 30 days; the debt costs 60 %, the supply "
        "earns 45 %.",
    ),
    Shock(
        "Borrow-rate spike",
        closes=(1.0,) * 7,
        supply_apr=0.04,
        borrow_apr=0.60,
        text="Synthetic: the borrowed coin costs 60 % for a week, the supplied one earns 4 %.",
    ),
)


def shocks_of(assets: Sequence[str] | None) -> tuple[Shock, ...]:
    """The shocks that concern these coins: their own, and those of any coin; of all coins."""
    if assets is None:
        return SHOCKS
    return tuple(shock for shock in SHOCKS if not shock.coin or shock.coin in assets)


# liquidation threshold -> liquidator's bonus: base assets, and a stablecoin e-mode
THRESHOLDS: Mapping[float, float] = MappingProxyType({0.78: 0.05, 0.95: 0.01})
_EMODE_THRESHOLD = 0.9
LEVERAGES = (1.0, 1.5, 2.0, 2.5, 3.0, 3.439, 4.0)


def bonus_of(liquidation_threshold: float) -> float:
    """The liquidator's bonus that goes with a threshold: 1 % in a stablecoin e-mode, else 5 %."""
    return 0.01 if liquidation_threshold >= _EMODE_THRESHOLD else 0.05


@dataclass(frozen=True, slots=True)
class ShockOutcome:
    """What a shock does to a loop that was worth 1; fractions of equity.

    Parameters
    ----------
    loss : float
        Largest fall of equity below its start on the way, marked to the day's lowest price.
    end_loss : float
        Fall that is left when it is over; negative: a gain.
    health_factor : float
        Lowest; infinite without debt.
    is_liquidated : bool
    liquidated : float
        Collateral that liquidators took.
    shortfall : float
        Debt that no collateral covered.
    is_stuck : bool
        Whether the position could not be left at the end.
    """

    loss: float
    end_loss: float
    health_factor: float
    is_liquidated: bool
    liquidated: float
    shortfall: float
    is_stuck: bool


def run_shock(shock: Shock, leverage: float, terms: LiquidationTerms) -> ShockOutcome:
    """Carry a loop of equity 1,000,000 USD through a shock.

    Raises
    ------
    ParameterError
        When ``leverage`` is below 1.
    """
    check_between("leverage", leverage, 1.0, 1000.0)
    start = 1_000_000.0
    debt_asset = "debt" if leverage > 1.0 else ""
    book = LoopBook("collateral", leverage * start, debt_asset, (leverage - 1.0) * start, True)
    rates = LegRates(shock.supply_apr, shock.borrow_apr)
    before, lowest, health, taken, shortfall, n_calls = Prices(), start, math.inf, 0.0, 0.0, 0
    for low, close in zip(shock.lows or shock.closes, shock.closes, strict=True):
        at_low, at_close = Prices(min(low, close)), Prices(close)
        book = accrue(book, rates, _DAY, before, at_low).book
        health = min(health, book.health_factor(at_low, terms.liquidation_threshold))
        lowest = min(lowest, book.equity_usd(at_low))
        for prices in (at_low, at_close):
            call = liquidate(book, prices, terms)
            book, n_calls = call.book, n_calls + call.n_calls
            taken, shortfall = taken + call.seized_usd, shortfall + call.shortfall_usd
            lowest = min(lowest, book.equity_usd(prices))
        before = at_close
    return ShockOutcome(
        loss=min(1.0, 1.0 - lowest / start),
        end_loss=1.0 - book.equity_usd(before) / start,
        health_factor=health,
        is_liquidated=n_calls > 0,
        liquidated=taken / start,
        shortfall=shortfall / start,
        is_stuck=not shock.can_leave,
    )


def stress_table(
    leverages: Sequence[float] = LEVERAGES,
    thresholds: Mapping[float, float] = THRESHOLDS,
    shocks: Sequence[Shock] = SHOCKS,
) -> pd.DataFrame:
    """Equity loss and liquidation per shock, liquidation threshold and leverage.

    A leverage that the threshold does not allow (health factor below 1 at par) has no row.

    Returns
    -------
    DataFrame
        shock, liquidation_threshold, leverage, loss_pct, end_loss_pct, min_health_factor (NaN
        without debt), is_liquidated, liquidated_pct, shortfall_pct, is_stuck; percent of equity.

    Raises
    ------
    ParameterError
        When a threshold or a leverage is out of bounds.
    """
    for threshold in thresholds:
        check_between("liquidation threshold", threshold, 0.01, 1.0)
    rows = [
        _row(shock, leverage, LiquidationTerms(threshold, bonus))
        for shock in shocks
        for threshold, bonus in thresholds.items()
        for leverage in leverages
        if leverage * (1.0 - threshold) < 1.0
    ]
    return pd.DataFrame(rows)


def _row(shock: Shock, leverage: float, terms: LiquidationTerms) -> dict[str, object]:
    outcome = run_shock(shock, leverage, terms)
    health = outcome.health_factor
    return {
        "shock": shock.name,
        "liquidation_threshold": terms.liquidation_threshold,
        "leverage": leverage,
        "loss_pct": 100.0 * outcome.loss,
        "end_loss_pct": 100.0 * outcome.end_loss,
        "min_health_factor": health if math.isfinite(health) else math.nan,
        "is_liquidated": outcome.is_liquidated,
        "liquidated_pct": 100.0 * outcome.liquidated,
        "shortfall_pct": 100.0 * outcome.shortfall,
        "is_stuck": outcome.is_stuck,
    }


@dataclass(frozen=True, slots=True)
class SafeLeverage:
    """The largest leverage within a loss, and the shock that binds the next larger one."""

    leverage: float
    loss: float
    worst_shock: str
    losses: Mapping[str, float] = field(default_factory=dict)


def leverage_for_max_loss(
    max_loss: float,
    terms: LiquidationTerms,
    shocks: Sequence[Shock] = SHOCKS,
    measure: Literal["lowest", "end"] = "lowest",
) -> SafeLeverage:
    """Largest leverage, in steps of 0.01, at which no shock costs more than ``max_loss`` of equity.

    Every leverage below it is within the loss as well.

    Parameters
    ----------
    max_loss : float
        Fraction of equity.
    terms : LiquidationTerms
    shocks : sequence of Shock
    measure : {"lowest", "end"}
        The loss at the lowest point, or the one that is left when the shock is over.

    Raises
    ------
    InfeasibleError
        When a shock costs more than that even without leverage; it is named.
    ParameterError
        When ``max_loss`` is no fraction.
    """
    check_between("max_loss", max_loss, 0.0, 1.0)
    check_between("liquidation threshold", terms.liquidation_threshold, 0.01, 1.0)
    highest = leverage_limit(terms.liquidation_threshold) if terms.liquidation_threshold < 1 else 99
    found: SafeLeverage | None = None
    for step in range(int((min(highest, 100.0) - 1.0) / _STEP) + 1):
        leverage = 1.0 + step * _STEP
        outcomes = {shock.name: run_shock(shock, leverage, terms) for shock in shocks}
        losses = {n: o.loss if measure == "lowest" else o.end_loss for n, o in outcomes.items()}
        worst = max(losses, key=lambda name: losses[name])
        if losses[worst] > max_loss:
            if found is None:
                raise InfeasibleError(
                    f"{worst} costs {losses[worst]:.1%} of equity without any leverage",
                    where=f"max_loss {max_loss:.1%}",
                    remedy="allow a larger loss, or leave out the shock of a coin you do not use",
                )
            return SafeLeverage(found.leverage, found.loss, worst, found.losses)
        found = SafeLeverage(round(leverage, 2), losses[worst], worst, losses)
    assert found is not None
    return found
