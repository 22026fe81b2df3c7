"""Colours and the names of policies, the same in every figure and table.

The policies use the palette of Okabe and Ito (2008), Color Universal Design, and differ by dash as
well; pools and tokens use Paul Tol's muted scheme (SRON technical note 09-002, 2021). Both are made
for colour-blind readers, and their mid tones keep contrast on white and on dark paper.
"""

from __future__ import annotations

from dataclasses import dataclass

from stableyield.report.books import STRATEGY


@dataclass(frozen=True, slots=True)
class PolicyStyle:
    """How a policy is drawn.

    Parameters
    ----------
    label : str
    colour : str
        Hexadecimal RGB.
    dash : str
        A plotly dash name.
    """

    label: str
    colour: str
    dash: str = "solid"

    @property
    def width(self) -> float:
        """Line width in pixels: solid lines, the strategy's, are the heaviest."""
        return 2.6 if self.dash == "solid" else 1.7


_POLICIES = {
    STRATEGY: PolicyStyle("Strategy", "#1878BE"),
    "equal_weight": PolicyStyle("Equal weight", "#D55E00", "dash"),
    "best_single": PolicyStyle("Best single pool", "#009E73", "dot"),
    "idle": PolicyStyle("Idle cash", "#7A828E", "dashdot"),
    "top_k": PolicyStyle("Top trailing APY", "#CC79A7", "longdash"),
    "persistence": PolicyStyle("Persistence forecast", "#3FA0D6", "longdashdot"),
    "clairvoyant": PolicyStyle("Clairvoyant", "#B8860B", "2px,3px"),
}
_SPARE_COLOURS = ("#882255", "#117733", "#AA4499", "#999933", "#6699CC")

SERIES_COLOURS = (
    "#4477AA",
    "#66B8D6",
    "#44AA99",
    "#117733",
    "#9A9A3C",
    "#DDCC77",
    "#E08A5B",
    "#CC6677",
    "#882255",
    "#AA4499",
    "#B39DDB",
    "#5E4FA2",
)
OTHER_COLOUR = "#9AA1AC"
WALLET_COLOUR = "#D3D8DF"
GAS_COLOUR = "#CC6677"
CONVERSION_COLOUR = "#4477AA"
PRICE_COLOUR = "#AA4499"

FONT_FAMILY = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", sans-serif'
)


def policy_style(policy: str) -> PolicyStyle:
    """Style of a policy; an unknown one gets its name and a colour that depends on it alone."""
    if policy in _POLICIES:
        return _POLICIES[policy]
    colour = _SPARE_COLOURS[sum(policy.encode()) % len(_SPARE_COLOURS)]
    return PolicyStyle(policy.replace("_", " ").capitalize(), colour, "dash")


def in_reading_order(policies: list[str]) -> list[str]:
    """The policies from the strategy to the clairvoyant, unknown ones last."""
    known = list(_POLICIES)
    return sorted(policies, key=lambda p: (known.index(p) if p in known else len(known), p))
