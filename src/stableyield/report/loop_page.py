"""`render_loop`: a loop backtest as one page that needs nothing but a browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.offline
from markupsafe import Markup

from stableyield.errors import MissingDataError
from stableyield.loops.as_notebook import corrections, notebook_days, notebook_leverage
from stableyield.loops.statistics import rebalancing_costs
from stableyield.loops.stress import stress_table
from stableyield.report import loop_tables as tables
from stableyield.report import text
from stableyield.report.document import environment
from stableyield.report.loop_figures import loop_charts

if TYPE_CHECKING:
    from stableyield.loops.result import LoopResult
    from stableyield.loops.risk_table import RiskTable

_plotly: Any = plotly.offline  # plotly carries no types

NOTEBOOK_CHAINS = frozenset({"Arbitrum", "Polygon"})
NOTEBOOK_GAS_USD, NOTEBOOK_CAPITAL_USD = 0.06, 10_000.0  # 8,760 of them a year are 5.256 %


@dataclass(frozen=True, eq=False)
class LoopPage:
    """What a page shows beside the run itself.

    Parameters
    ----------
    steps : DataFrame
        `corrections` of all markets; empty where no market has a pair.
    stress : DataFrame
        `stress_table`.
    facts : mapping
        What a reader must know of the run.
    """

    steps: pd.DataFrame
    stress: pd.DataFrame
    facts: Mapping[str, Any] = field(default_factory=dict)


def page_of(
    result: LoopResult, facts: Mapping[str, Any] | None = None, risk: RiskTable | None = None
) -> LoopPage:
    """The parts of a page that are worked out beside the run."""
    try:
        steps = corrections(result, risk)
    except MissingDataError:  # one coin with a borrow side: no pair, and no notebook either
        steps = pd.DataFrame()
    return LoopPage(steps, stress_table(), dict(facts or {}))


def render_loop(result: LoopResult, metrics: Mapping[str, Any], page: LoopPage) -> str:
    """The run as one self-contained HTML page.

    Parameters
    ----------
    result : LoopResult
    metrics : mapping
        What `loop_metrics` gave for the same result.
    page : LoopPage

    Returns
    -------
    str
        The same text for the same input.
    """
    main = main_market(metrics)
    steps = page.steps[page.steps["market"] == main] if len(page.steps) else page.steps
    charts = loop_charts(result, steps)
    moves, moves_left_out = tables.move_table(result)
    context = {
        "title": f"Lending loops, {_span(metrics)}",
        "headline": headline(metrics),
        "verdict": verdict(metrics),
        "subtitle": _subtitle(result, metrics),
        "main": main,
        "cards": _cards(metrics["markets"][main]),
        "warnings": [*metrics["warnings"], *metrics["notes"]],
        "assumptions": metrics["assumptions"],
        "charts": charts,
        "chart_data": {name: Markup(chart.to_json()) for name, chart in charts.items()},
        "markets": tables.market_table(metrics),
        "corrections": [
            (str(name), tables.correction_table(rows))
            for name, rows in (page.steps.groupby("market", sort=False) if len(page.steps) else ())
        ],
        "worked": worked_day(result, main) if len(steps) else None,
        "on_notebook_chains": any(each.chain in NOTEBOOK_CHAINS for each in result.rates),
        "wrong_pct": None if not len(steps) else float(steps["net_apr_pct"].iloc[0]),
        "right_pct": None if not len(steps) else float(steps["net_apr_pct"].iloc[-2]),
        **tables.statistic_tables(result),
        "rebalancing": tables.rebalancing_table(
            rebalancing_costs(NOTEBOOK_GAS_USD, NOTEBOOK_CAPITAL_USD)
        ),
        "stress": tables.stress_tables(page.stress),
        "shocks": tables.shock_texts(),
        "moves": moves,
        "moves_left_out": moves_left_out,
        "facts": [(name.replace("_", " "), value) for name, value in page.facts.items()],
        "plotly_js": Markup(_plotly.get_plotlyjs()),
    }
    return environment().get_template("loop.html.j2").render(context) + "\n"


def main_market(metrics: Mapping[str, Any]) -> str:
    """The market of the headline numbers: the one with the most days."""
    markets = metrics["markets"]
    return str(max(markets, key=lambda name: markets[name]["n_days"]))


def headline(metrics: Mapping[str, Any]) -> str:
    """The result in one line: where looping paid more than not looping."""
    leads = [row["excess_apy_points"] for row in metrics["markets"].values()]
    ahead = sum(lead is not None and lead > 0.0 for lead in leads)
    if len(leads) == 1:
        row = next(iter(metrics["markets"].values()))
        apy = text.pct(row["loop"]["net_apy_pct"])
        if leads[0] is None:
            return f"{apy} net APY with the loop"
        if row["days_looped"] == 0:
            return f"{apy} net APY: looping never paid, so it was never done"
        side = "more" if leads[0] > 0.0 else "less"
        return f"{apy} net APY, {text.number(abs(leads[0]))} points {side} than without leverage"
    if not ahead:
        return f"Looping paid no more than plain supply in any of {len(leads)} markets"
    return f"Looping paid more than plain supply in {ahead} of {len(leads)} markets"


def verdict(metrics: Mapping[str, Any]) -> str:
    """One sentence a market: both rates, the days looped and what moving cost."""
    sentences = []
    for name, row in metrics["markets"].items():
        low, n_looped = text.number(row["min_health_factor"]), f"{row['days_looped']:,}"
        looped = (
            f"looped on {n_looped} of {row['n_days']:,} days, lowest health factor {low}"
            if row["days_looped"]
            else f"never looped in {row['n_days']:,} days"
        )
        sentences.append(
            f"{name}: {text.pct(row['loop']['net_apy_pct'])} a year with the loop, "
            f"{text.pct(row['unlevered']['net_apy_pct'])} without leverage; {looped}, "
            f"{text.usd(row['costs_usd'])} of costs."
        )
    return " ".join(sentences)


def worked_day(result: LoopResult, market: str) -> dict[str, Any]:
    """The last day on which the notebook would have taken a borrow rate for a supply rate.

    Of a market where that never happens, the last day.
    """
    rates = next(each for each in result.rates if each.name == market)
    size = notebook_leverage(result.settings.target)
    days = notebook_days(rates, size)
    wrong = days[days["is_borrow_rate"]]
    last = (wrong if len(wrong) else days).iloc[-1]
    row = {str(key): value for key, value in last.items()}
    share = 100.0 * float(days["is_borrow_rate"].mean())
    return {**row, "leverage": size, "debt": size - 1.0, "share_pct": share, "n_days": len(days)}


def _span(metrics: Mapping[str, Any]) -> str:
    rows = metrics["markets"].values()
    first, last = min(row["start"] for row in rows), max(row["end"] for row in rows)
    return f"{text.day(first)} to {text.day(last)}"


def _subtitle(result: LoopResult, metrics: Mapping[str, Any]) -> list[str]:
    settings, target = result.settings, result.settings.target
    wish = (
        f"health factor {target.wanted_health_factor:g}"
        if target.wanted_health_factor is not None
        else f"leverage {target.size(1.0):.3f}"
        + (f" (LTV {target.ltv:g})" if target.ltv is not None else "")
    )
    assets = sorted({asset for rates in result.rates for asset in rates.assets})
    return [
        _span(metrics),
        ", ".join(assets[:6]) + (f" and {len(assets) - 6} more" if len(assets) > 6 else ""),
        f"{text.usd(settings.equity_usd)} in each market",
        f"aimed at {wish}",
    ]


def _cards(row: Mapping[str, Any]) -> list[dict[str, str]]:
    loop, plain, lead = row["loop"], row["unlevered"], row["excess_apy_points"]
    tone = "" if not lead else "good" if lead > 0.0 else "bad"
    health = row["min_health_factor"]
    return [
        _card("Net APY with the loop", text.pct(loop["net_apy_pct"]), "after all costs", "lead"),
        _card("Against no leverage", text.points(lead), f"{text.pct(plain['net_apy_pct'])} without")
        | {"tone": tone},
        _card(
            "Maximum drawdown",
            text.by_unit(loop["max_drawdown_pct"], "pct"),
            f"{text.by_unit(plain['max_drawdown_pct'], 'pct')} without leverage",
        ),
        _card(
            "Lowest health factor",
            text.DASH if health is None else text.number(health),
            "liquidated below 1" if health is not None else "there never was a debt",
        ),
        _card(
            "Days looped",
            str(row["days_looped"]),
            f"of {row['n_days']}; {row['days_negative_spread']} at a negative spread",
        ),
        _card(
            "Costs",
            text.usd(row["costs_usd"]),
            f"gas {text.usd(row['gas_usd'])}, swaps {text.usd(row['swap_usd'])}, "
            f"flash loans {text.usd(row['flash_usd'])}",
        ),
    ]


def _card(label: str, value: str, note: str, tone: str = "") -> dict[str, str]:
    return {"label": label, "value": value, "note": note, "more": "", "tone": tone}
