"""What the environment says, and that it says it to nobody else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

import stableyield
from stableyield.config import Settings
from stableyield.errors import ParameterError
from stableyield.pipeline import Outcome
from stableyield.pipeline.doctor import examine
from stableyield.pipeline.looking import quality_of
from stableyield.sources import candle_ids
from stableyield.store import connect, migrate
from support.databases import later
from support.treasury import DAY, TickingClock, Treasury

Lived = tuple[Treasury, list[Outcome]]


def test_keys_are_read_from_the_environment_and_shown_as_stars(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STABLEYIELD_DEFILLAMA_KEY", "geheim")
    monkeypatch.setenv("STABLEYIELD_DATABASE_URL", "postgresql://me:geheim@db/treasury")
    settings = Settings.load()
    assert settings.defillama_key is not None
    assert settings.defillama_key.get_secret_value() == "geheim"
    assert "geheim" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_a_value_that_does_not_fit_is_named_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STABLEYIELD_SMTP_PORT", "geheim")
    with pytest.raises(ParameterError, match="STABLEYIELD_SMTP_PORT") as raised:
        Settings.load()
    assert "geheim" not in str(raised.value)


def test_numbers_of_further_coins_are_one_json_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STABLEYIELD_CMC_IDS", '{"PYUSD": "27772"}')
    assert candle_ids(["PYUSD"], Settings.load().cmc_ids) == {"27772": "PYUSD"}
    monkeypatch.setenv("STABLEYIELD_CMC_IDS", "PYUSD=27772")
    with pytest.raises(ParameterError, match="STABLEYIELD_CMC_IDS is not a JSON document"):
        Settings.load()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().wallet_address = "0x1"  # type: ignore[misc]


def test_a_notebook_gets_a_migrated_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STABLEYIELD_DATABASE_URL", f"sqlite:///{tmp_path}/notebook.db")
    engine = stableyield.get_db_connection()
    assert pd.read_sql("select * from pools", engine).empty
    assert "pool_group" in pd.read_sql("select * from pool_daily_metrics", engine)
    engine.dispose()


def test_the_doctor_sees_a_clock_that_is_behind(lived: Lived) -> None:
    treasury, _ = lived
    behind = TickingClock(later(-48)).clock()
    checks = examine(treasury.engine, Settings(output_dir=treasury.directory), behind)
    (clock,) = [each for each in checks if each.what == "clock"]
    assert clock.verdict == "failed"
    assert "the clock went back" in clock.detail


def test_the_doctor_sees_a_database_without_schema_and_one_that_is_not_there(
    tmp_path: Path,
) -> None:
    clock = TickingClock().clock()
    new = connect(f"sqlite:///{tmp_path}/new.db")
    checks = {each.what: each for each in examine(new, Settings(), clock)}
    assert checks["database"].verdict == "warning"
    migrate(new, at=clock.utc_now())
    checks = {each.what: each for each in examine(new, Settings(), clock)}
    assert checks["database"].verdict == "ok"
    assert checks["runs"].detail == "no day has been decided yet"
    nowhere = connect("sqlite:////nowhere/at/all.db")
    checks = {each.what: each for each in examine(nowhere, Settings(), clock)}
    assert checks["database"].verdict == "failed"


def test_the_quality_of_the_newest_stored_day_is_reported(lived: Lived) -> None:
    treasury, _ = lived
    assert quality_of(treasury.engine).day == DAY + timedelta(days=2)
    assert quality_of(treasury.engine, DAY).score > 50.0
