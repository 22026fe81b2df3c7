"""The daily look at what is held says what the full screening says of it."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stableyield.config import AllocationParameters
from stableyield.domain.pool import Pool, PoolState
from stableyield.market.panel import MarketPanel
from stableyield.screening import (
    HeldPlaces,
    HeldPools,
    PoolForecasts,
    Severity,
    assess,
    critical_findings,
    screen,
)
from stableyield.screening.filters import is_known

FIRST_DAY = date(2024, 1, 1)
N_DAYS, N_POOLS = 40, 12
TOKENS = ("DAI", "EURC", "USDC", "sDAI")
ADDRESSES = {token: f"0x{n:040x}" for n, token in enumerate(TOKENS)}


def random_pool(rng: np.random.Generator, n: int) -> Pool:
    tokens = tuple(rng.choice(TOKENS, int(rng.integers(1, 4)), replace=False).tolist())
    return Pool(
        f"p{n}",
        "x",
        str(rng.choice(["Ethereum", "BASE"])),
        str(rng.choice(["aave-v3", "Curve"])),
        tokens,
        token_addresses=tuple(ADDRESSES[t] for t in tokens) if rng.random() < 0.5 else (),
        listed_until=None if rng.random() < 0.7 else FIRST_DAY + timedelta(days=N_DAYS - 3),
        is_active=bool(rng.random() < 0.9),
    )


def random_market(rng: np.random.Generator, gap_share: float) -> MarketPanel:
    shape, prices = (N_DAYS, N_POOLS), (N_DAYS, len(TOKENS))
    apy_pct = rng.gamma(2.0, 2.0, shape) * np.where(rng.random(shape) < 0.03, 1e7, 1.0)
    tvl_usd = 10.0 ** rng.uniform(4.5, 8.0, shape)
    off = rng.random(shape) < gap_share
    off[-10:, rng.random(N_POOLS) < 0.1] = True  # for so long that they are off the list
    close = np.where(rng.random(prices) < gap_share, np.nan, rng.normal(1.0, 0.01, prices))
    close[-1] *= np.where(rng.random(len(TOKENS)) < 0.05, -1.0, 1.0)
    return MarketPanel.build(
        np.datetime64(FIRST_DAY) + np.arange(N_DAYS),
        [random_pool(rng, n) for n in range(N_POOLS)],
        {"apy_pct": np.where(off, np.nan, apy_pct), "tvl_usd": np.where(off, np.nan, tvl_usd)},
        TOKENS,
        {"close_usd": close},
    )


def held_pools(view, parameters, held, iceboxed=()) -> HeldPools:
    return HeldPools(view, parameters, HeldPlaces.of(view, parameters, held), iceboxed)


def some(rng: np.random.Generator, names: tuple[str, ...]) -> tuple[str, ...]:
    """No list at all, most often; else some of the names."""
    if rng.random() < 0.6:
        return ()
    return tuple(rng.choice(names, int(rng.integers(1, len(names) + 1)), replace=False).tolist())


def random_parameters(rng: np.random.Generator) -> AllocationParameters:
    keys = tuple(f"{chain}:{ADDRESSES[t]}" for t in TOKENS for chain in ("Ethereum", "base"))
    return AllocationParameters(
        approved_chains=some(rng, ("ethereum", "Base")),
        approved_protocols=some(rng, ("AAVE-V3", "curve")),
        approved_tokens=some(rng, (*TOKENS, *keys)),
        blacklisted_tokens=some(rng, (*TOKENS, *keys)),
        icebox_exit=str(rng.choice(["exit", "hold"])) if rng.random() < 0.5 else "exit",
    )


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), row=st.integers(N_DAYS - 4, N_DAYS - 1))
def test_the_states_of_held_pools_are_those_of_the_full_screening(seed, row):
    rng = np.random.default_rng(seed)
    panel = random_market(rng, float(rng.choice([0.0, 0.1, 0.3])))
    parameters = random_parameters(rng)
    view = panel.as_of(FIRST_DAY + timedelta(days=row))
    unknown = rng.random((2, len(view.pools))) < 0.1
    now = np.stack([view.pool_series.apy_pct[-1], view.pool_series.tvl_usd[-1]])
    forecasts = PoolForecasts(*np.where(unknown, np.nan, now))
    iceboxed = frozenset(some(rng, TOKENS))
    ids = (*view.pool_ids, *(("elsewhere",) if rng.random() < 0.2 else ()))
    held = [pool_id for pool_id in ids if rng.random() < rng.choice([0.1, 0.5])]

    found = held_pools(view, parameters, held, iceboxed)
    full = screen(view, parameters, held=held, forecasts=forecasts, iceboxed=iceboxed)
    states = {pool_id: full.state_of(pool_id) for pool_id in held}
    assert found.must_leave is (PoolState.EXIT in states.values())
    assert found.frozen(is_known(forecasts)[found.places.columns]) == tuple(
        pool_id for pool_id in view.pool_ids if states.get(pool_id) is PoolState.FROZEN
    )


def test_an_empty_book_leaves_nothing_and_has_nothing_frozen():
    panel = random_market(np.random.default_rng(1), 0.1)
    view = panel.as_of(panel.last_day)
    nothing = held_pools(view, AllocationParameters(), ())
    assert not nothing.must_leave
    assert nothing.frozen(np.zeros(0, dtype=bool)) == ()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), gap_share=st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_a_day_is_live_only_if_the_full_assessment_finds_nothing_critical(seed, gap_share):
    view = random_market(np.random.default_rng(seed), gap_share).as_of(
        FIRST_DAY + timedelta(days=N_DAYS - 1)
    )
    critical = [f for f in assess(view).findings if f.severity is Severity.CRITICAL]
    assert sorted(critical_findings(view), key=str) == sorted(critical, key=str)


@pytest.mark.parametrize("known", [True, False])
def test_a_pool_that_the_market_does_not_know_must_be_left(known):
    panel = random_market(np.random.default_rng(3), 0.0)
    view = panel.as_of(panel.last_day)
    open_pool = next(
        pool_id
        for pool_id in view.pool_ids
        if not held_pools(view, AllocationParameters(), [pool_id]).must_leave
    )
    held = [open_pool] if known else [open_pool, "elsewhere"]
    assert held_pools(view, AllocationParameters(), held).must_leave is not known
