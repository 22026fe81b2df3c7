"""What pictures of rows and bars are made of (matplotlib's objects only: no global state)."""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.backends.backend_agg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#1D232C"
MUTED = "#667080"
GRID = "#E3E6EB"
ALERT = "#B3423A"
TEXT_SIZE = 9.5
MARGIN = 0.02  # of the figure's width
_DPI = 150
_LABEL_GAP = 0.12  # inches before and behind the label of a bar

_agg: Any = matplotlib.backends.backend_agg  # carries no types


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches."""
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    _agg.FigureCanvasAgg(figure)
    return figure


def headline(figure: Figure, title: str, below: tuple[str, str]) -> None:
    """The title, and a line below it in its colour, at the same place in figures of any height."""
    text, colour = below
    width, height = figure.get_size_inches()
    room = width * (1.0 - 2.0 * MARGIN)
    plain: dict[str, Any] = {"parse_math": False}
    title = fitted(title, room, 17.0, "bold")
    figure.text(MARGIN, 1.0 - 0.45 / height, title, size=17, weight="bold", color=INK, **plain)
    text = fitted(text, room, 10.5)
    figure.text(MARGIN, 1.0 - 0.75 / height, text, size=10.5, color=colour, **plain)


def panel_title(axes: Axes, title: str, unit: str, x: float | None = None) -> None:
    """Title and unit over a panel, from its left edge or from ``x`` of the figure's width."""
    along = "axes fraction" if x is None else "figure fraction"
    at: dict[str, Any] = {"textcoords": "offset points", "xycoords": (along, "axes fraction")}
    axes.annotate(title, (x or 0.0, 1.0), xytext=(0, 21), size=11.5, weight="bold", color=INK, **at)
    axes.annotate(unit, (x or 0.0, 1.0), xytext=(0, 8), size=9, color=MUTED, **at)


def prepare_rows(axes: Axes, n_rows: int, names: Sequence[str] | None) -> None:
    """Horizontal rows from the top, with their names, and no frame."""
    axes.set_ylim(n_rows - 0.5, -0.5)
    places = [] if names is None else list(range(len(names)))
    axes.set_yticks(places, names or [], parse_math=False)
    axes.set_xticks([])
    axes.tick_params(length=0, labelsize=TEXT_SIZE, labelcolor=INK)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(GRID)


def say(axes: Axes, at: tuple[float, float], text: str, *, color: str = INK) -> None:
    """Write right of a place: behind a bar's end."""
    axes.annotate(
        text,
        at,
        xytext=(5, 0),
        textcoords="offset points",
        va="center_baseline",
        size=TEXT_SIZE,
        color=color,
        annotation_clip=False,
        parse_math=False,
    )


def stack(axes: Axes, place: int, *parts: tuple[float, str]) -> None:
    """A horizontal bar of coloured parts."""
    left = 0.0
    for length, colour in parts:
        axes.barh(place, length, left=left, height=0.64, color=colour)
        left += length


def scale_bars(axes: Axes, most: float, labels: Sequence[str]) -> None:
    """Scale rows so that the longest bar leaves room for the longest label behind it."""
    panel = axes.get_window_extent().width / _DPI
    label = max((text_width(text) for text in labels), default=0.0) + _LABEL_GAP
    axes.set_xlim(0.0, (most or 1.0) * panel / max(panel - label, 0.2 * panel))


def legend(axes: Axes, entries: Sequence[tuple[str, str]]) -> None:
    """Coloured squares with their names at the upper right, beside the panel's unit."""
    handles = [axes.barh(0, 0, color=colour) for _, colour in entries]
    axes.legend(
        handles,
        [name for name, _ in entries],
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=len(entries),
        columnspacing=1.2,
        frameon=False,
        fontsize=9,
        handlelength=0.9,
        handleheight=0.9,
        labelcolor=MUTED,
        borderaxespad=0.2,
    )


def empty(axes: Axes, text: str) -> None:
    """Say why a panel shows nothing."""
    axes.set_axis_off()
    axes.text(0.0, 0.85, text, size=10.5, color=MUTED, transform=axes.transAxes)


def text_width(text: str, size: float = TEXT_SIZE, weight: str = "normal") -> float:
    """Width of a text in inches, as it will be drawn."""
    font = FontProperties(size=size, weight=weight)
    renderer = _agg.RendererAgg(1, 1, _DPI)
    return float(renderer.get_text_width_height_descent(text, font, False)[0]) / _DPI


def fitted(text: str, inches: float, size: float = TEXT_SIZE, weight: str = "normal") -> str:
    """The text, without as much of its middle as does not fit into ``inches``."""
    if text_width(text, size, weight) <= inches:
        return text

    def shortened(n_kept: int) -> str:
        n_head = (n_kept + 1) * 2 // 3
        return f"{text[:n_head].rstrip()}…{text[len(text) - (n_kept - n_head) :].lstrip()}"

    def is_too_wide(n_kept: int) -> bool:
        return text_width(shortened(n_kept), size, weight) > inches

    return shortened(max(bisect_left(range(len(text)), True, key=is_too_wide) - 1, 1))


def png_bytes(figure: Figure) -> bytes:
    """The figure as PNG: the same bytes for the same content."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
