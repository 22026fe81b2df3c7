"""`render_report`: the whole report as one page that needs nothing but a browser.

The page carries its own script (plotly.js), style and data, and forbids itself every request by a
content security policy: what is read offline in five years is what was written today. Everything
that comes from data is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jinja2
import plotly.offline
from markupsafe import Markup

from stableyield.report import tables, text, theme
from stableyield.report.books import CLAIRVOYANT, EQUAL_WEIGHT, STRATEGY
from stableyield.report.figures import build_charts
from stableyield.report.holdings import pool_labels

if TYPE_CHECKING:
    from stableyield.backtest.result import BacktestResult

_plotly: Any = plotly.offline  # plotly carries no types


def render_report(result: BacktestResult, metrics: Mapping[str, Any]) -> str:
    """The report as one self-contained HTML page.

    Parameters
    ----------
    result : BacktestResult
    metrics : mapping
        What `compute_metrics` gave for the same result.

    Returns
    -------
    str
        The same text for the same input.

    Raises
    ------
    ContractError
        When the tables of the result contradict each other.
    """
    run, plan = plain_json(result.run), plain_json(result.last_plan)
    labels = pool_labels(result.positions)
    charts = build_charts(result, metrics)
    days = tables.day_rows(result.daily_log, labels)
    context = {
        "title": _title(run, metrics),
        "subtitle": _subtitle(run, metrics),
        "headline": headline(metrics),
        "verdict": verdict(metrics),
        "cards": headline_cards(metrics),
        "warnings": metrics["warnings"],
        "assumptions": run.get("assumptions") or [],
        "metrics": metrics,
        "charts": charts,
        "chart_data": {name: Markup(chart.to_json()) for name, chart in charts.items()},
        "pnl": tables.pnl_rows(metrics),
        "metric_table": tables.metric_table(metrics),
        "undefined": tables.undefined_rows(metrics),
        "months": tables.monthly_rows(metrics),
        "regimes": tables.regime_rows(metrics),
        "plan": tables.plan_table(plan, labels),
        "days": days[: tables.MOST_DAYS],
        "days_left_out": max(0, len(days) - tables.MOST_DAYS),
        "parameters": tables.parameter_rows(run),
        "facts": tables.fact_rows(run),
        "plotly_js": Markup(_plotly.get_plotlyjs()),
    }
    return environment().get_template("report.html.j2").render(context) + "\n"


def environment() -> jinja2.Environment:
    """Templates of this room, with the filters that pages write numbers by."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("stableyield.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        usd=text.usd, pct=text.pct, points=text.points, num=text.number, day=text.day
    )
    return made


def plain_json(value: Any) -> Any:
    """The value as JSON has it: text keys, lists, ISO days; an unknown number (NaN) is null."""
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        value = sorted(value)
    if isinstance(value, (list, tuple)):
        return [plain_json(item) for item in value]
    if hasattr(value, "tolist"):
        return plain_json(value.tolist())
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _title(run: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    policy = str(run.get("policy") or STRATEGY)
    return f"Backtest of {policy}, {text.day(metrics['start'])} to {text.day(metrics['end'])}"


def _subtitle(run: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    token = f" in {run['token']}" if run.get("token") else ""
    facts = ("policy", "mode", "forecaster")
    return [
        f"{text.day(metrics['start'])} to {text.day(metrics['end'])}",
        f"{metrics['n_days']} days",
        f"started with {text.usd(metrics[STRATEGY]['aum_start_usd'])}{token}",
        *(f"{name} {run[name]}" for name in facts if run.get(name) not in (None, "", STRATEGY)),
    ]


def headline(metrics: Mapping[str, Any]) -> str:
    """The result in one line: net APY, and where equal weight stands."""
    apy = metrics[STRATEGY]["net_apy_pct"]
    first = "Net APY undefined" if apy is None else f"{text.pct(apy)} net APY"
    lead = metrics["excess"].get(EQUAL_WEIGHT, {}).get("net_apy_points")
    if lead is None:
        return first
    side = "above" if lead >= 0.0 else "below"
    return f"{first}, {text.number(abs(lead))} points {side} equal weight"


def verdict(metrics: Mapping[str, Any]) -> str:
    """What happened in dollars, and which benchmark did better."""
    own = metrics[STRATEGY]
    verb = "made" if own["profit_usd"] >= 0.0 else "lost"
    sentences = [
        f"The strategy {verb} {text.usd(abs(own['profit_usd']))} in {metrics['n_days']} days, "
        f"after {text.usd(own['costs_usd'])} of costs"
    ]
    if lead := metrics["excess"].get(EQUAL_WEIGHT):
        side = "more" if lead["profit_usd"] >= 0.0 else "less"
        sentences[0] += (
            f": {text.usd(abs(lead['profit_usd']))} {side} than the same money spread equally "
            "over the screened pools"
        )
    leads = {policy: row["profit_usd"] for policy, row in metrics["excess"].items()}
    better = [
        f"{theme.policy_style(policy).label} by {text.usd(-leads[policy])}"
        for policy in theme.in_reading_order(list(leads))
        if policy not in (EQUAL_WEIGHT, CLAIRVOYANT) and leads[policy] < 0.0
    ]
    if better:
        sentences.append(f"Better than the strategy: {', '.join(better)}")
    return ". ".join(sentences) + "."


def headline_cards(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """The six numbers of the first screen: label, value, two notes and a tone."""
    own, costs = metrics[STRATEGY], metrics["costs"]
    return [
        {
            "label": "Net APY",
            "value": text.pct(own["net_apy_pct"]),
            "note": _interval(own),
            "more": f"{text.pct(own['gross_apy_pct'])} before costs",
            "tone": "lead",
        },
        _lead_card(metrics),
        {
            "label": "Profit",
            "value": text.usd(own["profit_usd"], plus=True),
            "note": f"AUM {text.usd(own['aum_start_usd'])} → {text.usd(own['aum_end_usd'])}",
            "more": f"{text.pct(metrics['exposure']['invested_pct'], 1)} invested on average",
            "tone": _tone(own["profit_usd"]),
        },
        {
            "label": "Costs",
            "value": text.usd(costs["total_usd"]),
            "note": f"gas {text.usd(costs['gas_usd'])}, "
            f"conversions {text.usd(costs['conversion_usd'])}",
            "more": f"{text.number(costs['bps_of_average_aum'], 1)} bps of average AUM",
            "tone": "",
        },
        _drawdown_card(metrics),
        _days_card(metrics),
    ]


def _tone(value: float) -> str:
    return "good" if value > 0.0 else "bad" if value < 0.0 else ""


def _interval(own: Mapping[str, Any]) -> str:
    if own["net_apy_low_pct"] is None:
        return "too few days for an interval"
    low, high = text.number(own["net_apy_low_pct"]), text.pct(own["net_apy_high_pct"])
    return f"90 % interval: {low} to {high}"


def _lead_card(metrics: Mapping[str, Any]) -> dict[str, str]:
    lead = metrics["excess"].get(EQUAL_WEIGHT)
    if lead is None:
        return {
            "label": "Versus equal weight",
            "value": text.DASH,
            "note": "this run has no such benchmark",
            "more": "",
            "tone": "",
        }
    return {
        "label": "Versus equal weight",
        "value": text.points(lead["net_apy_points"]),
        "note": f"{text.usd(lead['profit_usd'], plus=True)} in {metrics['n_days']} days",
        "more": f"ahead on {text.pct(lead['days_ahead_pct'], 0)} of days",
        "tone": _tone(lead["profit_usd"]),
    }


def _drawdown_card(metrics: Mapping[str, Any]) -> dict[str, str]:
    own, dates = metrics[STRATEGY], metrics["drawdown"]
    depth = own["max_drawdown_pct"]
    if depth == 0.0:
        note, more = "never below an earlier high", ""
    else:
        note = f"deepest on {text.day(dates['trough'])}"
        back = dates["recovered"]
        more = f"recovered on {text.day(back)}" if back else "not recovered by the end"
    return {
        "label": "Maximum drawdown",
        "value": text.by_unit(depth, "pct"),
        "note": note,
        "more": more,
        "tone": "",
    }


def _days_card(metrics: Mapping[str, Any]) -> dict[str, str]:
    days = metrics["days"]
    trouble = [
        f"{days[key]} {word}"
        for key, word in (("flagged", "flagged"), ("unusual", "without a fresh plan"))
        if days[key]
    ]
    return {
        "label": "Days",
        "value": str(metrics["n_days"]),
        "note": f"{days['traded']} with transactions",
        "more": ", ".join(trouble) or "none flagged",
        "tone": "",
    }
