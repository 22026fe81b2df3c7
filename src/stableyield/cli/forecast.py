"""``stableyield forecast``: forecasts of a day, and how good forecasts were."""

from __future__ import annotations

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
    forecaster_of,
    load_market,
    parameters_of,
    span_of,
)
from stableyield.cli.outputs import check_out_directory, check_out_file
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
from stableyield.errors import DataQualityError, InputError, MissingDataError

if TYPE_CHECKING:
    from stableyield.forecast import Evaluation, Forecast
    from stableyield.market.panel import MarketPanel

app = typer.Typer(help="Forecast a day, and measure how good forecasts were.", no_args_is_help=True)

_MOST_SHOWN = 20
DEFAULT_METHODS = "stableyield,last,mean7,mean30,ewma,median,reversion"
# heading, column of the scores table, digits
_COLUMNS = (
    ("MAE pp", "mae", 3),
    ("skill", "skill_vs_last", 3),
    ("low", "skill_low", 3),
    ("high", "skill_high", 3),
    ("vs best", "skill_vs_best_baseline", 3),
    ("rank", "rank_corr", 3),
    ("q10", "coverage_q10", 3),
    ("q90", "coverage_q90", 3),
    ("s", "seconds", 2),
)


@app.command("evaluate")
def evaluate(
    market: MarketOption,
    horizons: Annotated[
        str, typer.Option(metavar="H,H,...", help="Days ahead, each from 1 to 365.")
    ] = "1,7,30",
    start: Annotated[
        str | None, typer.Option(metavar="DAY", help="First origin, YYYY-MM-DD.")
    ] = None,
    end: Annotated[str | None, typer.Option(metavar="DAY", help="Last origin, YYYY-MM-DD.")] = None,
    step: Annotated[int, typer.Option(metavar="DAYS", help="Days between origins.")] = 1,
    methods: Annotated[
        str, typer.Option(metavar="NAME,...", help="Methods; the first that is no baseline leads.")
    ] = DEFAULT_METHODS,
    target: Annotated[
        str, typer.Option(help="quoted: mean of the APY; realised: growth of share prices.")
    ] = "quoted",
    refit: Annotated[
        int | None,
        typer.Option(metavar="DAYS", help="Days between refits of the learned method; else 14."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write tables and report here.")
    ] = None,
    assume_par: ParOption = False,
    confirm_percent: PercentOption = False,
    json_: JsonOption = False,
) -> None:
    """Score forecasts walk-forward: all methods on the same pools and days.

    The learned method learns the target that it is judged by; baselines know quoted rates only.
    """
    first, last = span_of(start, end)
    days_ahead, names = _whole_numbers(horizons), _names(methods)
    check_out_directory(out)
    from stableyield.forecast import EvaluationSettings
    from stableyield.forecast import evaluate as evaluate_forecasts
    from stableyield.forecast.evaluate import checked_horizons, with_reference
    from stableyield.forecast.registry import judged_forecaster, published
    from stableyield.forecast.targets import checked_target

    wanted, judged_by = checked_horizons(days_ahead), checked_target(target)
    forecasters = with_reference(
        [judged_forecaster(name, target=judged_by, refit_every_days=refit) for name in names]
    )
    panel = load_market(market, assume_par=assume_par, confirm_percent=confirm_percent)
    for name in names:
        check_forecasts(name, panel, market)
    with progress_bar("evaluate") as progress:
        found = evaluate_forecasts(
            panel,
            forecasters,
            horizons=wanted,
            start=first,
            end=last,
            step_days=step,
            settings=EvaluationSettings(target=judged_by, progress=progress),
        )
    evaluation = published(found)
    _check_scored(evaluation, market)
    facts = _facts(panel, market)
    page = _write(evaluation, out, facts)
    if json_:
        from stableyield.report.document import plain_json
        from stableyield.report.forecast_files import evaluation_document

        document = evaluation_document(evaluation, facts)
        print_json(plain_json({**document, "report": None if page is None else str(page)}))
    else:
        _show(evaluation, page)


def _write(evaluation: Evaluation, out: Path | None, facts: dict[str, Any]) -> Path | None:
    if out is None:
        return None
    from stableyield.report.forecast_files import write_evaluation

    with working("drawing and writing"):
        return write_evaluation(evaluation, out, facts)


def _whole_numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"--horizons {text!r} is not a list of whole numbers", remedy="write it as 1,7,30"
        ) from error


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InputError(f"--methods {text!r} has an empty name", remedy="write it as last,ewma")
    return names


def _check_scored(evaluation: Evaluation, market: Path) -> None:
    """Refuse to report on nothing.

    Raises
    ------
    MissingDataError
        When not one forecast could be scored at any horizon.
    """
    if not any(evaluation.n_scored.values()):
        raise MissingDataError(
            f"no forecast of {evaluation.start} .. {evaluation.end} can be scored",
            where=str(market),
            remedy="choose earlier days, shorter horizons or methods that know these pools",
            details=evaluation.notes,
        )


def _facts(panel: MarketPanel, market: Path) -> dict[str, Any]:
    """Where the numbers came from."""
    from stableyield._version import __version__

    return {
        "market": str(market),
        "market_sha256": panel.sha256,
        "market_days": f"{panel.first_day} to {panel.last_day}",
        "assumptions": " ".join(panel.provenance.assumptions) or "none",
        "version": __version__,
    }


def _show(evaluation: Evaluation, page: Path | None) -> None:
    screen = console()
    everything = evaluation.scores[evaluation.scores["segment"] == "all"]
    for horizon, rows in everything.groupby("horizon_days", sort=False):
        ordered = rows.sort_values("mae", kind="stable").to_dict("records")
        print_table(
            screen,
            f"{horizon} d ahead, {number(float(rows['n'].iloc[0]), 0)} forecasts a method",
            (Column("method"), *(Column(heading, is_number=True) for heading, _, _ in _COLUMNS)),
            (
                (str(row["method"]), *(number(row[key], digits) for _, key, digits in _COLUMNS))
                for row in ordered
            ),
        )
    if len(evaluation.decision_value):
        _show_decisions(evaluation)
    print_notes(screen, "warning", evaluation.warnings, "yellow")
    print_notes(screen, "note", evaluation.notes, "dim")
    if page is None:
        screen.print("nothing was written; give --out DIR for tables and a report")
    else:
        print_path(screen, "report: ", page)


def _show_decisions(evaluation: Evaluation) -> None:
    rows = evaluation.decision_value
    first = rows.iloc[0]
    ordered = rows.sort_values("realised_apy_pct", ascending=False, kind="stable")
    print_table(
        console(),
        f"Each week the top {first['top']}, APY %: equal weight "
        f"{number(first['equal_weight_apy_pct'])}, clairvoyant "
        f"{number(first['clairvoyant_apy_pct'])}, {first['n_weeks']} weeks",
        (
            Column("method"),
            *(Column(name, is_number=True) for name in ("promised", "came", "captured")),
        ),
        (
            (
                str(row["method"]),
                number(row["promised_apy_pct"]),
                number(row["realised_apy_pct"]),
                number(row["captured"], 3),
            )
            for row in ordered.to_dict("records")
        ),
    )


@app.command("run")
def run(
    market: MarketOption,
    day: Annotated[
        str,
        typer.Option(metavar="DAY", help="YYYY-MM-DD; only what was known by its end is used."),
    ],
    method: ForecastOption = "stableyield",
    horizon: Annotated[int, typer.Option(metavar="DAYS", help="Days ahead, 1 to 365.")] = 7,
    set_: SetOption = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the forecasts here, .csv or .parquet."),
    ] = None,
    assume_par: ParOption = False,
    confirm_percent: PercentOption = False,
    json_: JsonOption = False,
) -> None:
    """Forecast every pool of a day, with where the forecast came from.

    The learned method is under watch: while it is worse than a baseline on the last scored days,
    the best baseline serves, and the forecast says so.
    """
    chosen, parameters = day_of(day, "--day"), parameters_of(set_)
    if out is not None and out.suffix not in (".csv", ".parquet"):
        raise InputError(
            f"no table ends in {out.suffix!r}", where=str(out), remedy="name it .csv or .parquet"
        )
    check_out_file(out)
    from stableyield.forecast.base import checked_horizon
    from stableyield.forecast.provenance import provenance, watched
    from stableyield.report.document import plain_json

    watch, days_ahead = watched(forecaster_of(method)), checked_horizon(horizon)
    panel = load_market(market, assume_par=assume_par, confirm_percent=confirm_percent)
    check_forecasts(method, panel, market)
    view = panel.as_of(chosen)
    with working("forecasting"):
        forecast = watch.forecast(view, days_ahead)
        _check_known(forecast, market)
        document = {
            **provenance(watch, view, forecast),
            **_facts(panel, market),
            "risk_aversion": parameters.risk_aversion,
        }
    frame = forecast.to_frame(parameters.risk_aversion)
    if out is not None:
        from stableyield.report.forecast_files import write_forecast

        document["provenance_file"] = str(write_forecast(frame, document, out))
    if json_:
        from stableyield.report.forecast_files import records

        print_json(plain_json({**document, "forecasts": records(frame)}))
    else:
        _show_forecast(forecast, document, out)


def _check_known(forecast: Forecast, market: Path) -> None:
    """Refuse a forecast that says nothing.

    Raises
    ------
    DataQualityError
        When no pool has a forecast: nothing may be traded on it.
    """
    if not forecast.is_known.any():
        raise DataQualityError(
            f"no pool has a forecast for {forecast.exec_day}",
            where=str(market),
            remedy="complete pool_daily: a forecast needs two rows, the last within three days",
            details=forecast.flags,
        )


def _show_forecast(forecast: Forecast, document: dict[str, Any], out: Path | None) -> None:
    """The pools with the highest forecast, and who forecast them."""
    import numpy as np

    screen = console()
    order = np.argsort(np.where(forecast.is_known, -forecast.apy_pct, np.inf), kind="stable")
    shown = [i for i in order[:_MOST_SHOWN] if forecast.is_known[i]]
    columns = (forecast.apy_pct, forecast.apy_q10_pct, forecast.apy_q50_pct, forecast.apy_q90_pct)
    print_table(
        screen,
        f"{forecast.exec_day}, {forecast.horizon_days} d ahead by {forecast.method}: "
        f"{int(forecast.is_known.sum())} of {len(forecast.pool_ids)} pools",
        (
            Column("pool", may_fold=True),
            *(Column(name, is_number=True) for name in ("APY %", "q10", "q50", "q90")),
        ),
        ((forecast.pool_ids[i], *(number(float(values[i])) for values in columns)) for i in shown),
    )
    recent = document["recent_scores"]
    maes = ", ".join(f"{name} {number(mae, 3)}" for name, mae in recent["mae"].items())
    print_notes(screen, f"last {recent['n_days']} scored days, MAE pp", [maes])
    print_notes(screen, "flag", forecast.flags, "yellow")
    if out is None:
        screen.print("nothing was written; give --out FILE for all pools and columns")
    else:
        print_path(screen, "written to ", out)
        print_path(screen, "provenance: ", document["provenance_file"])
