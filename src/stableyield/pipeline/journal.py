"""Double entry, token by token: every amount that one account receives another one gives.

Accounts are ``assets:LOCATION`` (the wallet, or a pool), ``equity:deposits``,
``equity:withdrawals``, ``equity:differences`` (what reconciliation found), ``income:yield``,
``expenses:gas``, ``expenses:conversion`` and ``exchange`` (what conversions sell and buy). The sum
of the asset accounts is the book; the store refuses an entry that does not add up to zero in each
token.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from stableyield.domain.portfolio import WALLET, Book, Position, Transaction, TransactionType
from stableyield.errors import ConservationError, InputError
from stableyield.store import LedgerLine

ASSETS = "assets:"
DEPOSITS, WITHDRAWALS = "equity:deposits", "equity:withdrawals"
DIFFERENCES, YIELD = "equity:differences", "income:yield"
GAS, CONVERSION, EXCHANGE = "expenses:gas", "expenses:conversion", "exchange"
_FLOW = "flow/"
_MOMENT = "%Y-%m-%dT%H:%M:%S.%fZ"
AMOUNT_TOLERANCE = 1e-6  # token units: what sums of floats may be off by over the years


@dataclass(frozen=True)
class Entry:
    """What the lines of one entry share.

    Parameters
    ----------
    entry_id : str
    day : date
    prices_usd : mapping of token to USD price
    run_id : str, optional
    """

    entry_id: str
    day: date
    prices_usd: Mapping[str, float]
    run_id: str | None = None

    def lines(self, parts: Iterable[tuple[str, str, float]], memo: str) -> tuple[LedgerLine, ...]:
        """Lines from (account, token, amount); amounts of zero are left out."""
        known = [part for part in parts if part[2] != 0.0]
        return tuple(
            LedgerLine(
                self.entry_id,
                n,
                self.day,
                account,
                token,
                amount,
                memo,
                price := self.prices_usd.get(token),
                None if price is None else amount * price,
                self.run_id,
            )
            for n, (account, token, amount) in enumerate(known, start=1)
        )


def plan_lines(
    run_id: str, day: date, steps: Sequence[Transaction], prices_usd: Mapping[str, float]
) -> tuple[LedgerLine, ...]:
    """Entries of a plan, one a step; holds are not booked."""
    lines: list[LedgerLine] = []
    for step in steps:
        if step.type is TransactionType.HOLD:
            continue
        entry = Entry(f"{run_id}/step-{step.seq:04d}", day, prices_usd, run_id)
        gas = [
            part
            for paid in step.gas
            for part in (
                (ASSETS + WALLET, paid.token, -paid.amount),
                (GAS, paid.token, paid.amount),
            )
        ]
        lines += entry.lines([*_moved(step, prices_usd), *gas], step.type.value.lower())
    return tuple(lines)


def _moved(step: Transaction, prices_usd: Mapping[str, float]) -> list[tuple[str, str, float]]:
    if step.type is not TransactionType.CONVERSION:
        return [
            (ASSETS + step.from_location, step.token, -step.amount),
            (ASSETS + step.to_location, step.token, step.amount),
        ]
    bought = str(step.to_token)
    fee = step.conversion_cost_usd / prices_usd[bought]
    return [
        (ASSETS + WALLET, step.token, -step.amount),
        (EXCHANGE, step.token, step.amount),
        (EXCHANGE, bought, -(step.to_amount + fee)),
        (ASSETS + WALLET, bought, step.to_amount),
        (CONVERSION, bought, fee),
    ]


def yield_lines(
    run_id: str, day: date, earned: Mapping[Position, float], prices_usd: Mapping[str, float]
) -> tuple[LedgerLine, ...]:
    """The entry of what positions earned on a day; negative for a loss."""
    entry = Entry(f"{run_id}/yield-{day}", day, prices_usd, run_id)
    parts = [
        part
        for (pool_id, token), amount in sorted(earned.items())
        for part in ((ASSETS + pool_id, token, amount), (YIELD, token, -amount))
    ]
    return entry.lines(parts, "yield")


def difference_lines(
    run_id: str,
    day: date,
    found: Mapping[tuple[str, str], float],
    prices_usd: Mapping[str, float],
    *,
    account: str = DIFFERENCES,
) -> tuple[LedgerLine, ...]:
    """The entry that brings booked balances to the observed ones, by (location, token)."""
    entry = Entry(f"{run_id}/observed-{day}", day, prices_usd, run_id)
    parts = [
        part
        for (location, token), amount in sorted(found.items())
        for part in ((ASSETS + location, token, amount), (account, token, -amount))
    ]
    return entry.lines(parts, "observed" if account == DIFFERENCES else "opening balance")


def flow_lines(
    moment: datetime, day: date, token: str, amount: float, memo: str
) -> tuple[LedgerLine, ...]:
    """The entry of money that the owner brings (positive) or takes (negative).

    Raises
    ------
    InputError
        When the amount is zero or not finite.
    """
    if not math.isfinite(amount) or amount == 0.0:
        raise InputError(f"the amount of {token} is {amount}", remedy="give token units, not zero")
    account = DEPOSITS if amount > 0.0 else WITHDRAWALS
    # the moment is part of the identity: a replay leaves out what was not known yet
    entry = Entry(f"{_FLOW}{moment.astimezone(UTC).strftime(_MOMENT)}/{token}", day, {})
    return entry.lines([(ASSETS + WALLET, token, amount), (account, token, -amount)], memo)


def flows_of(lines: Iterable[LedgerLine], known_by: datetime) -> dict[date, dict[str, float]]:
    """What came in (positive) and went out, net, by day and token; only what was known then."""
    flows: dict[date, dict[str, float]] = {}
    for line in lines:
        if not line.entry_id.startswith(_FLOW) or line.account != ASSETS + WALLET:
            continue
        moment = line.entry_id.removeprefix(_FLOW).partition("/")[0]
        if datetime.strptime(moment, _MOMENT).replace(tzinfo=UTC) <= known_by:
            of_day = flows.setdefault(line.date, {})
            of_day[line.token] = of_day.get(line.token, 0.0) + line.amount
    return flows


def reversal_of(lines: Iterable[LedgerLine], run_id: str) -> tuple[LedgerLine, ...]:
    """Entries that undo those of a run; nothing is ever deleted."""
    return tuple(
        replace(
            line,
            entry_id=f"{line.entry_id}/reversed",
            amount=-line.amount,
            amount_usd=None if line.amount_usd is None else -line.amount_usd,
            memo=f"reversed: {line.memo}",
        )
        for line in lines
        if line.run_id == run_id
    )


def balances_of(lines: Iterable[LedgerLine]) -> dict[tuple[str, str], float]:
    """Balance of every asset account, by (location, token); `math.fsum`, so order is nothing."""
    parts: dict[tuple[str, str], list[float]] = {}
    for line in lines:
        if line.account.startswith(ASSETS):
            key = (line.account.removeprefix(ASSETS), line.token)
            parts.setdefault(key, []).append(line.amount)
    return {key: math.fsum(amounts) for key, amounts in sorted(parts.items())}


def balances_of_book(book: Book) -> dict[tuple[str, str], float]:
    """Balances of a book by (location, token)."""
    wallet = {(WALLET, token): amount for token, amount in book.wallet.items()}
    return wallet | dict(book.positions)


def book_of(balances: Mapping[tuple[str, str], float]) -> Book:
    """The book of balances by (location, token)."""
    return Book(
        {token: amount for (place, token), amount in balances.items() if place == WALLET},
        {key: amount for key, amount in balances.items() if key[0] != WALLET},
    )


def check_conserved(
    lines: Iterable[LedgerLine], book: Book, prices_usd: Mapping[str, float], tolerance_usd: float
) -> None:
    """See that the journal adds up to the book: each balance, and all of them together.

    Raises
    ------
    ConservationError
        When it does not: a bug.
    """
    booked, owned = balances_of(lines), balances_of_book(book)
    off_usd = []
    for key in sorted({*booked, *owned}):
        off = booked.get(key, 0.0) - owned.get(key, 0.0)
        price = prices_usd.get(key[1])
        # of a token without a price, nobody knows how little is missing
        if abs(off) > AMOUNT_TOLERANCE and (price is None or abs(off) * price > tolerance_usd):
            raise ConservationError(
                f"the journal has {booked.get(key, 0.0)} {key[1]} in {key[0]}, the book "
                f"{owned.get(key, 0.0)}",
                remedy="report this as a bug; nothing was recorded",
            )
        off_usd.append(off * price if price is not None else 0.0)
    if abs(total := math.fsum(off_usd)) > tolerance_usd:
        raise ConservationError(f"{total:.6f} USD of the journal are not in the book")
