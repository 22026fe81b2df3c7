"""The icebox of a whole history at once says on each day what the state machine says."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stableyield.config import AllocationParameters
from stableyield.market.panel import MarketPanel
from stableyield.screening import IceboxDays, IceboxTracker
from support.markets import FIRST_DAY, day, synthetic_panel, with_another_future

TOKENS = ("DAI", "USDC", "sDAI", "USDT")
N_DAYS = 40
days = st.integers(1, 5)


def market(rng: np.random.Generator) -> MarketPanel:
    """Tokens that leave their peg and come back, with gaps, late starts and pegs of their own."""
    shape = (N_DAYS, len(TOKENS))
    close = np.where(rng.random(shape) < 0.7, 1.0, rng.uniform(0.9, 1.02, shape))
    low = close - rng.uniform(0.0, 0.05, shape) * (rng.random(shape) < 0.4)
    peg = np.where(rng.random(shape) < 0.5, 1.0, rng.uniform(0.97, 1.05, shape))
    for array, share in ((close, 0.1), (low, 0.2), (peg, 0.2)):
        array[rng.random(shape) < share] = np.nan
    close[rng.random(shape) < 0.02] = -1.0
    low[:, rng.random(len(TOKENS)) < 0.3] = np.nan  # closing prices only
    peg[:, rng.random(len(TOKENS)) < 0.5] = np.nan  # at par, or unknown
    for j in range(len(TOKENS)):
        close[: rng.integers(0, 10), j] = np.nan
    arrays = {"close_usd": close, "low_usd": low, "peg_usd": peg}
    return MarketPanel.build(np.datetime64(FIRST_DAY) + np.arange(N_DAYS), [], {}, TOKENS, arrays)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    low=st.tuples(days, days),
    close=st.tuples(days, days),
    start=st.integers(0, N_DAYS - 1),
)
def test_every_day_is_that_of_the_state_machine(seed, low, close, start):
    panel = market(np.random.default_rng(seed))
    parameters = AllocationParameters(
        icebox_ohlc_l_days_threshold=low[0],
        icebox_recovery_l_days_threshold=low[1],
        icebox_ohlc_c_days_threshold=close[0],
        icebox_recovery_c_days_threshold=close[1],
    )
    at_once, machine = IceboxDays(panel, parameters), IceboxTracker(parameters)
    for n in range(start, N_DAYS):
        view = panel.as_of(day(n))
        assert at_once.advance(view) == machine.advance(view)
        assert at_once.unjudged == machine.unjudged


def test_a_day_does_not_depend_on_later_ones():
    panel, parameters = synthetic_panel(seed=11), AllocationParameters()
    other = with_another_future(panel, 30)
    mine, theirs = IceboxDays(panel, parameters), IceboxDays(other, parameters)
    for n in range(31):
        view = panel.as_of(day(n))
        assert mine.advance(view) == theirs.advance(view)
        assert mine.unjudged == theirs.unjudged


def test_some_token_was_inside():
    """Else the comparison would compare nothing."""
    panel = market(np.random.default_rng(1))
    icebox = IceboxDays(panel, AllocationParameters())
    assert any(icebox.advance(panel.as_of(day(n))) for n in range(N_DAYS))
