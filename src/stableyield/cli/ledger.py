"""``stableyield ledger``: the books, and the owner's money that comes and goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stableyield.cli.common import JsonOption, day_of
from stableyield.cli.terminal import Column, console, number, print_json, print_notes, print_table
from stableyield.cli.treasury import (
    DatabaseOption,
    engine_of,
    migrated,
    operator,
    settings_of,
)
from stableyield.errors import InputError

if TYPE_CHECKING:
    from stableyield.pipeline import Books

app = typer.Typer(help="The books of the treasury.", no_args_is_help=True)

TokenArgument = Annotated[str, typer.Argument(metavar="TOKEN", help="Symbol, case-exact.")]
AmountArgument = Annotated[float, typer.Argument(metavar="AMOUNT", help="Token units.")]
DayOption = Annotated[
    str | None,
    typer.Option(metavar="DAY", help="UTC day from whose run on it counts; else that of now."),
]
MemoOption = Annotated[str, typer.Option(help="What it was for; kept in the journal.")]
_DAYS_SHOWN = 14


@app.command("deposit")
def deposit(
    token: TokenArgument,
    amount: AmountArgument,
    day: DayOption = None,
    memo: MemoOption = "",
    database: DatabaseOption = None,
) -> None:
    """Book money that the owner brings to the wallet."""
    _book(token, amount, 1.0, day, memo, database)


@app.command("withdraw")
def withdraw(
    token: TokenArgument,
    amount: AmountArgument,
    day: DayOption = None,
    memo: MemoOption = "",
    database: DatabaseOption = None,
) -> None:
    """Book money that the owner takes; what the wallet lacks, the run of that day raises."""
    _book(token, amount, -1.0, day, memo, database)


def _book(
    token: str, amount: float, sign: float, day: str | None, memo: str, database: str | None
) -> None:
    if not amount > 0.0:
        raise InputError(f"AMOUNT is {amount:g}", remedy="give a positive number of token units")
    chosen = None if day is None else day_of(day, "--day")
    from stableyield.pipeline import Flow, book_flow
    from stableyield.pipeline.moments import day_of_clock
    from stableyield.sources import system_clock

    clock, engine = system_clock(), migrated(engine_of(database, settings_of()))
    flow = Flow(token, sign * amount, chosen or day_of_clock(engine, clock), memo)
    book_flow(engine, operator(), clock, flow)
    done = "deposit" if sign > 0.0 else "withdrawal"
    console().print(f"booked: {done} of {amount:,.6f} {token} on {flow.day}", soft_wrap=True)


@app.command("show")
def show(database: DatabaseOption = None, json_: JsonOption = False) -> None:
    """Show balances, assets and realised yield, and what was observed beside what is booked."""
    from stableyield.pipeline import read_books

    books = read_books(migrated(engine_of(database, settings_of())))
    if json_:
        print_json(books.to_dict())
    else:
        _show(books)


def _show(books: Books) -> None:
    screen = console()
    if books.day is None:
        screen.print("no run has booked anything yet")
        return
    columns = (Column("where", may_fold=True), Column("token"))
    rows = [
        (row["location"], row["token"], number(row["amount"], 6), number(row["amount_usd"]))
        for row in books.balances.to_dict("records")
    ]
    numbers = (Column("amount", is_number=True), Column("USD", is_number=True))
    print_table(screen, f"Balances after the run of {books.day}", (*columns, *numbers), rows)
    names = ("assets USD", "costs USD", "yield USD", "yield %", "year to date %")
    days = [
        (
            f"{row['date']:%Y-%m-%d}",
            number(row["assets_before_usd"]),
            number(row["costs_usd"]),
            number(row["yield_usd"]),
            number(100.0 * row["yield_day"], 4),
            number(100.0 * row["yield_ytd"], 4),
        )
        for row in books.nav.tail(_DAYS_SHOWN).to_dict("records")
    ]
    heads = (Column("day"), *(Column(name, is_number=True) for name in names))
    print_table(screen, "Assets before each run", heads, days)
    if books.reconciliation is not None:
        found = books.reconciliation
        screen.print(f"{found.n_compared} balances observed, {number(found.total_usd)} USD apart")
        print_notes(screen, "difference", map(str, found.differences), "yellow")
