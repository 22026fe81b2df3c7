"""A clock that is ahead or behind, where no provider's answer says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stableyield.config import Settings
from stableyield.errors import InputError
from stableyield.market.files import write_market
from stableyield.pipeline import MarketDirectory, Outcome, run_day
from stableyield.pipeline.doctor import examine
from stableyield.pipeline.ingest import newest_pool_rows
from stableyield.pipeline.moments import check_fresh, day_of_clock, default_day, last_write
from stableyield.sources import Span
from stableyield.sources.skew import ClockSkewError
from stableyield.store import list_runs
from support.treasury import DAY, FIRST_DAY, N_DAYS, Treasury, small_market, utc

Decided = tuple[Treasury, Outcome]
LAST_DAY = FIRST_DAY + timedelta(days=N_DAYS - 1)
NEXT = DAY + timedelta(days=1)


@pytest.fixture
def asleep(decided: Decided) -> Treasury:
    """A treasury whose clock is set to the day after its last one, so that it can be moved."""
    treasury, _ = decided
    return treasury


def test_a_clock_that_was_ahead_from_the_start_leaves_nothing_in_the_store(
    treasury: Treasury,
) -> None:
    before = last_write(treasury.engine)
    right = treasury.ticking.moment
    treasury.ticking.moment += timedelta(days=400)
    treasury.source.error = ClockSkewError("the clock of this machine is 400 days ahead")
    with pytest.raises(ClockSkewError):
        treasury.run()
    assert last_write(treasury.engine) == before
    assert list_runs(treasury.engine) == ()
    assert "400 days ahead" in treasury.listener.heard[0][1]  # it is told all the same
    treasury.ticking.moment, treasury.source.error = right, None
    assert treasury.run().run.status == "done"


@pytest.mark.parametrize("has_sources", [True, False])
def test_a_clock_that_ran_away_from_the_data_is_found_out_before_anything_is_written(
    has_sources: bool, asleep: Treasury
) -> None:
    counts, before = asleep.counts(), last_write(asleep.engine)
    asleep.ticking.moment += timedelta(days=400)
    day = default_day(asleep.ticking.moment)
    job = asleep.job if has_sources else replace(asleep.job, sources=())
    with pytest.raises(ClockSkewError, match="the data are stale: the newest pool rows are of"):
        run_day(job, asleep.request(day))
    assert asleep.counts() == counts
    assert last_write(asleep.engine) == before
    assert "the data are stale" in asleep.listener.heard[-1][1]


def test_a_day_without_rows_is_refused_and_kept_where_the_clock_is_not_in_doubt(
    asleep: Treasury,
) -> None:
    with pytest.raises(InputError, match="the data are stale") as raised:
        asleep.run(LAST_DAY + timedelta(days=2))
    assert not isinstance(raised.value, ClockSkewError)
    assert "ingest the day first" in raised.value.remedy
    assert list_runs(asleep.engine)[0].status == "failed"


def test_a_clock_that_is_behind_any_write_is_refused_whatever_was_written(
    treasury: Treasury,
) -> None:
    treasury.ticking.moment -= timedelta(hours=1)  # only a deposit was booked, no run was
    with pytest.raises(ClockSkewError, match="the clock went back"):
        treasury.run()
    with pytest.raises(ClockSkewError, match="the clock went back"):
        treasury.bring(1.0)
    assert list_runs(treasury.engine) == ()


def test_a_deposit_on_the_clocks_day_is_refused_after_a_long_silence(asleep: Treasury) -> None:
    clock = asleep.ticking.clock()
    assert day_of_clock(asleep.engine, clock) == default_day(asleep.ticking.moment)
    asleep.ticking.moment += timedelta(days=400)
    with pytest.raises(ClockSkewError, match="the last write to the books was 400 days ago"):
        day_of_clock(asleep.engine, clock)
    asleep.bring(1.0, day=NEXT)  # a day that a person names is taken


def test_rows_of_days_to_come_say_that_the_clock_is_behind(tmp_path: Path) -> None:
    write_market(small_market(), tmp_path)
    span = Span.of(DAY)
    with pytest.raises(ClockSkewError, match=f"pool rows of {LAST_DAY}, and it is {DAY}"):
        MarketDirectory(tmp_path, today=DAY).fetch(span)
    fetched = MarketDirectory(tmp_path, today=LAST_DAY).fetch(span)
    assert fetched.tables["pool_daily"]["date"].max().date() == DAY
    assert MarketDirectory(tmp_path).fetch(span).tables.keys() == fetched.tables.keys()


def test_what_is_fetched_counts_before_what_is_stored(empty: Treasury) -> None:
    assert newest_pool_rows(empty.engine, ()) is None
    fetched = empty.source.fetch(Span.of(DAY))
    assert newest_pool_rows(empty.engine, (fetched,)) == DAY


@given(
    now=st.integers(0, 24 * 5000).map(
        lambda n: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=n)
    ),
    age=st.integers(-3, 3000),
    back=st.integers(0, 3000),
)
def test_fresh_data_pass_and_only_the_clocks_own_day_brings_the_clock_into_doubt(
    now: datetime, age: int, back: int
) -> None:
    day = now.date() - timedelta(days=back)
    newest = day - timedelta(days=age)
    if age <= 0:
        check_fresh(newest, day, now)
        return
    with pytest.raises(InputError) as raised:
        check_fresh(newest, day, now)
    of_clock = day >= default_day(now)
    assert isinstance(raised.value, ClockSkewError) == (of_clock and age > 7)


def test_the_doctor_names_data_that_are_older_than_the_clock(asleep: Treasury) -> None:
    clock = asleep.ticking.clock()
    asleep.ticking.moment = utc(2027, 1, 1)
    checks = {each.what: each for each in examine(asleep.engine, Settings(), clock)}
    assert checks["clock"].verdict == "ok"
    assert checks["data"].verdict == "warning"
    assert "the clock is ahead" in checks["data"].detail
    assert date(2025, 12, 1).isoformat() in checks["runs"].detail
