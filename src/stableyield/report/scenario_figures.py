"""`comparison_png` and `plan_png`: scenarios side by side, and one plan, as pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stableyield.domain.portfolio import CENT_USD, TransactionType
from stableyield.report import theme
from stableyield.report.chart import usd_ticks
from stableyield.report.picture_parts import (
    ALERT,
    GRID,
    INK,
    MUTED,
    TEXT_SIZE,
    empty,
    fitted,
    headline,
    legend,
    new_figure,
    panel_title,
    png_bytes,
    prepare_rows,
    say,
    scale_bars,
    stack,
)
from stableyield.report.scenario_book import (
    Holding,
    held_pools,
    tokens,
    unused_apy_pct,
    wallet,
    with_rest,
)
from stableyield.report.text import number, pct, usd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from stableyield.study import ScenarioOutcome, ScenarioResults

_BAR = "#1878BE"
_CASH = "#AAB2BD"
_MOST_SCENARIOS = 100
_MOST_BARS = 12
_FEWEST_ROWS = 5  # so that two bars are not as thick as a panel
_LEFT, _RIGHT = 0.02, 0.58  # where the columns of a figure begin, of its width
_DISC_PIXELS = 34.0  # distance from which two numbered discs do not hide each other
_AFTER = "USD and share of AUM after the plan"


@dataclass(frozen=True)
class _Measure:
    """A panel of the comparison: what is drawn, and how its numbers are written."""

    title: str
    unit: str
    column: str
    text: Callable[[float], str]
    needs_plan: bool = True


def _seconds(value: float) -> str:
    return f"{number(1000.0 * value, 0)} ms" if value < 1.0 else f"{number(value, 1)} s"


_MEASURES = (
    _Measure("Allocated", "% of AUM", "allocation_pct", lambda v: pct(v, 2)),
    _Measure("Weighted APY", "% a year", "weighted_apy", lambda v: pct(v, 2)),
    _Measure("Cost of the plan", "% of AUM", "cost_pct", lambda v: pct(v, 3)),
    _Measure("Solve time", "build, solve and settle", "solve_time", _seconds, needs_plan=False),
)


def comparison_png(results: ScenarioResults) -> bytes:
    """Allocated share, weighted APY, cost share and solve time of every scenario, as PNG.

    A scenario without a plan has no bars but its status. Of very many the first 100 are drawn.
    """
    summary = _plans_found(results)
    results = replace(results, outcomes=results.outcomes[:_MOST_SCENARIOS])
    height = 2.0 + 0.42 * len(results.outcomes)
    figure = new_figure(13.0, height)
    headline(figure, "Scenarios", summary)
    left, width, gap = 0.225, 0.17, 0.022
    bottom, top = 0.3 / height, 1.0 - 1.5 / height
    names = [fitted(name, 2.7) for name in results.names]
    for place, measure in enumerate(_MEASURES):
        axes = figure.add_axes((left + place * (width + gap), bottom, width, top - bottom))
        prepare_rows(axes, len(names), names if place == 0 else None)
        panel_title(axes, measure.title, measure.unit)
        _draw_measure(axes, measure, results)
    return png_bytes(figure)


def plan_png(outcome: ScenarioOutcome) -> bytes:
    """One plan as PNG: pools, tokens, allocation against APY, and costs by transaction type."""
    pools = held_pools(outcome)
    figure = new_figure(13.0, 9.0)
    headline(figure, outcome.name, _plan_summary(outcome))
    _draw_pools(figure.add_axes((0.305, 0.5, 0.23, 0.33)), pools, wallet(outcome))
    _draw_tokens(figure.add_axes((0.67, 0.5, 0.31, 0.33)), tokens(outcome))
    _draw_apy(figure.add_axes((0.08, 0.075, 0.45, 0.285)), pools, unused_apy_pct(outcome))
    _draw_costs(figure.add_axes((0.67, 0.075, 0.31, 0.285)), outcome)
    return png_bytes(figure)


def _draw_measure(axes: Axes, measure: _Measure, results: ScenarioResults) -> None:
    rows = [
        (float(value), measure.text(float(value)))
        if outcome.has_plan or not measure.needs_plan
        else (0.0, _no_plan(outcome).lower())
        for value, outcome in zip(results.table()[measure.column], results.outcomes, strict=True)
    ]
    scale_bars(axes, max(0.0, *(value for value, _ in rows)), [text for _, text in rows])
    for place, ((value, text), outcome) in enumerate(zip(rows, results.outcomes, strict=True)):
        is_alert = measure.needs_plan and not outcome.has_plan
        length = max(value, 0.0)  # a negative APY is said, not drawn
        stack(axes, place, (length, _BAR))
        say(axes, (length, place), text, color=ALERT if is_alert else INK)


# --- the plan's panels ----------------------------------------------------------------------------


def _draw_pools(axes: Axes, pools: list[Holding], cash: Holding) -> None:
    panel_title(axes, "Allocation by pool", _AFTER, x=_LEFT)
    rows = with_rest(pools, _MOST_BARS, "pools")
    names = [fitted(row.label, 3.3) for row in rows]
    for n in range(_n_ranked(pools)):
        names[n] += f"   {n + 1}"
    if cash.usd >= CENT_USD:
        rows, names = [*rows, cash], [*names, cash.label]
    _draw_holdings(axes, rows, names)


def _draw_tokens(axes: Axes, rows: list[Holding]) -> None:
    panel_title(axes, "Allocation by token", _AFTER, x=_RIGHT)
    rows = with_rest(rows, _MOST_BARS, "tokens")
    _draw_holdings(axes, rows, [fitted(row.label, 1.1) for row in rows])
    if any(row.wallet_usd >= CENT_USD for row in rows):
        legend(axes, [("in pools", _BAR), ("in the wallet", _CASH)])


def _draw_holdings(axes: Axes, rows: list[Holding], names: list[str]) -> None:
    prepare_rows(axes, max(len(rows), _FEWEST_ROWS), names)
    labels = [f"{usd(row.usd)}  {pct(row.share_pct, 1)}" for row in rows]
    scale_bars(axes, max(row.usd for row in rows), labels)
    for place, row in enumerate(rows):
        stack(axes, place, (row.usd - row.wallet_usd, _BAR), (row.wallet_usd, _CASH))
        say(axes, (row.usd, place), labels[place])


def _draw_apy(axes: Axes, pools: list[Holding], unused: list[float]) -> None:
    """What each pool holds against the APY it is forecast to pay."""
    unit = "USD; numbers as above, hollow: open but not used"
    panel_title(axes, "Allocation against forecast APY", unit, x=_LEFT)
    held = [(n, row) for n, row in enumerate(pools) if math.isfinite(row.apy_pct)]
    if not held and not unused:
        empty(axes, "no forecast is known")
        return
    _scales(axes, [*unused, *(row.apy_pct for _, row in held)], [row.usd for _, row in held])
    ring: dict[str, Any] = {"facecolors": "white", "edgecolors": MUTED, "linewidths": 1.1}
    axes.scatter(unused, [0.0] * len(unused), s=40, clip_on=False, zorder=3, **ring)
    disc: dict[str, Any] = {"color": _BAR, "edgecolors": "white", "clip_on": False}
    centred: dict[str, Any] = {"ha": "center", "va": "center_baseline", "weight": "bold"}
    taken: list[tuple[float, float]] = []
    for n, row in held:
        at = (row.apy_pct, row.usd)
        axes.plot([row.apy_pct] * 2, [0.0, row.usd], color=_BAR, lw=1.0, alpha=0.35, zorder=2)
        place = axes.transData.transform(at)
        is_free = all(math.dist(place, other) > _DISC_PIXELS for other in taken)
        if n < _n_ranked(pools) and is_free:
            taken.append((float(place[0]), float(place[1])))
            axes.scatter(*at, s=200, lw=1.2, zorder=9, **disc)
            axes.annotate(str(n + 1), at, size=8.5, color="white", zorder=10, **centred)
        else:
            axes.scatter(*at, s=55, lw=0.8, zorder=8, **disc)


def _draw_costs(axes: Axes, outcome: ScenarioOutcome) -> None:
    panel_title(axes, "Cost by transaction type", "USD and number of transactions", x=_RIGHT)
    if outcome.plan.n_moves == 0:
        empty(axes, "no transaction")
        return
    kinds = (TransactionType.WITHDRAWAL, TransactionType.CONVERSION, TransactionType.ALLOCATION)
    by_kind = [
        [step for step in outcome.plan.settlement.transactions if step.type is kind]
        for kind in kinds
    ]
    gas = [math.fsum(step.gas_cost_usd for step in steps) for steps in by_kind]
    fees = [math.fsum(step.conversion_cost_usd for step in steps) for steps in by_kind]
    prepare_rows(axes, _FEWEST_ROWS, [kind.value.capitalize() for kind in kinds])
    totals = [sum(pair) for pair in zip(gas, fees, strict=True)]
    labels = [f"{usd(t, 2)}  ({len(steps)})" for t, steps in zip(totals, by_kind, strict=True)]
    scale_bars(axes, max(totals), labels)
    for place, total in enumerate(totals):
        parts = ((gas[place], theme.GAS_COLOUR), (fees[place], theme.CONVERSION_COLOUR))
        stack(axes, place, *parts)
        say(axes, (total, place), labels[place])
    legend(axes, [("gas", theme.GAS_COLOUR), ("conversion fee", theme.CONVERSION_COLOUR)])


def _scales(axes: Axes, rates: list[float], amounts: list[float]) -> None:
    """Axes of APY and USD that begin at 0, with room for the marks."""
    low, high = min(0.0, *rates, 0.0), max(0.0, *rates, 0.0)
    margin = 0.05 * (high - low or 1.0)
    axes.set_xlim(low - (margin if low < 0.0 else 0.0), high + margin)
    top = max(amounts, default=0.0)
    axes.set_ylim(0.0, top * 1.14 or 1.0)
    places, texts = usd_ticks(0.0, top * 1.1, most=5) if top else ([0.0], ["$0"])
    axes.set_yticks(places, texts, parse_math=False)
    axes.xaxis.set_major_formatter(lambda value, _: pct(value, 0 if high - low >= 5.0 else 1))
    axes.tick_params(length=0, labelsize=TEXT_SIZE, colors=MUTED)
    axes.tick_params(axis="x", pad=9)  # clear of the hollow discs
    axes.grid(axis="y", color=GRID, lw=0.9)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def _n_ranked(pools: Sequence[Holding]) -> int:
    """How many pools have a bar, and so a number, of their own."""
    return len(pools) if len(pools) <= _MOST_BARS else _MOST_BARS - 1


def _plans_found(results: ScenarioResults) -> tuple[str, str]:
    n_all, n_found = len(results.outcomes), sum(o.has_plan for o in results.outcomes)
    drawn = f"; the first {_MOST_SCENARIOS} are drawn" if n_all > _MOST_SCENARIOS else ""
    if n_found == n_all:
        return f"{n_all} plans, each verified, nothing unaccounted for{drawn}", MUTED
    return f"{n_found} of {n_all} have a plan; without one the book stays as it is{drawn}", ALERT


def _plan_summary(outcome: ScenarioOutcome) -> tuple[str, str]:
    plan, money = outcome.plan, outcome.plan.settlement
    if not outcome.has_plan:
        return f"{_no_plan(outcome)}; the book stays as it is: {outcome.reason}", ALERT
    invested_pct = 100.0 * math.fsum(outcome.pools_usd.values()) / money.aum_before_usd
    parts = (
        f"AUM {usd(money.aum_before_usd)}",
        f"{pct(invested_pct)} allocated",
        f"weighted APY {pct(plan.expected.weighted_apy_pct)}",
        f"costs {usd(money.costs_usd, 2)}",
        f"{plan.n_moves} transactions",
    )
    return "   ·   ".join(parts), MUTED


def _no_plan(outcome: ScenarioOutcome) -> str:
    return "Infeasible" if outcome.plan.status == "infeasible" else "No plan in time"
