"""What the figures are made of: a chart with its legend, the common layout, labels that fit.

A chart is drawn without plotly's own legend: the page writes the legend in HTML, where it wraps at
any width and is never clipped. Texts that come from data are escaped, because plotly reads a part
of HTML in them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects
from numpy.typing import NDArray

from stableyield.report import text, theme

Floats = NDArray[np.float64]
Days = NDArray[np.datetime64]

go: Any = plotly.graph_objects  # plotly carries no types

CHART_HEIGHT = 320
NARROW_MARGIN = 78  # pixels right of the plot for an end label on a phone

_GRID = "rgba(128, 136, 150, 0.22)"
_INK = "#3D4552"


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """A line of a legend and the traces that it switches."""

    label: str
    colour: str
    traces: tuple[int, ...]
    dash: str = "solid"


@dataclass(frozen=True, eq=False)
class Chart:
    """A figure and what the page writes around it.

    Parameters
    ----------
    chart_id : str
        Stable identity: the id of the page's element.
    title, caption : str
    figure : plotly Figure
    legend : tuple of LegendEntry
    narrow_layout : mapping
        Replaces top-level parts of the layout on a narrow screen.
    """

    chart_id: str
    title: str
    caption: str
    figure: Any
    legend: tuple[LegendEntry, ...] = ()
    narrow_layout: Mapping[str, Any] = field(default_factory=dict)

    @property
    def height(self) -> int:
        """Height in pixels, the same at every width."""
        return int(self.figure.layout.height)

    def to_json(self) -> str:
        """Data and layouts as JSON that may stand inside a script element."""
        spec = json.loads(self.figure.to_json())
        spec["layout"].pop("template", None)
        spec["narrow"] = dict(self.narrow_layout)
        safe = json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)
        for character in "<>&\u2028\u2029":
            safe = safe.replace(character, f"\\u{ord(character):04x}")
        return safe


def plain_text(name: str) -> str:
    """Text of unknown origin, made safe for plotly's labels."""
    return escape(name, quote=False)


def iso_days(days: Days) -> list[str]:
    """Days as ISO text."""
    return [str(day) for day in days.astype("datetime64[D]")]


def with_end(days: Days) -> Days:
    """The exec dates and the day after the last: where each holding period begins or ends."""
    result: Days = np.concatenate((days, days[-1:] + np.timedelta64(1, "D")))
    return result


def layout(yaxis: Mapping[str, Any], **overrides: Any) -> dict[str, Any]:
    """The layout that all figures share, with the vertical axis of one."""
    common: dict[str, Any] = {
        "height": CHART_HEIGHT,
        "margin": {"l": 10, "r": 24, "t": 12, "b": 44},
        "font": {"family": theme.FONT_FAMILY, "size": 12.5, "color": _INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": False,
        "hovermode": "x unified",
        "hoverlabel": {"font": {"size": 12}, "namelength": -1},
        "dragmode": False,
        "xaxis": {
            "type": "date",
            "showgrid": False,
            "zeroline": False,
            "ticks": "outside",
            "ticklen": 4,
            "tickcolor": _GRID,
            "linecolor": _GRID,
            "showline": True,
            "fixedrange": True,
            "hoverformat": "%-d %b %Y",
            "nticks": 8,
        },
        "yaxis": {
            "gridcolor": _GRID,
            "zeroline": False,
            "automargin": True,
            "fixedrange": True,
            "ticklabelstandoff": 6,
            "nticks": 7,
            **yaxis,
        },
    }
    return {**common, **overrides}


def usd_axis(values: Floats) -> dict[str, Any]:
    """A vertical axis in US dollars with a margin around the values."""
    limits = padded_range(values)
    places, texts = usd_ticks(limits[0], limits[1])
    return {"range": limits, "tickvals": places, "ticktext": texts}


def usd_ticks(low: float, high: float, most: int = 7) -> tuple[list[float], list[str]]:
    """Round places between two amounts and their texts in $, $k, $M or $B, all of one precision."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(n for n in (1.0, 2.0, 2.5, 5.0, 10.0) if n * power >= rough * (1 - 1e-9))
    ranks = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    places = [rank * step for rank in ranks]
    size = max(abs(low), abs(high))
    scale, letter = next(
        ((s, name) for s, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")) if size >= s), (1.0, "")
    )
    digits = next((d for d in range(15) if _is_round(step / scale, d)), 15)
    texts = [f"{text.usd(place / scale, digits)}{letter}" for place in places]
    return places, [label if place else "$0" for place, label in zip(places, texts, strict=True)]


def _is_round(value: float, digits: int) -> bool:
    return math.isclose(value, round(value, digits), rel_tol=1e-9)


def padded_range(values: Floats, share: float = 0.06) -> list[float]:
    """Lowest and highest value with a margin; a constant gets a range of its own size."""
    low, high = float(np.min(values)), float(np.max(values))
    span = high - low or max(abs(high) * 0.01, 1.0)
    return [low - share * span, high + share * span]


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Places as near as possible to ``values`` and at least ``gap`` apart.

    The least-squares solution: an isotonic regression of the values less their rank times the gap.
    """
    order = sorted(range(len(values)), key=lambda i: values[i])
    blocks: list[tuple[float, int]] = []  # mean, size
    for rank, i in enumerate(order):
        mean, size = values[i] - rank * gap, 1
        while blocks and blocks[-1][0] > mean:
            before, n = blocks.pop()
            mean, size = (before * n + mean * size) / (n + size), n + size
        blocks.append((mean, size))
    flat = [mean for mean, size in blocks for _ in range(size)]
    places = [0.0] * len(values)
    for rank, i in enumerate(order):
        places[i] = flat[rank] + rank * gap
    return places
