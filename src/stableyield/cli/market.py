"""``stableyield market``: make a market directory from other layouts, or simulate one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stableyield.cli.common import JsonOption, PercentOption
from stableyield.cli.outputs import check_out_directory
from stableyield.cli.terminal import console, print_json, print_notes, print_path, working

if TYPE_CHECKING:
    from stableyield.market.frames import MarketFrames

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


OutOption = Annotated[Path, typer.Option(help="Market directory to write.")]
FormatOption = Annotated[FileFormat, typer.Option("--format", help="Format of the tables.")]


@app.command("import")
def import_(
    sources: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Source files, parquet or csv.")
    ],
    layout: Annotated[LayoutName, typer.Option(help="What the source files are.")],
    out: OutOption,
    gas: Annotated[
        Path | None,
        typer.Option(help="Daily gas and ETH prices; else gas_eth_daily.parquet beside FILE."),
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(help="Daily coin prices; else stablecoin_daily.parquet beside FILE."),
    ] = None,
    assume_par: Annotated[
        bool, typer.Option(help="Plain dollar coins without a price are taken at 1 USD; reported.")
    ] = True,
    confirm_percent: PercentOption = False,
    file_format: FormatOption = FileFormat.PARQUET,
    json_: JsonOption = False,
) -> None:
    """Make a market directory from aggregator charts, vault share prices or lend/borrow history."""
    check_out_directory(out, for_market=True)
    from stableyield.market.files import write_market
    from stableyield.market.layouts import import_market

    with working("importing"):
        frames = import_market(
            layout.value,
            sources,
            gas=gas,
            prices=prices,
            assume_par=assume_par,
            confirm_percent=confirm_percent,
        )
        write_market(frames, out, file_format=file_format.value)
    _show(frames, out, as_json=json_)


@app.command("simulate")
def simulate(
    out: OutOption,
    days: Annotated[int, typer.Option(min=2, max=36500, help="Days of history.")] = 365,
    pools: Annotated[int, typer.Option(min=1, max=20000, help="Number of pools.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same market.")] = 7,
    file_format: FormatOption = FileFormat.PARQUET,
    json_: JsonOption = False,
) -> None:
    """Make a synthetic market: regimes, spikes, rewards, depegs, gas; from a seed."""
    check_out_directory(out, for_market=True)
    from stableyield.market.files import write_market
    from stableyield.market.synthetic import SyntheticSettings, simulate_market

    with working("simulating"):
        frames = simulate_market(SyntheticSettings(seed=seed, n_days=days, n_pools=pools))
        write_market(frames, out, file_format=file_format.value)
    _show(frames, out, as_json=json_)
    if not json_ and (missing := pools - len(frames.pools)):
        sentence = f"{missing} of {pools} pools start after these days and are left out"
        print_notes(console(), "note", [sentence])


def _show(frames: MarketFrames, out: Path, *, as_json: bool) -> None:
    summary = _summary(frames, out)
    if as_json:
        print_json(summary)
        return
    screen = console()
    print_path(
        screen,
        f"{summary['n_pools']} pools, {summary['n_rows']:,} rows, "
        f"{summary['first_day']} to {summary['last_day']}, written to ",
        out,
    )
    print_notes(screen, "assumed", frames.assumptions)
    if frames.gas_daily is None:
        missing = ["no gas prices: give --gas FILE now, or --gas-usd A,W,C when backtesting"]
        print_notes(screen, "warning", missing, "yellow")


def _summary(frames: MarketFrames, out: Path) -> dict[str, Any]:
    days = frames.pool_daily["date"]
    return {
        "market": str(out),
        "n_pools": len(frames.pools),
        "n_rows": len(frames.pool_daily),
        "first_day": f"{days.min():%Y-%m-%d}",
        "last_day": f"{days.max():%Y-%m-%d}",
        "has_prices": frames.prices_daily is not None,
        "has_gas": frames.gas_daily is not None,
        "assumptions": list(frames.assumptions),
    }
