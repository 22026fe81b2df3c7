"""``stableyield backtest``: a market directory in, tables and a report out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stableyield.cli.common import (
    JsonOption,
    MarketOption,
    ParOption,
    PercentOption,
    SetOption,
    console,
    day_of,
    fixed_gas,
    load_market,
    parameters_of,
    print_json,
    progress_bar,
)
from stableyield.errors import ParameterError

if TYPE_CHECKING:
    from stableyield.forecast import Forecaster


def backtest(
    market: MarketOption,
    start: Annotated[str | None, typer.Option(help="First exec day, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option(help="Last exec day, YYYY-MM-DD.")] = None,
    aum: Annotated[float, typer.Option(help="USD to start with.")] = 1_000_000.0,
    token: Annotated[str, typer.Option(help="Token that the start money is in.")] = "USDC",
    forecast: Annotated[
        str, typer.Option(help="last, mean7, mean30, ewma, median, reversion, or foreign.")
    ] = "ewma",
    set_: SetOption = None,
    gas_usd: Annotated[
        str | None, typer.Option(metavar="A,W,C", help="Fixed gas in USD per transaction.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write tables and report here.")] = None,
    assume_par: ParOption = False,
    confirm_percent: PercentOption = False,
    json_: JsonOption = False,
) -> None:
    """Backtest the strategy and its benchmarks over a market's history."""
    from stableyield.backtest import BacktestSettings, GasPricing, run_backtest
    from stableyield.report import compute_metrics, write_run

    settings = BacktestSettings(
        start=day_of(start, "--start"),
        end=day_of(end, "--end"),
        aum_usd=aum,
        token=token,
        parameters=parameters_of(set_),
        forecaster=forecaster_of(forecast),
        gas=GasPricing(fixed=fixed_gas(gas_usd)),
    )
    panel = load_market(market, assume_par=assume_par, confirm_percent=confirm_percent)
    with progress_bar("backtest") as progress:
        result = run_backtest(panel, settings, progress=progress)
    metrics = compute_metrics(result)
    page = write_run(result, out) if out is not None else None
    if json_:
        print_json({**metrics, "report": str(page) if page else None})
        return
    show_metrics(metrics, result.run["assumptions"])
    screen = console()
    if page is None:
        screen.print("nothing was written; give --out DIR for tables and a report")
    else:
        screen.print(f"report: {page}", soft_wrap=True)


def forecaster_of(name: str) -> Forecaster:
    """A forecaster by its name on the command line.

    Raises
    ------
    ParameterError
        When there is none of that name.
    """
    from stableyield.forecast import BASELINES, ForeignForecaster, baseline

    if name == "foreign":
        return ForeignForecaster()
    if name not in BASELINES:
        names = ", ".join([*BASELINES, "foreign"])
        raise ParameterError(f"no forecaster is called {name!r}", remedy=f"choose one of {names}")
    return baseline(name)


def show_metrics(metrics: dict[str, Any], assumptions: list[str]) -> None:
    """The strategy beside its benchmarks, with warnings and assumptions in plain sight."""
    from rich.table import Table

    screen = console()
    table = Table(
        title=f"{metrics['start']} to {metrics['end']}, {metrics['n_days']} days",
        title_justify="left",
        header_style="bold",
    )
    table.add_column("policy")
    columns = (
        ("net APY %", "net_apy_pct"),
        ("max drawdown %", "max_drawdown_pct"),
        ("costs USD", "costs_usd"),
        ("turnover USD", "turnover_usd"),
        ("end AUM USD", "aum_end_usd"),
    )
    for title, _ in columns:
        table.add_column(title, justify="right")
    for policy, row in (("strategy", metrics["strategy"]), *metrics["benchmarks"].items()):
        table.add_row(policy, *(_number(row.get(key)) for _, key in columns))
    screen.print(table)
    for warning in metrics["warnings"]:
        screen.print(f"warning: {warning}", style="yellow")
    for assumption in assumptions:
        screen.print(f"assumed: {assumption}", style="dim")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:,.2f}"
