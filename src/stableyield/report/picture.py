"""`equity_png`: the equity curves as one picture, for notebooks, chat and slides (matplotlib)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib.dates
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from stableyield.report import theme
from stableyield.report.books import STRATEGY, policy_books
from stableyield.report.chart import padded_range, spread, usd_ticks, with_end
from stableyield.report.picture_parts import GRID, INK, MUTED
from stableyield.report.text import day, pct

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from stableyield.backtest.result import BacktestResult

_dates: Any = matplotlib.dates  # carries no types

_DASHES: Mapping[str, Any] = {
    "solid": "-",
    "dash": (0, (5, 3)),
    "dot": (0, (1.2, 2)),
    "dashdot": "-.",
}
_LABEL_GAP = 0.056  # of the axis height


def equity_png(result: BacktestResult, metrics: Mapping[str, Any]) -> bytes:
    """The equity curves of the strategy and its benchmarks as PNG, 1600 x 900 pixels.

    Drawn with matplotlib's objects only: no global state, the same bytes for the same result.
    """
    figure = Figure(figsize=(10.0, 5.625), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.075, 0.1, 0.685, 0.72))
    _draw_curves(axes, result, metrics)
    strategy = metrics[STRATEGY]
    figure.text(
        0.03,
        0.925,
        f"Net APY {pct(strategy['net_apy_pct'])} after all costs",
        size=17,
        weight="bold",
        color=INK,
    )
    figure.text(
        0.03,
        0.872,
        f"AUM, {day(metrics['start'])} to {day(metrics['end'])} ({metrics['n_days']} days)",
        size=11,
        color=MUTED,
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_curves(axes: Axes, result: BacktestResult, metrics: Mapping[str, Any]) -> None:
    days, books = policy_books(result)
    x = with_end(days).astype("datetime64[D]")
    start = books[STRATEGY].curve[0]
    curves = {
        policy: books[policy].curve * (start / books[policy].curve[0])
        for policy in theme.in_reading_order(list(books))
    }
    for rank, (policy, curve) in enumerate(curves.items()):
        style = theme.policy_style(policy)
        line = _DASHES.get(style.dash, (0, (7, 3)))
        axes.plot(x, curve, color=style.colour, linestyle=line, lw=style.width, zorder=9 - rank)
    low, high = padded_range(np.concatenate(list(curves.values())))
    axes.set_ylim(low, high)
    axes.set_xlim(x[0], x[-1])
    _label_ends(axes, curves, metrics)
    locator = _dates.AutoDateLocator(maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(_dates.ConciseDateFormatter(locator, show_offset=False))
    places, texts = usd_ticks(low, high)
    axes.set_yticks(places, [label.replace("$", r"\$") for label in texts])
    axes.tick_params(length=0, labelsize=10, colors=MUTED)
    axes.grid(axis="y", color=GRID, lw=0.9)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def _label_ends(axes: Axes, curves: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
    low, high = axes.get_ylim()
    places = spread([float(c[-1]) for c in curves.values()], (high - low) * _LABEL_GAP)
    for policy, place in zip(curves, places, strict=True):
        style = theme.policy_style(policy)
        own = metrics[STRATEGY] if policy == STRATEGY else metrics["benchmarks"][policy]
        axes.annotate(
            f"{pct(own['net_apy_pct'])}  {style.label}".replace("$", r"\$"),
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            size=10.5,
            weight="bold" if policy == STRATEGY else "normal",
            color=style.colour,
            annotation_clip=False,
        )
