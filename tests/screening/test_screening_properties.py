"""What must hold for any market: no look-ahead, no dependence on order, no surprise in a limit."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stableyield.config import AllocationParameters
from stableyield.domain.pool import Pool, PoolState
from stableyield.market.panel import MarketPanel
from stableyield.screening import IceboxTracker, PoolForecasts, assess, screen

FIRST_DAY = date(2024, 1, 1)
N_DAYS, N_POOLS = 38, 8
TOKENS = ("DAI", "EURC", "USDC", "sDAI")


def random_market(seed: int) -> tuple[list[Pool], dict, dict]:
    rng = np.random.default_rng(seed)
    shape, prices = (N_DAYS, N_POOLS), (N_DAYS, len(TOKENS))
    pools = [
        Pool(
            f"p{i}",
            "x",
            str(rng.choice(["Ethereum", "Base"])),
            str(rng.choice(["aave-v3", "curve"])),
            tuple(rng.choice(TOKENS, int(rng.integers(1, 4)), replace=False).tolist()),
            listed_until=None if rng.random() < 0.8 else FIRST_DAY + timedelta(days=36),
        )
        for i in range(N_POOLS)
    ]
    pool_arrays = {
        "apy_pct": rng.gamma(2.0, 2.0, shape) * np.where(rng.random(shape) < 0.02, 50.0, 1.0),
        "tvl_usd": 10.0 ** rng.uniform(4.5, 8.0, shape),
        "is_filtered_out": (rng.random(shape) < 0.05).astype(float),
    }
    for array in pool_arrays.values():
        array[rng.random(shape) < 0.1] = np.nan
    close = 1.0 + rng.normal(0.0, 0.004, prices)
    token_arrays = {
        "close_usd": np.where(rng.random(prices) < 0.03, np.nan, close),
        "low_usd": close - np.abs(rng.normal(0.0, 0.01, prices)),
        "market_cap_usd": 10.0 ** rng.uniform(8.5, 10.0, prices),
    }
    return pools, pool_arrays, token_arrays


def panel_of(pools, pool_arrays, token_arrays) -> MarketPanel:
    days = np.datetime64(FIRST_DAY) + np.arange(N_DAYS)
    return MarketPanel.build(days, pools, pool_arrays, TOKENS, token_arrays)


def judged(panel: MarketPanel, day, parameters=None, held=("p1", "p3", "p5", "lost")):
    """Screening and quality of one day, forecasting that everything stays as it is."""
    parameters = parameters or AllocationParameters()
    view = panel.as_of(day)
    now = PoolForecasts(view.pool_series.apy_pct[-1], view.pool_series.tvl_usd[-1])
    tracker = IceboxTracker(parameters)
    iceboxed = tracker.advance(view)
    screening = screen(
        view, parameters, held=held, forecasts=now, iceboxed=iceboxed, unjudged=tracker.unjudged
    )
    return screening, assess(view, held=held, forecast_apy_pct=now.apy_pct)


seeds = st.integers(0, 10_000)


@settings(max_examples=40)
@given(seed=seeds, row=st.integers(0, N_DAYS - 2), factor=st.sampled_from([np.nan, 0.0, 1e3]))
def test_what_happens_later_changes_nothing_today(seed, row, factor):
    pools, pool_arrays, token_arrays = random_market(seed)
    day = FIRST_DAY + timedelta(days=row)
    before, quality = judged(panel_of(pools, pool_arrays, token_arrays), day)
    for array in (*pool_arrays.values(), *token_arrays.values()):
        array[row + 1 :] *= factor
    after, quality_after = judged(panel_of(pools, pool_arrays, token_arrays), day)
    after_frame = after.to_frame().set_index("pool_id")
    # a pool without any row by then may become unknown, none becomes known
    assert set(after.pool_ids) == set(before.pool_ids)
    assert before.to_frame().set_index("pool_id").equals(after_frame)
    assert quality.findings == quality_after.findings


@settings(max_examples=30)
@given(seed=seeds, data=st.data())
def test_the_order_of_pools_makes_no_difference(seed, data):
    pools, pool_arrays, token_arrays = random_market(seed)
    order = data.draw(st.permutations(range(N_POOLS)))
    day = FIRST_DAY + timedelta(days=N_DAYS - 1)
    one, _ = judged(panel_of(pools, pool_arrays, token_arrays), day)
    shuffled = {name: array[:, order] for name, array in pool_arrays.items()}
    other, _ = judged(panel_of([pools[i] for i in order], shuffled, token_arrays), day)
    by_id = [s.to_frame().set_index("pool_id").sort_index() for s in (one, other)]
    assert by_id[0].equals(by_id[1])


TIGHTENINGS = {
    "pool_apy_limit": st.floats(0.0, 0.2),
    "pool_tvl_limit": st.floats(0.0, 1e8),
    "token_marketcap_limit": st.floats(0.0, 1e10),
    "pool_pair_tvl_ratio_min": st.floats(0.0, 0.5),
    "min_history_days": st.integers(2, 15),
}


@pytest.mark.parametrize("name", TIGHTENINGS)
@settings(max_examples=15)
@given(seed=seeds, data=st.data())
def test_a_tighter_limit_never_opens_a_pool(name, seed, data):
    loose, tight = sorted(data.draw(st.tuples(TIGHTENINGS[name], TIGHTENINGS[name])))
    panel = panel_of(*random_market(seed))
    allowed = [
        judged(panel, panel.last_day, AllocationParameters(**{name: value}))[0].allowed
        for value in (loose, tight)
    ]
    assert not np.any(allowed[1] & ~allowed[0])


@settings(max_examples=30)
@given(seed=seeds)
def test_states_and_reasons_agree(seed):
    panel = panel_of(*random_market(seed))
    screening, _ = judged(panel, panel.last_day)
    for i, (state, reasons) in enumerate(zip(screening.states, screening.reasons, strict=True)):
        assert (state is PoolState.OPEN) == (not reasons)
        if screening.is_held[i]:
            assert state is not PoolState.EXCLUDED
        else:
            assert state in {PoolState.OPEN, PoolState.EXCLUDED}
    assert sum(screening.counts.values()) == sum(map(len, screening.reasons))
    assert set(screening.risk_groups.tolist()) <= {1, 2, 3}
