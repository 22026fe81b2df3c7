"""``stableyield demo``: the main job, offline, on a synthetic market."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stableyield.cli.common import console, progress_bar

HISTORY_DAYS = 60  # before the first exec day, so that forecasts have something to learn from


def demo(
    out: Annotated[Path, typer.Option(help="Where tables and report go.")] = Path("demo-report"),
    days: Annotated[int, typer.Option(min=2, help="Days to backtest.")] = 90,
    pools: Annotated[int, typer.Option(min=1, help="Pools in the market.")] = 40,
    aum: Annotated[float, typer.Option(help="USD to start with.")] = 20_000_000.0,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic market.")] = 7,
) -> None:
    """Backtest the strategy on a synthetic market and write a report to look at."""
    from datetime import timedelta

    from stableyield.backtest import BacktestSettings, run_backtest
    from stableyield.market.assemble import panel_of
    from stableyield.market.synthetic import SyntheticSettings, simulate_market
    from stableyield.report import compute_metrics, write_run

    size = SyntheticSettings(seed=seed, n_days=HISTORY_DAYS + days + 1, n_pools=pools)
    panel = panel_of(simulate_market(size))
    settings = BacktestSettings(start=panel.first_day + timedelta(days=HISTORY_DAYS), aum_usd=aum)
    with progress_bar(f"{days} days, {pools} pools") as progress:
        result = run_backtest(panel, settings, progress=progress)
    metrics = compute_metrics(result)
    page = write_run(result, out)
    strategy, excess = metrics["strategy"], metrics["excess"]["equal_weight"]
    screen = console()
    screen.print(f"report            {page.resolve()}", soft_wrap=True, highlight=False)
    screen.print(f"net APY           {strategy['net_apy_pct']:.2f} %", highlight=False)
    screen.print(f"costs             {strategy['costs_usd']:,.2f} USD", highlight=False)
    screen.print(
        f"vs equal weight   {excess['net_apy_points']:+.2f} points, "
        f"{excess['profit_usd']:+,.2f} USD",
        highlight=False,
    )
