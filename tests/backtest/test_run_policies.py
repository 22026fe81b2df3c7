"""Several policies in one call: as if each had run alone, and all of it is told of each."""

from __future__ import annotations

import pandas as pd
import pytest

from stableyield.backtest import BacktestSettings, run_backtest, run_policies
from stableyield.backtest.benchmarks import BestSingle, EqualWeight, Idle
from stableyield.backtest.policy import MilpPolicy
from stableyield.errors import InputError
from stableyield.report import compute_metrics
from support.markets import day, synthetic_panel

SETTINGS = BacktestSettings(start=day(35), end=day(41), aum_usd=2e5, with_benchmarks=False)
POLICIES = (MilpPolicy, EqualWeight, BestSingle, Idle)


@pytest.fixture(scope="module")
def results():
    return run_policies(synthetic_panel(), SETTINGS, [policy() for policy in POLICIES])


def test_each_policy_does_what_it_does_alone(results):
    assert list(results) == ["strategy", "equal_weight", "best_single", "idle"]
    for policy, result in zip(POLICIES, results.values(), strict=True):
        alone = run_backtest(synthetic_panel(), SETTINGS, policy=policy())
        for table in ("daily_log", "positions", "transactions"):
            pd.testing.assert_frame_equal(
                getattr(result, table), getattr(alone, table), check_exact=True
            )


def test_each_has_the_others_beside_it_and_metrics(results):
    for name, result in results.items():
        others = set(results) - {name, "strategy"}
        assert set(result.benchmarks["policy"]) == others
        assert result.run["policy"] == name
        metrics = compute_metrics(result)
        assert set(metrics["benchmarks"]) == others
        assert metrics["strategy"]["aum_end_usd"] == result.daily_log["aum_end"].iloc[-1]


def test_only_the_one_with_plans_has_a_last_plan(results):
    assert results["strategy"].last_plan["status"] == "optimal"
    assert results["idle"].last_plan == {}


def test_policies_need_names_of_their_own():
    with pytest.raises(InputError, match="two policies are called 'idle'"):
        run_policies(synthetic_panel(), SETTINGS, [Idle(), EqualWeight(), Idle()])
    with pytest.raises(InputError, match="no policy to run"):
        run_policies(synthetic_panel(), SETTINGS, [])
