"""``stableyield screen`` and ``stableyield icebox``: which pools and tokens may be used."""

from __future__ import annotations

import math
from dataclasses import asdict
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
    check_forecasts,
    day_of,
    did_you_mean,
    forecaster_of,
    load_market,
    parameters_of,
)
from stableyield.cli.outputs import check_out_file
from stableyield.cli.terminal import (
    Column,
    console,
    number,
    print_json,
    print_notes,
    print_table,
    working,
)
from stableyield.errors import MissingDataError

if TYPE_CHECKING:
    import pandas as pd

    from stableyield.screening import QualityReport, Screening


def screen(
    market: MarketOption,
    day: Annotated[
        str,
        typer.Option(metavar="DAY", help="YYYY-MM-DD; only what was known by its end is used."),
    ],
    forecast: ForecastOption = "ewma",
    set_: SetOption = None,
    reasons: Annotated[
        bool, typer.Option("--reasons", help="List every pool with its reasons.")
    ] = False,
    assume_par: ParOption = False,
    confirm_percent: PercentOption = False,
    json_: JsonOption = False,
) -> None:
    """Say which pools may be used on a day, and why not the others.

    Exits with 5 when the data of the day are so bad that nothing may be traded on them.
    """
    chosen, parameters = day_of(day, "--day"), parameters_of(set_)
    from stableyield.backtest.day import screen_day
    from stableyield.screening import assess

    forecaster = forecaster_of(forecast)
    panel = load_market(market, assume_par=assume_par, confirm_percent=confirm_percent)
    check_forecasts(forecast, panel, market)
    view = panel.as_of(chosen)
    screening, quality = screen_day(view, parameters, forecaster), assess(view)
    if json_:
        findings = quality.to_frame()
        print_json(
            {
                "day": chosen.isoformat(),
                "pools": _pools(screening),
                "quality": {
                    "score": quality.score,
                    "findings": _records(findings.drop(columns="day")),
                },
            }
        )
    else:
        _show_screening(screening, quality)
        if reasons:
            for pool_id in screening.pool_ids:
                console().print(screening.explain(pool_id), soft_wrap=True)
    quality.raise_if_critical()


def _pools(screening: Screening) -> list[dict[str, Any]]:
    """One object a pool, with its reasons as a list of objects."""
    rows = _records(screening.to_frame().drop(columns=["day", "rules", "reasons", "flags"]))
    for row, reasons, flags in zip(
        rows, screening.reasons, screening.flag_reasons, strict=True
    ):  # nothing is held, so no pool is gone
        row["reasons"] = [asdict(reason) for reason in reasons]
        row["flags"] = [asdict(flag) for flag in flags]
    return rows


def _show_screening(screening: Screening, quality: QualityReport) -> None:
    out = console()
    pools = screening.to_frame()
    is_open = pools["state"] == "open"
    by_group = [str(int((is_open & (pools["risk_group"] == group)).sum())) for group in (1, 2, 3)]
    out.print(
        f"{screening.day}: {is_open.sum()} of {len(pools)} pools may be bought; "
        f"in risk groups 1, 2, 3: {', '.join(by_group)}"
    )
    if screening.counts:
        alone = pools["rules"].value_counts()
        print_table(
            out,
            "Why not the others",
            (Column("rule"), *(Column(name, is_number=True) for name in ("pools", "only this"))),
            (
                (str(rule), str(n_pools), str(alone.get(str(rule), 0)))
                for rule, n_pools in screening.counts.items()
            ),
        )
    out.print(f"data quality {number(quality.score, 0)} of 100")
    for finding in quality.findings:
        some = f" ({', '.join(finding.examples)})" if finding.examples else ""
        sentence = f"{finding.what}; {finding.action}{some}"
        print_notes(out, str(finding.severity), [f"{finding.check}: {sentence}"])


def icebox(
    prices: Annotated[
        Path,
        typer.Option(metavar="FILE", help="prices_daily or OHLC table, parquet or csv."),
    ],
    token: Annotated[
        list[str] | None, typer.Option(help="Only this token; may be repeated.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Only this source, where the file has a column source.")
    ] = None,
    set_: SetOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the stays here as csv.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Say when each token entered and left the icebox."""
    check_out_file(out)
    parameters = parameters_of(set_)
    from stableyield.market.tables import origin_of_file, read_table
    from stableyield.report.export import write_atomic
    from stableyield.screening import icebox_from_prices_frame

    with working("judging prices"):
        table = read_table(prices)
        stays = icebox_from_prices_frame(table, parameters, origin=origin_of_file(prices))
    for column, wanted in (("token", token or []), ("source", [source] if source else [])):
        _check_known(wanted, column, table, prices)
        if wanted:
            stays = stays[stays[column].isin(wanted)]
    stays = stays.assign(
        **{name: stays[name].dt.strftime("%Y-%m-%d") for name in ("entered", "left")}
    )
    if out is not None:
        write_atomic(out, stays.to_csv(index=False, lineterminator="\n").encode())
    if json_:
        print_json(_records(stays))
    else:
        _show_stays(stays)
        if out is not None:
            console().print(f"written to {out}", soft_wrap=True)


def _check_known(names: list[str], column: str, table: pd.DataFrame, path: Path) -> None:
    """Refuse tokens or sources that the table does not have.

    Raises
    ------
    MissingDataError
        With the nearest name and all names.
    """
    theirs = "symbol" if column == "token" and "token" not in table else column
    known = sorted(set(table[theirs].dropna().astype(str))) if theirs in table else []
    for name in names:
        if name not in known:
            raise MissingDataError(
                f"there is no {column} {name!r}{did_you_mean(name, known)}",
                where=str(path),
                remedy=f"choose from {', '.join(known)}" if known else "leave the option out",
            )


def _show_stays(stays: pd.DataFrame) -> None:
    has_source = "source" in stays
    columns = (
        Column("token"),
        *([Column("source", may_fold=True)] if has_source else []),
        *(Column("entered"), Column("left"), Column("breach"), Column("close", is_number=True)),
    )
    rows = [
        (
            str(row["token"]),
            *([str(row["source"])] if has_source else []),
            row["entered"],
            row["left"] or "still inside",
            str(row["by"]),
            number(row["close_usd"], 4),
        )
        for row in _records(stays)
    ]
    screen = console()
    n_inside = int(stays["left"].isna().sum())
    title = f"{len(stays)} stays in the icebox, {n_inside} of them not over"
    if not rows:
        screen.print(title)
        return
    print_table(screen, title, columns, rows)
    screen.print("close: USD on the day of entry")
    if has_source and len(set(stays["source"])) > 1:
        screen.print("each source of a coin is judged by itself; choose one with --source")


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON; what is missing, or not finite, is null."""
    known = table.notna() & ~table.isin([math.inf, -math.inf])
    rows = table.astype(object).where(known, None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]
