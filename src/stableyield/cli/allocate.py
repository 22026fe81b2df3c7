"""``stableyield allocate``: one problem file in, one plan out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stableyield.cli.common import (
    JsonOption,
    PercentOption,
    SetOption,
    assignments,
    console,
    print_json,
)
from stableyield.errors import InfeasibleError, InputError, IntegrityError

if TYPE_CHECKING:
    from stableyield.allocation import AllocationProblem, Plan

MIN_PERCENT_MEDIAN = 0.5


def allocate(
    problem: Annotated[Path, typer.Argument(help="Problem file (see docs/formats.md).")],
    out: Annotated[Path | None, typer.Option(help="Write the plan file here.")] = None,
    set_: SetOption = None,
    json_: JsonOption = False,
    confirm_percent: PercentOption = False,
) -> None:
    """Solve one allocation problem and print the plan."""
    from stableyield.allocation import read_problem, solve, verify

    task = read_problem(problem)
    if not confirm_percent:
        _ask_about_units(task, problem)
    task = task.with_parameters(task.parameters.with_overrides(assignments(set_)))
    plan = solve(task)
    if not plan.explanation["relaxed"]:
        verification = verify(plan, task)
        if not verification.ok:
            raise IntegrityError(
                f"the plan fails verification: {verification.violations[0]}",
                remedy="report this as a bug, with the problem file",
                details=verification.violations[1:],
            )
    document = plan.to_document()
    if out is not None:
        _write(document, out)
    if json_:
        print_json(document)
    else:
        _show(plan, document, out)
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


def _write(document: dict[str, Any], path: Path) -> None:
    import json

    from stableyield.report.export import write_atomic

    write_atomic(path, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())


def _show(plan: Plan, document: dict[str, Any], out: Path | None) -> None:
    from rich.table import Table

    screen = console()
    table = Table(title="Transactions", title_justify="left", header_style="bold")
    columns: tuple[tuple[str, Literal["left", "right"]], ...] = (
        ("#", "right"),
        ("what", "left"),
        ("from", "left"),
        ("to", "left"),
        ("amount", "right"),
        ("token", "left"),
        ("USD", "right"),
        ("cost USD", "right"),
    )
    for name, justify in columns:
        table.add_column(name, justify=justify, no_wrap=name in {"#", "USD", "amount"})
    for step in document["transactions"]:
        swap = step["type"] == "CONVERSION"
        token = f"{step['from_token']} -> {step['to_token']}" if swap else step["token"]
        table.add_row(
            str(step["seq"]),
            step["type"],
            step["from_location"],
            step["to_location"],
            f"{step['amount']:,.2f}",
            token,
            f"{step['amount_usd']:,.2f}",
            f"{step['total_cost_usd']:,.2f}",
        )
    screen.print(table)
    money, expected = plan.settlement, plan.expected
    screen.print(
        f"status {plan.status}, gap {plan.certificate.gap_usd:,.4f} USD, "
        f"{plan.certificate.solve_seconds:.3f} s"
        if plan.status != "infeasible"
        else "status infeasible: the book stays as it is"
    )
    screen.print(
        f"AUM {money.aum_before_usd:,.2f} -> {money.aum_after_usd:,.2f} USD, costs "
        f"{money.costs_usd:,.2f} (gas {money.gas_usd:,.2f}, conversion "
        f"{money.conversion_usd:,.2f}), unaccounted {abs(money.unaccounted_usd):.2f}"
    )
    screen.print(
        f"expected over {expected.horizon_days:g} days: yield {expected.yield_usd:,.2f}, net "
        f"{expected.net_usd:,.2f} USD, weighted APY {expected.weighted_apy_pct:.2f} %"
    )
    for note in plan.explanation["relaxed"]:
        screen.print(f"relaxed: {note}")
    for row in plan.explanation["binding"][:5]:
        pool = f" of {row['pool_id']}" if row["pool_id"] else ""
        screen.print(f"binding: {row['limit']}{pool}, {row['usd_per_usd']:.5f} USD per extra USD")
    if out is not None:
        screen.print(f"plan written to {out}")
