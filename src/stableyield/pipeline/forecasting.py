"""Who forecasts a day, how the forecasts before turned out, and what is kept of both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
from sqlalchemy import Engine

from stableyield.forecast.drift import Verdict, drift_frame
from stableyield.forecast.registry import FOREIGN, FOREIGN_RISK_ADJUSTED
from stableyield.forecast.watched_stored import Past
from stableyield.store import (
    Batch,
    Window,
    live_run_of,
    load_panel,
    read_frame,
    write_frame,
)

if TYPE_CHECKING:
    from stableyield.pipeline.work import DayWork

OF_FILES = frozenset({FOREIGN, FOREIGN_RISK_ADJUSTED})
"""Forecasters that serve what came with the market: for how many days it is, nobody said."""
_UNKNOWN_HORIZON = "{} forecasts are not judged: nobody says for how many days they are"


@dataclass(frozen=True)
class StoredForecasts:
    """The forecasts of one method that were stored by a moment, with the market as known then.

    Parameters
    ----------
    engine : Engine
    method : str
    since, day : date
        The market that is loaded to judge them: its first day, and t.
    known_by : datetime
        Later corrections of forecasts and of the market are not seen.
    """

    engine: Engine
    method: str
    since: date
    day: date
    known_by: datetime

    def __call__(self, first: date, last: date, horizon_days: int) -> Past | None:
        """Those of the origins ``first`` .. ``last`` for a horizon; None where there are none.

        The market is loaded for the pools that were forecast, whether they may be held today or
        not: pools that went wrong since are not left out of the score.
        """
        stored = read_frame(
            self.engine,
            "forecasts",
            known_by=self.known_by,
            first=first,
            last=last,
            only={"method": self.method, "horizon_days": horizon_days},
        )
        if stored.empty:
            return None
        pools = tuple(sorted(set(stored["pool_id"])))
        window = Window(self.since, self.day, self.known_by, pool_ids=pools)
        return Past(stored, load_panel(self.engine, window).as_of(self.day))


def write_forecasts(batch: Batch, work: DayWork, run_id: str) -> None:
    """Keep the day's forecasts and the verdict; those that came with the market are there already.

    What the model says is kept while another serves too: how else could it be seen to have become
    better.
    """
    if work.options.forecast in OF_FILES:
        return
    served, verdict = work.inputs.forecast, work.verdict
    said = [served]
    if verdict.is_fallback:
        said.append(work.watch.watch.said_by_model(work.view, served.horizon_days))
    for forecast in said:
        frame = forecast.to_frame(work.parameters.risk_aversion).assign(method=forecast.method)
        not_kept = ["pred_global_apy_q50", "model_version"]
        write_frame(batch, "forecasts", frame.drop(columns=not_kept))
    write_frame(batch, "forecast_verdicts", _row_of(verdict).assign(run_id=run_id))


def _row_of(verdict: Verdict) -> pd.DataFrame:
    row = drift_frame([verdict])
    return row.assign(
        baseline=verdict.baseline or None,
        needed_days=verdict.needed_days,
        served_by=verdict.server,
    )


def verdicts_on(engine: Engine, day: date) -> tuple[Verdict, ...]:
    """What the run of a day judged its forecaster to be; empty where it judged none.

    Parameters
    ----------
    engine : Engine
    day : date
    """
    run = live_run_of(engine, day)
    if run is None:
        return ()
    only = {"run_id": run.run_id}
    rows = read_frame(engine, "forecast_verdicts", first=day, last=day, only=only)
    return tuple(
        Verdict(
            day=day,
            method=row["method"],
            horizon_days=int(row["horizon_days"]),
            n_days=int(row["n_days"]),
            n=int(row["n"]),
            mae=float(row["mae"]),
            baseline="" if pd.isna(row["baseline"]) else row["baseline"],
            mae_baseline=float(row["mae_baseline"]),
            coverage_q10=float(row["coverage_q10"]),
            coverage_q90=float(row["coverage_q90"]),
            is_fallback=bool(row["is_fallback"]),
            needed_days=int(row["needed_days"]),
        )
        for row in rows.to_dict("records")
    )


def detail_of(work: DayWork) -> dict[str, Any]:
    """What the run keeps of its forecast and of the verdict."""
    forecast = work.inputs.forecast
    detail: dict[str, Any] = {
        "method": forecast.method,
        "model_version": forecast.model_version,
        "n_known": int(forecast.is_known.sum()),
        "n_cold_start": int(forecast.cold_start.sum()),
        "flags": list(forecast.flags),
    }
    if work.options.forecast in OF_FILES:
        return {**detail, "verdict": _UNKNOWN_HORIZON.format(work.options.forecast)}
    return {**detail, "verdict": work.verdict.account, "watch": document_of(work.verdict)}


def document_of(verdict: Verdict) -> dict[str, Any]:
    """A verdict for JSON; what is unknown is null."""
    numbers = ("mae", "mae_baseline", "coverage_q10", "coverage_q90")
    return {
        **{name: getattr(verdict, name) for name in ("method", "horizon_days")},
        **{name: getattr(verdict, name) for name in ("n_days", "needed_days", "n")},
        "baseline": verdict.baseline or None,
        **{name: v if math.isfinite(v := getattr(verdict, name)) else None for name in numbers},
        "is_judged": verdict.is_judged,
        "is_fallback": verdict.is_fallback,
        "served_by": verdict.server,
        "account": verdict.account,
    }


def warnings_of(work: DayWork) -> list[str]:
    """What people must be told: a fallback, and that a model under watch is not judged yet."""
    if work.options.forecast in OF_FILES or not work.watch.watch.may_replace:
        return []
    verdict = work.verdict
    return [verdict.account] if verdict.is_fallback or not verdict.is_judged else []
