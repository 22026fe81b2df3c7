"""What a failed rule means for a pool that we hold, and for one that we do not."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from stableyield.config import AllocationParameters
from stableyield.domain.pool import PoolState
from stableyield.screening import Consequence, PoolForecasts, Rule, Verdict, screen

NAN = float("nan")
GONE_YESTERDAY = {"listed_until": date(2024, 2, 8)}
NO_ROW = {"apy_pct": NAN, "tvl_usd": NAN}

# (pool, parameters, today's pool row, today's token row, forecast APY, iceboxed) -> state if held
CASES = {
    "passes": ({}, {}, {}, {}, 5.0, (), PoolState.OPEN),
    # fails a filter
    "APY too low": ({}, {}, {}, {}, 0.2, (), PoolState.WITHDRAW_ONLY),
    "filtered out": ({}, {}, {"is_filtered_out": 1.0}, {}, 5.0, (), PoolState.WITHDRAW_ONLY),
    "market cap": ({}, {}, {}, {"market_cap_usd": 1e6}, 5.0, (), PoolState.WITHDRAW_ONLY),
    "iceboxed, hold": ({}, {}, {}, {}, 5.0, ("USDC",), PoolState.WITHDRAW_ONLY),
    # data missing
    "no row": ({}, {}, NO_ROW, {}, 5.0, (), PoolState.FROZEN),
    "no forecast": ({}, {}, {}, {}, NAN, (), PoolState.FROZEN),
    "impossible": ({}, {}, {"tvl_usd": -5.0}, {}, 5.0, (), PoolState.FROZEN),
    "no price": ({}, {}, {}, {"close_usd": NAN}, 5.0, (), PoolState.FROZEN),
    # may not be owned
    "delisted": (GONE_YESTERDAY, {}, {}, {}, 5.0, (), PoolState.EXIT),
    "chain": ({}, {"approved_chains": ("Base",)}, {}, {}, 5.0, (), PoolState.EXIT),
    "protocol": ({}, {"approved_protocols": ("x",)}, {}, {}, 5.0, (), PoolState.EXIT),
    "token": ({}, {"approved_tokens": ("DAI",)}, {}, {}, 5.0, (), PoolState.EXIT),
    "blacklist": ({}, {"blacklisted_tokens": ("USDC",)}, {}, {}, 5.0, (), PoolState.EXIT),
    "iceboxed, exit": ({}, {"icebox_exit": "exit"}, {}, {}, 5.0, ("USDC",), PoolState.EXIT),
    # precedence: unpriced before exit, exit before missing data, missing data before filters
    "delisted, no price": (GONE_YESTERDAY, {}, {}, {"close_usd": NAN}, 5.0, (), PoolState.FROZEN),
    "delisted, no row": (GONE_YESTERDAY, {}, NO_ROW, {}, NAN, (), PoolState.EXIT),
    "iceboxed, no row": ({}, {}, NO_ROW, {}, 5.0, ("USDC",), PoolState.FROZEN),
    "iceboxed, exit, no forecast": (
        *({}, {"icebox_exit": "exit"}, {}, {}, NAN, ("USDC",)),
        PoolState.EXIT,
    ),
    "delisted, APY too low": (GONE_YESTERDAY, {}, {}, {}, 0.2, (), PoolState.EXIT),
}


def with_today(values, otherwise):
    arrays = {}
    for name, value in values.items():
        arrays[name] = np.full((40, 1), otherwise[name])
        arrays[name][-1] = value
    return arrays


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("is_held", [True, False])
def test_the_state_of_a_pool(market, today, pool, case, is_held):
    changes, parameters, row, prices, apy_pct, iceboxed, if_held = CASES[case]
    usual = {"is_filtered_out": 0.0, "apy_pct": 5.0, "tvl_usd": 1e7}
    view = today(
        market(
            [pool("p", **changes)],
            pool_arrays=with_today(row, usual),
            token_arrays=with_today(prices, {"close_usd": 1.0, "market_cap_usd": 1e10}),
        )
    )
    screening = screen(
        view,
        AllocationParameters(**parameters),
        held=["p"] if is_held else [],
        forecasts=PoolForecasts(np.array([apy_pct]), np.array([1e7])),
        iceboxed=iceboxed,
    )
    if_new = PoolState.OPEN if if_held is PoolState.OPEN else PoolState.EXCLUDED
    (state,) = screening.states
    assert state is (if_held if is_held else if_new)
    assert screening.allowed.tolist() == [state is PoolState.OPEN]
    assert bool(screening.reasons[0]) is (state is not PoolState.OPEN)


def test_a_pool_we_hold_is_never_dropped(market, today):
    view = today(market(["a", "b"], pool_arrays={"apy_pct": 0.1}))
    none = PoolForecasts(np.full(2, NAN), np.full(2, NAN))
    screening = screen(view, AllocationParameters(), held=["a", "lost", "b"], forecasts=none)
    assert PoolState.EXCLUDED not in screening.states
    assert screening.gone == ("lost",)
    assert screening.state_of("lost") is PoolState.EXIT
    assert screening.state_of("a") is PoolState.FROZEN


def test_the_gravest_consequence_counts_whatever_the_order(market, today):
    view = today(market())
    screening = screen(view, AllocationParameters(), held=["p"])
    failed = np.array([True])
    for consequences in (
        (Consequence.EXIT, Consequence.WITHDRAW_ONLY),
        (Consequence.WITHDRAW_ONLY, Consequence.EXIT),
    ):
        verdicts = tuple(Verdict(Rule.LISTED, failed, "{}", {0: "x"}, c) for c in consequences)
        changed = type(screening)(
            *(screening.day, screening.pool_ids, screening.is_held, screening.groups, verdicts)
        )
        assert changed.states == (PoolState.EXIT,)
