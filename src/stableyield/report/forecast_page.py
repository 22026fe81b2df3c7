"""`render_evaluation`: how good forecasts were, as one page that needs nothing but a browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.offline
from markupsafe import Markup

from stableyield.report import forecast_tables as tables
from stableyield.report import text
from stableyield.report.document import environment
from stableyield.report.forecast_figures import drift_horizon, forecast_charts

if TYPE_CHECKING:
    from stableyield.forecast import Evaluation

_plotly: Any = plotly.offline  # plotly carries no types


def render_evaluation(evaluation: Evaluation, facts: Mapping[str, Any]) -> str:
    """The evaluation as one self-contained HTML page.

    Parameters
    ----------
    evaluation : Evaluation
    facts : mapping of str to value
        What a reader must know of the run: market, hashes, versions.

    Returns
    -------
    str
        The same text for the same input.
    """
    charts = forecast_charts(evaluation)
    context = {
        "title": f"Forecasts, {text.day(evaluation.start)} to {text.day(evaluation.end)}",
        "headline": headline(evaluation),
        "verdict": verdict(evaluation),
        "subtitle": _subtitle(evaluation),
        "cards": _cards(evaluation),
        "warnings": evaluation.warnings,
        "notes": evaluation.notes,
        "lead": evaluation.lead,
        "charts": charts,
        "chart_data": {name: Markup(chart.to_json()) for name, chart in charts.items()},
        "score_tables": tables.score_tables(evaluation),
        "coverage": tables.coverage_table(evaluation),
        "segments": tables.segment_table(evaluation),
        "decisions": tables.decision_table(evaluation),
        "misses": tables.miss_tables(evaluation),
        "tvl": tables.tvl_table(evaluation),
        "gas": tables.gas_table(evaluation),
        "timing": tables.timing_table(evaluation),
        "facts": [(name.replace("_", " "), value) for name, value in facts.items()],
        "plotly_js": Markup(_plotly.get_plotlyjs()),
    }
    return environment().get_template("forecast.html.j2").render(context) + "\n"


def _of_lead(evaluation: Evaluation, horizon: int) -> pd.Series[Any]:
    rows = evaluation.scores
    own = rows[
        (rows["method"] == evaluation.lead)
        & (rows["horizon_days"] == horizon)
        & (rows["segment"] == "all")
    ]
    return own.iloc[0]


def headline(evaluation: Evaluation) -> str:
    """The result in one line: the lead's skill against the last value."""
    horizon = drift_horizon(evaluation)
    row = _of_lead(evaluation, horizon)
    skill = row["skill_vs_last"]
    if pd.isna(skill):
        return f"{evaluation.lead}: no skill to speak of, nothing was scored at {horizon} d"
    side = "better" if skill >= 0.0 else "worse"
    share = text.pct(100.0 * abs(skill), 1)
    return f"{evaluation.lead} is {share} {side} than the last value at {horizon} d"


def verdict(evaluation: Evaluation) -> str:
    """The skill at every horizon, and against the best baseline."""
    parts = []
    for horizon in evaluation.horizons:
        row = _of_lead(evaluation, horizon)
        if pd.isna(row["skill_vs_last"]):
            parts.append(f"{horizon} d: not scored")
            continue
        said = f"{horizon} d: skill {text.number(row['skill_vs_last'], 3, plus=True)}"
        if row["best_baseline"] != evaluation.lead:
            against = text.number(row["skill_vs_best_baseline"], 3, plus=True)
            said += f" ({against} against {row['best_baseline']}, the best baseline)"
        parts.append(said)
    return "; ".join(parts) + ". Skill is 1 - MAE / MAE of the last value, on the same forecasts."


def _subtitle(evaluation: Evaluation) -> list[str]:
    step = "day" if evaluation.step_days == 1 else f"{evaluation.step_days} days"
    return [
        f"{text.day(evaluation.start)} to {text.day(evaluation.end)}",
        f"{evaluation.n_origins} origins, one every {step}",
        f"{len(evaluation.methods)} methods on the same rows",
        f"{evaluation.target} APY",
    ]


def _cards(evaluation: Evaluation) -> list[dict[str, str]]:
    """Up to three skills, calibration, decisions and size."""
    chosen = evaluation.horizons[:3]
    cards = [_skill_card(_of_lead(evaluation, horizon), horizon) for horizon in chosen]
    cards.append(_coverage_card(evaluation))
    cards.append(_decision_card(evaluation))
    n_scored = evaluation.n_scored
    cards.append(
        {
            "label": "Forecasts scored",
            "value": text.number(max(n_scored.values()), 0),
            "note": ", ".join(f"{h} d: {text.number(n, 0)}" for h, n in n_scored.items()),
            "more": "",
            "tone": "",
        }
    )
    return cards


def _skill_card(row: pd.Series[Any], horizon: int) -> dict[str, str]:
    skill = row["skill_vs_last"]
    bounds = (text.number(row[name], 2, plus=True) for name in ("skill_low", "skill_high"))
    has_bounds = not pd.isna(row["skill_low"])
    return {
        "label": f"Skill at {horizon} d",
        "value": text.number(skill, 3, plus=True),
        "note": f"90 %: {' to '.join(bounds)}" if has_bounds else "too few days for an interval",
        "more": f"q50: {text.number(row['skill_q50_vs_last'], 3, plus=True)}",
        "tone": "" if pd.isna(skill) else "good" if skill > 0.0 else "bad",
    }


def _coverage_card(evaluation: Evaluation) -> dict[str, str]:
    horizon = drift_horizon(evaluation)
    row = _of_lead(evaluation, horizon)
    return {
        "label": f"Below q10 at {horizon} d",
        "value": text.pct(100.0 * row["coverage_q10"], 1),
        "note": "10 % is right",
        "more": f"up to q90: {text.pct(100.0 * row['coverage_q90'], 1)}",
        "tone": "",
    }


def _decision_card(evaluation: Evaluation) -> dict[str, str]:
    rows = evaluation.decision_value
    own = rows[rows["method"] == evaluation.lead]
    if own.empty:
        return {
            "label": "Captured",
            "value": text.DASH,
            "note": "no weekly choice was scored",
            "more": "",
            "tone": "",
        }
    row = own.iloc[0]
    return {
        "label": "Captured",
        "value": text.pct(100.0 * row["captured"], 0),
        "note": f"of the gain of hindsight, {int(row['n_weeks'])} weeks",
        "more": f"{text.pct(row['promised_apy_pct'], 1)} promised, "
        f"{text.pct(row['realised_apy_pct'], 1)} came",
        "tone": "",
    }
