"""``stableyield allocate``: one problem file in, one plan out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stableyield.cli.common import JsonOption, PercentOption, SetOption, assignments
from stableyield.cli.outputs import check_out_file
from stableyield.cli.terminal import (
    Column,
    console,
    number,
    print_json,
    print_notes,
    print_path,
    print_table,
    working,
)
from stableyield.errors import InfeasibleError, InputError

if TYPE_CHECKING:
    from rich.console import Console

    from stableyield.allocation import AllocationProblem, Plan, WhyNot

MIN_PERCENT_MEDIAN = 0.5
_WALLET = "warm_wallet"


def allocate(
    problem: Annotated[
        Path, typer.Argument(metavar="PROBLEM", help="Problem file (see docs/formats.md).")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the plan file here.")
    ] = None,
    set_: SetOption = None,
    why_not_: Annotated[
        list[str] | None,
        typer.Option(
            "--why-not",
            metavar="POOL_ID",
            help="Say what APY this pool would need to be bought; may be repeated.",
        ),
    ] = None,
    json_: JsonOption = False,
    confirm_percent: PercentOption = False,
) -> None:
    """Solve one allocation problem and print the plan.

    Exits with 3 when no plan meets the limits; the plan file then holds the unchanged book.
    """
    check_out_file(out)
    changes = assignments(set_)
    from stableyield.allocation import checked, read_problem, solve, why_not

    task = read_problem(problem)
    if not confirm_percent:
        _ask_about_units(task, problem)
    task = task.with_parameters(task.parameters.with_overrides(changes))
    with working("solving"):
        plan = checked(solve(task))
        asked = [why_not(plan, pool_id) for pool_id in dict.fromkeys(why_not_ or ())]
    document = plan.to_document()
    _add_answers(document, asked)
    if out is not None:
        _write(document, out)
    if json_:
        print_json(document)
    else:
        _show(plan, document)
        print_notes(console(), "why not", map(_answer, asked))
        if out is not None:
            print_path(console(), "plan written to ", out)
    if plan.status == "infeasible":
        raise InfeasibleError(
            "no plan meets the limits: " + plan.infeasible_because[0].detail,
            remedy="relax a limit with --set, or --set on_failure=relax",
            details=tuple(limit.detail for limit in plan.infeasible_because[1:]),
        )


def _ask_about_units(task: AllocationProblem, path: Path) -> None:
    import numpy as np

    rates = np.array([pool.apy_pct for pool in task.pools])
    rates = np.abs(rates[np.isfinite(rates) & (rates != 0.0)])
    if len(rates) >= 3 and float(np.median(rates)) < MIN_PERCENT_MEDIAN:
        raise InputError(
            f"forecast_apy_pct has a median of {np.median(rates):.4f}: is it a fraction?",
            where=str(path),
            remedy="give percent (5 = 5 %), or confirm with --confirm-percent",
        )


def _add_answers(document: dict[str, Any], asked: list[WhyNot]) -> None:
    """Exact answers, before the plan's own estimates for other pools."""
    names = {answer.pool_id for answer in asked}
    estimates = [row for row in document["explanation"]["why_not"] if row["pool_id"] not in names]
    answers = [answer.to_dict() for answer in asked]
    document["explanation"] = {**document["explanation"], "why_not": [*answers, *estimates]}


def _answer(answer: WhyNot) -> str:
    text = f"{answer.pool_id}: {answer.reason}"
    if math.isfinite(answer.needed_apy_pct):
        text += (
            f"; forecast {number(answer.forecast_apy_pct)} %, needed "
            f"{number(answer.needed_apy_pct)} %"
        )
    if answer.gain_lost_usd > 0.0:
        text += f"; a deposit now would lose {number(answer.gain_lost_usd)} USD"
    return text


def _write(document: dict[str, Any], path: Path) -> None:
    import json

    from stableyield.report.export import write_atomic

    write_atomic(path, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())


def _show(plan: Plan, document: dict[str, Any]) -> None:
    screen = console()
    _show_transactions(screen, document["transactions"])
    _show_book(screen, plan, document)
    money, expected, certificate = plan.settlement, plan.expected, plan.certificate
    proof = (
        "the book stays as it is"
        if plan.status == "infeasible"
        else f"proven within {number(certificate.gap_usd, 4)} USD of the best plan, in "
        f"{number(certificate.solve_seconds, 2)} s"
    )
    lines = {
        "status": f"{plan.status}: {proof}",
        "AUM": f"{number(money.aum_before_usd)} -> {number(money.aum_after_usd)} USD",
        "costs": f"{number(money.costs_usd)} USD (gas {number(money.gas_usd)}, conversion "
        f"{number(money.conversion_usd)}); unaccounted {number(money.unaccounted_usd)}",
        "expected": f"{number(expected.yield_usd)} USD yield in {expected.horizon_days:g} days, "
        f"{number(expected.net_usd)} after costs; weighted APY "
        f"{number(expected.weighted_apy_pct)} %",
    }
    for label, text in lines.items():
        screen.print(f"{label:<9} {text}", soft_wrap=True)
    print_notes(screen, "relaxed", plan.explanation["relaxed"], "yellow")
    print_notes(screen, "binding", map(_binding, plan.explanation["binding"][:5]))


def _show_transactions(screen: Console, transactions: list[dict[str, Any]]) -> None:
    moves = [step for step in transactions if step["type"] != "HOLD"]
    if not moves:
        screen.print("nothing is moved")
        return
    columns = (
        Column("#", is_number=True),
        Column("what"),
        Column("pool", may_fold=True),
        Column("token"),
        Column("amount", is_number=True),
        Column("USD", is_number=True),
        Column("cost USD", is_number=True),
    )
    rows = [
        (
            str(step["seq"]),
            step["type"],
            " -> ".join(
                place for place in (step["from_location"], step["to_location"]) if place != _WALLET
            ),
            step.get("token") or f"{step['from_token']} -> {step['to_token']}",
            number(step["amount"]),
            number(step["amount_usd"]),
            number(step["total_cost_usd"]),
        )
        for step in moves
    ]
    print_table(screen, f"{len(moves)} transactions, in this order", columns, rows)


def _show_book(screen: Console, plan: Plan, document: dict[str, Any]) -> None:
    """USD and share of AUM of each pool, and of the wallet, after the plan."""
    usd_by_place: dict[str, float] = {}
    for row in document["positions"]:
        place = row["pool_id"]
        usd_by_place[place] = usd_by_place.get(place, 0.0) + row["amount_usd"]
    ordered = sorted(usd_by_place.items(), key=lambda item: (-item[1], item[0]))
    wallet_usd = sum(row["amount_usd"] for row in document["wallet"].values())
    pools = {pool.pool_id: pool for pool in plan.problem.pools}
    aum_usd = plan.settlement.aum_after_usd
    columns = (
        Column("pool", may_fold=True),
        Column("symbol", may_fold=True),
        Column("forecast APY %", is_number=True),
        Column("USD", is_number=True),
        Column("% of AUM", is_number=True),
    )
    rows = [
        (
            place,
            pools[place].symbol if place in pools else "",
            number(pools[place].apy_pct if place in pools else None),
            number(usd),
            number(100.0 * usd / aum_usd if aum_usd else None, 1),
        )
        for place, usd in (*ordered, ("(wallet)", wallet_usd))
    ]
    print_table(screen, "Book after the plan", columns, rows)


def _binding(row: dict[str, Any]) -> str:
    pool = f" of {row['pool_id']}" if row["pool_id"] else ""
    return f"{row['limit']}{pool}, worth {row['usd_per_usd']:.5f} USD per dollar of room"
