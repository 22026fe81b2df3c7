"""A decision as arrays: what a problem holds, and what it refuses to be."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from stableyield.allocation import AllocationProblem, PoolInput, RateModel
from stableyield.config import AllocationParameters
from stableyield.domain.costs import GasCosts
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import Book
from stableyield.errors import ContractError, InputError, MissingDataError
from support.problems import PAR, pool, problem

NAN = float("nan")


# --- one pool ---


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"apy": NAN}, MissingDataError, "forecast_apy_pct is nan"),
        ({"tvl_usd": NAN}, MissingDataError, "forecast_tvl_usd is nan"),
        ({"apy": math.inf}, MissingDataError, "forecast_apy_pct is inf"),
        ({"apy": -100.1}, ContractError, "forecast_apy_pct is -100.1, below -100"),
        ({"tvl_usd": -1.0}, ContractError, "forecast_tvl_usd is -1.0, below 0"),
        ({"apy_q10_pct": -101.0}, ContractError, "forecast_apy_q10_pct is -101.0"),
        ({"risk_group": 4}, ContractError, "risk_group 4"),
        ({"token_shares": (0.5,)}, ContractError, "token_shares"),
        ({"token_shares": (0.5, 0.4)}, ContractError, "token_shares"),
        ({"token_shares": (1.5, -0.5)}, ContractError, "token_shares"),
    ],
)
def test_a_pool_that_makes_no_sense_is_refused(
    fields: dict[str, object], error: type[Exception], message: str
) -> None:
    legs = ("DAI", "USDC") if "token_shares" in fields else ("USDC",)
    with pytest.raises(error, match=message) as caught:
        pool("p1", *legs, **fields)  # type: ignore[arg-type]
    assert "pool p1" in str(caught.value)


def test_a_token_does_not_repeat_in_a_pool() -> None:
    with pytest.raises(ContractError, match="repeats"):
        pool("p1", "DAI", "DAI")


@pytest.mark.parametrize("state", [PoolState.OPEN, PoolState.WITHDRAW_ONLY])
def test_a_pool_that_is_used_has_tokens_and_forecasts(state: PoolState) -> None:
    with pytest.raises(ContractError, match="no tokens"):
        PoolInput("p1", "", "", "", (), apy_pct=1.0, tvl_usd=1.0, state=state)
    with pytest.raises(MissingDataError, match="supply the forecast, or give the pool the state"):
        PoolInput("p1", "", "", "", ("DAI",), state=state)


@pytest.mark.parametrize("state", [PoolState.EXIT, PoolState.FROZEN, PoolState.EXCLUDED])
def test_a_pool_that_is_not_used_needs_no_forecast(state: PoolState) -> None:
    assert math.isnan(PoolInput("p1", "", "", "", ("DAI",), state=state).apy_pct)
    with pytest.raises(ContractError, match="below -100"):
        PoolInput("p1", "", "", "", ("DAI",), apy_pct=-300.0, state=state)


# --- the whole problem ---


def test_a_pool_does_not_occur_twice() -> None:
    with pytest.raises(ContractError, match="pool a occurs twice"):
        problem([pool("a"), pool("b"), pool("a")], {"USDC": 1.0})


def test_an_empty_book_is_no_problem_to_solve() -> None:
    with pytest.raises(InputError, match="empty"):
        problem([pool("a")], {})
    with pytest.raises(InputError, match="empty"):
        problem([pool("a")], {"USDC": 0.0})


@pytest.mark.parametrize("price", [None, NAN, 0.0, -1.0])
@pytest.mark.parametrize("token", ["USDT", "DAI", "USDC"])
def test_what_is_owned_or_could_be_bought_has_a_price(token: str, price: float | None) -> None:
    prices = {t: p for t, p in PAR.items() if t != token} | ({token: price} if price else {})
    if price == 0.0:
        prices[token] = 0.0
    with pytest.raises(MissingDataError, match=f"token {token} has no usable USD price"):
        problem([pool("a", "DAI")], {"USDC": 1.0}, {("a", "USDT"): 1.0}, prices=prices)


def test_a_token_that_nobody_needs_needs_no_price() -> None:
    closed = pool("closed", "GHO", state=PoolState.WITHDRAW_ONLY)
    task = problem([pool("a"), closed], {"USDC": 1.0})
    assert task.tokens == ("USDC",)
    assert task.prices_usd == {"USDC": 1.0}


def test_pools_and_tokens_are_sorted_whatever_their_order() -> None:
    task = problem([pool("b", "USDC"), pool("a", "USDT", "DAI")], {"USDC": 1.0})
    assert [p.pool_id for p in task.pools] == ["a", "b"]
    assert task.tokens == ("DAI", "USDC", "USDT")
    assert task.token_index["USDT"] == 2
    assert task.pool_index["b"] == 1


def test_excluded_pools_are_not_part_of_the_decision() -> None:
    task = problem([pool("a"), pool("x", state=PoolState.EXCLUDED)], {"USDC": 1.0})
    assert [p.pool_id for p in task.pools] == ["a"]


@pytest.mark.parametrize("listed", [[], [pool("gone", state=PoolState.EXCLUDED)]])
def test_a_held_pool_that_is_not_listed_must_be_left(listed: list[PoolInput]) -> None:
    task = problem(listed, {}, {("gone", "USDC"): 5.0})
    (gone,) = task.pools
    assert (gone.pool_id, gone.state) == ("gone", PoolState.EXIT)
    assert task.aum_usd == 5.0


def test_claims_and_stranded_legs_are_told_apart() -> None:
    held = {("a", "USDC"): 10.0, ("a", "DAI"): 4.0, ("gone", "DAI"): 2.0}
    task = problem([pool("a")], {}, held, prices={"USDC": 1.0, "DAI": 0.5})
    assert task.claim_legs_usd == {0: {"USDC": 10.0}}
    assert task.stranded_legs_usd == {0: {"DAI": 2.0}, 1: {"DAI": 1.0}}
    assert task.claim_usd.tolist() == [10.0, 0.0]
    assert task.stranded_usd.tolist() == [2.0, 1.0]
    assert task.position_usd.tolist() == [12.0, 1.0]


def test_rates_are_weighted_by_risk_aversion_where_the_quantile_is_known() -> None:
    pools = [pool("a", apy=10.0, apy_q10_pct=2.0), pool("b", apy=10.0)]
    task = problem(pools, {"USDC": 1.0}, risk_aversion=0.25, horizon_days=365.0)
    assert task.apy.tolist() == pytest.approx([0.08, 0.10])
    assert task.growth.tolist() == pytest.approx([0.08, 0.10])


def test_the_tightest_cap_counts_and_an_unknown_size_has_no_room() -> None:
    frozen = pool("frozen", tvl_usd=NAN, state=PoolState.FROZEN)
    task = problem(
        [pool("large"), pool("small", tvl_usd=1_000.0), frozen],
        {"USDC": 900.0},
        {("small", "USDC"): 100.0},
        max_alloc_percentage=0.3,
        position_max_pct_total_assets=0.2,
        tvl_limit_percentage=0.1,
        position_max_pct_pool_tvl=0.5,
    )
    caps = dict(zip((p.pool_id for p in task.pools), task.cap_usd.tolist(), strict=True))
    assert caps == pytest.approx({"large": 200.0, "small": 100.0, "frozen": 0.0})
    assert task.others_usd[task.pool_index["small"]] == 900.0


def test_a_forecast_below_what_we_hold_leaves_nobody_else() -> None:
    task = problem([pool("a", tvl_usd=50.0)], {}, {("a", "USDC"): 100.0})
    assert task.others_usd.tolist() == [0.0]


def test_the_size_that_counts_is_the_larger_of_share_and_minimum() -> None:
    wallet = {"USDC": 1_000.0}
    assert problem([], wallet, min_pool_share=0.1).count_threshold_usd == 100.0
    task = problem([], wallet, min_pool_share=0.1, min_position_usd=300.0)
    assert task.count_threshold_usd == 300.0


def test_profit_optimization_wants_at_most_one_pool() -> None:
    wallet = {"USDC": 1_000.0}
    assert problem([], wallet, min_pools=5, profit_optimization=True).min_pools == 1
    assert problem([], wallet, min_pools=0, profit_optimization=True).min_pools == 0
    assert problem(
        [], wallet, profit_optimization=True, max_alloc_percentage=0.1
    ).share_cap_usd == (1_000.0)


def test_gas_of_a_move_is_the_pools_own_or_the_problems_times_its_legs() -> None:
    pools = [pool("a", "DAI", "USDC"), pool("b", "DAI", "USDC", gas=GasCosts(7.0, 8.0, 0.0))]
    task = problem(pools, {"USDC": 1.0}, gas=GasCosts(1.0, 2.0, 3.0))
    assert task.gas_deposit_usd.tolist() == [2.0, 14.0]
    assert task.gas_withdrawal_usd(1, 2) == 16.0
    once = task.with_parameters(task.parameters.model_copy(update={"gas_per_leg": False}))
    assert once.gas_deposit_usd.tolist() == [1.0, 7.0]
    assert once.gas_withdrawal_usd(0, 2) == 2.0


def test_other_parameters_are_another_problem() -> None:
    task = problem([pool("a", apy=10.0)], {"USDC": 1.0}, horizon_days=365.0)
    assert task.growth[0] == pytest.approx(0.10)
    other = task.with_parameters(AllocationParameters(horizon_days=30.0))
    assert other.growth[0] == pytest.approx(1.10 ** (30 / 365) - 1.0)
    assert task.growth[0] == pytest.approx(0.10)


def test_what_a_problem_says_cannot_be_changed() -> None:
    task = problem([pool("a")], {"USDC": 1.0})
    with pytest.raises(TypeError):
        task.prices_usd["USDC"] = 2.0  # type: ignore[index]
    with pytest.raises(AttributeError):
        task.gas = GasCosts(0, 0, 0)  # type: ignore[misc]


def test_the_callers_data_is_not_touched_by_solving() -> None:
    wallet, held, prices = {"USDC": 100.0}, {("gone", "DAI"): 5.0}, {"USDC": 1.0, "DAI": 1.0}
    pools = [pool("b"), pool("a")]
    before = (dict(wallet), dict(held), dict(prices), list(pools))
    AllocationProblem(pools, Book(wallet, held), prices, GasCosts(1, 1, 1))
    assert (wallet, held, prices, pools) == before


def test_the_rate_model_is_constant_unless_it_is_said() -> None:
    given = PoolInput("a", "a", "", "", ("DAI",), apy_pct=1.0, tvl_usd=1.0)
    assert given.rate_model is RateModel.CONSTANT
    assert replace(given, rate_model=RateModel.PRO_RATA).token_shares == (1.0,)
    assert np.isnan(given.apy_q10_pct)
