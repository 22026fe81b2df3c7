"""``stableyield market``: make a market directory from other layouts, or simulate one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stableyield.cli.common import PercentOption, console

app = typer.Typer(help="Make market directories.", no_args_is_help=True)


class LayoutName(StrEnum):
    """Layouts that can be imported."""

    PANEL = "panel"
    VAULTS = "vaults"
    LEND_BORROW = "lend-borrow"


class FileFormat(StrEnum):
    """File formats of a market directory."""

    PARQUET = "parquet"
    CSV = "csv"


@app.command("import")
def import_(
    sources: Annotated[list[Path], typer.Argument(help="Source files, parquet or csv.")],
    layout: Annotated[LayoutName, typer.Option(help="What the source files are.")],
    out: Annotated[Path, typer.Option(help="Market directory to write.")],
    gas: Annotated[Path | None, typer.Option(help="Daily gas and ETH prices.")] = None,
    prices: Annotated[Path | None, typer.Option(help="Daily stablecoin prices.")] = None,
    assume_par: Annotated[
        bool, typer.Option(help="Plain dollar coins without a price are taken at 1 USD; reported.")
    ] = True,
    confirm_percent: PercentOption = False,
    file_format: Annotated[FileFormat, typer.Option("--format")] = FileFormat.PARQUET,
) -> None:
    """Make a market directory from aggregator charts, vault share prices or lend/borrow history."""
    from stableyield.market.files import write_market
    from stableyield.market.layouts import import_market

    screen = console()
    with screen.status("reading"):
        frames = import_market(
            layout.value,
            sources,
            gas=gas,
            prices=prices,
            assume_par=assume_par,
            confirm_percent=confirm_percent,
        )
        write_market(frames, out, file_format=file_format.value)
    days = frames.pool_daily["date"]
    screen.print(
        f"{len(frames.pools)} pools, {len(frames.pool_daily):,} rows, "
        f"{days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}, written to {out}"
    )
    for sentence in frames.assumptions:
        screen.print(f"assumed: {sentence}", highlight=False)
    if frames.gas_daily is None:
        screen.print("no gas prices were found: give --gas FILE, or --gas-usd when backtesting")


@app.command("simulate")
def simulate(
    out: Annotated[Path, typer.Option(help="Market directory to write.")],
    days: Annotated[int, typer.Option(help="Days of history.")] = 365,
    pools: Annotated[int, typer.Option(help="Number of pools.")] = 60,
    seed: Annotated[int, typer.Option(help="Same seed, same market.")] = 7,
    file_format: Annotated[FileFormat, typer.Option("--format")] = FileFormat.PARQUET,
) -> None:
    """Make a synthetic market: regimes, spikes, rewards, depegs, gas; from a seed."""
    from stableyield.market.files import write_market
    from stableyield.market.synthetic import SyntheticSettings, simulate_market

    frames = simulate_market(SyntheticSettings(seed=seed, n_days=days, n_pools=pools))
    write_market(frames, out, file_format=file_format.value)
    console().print(f"{pools} pools, {days} days, seed {seed}, written to {out}")
