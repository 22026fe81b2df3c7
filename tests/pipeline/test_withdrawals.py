"""What the owner takes beyond the wallet: the run raises it, pays it, and then decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest

from stableyield.errors import InputError, MissingDataError
from stableyield.pipeline import Flow, Outcome, stages
from stableyield.pipeline.carry import last_snapshot
from stableyield.pipeline.journal import balances_of, balances_of_book
from stableyield.pipeline.replay import replay_run
from stableyield.store import StoreError, read_entries, read_frame, read_steps
from support.treasury import DAY, Treasury

Decided = tuple[Treasury, Outcome]
NEXT = DAY + timedelta(days=1)
LATER = DAY + timedelta(days=3)
TAKEN = 50_000.0


def check_books(treasury: Treasury, outcome: Outcome) -> None:
    """The journal is the book, and each token's ledger goes on where it stopped."""
    snapshot = last_snapshot(treasury.engine, outcome.run.exec_date + timedelta(days=1))
    assert snapshot is not None
    book, journal = balances_of_book(snapshot.book), balances_of(read_entries(treasury.engine))
    for key in {*book, *journal}:
        assert journal.get(key, 0.0) == pytest.approx(book.get(key, 0.0), abs=1e-5), key
        assert book.get(key, 0.0) >= 0.0
    ledger = read_frame(treasury.engine, "daily_ledger")
    for _, rows in ledger.groupby("token"):
        opening = rows["opening_amount"].tolist()[1:]
        assert opening == pytest.approx(rows["closing_amount"].tolist()[:-1], abs=1e-5)
    nav = read_frame(treasury.engine, "daily_nav")
    by_day = ledger.groupby("date")["nav_usd"].sum().tolist()
    assert by_day == pytest.approx((nav["assets_before_usd"] - nav["costs_usd"]).tolist())


Paid = tuple[Treasury, Outcome, Outcome]


def pay_half(treasury: Treasury) -> Outcome:
    """The run that pays the owner half of what there is."""
    treasury.bring(-TAKEN, day=NEXT)
    return treasury.run(NEXT)


def test_a_withdrawal_beyond_the_wallet_is_raised_from_pools_and_paid(
    paid: Paid,
) -> None:
    treasury, first, second = paid
    plan = second.plan
    assert first.plan["wallet"].get("USDC", {"amount": 0.0})["amount"] < TAKEN
    assert plan["paid_to_owner"] == {"USDC": TAKEN}
    assert plan["transactions"][0]["type"] == "WITHDRAWAL"
    assert [step["seq"] for step in plan["transactions"]] == [
        n + 1 for n in range(len(plan["transactions"]))
    ]
    left = first.plan["aum_after_usd"] - TAKEN
    assert plan["aum_before_usd"] == pytest.approx(left, rel=0.01)
    costs = plan["aum_before_usd"] - plan["aum_after_usd"]
    assert plan["costs"]["total_usd"] == pytest.approx(costs, abs=0.01)
    steps = read_steps(treasury.engine, second.run.run_id)
    assert sum(step["total_cost_usd"] for step in plan["transactions"]) == pytest.approx(costs)
    assert len(steps) == len(plan["transactions"])
    check_books(treasury, second)


def test_a_payment_is_the_first_thing_that_people_are_told(
    paid: Paid,
) -> None:
    treasury, _, second = paid
    assert second.run.summary is not None
    assert second.run.summary["decision"].startswith("Pay the owner 50,000.00 USDC, raised in ")
    moves = [step for step in second.plan["transactions"] if step["type"] != "HOLD"]
    assert second.run.summary["n_steps"] == len(moves)
    assert "  1. withdrawal " in treasury.listener.heard[-1][1]


def test_a_payment_is_neither_yield_nor_loss(paid: Paid) -> None:
    treasury, _, _ = paid
    row = read_frame(treasury.engine, "daily_nav").iloc[0]
    assert row["withdrawals_usd"] == pytest.approx(TAKEN, rel=0.01)
    assert abs(row["yield_day"]) < 0.01


def test_a_payment_is_replayed(paid: Paid) -> None:
    treasury, _, second = paid
    assert replay_run(treasury.engine, second.run.run_id).differences == ()


@pytest.mark.slow
def test_the_day_after_a_payment_goes_on_with_its_book(
    decided: Decided,
) -> None:
    treasury, _ = decided
    second = pay_half(treasury)
    third = treasury.run(NEXT + timedelta(days=1))
    assert third.plan["aum_before_usd"] == pytest.approx(second.plan["aum_after_usd"], rel=0.01)
    assert "paid_to_owner" not in third.plan
    check_books(treasury, third)


@pytest.mark.slow
def test_a_payment_that_is_decided_again_is_paid_once(
    decided: Decided,
) -> None:
    treasury, _ = decided
    second = pay_half(treasury)
    again = treasury.run(NEXT, again=True)
    assert again.plan["transactions"] == second.plan["transactions"]
    check_books(treasury, again)


@pytest.mark.slow
def test_a_payment_whose_run_was_interrupted_is_the_same_when_it_is_taken_up(
    decided: Decided, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise StoreError("the connection to the database was lost")

    treasury, _ = decided
    treasury.bring(-TAKEN, day=NEXT)
    looked_at = treasury.run(NEXT, is_dry=True)
    last = len(stages.DECISION) - 1
    broken = (*stages.DECISION[:last], replace(stages.DECISION[last], look=gone))
    with monkeypatch.context() as patch:
        patch.setattr("stableyield.pipeline.daily_run.DECISION", broken)
        with pytest.raises(StoreError):
            treasury.run(NEXT)
    outcome = treasury.run(NEXT)
    assert outcome.was_resumed
    assert outcome.plan["transactions"] == looked_at.plan["transactions"]
    check_books(treasury, outcome)


def test_what_the_owner_took_on_a_day_without_a_run_waits_for_the_next_run(
    decided: Decided,
) -> None:
    treasury, first = decided
    treasury.bring(-TAKEN, day=NEXT)
    treasury.bring(-1_000.0, day=LATER)
    outcome = treasury.run(LATER)
    assert outcome.plan["paid_to_owner"] == {"USDC": TAKEN + 1_000.0}
    left = first.plan["aum_after_usd"] - TAKEN - 1_000.0
    assert outcome.plan["aum_before_usd"] == pytest.approx(left, rel=0.01)
    nav = read_frame(treasury.engine, "daily_nav")
    assert nav["yield_day"].iloc[:3].abs().max() < 0.01
    check_books(treasury, outcome)


@pytest.mark.slow
def test_money_that_waits_for_its_owner_is_no_difference(decided: Decided) -> None:
    treasury, first = decided
    there = first.plan["wallet"].get("USDC", {"amount": 0.0})["amount"]
    treasury.bring(-TAKEN, day=NEXT)
    treasury.source.balances = pd.DataFrame(
        [("wallet", "USDC", there)], columns=["location", "token", "amount"]
    )
    outcome = treasury.run(NEXT)
    assert not [each for each in outcome.warnings if each.startswith("difference")]
    check_books(treasury, outcome)


def test_more_than_all_that_is_there_cannot_be_taken(decided: Decided) -> None:
    treasury, _ = decided
    with pytest.raises(InputError, match=r"cannot be taken: they are .* USD, and the books have"):
        treasury.bring(-150_000.0, day=NEXT)
    treasury.bring(-60_000.0, day=NEXT)
    with pytest.raises(InputError, match="cannot be taken"):  # the first one counts
        treasury.bring(-60_000.0, day=NEXT)


def test_a_token_that_nobody_prices_cannot_be_taken(decided: Decided) -> None:
    treasury, _ = decided
    with pytest.raises(MissingDataError, match="token XYZ has no usable USD price"):
        treasury.bring(-1.0, "XYZ", day=NEXT)


def test_what_cannot_be_raised_stops_the_run_until_less_is_taken(decided: Decided) -> None:
    treasury, first = decided
    prices = read_frame(treasury.engine, "token_prices_daily", first=DAY, last=DAY)
    price = prices.set_index("token")["close_usd"]["USDC"]
    everything = (first.plan["aum_after_usd"] - 1.0) / price
    treasury.bring(-everything, day=NEXT)
    counts = treasury.counts()["ledger_entries"]
    dear = {"gas_usd": (100.0, 100.0, 100.0)}
    with pytest.raises(InputError, match=r"of it cannot be raised .*ledger deposit USDC"):
        treasury.run(NEXT, options=dear)
    assert treasury.counts()["ledger_entries"] == counts
    treasury.bring(60_000.0, day=NEXT)
    outcome = treasury.run(NEXT, options=dear)
    assert outcome.plan["aum_after_usd"] == pytest.approx(60_000.0, rel=0.02)
    check_books(treasury, outcome)


def test_a_token_without_a_price_is_not_brought_and_the_right_symbol_is_named(
    decided: Decided,
) -> None:
    treasury, _ = decided
    with pytest.raises(InputError, match="no price of 'usdc', did you mean 'USDC'"):
        treasury.bring(1.0, "usdc", day=NEXT)
    treasury.bring(1.0, "USDC", day=NEXT)


@pytest.mark.parametrize(
    ("token", "amount"),
    [("", 1.0), (" USDC", 1.0), ("A" * 101, 1.0), ("USDC", 1e300), ("USDC", float("nan"))],
)
def test_what_is_no_token_or_no_amount_is_no_flow(token: str, amount: float) -> None:
    with pytest.raises(InputError, match=r"is no symbol|the amount of"):
        Flow(token, amount, DAY)
