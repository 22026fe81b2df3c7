"""``stableyield demo``: the main job, offline, on a synthetic market."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stableyield.cli.common import JsonOption, aum_of
from stableyield.cli.outputs import check_out_directory
from stableyield.cli.terminal import console, number, print_json, print_path, progress_bar, working

HISTORY_DAYS = 60  # before the first exec day, so that forecasts have something to learn from


def demo(
    out: Annotated[Path, typer.Option(help="Where tables and report go.")] = Path("demo-report"),
    days: Annotated[int, typer.Option(min=2, max=3650, help="Days to backtest.")] = 90,
    pools: Annotated[int, typer.Option(min=1, max=5000, help="Pools in the market.")] = 40,
    aum: Annotated[float, typer.Option(help="USD to start with.")] = 20_000_000.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the synthetic market.")] = 7,
    json_: JsonOption = False,
) -> None:
    """Backtest the strategy on a synthetic market and write a report to look at."""
    aum_usd = aum_of(aum)
    check_out_directory(out)
    from datetime import timedelta

    from stableyield.backtest import BacktestSettings, run_backtest
    from stableyield.market.assemble import panel_of
    from stableyield.market.synthetic import SyntheticSettings, simulate_market
    from stableyield.report import compute_metrics, write_run

    size = SyntheticSettings(seed=seed, n_days=HISTORY_DAYS + days + 1, n_pools=pools)
    with working("simulating a market"):
        panel = panel_of(simulate_market(size))
    start = panel.first_day + timedelta(days=HISTORY_DAYS)
    settings = BacktestSettings(start=start, aum_usd=aum_usd)
    with progress_bar(f"{days} days, {pools} pools") as progress:
        result = run_backtest(panel, settings, progress=progress)
    with working("writing the report"):
        metrics = compute_metrics(result)
        page = write_run(result, out)
    if json_:
        print_json({**metrics, "report": str(page)})
        return
    strategy, excess = metrics["strategy"], metrics["excess"]["equal_weight"]
    screen = console()
    print_path(screen, "report            ", page.resolve())
    screen.print(f"net APY           {number(strategy['net_apy_pct'])} %")
    screen.print(f"costs             {number(strategy['costs_usd'])} USD")
    points, usd = (number(excess[name], sign=True) for name in ("net_apy_points", "profit_usd"))
    screen.print(f"vs equal weight   {points} points, {usd} USD")
