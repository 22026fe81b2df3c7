"""Forecasts know for how many days they are; those that were stored before do not."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DatabaseError

from stableyield.errors import ContractError
from stableyield.store import (
    Window,
    load_frames,
    load_panel,
    migrate,
    read_frame,
    read_history,
    write_frame,
    write_market,
    write_market_table,
    writing,
)
from stableyield.store.clock import to_day_number, to_micros
from stableyield.store.migrate import MIGRATIONS
from support.databases import DAY, NOW, TESTER, later, market_frames, pools_frame, rows_of

BEFORE = later(-2)  # when the rows of the first version were written


def forecasts_frame(apy_pct: float, horizon: int | None, pool_id: str = "a") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "pool_id": [pool_id],
            "exec_date": [pd.Timestamp(DAY)],
            "method": ["ours"],
            "horizon_days": [horizon],
            "target_date": [pd.Timestamp(DAY + timedelta(days=1))],
            "pred_global_apy": [apy_pct],
        }
    )


def write(engine: Engine, frame: pd.DataFrame, hours: float = 0.0) -> None:
    with writing(engine, TESTER, at=later(hours)) as batch:
        write_frame(batch, "forecasts", frame)


@pytest.fixture
def with_market(engine: Engine) -> Engine:
    with writing(engine, TESTER, at=BEFORE) as batch:
        write_market(batch, market_frames())
    return engine


@pytest.fixture
def first_version(bare: Engine, tmp_path: Path) -> Engine:
    """A database of the first version, with a forecast that was corrected once."""
    directory = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, directory, ignore=shutil.ignore_patterns("__pycache__"))
    for later_one in (directory / "versions").glob("v0002*"):
        later_one.unlink()
    assert migrate(bare, at=BEFORE, directory=directory) == ("0001",)
    values = {"day": to_day_number(DAY), "one": to_micros(BEFORE), "two": to_micros(later(-1))}
    with bare.begin() as connection:
        for statement in (
            "INSERT INTO pool_keys (pool_key, pool_id) VALUES (1, 'a')",
            "INSERT INTO forecasts_revisions (exec_date, pool_key, method, target_date, "
            "pred_global_apy, cold_start_flag, instability_group, revision, ingested_at, "
            "superseded_at) VALUES (:day, 1, 'ours', :day + 1, 4.0, 1, 'low', 0, :one, :two)",
            "INSERT INTO forecasts_revisions (exec_date, pool_key, method, target_date, "
            "pred_global_apy, cold_start_flag, instability_group, revision, ingested_at) "
            "VALUES (:day, 1, 'ours', :day + 1, 5.0, 0, 'high', 1, :two)",
        ):
            used = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement), used)
    return bare


def test_forecasts_of_before_are_kept_with_an_unknown_horizon(first_version: Engine) -> None:
    shown = "select exec_date, pool_id, method, target_date, pred_global_apy from forecasts"
    before = rows_of(first_version, shown)
    assert migrate(first_version, at=NOW) == ("0002",)
    assert rows_of(first_version, shown) == before
    assert rows_of(first_version, "select horizon_days from forecasts") == [(None,)]
    history = read_history(first_version, "forecasts")
    assert history["pred_global_apy"].tolist() == [4.0, 5.0]
    assert history["cold_start_flag"].tolist() == [True, False]
    assert history["instability_group"].tolist() == ["low", "high"]
    assert history["horizon_days"].isna().all()
    assert history["ingested_at"].tolist() == [BEFORE, later(-1)]
    assert history["superseded_at"].iloc[0] == later(-1)


def test_what_was_known_before_the_migration_is_known_after_it(first_version: Engine) -> None:
    migrate(first_version, at=NOW)
    for moment, expected in ((BEFORE, [4.0]), (later(-1), [5.0]), (later(-3), [])):
        rows = read_frame(first_version, "forecasts", known_by=moment)
        assert rows["pred_global_apy"].tolist() == expected


def test_a_forecast_with_a_horizon_stands_beside_one_of_before(first_version: Engine) -> None:
    migrate(first_version, at=NOW)
    write(first_version, forecasts_frame(6.0, 30))
    rows = read_frame(first_version, "forecasts")
    assert rows["pred_global_apy"].tolist() == [6.0, 5.0]
    assert rows["horizon_days"].fillna(0).tolist() == [30, 0]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE forecasts_revisions SET horizon_days = 7",
        "UPDATE forecasts_revisions SET pred_global_apy = 9",
        "DELETE FROM forecasts_revisions",
        "UPDATE forecast_verdicts_revisions SET mae = 9",
        "DELETE FROM forecast_verdicts_revisions",
    ],
)
def test_the_migrated_tables_refuse_to_be_overwritten(
    statement: str, first_version: Engine
) -> None:
    migrate(first_version, at=NOW)
    verdict = {"date": pd.Timestamp(DAY), "method": "ours", "horizon_days": 7, "served_by": "ours"}
    row = pd.DataFrame([{**verdict, "n_days": 0, "n": 0, "needed_days": 10, "is_fallback": False}])
    with writing(first_version, TESTER, at=NOW) as batch:
        write_frame(batch, "forecast_verdicts", row)
    with pytest.raises(DatabaseError, match="append-only"), first_version.begin() as connection:
        connection.execute(text(statement))


def test_forecasts_of_two_horizons_are_two_rows(with_market: Engine) -> None:
    both = [forecasts_frame(4.0, 7), forecasts_frame(5.0, 30), forecasts_frame(6.0, None)]
    write(with_market, pd.concat(both, ignore_index=True))
    rows = read_frame(with_market, "forecasts", only={"method": "ours"})
    assert rows["horizon_days"].fillna(0).tolist() == [7, 30, 0]
    write(with_market, forecasts_frame(4.5, 7), 1)
    rows = read_frame(with_market, "forecasts", only={"method": "ours", "horizon_days": 7})
    assert rows["pred_global_apy"].tolist() == [4.5]
    known = read_frame(with_market, "forecasts", known_by=NOW, only={"method": "ours"})
    assert known["pred_global_apy"].tolist() == [4.0, 5.0, 6.0]


def test_a_panel_carries_the_forecasts_of_one_horizon(with_market: Engine) -> None:
    both = [forecasts_frame(4.25, 7), forecasts_frame(5.25, 30)]
    write(with_market, pd.concat(both, ignore_index=True))
    for horizon, expected in ((7, 4.25), (30, 5.25)):
        window = Window(forecast_method="ours", forecast_horizon_days=horizon)
        view = load_panel(with_market, window).as_of(DAY)
        assert view.pool_series.forecast_apy_pct[-1, view.pool_index["a"]] == expected
        frames = load_frames(with_market, window)
        assert frames.forecasts is not None
        assert frames.forecasts["pred_global_apy"].tolist() == [expected]
    assert load_frames(with_market, Window(forecast_method="ours")).forecasts is None


def test_forecasts_from_files_have_no_horizon(with_market: Engine) -> None:
    rows = read_frame(with_market, "forecasts")
    assert set(rows["method"]) == {"foreign"}
    assert rows["horizon_days"].isna().all()


@pytest.mark.parametrize(
    ("horizon", "message"),
    [(0, "not a number of days"), (-7, "not a number of days"), (1.5, "not a whole number")],
)
def test_a_horizon_that_is_none_is_refused(horizon: float, message: str, engine: Engine) -> None:
    with writing(engine, TESTER, at=NOW) as batch:
        write_market_table(batch, "pools", pools_frame("a"))
    with pytest.raises(ContractError, match=f"'horizon_days' holds .*{message}"):
        write(engine, forecasts_frame(4.0, horizon))  # type: ignore[arg-type]


def test_a_horizon_that_occurs_twice_is_refused(with_market: Engine) -> None:
    for horizon in (7, None):
        twice = pd.concat([forecasts_frame(4.0, horizon)] * 2, ignore_index=True)
        with pytest.raises(ContractError, match="this key occurs twice"):
            write(with_market, twice)
