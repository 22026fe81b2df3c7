"""Pictures of the study on observed markets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from stableyield.report.theme import policy_style
from stableyield.study.attribution import CAUSES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from backtest_real_report import Study

DASHES: dict[str, Any] = {
    "solid": "-",
    "dash": (0, (5, 2)),
    "dot": (0, (1, 2)),
    "dashdot": (0, (4, 2, 1, 2)),
    "longdash": (0, (8, 3)),
    "longdashdot": (0, (8, 2, 2, 2)),
    "2px,3px": (0, (2, 3)),
}
CAUSE_COLOURS = ("#1878BE", "#D55E00", "#009E73", "#CC79A7")
CURVES = (
    ("default", "strategy", "Strategy, given defaults"),
    ("calm", "strategy", "Strategy, calm"),
    ("default", "best_single", "Best single pool"),
    ("default", "equal_weight", "Equal weight"),
    ("default", "top_k", "Top 5 of 7 days"),
    ("default", "threshold", "Threshold"),
    ("default", "hold", "Hold"),
    ("calm", "clairvoyant", "Clairvoyant, calm"),
)
CALM_COLOUR = "#0B3C5D"
COLOURS = {"threshold": "#882255", "hold": "#5E4FA2"}


def draw_all(study: Study, out: Path) -> None:
    """The pictures of each market."""
    for market in study.markets:
        for name, draw in (("growth", _growth), ("regret", _regret), ("capacity", _capacity)):
            figure = Figure(figsize=(9.0, 4.2), dpi=110, layout="constrained")
            FigureCanvasAgg(figure)
            axes = figure.add_subplot()
            draw(axes, study, market)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", alpha=0.25)
            figure.savefig(out / f"{market}_{name}.png", metadata={"Software": None})


def _growth(axes: Axes, study: Study, market: str) -> None:
    """Curves with the clairvoyant's off the scale, labelled at their ends."""
    top = 1.0
    for group, name, label in CURVES:
        row = study.get(market, 1e6, group, name)
        if row is None:
            continue
        style = policy_style(name)
        curve = np.concatenate(([1.0], np.cumprod(row["growth"])))
        days = np.datetime64(row["days"][0]) + np.arange(len(curve))
        is_calm = group == "calm" and name == "strategy"
        axes.plot(
            days,
            curve,
            label=f"{label}: {row['net_apy_pct']:.1f} % a year",
            color=CALM_COLOUR if is_calm else COLOURS.get(name, style.colour),
            linestyle=DASHES.get(style.dash, "-"),
            linewidth=2.2 if name == "strategy" else 1.4,
        )
        if name != "clairvoyant":
            top = max(top, float(curve.max()))
    axes.set_ylim(top=top + 0.25 * (top - 1.0))
    axes.set_title("Growth of 1 USD after all costs, AUM 1,000,000", loc="left")
    axes.legend(loc="upper left", fontsize=8, frameon=False, ncols=2)


def _regret(axes: Axes, study: Study, market: str) -> None:
    """Stacked parts of regret; negative parts go below zero."""
    labels = []
    for aum in study.amounts(market):
        for group in ("default", "calm"):
            rows = study.ladder(market, aum, group)
            if rows is None:
                continue
            apy = [row["net_apy_pct"] for row in rows]
            above, below = 0.0, 0.0
            for cause, colour, points in zip(CAUSES, CAUSE_COLOURS, np.diff(apy), strict=True):
                base = above if points >= 0.0 else below
                name = cause if not labels else None
                axes.bar(len(labels), points, bottom=base, color=colour, label=name, width=0.6)
                above, below = (above + points, below) if points >= 0 else (above, below + points)
            labels.append(f"{aum:,.0f}\n{group}")
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_ylabel("points of net APY")
    axes.set_title("Regret by cause", loc="left")
    axes.legend(fontsize=8, frameon=False)


def _capacity(axes: Axes, study: Study, market: str) -> None:
    amounts = sorted({key[1] for key in study.rows if key[0] == market})
    for group, label in (("default", "Strategy, given defaults"), ("calm", "Strategy, calm")):
        rows = [study.get(market, aum, group, "strategy") for aum in amounts]
        known = [(aum, row["net_apy_pct"]) for aum, row in zip(amounts, rows, strict=True) if row]
        colour = CALM_COLOUR if group == "calm" else policy_style("strategy").colour
        axes.plot(*zip(*known, strict=True), marker="o", label=label, color=colour)
        for aum, apy in known:
            axes.annotate(f"{apy:.1f}", (aum, apy), (0, 6), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("AUM, USD")
    axes.set_ylabel("net APY, percent")
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_title("Net APY against AUM", loc="left")
    axes.legend(fontsize=8, frameon=False)
