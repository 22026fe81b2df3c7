"""The verifier is not blind: whatever is wrong with a plan, it says so."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from stableyield.allocation import (
    AllocationProblem,
    RateModel,
    checked,
    problem_document,
    solve,
    verify,
    verify_documents,
)
from stableyield.config import AllocationParameters, canonical_json
from stableyield.domain.costs import GasCosts
from stableyield.domain.pool import PoolState
from stableyield.errors import InputError, IntegrityError
from support.problems import pool, problem, random_problem, solved

Document = dict[str, Any]
Change = Callable[[Document], None]


def _task() -> AllocationProblem:
    """An exit, a trim, a conversion, a pair and a hold, under limits of every kind."""
    return problem(
        [
            pool("best", "DAI", "USDC", apy=12.0, risk_group=1),
            pool("held", apy=6.0, risk_group=2),
            pool("old", apy=1.0, risk_group=2),
            pool("other", apy=8.0, tvl_usd=40_000.0),
            pool("stuck", "DAI", state=PoolState.FROZEN),
        ],
        {"USDC": 3_000.0, "USDT": 1_500.0},
        {
            ("held", "USDC"): 2_000.0,
            ("old", "USDC"): 2_500.0,
            ("gone", "DAI"): 500.0,
            ("stuck", "DAI"): 500.0,
        },
        prices={"DAI": 1.001, "USDC": 0.999, "USDT": 0.998},
        gas=GasCosts(1.0, 2.0, 3.0),
        conversion_rate=0.001,
        max_alloc_percentage=0.5,
        group1_max_pct=0.45,
        tvl_limit_percentage=0.05,
        position_max_pct_pool_tvl=0.2,
        min_transaction_value=50.0,
        min_position_usd=50.0,
        min_pools=3,
        risk_aversion=0.5,
    )


@cache
def _right() -> tuple[str, str]:
    """Problem and plan document, as text so that nobody changes them."""
    task = _task()
    return canonical_json(problem_document(task)), canonical_json(solved(task).to_document())


def _violations(*changes: Change, of_problem: Change | None = None) -> tuple[str, ...]:
    task, plan = (json.loads(text) for text in _right())
    for change in changes:
        change(plan)
    if of_problem is not None:
        of_problem(task)
    return verify_documents(task, plan).violations


def _step(plan: Document, kind: str, place: int = 0) -> Document:
    return [step for step in plan["transactions"] if step["type"] == kind][place]


def test_the_plan_that_is_mutated_below_is_right_and_has_every_kind_of_step() -> None:
    assert _violations() == ()
    plan = json.loads(_right()[1])
    assert {step["type"] for step in plan["transactions"]} == {
        "WITHDRAWAL",
        "CONVERSION",
        "ALLOCATION",
        "HOLD",
    }


# --- changes that leave the document at odds with itself ---


def _amount(kind: str, factor: float) -> Change:
    def change(plan: Document) -> None:
        step = _step(plan, kind)
        step["amount"] *= factor
        step["amount_usd"] *= factor

    return change


def _field(kind: str, name: str, value: Any) -> Change:
    def change(plan: Document) -> None:
        _step(plan, kind)[name] = value

    return change


def _drop(kind: str) -> Change:
    def change(plan: Document) -> None:
        plan["transactions"].remove(_step(plan, kind))
        _renumber(plan)

    return change


def _renumber(plan: Document) -> None:
    for seq, step in enumerate(plan["transactions"], start=1):
        step["seq"] = seq


def _repeat(plan: Document) -> None:
    plan["transactions"].append(copy.deepcopy(_step(plan, "ALLOCATION")))
    _renumber(plan)


def _backwards(plan: Document) -> None:
    plan["transactions"].reverse()
    _renumber(plan)


def _deposits_first(plan: Document) -> None:
    plan["transactions"].sort(key=lambda step: step["type"])
    _renumber(plan)


def _number(*path: str | int, add: float = 0.0, to: Any = None) -> Change:
    def change(plan: Document) -> None:
        place: Any = plan
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to if add == 0.0 else place[path[-1]] + add

    return change


def _richer_wallet(plan: Document) -> None:
    plan["wallet"].setdefault("USDT", {"amount": 0.0, "amount_usd": 0.0})
    plan["wallet"]["USDT"]["amount"] += 10.0
    plan["wallet"]["USDT"]["amount_usd"] += 9.98


def _cheaper_gas(plan: Document) -> None:
    step = _step(plan, "WITHDRAWAL")
    step["gas_paid"] = []
    step["gas_cost_usd"] = step["total_cost_usd"] = 0.0


def _negative_gas(plan: Document) -> None:
    payment = _step(plan, "ALLOCATION")["gas_paid"][0]
    payment["amount"] *= -1.0
    payment["amount_usd"] *= -1.0


MUTATIONS: dict[str, Change] = {
    "a larger withdrawal": _amount("WITHDRAWAL", 1.01),
    "a smaller withdrawal": _amount("WITHDRAWAL", 0.99),
    "a larger conversion": _amount("CONVERSION", 1.01),
    "a larger deposit": _amount("ALLOCATION", 1.01),
    "a smaller deposit": _amount("ALLOCATION", 0.999),
    "a negative deposit": _amount("ALLOCATION", -1.0),
    "an unknown amount": _field("ALLOCATION", "amount", math.nan),
    "a larger hold": _amount("HOLD", 1.5),
    "an amount at another price": _field("WITHDRAWAL", "amount_usd", 1.0),
    "an unknown value": _field("WITHDRAWAL", "amount_usd", math.nan),
    "a better exchange rate": _field("CONVERSION", "to_amount", 5_000.0),
    "no fee": _field("CONVERSION", "conversion_cost_usd", 0.0),
    "free of cost in total": _field("ALLOCATION", "total_cost_usd", 0.0),
    "gas that is not paid": _field("ALLOCATION", "gas_paid", []),
    "gas that is not charged": _cheaper_gas,
    "gas that is received": _negative_gas,
    "no withdrawal": _drop("WITHDRAWAL"),
    "no conversion": _drop("CONVERSION"),
    "no deposit": _drop("ALLOCATION"),
    "a deposit twice": _repeat,
    "the steps backwards": _backwards,
    "deposits before withdrawals": _deposits_first,
    "a step out of sequence": _field("ALLOCATION", "seq", 99),
    "a type that does not exist": _field("HOLD", "type", "GIFT"),
    "a withdrawal to somewhere else": _field("WITHDRAWAL", "to_location", "my own pocket"),
    "a deposit from somewhere else": _field("ALLOCATION", "from_location", "old"),
    "a deposit into another pool": _field("ALLOCATION", "to_location", "other"),
    "a deposit into a frozen pool": _field("ALLOCATION", "to_location", "stuck"),
    "a deposit into a pool that left": _field("ALLOCATION", "to_location", "gone"),
    "a deposit into a pool that is being left": _field("ALLOCATION", "to_location", "old"),
    "a token without a price": _field("ALLOCATION", "token", "SHIB"),
    "a conversion into another token": _field("CONVERSION", "to_token", "SHIB"),
    "a richer wallet": _richer_wallet,
    "an emptier wallet": _number("wallet", to={}),
    "a wallet of unknown amount": lambda plan: plan["wallet"].update(
        {"USDC": {"amount": math.nan, "amount_usd": math.nan}}
    ),
    "a larger position": _number("positions", 0, "amount", add=1.0),
    "a position worth more": _number("positions", 0, "amount_usd", add=1.0),
    "a position less": lambda plan: plan["positions"].pop(),
    "more AUM before": _number("aum_before_usd", add=1.0),
    "more AUM after": _number("aum_after_usd", add=0.02),
    "unknown AUM after": _number("aum_after_usd", to=math.nan),
    "lower costs": _number("costs", "total_usd", add=-0.02),
    "lower gas": _number("costs", "gas_usd", add=-0.02),
    "gas called a fee": lambda plan: plan["costs"].update(
        gas_usd=plan["costs"]["gas_usd"] - 1.0,
        conversion_usd=plan["costs"]["conversion_usd"] + 1.0,
    ),
    # claims
    "a higher net gain": _number("expected", "net_usd", add=1.0),
    "a higher yield": _number("expected", "yield_usd", add=1.0),
    "an unknown yield": _number("expected", "net_usd", to=math.nan),
    "another horizon": _number("expected", "horizon_days", to=30.0),
    "a higher objective": _number("objective_usd", add=1.0),
    "a lower objective": _number("objective_usd", add=-1.0),
    "an unknown objective": _number("objective_usd", to=math.nan),
    "no objective": _number("objective_usd", to=None),
    "a bound below the objective": _number("bound_usd", add=-1.0),
    "an unknown bound": _number("bound_usd", to=math.nan),
    "no bound": _number("bound_usd", to=None),
    "a smaller gap": _number("gap_usd", add=-0.001),
    "moves without a plan": lambda plan: plan.update(status="infeasible", objective_usd=None),
}


@pytest.mark.parametrize("change", MUTATIONS.values(), ids=MUTATIONS.keys())
def test_a_mutated_plan_is_found_out(change: Change) -> None:
    assert _violations(change)


# --- plans that are right in themselves, under limits that they break ---


def _limit(**values: object) -> Change:
    known = set(AllocationParameters.model_fields)
    assert set(values) <= known
    return lambda task: task["parameters"].update(values)


def _pool_row(task: Document, pool_id: str) -> Document:
    return next(row for row in task["pools"] if row["pool_id"] == pool_id)


def _of_pool(pool_id: str, **values: object) -> Change:
    return lambda task: _pool_row(task, pool_id).update(values)


BROKEN: dict[str, tuple[Change, str]] = {
    "share of AUM": (_limit(max_alloc_percentage=0.2), "above its cap"),
    "share of total assets": (_limit(position_max_pct_total_assets=0.2), "above its cap"),
    "share of TVL": (_of_pool("best", forecast_tvl_usd=50_000.0), "pool best: .* above its cap"),
    "our share of a pool": (_limit(position_max_pct_pool_tvl=1e-6), "above its cap"),
    "group": (_limit(group1_max_pct=0.3), "group 1: .* above its cap"),
    "number of pools": (_limit(min_pools=9), "9 are demanded"),
    "size of pools": (_limit(min_pool_share=0.4), "pools of real size"),
    "invested": (_limit(min_invested_pct=1.0), "min_invested_pct"),
    "smallest transaction": (_limit(min_transaction_value=3_000.0), "min_transaction_value"),
    "smallest position": (_limit(min_position_usd=3_000.0), "below min_position_usd"),
    "conversion fee": (_limit(conversion_rate=0.002), "the fee is"),
    "gas per operation": (_limit(gas_per_leg=False), "gas of"),
    "horizon": (_limit(horizon_days=1.0), "expected"),
    "cautious forecast": (_of_pool("best", forecast_apy_q10_pct=1.0), "expected net_usd"),
    "a pool that is closed": (_of_pool("best", state="withdraw_only"), "withdraw_only, not open"),
    "a pool that must be left": (_of_pool("held", state="exit"), "must be left"),
    "a pool that is frozen": (_of_pool("old", state="frozen"), "frozen and moves"),
    "other tokens": (_of_pool("best", tokens=["DAI"], token_shares=[1.0]), "does not take USDC"),
    "other shares": (_of_pool("best", token_shares=[0.4, 0.6]), "not in the pool's shares"),
    "a lower rate": (_of_pool("best", forecast_apy_pct=11.0), "expected net_usd"),
    "a diluted rate": (
        _of_pool("best", rate_model="pro_rata", forecast_tvl_usd=1e6),
        "expected net_usd",
    ),
    "a dearer pool": (_of_pool("best", gas_usd={"allocation": 9.0}), "pool best: gas of"),
    "dearer conversions": (lambda task: task["gas_usd"].update(conversion=4.0), "gas of 4.0"),
    "another price": (lambda task: task["token_prices_usd"].update(USDC=1.0), "USDC is"),
    "another wallet": (lambda task: task["wallet"].update(USDC=1_000.0), "spends"),
    "another position": (
        lambda task: task["positions"][0].update(amount=1.0),
        "not what is held|spends|position",
    ),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_plan_that_breaks_a_limit_is_found_out(change: Change, message: str) -> None:
    found = _violations(of_problem=change)
    assert any(re.search(message, violation) for violation in found), found


def test_a_partial_withdrawal_below_the_smallest_transaction_is_found_out() -> None:
    task = problem(
        [pool("best", apy=9.0, tvl_usd=1_000.0), pool("old", apy=1.0)],
        {},
        {("old", "USDC"): 1_000.0},
        tvl_limit_percentage=0.06,
    )
    plan = solved(task).to_document()
    document = problem_document(task)
    document["parameters"]["min_transaction_value"] = 61.0
    found = verify_documents(document, plan).violations
    assert any("(WITHDRAWAL): 60.00 USD is below min_transaction_value" in v for v in found)


def test_a_pool_that_gives_and_gets_is_found_out() -> None:
    found = _violations(_field("ALLOCATION", "to_location", "old"))
    assert "pool old gets a deposit and a withdrawal" in found


def test_a_conversion_and_its_reverse_are_found_out() -> None:
    def back(plan: Document) -> None:
        step = copy.deepcopy(_step(plan, "CONVERSION"))
        step["from_token"], step["to_token"] = step["to_token"], step["from_token"]
        plan["transactions"].append(step)
        _renumber(plan)

    assert any("converted both ways" in violation for violation in _violations(back))


def test_a_conversion_of_a_token_into_itself_is_found_out() -> None:
    def into_itself(plan: Document) -> None:
        step = _step(plan, "CONVERSION")
        step["to_token"] = step["from_token"]

    assert any("into itself" in violation for violation in _violations(into_itself))


def test_a_conversion_below_the_smallest_transaction_is_found_out() -> None:
    task = problem([pool("usdc")], {"DAI": 60.0, "USDC": 1_000.0})
    plan = solved(task).to_document()
    document = problem_document(task)
    document["parameters"]["min_transaction_value"] = 61.0
    found = verify_documents(document, plan).violations
    assert any("(CONVERSION): 60.00 USD is below min_transaction_value" in v for v in found)


# --- what the verifier reports ---


def test_the_verifier_recomputes_the_money() -> None:
    task = _task()
    plan = solved(task)
    check = verify(plan)
    assert check.ok
    assert check.aum_before_usd == pytest.approx(task.aum_usd)
    assert check.aum_after_usd == pytest.approx(plan.settlement.aum_after_usd)
    assert check.costs_usd == pytest.approx(plan.settlement.costs_usd)
    assert check.net_usd == pytest.approx(plan.expected.net_usd, abs=1e-6)
    assert check.unaccounted_usd == pytest.approx(0.0, abs=1e-6)


def test_created_money_is_reported_in_dollars() -> None:
    task, plan = (json.loads(text) for text in _right())
    step = _step(plan, "CONVERSION")
    step["to_amount"] += 100.0
    check = verify_documents(task, plan)
    assert check.unaccounted_usd == pytest.approx(-100.0 * 0.999, rel=0.02)
    assert not check.ok


def test_a_plan_file_is_checked_against_the_problem_that_is_given() -> None:
    task = _task()
    document = solved(task).to_document()
    assert verify(document, task).ok
    with pytest.raises(InputError, match="does not carry its problem"):
        verify(document)


def test_a_plan_that_fails_verification_is_a_bug() -> None:
    task = _task()
    plan = solved(task)
    assert checked(plan) is plan
    strict = task.with_parameters(task.parameters.model_copy(update={"min_pools": 9}))
    forged = replace(plan, problem=strict)
    with pytest.raises(IntegrityError, match="fails verification"):
        checked(forged)


def test_an_infeasible_plan_that_moves_nothing_is_right() -> None:
    task = _task()
    strict = task.with_parameters(task.parameters.model_copy(update={"min_pools": 9}))
    plan = solve(strict)
    assert plan.status == "infeasible"
    assert verify(plan).ok


def test_idle_cash_that_earns_is_part_of_the_objective() -> None:
    task = problem([pool("a", apy=1.0)], {"USDC": 1_000.0}, cash_apy=0.05)
    document = solved(task).to_document()
    assert document["objective_usd"] == pytest.approx(50.0, abs=0.01)
    document["objective_usd"] += 1.0
    document["bound_usd"] += 1.0
    assert not verify(document, task).ok


def test_chords_may_promise_less_than_the_curve_but_not_more() -> None:
    task = problem(
        [pool("a", apy=9.0, tvl_usd=3_000.0, rate_model=RateModel.PRO_RATA)],
        {"USDC": 777.0, "DAI": 500.0},
        conversion_rate=0.5,
    )
    document = solved(task).to_document()
    assert document["objective_usd"] < document["expected"]["net_usd"] - 0.02
    document["objective_usd"] = document["bound_usd"] = document["expected"]["net_usd"] + 0.05
    document["gap_usd"] = 0.0
    assert any("promises more" in found for found in verify(document, task).violations)


@pytest.mark.parametrize("seed", range(12))
def test_no_step_of_a_random_plan_can_be_left_out(seed: int) -> None:
    task = random_problem(seed)
    document = solved(task).to_document()
    for place, step in enumerate(document["transactions"]):
        if step["type"] == "HOLD":
            continue
        without = copy.deepcopy(document)
        del without["transactions"][place]
        _renumber(without)
        assert not verify(without, task).ok
