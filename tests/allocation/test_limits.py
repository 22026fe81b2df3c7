"""Every limit, in an instance where it is what holds the gain down."""

from __future__ import annotations

import pytest

from stableyield.domain.costs import GasCosts
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import TransactionType
from support.problems import moves, pool, positions_usd, problem, solved

CENT = 0.01


def _position(plan, pool_id: str) -> float:
    return positions_usd(plan).get(pool_id, 0.0)


# --- caps on a position ---


@pytest.mark.parametrize("name", ["max_alloc_percentage", "position_max_pct_total_assets"])
def test_a_share_of_aum_caps_a_position(name: str) -> None:
    task = problem([pool("best", apy=9.0), pool("next", apy=5.0)], {"USDC": 1_000.0}, **{name: 0.3})
    plan = solved(task)
    assert positions_usd(plan) == pytest.approx({"best": 300.0, "next": 300.0}, abs=CENT)
    (first, _) = plan.explanation["binding"]
    assert (first["limit"], first["pool_id"]) == (name, "best")
    assert first["usd_per_usd"] == pytest.approx(0.09, abs=1e-6)


def test_profit_optimization_lifts_the_shares_of_aum_but_not_the_pools_size() -> None:
    limits = {"max_alloc_percentage": 0.1, "position_max_pct_total_assets": 0.1, "min_pools": 5}
    pools = [pool("best", apy=9.0, tvl_usd=10_000.0), pool("next", apy=5.0)]
    task = problem(
        pools, {"USDC": 1_000.0}, profit_optimization=True, tvl_limit_percentage=0.08, **limits
    )
    assert positions_usd(solved(task)) == pytest.approx({"best": 800.0, "next": 200.0}, abs=CENT)


def test_a_share_of_tvl_caps_a_position() -> None:
    pools = [pool("best", apy=9.0, tvl_usd=5_000.0), pool("next", apy=5.0)]
    plan = solved(problem(pools, {"USDC": 1_000.0}, tvl_limit_percentage=0.05))
    assert _position(plan, "best") == pytest.approx(250.0, abs=CENT)
    assert plan.explanation["binding"][0]["limit"] == "tvl_limit_percentage"


@pytest.mark.parametrize(("includes_us", "others"), [(True, 900.0), (False, 1_000.0)])
def test_our_share_of_a_pool_counts_our_own_money(*, includes_us: bool, others: float) -> None:
    """At most a tenth of the pool with us in it: a ninth of what others have there."""
    task = problem(
        [pool("small", apy=9.0, tvl_usd=1_000.0), pool("next", apy=5.0)],
        {"USDC": 1_000.0},
        {("small", "USDC"): 100.0},
        position_max_pct_pool_tvl=0.1,
        cap_tolerance=0.0,
        tvl_includes_position=includes_us,
    )
    plan = solved(task)
    ours = _position(plan, "small")
    assert ours == pytest.approx(others / 9.0, abs=CENT)
    assert ours / (others + ours) == pytest.approx(0.1, abs=1e-4)


def test_caps_hold_for_the_whole_position_not_for_the_deposit() -> None:
    task = problem(
        [pool("best", apy=9.0), pool("next", apy=5.0)],
        {"USDC": 800.0},
        {("best", "USDC"): 200.0},
        max_alloc_percentage=0.5,
    )
    assert _position(solved(task), "best") == pytest.approx(500.0, abs=CENT)


# --- the band above a cap ---


@pytest.mark.parametrize(
    ("held", "left"),
    [
        (250.0, 250.0),
        (270.0, 270.0),  # 8 % above the cap: may stay, may not grow
        (275.0, 275.0),
        (280.0, 250.0),  # 12 % above: trimmed to the cap
        (900.0, 250.0),
    ],
)
def test_a_position_in_the_band_stays_and_above_it_is_trimmed(held: float, left: float) -> None:
    task = problem(
        [pool("best", apy=9.0)],
        {"USDC": 1_000.0 - held},
        {("best", "USDC"): held},
        max_alloc_percentage=0.25,
    )
    assert _position(solved(task), "best") == pytest.approx(left, abs=CENT)


def test_without_tolerance_any_excess_is_trimmed() -> None:
    task = problem(
        [pool("best", apy=9.0)],
        {"USDC": 740.0},
        {("best", "USDC"): 260.0},
        max_alloc_percentage=0.25,
        cap_tolerance=0.0,
    )
    assert _position(solved(task), "best") == pytest.approx(250.0, abs=CENT)


def test_a_drifted_position_is_not_rebalanced_to_the_pools_shares() -> None:
    """Prices moved the legs to 60 : 40; that alone is no reason to trade."""
    task = problem(
        [pool("pair", "DAI", "USDC", apy=5.0)],
        {},
        {("pair", "DAI"): 600.0, ("pair", "USDC"): 400.0},
        gas=GasCosts(1.0, 1.0, 1.0),
    )
    assert solved(task).n_moves == 0


def test_a_withdrawal_returns_the_legs_as_they_are_and_a_deposit_brings_the_shares() -> None:
    task = problem(
        [pool("old", "DAI", "USDC", apy=1.0), pool("new", "DAI", "USDC", apy=9.0)],
        {},
        {("old", "DAI"): 600.0, ("old", "USDC"): 400.0},
        max_alloc_percentage=0.5,
    )
    plan = solved(task)
    withdrawn = {s.token: s.amount for s in moves(plan, TransactionType.WITHDRAWAL)}
    deposited = {s.token: s.amount for s in moves(plan, TransactionType.ALLOCATION)}
    assert withdrawn == pytest.approx({"DAI": 300.0, "USDC": 200.0}, abs=CENT)
    assert deposited == pytest.approx({"DAI": 250.0, "USDC": 250.0}, abs=CENT)
    assert sum(s.amount for s in moves(plan, TransactionType.CONVERSION)) == pytest.approx(50.0)


# --- groups ---


def test_a_group_cap_holds_for_new_held_and_frozen_positions_together() -> None:
    task = problem(
        [
            pool("new", apy=9.0, risk_group=2),
            pool("held", apy=8.0, risk_group=2),
            pool("stuck", apy=7.0, risk_group=2, state=PoolState.FROZEN),
            pool("calm", apy=1.0, risk_group=1),
        ],
        {"USDC": 600.0},
        {("held", "USDC"): 150.0, ("stuck", "USDC"): 250.0},
        group2_max_pct=0.5,
    )
    plan = solved(task)
    held = positions_usd(plan)
    assert held["stuck"] == 250.0
    assert held["new"] == pytest.approx(250.0, abs=CENT)
    assert "held" not in held  # the better pool takes its place
    assert held["calm"] == pytest.approx(500.0, abs=CENT)
    binding = {row["limit"]: row["usd_per_usd"] for row in plan.explanation["binding"]}
    assert binding["group2_max_pct"] == pytest.approx(0.08, abs=1e-6)


def test_what_leaves_does_not_count_in_its_group() -> None:
    task = problem(
        [pool("new", apy=9.0, risk_group=3), pool("bad", risk_group=3, state=PoolState.EXIT)],
        {"USDC": 600.0},
        {("bad", "USDC"): 400.0},
        group3_max_pct=0.3,
    )
    assert positions_usd(solved(task)) == pytest.approx({"new": 300.0}, abs=CENT)


def test_a_group_in_its_band_may_stay_but_not_grow() -> None:
    pools = [pool("a", apy=9.0, risk_group=1), pool("b", apy=8.0, risk_group=1)]
    held = {("a", "USDC"): 320.0, ("b", "USDC"): 55.0}
    plan = solved(problem(pools, {"USDC": 625.0}, held, group1_max_pct=0.35))
    assert sum(positions_usd(plan).values()) == pytest.approx(375.0, abs=CENT)
    held["b", "USDC"] = 75.0  # 395 is more than a tenth above 350
    plan = solved(problem(pools, {"USDC": 605.0}, held, group1_max_pct=0.35))
    assert sum(positions_usd(plan).values()) == pytest.approx(350.0, abs=CENT)


def test_a_frozen_position_above_its_group_cap_only_keeps_others_out() -> None:
    task = problem(
        [pool("new", apy=9.0, risk_group=1), pool("stuck", risk_group=1, state=PoolState.FROZEN)],
        {"USDC": 500.0},
        {("stuck", "USDC"): 500.0},
        group1_max_pct=0.2,
    )
    assert positions_usd(solved(task)) == {"stuck": 500.0}


# --- how many and how small ---


def test_dust_does_not_count_as_a_pool() -> None:
    pools = [pool("best", apy=9.0), pool("next", apy=5.0), pool("third", apy=1.0)]
    task = problem(pools, {"USDC": 1_000.0}, min_pools=3, min_pool_share=0.1)
    held = positions_usd(solved(task))
    assert held == pytest.approx({"best": 800.0, "next": 100.0, "third": 100.0}, abs=CENT)


def test_a_frozen_pool_of_real_size_counts() -> None:
    pools = [pool("best", apy=9.0), pool("next"), pool("stuck", state=PoolState.FROZEN)]
    task = problem(
        pools, {"USDC": 500.0}, {("stuck", "USDC"): 500.0}, min_pools=2, min_pool_share=0.1
    )
    assert set(positions_usd(solved(task))) == {"best", "stuck"}


def test_a_pool_that_drifted_a_little_below_real_size_still_counts() -> None:
    pools = [pool("best", apy=9.0), pool("next", apy=1.0)]
    task = problem(
        pools,
        {},
        {("best", "USDC"): 905.0, ("next", "USDC"): 95.0},
        min_pools=2,
        min_pool_share=0.1,
        gas=GasCosts(1.0, 1.0, 1.0),
    )
    assert solved(task).n_moves == 0


def test_profit_optimization_is_content_with_one_pool() -> None:
    task = problem(
        [pool("best", apy=9.0), pool("next", apy=5.0)],
        {"USDC": 1_000.0},
        min_pools=2,
        profit_optimization=True,
    )
    assert set(positions_usd(solved(task))) == {"best"}


def test_a_new_position_has_its_smallest_size_or_is_not_there() -> None:
    pools = [pool("best", apy=9.0, tvl_usd=1_000.0), pool("next", apy=5.0)]
    capped = {"tvl_limit_percentage": 0.04}  # 40 USD of room
    assert set(positions_usd(solved(problem(pools, {"USDC": 1e3}, **capped)))) == {"best", "next"}
    task = problem(pools, {"USDC": 1_000.0}, min_position_usd=50.0, **capped)
    assert set(positions_usd(solved(task))) == {"next"}


def test_what_is_left_of_a_held_position_is_not_below_its_smallest_size() -> None:
    # 960 of 1,000 fit into the better pool; 40 would stay: 50 stay instead
    pools = [pool("best", apy=9.0, tvl_usd=960.0), pool("old", apy=3.0)]
    task = problem(
        pools,
        {},
        {("old", "USDC"): 1_000.0},
        min_position_usd=50.0,
        position_max_pct_pool_tvl=0.5,
    )
    assert positions_usd(solved(task)) == pytest.approx({"best": 950.0, "old": 50.0}, abs=CENT)


def test_a_held_position_below_the_smallest_size_may_stay() -> None:
    task = problem(
        [pool("old", apy=1.0)],
        {"USDC": 970.0},
        {("old", "USDC"): 30.0},
        min_position_usd=50.0,
        max_alloc_percentage=0.03,
        gas=GasCosts(1.0, 1.0, 1.0),
    )
    assert solved(task).n_moves == 0


# --- the smallest transaction ---


@pytest.mark.parametrize(("shares", "least"), [((0.5, 0.5), 200.0), ((0.2, 0.8), 500.0)])
def test_the_smallest_deposit_counts_for_each_leg(
    shares: tuple[float, float], least: float
) -> None:
    def invested(at_hand: float) -> float:
        legs = pool("pair", "DAI", "USDC", token_shares=shares)
        wallet = {"DAI": at_hand * shares[0], "USDC": at_hand * shares[1]}
        return _position(solved(problem([legs], wallet, min_transaction_value=100.0)), "pair")

    assert invested(least + 1.0) == pytest.approx(least + 1.0, abs=CENT)
    assert invested(least - 1.0) == 0.0


def test_a_conversion_is_not_below_the_smallest_transaction() -> None:
    def sold(at_hand: float) -> list[float]:
        wallet = {"DAI": at_hand, "USDC": 1_000.0}
        plan = solved(problem([pool("usdc")], wallet, min_transaction_value=100.0))
        return [step.amount for step in moves(plan, TransactionType.CONVERSION)]

    assert sold(101.0) == pytest.approx([101.0], abs=CENT)
    assert sold(99.0) == []


def test_a_full_exit_may_be_below_the_smallest_transaction() -> None:
    pools = [pool("best", apy=9.0), pool("old", apy=1.0)]
    task = problem(pools, {"USDC": 1_000.0}, {("old", "USDC"): 30.0}, min_transaction_value=100.0)
    assert positions_usd(solved(task)) == pytest.approx({"best": 1_030.0}, abs=CENT)


def test_a_partial_withdrawal_is_not_below_the_smallest_transaction() -> None:
    # "best" has room for 60 USD: they are not taken out of "old", nor is more than fits
    pools = [pool("best", apy=9.0, tvl_usd=60.0), pool("old", apy=5.0)]
    held = {("old", "USDC"): 1_000.0}
    limits = {"min_transaction_value": 50.0, "position_max_pct_pool_tvl": 0.5}
    assert _position(solved(problem(pools, {}, held, **limits)), "best") == pytest.approx(60.0)
    limits["min_transaction_value"] = 61.0
    assert solved(problem(pools, {}, held, **limits)).n_moves == 0


# --- states ---


def test_a_pool_that_fails_a_filter_may_be_kept_or_reduced_but_not_bought() -> None:
    closed = pool("closed", apy=9.0, state=PoolState.WITHDRAW_ONLY)
    held = {("closed", "USDC"): 500.0}
    kept = solved(problem([closed, pool("open", apy=5.0)], {"USDC": 500.0}, held))
    assert positions_usd(kept) == pytest.approx({"closed": 500.0, "open": 500.0}, abs=CENT)
    reduced = solved(problem([closed, pool("open", apy=12.0)], {"USDC": 500.0}, held))
    assert positions_usd(reduced) == pytest.approx({"open": 1_000.0}, abs=CENT)


def test_a_pool_that_must_be_left_is_left_whatever_it_pays() -> None:
    leave = pool("leave", "DAI", "USDC", apy=90.0, state=PoolState.EXIT)
    held = {("leave", "DAI"): 60.0, ("leave", "USDC"): 40.0, ("leave", "USDT"): 7.0}
    plan = solved(
        problem([leave], {"USDC": 10.0}, held, gas=GasCosts(1, 1, 1), min_transaction_value=50.0)
    )
    assert positions_usd(plan) == {}
    assert {step.token: step.amount for step in moves(plan)} == {
        "DAI": 60.0,
        "USDC": 40.0,
        "USDT": 7.0,
    }
    assert plan.settlement.gas_usd == pytest.approx(3.0)


def test_a_frozen_pool_does_not_move_and_its_yield_is_not_counted_on() -> None:
    frozen = pool("stuck", apy=float("nan"), tvl_usd=float("nan"), state=PoolState.FROZEN)
    plan = solved(problem([frozen, pool("open")], {"USDC": 500.0}, {("stuck", "USDC"): 500.0}))
    assert positions_usd(plan) == pytest.approx({"open": 500.0, "stuck": 500.0}, abs=CENT)
    assert plan.expected.yield_usd == pytest.approx(25.0, abs=CENT)


def test_a_frozen_position_counts_in_aum() -> None:
    frozen = pool("stuck", state=PoolState.FROZEN)
    task = problem(
        [frozen, pool("open")],
        {"USDC": 500.0},
        {("stuck", "USDC"): 500.0},
        max_alloc_percentage=0.4,
    )
    assert _position(solved(task), "open") == pytest.approx(400.0, abs=CENT)


def test_a_leg_that_its_pool_does_not_contain_earns_nothing_and_is_rescued() -> None:
    held = {("old", "USDC"): 500.0, ("old", "DAI"): 500.0}
    task = problem([pool("old", apy=5.0)], {"USDC": 10.0}, held, gas=GasCosts(1.0, 1.0, 1.0))
    plan = solved(task)
    (out,) = moves(plan, TransactionType.WITHDRAWAL)
    assert (out.token, out.amount) == ("DAI", 500.0)
    assert _position(plan, "old") == pytest.approx(1_007.0, abs=CENT)


def test_a_stranded_leg_that_is_not_worth_its_gas_stays() -> None:
    held = {("old", "USDC"): 500.0, ("old", "DAI"): 20.0}
    task = problem([pool("old", apy=5.0)], {}, held, gas=GasCosts(1.0, 1.0, 1.0))
    plan = solved(task)
    assert plan.n_moves == 0
    assert plan.expected.yield_usd == pytest.approx(25.0, abs=CENT)


# --- gas ---


def test_gas_is_paid_out_of_what_is_withdrawn_when_the_wallet_is_empty() -> None:
    pools = [pool("best", apy=9.0), pool("old", apy=1.0)]
    plan = solved(problem(pools, {}, {("old", "USDC"): 1_000.0}, gas=GasCosts(3.0, 2.0, 1.0)))
    assert positions_usd(plan) == pytest.approx({"best": 995.0}, abs=CENT)
    assert plan.settlement.gas_usd == pytest.approx(5.0)
    assert plan.settlement.after.wallet_usd(plan.settlement.prices_usd) < CENT


def test_gas_can_be_paid_in_any_token_at_hand() -> None:
    task = problem([pool("usdc")], {"USDC": 1_000.0, "DAI": 4.0}, gas=GasCosts(3.0, 2.0, 1.0))
    plan = solved(task)
    assert _position(plan, "usdc") == pytest.approx(1_000.0, abs=CENT)
    assert plan.settlement.after.wallet["DAI"] == pytest.approx(1.0, abs=CENT)


@pytest.mark.parametrize(("per_leg", "gas_usd"), [(True, 6.0), (False, 2.0)])
def test_gas_is_paid_for_each_leg_or_for_the_pool(*, per_leg: bool, gas_usd: float) -> None:
    task = problem(
        [pool("three", "DAI", "USDC", "USDT")],
        {"DAI": 100.0, "USDC": 100.0, "USDT": 110.0},
        gas=GasCosts(2.0, 2.0, 2.0),
        gas_per_leg=per_leg,
    )
    plan = solved(task)
    assert len(moves(plan, TransactionType.ALLOCATION)) == 3
    assert plan.settlement.gas_usd == pytest.approx(gas_usd)


def test_a_pool_may_have_its_own_gas() -> None:
    near = pool("near", apy=5.0, gas=GasCosts(0.1, 0.1, 0.0))
    far = pool("far", apy=5.1)
    task = problem([near, far], {"USDC": 1_000.0}, gas=GasCosts(20.0, 20.0, 0.0))
    plan = solved(task)
    assert set(positions_usd(plan)) == {"near"}
    assert plan.settlement.gas_usd == pytest.approx(0.1)


def test_a_move_that_costs_more_than_it_brings_is_not_made() -> None:
    pools = [pool("better", apy=5.5), pool("old", apy=5.0)]
    held = {("old", "USDC"): 1_000.0}
    cheap = problem(pools, {"USDC": 10.0}, held, gas=GasCosts(2.0, 2.0, 0.0))
    dear = problem(pools, {"USDC": 10.0}, held, gas=GasCosts(3.0, 3.0, 0.0))
    assert set(positions_usd(solved(cheap))) == {"better"}
    assert set(positions_usd(solved(dear))) == {"old"}


def test_a_conversion_happens_only_when_it_is_worthwhile() -> None:
    pools = [pool("dai", "DAI", apy=5.0), pool("usdc", "USDC", apy=6.0)]
    worthwhile = solved(problem(pools, {"DAI": 1_000.0}, conversion_rate=0.009))
    assert set(positions_usd(worthwhile)) == {"usdc"}
    assert worthwhile.settlement.conversion_usd == pytest.approx(9.0, abs=CENT)
    not_worthwhile = solved(problem(pools, {"DAI": 1_000.0}, conversion_rate=0.011))
    assert set(positions_usd(not_worthwhile)) == {"dai"}
    assert moves(not_worthwhile, TransactionType.CONVERSION) == []


# --- cash ---


def test_cash_may_be_idle_when_nothing_pays() -> None:
    plan = solved(problem([pool("loss", apy=-1.0)], {"USDC": 1_000.0}))
    assert plan.n_moves == 0
    assert plan.certificate.objective_usd == pytest.approx(0.0, abs=1e-6)


def test_a_share_that_must_be_invested_is() -> None:
    task = problem([pool("loss", apy=-1.0)], {"USDC": 1_000.0}, min_invested_pct=0.6)
    plan = solved(task)
    assert positions_usd(plan) == pytest.approx({"loss": 600.0}, abs=CENT)
    (binding,) = plan.explanation["binding"]
    assert binding["limit"] == "min_invested_pct"


def test_cash_that_earns_competes_with_pools() -> None:
    task = problem([pool("usdc", apy=5.0)], {"USDC": 1_000.0}, cash_apy=0.051)
    plan = solved(task)
    assert plan.n_moves == 0
    assert plan.certificate.objective_usd == pytest.approx(51.0, abs=CENT)
    task = problem([pool("usdc", apy=5.0)], {"USDC": 1_000.0}, cash_apy=0.049)
    assert set(positions_usd(solved(task))) == {"usdc"}
