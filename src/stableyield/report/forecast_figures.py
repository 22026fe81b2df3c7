"""The interactive figures of a forecast evaluation (plotly)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stableyield.report import theme
from stableyield.report.chart import (
    Chart,
    Floats,
    LegendEntry,
    go,
    layout,
    padded_range,
    plain_text,
)

if TYPE_CHECKING:
    import pandas as pd

    from stableyield.forecast import Evaluation

LEAD_COLOUR = theme.policy_style("strategy").colour
BASELINE_COLOUR = theme.policy_style("equal_weight").colour
_HORIZON_COLOURS = ("#1878BE", "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#7A828E")
_METHOD_COLOURS = (*theme.SERIES_COLOURS[1:9:2], *theme.SERIES_COLOURS[0:9:2])
_HEIGHT = 340
_QUANTILE_SHARES = (10.0, 50.0, 90.0)
_LOWEST_SKILL = -1.0
"""Skill below which the axis ends: a hopeless method shall not flatten the others."""
_EDGE_LINES = (
    {"color": "#D55E00", "dash": "dash", "width": 1.6},
    {"color": "#B8860B", "dash": "dot", "width": 1.8},
)
_SEGMENTS = {
    "all": "all",
    "calm": "calm",
    "volatile": "volatile",
    "spike": "spike",
    "cold": "cold start",
    "reward": "reward<br>over half",
    "volatility_low": "low<br>volatility",
    "volatility_medium": "medium<br>volatility",
    "volatility_high": "high<br>volatility",
}


def forecast_charts(evaluation: Evaluation) -> dict[str, Chart]:
    """All figures of the page that have something to show, by ``chart_id``."""
    charts = [
        skill_chart(evaluation),
        segment_chart(evaluation),
        reliability_chart(evaluation),
        volatility_reliability_chart(evaluation),
    ]
    if len(evaluation.decision_value):
        charts.append(decision_chart(evaluation))
    if len(evaluation.drift):
        charts.append(drift_chart(evaluation))
    return {chart.chart_id: chart for chart in charts}


def method_colours(methods: Sequence[str], lead: str) -> dict[str, str]:
    """A colour a method, the lead's always the same."""
    others = [method for method in methods if method != lead]
    spare = {m: _METHOD_COLOURS[i % len(_METHOD_COLOURS)] for i, m in enumerate(others)}
    return {method: spare.get(method, LEAD_COLOUR) for method in methods}


def drift_horizon(evaluation: Evaluation) -> int:
    """The horizon whose drift is drawn: a week where it was evaluated, else the first."""
    return 7 if 7 in evaluation.horizons else evaluation.horizons[0]


def skill_chart(evaluation: Evaluation) -> Chart:
    """Skill of every method against the last value by horizon, with its interval."""
    everything = evaluation.scores[evaluation.scores["segment"] == "all"]
    methods = [evaluation.lead, *(m for m in evaluation.methods if m != evaluation.lead)]
    methods = [method for method in methods if method != "last" or method == evaluation.lead]
    colours = method_colours(evaluation.methods, evaluation.lead)
    labels = [f"{horizon} d" for horizon in evaluation.horizons]
    traces, legend = [], []
    for i, method in enumerate(methods):
        own = everything[everything["method"] == method].set_index("horizon_days")
        own = own.loc[list(evaluation.horizons)]
        traces.append(_dots(labels, own, colours[method], plain_text(method), i, len(methods)))
        legend.append(LegendEntry(method, colours[method], (i,), "block"))
    return Chart(
        "skill",
        "Skill by horizon",
        "1 - MAE / MAE of the last value, on the same forecasts: above 0 is better than "
        "tomorrow = today. Bars: 90 % interval of a paired block bootstrap of the days.",
        go.Figure(traces, _skill_layout(traces, labels)),
        tuple(legend),
    )


def segment_chart(evaluation: Evaluation) -> Chart:
    """Skill of the lead method by kind of pool, a series a horizon."""
    scores = evaluation.scores[evaluation.scores["method"] == evaluation.lead]
    known = scores[scores["n"] > 0]["segment"].unique()
    segments = [name for name in _SEGMENTS if name in known] or ["all"]
    labels = [_SEGMENTS[segment] for segment in segments]
    traces, legend = [], []
    for i, horizon in enumerate(evaluation.horizons):
        own = scores[scores["horizon_days"] == horizon].set_index("segment").loc[segments]
        name = f"{horizon} d"
        colour = _HORIZON_COLOURS[i % len(_HORIZON_COLOURS)]
        traces.append(_dots(labels, own, colour, name, i, len(evaluation.horizons)))
        legend.append(LegendEntry(name, colour, (i,), "block"))
    drawn = _skill_layout(traces, labels)
    narrow = {**drawn["xaxis"], "tickangle": -90, "ticktext": [_one_line(each) for each in labels]}
    return Chart(
        "segments",
        f"Where the skill of {evaluation.lead} comes from",
        "Skill against the last value by the kind of the pool on the day of the forecast; "
        "volatility classes and reward cut across the others.",
        go.Figure(traces, drawn),
        tuple(legend),
        {"xaxis": narrow, "margin": {**drawn["margin"], "b": 118}},
    )


def _dots(labels: list[str], rows: pd.DataFrame, colour: str, name: str, i: int, n: int) -> Any:
    """Skill with its interval as points beside those of the other series."""
    skill, low, high = (
        rows[column].to_numpy(dtype=np.float64)
        for column in ("skill_vs_last", "skill_low", "skill_high")
    )
    return go.Scatter(
        x=np.arange(len(labels)) + 0.7 * ((i + 0.5) / n - 0.5),
        y=_shown(skill),
        mode="markers",
        name=name,
        marker={"color": colour, "size": 9, "symbol": "circle" if i == 0 else "diamond"},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": _shown(high - skill, 0.0),
            "arrayminus": _shown(skill - low, 0.0),
            "color": colour,
            "thickness": 1.6,
            "width": 3,
        },
        customdata=[_one_line(label) for label in labels],
        hovertemplate="%{customdata}: %{y:.3f}<extra>" + name + "</extra>",
    )


def _shown(values: Floats, instead: float | None = None) -> list[float | None]:
    """Values for plotly, with what is unknown left out."""
    return [float(value) if np.isfinite(value) else instead for value in values]


def _one_line(label: str) -> str:
    return label.replace("<br>", " ")


def _skill_layout(traces: Sequence[Any], labels: Sequence[str]) -> dict[str, Any]:
    """Axes of skills: zero is drawn, labels stand under their group."""
    bounds = [0.0]
    for trace in traces:
        for y, up, down in zip(trace.y, trace.error_y.array, trace.error_y.arrayminus, strict=True):
            if y is not None:
                bounds += [y + up, y - down]
    low, high = padded_range(np.array(bounds))
    axis = {
        "range": [max(low, _LOWEST_SKILL), max(high, 0.1)],
        "zeroline": True,
        "zerolinecolor": "#7A828E",
        "tickformat": ".2f",
    }
    drawn = layout(axis, height=_HEIGHT, hovermode="closest")
    drawn["margin"] = {**drawn["margin"], "b": 58}
    drawn["xaxis"] = {
        **_number_axis(drawn["xaxis"]),
        "range": [-0.5, len(labels) - 0.5],
        "tickvals": list(range(len(labels))),
        "ticktext": list(labels),
        "ticks": "",
        "tickangle": 0,
    }
    return drawn


def _number_axis(xaxis: dict[str, Any]) -> dict[str, Any]:
    """The common horizontal axis, of numbers instead of days."""
    return {
        **{name: value for name, value in xaxis.items() if name not in ("hoverformat", "nticks")},
        "type": "linear",
    }


def reliability_chart(evaluation: Evaluation) -> Chart:
    """Stated against observed share of outcomes below each quantile of the lead, by horizon."""
    rows = _coverage(evaluation, "all")
    series = [
        (f"{horizon} d", _HORIZON_COLOURS[i % len(_HORIZON_COLOURS)], rows, horizon)
        for i, horizon in enumerate(evaluation.horizons)
    ]
    caption = (
        f"How often the outcome was at or below the q10, q50 and q90 of {evaluation.lead}. On the "
        "dashed line they are right; an interval is too narrow where 10 % lies above it, or 90 % "
        "below it."
    )
    return _reliability(("reliability", "Reliability by horizon", caption), series)


def volatility_reliability_chart(evaluation: Evaluation) -> Chart:
    """The same by volatility class, at one horizon."""
    horizon = drift_horizon(evaluation)
    rows = _coverage(evaluation, "volatility")
    series = [
        (name, colour, rows[rows["group"] == name], horizon)
        for name, colour in zip(("low", "medium", "high"), _HORIZON_COLOURS, strict=False)
    ]
    caption = (
        f"The same at {horizon} d by how much the pool's APY had moved before: a forecast can be "
        "right on average and too sure of calm pools or too careful with wild ones."
    )
    return _reliability(("reliability-volatility", "Reliability by volatility", caption), series)


def _coverage(evaluation: Evaluation, by: str) -> pd.DataFrame:
    rows = evaluation.coverage
    return rows[(rows["method"] == evaluation.lead) & (rows["by"] == by)]


def _reliability(
    head: tuple[str, str, str], series: Sequence[tuple[str, str, pd.DataFrame, int]]
) -> Chart:
    diagonal = go.Scatter(
        x=[0, 100],
        y=[0, 100],
        mode="lines",
        line={"color": "#7A828E", "dash": "dash", "width": 1.2},
        hoverinfo="skip",
    )
    traces, legend = [diagonal], []
    for name, colour, rows, horizon in series:
        own = rows[rows["horizon_days"] == horizon]
        columns = [f"coverage_{quantile}" for quantile in ("q10", "q50", "q90")]
        observed = 100.0 * own[columns].to_numpy(dtype=np.float64).reshape(-1, 3)[:1]
        traces.append(
            go.Scatter(
                x=list(_QUANTILE_SHARES),
                y=_shown(observed.ravel()),
                mode="lines+markers",
                name=name,
                line={"color": colour, "width": 2},
                marker={"size": 8},
                hovertemplate="stated %{x:.0f} %, came %{y:.1f} %<extra>" + name + "</extra>",
            )
        )
        legend.append(LegendEntry(name, colour, (len(traces) - 1,)))
    limits: dict[str, Any] = {"range": [0, 100], "tickvals": list(_QUANTILE_SHARES)}
    limits["ticktext"] = [f"{share:.0f} %" for share in _QUANTILE_SHARES]
    title = {"standoff": 6, "font": {"size": 12.5}}
    drawn = layout({**limits, "title": {"text": "came", **title}}, height=_HEIGHT)
    drawn["hovermode"] = "closest"
    drawn["margin"] = {**drawn["margin"], "b": 56}
    drawn["xaxis"] = {
        **_number_axis(drawn["xaxis"]),
        **limits,
        "title": {"text": "stated", **title},
    }
    return Chart(*head, go.Figure(traces, drawn), tuple(legend))


def decision_chart(evaluation: Evaluation) -> Chart:
    """Realised APY of the weekly choices of each method, and what was promised."""
    rows = evaluation.decision_value.sort_values("realised_apy_pct", kind="stable")
    colours = method_colours(evaluation.methods, evaluation.lead)
    names = [plain_text(name) for name in rows["method"]]
    bars = go.Bar(
        x=rows["realised_apy_pct"],
        y=names,
        orientation="h",
        marker={"color": [_bar_colour(m, evaluation.lead, colours) for m in rows["method"]]},
        hovertemplate="%{y}: %{x:.2f} % came<extra></extra>",
    )
    promised = go.Scatter(
        x=rows["promised_apy_pct"],
        y=names,
        mode="markers",
        marker={"color": "#B3423A", "size": 9, "symbol": "diamond-open", "line": {"width": 2}},
        hovertemplate="%{y}: %{x:.2f} % promised<extra></extra>",
    )
    first = rows.iloc[0]
    edges = (first["equal_weight_apy_pct"], first["clairvoyant_apy_pct"])
    shapes = [
        {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line}
        for x, line in zip(edges, _EDGE_LINES, strict=True)
    ]
    highest = float(np.nanmax([*edges, *rows["promised_apy_pct"], *rows["realised_apy_pct"]]))
    height = 90 + 30 * max(len(rows), 3)
    drawn = layout({"nticks": 0, "type": "category"}, height=height, shapes=shapes)
    drawn["hovermode"] = "closest"
    drawn["xaxis"] = {
        **_number_axis(drawn["xaxis"]),
        "ticksuffix": " %",
        "range": [min(0.0, float(rows["realised_apy_pct"].min())), 1.04 * highest],
        "showgrid": True,
        "nticks": 6,
    }
    return Chart(
        "decision",
        "What came of the weekly choice",
        f"Each week the {int(first['top'])} pools with the highest forecast, held "
        f"{int(first['hold_days'])} days; no costs. Dashed: equal weight of all pools; dotted: the "
        "best choice with hindsight.",
        go.Figure([bars, promised], drawn),
        (
            LegendEntry("came", LEAD_COLOUR, (0,), "block"),
            LegendEntry("promised", "#B3423A", (1,), "block"),
        ),
    )


def _bar_colour(method: str, lead: str, colours: dict[str, str]) -> str:
    return colours[method] if method == lead else theme.OTHER_COLOUR


def drift_chart(evaluation: Evaluation) -> Chart:
    """Rolling MAE of the lead and of the best baseline over the last scored days."""
    horizon = drift_horizon(evaluation)
    rows = evaluation.drift[evaluation.drift["horizon_days"] == horizon]
    days = [f"{day:%Y-%m-%d}" for day in rows["date"]]
    series = (
        (evaluation.lead, LEAD_COLOUR, "solid", rows["mae"]),
        ("best baseline", BASELINE_COLOUR, "dash", rows["mae_baseline"]),
    )
    traces = [
        go.Scatter(
            x=days,
            y=_shown(values.to_numpy(dtype=np.float64)),
            mode="lines",
            name=plain_text(name),
            line={"color": colour, "dash": dash, "width": 2},
            hovertemplate="%{y:.3f} pp<extra>%{fullData.name}</extra>",
        )
        for name, colour, dash, values in series
    ]
    fallen = rows["is_fallback"].to_numpy(dtype=bool)
    traces.append(
        go.Scatter(
            x=[day for day, is_fallback in zip(days, fallen, strict=True) if is_fallback],
            y=[0.0] * int(fallen.sum()),
            mode="markers",
            name="fallback",
            marker={"color": "#B3423A", "symbol": "square", "size": 5},
            hovertemplate="the baseline serves<extra></extra>",
        )
    )
    known = rows[["mae", "mae_baseline"]].to_numpy(dtype=np.float64)
    axis = {"ticksuffix": " pp", "range": [0.0, 1.08 * float(np.nanmax(known))]}
    entries = (
        *(
            LegendEntry(name, colour, (i,), dash)
            for i, (name, colour, dash, _) in enumerate(series)
        ),
        LegendEntry("days on which the baseline would serve", "#B3423A", (2,), "block"),
    )
    return Chart(
        "drift",
        "Drift watch",
        f"Mean absolute error at {horizon} d over the last scored days, on the day on which it "
        "was known.",
        go.Figure(traces, layout(axis)),
        entries,
    )
