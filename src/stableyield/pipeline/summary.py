"""A run in a few lines: for the chat, the mail, the file and the list of runs.

Symbols and names come from outside: what cannot be printed is written as an escape, and markup of
the chat is taken out of them. HTML is escaped by the page's template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from stableyield.domain.portfolio import WALLET
from stableyield.store import StoreError

_UNDONE = "nothing was decided; the book is as it was"
_KEPT = "what was recorded is kept; the next start takes the run up again"
MOST_STEPS = 25
MOST_WARNINGS = 20

Document = Mapping[str, Any]


def printable(value: object) -> str:
    """The text on one line; what cannot be printed is an escape, such as U+202E or a line end."""
    text = str(value)
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def for_slack(text: str) -> str:
    """The text with the three characters escaped that Slack reads as markup of links and names."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def label_of(place: str, problem: Document) -> str:
    """A location as people know it: symbol, protocol and chain of a pool."""
    if place == WALLET:
        return "wallet"
    for pool in problem["pools"]:
        if pool["pool_id"] == place:
            return printable(f"{pool['symbol']} ({pool['protocol']}, {pool['chain']}) {place}")
    return printable(place)


def steps_of(plan: Document, problem: Document) -> list[str]:
    """The steps of a plan, one line each; holds are left out."""
    lines = []
    for step in plan["transactions"]:
        if step["type"] == "HOLD":
            continue
        token = printable(step.get("from_token", step.get("token")))
        into = f" into {printable(step['to_token'])}" if "to_token" in step else ""
        places = [label_of(step[end], problem) for end in ("from_location", "to_location")]
        way = "" if into else f", {places[0]} -> {places[1]}"
        lines.append(
            f"{step['seq']}. {step['type'].lower()} {step['amount']:,.6f} {token}{into} "
            f"({step['amount_usd']:,.2f} USD){way}; costs {step['total_cost_usd']:,.2f} USD"
        )
    return lines


def summary_of(
    plan: Document, movement: Document, warnings: Sequence[str], more: Mapping[str, Any]
) -> dict[str, Any]:
    """What is kept with the run, and what messages are made of."""
    expected = plan["expected"]
    return {
        "plan_status": plan["status"],
        "decision": movement["sentence"],
        "is_held": movement["is_held"],
        "exits": list(movement["exits"]),
        "aum_before_usd": plan["aum_before_usd"],
        "aum_after_usd": plan["aum_after_usd"],
        "costs_usd": plan["costs"]["total_usd"],
        "n_steps": sum(step["type"] != "HOLD" for step in plan["transactions"]),
        "expected_yield_usd": expected["yield_usd"],
        "expected_apy_pct": expected["weighted_apy_pct"],
        "horizon_days": expected["horizon_days"],
        "warnings": [printable(each) for each in warnings][:MOST_WARNINGS],
        **more,
    }


def message_of(
    run_id: str, day: date, summary: Document, steps: Sequence[str], *, n_steps: int = MOST_STEPS
) -> str:
    """A run that is done, as plain text."""
    lines = [
        f"stableyield {day}: {summary['decision']}",
        f"run {run_id}, plan {summary['plan_status']}",
        f"AUM {summary['aum_before_usd']:,.2f} USD before, {summary['aum_after_usd']:,.2f} after; "
        f"costs {summary['costs_usd']:,.2f} USD",
        f"expected: {summary['expected_yield_usd']:,.2f} USD in {summary['horizon_days']:g} days, "
        f"{summary['expected_apy_pct']:.2f} % a year on what is invested",
    ]
    if summary.get("yield_day") is not None:
        lines.append(
            f"realised: {100 * summary['yield_day']:.4f} % on the day before, "
            f"{100 * summary['yield_ytd']:.4f} % this year"
        )
    if summary["exits"]:
        lines.append(f"left by force: {', '.join(map(printable, summary['exits']))}")
    lines += [f"  {step}" for step in steps[:n_steps]]
    if len(steps) > n_steps:
        lines.append(f"  ... and {len(steps) - n_steps} steps more, in the plan file")
    lines += [f"warning: {printable(each)}" for each in summary["warnings"]]
    return "\n".join(lines) + "\n"


def failure_message(day: date, run_id: str | None, stage: str, error: Exception) -> str:
    """A run that failed, as plain text."""
    what = printable(getattr(error, "one_line", f"{type(error).__name__}: {error}"))
    details = [f"  {printable(line)}" for line in getattr(error, "details", ())]
    return (
        "\n".join(
            [
                f"stableyield {day}: FAILED in stage {stage}",
                f"run {run_id or 'not begun'}",
                what,
                *details[:MOST_WARNINGS],
                _KEPT if isinstance(error, StoreError) else _UNDONE,
            ]
        )
        + "\n"
    )
