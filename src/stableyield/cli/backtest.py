"""``stableyield backtest``: a market directory in, tables and a report out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
from stableyield.cli.outputs import check_out_directory
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
    working,
)
from stableyield.errors import InputError

# heading, metric, digits
_COLUMNS = (
    ("net APY %", "net_apy_pct", 2),
    ("drawdown %", "max_drawdown_pct", 2),
    ("costs USD", "costs_usd", 2),
    ("turnover USD", "turnover_usd", 0),
    ("profit USD", "profit_usd", 2),
)


def backtest(
    market: MarketOption,
    start: Annotated[
        str | None, typer.Option(metavar="DAY", help="First exec day, YYYY-MM-DD.")
    ] = None,
    end: Annotated[
        str | None, typer.Option(metavar="DAY", help="Last exec day, YYYY-MM-DD.")
    ] = None,
    aum: Annotated[float, typer.Option(help="USD to start with.")] = 1_000_000.0,
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
    mode: Annotated[
        str,
        typer.Option(help="What carries over: portfolio, independent (nothing), compounded (AUM)."),
    ] = "portfolio",
    cash_flows: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV with day, token, amount: the owner's deposits (+)."),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Only benchmarks that need no solver: a third of the time."),
    ] = False,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Save the run here while it goes on.")
    ] = None,
    save_every: Annotated[
        int | None, typer.Option(metavar="DAYS", min=1, help="Days between two saves.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from --checkpoint.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write tables and report here.")
    ] = None,
    assume_par: ParOption = False,
    confirm_percent: PercentOption = False,
    json_: JsonOption = False,
) -> None:
    """Backtest the strategy and its benchmarks over a market's history."""
    first, last = span_of(start, end)
    aum_usd, gas, parameters = aum_of(aum), fixed_gas(gas_usd), parameters_of(set_)
    check_out_directory(out)
    check_out_directory(checkpoint, option="--checkpoint")
    if resume and checkpoint is None:
        raise InputError("--resume needs --checkpoint", remedy="name the directory to go on from")
    from stableyield.backtest import BacktestSettings, GasPricing, run_backtest
    from stableyield.backtest.cash_flows import read_cash_flows
    from stableyield.backtest.modes import mode_of
    from stableyield.report import compute_metrics, write_run

    settings = BacktestSettings(
        start=first,
        end=last,
        aum_usd=aum_usd,
        token=token,
        parameters=parameters,
        forecaster=forecaster_of(forecast),
        gas=GasPricing(fixed=gas),
        quick=quick,
        mode=mode_of(mode),
        cash_flows=() if cash_flows is None else read_cash_flows(cash_flows),
    )
    panel = load_market(market, assume_par=assume_par, confirm_percent=confirm_percent)
    check_token(token, panel)
    check_forecasts(forecast, panel, market)
    check_gas(gas, panel, market)
    with progress_bar("backtest") as progress:
        result = run_backtest(
            panel,
            settings,
            policy=own_policy(policy, panel),
            progress=progress,
            checkpoint=checkpoint,
            save_every=save_every,
            resume=resume,
        )
    with working("measuring and writing"):
        metrics = compute_metrics(result)
        page = write_run(result, out) if out is not None else None
    if json_:
        print_json({**metrics, "report": str(page) if page else None})
    else:
        show_metrics(metrics, result.run["assumptions"])
        if page is None:
            console().print("nothing was written; give --out DIR for tables and a report")
        else:
            print_path(console(), "report: ", page)


def show_metrics(metrics: dict[str, Any], assumptions: list[str]) -> None:
    """The strategy beside its benchmarks, with warnings and assumptions in plain sight."""
    screen = console()
    strategy = metrics["strategy"]
    policies = {"strategy": strategy, **metrics["benchmarks"]}
    print_table(
        screen,
        f"{metrics['start']} to {metrics['end']}, {metrics['n_days']} days, "
        f"AUM {number(strategy['aum_start_usd'])} -> {number(strategy['aum_end_usd'])} USD",
        (Column("policy"), *(Column(heading, is_number=True) for heading, _, _ in _COLUMNS)),
        (
            (policy, *(number(row.get(key), digits) for _, key, digits in _COLUMNS))
            for policy, row in policies.items()
        ),
    )
    print_notes(screen, "warning", metrics["warnings"], "yellow")
    print_notes(screen, "assumed", assumptions, "dim")
