"""``stableyield screen`` and ``stableyield icebox``: which pools and tokens may be used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stableyield.cli.backtest import forecaster_of
from stableyield.cli.common import (
    JsonOption,
    MarketOption,
    ParOption,
    PercentOption,
    SetOption,
    console,
    day_of,
    load_market,
    parameters_of,
    print_json,
)
from stableyield.errors import InputError


def screen(
    market: MarketOption,
    day: Annotated[str, typer.Option(help="Day, YYYY-MM-DD; only what was known by its end.")],
    forecast: Annotated[str, typer.Option(help="Forecaster for the final filter.")] = "ewma",
    set_: SetOption = None,
    reasons: Annotated[bool, typer.Option(help="List every pool with its reasons.")] = False,
    assume_par: ParOption = False,
    confirm_percent: PercentOption = False,
    json_: JsonOption = False,
) -> None:
    """Say which pools may be used on a day, and why not the others."""
    from rich.markup import escape
    from rich.table import Table

    from stableyield.backtest.day import screen_day
    from stableyield.screening import assess

    chosen = day_of(day, "--day")
    parameters = parameters_of(set_)
    panel = load_market(market, assume_par=assume_par, confirm_percent=confirm_percent)
    if chosen is None:
        raise InputError("--day is empty", remedy="write it as YYYY-MM-DD")
    view = panel.as_of(chosen)
    screening = screen_day(view, parameters, forecaster_of(forecast))
    quality = assess(view)
    rows = screening.to_frame()
    if json_:
        print_json(
            {
                "day": day,
                "pools": rows.drop(columns="day")
                .astype(object)
                .where(rows.notna(), None)
                .to_dict("records"),
                "quality": {
                    "score": quality.score,
                    "findings": [str(finding) for finding in quality.findings],
                },
            }
        )
        return
    out = console()
    table = Table(title=f"{len(rows)} pools on {day}", title_justify="left", header_style="bold")
    for name in ("rule", "pools that fail it"):
        table.add_column(name, justify="right" if name != "rule" else "left")
    for rule, n in screening.counts.items():
        table.add_row(str(rule), str(n))
    out.print(table)
    open_pools = rows[rows["state"] == "open"]
    groups = open_pools["risk_group"].value_counts().sort_index()
    out.print(
        f"{len(open_pools)} pools are open; by risk group: "
        + ", ".join(f"{g}: {n}" for g, n in groups.items())
    )
    out.print(f"data quality {quality.score:.0f} of 100")
    for finding in quality.findings:
        out.print(escape(f"  {finding}"))
    if reasons:
        for pool_id in screening.pool_ids:
            out.print(escape(screening.explain(pool_id)), highlight=False)


def icebox(
    prices: Annotated[Path, typer.Option(help="prices_daily or OHLC table, parquet or csv.")],
    set_: SetOption = None,
    out: Annotated[Path | None, typer.Option(help="Write the events here as csv.")] = None,
    json_: JsonOption = False,
) -> None:
    """Say when each token entered and left the icebox."""
    from rich.markup import escape
    from rich.table import Table

    from stableyield.market.tables import read_table
    from stableyield.report.export import write_atomic
    from stableyield.screening import icebox_from_prices_frame

    events = icebox_from_prices_frame(read_table(prices), parameters_of(set_))
    shown = events.assign(
        **{name: events[name].dt.strftime("%Y-%m-%d") for name in ("entered", "left")}
    )
    if out is not None:
        write_atomic(out, shown.to_csv(index=False, lineterminator="\n").encode())
    if json_:
        print_json(shown.astype(object).where(shown.notna(), None).to_dict("records"))
        return
    table = Table(title=f"{len(shown)} stays", title_justify="left", header_style="bold")
    columns = [c for c in ("token", "source", "entered", "left", "by", "close_usd") if c in shown]
    for name in columns:
        table.add_column(name, justify="right" if name == "close_usd" else "left")
    for row in (
        shown[columns].astype(object).where(shown[columns].notna(), None).itertuples(index=False)
    ):
        cells = ["still inside" if v is None else v for v in row]
        table.add_row(*(escape(f"{v:.4f}" if isinstance(v, float) else str(v)) for v in cells))
    console().print(table)
