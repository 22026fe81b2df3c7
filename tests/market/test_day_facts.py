"""What is made for many days at once is, on each day, what that day alone would have made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stableyield.errors import DayOutOfRangeError
from stableyield.market.day_facts import row_ages, stacked
from stableyield.market.panel import WALK_DAYS
from support.markets import day, hand_made, pool, synthetic_panel, with_another_future


def test_a_walk_shows_the_views_of_its_days():
    panel = synthetic_panel(n_days=90)
    days = [day(n) for n in range(3, 3 + WALK_DAYS + 9)]
    for walked, on in zip(panel.walk(days), days, strict=True):
        alone = panel.as_of(on)
        assert walked.day == on
        assert walked.shared_facts is not None
        assert walked.directory is alone.directory
        for name in ("row_age_days", "is_listed", "realised_return"):
            found, expected = getattr(walked, name), getattr(alone, name)
            assert found.dtype == expected.dtype
            assert found.tobytes() == expected.tobytes(), (name, on)
        for name in vars(alone.pool_series):
            one, other = (getattr(view.pool_series, name) for view in (walked, alone))
            assert np.array_equal(one, other, equal_nan=True)


@pytest.mark.parametrize("t", [20, 33])
def test_what_a_walk_says_of_a_day_does_not_depend_on_later_days(t):
    panel = synthetic_panel(seed=11)
    other = with_another_future(panel, t)
    days = [day(n) for n in range(10, 50)]
    for mine, theirs in zip(panel.walk(days), other.walk(days), strict=True):
        if mine.day > day(t):
            return
        assert mine.row_age_days.tobytes() == theirs.row_age_days.tobytes()
        assert mine.realised_return.tobytes() == theirs.realised_return.tobytes()


def test_facts_of_other_rows_are_not_believed():
    panel = hand_made([pool("a")], 9)
    (view,) = panel.walk([day(5)])
    assert view.row_age_days.tolist() == [0]
    nothing = panel.as_of(day(5)).pool_series
    empty = type(nothing)(*(np.full_like(array, np.nan) for array in vars(nothing).values()))
    assert replace(view, pool_series=empty).row_age_days.tolist() == [6]


def test_a_walk_ends_where_the_history_does():
    panel = hand_made([pool("a")], 5)
    assert list(panel.walk([])) == []
    with pytest.raises(DayOutOfRangeError):
        list(panel.walk([day(4), day(5)]))


def test_ages_count_days_from_the_last_row_and_all_days_where_there_was_none():
    apy = np.full((12, 2), np.nan)
    apy[[1, 9], 0] = 5.0
    series = (
        hand_made(
            [pool("a"), pool("b", listed_from=day(0))], 12, {"apy_pct": apy, "tvl_usd": np.nan}
        )
        .as_of(day(11))
        .pool_series
    )
    ages = row_ages(series, 11)
    by_pool = ages[:, np.argsort(ages[-1])]
    assert by_pool[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2]
    assert by_pool[:, 1].tolist() == list(range(2, 13))


@pytest.mark.parametrize(("n_days", "reach"), [(1, 4), (3, 4), (5, 1), (6, 9)])
def test_stacked_windows_end_on_their_own_day(n_days, reach):
    values = np.arange(16.0).reshape(8, 2)
    found = stacked(values, n_days, reach).reshape(reach, n_days, 2)
    padded = np.concatenate([np.full((20, 2), np.nan), values])
    for d in range(n_days):
        end = len(padded) - n_days + 1 + d
        assert np.array_equal(found[:, d], padded[end - reach : end], equal_nan=True)


def test_a_rate_that_cannot_be_is_an_unknown_return():
    (view,) = hand_made([pool("a"), pool("b")], 4, {"apy_pct": np.array([-101.0, -100.0])}).walk(
        [day(2)]
    )
    assert np.isnan(view.realised_return[0])
    assert view.realised_return[1] == -1.0


def test_nobody_writes_into_what_the_books_read():
    panel = hand_made([pool("a")], 4)
    for view in (panel.as_of(day(2)), *panel.walk([day(2)])):
        for name in ("row_age_days", "is_listed", "realised_return"):
            with pytest.raises(ValueError, match="read-only"):
                getattr(view, name)[:] = 0
