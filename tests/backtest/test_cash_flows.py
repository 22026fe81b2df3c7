"""The owner's deposits and withdrawals: paid as far as can be, never lost, never a return."""

from __future__ import annotations

import json
from datetime import date

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stableyield.backtest import BacktestSettings, CashFlow, GasPricing, run_backtest, run_policies
from stableyield.backtest.benchmarks import BestSingle, EqualWeight, Idle
from stableyield.backtest.cash_flows import flows_by_day, raise_cash, read_cash_flows, serve
from stableyield.domain.costs import GasCosts
from stableyield.domain.portfolio import Book
from stableyield.errors import (
    ContractError,
    DayOutOfRangeError,
    InputError,
    MissingDataError,
)
from support.markets import NO_GAS, day, hand_made, lax, observed, pool, prepared, synthetic_panel

POOLS = (pool("a"), pool("b", "DAI"), pool("c", "DAI", "USDC"))
GAS = GasPricing(fixed=GasCosts(allocation=4.0, withdrawal=3.0, conversion=2.0))


def calm(n_days=12, **arrays):
    return hand_made(POOLS, n_days, {"tvl_usd": 1e9, **arrays})


def run(panel=None, *, flows=(), policy=None, **changes):
    names = ("start", "end", "aum_usd", "token", "mode", "gas")
    known = {name: changes.pop(name) for name in names if name in changes}
    return run_backtest(
        panel or calm(),
        cash_flows=flows,
        policy=policy,
        with_benchmarks=False,
        parameters=lax(**changes),
        **{"start": day(3), "gas": NO_GAS, **known},
    )


def flags_by_day(result) -> list[list[str]]:
    return [json.loads(text) for text in result.daily_log["flags"]]


def assert_conserved(result) -> None:
    log = result.daily_log
    for left, right in (
        (log["aum_start"].iloc[1:], (log["aum_end"].shift() + log["flow_usd"]).iloc[1:]),
        (log["aum_after"], log["aum_start"] - log["total_fees_usd"]),
        (log["aum_end"], log["aum_after"] + log["yield_usd"] + log["price_usd"]),
    ):
        np.testing.assert_allclose(left, right, rtol=0.0, atol=0.01)


# --- deposits ---


def test_a_deposit_is_in_the_book_before_the_day_s_decision():
    result = run(flows=[CashFlow(day(5), "USDC", 2e5)], policy=Idle())
    log = result.daily_log
    assert log["flow_usd"].tolist() == [0.0, 0.0, 2e5, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert log["aum_start"].tolist() == [1e6] * 2 + [1.2e6] * 6


def test_a_deposit_is_invested_like_other_money():
    result = run(flows=[CashFlow(day(5), "USDC", 2e5)])
    in_pools = result.positions[result.positions["pool_id"] != "warm_wallet"]
    by_day = in_pools.groupby("exec_date")["amount_usd"].sum()
    assert by_day[day(4).isoformat()] < 1.01e6
    assert by_day[day(5).isoformat()] > 1.19e6


def test_a_deposit_is_no_return():
    flat = run(policy=Idle()).daily_log
    log = run(flows=[CashFlow(day(5), "USDC", 2e5)], policy=Idle()).daily_log
    assert log["growth_factor"].tolist() == flat["growth_factor"].tolist() == [1.0] * 8
    assert log["realised_apy_pct"].eq(0.0).all()
    assert log["daily_actual_pnl"].eq(0.0).all()


def test_the_growth_of_a_day_is_that_of_the_money_that_was_there():
    flows = [CashFlow(day(4), "USDC", 5e5), CashFlow(day(7), "USDC", -9e5)]
    with_flows = run(flows=flows, own_impact="none", policy=BestSingle()).daily_log
    without = run(own_impact="none", policy=BestSingle()).daily_log
    # half of the money is in the pool on one of them: what matters is that flows are no growth
    assert with_flows["growth_factor"].between(1.0, 1.0002).all()
    np.testing.assert_allclose(
        with_flows["growth_factor"], with_flows["aum_end"] / with_flows["aum_start"]
    )
    assert without["flow_usd"].eq(0.0).all()


def test_a_deposit_counts_at_its_token_s_price_of_the_day():
    close = np.column_stack([np.full(12, 0.97), np.ones(12)])
    panel = hand_made(POOLS, 12, {"tvl_usd": 1e9}, {"close_usd": close})
    log = run(panel, flows=[CashFlow(day(4), "DAI", 1000.0)], policy=Idle()).daily_log
    assert log["flow_usd"].iloc[1] == pytest.approx(970.0)


def test_a_token_without_a_price_cannot_be_deposited():
    with pytest.raises(MissingDataError, match="owned token XYZ has no price"):
        run(flows=[CashFlow(day(4), "XYZ", 1.0)], policy=Idle())


# --- withdrawals ---


def test_a_withdrawal_is_paid_from_the_wallet_where_it_can_be():
    result = run(flows=[CashFlow(day(5), "USDC", -4e5)], policy=Idle())
    assert result.daily_log["aum_start"].tolist() == [1e6] * 2 + [6e5] * 6
    assert result.transactions.empty
    assert flags_by_day(result) == [[]] * 8


@pytest.mark.parametrize("policy", [None, BestSingle, EqualWeight])
def test_what_the_wallet_lacks_is_withdrawn_from_positions_on_the_day(policy):
    flows = [CashFlow(day(5), "USDC", -6e5)]
    result = run(flows=flows, policy=policy and policy(), gas=GAS)
    log = result.daily_log
    assert log["flow_usd"].iloc[2] == pytest.approx(-6e5)
    assert flags_by_day(result)[2] == []
    steps = result.transactions[result.transactions["exec_date"] == day(5).isoformat()]
    assert steps["type"].iloc[0] == "WITHDRAWAL"
    assert log["gas_usd"].iloc[2] >= 3.0
    assert steps["seq"].is_monotonic_increasing
    assert steps["gas_cost_usd"].sum() == pytest.approx(log["gas_usd"].iloc[2])
    assert_conserved(result)


def test_another_token_is_converted_at_the_usual_fee():
    result = run(
        flows=[CashFlow(day(5), "DAI", -1e5)], policy=Idle(), conversion_rate=0.001, gas=GAS
    )
    (step,) = result.transactions.to_dict("records")
    assert (step["type"], step["token"], step["to_token"]) == ("CONVERSION", "USDC", "DAI")
    log = result.daily_log
    assert log["flow_usd"].iloc[2] == pytest.approx(-1e5)
    assert log["total_fees_usd"].iloc[2] == pytest.approx(2.0 + 100.1, abs=0.2)
    assert_conserved(result)


def frozen_on(*days, n_days=12):
    """Pool a has no row on those days: what is in it cannot be moved."""
    apy = np.full((n_days, 1), 5.0)
    apy[list(days)] = np.nan
    known = pool("other", "USDT")
    arrays = {"apy_pct": np.hstack([apy, np.full((n_days, 1), 0.0)]), "tvl_usd": 1e9}
    arrays["tvl_usd"] = np.where(np.isnan(arrays["apy_pct"]), np.nan, 1e9)
    return hand_made([pool("a"), known], n_days, arrays)


def test_what_cannot_be_moved_is_owed_flagged_and_paid_when_it_can_be():
    panel = frozen_on(5, 6)
    result = run(panel, flows=[CashFlow(day(5), "USDC", -4e5)], policy=BestSingle())
    log, flags = result.daily_log, flags_by_day(result)
    assert log["flow_usd"].iloc[2:5].tolist() == pytest.approx([0.0, 0.0, -4e5], abs=0.1)
    assert any(flag.startswith("owed to the owner: 399999.99") for flag in flags[2])
    assert any(flag.startswith("owed to the owner: 399999.99") for flag in flags[3])
    assert not any("owed" in flag for flag in flags[4])
    assert_conserved(result)


def test_debts_of_several_days_add_up():
    panel = frozen_on(5, 6)
    flows = [CashFlow(day(5), "USDC", -1e5), CashFlow(day(6), "USDC", -2e5)]
    result = run(panel, flows=flows, policy=BestSingle())
    (owed,) = [flag for flag in flags_by_day(result)[3] if "owed" in flag]
    assert owed.startswith("owed to the owner: 299999.99")
    assert result.daily_log["flow_usd"].iloc[4] == pytest.approx(-3e5)


def test_a_deposit_pays_what_is_owed_first():
    panel = frozen_on(5, 6, 7)
    flows = [CashFlow(day(5), "USDC", -1e5), CashFlow(day(6), "USDC", 1.5e5)]
    result = run(panel, flows=flows, policy=BestSingle())
    assert result.daily_log["flow_usd"].iloc[2:5].tolist() == pytest.approx(
        [0.0, 5e4, 0.0], abs=0.1
    )
    assert not any("owed" in flag for flag in flags_by_day(result)[3])


def test_nothing_is_sold_for_a_withdrawal_on_a_day_whose_data_cannot_be_trusted():
    apy = np.tile([5.0, 4.0, 3.0], (12, 1))
    apy[5, 1:] = np.nan
    arrays = {"apy_pct": apy, "tvl_usd": np.where(np.isnan(apy), np.nan, 1e9)}
    panel = hand_made([pool("a"), pool("b"), pool("c")], 12, arrays)
    result = run(panel, flows=[CashFlow(day(5), "USDC", -4e5)], policy=BestSingle())
    log = result.daily_log
    assert log["solver_status"].iloc[2] == "data_quality"
    assert log["turnover_usd"].iloc[2] == 0.0
    assert log["flow_usd"].iloc[2:4].tolist() == pytest.approx([0.0, -4e5], abs=0.1)


def test_a_token_that_no_pool_takes_is_owed():
    panel = hand_made([pool("a")], 12, {"tvl_usd": 1e9})
    result = run(panel, flows=[CashFlow(day(5), "WETH", -1.0)], policy=Idle())
    assert all("owed to the owner: 1.0 WETH" in flags for flags in flags_by_day(result)[2:])
    assert result.daily_log["flow_usd"].eq(0.0).all()


def test_more_than_there_is_empties_the_book_and_stops_the_run():
    with pytest.raises(InputError, match="empty"):
        run(flows=[CashFlow(day(5), "USDC", -2e6)], policy=Idle())


def test_flows_work_where_only_the_aum_carries_over():
    flows = [CashFlow(day(5), "USDC", 2e5), CashFlow(day(7), "DAI", -3e5)]
    result = run(flows=flows, mode="compounded", gas=GAS)
    assert result.daily_log["flow_usd"].iloc[[2, 4]].tolist() == pytest.approx([2e5, -3e5], abs=1)
    assert_conserved(result)


def test_flows_need_an_aum_that_carries_over():
    with pytest.raises(InputError, match="cash flows need an AUM that carries over"):
        BacktestSettings(mode="independent", cash_flows=(CashFlow(day(5), "USDC", 1.0),))


@pytest.mark.parametrize("n", [2, 9])
def test_a_flow_outside_the_run_is_refused(n):
    with pytest.raises(DayOutOfRangeError, match="is outside the run"):
        run(flows=[CashFlow(day(n), "USDC", 1.0)], end=day(8), policy=Idle())


def test_each_policy_pays_from_its_own_book():
    flows = (CashFlow(day(40), "USDC", -1.5e5),)
    settings = BacktestSettings(start=day(35), end=day(45), aum_usd=2e5, cash_flows=flows)
    results = run_policies(synthetic_panel(), settings, [Idle(), EqualWeight(), BestSingle()])
    for name, result in results.items():
        paid = -result.daily_log["flow_usd"].sum()
        assert paid == pytest.approx(1.5e5, rel=0.01), name
        assert_conserved(result)
    assert results["idle"].transactions.empty
    assert not results["equal_weight"].transactions.empty
    beside = results["equal_weight"].benchmarks
    assert beside.loc[beside["policy"] == "idle", "flow_usd"].sum() == pytest.approx(
        results["idle"].daily_log["flow_usd"].sum()
    )


# --- what must always hold ---

AMOUNTS = st.floats(-6e4, 6e4).filter(lambda x: abs(x) > 1.0)


@given(
    flows=st.lists(
        st.builds(
            CashFlow,
            st.integers(35, 44).map(day),
            st.sampled_from(["USDC", "USDT", "DAI"]),
            AMOUNTS,
        ),
        max_size=6,
    ),
    policy=st.sampled_from([Idle, EqualWeight, BestSingle]),
    gas_usd=st.sampled_from([0.0, 2.0, 60.0]),
)
# the last cents of a withdrawal that cost more gas to get than they are worth
@example(flows=[CashFlow(day(36), "USDC", -301.0)], policy=BestSingle, gas_usd=60.0)
@example(
    flows=[CashFlow(day(37), "USDC", -301.0), CashFlow(day(37), "DAI", -378.0)],
    policy=BestSingle,
    gas_usd=60.0,
)
@settings(max_examples=40, deadline=None)
def test_whatever_the_owner_does_every_cent_is_found_again(flows, policy, gas_usd):
    result = run_backtest(
        synthetic_panel(),
        policy=policy(),
        with_benchmarks=False,
        start=day(35),
        end=day(45),
        aum_usd=1e6,
        cash_flows=tuple(flows),
        gas=GasPricing(fixed=GasCosts(gas_usd, gas_usd, gas_usd)),
    )
    log = result.daily_log
    assert_conserved(result)
    prices = {n: synthetic_panel().as_of(day(n)).prices_usd for n in range(35, 46)}
    asked = sum(f.amount * prices[(f.day - day(0)).days][f.token] for f in flows)
    owed = any("owed" in flag for flag in flags_by_day(result)[-1])
    assert owed or log["flow_usd"].sum() == pytest.approx(asked, rel=0.05, abs=60.0 * len(flows))
    for text in log["allocations_by_pool"]:
        assert min(json.loads(text).values()) >= 0.0


@given(
    seed=st.integers(0, 2**16), share=st.floats(0.01, 1.5), token=st.sampled_from(["USDC", "DAI"])
)
@settings(max_examples=60, deadline=None)
def test_cash_is_raised_as_far_as_the_book_goes(seed, share, token):
    rng = np.random.default_rng(seed)
    keys = [("a", "USDC"), ("b", "DAI"), ("c", "DAI"), ("c", "USDC")]
    amounts = rng.exponential(1e4, 4) * (rng.random(4) < 0.7)
    book = Book(
        {"USDC": float(rng.exponential(1e3)), "DAI": float(rng.exponential(10.0))},
        {key: float(amount) for key, amount in zip(keys, amounts, strict=True)},
    )
    inputs = observed(calm(), day(8), lax(), gas=GAS)
    worth = book.aum_usd(inputs.view.prices_usd)
    served = serve(inputs, book, {token: share * worth}, ())
    paid = -served.flow_usd
    costs = served.raised.costs_usd if served.raised else 0.0
    assert worth - paid - costs == pytest.approx(
        served.book.aum_usd(inputs.view.prices_usd), abs=1e-6
    )
    if share * worth < 0.9 * worth - 100.0:
        assert served.owed == {}
        assert paid == pytest.approx(share * worth)
    assert paid + sum(served.owed.values()) == pytest.approx(share * worth, abs=0.001)


def test_only_what_is_needed_is_withdrawn():
    book = Book({"USDC": 100.0}, {("a", "USDC"): 5e4, ("b", "DAI"): 8e4})
    ready, _ = prepared(calm(), day(8), book, lax(), gas=GAS)
    money = raise_cash(ready.problem, {"USDC": 1e4})
    assert money is not None
    (leg,) = [step for step in money.transactions if step.type != "HOLD"]
    assert (leg.from_location, leg.token) == ("a", "USDC")
    assert leg.amount == pytest.approx(9900.0 + 3.0, abs=0.1)


def test_where_nothing_is_owed_nothing_is_raised():
    ready, _ = prepared(calm(), day(8), Book({"USDC": 100.0}), lax())
    assert raise_cash(ready.problem, {"USDC": 100.0}) is None
    assert raise_cash(ready.problem, {}) is None
    assert raise_cash(ready.problem, {"USDC": 200.0}) is None  # there is nothing to raise it from


# --- as a file ---


def test_flows_are_read_from_a_file(tmp_path):
    path = tmp_path / "flows.csv"
    path.write_text("token,day,amount\nUSDC,2024-01-05,1000\nDAI, 2024-01-04 ,-2.5\n")
    assert read_cash_flows(path) == (
        CashFlow(date(2024, 1, 5), "USDC", 1000.0),
        CashFlow(date(2024, 1, 4), "DAI", -2.5),
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("day,token\n2024-01-05,USDC\n", "the columns are day, token"),
        ("", "the columns are absent"),
        ("day,token,amount\n2024-01-05,USDC,much\n", "row 2: .*could not convert"),
        ("day,token,amount\n2024-01-05,USDC,1\n05.01.2024,USDC,1\n", "row 3: "),
        ("day,token,amount\n2024-01-05,USDC,0\n", "row 2: the cash flow of USDC is 0"),
        ("day,token,amount\n2024-01-05,USDC,inf\n", "row 2: the cash flow of USDC is inf"),
        ("day,token,amount\n2024-01-05,,1\n", "row 2: it has no token"),
        ("day,token,amount\n2024-01-05,USDC,1,2\n", "row 2: it has no token, or a field too many"),
        ("day,token,amount\n2024-01-05,USDC\n", "row 2: "),
    ],
)
def test_a_bad_file_of_flows_names_its_row(tmp_path, text, reason):
    path = tmp_path / "flows.csv"
    path.write_text(text)
    with pytest.raises(ContractError, match=reason):
        read_cash_flows(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.csv: cannot be read"):
        read_cash_flows(tmp_path / "nowhere.csv")


def test_flows_of_a_day_are_kept_together_deposits_first():
    flows = [CashFlow(day(2), "USDC", -1.0), CashFlow(day(1), "A", 1.0), CashFlow(day(2), "B", 2.0)]
    assert flows_by_day(flows) == {day(1): (flows[1],), day(2): (flows[2], flows[0])}
