"""`as_of` is the only door to the market, and it shows what was known."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date, timedelta

import numpy as np
import pytest

from stableyield.domain.pool import Pool
from stableyield.domain.rates import day_return
from stableyield.errors import ContractError, DayOutOfRangeError
from stableyield.market.panel import (
    LIST_TIMEOUT_DAYS,
    GasSeries,
    MarketPanel,
    PoolSeries,
    Provenance,
    TokenSeries,
)

FIRST = date(2025, 1, 1)
N_DAYS = 12
NAN = np.nan


def _days(n: int = N_DAYS) -> np.ndarray:
    return np.datetime64(FIRST, "D") + np.arange(n)


def _on(t: int) -> date:
    return FIRST + timedelta(days=t)


def _pool(pool_id: str, **changes: object) -> Pool:
    return replace(Pool(pool_id, "DAI", "Ethereum", "aave-v3", ("DAI",)), **changes)


def _panel(pools: list[Pool], first_row: list[int] | None = None, **arrays: np.ndarray):
    """A panel whose pool i pays i + 1 percent from day ``first_row[i]`` on; two tokens and gas."""
    first_row = first_row or [0] * len(pools)
    apy = np.full((N_DAYS, len(pools)), NAN)
    for i, t in enumerate(first_row):
        apy[t:, i] = 1.0 + i
    prices = np.ones((N_DAYS, 2))
    prices[:3, 0] = NAN  # the first token gets its price on day 3
    ramp = np.arange(N_DAYS, dtype=float)
    return MarketPanel.build(
        _days(),
        pools,
        {"apy_pct": apy, "tvl_usd": apy * 1e6, **arrays},
        ["USDT", "DAI"],
        {"close_usd": prices},
        gas=GasSeries(ramp + 1.0, ramp + 2_000.0),
        provenance=Provenance(("by hand",)),
    )


def test_a_view_ends_on_its_day() -> None:
    view = _panel([_pool("a"), _pool("b")]).as_of(_on(4))
    assert view.day == _on(4)
    assert view.days[-1] == np.datetime64(_on(4), "D")
    for item in fields(PoolSeries):
        assert getattr(view.pool_series, item.name).shape == (5, 2)
    for item in fields(TokenSeries):
        assert getattr(view.token_series, item.name).shape == (5, 2)
    assert view.gas.gas_gwei.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert view.gas.eth_usd[-1] == 2_004.0


def test_what_was_not_given_is_unknown() -> None:
    view = _panel([_pool("a")]).as_of(_on(0))
    assert np.isnan(view.pool_series.available_usd).all()
    assert np.isnan(view.token_series.market_cap_usd).all()


def test_no_gas_given_is_unknown_gas() -> None:
    panel = MarketPanel.build(_days(), [], {}, ["DAI"], {"close_usd": np.ones((N_DAYS, 1))})
    assert np.isnan(panel.as_of(_on(2)).gas.gas_gwei).all()
    assert panel.provenance.assumptions == ()


def test_every_array_is_read_only() -> None:
    view = _panel([_pool("a")]).as_of(_on(4))
    arrays = [
        view.days,
        view.gas.gas_gwei,
        view.gas.eth_usd,
        *(getattr(view.pool_series, item.name) for item in fields(PoolSeries)),
        *(getattr(view.token_series, item.name) for item in fields(TokenSeries)),
    ]
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = array[...]


def test_the_panel_keeps_its_own_copy_of_the_callers_arrays() -> None:
    apy = np.full((N_DAYS, 1), 5.0)
    days, gwei = _days(), np.ones(N_DAYS)
    panel = MarketPanel.build(
        days, [_pool("a")], {"apy_pct": apy}, [], {}, gas=GasSeries(gwei, gwei)
    )
    apy[:] = 99.0
    gwei[:] = 99.0
    days[:] = days[0]
    view = panel.as_of(_on(N_DAYS - 1))
    assert view.pool_series.apy_pct.max() == 5.0
    assert view.gas.gas_gwei.max() == 1.0
    assert view.days[-1] == np.datetime64(_on(N_DAYS - 1), "D")


def test_a_pool_appears_with_its_first_row() -> None:
    panel = _panel([_pool("late"), _pool("early")], first_row=[5, 0])
    assert panel.as_of(_on(4)).pool_ids == ("early",)
    assert panel.as_of(_on(5)).pool_ids == ("early", "late")
    assert panel.as_of(_on(5)).pool_series.apy_pct[-1].tolist() == [2.0, 1.0]


def test_a_pool_is_known_from_its_listing_even_without_a_row() -> None:
    panel = _panel([_pool("a", listed_from=_on(2))], first_row=[5])
    assert panel.as_of(_on(1)).pool_ids == ()
    assert panel.as_of(_on(2)).pool_ids == ("a",)


def test_a_pool_listed_before_the_history_is_known_from_its_start() -> None:
    panel = _panel([_pool("a", listed_from=date(2020, 1, 1))], first_row=[5])
    assert panel.as_of(FIRST).pool_ids == ("a",)


def test_a_token_appears_with_its_first_price() -> None:
    panel = _panel([_pool("a")])
    assert panel.as_of(_on(2)).tokens == ("DAI",)
    assert panel.as_of(_on(3)).tokens == ("DAI", "USDT")


def test_columns_are_found_by_name() -> None:
    view = _panel([_pool("b"), _pool("a")]).as_of(_on(5))
    assert view.pool_ids == ("a", "b")
    assert view.pool_index == {"a": 0, "b": 1}
    assert view.token_index == {"DAI": 0, "USDT": 1}


def test_prices_are_of_the_day_and_unknown_ones_are_absent() -> None:
    prices = np.full((N_DAYS, 2), 1.0)
    prices[6, 1] = NAN
    prices[6, 0] = 0.99
    panel = MarketPanel.build(_days(), [], {}, ["DAI", "USDC"], {"close_usd": prices})
    assert panel.as_of(_on(6)).prices_usd == {"DAI": 0.99}
    assert panel.as_of(_on(7)).prices_usd == {"DAI": 1.0, "USDC": 1.0}


# --- what only later days say ---


def test_the_end_of_a_listing_is_not_known_before_it_came() -> None:
    panel = _panel([_pool("a", listed_until=_on(6))])
    assert panel.as_of(_on(6)).pools[0].listed_until is None
    assert panel.as_of(_on(7)).pools[0].listed_until == _on(6)
    assert panel.as_of(_on(6)).is_listed.tolist() == [True]
    assert panel.as_of(_on(7)).is_listed.tolist() == [False]


def test_inactivity_on_the_last_day_says_nothing_about_earlier_days() -> None:
    panel = _panel([_pool("a", is_active=False)])
    before, last = panel.as_of(_on(N_DAYS - 2)), panel.as_of(_on(N_DAYS - 1))
    assert before.pools[0].is_active
    assert before.is_listed.tolist() == [True]
    assert not last.pools[0].is_active
    assert last.is_listed.tolist() == [False]


def test_a_later_listing_is_only_known_as_not_yet() -> None:
    # rows came before the listing: the pool is known, the day of its listing is not
    panel = _panel([_pool("a", listed_from=_on(6))])
    assert panel.as_of(_on(5)).pools[0].listed_from == date.max
    assert panel.as_of(_on(5)).is_listed.tolist() == [False]
    assert panel.as_of(_on(6)).pools[0].listed_from == _on(6)
    assert panel.as_of(_on(6)).is_listed.tolist() == [True]


def test_a_pool_without_a_row_for_a_week_is_off_the_list_but_keeps_its_history() -> None:
    apy = np.full((N_DAYS, 1), 3.0)
    apy[3:] = NAN
    panel = MarketPanel.build(_days(), [_pool("a")], {"apy_pct": apy}, [], {})
    last_day_on_list = 2 + LIST_TIMEOUT_DAYS - 1
    for t, listed in ((2, True), (last_day_on_list, True), (last_day_on_list + 1, False)):
        view = panel.as_of(_on(t))
        assert view.is_listed.tolist() == [listed]
        assert view.row_age_days.tolist() == [t - 2]
        assert view.pool_ids == ("a",)


# --- what a pool paid ---


def test_the_share_price_is_what_was_earned_and_the_rate_stands_in() -> None:
    by_price = np.full((N_DAYS, 3), NAN)
    by_price[:, 0] = 0.0007
    apy = np.full((N_DAYS, 3), 36.5)
    apy[:, 2] = NAN
    panel = _panel([_pool("a"), _pool("b"), _pool("c")], apy_pct=apy, return_1d=by_price)
    earned = panel.as_of(_on(5)).realised_return
    assert earned[0] == 0.0007
    assert earned[1] == day_return(0.365)
    assert np.isnan(earned[2])


# --- refusals ---


@pytest.mark.parametrize("t", [-1, N_DAYS])
def test_a_day_outside_the_history_is_an_error_that_names_it(t: int) -> None:
    panel = _panel([_pool("a")])
    assert (panel.first_day, panel.last_day) == (FIRST, _on(N_DAYS - 1))
    with pytest.raises(DayOutOfRangeError, match=f"{FIRST} to {_on(N_DAYS - 1)}"):
        panel.as_of(_on(t))


def test_days_must_be_consecutive() -> None:
    with pytest.raises(ContractError, match="consecutive"):
        MarketPanel.build(_days()[::2], [], {}, [], {})
    with pytest.raises(ContractError, match="consecutive"):
        MarketPanel.build(_days()[::-1], [], {}, [], {})
    with pytest.raises(ContractError, match="consecutive"):
        MarketPanel.build(_days(0), [], {}, [], {})


def test_an_identity_that_repeats_is_named() -> None:
    with pytest.raises(ContractError, match="pool_id 'a' occurs twice"):
        MarketPanel.build(_days(), [_pool("b"), _pool("a"), _pool("a")], {}, [], {})
    with pytest.raises(ContractError, match="token 'DAI' occurs twice"):
        MarketPanel.build(_days(), [], {}, ["DAI", "DAI"], {})


def test_arrays_must_have_known_names_and_the_panels_shape() -> None:
    with pytest.raises(ContractError, match="no field 'apy'"):
        MarketPanel.build(_days(), [_pool("a")], {"apy": np.ones((N_DAYS, 1))}, [], {})
    with pytest.raises(ContractError, match="apy_pct has shape"):
        MarketPanel.build(_days(), [_pool("a")], {"apy_pct": np.ones((N_DAYS, 2))}, [], {})
    with pytest.raises(ContractError, match="close_usd has shape"):
        MarketPanel.build(_days(), [], {}, ["DAI"], {"close_usd": np.ones((3, 1))})
    short = np.ones(3)
    with pytest.raises(ContractError, match="one value a day"):
        MarketPanel.build(_days(), [], {}, [], {}, gas=GasSeries(short, short))


# --- fingerprint ---


def test_equal_histories_have_one_fingerprint_and_another_value_has_another() -> None:
    pools = [_pool("a"), _pool("b")]
    assert _panel(pools).sha256 == _panel(pools).sha256
    apy = np.full((N_DAYS, 2), 3.0)
    changed = apy.copy()
    changed[-1, 1] = np.nextafter(3.0, 4.0)
    assert _panel(pools, apy_pct=apy).sha256 != _panel(pools, apy_pct=changed).sha256
    renamed = [_pool("a"), _pool("c")]
    assert _panel(pools, apy_pct=apy).sha256 != _panel(renamed, apy_pct=apy).sha256


def test_views_share_what_follows_from_names_until_a_name_comes_or_goes():
    pools = [
        _pool("early", listed_until=_on(7)),
        _pool("late", listed_from=_on(3)),
        _pool("retired", is_active=False),
    ]
    panel = _panel(pools, first_row=[0, 3, 0])
    directories = [panel.as_of(_on(t)).directory for t in range(N_DAYS)]
    turns = [t for t in range(1, N_DAYS) if directories[t] is not directories[t - 1]]
    assert turns == [3, 8, N_DAYS - 1]  # a listing, a delisting, the last day's activity
    again = panel.as_of(_on(4))
    assert again.pools == directories[4].pools
    assert [p.pool_id for p in again.pools] == list(again.pool_ids)


def test_a_view_of_other_pools_has_its_own_directory():
    view = _panel([_pool("a"), _pool("b")]).as_of(_on(5))
    other = replace(view, pools=view.pools[:1])
    assert other.pool_ids == ("a",)
    assert dict(other.pool_index) == {"a": 0}
    assert replace(view).directory is view.directory
