"""The interactive figures of a loop report (plotly)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stableyield.loops.statistics import best_of_each_day, spread_table
from stableyield.report import performance
from stableyield.report.chart import (
    Chart,
    Days,
    Floats,
    LegendEntry,
    go,
    iso_days,
    layout,
    padded_range,
    plain_text,
    usd_axis,
    with_end,
)
from stableyield.report.loop_metrics import policy_days
from stableyield.report.text import pct

if TYPE_CHECKING:
    from stableyield.loops.rates import LoopRates
    from stableyield.loops.result import LoopResult

_COLOURS = ("#1878BE", "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#5E4FA2")
_WRONG, _STEP, _RUN, _PLAIN = "#C8502D", "#AAB2BD", "#1878BE", "#009E73"
_EQUITY_HEIGHT = 380
_USD_HOVER = "%{y:$,.0f}<extra>%{fullData.name}</extra>"
_PCT_HOVER = "%{y:.2f} %<extra>%{fullData.name}</extra>"
_SPREAD_TAILS = (0.005, 0.995)  # beyond, a spike would flatten all other days


def loop_charts(result: LoopResult, steps: pd.DataFrame) -> dict[str, Chart]:
    """All figures of the page that have something to show, by ``chart_id``.

    Parameters
    ----------
    result : LoopResult
    steps : DataFrame
        `corrections` of one market; without rows the figure is left out.
    """
    charts = [equity_chart(result), drawdown_chart(result)]
    if len(steps):
        charts += [spread_chart(result.rates), correction_chart(steps)]
    if (result.daily["borrow_asset"] != "").any():
        charts += [leverage_chart(result), health_chart(result)]
    return {chart.chart_id: chart for chart in charts}


def market_colours(markets: Sequence[str]) -> dict[str, str]:
    """A colour a market; the unlevered one is the same, dashed."""
    return {name: _COLOURS[n % len(_COLOURS)] for n, name in enumerate(markets)}


def equity_chart(result: LoopResult) -> Chart:
    """Equity of every market's loop, with the same money without leverage beside it."""
    traces, legend, values = [], [], []
    for name, colour in market_colours(result.markets).items():
        for label, daily, dash in (
            (name, result.daily, "solid"),
            (f"{name}, no leverage", result.unlevered, "dash"),
        ):
            curve = policy_days(daily, name).curve
            traces.append(_line((_ends(daily, name), curve), label, (colour, dash), _USD_HOVER))
            legend.append(LegendEntry(label, colour, (len(traces) - 1,), dash))
            values.append(curve)
    return Chart(
        "equity",
        "Equity after all costs",
        "Each market is a book of its own. Solid: the loop. Dashed: the same money, days and "
        "costs without leverage.",
        go.Figure(traces, layout(usd_axis(np.concatenate(values)), height=_EQUITY_HEIGHT)),
        tuple(legend),
    )


def drawdown_chart(result: LoopResult) -> Chart:
    """How far each loop was below its earlier high, in negative percent."""
    traces, legend, lows = [], [], [-0.01]
    for n, (name, colour) in enumerate(market_colours(result.markets).items()):
        depth = 100.0 * performance.drawdowns(policy_days(result.daily, name).curve)
        x = _ends(result.daily, name)
        traces.append(_line((x, depth), name, (colour, "solid"), _PCT_HOVER))
        legend.append(LegendEntry(name, colour, (n,)))
        lows.append(float(depth.min()))
    axis = {"ticksuffix": " %", "range": [1.08 * min(lows), -0.03 * min(lows)]}
    return Chart(
        "drawdown",
        "Drawdown",
        "Distance of the marked-to-market equity below its highest so far, the start included.",
        go.Figure(traces, layout(axis)),
        tuple(legend),
    )


def spread_chart(markets: Sequence[LoopRates]) -> Chart:
    """The largest spread of two different coins on each chain, day by day."""
    best = best_of_each_day(spread_table(markets))
    traces, legend = [], []
    for n, (chain, rows) in enumerate(best.groupby("chain", sort=True)):
        colour = _COLOURS[n % len(_COLOURS)]
        drawn = _without_gaps(rows["date"].to_numpy(), rows["spread_pct"].to_numpy(np.float64))
        traces.append(_line(drawn, str(chain), (colour, "solid"), "%{y:.2f} pp<extra></extra>"))
        traces[-1].update(line={"color": colour, "width": 1.3})
        legend.append(LegendEntry(str(chain), colour, (n,)))
    values = best["spread_pct"].to_numpy(np.float64)
    limits = padded_range(np.array([np.quantile(values, share) for share in _SPREAD_TAILS]), 0.1)
    axis = {"ticksuffix": " pp", "range": limits, "zeroline": True, "zerolinecolor": "#7A828E"}
    return Chart(
        "spread",
        "Spread: best supply less cheapest borrow",
        "Two different coins of one market, exact columns. Below zero every borrowed dollar costs "
        "money. The axis leaves out the most extreme 1 % of days.",
        go.Figure(traces, layout(axis)),
        tuple(legend),
    )


def correction_chart(steps: pd.DataFrame) -> Chart:
    """The notebook's rate and what each correction leaves of it, from top to bottom."""
    rows = steps.iloc[::-1]
    names = [plain_text(text) for text in rows["correction"]]
    values = rows["net_apr_pct"].to_numpy(np.float64)
    traces = [
        go.Bar(
            x=values,
            y=names,
            orientation="h",
            marker={"color": [_bar_colour(step, len(steps)) for step in rows["step"]]},
            text=[f"<b>{pct(value)}</b>" for value in values],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.2f} %<extra></extra>",
        )
    ]
    low, high = min(0.0, float(np.nanmin(values))), max(0.0, float(np.nanmax(values)))
    span = high - low or 1.0
    xaxis: dict[str, Any] = {
        "range": [low - 0.16 * span * (low < 0.0), high + 0.16 * span],
        "visible": False,
        "fixedrange": True,
    }
    figure = go.Figure(
        traces,
        layout(
            {"showgrid": False, "tickfont": {"size": 13}},
            xaxis=xaxis,
            height=60 + 38 * len(names),
            hovermode="closest",
            margin={"l": 10, "r": 24, "t": 4, "b": 8},
        ),
    )
    wide = figure.layout.yaxis.to_plotly_json()
    short = {
        "yaxis": {**wide, "tickfont": {"size": 10.5}},
        "xaxis": {**xaxis, "range": [xaxis["range"][0], high + 0.45 * span]},
    }
    return Chart(
        "corrections",
        "From the notebook's number to what is left",
        f"{steps['market'].iloc[0]}: average rate on equity, percent a year, one error taken away "
        "after the other.",
        figure,
        narrow_layout=short,
    )


def _bar_colour(step: float, n_rows: int) -> str:
    if step != step:  # noqa: PLR0124 - NaN: the row without leverage
        return _PLAIN
    return _WRONG if step == 0 else _RUN if step == n_rows - 2 else _STEP


def leverage_chart(result: LoopResult) -> Chart:
    """Leverage of each loop after each day's decision."""
    return _by_market(
        result,
        ("leverage", "Leverage", "Collateral over equity after the day's decision; 1 is no debt."),
        {"range": [0.9, 1.06 * float(result.daily["leverage"].max())]},
    )


def health_chart(result: LoopResult) -> Chart:
    """Lowest health factor of each day with debt."""
    values = result.daily["health_factor"].to_numpy(np.float64)
    limits = padded_range(np.append(values[np.isfinite(values)], 1.0))
    chart = _by_market(
        result,
        ("health_factor", "Health factor", "Lowest of each day with debt; liquidated below 1."),
        {"range": limits},
    )
    chart.figure.update_traces(mode="lines+markers", marker={"size": 3})
    chart.figure.add_hline(y=1.0, line={"color": _WRONG, "dash": "dash", "width": 1.3})
    return chart


def _by_market(result: LoopResult, head: tuple[str, str, str], axis: Mapping[str, Any]) -> Chart:
    column, title, caption = head
    traces, legend = [], []
    for n, (name, colour) in enumerate(market_colours(result.markets).items()):
        rows = result.daily[result.daily["market"] == name]
        x = iso_days(rows["date"].to_numpy())
        y = [None if value != value else value for value in rows[column]]  # noqa: PLR0124
        hover = "%{y:.3f}<extra>%{fullData.name}</extra>"
        traces.append(_line((x, y), name, (colour, "solid"), hover))
        traces[-1].update(connectgaps=False, line={"color": colour, "width": 1.5, "shape": "hv"})
        legend.append(LegendEntry(name, colour, (n,)))
    return Chart(column, title, caption, go.Figure(traces, layout(axis)), tuple(legend))


def _ends(daily: pd.DataFrame, market: str) -> list[str]:
    """The first day and the end of each step."""
    days: Days = daily.loc[daily["market"] == market, "date"].to_numpy()
    return iso_days(with_end(days))


def _without_gaps(days: Days, values: Floats) -> tuple[list[str], list[float | None]]:
    """Values by day, with a break where days are missing."""
    each = days.astype("datetime64[D]")
    every = np.arange(each[0], each[-1] + 1)
    filled = np.full(len(every), np.nan)
    filled[(each - each[0]).astype(np.int64)] = values
    return iso_days(every), [None if np.isnan(value) else float(value) for value in filled]


def _line(values: tuple[list[str], Any], label: str, style: tuple[str, str], hover: str) -> Any:
    colour, dash = style
    return go.Scatter(
        x=values[0],
        y=values[1],
        mode="lines",
        name=plain_text(label),
        line={"color": colour, "dash": dash, "width": 2.2 if dash == "solid" else 1.6},
        hovertemplate=hover,
    )
