"""Nothing that happens after a day can be seen on that day."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stableyield.domain.pool import Pool
from stableyield.market.panel import GasSeries, MarketPanel, MarketView, PoolSeries, TokenSeries

FIRST = date(2025, 1, 1)
N_DAYS, N_POOLS, N_TOKENS = 10, 4, 3


class _History:
    """Everything a panel is built from, by a seed, so that it can be changed and built again."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.pools = [
            replace(
                Pool(f"pool_{i}", "DAI", "Ethereum", "aave-v3", ("DAI",)),
                listed_from=self._maybe_day(rng),
                listed_until=self._maybe_day(rng),
                is_active=bool(rng.random() < 0.7),
            )
            for i in range(N_POOLS)
        ]
        self.tokens = [f"token_{j}" for j in range(N_TOKENS)]
        self.pool_arrays = self._arrays(rng, PoolSeries, N_POOLS)
        self.token_arrays = self._arrays(rng, TokenSeries, N_TOKENS)
        self.gas = rng.uniform(1.0, 50.0, size=(2, N_DAYS))

    @staticmethod
    def _maybe_day(rng: np.random.Generator) -> date | None:
        return FIRST + timedelta(days=int(rng.integers(N_DAYS))) if rng.random() < 0.4 else None

    @staticmethod
    def _arrays(rng: np.random.Generator, kind: type, n: int) -> dict[str, np.ndarray]:
        arrays = {}
        for item in fields(kind):
            values = rng.uniform(0.1, 9.0, size=(N_DAYS, n))
            starts = rng.integers(0, N_DAYS + 2, size=n)  # some columns never get a value
            values[np.arange(N_DAYS)[:, None] < starts] = np.nan
            values[rng.random((N_DAYS, n)) < 0.2] = np.nan
            arrays[item.name] = values
        return arrays

    def panel(self) -> MarketPanel:
        days = np.datetime64(FIRST, "D") + np.arange(N_DAYS)
        return MarketPanel.build(
            days,
            self.pools,
            self.pool_arrays,
            self.tokens,
            self.token_arrays,
            gas=GasSeries(*self.gas),
        )

    def change_after(self, t: int, rng: np.random.Generator) -> None:
        """Other rates, prices, gas, listings and activity after day ``t``, and new names."""
        for arrays, n in ((self.pool_arrays, N_POOLS), (self.token_arrays, N_TOKENS)):
            for name, values in arrays.items():
                changed = values.copy()
                changed[t + 1 :] = rng.uniform(0.1, 9.0, size=(N_DAYS - t - 1, n))
                changed[t + 1 :][rng.random((N_DAYS - t - 1, n)) < 0.3] = np.nan
                arrays[name] = changed
        self.gas[:, t + 1 :] = rng.uniform(1.0, 500.0, size=(2, N_DAYS - t - 1))
        self.pools = [self._changed_after(pool, t, rng) for pool in self.pools]
        self._add_newcomers(t)

    def _changed_after(self, pool: Pool, t: int, rng: np.random.Generator) -> Pool:
        later = FIRST + timedelta(days=int(rng.integers(t + 1, N_DAYS + 3)))
        until, start = pool.listed_until, pool.listed_from
        if until is None or until >= FIRST + timedelta(days=t):
            # a listing that lasts through day t may end on any later day, on t itself, or never
            until = [None, later, FIRST + timedelta(days=t)][int(rng.integers(3))]
        if start is not None and start > FIRST + timedelta(days=t):
            start = later
        return replace(pool, listed_from=start, listed_until=until, is_active=rng.random() < 0.5)

    def _add_newcomers(self, t: int) -> None:
        for pool_id in ("a_first_name", "zz_last_name"):
            self.pools.append(Pool(pool_id, "DAI", "Ethereum", "aave-v3", ("DAI",)))
            self.tokens.append(f"token of {pool_id}")
            for arrays in (self.pool_arrays, self.token_arrays):
                for name, values in arrays.items():
                    column = np.full((N_DAYS, 1), np.nan)
                    column[t + 1 :] = 7.0
                    arrays[name] = np.hstack([values, column])


def _same(one: MarketView, other: MarketView) -> None:
    assert one.day == other.day
    assert one.pools == other.pools
    assert one.tokens == other.tokens
    assert np.array_equal(one.days, other.days)
    for series in ("pool_series", "token_series", "gas"):
        first, second = getattr(one, series), getattr(other, series)
        for item in fields(first):
            assert np.array_equal(
                getattr(first, item.name), getattr(second, item.name), equal_nan=True
            ), item.name
    assert one.prices_usd == other.prices_usd
    assert np.array_equal(one.is_listed, other.is_listed)
    assert np.array_equal(one.row_age_days, other.row_age_days)
    assert np.array_equal(one.realised_return, other.realised_return, equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), t=st.integers(0, N_DAYS - 2))
def test_a_changed_future_leaves_the_view_as_it_was(seed: int, t: int) -> None:
    history = _History(seed)
    day = FIRST + timedelta(days=t)
    before = history.panel().as_of(day)
    history.change_after(t, np.random.default_rng(seed + 1))
    _same(before, history.panel().as_of(day))


@pytest.mark.parametrize("seed", range(5))
def test_a_shorter_history_shows_the_same_day(seed: int) -> None:
    """Cutting the data off after a day is the same as looking at that day, but for activity."""
    history = _History(seed)
    history.pools = [replace(pool, is_active=True) for pool in history.pools]
    t = 5
    day = FIRST + timedelta(days=t)
    whole = history.panel().as_of(day)
    cut = MarketPanel.build(
        np.datetime64(FIRST, "D") + np.arange(t + 1),
        history.pools,
        {name: values[: t + 1] for name, values in history.pool_arrays.items()},
        history.tokens,
        {name: values[: t + 1] for name, values in history.token_arrays.items()},
        gas=GasSeries(*history.gas[:, : t + 1]),
    )
    _same(whole, cut.as_of(day))


def test_a_changed_past_is_seen() -> None:
    """The comparison above is not blind."""
    history = _History(3)
    day = FIRST + timedelta(days=4)
    before = history.panel().as_of(day)
    history.pool_arrays["apy_pct"] = history.pool_arrays["apy_pct"].copy()
    history.pool_arrays["apy_pct"][4] += 1.0
    with pytest.raises(AssertionError):
        _same(before, history.panel().as_of(day))
