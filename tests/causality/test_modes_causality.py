"""In every mode, with the owner's money and with losses of delistings, no decision sees the future.

What is done up to day t is compared in two markets that differ in everything after t, and in two
runs whose owner does something else after t.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stableyield.backtest import BacktestResult, CashFlow, run_backtest
from stableyield.backtest.benchmarks import BestSingle, EqualWeight
from stableyield.backtest.policy import MilpPolicy, Policy
from stableyield.config import AllocationParameters
from stableyield.market.other_future import with_another_future
from stableyield.market.panel import MarketPanel
from support.markets import day, synthetic_panel

START = 36
FLOWS = (
    CashFlow(day(38), "USDC", 3e4),
    CashFlow(day(40), "USDT", -9e4),
    CashFlow(day(42), "DAI", -5e4),
)
DECIDED = ["aum_after", "total_fees_usd", "turnover_usd", "allocations_by_pool", "flow_usd"]


def run(
    panel: MarketPanel, last: int, policy: Callable[[], Policy], **changes: object
) -> BacktestResult:
    return run_backtest(
        panel,
        policy=policy(),
        start=day(START),
        end=day(last),
        aum_usd=2e5,
        with_benchmarks=False,
        parameters=AllocationParameters(delisting_loss=0.4),
        **changes,
    )


def done_until(result: BacktestResult, t: int) -> list[str]:
    """What was decided up to day ``t``, to the last bit; not what became of it."""
    until = day(t).isoformat()
    log, steps, held = result.daily_log, result.transactions, result.positions
    decided = log[log["exec_date"] <= until]
    return [
        decided[["exec_date", "aum_start", *DECIDED]].to_csv(),
        steps[steps["exec_date"] <= until].to_csv(),
        held[held["exec_date"] <= until].to_csv(),
    ]


@pytest.mark.parametrize("policy", [MilpPolicy, EqualWeight, BestSingle])
@pytest.mark.parametrize(
    ("mode", "flows"),
    [("portfolio", FLOWS), ("independent", ()), ("compounded", ()), ("compounded", FLOWS)],
)
def test_no_mode_and_no_flow_lets_a_decision_see_the_future(mode, flows, policy):
    panel, known = synthetic_panel(seed=11), {"mode": mode, "cash_flows": flows}
    whole = run(panel, 43, policy, **known)
    assert len(whole.transactions) > 2
    for t in (38, 42):
        other = with_another_future(panel, day(t), seed=t)
        until = {**known, "cash_flows": tuple(flow for flow in flows if flow.day <= day(t))}
        assert done_until(run(other, t, policy, **until), t) == done_until(whole, t)


@pytest.mark.parametrize("policy", [MilpPolicy, EqualWeight])
def test_nobody_knows_what_the_owner_will_do(policy):
    panel = synthetic_panel(seed=11)
    one = run(panel, 43, policy, cash_flows=FLOWS)
    for n, flow in enumerate(FLOWS):
        other = run(panel, 43, policy, cash_flows=FLOWS[:n])
        t = (flow.day - day(0)).days
        assert done_until(one, t - 1) == done_until(other, t - 1)
        assert done_until(one, t) != done_until(other, t)
