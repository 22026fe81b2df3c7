"""The drift watch of the daily job: who forecasts depends on how the forecasts before did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stableyield.config import AllocationParameters
from stableyield.forecast import forecaster
from stableyield.forecast.drift import DriftRules, Verdict
from stableyield.forecast.provenance import watched
from stableyield.pipeline import Outcome, replay_run
from stableyield.pipeline.forecasting import verdicts_on
from stableyield.pipeline.options import from_kept
from stableyield.pipeline.work import DayWork
from stableyield.store import (
    Actor,
    read_frame,
    read_parameters,
    read_stages,
    write_frame,
    write_market_table,
    writing,
)
from support.treasury import DAY, Treasury, count_of, small_market, small_panel

ME = Actor("tester", "tests")
LEARNED = {"forecast": "learned"}
N_BAD = 12
BAD_DAYS = [DAY - timedelta(days=n) for n in range(N_BAD, 0, -1)]
LATER = DAY + timedelta(days=9)


def stored_forecasts(
    origins: Sequence[date], off_pct: float, method: str = "learned", horizon: int | None = 1
) -> pd.DataFrame:
    """Forecasts that miss the APY of the day after by ``off_pct``, of every pool."""
    daily = small_market().pool_daily
    came = daily.pivot_table(index="date", columns="pool_id", values="apy_pct")
    frames = []
    for origin in origins:
        row = came.loc[pd.Timestamp(origin + timedelta(days=1))]
        frames.append(
            pd.DataFrame(
                {
                    "pool_id": row.index.to_list(),
                    "exec_date": pd.Timestamp(origin),
                    "target_date": pd.Timestamp(origin + timedelta(days=1)),
                    "pred_global_apy": row.to_numpy() + off_pct,
                    "pred_global_apy_q10": row.to_numpy() + off_pct - 1.0,
                    "pred_global_apy_q90": row.to_numpy() + off_pct + 1.0,
                }
            )
        )
    return pd.concat(frames, ignore_index=True).assign(method=method, horizon_days=horizon)


def store(treasury: Treasury, *frames: pd.DataFrame) -> None:
    with writing(treasury.engine, ME, at=treasury.ticking.now()) as batch:
        write_market_table(batch, "pools", small_market().pools)
        for frame in frames:
            write_frame(batch, "forecasts", frame)


def run(treasury: Treasury, day: date = DAY, **changes: Any) -> Outcome:
    return treasury.run(day, **{"options": LEARNED, "horizon_days": 1, **changes})


def detail_of(treasury: Treasury, outcome: Outcome) -> dict[str, Any]:
    stages = read_stages(treasury.engine, outcome.run.run_id)
    return dict(next(each for each in stages if each.stage == "forecast").detail)


def verdict_again(treasury: Treasury, outcome: Outcome) -> Verdict:
    """The verdict of a run, made once more of what the run knew."""
    kept = from_kept(*read_parameters(treasury.engine, outcome.run.run_id))
    return DayWork(treasury.engine, outcome.run.exec_date, outcome.run.known_by, *kept).verdict


@dataclass(frozen=True)
class Lived:
    """A treasury whose learned forecasts were bad, and became good."""

    treasury: Treasury
    drifted: Outcome
    recovered: Outcome
    heard: tuple[str, ...]


@pytest.fixture(scope="module")
def lived(own_treasury: Treasury) -> Lived:
    treasury = own_treasury
    store(treasury, stored_forecasts(BAD_DAYS, 0.5))
    drifted = run(treasury)
    good_days = [DAY + timedelta(days=n) for n in range(8)]
    # good ones in the place of those that a run a day would have left
    store(treasury, stored_forecasts([*BAD_DAYS[2:], *good_days], 0.0))
    recovered = run(treasury, LATER)
    return Lived(treasury, drifted, recovered, tuple(text for _, text in treasury.listener.heard))


def test_a_model_that_is_worse_than_a_baseline_is_replaced_by_it(lived: Lived) -> None:
    detail = detail_of(lived.treasury, lived.drifted)
    watch = detail["watch"]
    assert watch["is_fallback"]
    assert (watch["n_days"], watch["n"]) == (N_BAD, 10 * N_BAD)
    assert watch["mae"] == pytest.approx(0.5)
    assert watch["mae_baseline"] < 0.5
    assert detail["method"] == watch["baseline"] == watch["served_by"] != "learned"


def test_a_fallback_is_told_wherever_people_look(lived: Lived) -> None:
    said = f"the MAE of learned over the last {N_BAD} scored days is 0.5 points"
    assert lived.drifted.warnings[0].startswith("fallback: ")
    assert said in lived.drifted.warnings[0]
    assert len([each for each in lived.drifted.warnings if said in each]) == 1
    assert f"warning: {lived.drifted.warnings[0]}" in lived.heard[0]
    assert said in (lived.drifted.directory / "report.html").read_text()
    assert said in lived.drifted.plan["explanation"]["forecast_watch"]["account"]


def test_what_the_model_said_is_kept_while_another_serves(lived: Lived) -> None:
    rows = read_frame(lived.treasury.engine, "forecasts", first=DAY, last=DAY)
    server = lived.drifted.plan["explanation"]["forecast_watch"]["served_by"]
    assert set(rows["method"]) == {server, "learned"}
    assert rows["horizon_days"].tolist() == [1] * len(rows)


def test_the_model_serves_again_when_it_is_better_again(lived: Lived) -> None:
    detail = detail_of(lived.treasury, lived.recovered)
    assert detail["method"] == "learned"
    assert detail["verdict"].startswith("learned serves: its MAE over the last 20 scored days")
    assert "forecast_watch" not in lived.recovered.plan["explanation"]
    assert not any("fallback" in each for each in lived.recovered.warnings)
    assert "fallback" not in lived.heard[1]


def test_the_verdict_of_each_run_is_a_row(lived: Lived) -> None:
    rows = read_frame(lived.treasury.engine, "forecast_verdicts")
    assert rows["date"].dt.date.tolist() == [DAY, LATER]
    assert rows["is_fallback"].tolist() == [True, False]
    assert rows["run_id"].tolist() == [lived.drifted.run.run_id, lived.recovered.run.run_id]
    (found,) = verdicts_on(lived.treasury.engine, DAY)
    assert found == replace(verdict_again(lived.treasury, lived.drifted), maes=())


def test_a_replay_of_a_drifted_day_and_of_a_recovered_one_is_identical(lived: Lived) -> None:
    for outcome in (lived.drifted, lived.recovered):
        replay = replay_run(lived.treasury.engine, outcome.run.run_id)
        assert replay.is_identical, replay.differences


def test_what_is_corrected_later_does_not_change_the_verdict_of_an_earlier_day(
    treasury: Treasury,
) -> None:
    store(treasury, stored_forecasts(BAD_DAYS, 0.5))
    outcome = run(treasury)
    before = verdict_again(treasury, outcome)
    frames = small_market()
    corrected = frames.pool_daily.assign(apy_pct=frames.pool_daily["apy_pct"] + 2.0)
    store(treasury, stored_forecasts(BAD_DAYS, 0.0))
    with writing(treasury.engine, ME, at=treasury.ticking.now()) as batch:
        write_market_table(batch, "pool_daily", corrected)
    assert before.is_fallback
    assert verdict_again(treasury, outcome) == before
    assert replay_run(treasury.engine, outcome.run.run_id).is_identical
    now = replace(outcome, run=replace(outcome.run, known_by=treasury.ticking.now()))
    assert verdict_again(treasury, now).mae == pytest.approx(2.0)  # as it is known since


def test_a_model_without_a_past_serves_and_is_said_not_to_be_judged(treasury: Treasury) -> None:
    outcome = run(treasury)
    detail = detail_of(treasury, outcome)
    said = "learned is not judged yet: 0 of the 10 scored days that it takes"
    assert detail["verdict"].startswith(said)
    assert detail["watch"]["mae"] is None
    assert outcome.warnings[0].startswith(said)
    assert said in treasury.listener.heard[0][1]
    rows = read_frame(treasury.engine, "forecasts")
    assert set(rows["method"]) == {"learned"}
    assert rows["pred_global_apy_q90"].notna().any()
    (row,) = read_frame(treasury.engine, "forecast_verdicts").to_dict("records")
    assert (row["n_days"], row["needed_days"], row["is_fallback"]) == (0, 10, False)
    assert pd.isna(row["baseline"])
    assert np.isnan(row["mae"])


@pytest.mark.parametrize("horizon", [None, 7])
def test_forecasts_of_an_unknown_or_another_horizon_are_not_judged(
    horizon: int | None, treasury: Treasury
) -> None:
    store(treasury, stored_forecasts(BAD_DAYS, 0.5, horizon=horizon))
    assert work_of(treasury).verdict.n_days == 0


def work_of(treasury: Treasury, day: date = DAY, **changes: Any) -> DayWork:
    """The work of a run, with the market of the tests ingested up to its last day."""
    frames = small_market()
    with writing(treasury.engine, ME, at=treasury.ticking.now()) as batch:
        for name in ("pools", "pool_daily", "prices_daily", "gas_daily"):
            write_market_table(batch, name, getattr(frames, name))
    request = treasury.request(day, **{"options": LEARNED, "horizon_days": 1, **changes})
    parameters = AllocationParameters.from_mapping(request.overrides)
    return DayWork(treasury.engine, day, treasury.ticking.now(), parameters, request.options)


def test_forecasts_whose_outcome_is_still_to_come_are_not_judged(treasury: Treasury) -> None:
    origins = [DAY - timedelta(days=n) for n in range(20, -6, -1)]
    store(treasury, stored_forecasts(origins, 0.5, horizon=7))
    verdict = work_of(treasury, horizon_days=7).verdict
    assert verdict.n_days == 14  # 20 to 7 days ago; the data of later days are in the store
    assert verdict.day == DAY


def test_pools_that_may_not_be_held_any_more_count_too(treasury: Treasury) -> None:
    store(treasury, stored_forecasts(BAD_DAYS, 0.5))
    protocol = small_market().pools["protocol"].min()
    work = work_of(treasury, approved_protocols=(protocol,))
    assert 0 < len(work.candidates) < 10
    assert work.verdict.n == 10 * N_BAD


def test_a_baseline_is_measured_and_never_replaced(treasury: Treasury) -> None:
    store(treasury, stored_forecasts(BAD_DAYS, 5.0, method="ewma"))
    outcome = run(treasury, options={})
    detail = detail_of(treasury, outcome)
    assert detail["method"] == "ewma"
    assert detail["watch"]["mae"] == pytest.approx(5.0)
    assert detail["watch"]["mae_baseline"] < 1.0
    assert not detail["watch"]["is_fallback"]
    assert not any("ewma" in each for each in outcome.warnings)
    assert set(read_frame(treasury.engine, "forecasts", first=DAY)["method"]) == {"ewma"}


def test_the_verdict_of_a_day_is_that_of_the_run_that_counts(treasury: Treasury) -> None:
    assert verdicts_on(treasury.engine, DAY) == ()
    run(treasury)
    run(treasury, options={}, again=True)
    assert [each.method for each in verdicts_on(treasury.engine, DAY)] == ["ewma"]
    assert set(read_frame(treasury.engine, "forecast_verdicts")["method"]) == {"ewma", "learned"}


@pytest.mark.parametrize("name", ["foreign", "foreign:risk_adj"])
def test_forecasts_of_files_serve_and_are_not_judged(name: str, treasury: Treasury) -> None:
    said = stored_forecasts([DAY], 0.5).drop(columns=["method", "horizon_days"])
    said = said.assign(pred_global_tvl=1e8, pred_global_apy_risk_adj=said["pred_global_apy"])
    treasury.source.frames = replace(small_market(), forecasts=said)
    outcome = run(treasury, options={"forecast": name})
    detail = detail_of(treasury, outcome)
    assert detail["n_known"] == 10
    assert detail["verdict"] == (
        f"{name} forecasts are not judged: nobody says for how many days they are"
    )
    rows = read_frame(treasury.engine, "forecasts")
    assert set(rows["method"]) == {"foreign"}
    assert rows["horizon_days"].isna().all()
    assert count_of(treasury.engine, "forecast_verdicts") == 0


def test_a_dry_run_keeps_no_verdict_and_judges_all_the_same(treasury: Treasury) -> None:
    store(treasury, stored_forecasts(BAD_DAYS, 0.5))
    outcome = run(treasury, is_dry=True)
    assert outcome.warnings[0].startswith("fallback: ")
    assert count_of(treasury.engine, "forecast_verdicts") == 0
    assert replay_run(treasury.engine, outcome.run.run_id).is_identical


@pytest.mark.slow
def test_the_verdict_of_the_daily_job_is_that_of_forecasts_made_again(empty: Treasury) -> None:
    days = [DAY - timedelta(days=n) for n in range(11, -1, -1)]
    empty.bring(day=days[0])
    for day in days:
        outcome = run(empty, day, options={})
    found = verdict_again(empty, outcome)
    again = watched(forecaster("ewma"))
    again = replace(again, rules=DriftRules(window_days=11, min_scored_days=10))
    expected = again.verdict(small_panel().as_of(DAY), 1)
    assert found.n_days == expected.n_days == 11
    assert found.is_judged
    assert dict(found.maes) == pytest.approx(dict(expected.maes), rel=1e-12)
    assert found.coverage_q90 == pytest.approx(expected.coverage_q90)
