"""``stableyield check-causality``: whether a policy or a forecaster sees the future."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stableyield.cli.common import (
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
from stableyield.cli.own_code import PolicyOption, load_able
from stableyield.cli.terminal import (
    Column,
    console,
    print_json,
    print_notes,
    print_path,
    print_table,
    progress_bar,
)

if TYPE_CHECKING:
    from stableyield.study.causality import CausalityReport


def check_causality(
    market: MarketOption,
    policy: PolicyOption = None,
    forecaster: Annotated[
        str,
        typer.Option(
            metavar="MODULE:NAME", help="Your forecaster, or the name of one (see backtest)."
        ),
    ] = "ewma",
    start: Annotated[
        str | None, typer.Option(metavar="DAY", help="First exec day; absent: 60 before the last.")
    ] = None,
    end: Annotated[
        str | None, typer.Option(metavar="DAY", help="Last exec day, YYYY-MM-DD.")
    ] = None,
    days: Annotated[
        int, typer.Option(min=1, help="On how many of these days the future is replaced.")
    ] = 5,
    seed: Annotated[int, typer.Option(help="Of the other futures.")] = 0,
    aum: Annotated[float, typer.Option(help="USD to start with.")] = 1_000_000.0,
    token: Annotated[str, typer.Option(help="Token that the start money is in.")] = "USDC",
    set_: SetOption = None,
    gas_usd: Annotated[
        str | None,
        typer.Option(
            metavar="A,W,C",
            help="Fixed gas in USD of an allocation, a withdrawal and a conversion.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report as JSON here.")
    ] = None,
    assume_par: ParOption = False,
    confirm_percent: PercentOption = False,
    json_: JsonOption = False,
) -> None:
    """Replace the future after several days; forecasts and decisions before must not change.

    Exits with 1 when one did: the first day, the pool and what differs are named.
    """
    first, last = span_of(start, end)
    aum_usd, gas, parameters = aum_of(aum), fixed_gas(gas_usd), parameters_of(set_)
    check_out_file(out)
    from stableyield.backtest import BacktestSettings, GasPricing
    from stableyield.study.causality import check_causality as check

    own_policy = None if policy is None else load_able(policy, "--policy")
    own_forecaster = (
        load_able(forecaster, "--forecaster") if ":" in forecaster else forecaster_of(forecaster)
    )
    settings = BacktestSettings(
        start=first,
        end=last,
        aum_usd=aum_usd,
        token=token,
        parameters=parameters,
        gas=GasPricing(fixed=gas),
    )
    panel = load_market(market, assume_par=assume_par, confirm_percent=confirm_percent)
    check_token(token, panel)
    check_forecasts(forecaster, panel, market)
    check_gas(gas, panel, market)
    with progress_bar("runs") as progress:
        report = check(
            panel,
            settings,
            own_policy,
            forecaster=own_forecaster,
            changes=days,
            seed=seed,
            progress=progress,
        )
    _publish(report, out, json_)
    report.raise_if_not_causal()


def _publish(report: CausalityReport, out: Path | None, json_: bool) -> None:
    from stableyield.report.export import json_bytes, write_atomic

    document = report.to_document()
    if out is not None:
        write_atomic(out, json_bytes(document))
    if json_:
        print_json(document)
        return
    _show(report)
    if out is not None:
        print_path(console(), "report written to ", out)


def _show(report: CausalityReport) -> None:
    screen = console()
    names = f"policy {report.policy}, forecaster {report.forecaster}"
    found = {leak.changed_after: leak.difference for leak in report.leaks}
    rows = []
    for day in report.changed_after:
        leak = found.get(day)
        cells = ("", "", "nothing") if leak is None else (str(leak.day), leak.pool_id, leak.what)
        rows.append((str(day), *cells))
    if report.unrepeatable is None:
        columns = (
            Column("future replaced after"),
            Column("first change on"),
            Column("pool", may_fold=True),
            Column("what changed", may_fold=True),
        )
        print_table(screen, names, columns, rows)
    verdict = "causal" if report.is_causal else "NOT CAUSAL"
    if report.unrepeatable is not None:
        verdict = "not repeatable: two runs on the same market differ"
    screen.print(f"{verdict}: {report.start} to {report.end}, {_compared(report)}", soft_wrap=True)
    if report.n_transactions == 0:
        note = "the policy moved no money in these days: there was little to compare"
        print_notes(screen, "warning", [note], "yellow")


def _compared(report: CausalityReport) -> str:
    plural = "s" * (report.n_transactions != 1)
    days = "s" * (report.n_traded_days != 1)
    return (
        f"{report.n_transactions} transaction{plural} on {report.n_traded_days} day{days} compared "
        f"in {len(report.changed_after)} other futures"
    )
