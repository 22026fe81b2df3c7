"""A run in a few lines: for the chat, the mail, the file and the list of runs.

Symbols and names come from outside: what cannot be printed is written as an escape, and markup of
the chat is taken out of them. HTML is escaped by the page's template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from stableyield.domain.portfolio import WALLET
from stableyield.domain.text import printable, shortened
from stableyield.store import StoreError

_UNDONE = "nothing was decided; the book is as it was"
_KEPT = "what was recorded is kept; the next start takes the run up again"
MOST_STEPS = 25
MOST_WARNINGS = 20
MOST_OF_A_NAME = 40
MOST_OF_A_SENTENCE = 1000
_NAMES = ("symbol", "protocol", "chain")

Document = Mapping[str, Any]


def for_slack(text: str) -> str:
    """The text with the three characters escaped that Slack reads as markup of links and names."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def label_of(place: str, problem: Document) -> str:
    """A location as people know it: symbol, protocol and chain of a pool."""
    if place == WALLET:
        return "wallet"
    for pool in problem["pools"]:
        if pool["pool_id"] == place:
            symbol, protocol, chain = (shortened(pool[name], MOST_OF_A_NAME) for name in _NAMES)
            return f"{symbol} ({protocol}, {chain}) {shortened(place)}"
    return shortened(place)


def steps_of(plan: Document, problem: Document) -> list[str]:
    """The steps of a plan, one line each; holds are left out."""
    lines = []
    for step in plan["transactions"]:
        if step["type"] == "HOLD":
            continue
        token = shortened(step.get("from_token", step.get("token")))
        into = f" into {shortened(step['to_token'])}" if "to_token" in step else ""
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
        "decision": shortened(movement["sentence"], MOST_OF_A_SENTENCE),
        "is_held": movement["is_held"],
        "exits": list(movement["exits"]),
        "aum_before_usd": plan["aum_before_usd"],
        "aum_after_usd": plan["aum_after_usd"],
        "costs_usd": plan["costs"]["total_usd"],
        "n_steps": sum(step["type"] != "HOLD" for step in plan["transactions"]),
        "expected_yield_usd": expected["yield_usd"],
        "expected_apy_pct": expected["weighted_apy_pct"],
        "horizon_days": expected["horizon_days"],
        "warnings": [shortened(each, MOST_OF_A_SENTENCE) for each in warnings][:MOST_WARNINGS],
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
        lines.append(f"left by force: {', '.join(map(shortened, summary['exits']))}")
    lines += [f"  {step}" for step in steps[:n_steps]]
    if len(steps) > n_steps:
        lines.append(f"  ... and {len(steps) - n_steps} steps more, in the plan file")
    lines += [f"warning: {printable(each)}" for each in summary["warnings"]]
    return "\n".join(lines) + "\n"


def failure_message(day: date, run_id: str | None, stage: str, error: Exception) -> str:
    """A run that failed, as plain text."""
    what = getattr(error, "one_line", f"{type(error).__name__}: {error}")
    details = [f"  {shortened(line, MOST_OF_A_SENTENCE)}" for line in getattr(error, "details", ())]
    return (
        "\n".join(
            [
                f"stableyield {day}: FAILED in stage {stage}",
                f"run {run_id or 'not begun'}",
                shortened(what, MOST_OF_A_SENTENCE),
                *details[:MOST_WARNINGS],
                _KEPT if isinstance(error, StoreError) else _UNDONE,
            ]
        )
        + "\n"
    )
