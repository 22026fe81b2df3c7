"""The research notebook's own arithmetic, wrong as it is, beside the right one, step by step.

The notebook chose its supply rate among the columns *like* ``apyBase``. That text is a part of
``apyBaseBorrow`` too, so its best "supply" rate was the highest of all supply **and borrow** rates,
its spread could never be negative, and its run showed 19.81 % a year with a Sharpe ratio of 26.9
and no drawdown at all. `notebook_days` does the same on purpose; `corrections` takes one error away
after the other, and says what each was worth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.domain.rates import DAYS_PER_YEAR
from stableyield.errors import MissingDataError
from stableyield.loops.formulas import leverage
from stableyield.loops.rates import LoopRates
from stableyield.loops.result import LoopResult
from stableyield.loops.risk_table import RiskTable, shipped_risk_table
from stableyield.loops.settings import LoopTarget
from stableyield.loops.statistics import best_pairs

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

NOTEBOOK_LTV = 0.9
NOTEBOOK_ROUNDS = 3
NOTEBOOK_LEVERAGE = leverage(NOTEBOOK_LTV, NOTEBOOK_ROUNDS)


@dataclass(frozen=True, slots=True)
class Correction:
    """An error of the notebook: its name, and what is right."""

    name: str
    text: str


CORRECTIONS: tuple[Correction, ...] = (
    Correction(
        "As the notebook had it",
        "The best of supply and borrow rates counts as supply; the rate of a day is earned on the "
        "day on which it is read; any leverage is granted; nothing costs anything.",
    ),
    Correction(
        "Supply rates only",
        "The column is matched exactly: what borrowers pay is not what suppliers get.",
    ),
    Correction(
        "Two different assets",
        "Borrowing the coin that is supplied earns nothing: the pair has two coins, chosen for "
        "the largest spread.",
    ),
    Correction(
        "Decided today, earned tomorrow",
        "The pair is chosen from the rates of a day and earns those of the next.",
    ),
    Correction(
        "What the market lends on that day",
        "Leverage within the LTV and e-mode of the date; no leverage where a pair may not be "
        "borrowed.",
    ),
    Correction(
        "Costs, prices and a reason to move",
        "The run of this report: gas, swaps and flash loans are paid, prices are those given, "
        "leverage is taken off while the spread is negative, own size as set.",
    ),
)


def notebook_leverage(target: LoopTarget) -> float:
    """Leverage of the comparison: the target's own, or 0.9 and 3 rounds where it has none."""
    return NOTEBOOK_LEVERAGE if target.wanted_health_factor is not None else target.size(1.0)


def notebook_days(market: LoopRates, leverage: float = NOTEBOOK_LEVERAGE) -> pd.DataFrame:
    """The notebook's numbers and the right ones, day by day; APR in percent.

    Returns
    -------
    DataFrame
        date; wrong_supply ("USDC borrow": a borrow rate that was taken for a supply rate),
        wrong_supply_pct, wrong_borrow, wrong_borrow_pct, wrong_spread_pct, wrong_net_pct;
        supply_asset, supply_apr_pct, borrow_asset, borrow_apr_pct, spread_pct, net_pct of the pair
        with the largest spread. A day without a pair has no row.

    Raises
    ------
    MissingDataError
        When no day has a pair.
    """
    days = _Pairs.of(market)
    i, j, rows = days.supply, days.borrow, days.rows
    both = np.concatenate((days.supply_pct[rows], days.borrow_pct[rows]), axis=1)
    filled = np.where(np.isfinite(both), both, -np.inf)
    taken, cheapest = filled.argmax(axis=1), _cheapest(days.borrow_pct[rows])
    n, n_assets = np.arange(len(rows)), len(market.assets)
    wrong_supply, wrong_borrow = both[n, taken], days.borrow_pct[rows, cheapest]
    names = np.array(market.assets, dtype=object)
    labels = np.array([f"{a} {side}" for side in ("supply", "borrow") for a in market.assets])
    supply, borrow = days.supply_pct[rows, i], days.borrow_pct[rows, j]
    return pd.DataFrame(
        {
            "date": market.days[rows].astype("datetime64[us]"),
            "wrong_supply": labels[taken],
            "wrong_supply_pct": wrong_supply,
            "wrong_borrow": names[cheapest],
            "wrong_borrow_pct": wrong_borrow,
            "wrong_spread_pct": wrong_supply - wrong_borrow,
            "wrong_net_pct": _net(leverage, wrong_supply, wrong_borrow),
            "supply_asset": names[i],
            "supply_apr_pct": supply,
            "borrow_asset": names[j],
            "borrow_apr_pct": borrow,
            "spread_pct": supply - borrow,
            "net_pct": _net(leverage, supply, borrow),
            "is_borrow_rate": taken >= n_assets,
        }
    )


def corrections(result: LoopResult, risk: RiskTable | None = None) -> pd.DataFrame:
    """What each of `CORRECTIONS` leaves of the notebook's rate, market by market.

    Parameters
    ----------
    result : LoopResult
    risk : RiskTable, optional
        The one of the run, where it was not the shipped one.

    Returns
    -------
    DataFrame
        market, step (0: the notebook), correction, text, leverage (average), net_apr_pct (average
        rate on equity; of the run the annualised logarithm of its growth,
        NaN where the equity was lost), change_points against
        the step before, sharpe (against 0, as the notebook), max_drawdown_pct,
        days_negative_spread; the last row of a market, without a step, is the best without
        leverage.
    """
    size = notebook_leverage(result.settings.target)
    table = risk or shipped_risk_table()
    parts = [
        _of_market(market, result, size, table) for market in result.rates if _Pairs.exist(market)
    ]
    if not parts:
        raise MissingDataError(
            "no market has a pair to compare",
            where=", ".join(m.name for m in result.rates),
            remedy="two assets with a supply and a borrow rate are needed",
        )
    return pd.concat(parts, ignore_index=True)


def _of_market(
    market: LoopRates, result: LoopResult, size: float, table: RiskTable
) -> pd.DataFrame:
    days = notebook_days(market, size)
    pairs = _Pairs.of(market)
    own, cheapest = _best_supply(pairs), _cheapest(pairs.borrow_pct[pairs.rows])
    n = pairs.rows
    s, b = pairs.supply_pct[n, own], pairs.borrow_pct[n, cheapest]
    later_s, later_b, at = pairs.tomorrow()
    sizes = _allowed(market, pairs, at, size, table)
    steps = [
        _summary(_column(days, "wrong_net_pct"), _column(days, "wrong_spread_pct"), size),
        _summary(_net(size, s, b), s - b, size),
        _summary(_column(days, "net_pct"), _column(days, "spread_pct"), size),
        _summary(_net(size, later_s, later_b), later_s - later_b, size),
        _summary(_net(sizes, later_s, later_b), (later_s - later_b)[sizes > 1.0], sizes.mean()),
        _of_run(result.daily, market.name),
    ]
    rows = [
        {"step": n, "correction": c.name, "text": c.text, **values}
        for n, (c, values) in enumerate(zip(CORRECTIONS, steps, strict=True))
    ]
    plain = _of_run(result.unlevered, market.name)
    text = "The same machine, days and costs at leverage 1: what the loop has to beat."
    rows.append({"step": math.nan, "correction": "Without leverage", "text": text, **plain})
    frame = pd.DataFrame(rows)
    change = frame["net_apr_pct"].diff().where(frame["step"] > 0)
    return frame.assign(market=market.name, change_points=change)


def _of_run(daily: pd.DataFrame, market: str) -> dict[str, float]:
    rows = daily[daily["market"] == market]
    growth = (rows["equity_usd"] / rows["equity_start_usd"]).to_numpy(np.float64)
    looped = rows["borrow_asset"] != ""
    with np.errstate(divide="ignore"):
        rate = 100.0 * np.log(growth) * DAYS_PER_YEAR
    spread = rows.loc[looped, "spread_pct"].to_numpy(np.float64)
    return _summary(rate, spread, float(rows["leverage"].mean()))


def _column(frame: pd.DataFrame, name: str) -> Floats:
    values: Floats = frame[name].to_numpy(dtype=np.float64)
    return values


def _summary(net_pct: Floats, spread_pct: Floats, size: float) -> dict[str, float]:
    """Average, Sharpe ratio against 0, drawdown and days of negative spread of daily net rates."""
    net = net_pct
    if not np.isfinite(net).all():  # the equity is gone: no rate says that
        lost = {"net_apr_pct": math.nan, "sharpe": math.nan, "max_drawdown_pct": -100.0}
        return {"leverage": float(size), **lost, "days_negative_spread": _n_negative(spread_pct)}
    curve = np.exp(np.concatenate(([0.0], np.cumsum(net / 100.0 / DAYS_PER_YEAR))))
    deviation = float(net.std(ddof=1)) if len(net) > 1 else 0.0
    return {
        "leverage": float(size),
        "net_apr_pct": float(net.mean()),
        "sharpe": float(net.mean() / deviation / math.sqrt(1.0 / DAYS_PER_YEAR))
        if deviation > 0.0
        else math.nan,
        "max_drawdown_pct": 100.0 * float((curve / np.maximum.accumulate(curve) - 1.0).min()),
        "days_negative_spread": _n_negative(spread_pct),
    }


def _n_negative(spread_pct: Floats) -> int:
    return int((spread_pct < 0.0).sum())


def _net(size: float | Floats, supply_pct: Floats, borrow_pct: Floats) -> Floats:
    """`formulas.net_apr` on arrays."""
    result: Floats = size * supply_pct - (size - 1.0) * borrow_pct
    return result


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Rates of a market, and the best pair of each day that has one."""

    supply_pct: Floats
    borrow_pct: Floats
    rows: Rows
    supply: Rows
    borrow: Rows

    @staticmethod
    def exist(market: LoopRates) -> bool:
        return len(_Pairs._found(market).rows) > 0

    @staticmethod
    def of(market: LoopRates) -> _Pairs:
        found = _Pairs._found(market)
        if not len(found.rows):
            raise MissingDataError(
                "no day has a supply rate and another asset's borrow rate",
                where=market.name,
                remedy="leave the market out",
            )
        return found

    @staticmethod
    def _found(market: LoopRates) -> _Pairs:
        supply = np.where(market.is_fresh, 100.0 * market.supply_apr, np.nan)
        borrow = np.where(market.is_fresh, 100.0 * market.borrow_apr, np.nan)
        rows, i, j = best_pairs(supply, borrow)
        return _Pairs(supply, borrow, rows, i, j)

    def tomorrow(self) -> tuple[Floats, Floats, Rows]:
        """Rates of each day's pair on the next day, where known, and which days these are."""
        inside = np.flatnonzero(self.rows + 1 < len(self.supply_pct))
        supply = self.supply_pct[self.rows[inside] + 1, self.supply[inside]]
        borrow = self.borrow_pct[self.rows[inside] + 1, self.borrow[inside]]
        known = np.isfinite(supply) & np.isfinite(borrow)
        return supply[known], borrow[known], inside[known]


def _best_supply(pairs: _Pairs) -> Rows:
    values = pairs.supply_pct[pairs.rows]
    best: Rows = np.where(np.isfinite(values), values, -np.inf).argmax(axis=1)
    return best


def _cheapest(borrow_pct: Floats) -> Rows:
    lowest: Rows = np.where(np.isfinite(borrow_pct), borrow_pct, np.inf).argmin(axis=1)
    return lowest


def _allowed(
    market: LoopRates,
    pairs: _Pairs,
    at: Rows,
    size: float,
    table: RiskTable,
) -> Floats:
    """Leverage within what the market lends to each day's pair; 1 where nothing."""
    days = market.days.tolist()
    sizes = []
    for k in at:
        pair = market.assets[pairs.supply[k]], market.assets[pairs.borrow[k]]
        try:
            risk = table.risk_on(days[pairs.rows[k]], market.chain, market.protocol, *pair)
        except MissingDataError:
            sizes.append(1.0)
            continue
        limit = 1.0 / (1.0 - risk.ltv) if risk.can_open else 1.0
        by_rounds = leverage(min(NOTEBOOK_LTV, risk.ltv), NOTEBOOK_ROUNDS)
        is_notebook = math.isclose(size, NOTEBOOK_LEVERAGE)
        sizes.append(min(size, by_rounds if is_notebook and risk.can_open else limit))
    return np.array(sizes)
