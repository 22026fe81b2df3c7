"""The report's interactive figures (plotly)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stableyield.domain.portfolio import WALLET
from stableyield.report import performance, theme
from stableyield.report.books import EQUAL_WEIGHT, STRATEGY, policy_books
from stableyield.report.chart import (
    NARROW_MARGIN,
    Chart,
    Days,
    Floats,
    LegendEntry,
    go,
    iso_days,
    layout,
    padded_range,
    plain_text,
    spread,
    usd_axis,
    usd_ticks,
    with_end,
)
from stableyield.report.holdings import Shares, pool_labels, shares_of_aum
from stableyield.report.text import pct

if TYPE_CHECKING:
    import pandas as pd

    from stableyield.backtest.result import BacktestResult
    from stableyield.report.performance import PolicyDays

TOP_POOLS = 12
_TOKEN_COLOURS = theme.SERIES_COLOURS[5:] + theme.SERIES_COLOURS[:5]  # not those of the pools
_EQUITY_HEIGHT = 380
_LABEL_GAP_PX = 18
_WIDE_LABEL_MARGIN = 200
_USD_HOVER = "%{y:$,.0f}<extra>%{fullData.name}</extra>"
_PCT_HOVER = "%{y:.2f} %<extra>%{fullData.name}</extra>"


def build_charts(result: BacktestResult, metrics: Mapping[str, Any]) -> dict[str, Chart]:
    """All figures of the report, by ``chart_id``.

    Raises
    ------
    ContractError
        When the tables of the result contradict each other.
    """
    days, found = policy_books(result)
    books = {policy: found[policy] for policy in theme.in_reading_order(list(found))}
    by_pool = shares_of_aum(result.positions, days, "pool_id")
    charts = (
        equity_chart(days, books, metrics),
        drawdown_chart(days, books),
        allocation_chart(by_pool, pool_labels(result.positions)),
        token_chart(shares_of_aum(result.positions, days, "token")),
        cost_chart(days, books),
        monthly_chart(metrics),
        forecast_chart(days, result.daily_log),
    )
    return {chart.chart_id: chart for chart in charts}


def equity_chart(days: Days, books: Mapping[str, PolicyDays], metrics: Mapping[str, Any]) -> Chart:
    """AUM of the strategy and of each benchmark, each curve labelled with its net APY."""
    x = iso_days(with_end(days))
    # the strategy last: drawn above the others
    drawn = list(books)[::-1]
    traces = [_line(x, _scaled_curve(books, p), p, _USD_HOVER) for p in drawn]
    ends = {policy: float(_scaled_curve(books, policy)[-1]) for policy in books}
    axis = usd_axis(np.concatenate([_scaled_curve(books, policy) for policy in books]))
    wide, narrow = _end_labels(ends, axis["range"], metrics)
    base = layout(axis, height=_EQUITY_HEIGHT, annotations=wide)
    margin = base["margin"]
    base["margin"] = {**margin, "r": _WIDE_LABEL_MARGIN}
    return Chart(
        "equity",
        "AUM after all costs",
        "All policies start with the same money on the same day and pay the same costs. "
        "Labels: net APY.",
        go.Figure(traces, base),
        tuple(_policy_entry(policy, drawn.index(policy)) for policy in books),
        {"annotations": narrow, "margin": {**margin, "r": NARROW_MARGIN}},
    )


def _scaled_curve(books: Mapping[str, PolicyDays], policy: str) -> Floats:
    """The curve of a policy, scaled to the strategy's start."""
    result: Floats = books[policy].curve * (books[STRATEGY].curve[0] / books[policy].curve[0])
    return result


def _end_labels(
    ends: Mapping[str, float], y_range: list[float], metrics: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Labels at the right ends of the curves, wide and narrow, that do not overlap."""
    gap = (y_range[1] - y_range[0]) * _LABEL_GAP_PX / (_EQUITY_HEIGHT - 56)
    places = spread(list(ends.values()), gap)
    wide, narrow = [], []
    for policy, place in zip(ends, places, strict=True):
        own = metrics[STRATEGY] if policy == STRATEGY else metrics["benchmarks"][policy]
        style = theme.policy_style(policy)
        apy = pct(own["net_apy_pct"])
        label = {
            "x": 1.0,
            "xref": "paper",
            "xanchor": "left",
            "xshift": 8,
            "y": place,
            "yref": "y",
            "yanchor": "middle",
            "showarrow": False,
            "align": "left",
            "font": {"color": style.colour, "size": 13 if policy == STRATEGY else 12},
        }
        wide.append({**label, "text": f"<b>{apy}</b>  {plain_text(style.label)}"})
        narrow.append({**label, "xshift": 4, "text": f"<b>{apy}</b>"})
    return wide, narrow


def _line(x: list[str], y: Floats, policy: str, hover: str) -> Any:
    style = theme.policy_style(policy)
    return go.Scatter(
        x=x,
        y=y,
        mode="lines",
        name=plain_text(style.label),
        line={"color": style.colour, "dash": style.dash, "width": style.width},
        hovertemplate=hover,
    )


def _policy_entry(policy: str, trace: int) -> LegendEntry:
    style = theme.policy_style(policy)
    return LegendEntry(style.label, style.colour, (trace,), style.dash)


def drawdown_chart(days: Days, books: Mapping[str, PolicyDays]) -> Chart:
    """How far each policy was below its earlier high, in negative percent."""
    x = iso_days(with_end(days))
    drawn = list(books)[::-1]
    depth = {policy: 100.0 * performance.drawdowns(books[policy].curve) for policy in drawn}
    traces = [
        _line(x, depth[policy], policy, "%{y:.3f} %<extra>%{fullData.name}</extra>")
        for policy in drawn
    ]
    traces[-1].update(
        fill="tozeroy", fillcolor=_transparent(theme.policy_style(STRATEGY).colour, 0.16)
    )
    low = min(float(values.min()) for values in depth.values()) or -0.01
    axis = {"ticksuffix": " %", "range": [1.08 * low, -0.03 * low], "exponentformat": "none"}
    return Chart(
        "drawdown",
        "Drawdown",
        "Distance below the highest AUM so far, entry costs included.",
        go.Figure(traces, layout(axis)),
        tuple(_policy_entry(policy, drawn.index(policy)) for policy in books),
    )


def _transparent(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity})"


def allocation_chart(shares: Shares, labels: Mapping[str, str]) -> Chart:
    """Share of AUM in each pool after each day's plan; small pools together, the wallet on top."""
    pools = shares.without(WALLET)
    rows = [
        (labels[key], theme.SERIES_COLOURS[i], pools.column(key))
        for i, key in enumerate(pools.keys[:TOP_POOLS])
    ]
    if rest := pools.keys[TOP_POOLS:]:
        other = pools.matrix[:, TOP_POOLS:].sum(axis=1)
        rows.append((f"{len(rest)} other pools", theme.OTHER_COLOUR, other))
    rows.append((labels[WALLET], theme.WALLET_COLOUR, shares.column(WALLET)))
    return _stacked(
        ("allocation", "Allocation by pool", "Share of AUM after each day's plan."),
        shares.days,
        rows,
    )


def token_chart(shares: Shares) -> Chart:
    """Share of AUM in each token, wallet and positions together."""
    rows = [
        (key, _TOKEN_COLOURS[i], shares.column(key))
        for i, key in enumerate(shares.keys[:TOP_POOLS])
    ]
    if rest := shares.keys[TOP_POOLS:]:
        other = shares.matrix[:, TOP_POOLS:].sum(axis=1)
        rows.append((f"{len(rest)} other tokens", theme.OTHER_COLOUR, other))
    return _stacked(
        ("tokens", "Allocation by token", "Share of AUM in each token, wallet included."),
        shares.days,
        rows,
    )


def _stacked(head: tuple[str, str, str], days: Days, rows: list[tuple[str, str, Floats]]) -> Chart:
    x = iso_days(with_end(days))
    traces = [
        go.Scatter(
            x=x,
            y=100.0 * np.append(values, values[-1:]),
            name=plain_text(label),
            mode="lines",
            stackgroup="all",
            line={"width": 0.6, "color": colour, "shape": "hv"},
            fillcolor=colour,
            hovertemplate="%{y:.1f} %<extra>%{fullData.name}</extra>",
        )
        for label, colour, values in rows
    ]
    axis = {"ticksuffix": " %", "range": [0.0, 100.0], "nticks": 6}
    legend = tuple(
        LegendEntry(label, colour, (i,), "block") for i, (label, colour, _) in enumerate(rows)
    )
    return Chart(*head, go.Figure(traces, layout(axis)), legend)


def cost_chart(days: Days, books: Mapping[str, PolicyDays]) -> Chart:
    """Costs paid so far by cause, with equal weight's total beside them."""
    x = iso_days(with_end(days))
    own = books[STRATEGY]
    parts = (
        ("Gas", theme.GAS_COLOUR, own.gas_usd),
        ("Conversion fees", theme.CONVERSION_COLOUR, own.conversion_usd),
    )
    traces = [
        go.Scatter(
            x=x,
            y=_running(values),
            name=label,
            mode="lines",
            stackgroup="costs",
            line={"width": 1.0, "color": colour, "shape": "hv"},
            fillcolor=_transparent(colour, 0.55),
            hovertemplate=_USD_HOVER,
        )
        for label, colour, values in parts
    ]
    legend = [
        LegendEntry(label, colour, (i,), "block") for i, (label, colour, _) in enumerate(parts)
    ]
    totals = [_running(own.costs_usd)]
    if EQUAL_WEIGHT in books:
        totals.append(_running(books[EQUAL_WEIGHT].costs_usd))
        line = _line(x, totals[-1], EQUAL_WEIGHT, _USD_HOVER)
        traces.append(line.update(line_shape="hv"))
        legend.append(_policy_entry(EQUAL_WEIGHT, len(traces) - 1))
    highest = max(float(values[-1]) for values in totals) or 1.0
    places, texts = usd_ticks(0.0, 1.08 * highest)
    axis = {"range": [0.0, 1.08 * highest], "tickvals": places, "ticktext": texts}
    return Chart(
        "costs",
        "Costs so far",
        "Gas and conversion fees of the strategy, added up; the line is the total of equal weight.",
        go.Figure(traces, layout(axis)),
        tuple(legend),
    )


def _running(values: Floats) -> Floats:
    total = np.cumsum(values)
    return np.append(total, total[-1:])


def monthly_chart(metrics: Mapping[str, Any]) -> Chart:
    """Net APY of each calendar month, beside equal weight."""
    months = metrics["monthly"]
    names = [_month_name(row) for row in months]
    shown = [STRATEGY, *([EQUAL_WEIGHT] if EQUAL_WEIGHT in metrics["benchmarks"] else [])]
    traces = [
        _bars(names, [row["net_apy_pct"][policy] for row in months], policy) for policy in shown
    ]
    known = [value for trace in traces for value in trace.y if value is not None]
    limits = padded_range(np.array([0.0, *known]), 0.14)
    limits[0] = limits[0] if min([0.0, *known]) < 0.0 else 0.0
    drawn = layout({"ticksuffix": " %", "range": limits, "zeroline": True})
    drawn |= {"bargap": 0.45 if len(names) > 2 else 0.65, "bargroupgap": 0.08}
    drawn["uniformtext"] = {"mode": "hide", "minsize": 9}
    drawn["xaxis"] = {**drawn["xaxis"], "type": "category", "nticks": 0, "ticks": ""}
    return Chart(
        "monthly",
        "Net APY by month",
        "Growth of each calendar month, scaled to a year; months of fewer than 10 days are not "
        "scaled and have no bar.",
        go.Figure(traces, drawn),
        tuple(replace(_policy_entry(p, i), dash="block") for i, p in enumerate(shown)),
    )


def _bars(names: list[str], values: list[float | None], policy: str) -> Any:
    style = theme.policy_style(policy)
    return go.Bar(
        x=names,
        y=values,
        name=plain_text(style.label),
        marker={"color": style.colour},
        text=["" if value is None else pct(value, 1) for value in values],
        textposition="outside",
        cliponaxis=False,
        hovertemplate=_PCT_HOVER,
    )


def _month_name(row: Mapping[str, Any]) -> str:
    month = np.datetime64(row["month"]).astype("datetime64[D]").item()
    return f"{month:%b %Y}<br>{row['n_days']} d"


def forecast_chart(days: Days, log: pd.DataFrame) -> Chart:
    """What was forecast against what came, added up over the days on which both are known."""
    forecast, actual, price = (
        log[name].to_numpy(dtype=np.float64)
        for name in ("daily_forecast_pnl", "daily_actual_pnl", "price_usd")
    )
    known = np.isfinite(forecast) & np.isfinite(actual) & np.isfinite(price)
    x = iso_days(with_end(days))
    colour = theme.policy_style(STRATEGY).colour
    rows = (
        ("Forecast", theme.OTHER_COLOUR, "dash", forecast),
        ("Realised, before prices", colour, "solid", actual - price),
        ("Realised, with prices", theme.PRICE_COLOUR, "dot", actual),
    )
    sums = [np.concatenate(([0.0], np.cumsum(np.where(known, v, 0.0)))) for *_, v in rows]
    traces = [
        go.Scatter(
            x=x,
            y=total,
            name=label,
            mode="lines",
            line={"color": colour, "dash": dash, "width": 2.4 if dash == "solid" else 1.8},
            hovertemplate=_USD_HOVER,
        )
        for (label, colour, dash, _), total in zip(rows, sums, strict=True)
    ]
    return Chart(
        "forecast",
        "Forecast and realised profit",
        "Added up from day to day, after costs. Forecasts promise yield, not token prices: compare "
        "them with the solid line.",
        go.Figure(traces, layout(usd_axis(np.concatenate(sums)))),
        tuple(LegendEntry(row[0], row[1], (i,), row[2]) for i, row in enumerate(rows)),
    )
