"""Double entry per token: what one account receives another one gives, to the last digit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stableyield.domain.portfolio import (
    WALLET,
    Book,
    GasPayment,
    Settlement,
    Transaction,
    TransactionType,
    replay,
)
from stableyield.errors import ConservationError, DataQualityError, InputError, MissingDataError
from stableyield.pipeline.carry import BookDay, with_flows
from stableyield.pipeline.journal import (
    AMOUNT_TOLERANCE,
    balances_of,
    balances_of_book,
    book_of,
    check_conserved,
    difference_lines,
    flow_lines,
    flows_of,
    plan_lines,
    reversal_of,
    yield_lines,
)
from stableyield.pipeline.nav import assets_frame, ledger_frame, results_frame
from stableyield.pipeline.reconcile import observed_book, reconcile
from stableyield.store import LedgerLine
from support.databases import NOW, later

DAY = date(2025, 12, 31)
PRICES: Mapping[str, float] = {"USDC": 1.0, "DAI": 0.999, "ETH": 3000.0}
amounts = st.floats(1.0, 1e9, allow_nan=False)


def settled(book: Book, steps: tuple[Transaction, ...]) -> Settlement:
    return Settlement(book, replay(book, steps, PRICES), PRICES, steps)


def in_and_convert(amount: float, gas: float) -> Settlement:
    """Half goes into a pool, a quarter is sold for DAI; gas is paid in USDC."""
    book = Book({"USDC": amount + 10.0})
    half, quarter = amount / 2.0, amount / 4.0
    fee = 0.0004 * quarter
    paid = (GasPayment("USDC", gas, gas),)
    return settled(
        book,
        (
            Transaction(1, TransactionType.ALLOCATION, WALLET, "p", "USDC", half, half, gas=paid),
            Transaction(
                2,
                TransactionType.CONVERSION,
                WALLET,
                WALLET,
                "USDC",
                quarter,
                quarter,
                "DAI",
                (quarter - fee) / PRICES["DAI"],
                fee,
                paid,
            ),
        ),
    )


def opening(book: Book) -> tuple[LedgerLine, ...]:
    return tuple(
        line
        for token, amount in book.wallet.items()
        for line in flow_lines(NOW, DAY, token, amount, "")
    )


def by_entry_and_token(lines: tuple[LedgerLine, ...]) -> dict[tuple[str, str], float]:
    sums: dict[tuple[str, str], list[float]] = {}
    for line in lines:
        sums.setdefault((line.entry_id, line.token), []).append(line.amount)
    return {key: math.fsum(parts) for key, parts in sums.items()}


@given(amounts, st.floats(0.0, 5.0))
def test_every_entry_of_a_plan_balances_in_each_token(amount: float, gas: float) -> None:
    money = in_and_convert(amount, gas)
    lines = plan_lines("run", DAY, money.transactions, PRICES)
    for total in by_entry_and_token(lines).values():
        assert abs(total) <= 1e-9 * amount


@given(amounts, st.floats(0.0, 5.0))
def test_the_journal_of_a_plan_leads_to_its_book(amount: float, gas: float) -> None:
    money = in_and_convert(amount, gas)
    lines = (*opening(money.before), *plan_lines("run", DAY, money.transactions, PRICES))
    check_conserved(lines, money.after, PRICES, 0.01)
    costs = [(line.amount_usd or 0.0) for line in lines if line.account.startswith("expenses:")]
    assert math.fsum(costs) == pytest.approx(money.costs_usd, abs=1e-6)


@given(amounts, st.floats(0.02, 100.0))
def test_money_that_appears_is_found(amount: float, more: float) -> None:
    money = in_and_convert(amount, 1.0)
    lines = (*opening(money.before), *plan_lines("run", DAY, money.transactions, PRICES))
    wallet = {**money.after.wallet, "USDC": money.after.wallet["USDC"] + more}
    with pytest.raises(ConservationError, match="the journal has"):
        check_conserved(lines, Book(wallet, money.after.positions), PRICES, 0.01)


def test_a_token_without_a_price_is_not_worth_a_dollar() -> None:
    lines = opening(Book({"XYZ": 10.0}))
    with pytest.raises(ConservationError, match="the journal has"):
        check_conserved(lines, Book({"XYZ": 10.005}), {}, 0.01)
    check_conserved(lines, Book({"XYZ": 10.0}), {}, 0.01)


def test_many_small_losses_are_found_too() -> None:
    book = Book({}, {(f"p{n}", "USDC"): 1.0 for n in range(100)})
    lines = yield_lines("run", DAY, dict.fromkeys(book.positions, 1.0 + AMOUNT_TOLERANCE * 900), {})
    with pytest.raises(ConservationError, match="USD of the journal are not in the book"):
        check_conserved(lines, book, PRICES, 0.01)


@given(st.dictionaries(st.sampled_from("ab"), amounts), amounts)
def test_a_reversal_leaves_nothing(earned: dict[str, float], more: float) -> None:
    keys = {(pool, "USDC"): amount for pool, amount in earned.items()}
    lines = (
        *yield_lines("run", DAY, keys, PRICES),
        *difference_lines("run", DAY, {(WALLET, "DAI"): more}, PRICES),
        *flow_lines(NOW, DAY, "USDC", more, ""),
    )
    undone = (*lines, *reversal_of(lines, "run"))
    left = {key: amount for key, amount in balances_of(undone).items() if amount}
    assert left == {(WALLET, "USDC"): more}
    assert len({(line.entry_id, line.line) for line in undone}) == len(undone)


def test_flows_are_known_from_the_moment_on_which_they_were_booked() -> None:
    early = flow_lines(NOW, DAY, "USDC", 5.0, "")
    late = flow_lines(later(1), DAY, "USDC", -2.0, "")
    assert flows_of((*early, *late), NOW) == {DAY: {"USDC": 5.0}}
    assert flows_of((*early, *late), later(1)) == {DAY: {"USDC": 3.0}}


@pytest.mark.parametrize("amount", [0.0, math.nan, math.inf])
def test_a_flow_of_nothing_is_refused(amount: float) -> None:
    with pytest.raises(InputError, match="the amount of USDC"):
        flow_lines(NOW, DAY, "USDC", amount, "")


def test_a_book_survives_the_way_through_balances() -> None:
    book = Book({"USDC": 3.0}, {("p", "DAI"): 2.0, ("q", "USDC"): 1.0})
    assert book_of(balances_of_book(book)) == book


def test_what_the_wallet_cannot_pay_is_owed_as_a_whole_and_nothing_leaves() -> None:
    book = Book({"USDC": 3.0})
    assert with_flows(book, {"USDC": -5.0}, {}) == (book, {"USDC": 5.0})
    assert with_flows(book, {"USDC": -1.0}, {"USDC": 5.0}) == (book, {"USDC": 6.0})


def test_what_is_brought_pays_what_is_owed() -> None:
    book, owed = with_flows(Book({"USDC": 3.0}), {"USDC": 2.5}, {"USDC": 5.0, "DAI": 1.0})
    assert (book.wallet["USDC"], owed) == (0.5, {"DAI": 1.0})


@given(st.floats(0.0, 1e9), st.floats(-1e9, 1e9), st.floats(0.0, 1e9))
def test_flows_and_what_is_owed_neither_make_nor_lose_money(
    there: float, flow: float, owed: float
) -> None:
    book, left = with_flows(Book({"USDC": there}), {"USDC": flow}, {"USDC": owed} if owed else {})
    wallet = book.wallet.get("USDC", 0.0)
    assert wallet >= 0.0
    assert wallet - left.get("USDC", 0.0) == pytest.approx(there + flow - owed, abs=1e-5)


# --- reconciliation -----------------------------------------------------------------------------


def test_balances_that_agree_make_no_difference() -> None:
    book = Book({"USDC": 100.0}, {("p", "USDC"): 50.0})
    found = reconcile(book, {(WALLET, "USDC"): 100.0 + 1e-9}, PRICES)
    assert found.differences == ()
    assert found.unobserved == (("p", "USDC"),)
    assert observed_book(book, found) == book


def test_differences_are_listed_the_largest_first_and_booked() -> None:
    book = Book({"USDC": 100.0, "DAI": 10.0}, {("p", "USDC"): 50.0})
    seen = {(WALLET, "USDC"): 99.0, ("p", "USDC"): 60.0, (WALLET, "ETH"): 0.001}
    found = reconcile(book, seen, PRICES)
    assert [each.location for each in found.differences] == ["p", WALLET, WALLET]
    assert found.total_usd == pytest.approx(10.0 + 3.0 + 1.0)
    after = observed_book(book, found)
    assert after.wallet == {"DAI": 10.0, "ETH": 0.001, "USDC": 99.0}
    lines = difference_lines("run", DAY, found.amounts(), PRICES)
    before = difference_lines("start", DAY, balances_of_book(book), PRICES)
    check_conserved((*before, *lines), after, PRICES, 0.01)
    assert "booked 50.000000, observed 60.000000, +10.00 USD" in str(found.differences[0])


def test_large_differences_stop_and_say_what_to_do() -> None:
    found = reconcile(Book({"USDC": 100.0}), {(WALLET, "USDC"): 120.0}, PRICES)
    found.raise_if_above(0.2)
    with pytest.raises(DataQualityError, match=r"from the booked ones by 20\.00 USD") as error:
        found.raise_if_above(0.19)
    assert "ledger deposit" in error.value.one_line
    assert error.value.details[0].startswith("USDC in warm_wallet")


def test_an_observed_token_without_a_price_is_named() -> None:
    with pytest.raises(MissingDataError, match="token NEW has no usable USD price"):
        reconcile(Book({"USDC": 1.0}), {(WALLET, "NEW"): 1.0}, PRICES)


# --- daily results --------------------------------------------------------------------------------


def book_day(n: int, usdc: float, flows: Mapping[str, float] | None = None) -> BookDay:
    day = DAY + timedelta(days=n)
    return BookDay(day, Book(), Book({"USDC": usdc}), PRICES, flows=flows or {})


def test_the_yield_of_a_day_leaves_out_what_was_brought() -> None:
    days = [book_day(0, 1000.0), book_day(1, 1511.0, {"USDC": 500.0})]
    (row,) = results_frame(days, _navs()).to_dict("records")
    assert row["date"] == pd.Timestamp(DAY)
    assert row["yield_usd"] == pytest.approx(11.0)
    assert row["yield_day"] == pytest.approx(0.011)
    assert (row["deposits_usd"], row["withdrawals_usd"]) == (500.0, 0.0)


def test_the_year_begins_on_the_first_of_january() -> None:
    assets = [1000.0, 1010.0, 1020.1, 1030.301]
    days = [book_day(n, usd) for n, usd in enumerate(assets)]
    rows = results_frame(days, _navs()).to_dict("records")
    ytd = {f"{row['date']:%m-%d}": row["yield_ytd"] for row in rows}
    assert ytd == {
        "12-31": pytest.approx(0.01),
        "01-01": pytest.approx(0.01),
        "01-02": pytest.approx(0.0201),
    }


def test_results_link_to_those_of_earlier_runs() -> None:
    before = DAY - timedelta(days=1)
    earlier = _navs(
        {"date": before - timedelta(days=1), "assets_before_usd": 990.0, "yield_ytd": 0.05},
        {"date": before, "assets_before_usd": 1000.0, "yield_ytd": math.nan},
    )
    (row,) = results_frame([book_day(0, 1010.0)], earlier).to_dict("records")
    assert row["date"] == pd.Timestamp(before)
    assert row["yield_ytd"] == pytest.approx(1.05 * 1.01 - 1.0)


def test_only_the_day_of_the_run_bears_its_costs() -> None:
    frame = assets_frame([book_day(0, 1.0), book_day(1, 2.0)], 7.0, "run")
    assert frame["costs_usd"].tolist() == [0.0, 7.0]
    assert frame["assets_before_usd"].tolist() == [1.0, 2.0]


def test_the_ledger_is_made_from_the_journal_alone() -> None:
    money = in_and_convert(1000.0, 1.0)
    day = replace(book_day(0, 0.0), book=money.before)
    lines = (*opening(money.before), *plan_lines("run", DAY, money.transactions, PRICES))
    rows = ledger_frame([day], lines, "run", {}).set_index("token")
    assert rows.loc["USDC", "deposits_amount"] == 1010.0
    assert rows.loc["USDC", "conversions_amount"] == -250.0
    assert rows.loc["USDC", "costs_amount"] == 2.0
    assert rows.loc["USDC", "closing_amount"] == 1010.0 - 250.0 - 2.0
    assert rows.loc["DAI", "closing_amount"] == pytest.approx(money.after.wallet["DAI"])
    assert rows.loc["DAI", "costs_amount"] == pytest.approx(0.1 / 0.999)


def _navs(*rows: dict[str, object]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=["date", "assets_before_usd", "yield_ytd"])
    return frame.assign(date=pd.to_datetime(frame["date"]))


def test_a_wallet_that_is_emptied_but_for_rounding_is_empty() -> None:
    book, owed = with_flows(Book({"USDC": 0.3}, {}), {"USDC": -(0.1 + 0.2)}, {})
    assert (book.wallet.get("USDC", 0.0), owed) == (0.0, {})
    assert with_flows(Book({"USDC": 0.3}, {}), {"USDC": -0.3001}, {})[1] == {"USDC": 0.3001}
