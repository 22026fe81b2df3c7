"""`compute_metrics`: every number of the report, as one dictionary that is plain JSON.

A metric without a value is None, and ``undefined`` says why, by the path of the metric.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.portfolio import WALLET
from stableyield.domain.rates import DAYS_PER_YEAR
from stableyield.report import performance
from stableyield.report.books import (
    CLAIRVOYANT,
    EQUAL_WEIGHT,
    STRATEGY,
    is_unusual,
    policy_books,
    read_flags,
)
from stableyield.report.holdings import shares_of_aum
from stableyield.report.luck import deflated_sharpe
from stableyield.report.options import MetricOptions
from stableyield.report.performance import BPS, Floats, PolicyDays, Undefined, Value
from stableyield.report.regimes import regime_rows
from stableyield.study.attribution import captured

if TYPE_CHECKING:
    import pandas as pd

    from stableyield.backtest.result import BacktestResult

_SHORT_RUN_DAYS = 60
_SHORT_MONTH_DAYS = 10
_HIGH_SHARPE = 10.0
_LOW_EXPOSURE_PCT = 80.0
_SURE_PCT = 95.0


_DEFAULT = MetricOptions()


class _Collector:
    """Turns values into plain JSON and remembers why some do not exist."""

    def __init__(self) -> None:
        self.undefined: dict[str, str] = {}

    def collect(self, path: str, values: Mapping[str, Value]) -> dict[str, float | None]:
        plain: dict[str, float | None] = {}
        for key, value in values.items():
            if isinstance(value, Undefined):
                self.undefined[f"{path}.{key}" if path else key] = value.reason
                plain[key] = None
            else:
                plain[key] = value
        return plain


def compute_metrics(result: BacktestResult, options: MetricOptions = _DEFAULT) -> dict[str, Any]:
    """All metrics of a backtest and of its benchmarks.

    Returns
    -------
    dict
        Plain JSON: ``strategy`` and ``benchmarks[policy]`` with the keys of
        `definitions.DEFINITIONS`, ``excess[policy]``, ``pnl``, ``costs``, ``exposure``,
        ``forecast``, ``drawdown``, ``monthly``, ``regimes``, ``days``, ``undefined`` and
        ``warnings``.
        ``*_pct`` are percent, ``*_usd`` US dollars.

    Raises
    ------
    ContractError
        When a day is missing, a benchmark has other days than the strategy, or an AUM is unknown.
    """
    days, books = policy_books(result)
    strategy = books[STRATEGY]
    notes = _Collector()
    metrics: dict[str, Any] = {
        "start": str(days[0]),
        "end": str(days[-1] + np.timedelta64(1, "D")),
        "n_days": len(days),
        "carries_over": strategy.carries_over,
        "options": asdict(options),
        STRATEGY: notes.collect(STRATEGY, core_metrics(strategy, options)),
        "benchmarks": {
            policy: notes.collect(f"benchmarks.{policy}", core_metrics(book, options))
            for policy, book in books.items()
            if policy != STRATEGY
        },
    }
    metrics["excess"] = {
        policy: notes.collect(f"excess.{policy}", _excess(strategy, books[policy]))
        for policy in metrics["benchmarks"]
    }
    metrics.update(notes.collect("", _comparisons(books)))
    metrics["pnl"] = _pnl(result.daily_log)
    metrics["costs"] = _costs(strategy)
    metrics["exposure"] = notes.collect("exposure", _exposure(result.positions, days))
    metrics["forecast"] = notes.collect("forecast", _forecast(result.daily_log))
    metrics["drawdown"] = _drawdown_dates(strategy, days)
    metrics["monthly"] = _monthly(books, days)
    regimes = regime_rows(books, books.get(EQUAL_WEIGHT))
    if isinstance(regimes, Undefined):
        notes.undefined["regimes"] = regimes.reason
    metrics["regimes"] = None if isinstance(regimes, Undefined) else regimes
    metrics["days"] = _day_counts(result.daily_log)
    metrics["undefined"] = notes.undefined
    metrics["warnings"] = _warnings(metrics)
    return metrics


def core_metrics(book: PolicyDays, options: MetricOptions = _DEFAULT) -> dict[str, Value]:
    """The metrics of one policy, by the keys of `definitions.DEFINITIONS`."""
    growth, curve, n_days = book.growth, book.curve, len(book.growth)
    net_apy = performance.apy(growth)
    low, high = _interval(net_apy, growth, options)
    below, longest = performance.under_water(curve)
    per_year = DAYS_PER_YEAR / n_days / book.average_usd
    flows = np.zeros(0) if book.flow_usd is None else book.flow_usd
    return {
        "net_apy_pct": _percent(net_apy),
        "net_apy_low_pct": _percent(low),
        "net_apy_high_pct": _percent(high),
        "gross_apy_pct": _percent(performance.apy(book.gross_growth)),
        "profit_usd": book.profit_usd,
        "aum_start_usd": float(curve[0]),
        "aum_end_usd": book.aum_end_usd,
        "brought_usd": math.fsum(flows[flows > 0.0]),
        "taken_usd": -math.fsum(flows[flows < 0.0]),
        "costs_usd": math.fsum(book.costs_usd),
        "costs_bps_per_year": math.fsum(book.costs_usd) * per_year * BPS,
        "turnover_usd": math.fsum(book.turnover_usd),
        "turnover_per_year": math.fsum(book.turnover_usd) * per_year,
        "volatility_pct": _percent(performance.volatility(growth)),
        "max_drawdown_pct": 100.0 * float(performance.drawdowns(curve).min()),
        "days_under_water": below,
        "longest_under_water_days": longest,
        "hit_rate_pct": 100.0 * float(np.mean(growth > 1.0)),
        "sharpe": performance.sharpe(growth, options.risk_free_apy),
        "sortino": performance.sortino(growth, options.risk_free_apy),
        "deflated_sharpe_pct": _percent(
            deflated_sharpe(
                growth,
                options.risk_free_apy,
                n_trials=options.n_trials,
                trials_deviation=options.trials_deviation,
            )
        ),
    }


def _interval(net_apy: Value, growth: Floats, options: MetricOptions) -> tuple[Value, Value]:
    """Both ends of the net APY's interval; an APY that does not exist has none."""
    if isinstance(net_apy, Undefined):
        return net_apy, net_apy
    found = performance.bootstrap_apy(
        growth, block_days=options.block_days, draws=options.draws, seed=options.seed
    )
    return (found, found) if isinstance(found, Undefined) else found


def _percent(value: Value) -> Value:
    return value if isinstance(value, Undefined) else 100.0 * value


def _excess(strategy: PolicyDays, other: PolicyDays) -> dict[str, Value]:
    mine, theirs = performance.apy(strategy.growth), performance.apy(other.growth)
    lead: Value = Undefined("an APY is undefined")
    if not isinstance(mine, Undefined) and not isinstance(theirs, Undefined):
        lead = 100.0 * (mine - theirs)
    scale = float(strategy.curve[0] / other.curve[0])
    return {
        "net_apy_points": lead,
        "profit_usd": strategy.profit_usd - scale * other.profit_usd,
        "days_ahead_pct": 100.0 * float(np.mean(strategy.daily_growth > other.daily_growth)),
    }


def _comparisons(books: Mapping[str, PolicyDays]) -> dict[str, Value]:
    """Break-even cost against equal weight, and how much of the possible lead was captured."""
    absent = Undefined(f"no benchmark named {EQUAL_WEIGHT}")
    if EQUAL_WEIGHT not in books:
        return {"break_even_cost_multiple": absent, "captured_pct": absent}
    strategy, equal = books[STRATEGY], books[EQUAL_WEIGHT]
    return {
        "break_even_cost_multiple": performance.break_even_cost(strategy, equal),
        "captured_pct": _captured_pct(books),
    }


def _captured_pct(books: Mapping[str, PolicyDays]) -> Value:
    if CLAIRVOYANT not in books:
        return Undefined(f"no benchmark named {CLAIRVOYANT}")
    start_usd = float(books[STRATEGY].curve[0])
    profits = (
        books[name].profit_usd * (start_usd / float(books[name].curve[0]))
        for name in (STRATEGY, EQUAL_WEIGHT, CLAIRVOYANT)
    )
    found = captured(*profits)
    return Undefined(found.reason) if found.share is None else 100.0 * found.share


def _pnl(log: pd.DataFrame) -> dict[str, float]:
    """Where the money came from: sums over the days, USD.

    Where days do not carry over each is of its own AUM, and the sum is not the curve's profit.
    """
    parts = {name: math.fsum(log[name]) for name in ("yield_usd", "price_usd")}
    parts |= {name: -math.fsum(log[name]) for name in ("gas_usd", "conversion_usd")}
    return {**parts, "net_usd": math.fsum(parts.values())}


def _costs(book: PolicyDays) -> dict[str, float]:
    total, average = math.fsum(book.costs_usd), book.average_usd
    return {
        "gas_usd": math.fsum(book.gas_usd),
        "conversion_usd": math.fsum(book.conversion_usd),
        "total_usd": total,
        "bps_of_average_aum": total / average * BPS,
        "average_aum_usd": average,
    }


def _exposure(positions: pd.DataFrame, days: NDArray[np.datetime64]) -> dict[str, Value]:
    shares = shares_of_aum(positions, days, "pool_id")
    pools = shares.without(WALLET)
    invested = pools.matrix.sum(axis=1)
    hhi = performance.concentration(pools.matrix)
    return {
        "invested_pct": 100.0 * float(invested.mean()),
        "invested_min_pct": 100.0 * float(invested.min()),
        "hhi": hhi,
        "effective_pools": hhi if isinstance(hhi, Undefined) else 1.0 / hhi,
        "n_pools_mean": float((pools.matrix > 0.0).sum(axis=1).mean()),
        "largest_pool_pct": 100.0 * float(pools.matrix.max(initial=0.0)),
    }


def _forecast(log: pd.DataFrame) -> dict[str, Value]:
    """What was promised against what came, over the days on which both are known.

    A forecast promises yield less costs and says nothing of token prices, so it is judged against
    the realised P&L without their change; the P&L with it stands beside.
    """
    forecast, actual, price = (
        log[name].to_numpy(dtype=np.float64)
        for name in ("daily_forecast_pnl", "daily_actual_pnl", "price_usd")
    )
    known = np.isfinite(forecast) & np.isfinite(actual) & np.isfinite(price)
    if not known.any():
        absent = Undefined("no day with a forecast and a realised P&L")
        names = ("forecast_usd", "actual_usd", "actual_before_prices_usd", "error_usd")
        more = ("realised_pct", "mean_abs_error_usd")
        return {"n_days": 0, **dict.fromkeys((*names, *more), absent)}
    promised, came = math.fsum(forecast[known]), math.fsum((actual - price)[known])
    return {
        "n_days": int(known.sum()),
        "forecast_usd": promised,
        "actual_usd": math.fsum(actual[known]),
        "actual_before_prices_usd": came,
        "error_usd": came - promised,
        "realised_pct": (
            100.0 * came / promised if promised > 0.0 else Undefined("no gain was forecast")
        ),
        "mean_abs_error_usd": float(np.abs(actual - price - forecast)[known].mean()),
    }


def _drawdown_dates(book: PolicyDays, days: NDArray[np.datetime64]) -> dict[str, str | None]:
    """The high before the deepest fall, its bottom, and the first day back above the high."""
    ends = np.concatenate((days[:1], days + np.timedelta64(1, "D")))
    trough = int(np.argmin(performance.drawdowns(book.curve)))
    peak = int(np.argmax(book.curve[: trough + 1]))
    back = np.flatnonzero(book.curve[trough:] >= book.curve[peak])
    recovered = str(ends[trough + int(back[0])]) if len(back) else None
    return {"peak": str(ends[peak]), "trough": str(ends[trough]), "recovered": recovered}


def _monthly(books: Mapping[str, PolicyDays], days: NDArray[np.datetime64]) -> list[dict[str, Any]]:
    """Each calendar month of the days on which the money was earned (the target dates)."""
    month = (days + np.timedelta64(1, "D")).astype("datetime64[M]")
    rows = []
    strategy = books[STRATEGY]
    for name in np.unique(month):
        inside = month == name
        apys: dict[str, float | None] = {}
        for policy, book in books.items():
            known = inside & book.has_money
            short = known.sum() < _SHORT_MONTH_DAYS
            value = None if short else _percent(performance.apy(book.daily_growth[known]))
            apys[policy] = None if isinstance(value, Undefined) else value
        rows.append(
            {
                "month": str(name),
                "n_days": int(inside.sum()),
                "net_apy_pct": apys,
                "return_pct": 100.0 * float(np.prod(strategy.daily_growth[inside]) - 1.0),
                "profit_usd": math.fsum((strategy.aum_end - strategy.aum_start)[inside]),
                "costs_usd": math.fsum(strategy.costs_usd[inside]),
                "turnover_usd": math.fsum(strategy.turnover_usd[inside]),
            }
        )
    return rows


def _day_counts(log: pd.DataFrame) -> dict[str, Any]:
    status = log["status"].astype("object").fillna("").astype(str)
    flagged = np.array([bool(read_flags(text)) for text in log["flags"]])
    unusual = np.array([is_unusual(text) for text in status])
    return {
        "by_status": {str(k): int(n) for k, n in sorted(status.value_counts().items())},
        "unusual": int(unusual.sum()),
        "flagged": int(flagged.sum()),
        "traded": int((log["turnover_usd"].to_numpy(dtype=np.float64) > 0.0).sum()),
    }


def _warnings(metrics: Mapping[str, Any]) -> list[str]:
    """What a reader must know before believing the numbers."""
    strategy, pnl, days = metrics[STRATEGY], metrics["pnl"], metrics["days"]
    found = []
    if metrics["n_days"] < _SHORT_RUN_DAYS:
        found.append(
            f"Only {metrics['n_days']} day{'s' * (metrics['n_days'] > 1)}: annual figures from "
            f"fewer than {_SHORT_RUN_DAYS} days say little about a year."
        )
    if strategy["sharpe"] is not None and strategy["sharpe"] > _HIGH_SHARPE:
        found.append(
            f"A Sharpe ratio of {strategy['sharpe']:.1f} is not a measure of safety: daily yields "
            "hardly move until a peg breaks or a protocol fails, and neither may be in these days."
        )
    if strategy["max_drawdown_pct"] == 0.0:
        found.append(
            "The drawdown is exactly 0: prices or costs are missing from this run, or it is too "
            "short to contain a loss."
        )
    if strategy["deflated_sharpe_pct"] is not None and strategy["sharpe"] > 0.0:
        found += _luck(strategy["deflated_sharpe_pct"], metrics["options"]["n_trials"])
    if strategy["brought_usd"] or strategy["taken_usd"]:
        found.append(
            f"The owner brought {strategy['brought_usd']:,.0f} USD and took "
            f"{strategy['taken_usd']:,.0f} USD on the way: growth is measured without them, and "
            "the curves show what the first money became."
        )
    if not metrics["carries_over"]:
        found.append(
            "Days do not carry over: each starts from its own AUM, and the curve chains their "
            "growth. It is not what a treasury would have earned."
        )
    if abs(pnl["price_usd"]) > abs(pnl["yield_usd"]):
        found.append("Token prices moved the result more than yield did.")
    if metrics["exposure"]["invested_pct"] < _LOW_EXPOSURE_PCT:
        idle = 100.0 - metrics["exposure"]["invested_pct"]
        found.append(f"On average {idle:.0f} % of AUM lay idle in the wallet.")
    if days["unusual"]:
        found.append(f"{days['unusual']} of {metrics['n_days']} days did not follow a fresh plan.")
    return found


def _luck(sure_pct: float, n_trials: int) -> list[str]:
    if sure_pct >= _SURE_PCT:
        return []
    tried = "" if n_trials == 1 else f", the best of {n_trials} that were tried"
    return [
        f"The Sharpe ratio{tried} is above what luck gives with a probability of {sure_pct:.0f} % "
        f"only: fewer than {_SURE_PCT:.0f} % prove nothing."
    ]
