"""What a run keeps from day to day is what each day alone would have made."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from stableyield.backtest.almanac import MOST_DAYS, Almanac, Outlook
from stableyield.backtest.places import MOST_LAYOUTS, Atlas
from stableyield.config import AllocationParameters
from stableyield.domain.portfolio import Book, Layout
from stableyield.domain.rates import day_return
from stableyield.forecast import baseline
from stableyield.forecast.baselines import Baseline
from stableyield.market.panel import MarketPanel
from stableyield.screening import PoolForecasts, risk_groups
from support.markets import (
    day,
    hand_made,
    lax,
    observed,
    pool,
    synthetic_panel,
    with_another_future,
)

PARAMETERS, EWMA = AllocationParameters(), baseline("ewma")
HORIZON_DAYS = round(PARAMETERS.horizon_days)


def almanac(panel: MarketPanel) -> Almanac:
    return Almanac(PARAMETERS, EWMA, panel, panel.last_day - timedelta(days=1))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_answer_is_that_of_its_day_alone(seed):
    """Any pools in any order, on some days some, on others all, over more days than are kept."""
    panel, rng = synthetic_panel(n_days=110), np.random.default_rng(seed)
    kept, held = almanac(panel), np.array([0, 1])
    for n in range(20, 20 + MOST_DAYS + 20):
        view = panel.as_of(day(n))
        expected = EWMA.expected(view, HORIZON_DAYS)
        groups = risk_groups(view.pool_series.apy_pct, PARAMETERS).group
        if rng.random() < 0.2:
            held = rng.permutation(len(view.pools))[: rng.integers(1, 8)]
        if rng.random() < 0.3:
            found = kept.expected(view)
            assert found.apy_pct.tobytes() == expected[0].tobytes(), n
            assert found.tvl_usd.tobytes() == expected[1].tobytes(), n
            assert kept.risk_groups(view).tobytes() == groups.tobytes(), n
        assert kept.risk_groups(view, held).tobytes() == groups[held].tobytes(), n
        looked, alone = kept.outlook(view, held), Outlook.of(PoolForecasts(*expected), held)
        assert looked.apy_pct.tobytes() == alone.apy_pct.tobytes(), n
        assert looked.returns.tobytes() == alone.returns.tobytes(), n
        assert looked.is_known.tobytes() == alone.is_known.tobytes(), n
        assert alone.returns.tobytes() == day_return(expected[0][held] / 100.0).tobytes()


@pytest.mark.parametrize("t", [30, 41])
def test_no_answer_depends_on_later_days(t):
    panel = synthetic_panel(seed=11)
    mine, theirs = almanac(panel), almanac(with_another_future(panel, t))
    held = np.array([2, 0, 5])
    for n in range(25, t + 1):
        view = panel.as_of(day(n))
        one, other = (kept.expected(view) for kept in (mine, theirs))
        assert one.apy_pct.tobytes() == other.apy_pct.tobytes()
        assert one.tvl_usd.tobytes() == other.tvl_usd.tobytes()
        one, other = (kept.outlook(view, held) for kept in (mine, theirs))
        assert one.apy_pct.tobytes() == other.apy_pct.tobytes()
        assert one.is_known.tobytes() == other.is_known.tobytes()
        for columns in (held, None):
            groups = mine.risk_groups(view, columns)
            assert groups.tobytes() == theirs.risk_groups(view, columns).tobytes()


def counted(monkeypatch, name: str) -> list[tuple[int, int]]:
    """For how many days and pools the method of that name is asked."""
    asked: list[tuple[int, int]] = []
    inside = getattr(Baseline, name)

    def noting(self, apy_pct, tvl_usd, n_days, horizon_days):
        asked.append((n_days, apy_pct.shape[1]))
        return inside(self, apy_pct, tvl_usd, n_days, horizon_days)

    monkeypatch.setattr(Baseline, name, noting)
    return asked


def test_what_is_held_is_made_for_many_days_and_once(monkeypatch):
    asked, panel = counted(monkeypatch, "outlook_of_days"), synthetic_panel()
    held = np.array([0, 3])
    kept = almanac(panel)
    for n in range(30, 60):
        kept.outlook(panel.as_of(day(n)), held)
    assert asked == [(39, 2)]  # to the last day that can be asked for


def test_all_pools_are_made_for_one_day_unless_they_are_asked_for_again(monkeypatch):
    asked = counted(monkeypatch, "expected_of_days")
    panel = hand_made([pool(name) for name in "abc"], 60)
    kept = almanac(panel)
    for n in (30, 31, 32, 50):
        kept.expected(panel.as_of(day(n)))
    assert asked == [(1, 3), (28, 3)]


def test_a_day_without_a_market_behind_it_is_made_alone(monkeypatch):
    asked, panel = counted(monkeypatch, "outlook_of_days"), synthetic_panel()
    inputs = observed(panel, day(40), PARAMETERS, forecaster=EWMA)
    inputs.outlook(np.array([1, 2]))
    assert asked == [(1, 2)]


def test_an_answer_cannot_be_changed():
    panel = synthetic_panel()
    found = almanac(panel).expected(panel.as_of(day(40)))
    with pytest.raises(ValueError, match="read-only"):
        found.apy_pct[0] = 99.0


def test_inputs_with_other_parameters_do_not_use_what_is_kept_for_a_run():
    panel = synthetic_panel()
    inputs = replace(observed(panel, day(40), PARAMETERS, forecaster=EWMA), almanac=almanac(panel))
    strict = PARAMETERS.model_copy(
        update={"group1_apy_delta_max": 0.0, "group2_apy_delta_max": 0.0}
    )
    other = replace(inputs, parameters=strict)
    own = risk_groups(inputs.view.pool_series.apy_pct, strict).group
    assert other.risk_groups.tolist() == own.tolist() != inputs.risk_groups.tolist()


# --- places ---


def test_the_places_of_a_book_are_found_once_while_the_pools_last():
    panel, atlas = hand_made([pool("a"), pool("b", listed_until=day(6))], 12), Atlas()
    layout = Book({}, {("a", "USDC"): 1.0, ("gone", "USDC"): 1.0}).layout
    first = atlas.find(layout, panel.as_of(day(3)).directory)
    assert first.column_of_pool.tolist() == [0, -1]
    assert first.is_known.tolist() == [True, False]
    assert atlas.find(layout, panel.as_of(day(5)).directory) is first
    assert atlas.find(layout, panel.as_of(day(8)).directory) is not first


def test_the_places_of_earlier_books_are_forgotten():
    directory, atlas = hand_made([pool("a")], 3).as_of(day(1)).directory, Atlas()
    layouts = [Layout((("a", f"T{n}"),)) for n in range(MOST_LAYOUTS + 1)]
    found = [atlas.find(layout, directory) for layout in layouts]
    assert atlas.find(layouts[-1], directory) is found[-1]
    assert atlas.find(layouts[0], directory) is not found[0]


def test_values_of_pools_become_values_of_positions():
    panel = hand_made([pool("a"), pool("b", "DAI", "USDC")], 5)
    inputs = observed(panel, day(3), lax())
    keys = (("a", "USDC"), ("b", "DAI"), ("b", "USDC"), ("gone", "DAI"))
    places = inputs.places(Layout(keys))
    assert places.of_positions(np.array([0.5, 0.25]), np.nan)[:3].tolist() == [0.5, 0.25, 0.25]
    assert np.isnan(places.of_positions(np.array([0.5, 0.25]), np.nan)[3])
