"""``stableyield study``: what a policy is worth, by backtests of the same days."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stableyield.cli.common import (
    ForecastOption,
    JsonOption,
    MarketOption,
    ParOption,
    PercentOption,
    SetOption,
    aum_of,
    check_forecasts,
    check_gas,
    check_token,
    fixed_gas,
    forecaster_of,
    load_market,
    parameters_of,
    span_of,
)
from stableyield.cli.outputs import check_out_file
from stableyield.cli.own_code import PolicyOption, own_policy
from stableyield.cli.terminal import (
    Column,
    console,
    number,
    print_json,
    print_notes,
    print_path,
    print_table,
    progress_bar,
)

if TYPE_CHECKING:
    from stableyield.backtest import BacktestSettings
    from stableyield.market.panel import MarketPanel
    from stableyield.study.outcome import Outcome

    PolicyOf = Callable[[], Any]
    Progress = Callable[[int, int], None]

_OUTCOME = (
    Column("policy"),
    *(
        Column(heading, is_number=True)
        for heading in ("AUM USD", "net APY %", "gross APY %", "costs USD", "invested %")
    ),
)


class Question(StrEnum):
    """What is asked of the policy."""

    REGRET = "regret"
    CAPACITY = "capacity"
    BREAK_EVEN = "break-even"


def study(
    question: Annotated[
        Question,
        typer.Argument(
            help="regret: what it lost to forecasts, limits, costs and dilution. capacity: net APY "
            "with more and more money. break-even: how dear trading may be before its lead over "
            "equal weight is gone."
        ),
    ],
    market: MarketOption,
    start: Annotated[
        str | None, typer.Option(metavar="DAY", help="First exec day, YYYY-MM-DD.")
    ] = None,
    end: Annotated[
        str | None, typer.Option(metavar="DAY", help="Last exec day, YYYY-MM-DD.")
    ] = None,
    aum: Annotated[
        list[float] | None,
        typer.Option(help="USD to start with, 1e6 unless given; several for a capacity curve."),
    ] = None,
    token: Annotated[str, typer.Option(help="Token that the start money is in.")] = "USDC",
    policy: PolicyOption = None,
    forecast: ForecastOption = "ewma",
    set_: SetOption = None,
    gas_usd: Annotated[
        str | None,
        typer.Option(
            metavar="A,W,C",
            help="Fixed gas in USD of an allocation, a withdrawal and a conversion.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the answer as JSON here.")
    ] = None,
    assume_par: ParOption = False,
    confirm_percent: PercentOption = False,
    json_: JsonOption = False,
) -> None:
    """Ask what a policy is worth: several backtests of the same days, compared."""
    first, last = span_of(start, end)
    amounts = [aum_of(usd) for usd in aum or ()]
    if question is not Question.CAPACITY and len(amounts) > 1:
        raise typer.BadParameter(f"{question} takes one --aum")
    gas, parameters = fixed_gas(gas_usd), parameters_of(set_)
    check_out_file(out)
    from stableyield.backtest import BacktestSettings, GasPricing

    panel = load_market(market, assume_par=assume_par, confirm_percent=confirm_percent)
    check_token(token, panel)
    check_forecasts(forecast, panel, market)
    check_gas(gas, panel, market)
    settings = BacktestSettings(
        start=first,
        end=last,
        aum_usd=amounts[0] if amounts else 1e6,
        token=token,
        parameters=parameters,
        forecaster=forecaster_of(forecast),
        gas=GasPricing(fixed=gas),
    )
    policy_of = partial(own_policy, policy, panel)
    policy_of()  # what cannot be made is refused before anything is run
    with progress_bar("backtests") as progress:
        document = _ANSWERS[question](panel, settings, policy_of, amounts, progress)
    _publish(question, document, out, json_)


def _regret(
    panel: MarketPanel,
    settings: BacktestSettings,
    policy_of: PolicyOf,
    amounts: list[float],  # noqa: ARG001
    progress: Progress,
) -> dict[str, Any]:
    from stableyield.study.regret import regret

    found = regret(panel, settings, policy=policy_of(), progress=progress)
    return {
        "strategy": _outcome(found.strategy),
        "clairvoyant": _outcome(found.clairvoyant),
        "parts": [asdict(part) for part in (*found.parts, found.total)],
    }


def _capacity(
    panel: MarketPanel,
    settings: BacktestSettings,
    policy_of: PolicyOf,
    amounts: list[float],
    progress: Progress,
) -> dict[str, Any]:
    from stableyield.study.capacity import AUM_USD, capacity_curve

    curve = capacity_curve(
        panel, settings, aum_usd=amounts or AUM_USD, policy_of=policy_of, progress=progress
    )
    return {
        "curve": [_outcome(outcome) for outcome in curve.outcomes],
        "best_aum_usd": curve.best.aum_start_usd,
    }


def _break_even(
    panel: MarketPanel,
    settings: BacktestSettings,
    policy_of: PolicyOf,
    amounts: list[float],  # noqa: ARG001
    progress: Progress,  # noqa: ARG001 - nobody knows how many it takes
) -> dict[str, Any]:
    from stableyield.study.break_even import break_even_cost

    return asdict(break_even_cost(panel, settings, policy_of=policy_of))


_ANSWERS: dict[Question, Callable[..., dict[str, Any]]] = {
    Question.REGRET: _regret,
    Question.CAPACITY: _capacity,
    Question.BREAK_EVEN: _break_even,
}


def _outcome(outcome: Outcome) -> dict[str, Any]:
    derived = ("net_apy_pct", "gross_apy_pct", "costs_usd", "profit_usd")
    return {**asdict(outcome), **{name: getattr(outcome, name) for name in derived}}


def _publish(question: Question, document: dict[str, Any], out: Path | None, json_: bool) -> None:
    from stableyield.report.export import json_bytes, write_atomic

    if out is not None:
        write_atomic(out, json_bytes(document))
    if json_:
        print_json(document)
        return
    _SHOWN[question](document)
    if out is not None:
        print_path(console(), "written to ", out)


def _show_regret(document: dict[str, Any]) -> None:
    _show_outcomes(
        "the two ends of the forecast's part", document["strategy"], document["clairvoyant"]
    )
    columns = (Column("regret by cause"), *(Column(n, is_number=True) for n in ("points", "USD")))
    rows = (
        (part["cause"], number(part["points"], sign=True), number(part["usd"], sign=True))
        for part in document["parts"]
    )
    print_table(console(), "what each burden costs, one after the other", columns, rows)
    note = "a part can be negative: the clairvoyant looks one holding period ahead and plans again"
    print_notes(console(), "note", [note], "dim")


def _show_capacity(document: dict[str, Any]) -> None:
    _show_outcomes("the same days with more and more money", *document["curve"])
    idle = [row["aum_start_usd"] for row in document["curve"] if row["invested_share"] == 0.0]
    if idle:
        text = f"nothing was invested at {', '.join(f'{usd:,.0f}' for usd in idle)} USD"
        print_notes(console(), "warning", [f"{text}: see solver_status in a backtest"], "yellow")


def _show_break_even(document: dict[str, Any]) -> None:
    columns = (Column("costs times"), Column("lead in points", is_number=True))
    rows = ((f"{multiple:g}", number(lead, sign=True)) for multiple, lead in document["leads"])
    print_table(console(), "lead in net APY over equal weight", columns, rows)
    multiple = document["multiple"]
    verdict = document["reason"] if multiple is None else f"the lead ends at {multiple:.2f}"
    console().print(f"break-even: {verdict}")


def _show_outcomes(title: str, *outcomes: dict[str, Any]) -> None:
    rows = (
        (
            row["policy"],
            number(row["aum_start_usd"], 0),
            *(number(row[name]) for name in ("net_apy_pct", "gross_apy_pct", "costs_usd")),
            number(100.0 * row["invested_share"], 1),
        )
        for row in outcomes
    )
    print_table(console(), title, _OUTCOME, rows)


_SHOWN: dict[Question, Callable[[dict[str, Any]], None]] = {
    Question.REGRET: _show_regret,
    Question.CAPACITY: _show_capacity,
    Question.BREAK_EVEN: _show_break_even,
}
