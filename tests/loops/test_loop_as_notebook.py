"""The notebook's wrong arithmetic, reproduced and corrected step by step: the golden rows."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from stableyield.errors import MissingDataError
from stableyield.loops import (
    LoopCosts,
    LoopSettings,
    LoopTarget,
    corrections,
    notebook_days,
    rates_from_wide,
    run_loop_backtest,
)
from stableyield.loops.as_notebook import CORRECTIONS, NOTEBOOK_LEVERAGE, notebook_leverage
from support.loop_markets import make_rates, make_risk

# supply and borrow APR, percent, of Arbitrum and Polygon on four days of June 2024
ROWS = """timestamp,\
arb_usdc_apyBase,arb_usdc_apyBaseBorrow,arb_usdt_apyBase,arb_usdt_apyBaseBorrow,\
arb_usdce_apyBase,arb_usdce_apyBaseBorrow,arb_dai_apyBase,arb_dai_apyBaseBorrow,\
pol_usdc_apyBase,pol_usdc_apyBaseBorrow,pol_usdt_apyBase,pol_usdt_apyBaseBorrow,\
pol_dai_apyBase,pol_dai_apyBaseBorrow,pol_usdce_apyBase,pol_usdce_apyBaseBorrow
2024-06-03 23:01,11.10572,13.59508,10.73798,13.46890,7.94339,16.03975,8.03848,12.19994,\
13.95413,16.97656,7.05180,8.90851,9.95746,14.76303,13.90191,20.56562
2024-06-04 23:01,10.54498,12.92457,10.26618,12.87353,7.61674,15.28044,5.84886,8.87306,\
10.04534,12.32574,7.08424,8.92879,5.96149,8.93973,13.11634,19.39760
2024-06-05 23:01,12.78278,15.59091,7.81262,9.79169,9.41116,19.74755,7.21272,10.89444,\
7.26664,8.98557,7.01692,8.88587,5.97242,8.94782,8.97120,13.20145
2024-06-06 23:01,13.62373,16.58640,6.98449,8.87224,7.54431,15.09259,8.13447,12.33971,\
8.36551,10.30293,7.19554,8.99846,25.54788,36.81778,6.65230,9.85687
"""
GOLDEN = {
    "Arbitrum": ([-1.094, 1.672, 2.991, 4.751], [8.44, 14.62, 20.08, 25.21]),
    "Polygon": ([5.046, 4.188, 0.085, 16.549], [26.26, 23.33, 9.18, 65.91]),
}


@pytest.fixture
def by_chain() -> dict[str, pd.DataFrame]:
    markets = rates_from_wide(pd.read_csv(io.StringIO(ROWS)))
    return {market.chain: notebook_days(market) for market in markets}


@pytest.mark.parametrize("chain", GOLDEN)
def test_spread_and_net_rate_are_those_of_the_golden_rows(
    by_chain: dict[str, pd.DataFrame], chain: str
) -> None:
    spreads, nets = GOLDEN[chain]
    np.testing.assert_allclose(by_chain[chain]["spread_pct"], spreads, atol=1e-3)
    np.testing.assert_allclose(by_chain[chain]["net_pct"], nets, atol=6e-3)


def test_the_notebooks_own_net_rate_is_reproduced(by_chain: dict[str, pd.DataFrame]) -> None:
    days = by_chain["Arbitrum"]
    np.testing.assert_allclose(days["wrong_net_pct"], [25.41, 30.91, 44.03, 35.40], atol=6e-3)
    assert days["wrong_supply"].iloc[-1] == "USDC borrow"
    assert days["is_borrow_rate"].all()
    assert (days["wrong_spread_pct"] >= 0.0).all(), "it cannot be negative"


def test_one_day_can_be_followed_by_hand(by_chain: dict[str, pd.DataFrame]) -> None:
    row = by_chain["Arbitrum"].iloc[-1]
    assert (row["supply_asset"], row["borrow_asset"]) == ("USDC", "USDT")
    assert row["net_pct"] == pytest.approx(3.439 * 13.62373 - 2.439 * 8.87224)
    assert row["wrong_net_pct"] == pytest.approx(3.439 * 16.58640 - 2.439 * 8.87224)


def run(n_days: int = 40, **changes: object):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(5)
    borrow = 0.05 + 0.03 * rng.random((n_days, 3))
    rates = make_rates(n_days, supply_apr=borrow * 0.75, borrow_apr=borrow)
    settings = LoopSettings(
        target=LoopTarget(ltv=0.9, rounds=3), costs=LoopCosts(gas_usd=1.0), own_impact="none"
    )
    return run_loop_backtest(rates, settings, risk=make_risk(), **changes)


def test_every_correction_is_a_row_and_their_changes_add_up() -> None:
    result = run()
    table = corrections(result, make_risk())
    assert table["correction"].tolist() == [*(c.name for c in CORRECTIONS), "Without leverage"]
    steps = table[table["step"].notna()]
    first, last = steps["net_apr_pct"].iloc[[0, -1]]
    assert first + steps["change_points"].sum() == pytest.approx(last)


def test_the_notebooks_row_has_no_loss_and_a_sharpe_that_warns() -> None:
    table = corrections(run(), make_risk()).set_index("step")
    wrong, exact = table.loc[0.0], table.loc[1.0]
    assert wrong["max_drawdown_pct"] == 0.0
    assert wrong["days_negative_spread"] == 0
    assert wrong["net_apr_pct"] > exact["net_apr_pct"] + 3.0
    assert exact["days_negative_spread"] > 0


def test_the_last_rows_are_the_run_and_plain_supply() -> None:
    result = run()
    table = corrections(result, make_risk())
    growth = np.log(result.daily["equity_usd"].iloc[-1] / 1e6) * 365.0 / len(result.daily)
    assert table["net_apr_pct"].iloc[-2] == pytest.approx(100.0 * growth)
    plain = np.log(result.unlevered["equity_usd"].iloc[-1] / 1e6) * 365.0 / len(result.daily)
    assert table["net_apr_pct"].iloc[-1] == pytest.approx(100.0 * plain)


def test_a_market_that_lends_less_gives_less_leverage() -> None:
    table = corrections(run(), make_risk(ltv=0.5, threshold=0.6)).set_index("step")
    assert table.loc[4.0, "leverage"] == pytest.approx(1.875)
    unknown = corrections(run()).set_index("step")
    assert unknown.loc[4.0, "leverage"] == 1.0, "the shipped table does not know the chain"


@pytest.mark.parametrize(
    ("target", "size"),
    [
        (LoopTarget(leverage=2.0), 2.0),
        (LoopTarget(), NOTEBOOK_LEVERAGE),
        (LoopTarget(ltv=0.8, rounds=1), 1.8),
    ],
)
def test_the_comparison_has_the_leverage_of_the_run(target: LoopTarget, size: float) -> None:
    assert notebook_leverage(target) == pytest.approx(size)


def test_a_market_without_a_pair_has_nothing_to_compare() -> None:
    with pytest.raises(MissingDataError, match="no day has a supply rate and another"):
        notebook_days(make_rates(borrow_apr=(np.nan, np.nan, np.nan)))
