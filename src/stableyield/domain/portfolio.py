"""Wallet, positions, transactions and plans: values that cannot be built unbalanced.

A `Book` is what is owned. A `Transaction` moves value and states its costs. A `Plan` is a book, an
ordered list of transactions and the book they lead to; it is only built if replaying the list
gives that book and every step could be paid.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Any

from stableyield.domain.book import Book, K, Layout, Position, Worth, price_of
from stableyield.errors import ConservationError

__all__ = [
    "AMOUNT_TOLERANCE",
    "CENT_USD",
    "FLOAT_ROUNDING",
    "WALLET",
    "Book",
    "GasPayment",
    "Layout",
    "Position",
    "Settlement",
    "Transaction",
    "TransactionType",
    "Worth",
    "price_of",
    "replay",
    "rounding_amount",
]

CENT_USD = 0.01
AMOUNT_TOLERANCE = 1e-6  # token units: one base unit of a six-decimal stablecoin
FLOAT_ROUNDING = 1e-14  # of AUM: what floats lose over the steps of a plan
WALLET = "warm_wallet"


def rounding_amount(token: str, prices_usd: Mapping[str, float], aum_usd: float) -> float:
    """How far a balance of ``token`` may be off by the rounding of floats, in token units."""
    return max(1e-9, FLOAT_ROUNDING * aum_usd) / prices_usd[token]


class TransactionType(StrEnum):
    """The four things a plan does with money."""

    HOLD = "HOLD"
    WITHDRAWAL = "WITHDRAWAL"
    CONVERSION = "CONVERSION"
    ALLOCATION = "ALLOCATION"


@dataclass(frozen=True, slots=True)
class GasPayment:
    """Gas taken from the wallet in one token."""

    token: str
    amount: float
    amount_usd: float


@dataclass(frozen=True, slots=True)
class Transaction:
    """One step of a plan.

    Parameters
    ----------
    seq : int
        Place in the plan, from 1.
    type : TransactionType
    from_location, to_location : str
        A pool_id or `WALLET`.
    token : str
        The token that moves; of a conversion, the token that is sold.
    amount, amount_usd : float
        What moves or is sold, in token units and USD, before costs.
    to_token, to_amount : str, float
        Of a conversion: what is received, after the fee.
    conversion_cost_usd : float
        Fee of a conversion, USD.
    gas : tuple of GasPayment
        Gas of this step, paid from the wallet after the step's own flows.
    """

    seq: int
    type: TransactionType
    from_location: str
    to_location: str
    token: str
    amount: float
    amount_usd: float
    to_token: str | None = None
    to_amount: float = 0.0
    conversion_cost_usd: float = 0.0
    gas: tuple[GasPayment, ...] = ()

    @property
    def gas_cost_usd(self) -> float:
        """Gas of this step in USD."""
        return math.fsum(payment.amount_usd for payment in self.gas)

    @property
    def total_cost_usd(self) -> float:
        """Gas and conversion fee of this step in USD."""
        return self.gas_cost_usd + self.conversion_cost_usd

    def to_dict(self) -> dict[str, Any]:
        """The transaction as the plan file has it."""
        conversion = self.type is TransactionType.CONVERSION
        tokens: dict[str, Any] = (
            {"from_token": self.token, "to_token": self.to_token, "to_amount": self.to_amount}
            if conversion
            else {"token": self.token}
        )
        return {
            "seq": self.seq,
            "type": self.type.value,
            "from_location": self.from_location,
            "to_location": self.to_location,
            **tokens,
            "amount": self.amount,
            "amount_usd": self.amount_usd,
            "gas_cost_usd": self.gas_cost_usd,
            "conversion_cost_usd": self.conversion_cost_usd,
            "total_cost_usd": self.total_cost_usd,
            "gas_paid": [
                {"token": p.token, "amount": p.amount, "amount_usd": p.amount_usd} for p in self.gas
            ],
        }


def replay(
    book: Book, transactions: Iterable[Transaction], prices_usd: Mapping[str, float]
) -> Book:
    """The book after ``transactions``, checking that each step is payable and price-correct.

    Raises
    ------
    ConservationError
        When a step spends what is not there, converts at another price than the given ones, or
        states a USD amount that is not amount x price.
    """
    wallet = dict(book.wallet)
    positions = dict(book.positions)
    aum_usd = book.aum_usd(prices_usd)
    has_moved = False
    for step in transactions:
        where = f"transaction {step.seq} ({step.type.value})"
        _check_value(step.token, step.amount, step.amount_usd, prices_usd, where)
        if step.type is TransactionType.HOLD:
            continue
        has_moved = True
        rounding = rounding_amount(step.token, prices_usd, aum_usd)
        if step.type is TransactionType.WITHDRAWAL:
            _take(positions, (step.from_location, step.token), step.amount, rounding, where)
            _give(wallet, step.token, step.amount)
        elif step.type is TransactionType.ALLOCATION:
            _take(wallet, step.token, step.amount, rounding, where)
            _give(positions, (step.to_location, step.token), step.amount)
        else:
            if step.to_token is None or step.to_token == step.token:
                raise ConservationError("a conversion needs two tokens", where=where)
            received_usd = step.amount_usd - step.conversion_cost_usd
            _check_value(step.to_token, step.to_amount, received_usd, prices_usd, where)
            _take(wallet, step.token, step.amount, rounding, where)
            _give(wallet, step.to_token, step.to_amount)
        for payment in step.gas:
            _check_value(payment.token, payment.amount, payment.amount_usd, prices_usd, where)
            rounding = rounding_amount(payment.token, prices_usd, aum_usd)
            _take(wallet, payment.token, payment.amount, rounding, where)
    return Book(wallet, positions) if has_moved else book


def _check_value(
    token: str, amount: float, amount_usd: float, prices_usd: Mapping[str, float], where: str
) -> None:
    expected = amount * price_of(token, prices_usd, where)
    if not math.isclose(expected, amount_usd, rel_tol=1e-9, abs_tol=1e-6 * CENT_USD):
        raise ConservationError(
            f"{amount} {token} is worth {expected} USD, but {amount_usd} USD is stated", where=where
        )


def _take(balances: dict[K, float], key: K, amount: float, rounding: float, where: str) -> None:
    left = balances.get(key, 0.0) - amount
    if amount < 0.0 or left < -rounding:
        raise ConservationError(
            f"{amount} of {key} is spent, {balances.get(key, 0.0)} is there", where=where
        )
    balances[key] = max(left, 0.0)


def _give(balances: dict[K, float], key: K, amount: float) -> None:
    balances[key] = balances.get(key, 0.0) + amount


@dataclass(frozen=True)
class Settlement:
    """An ordered list of transactions between two books that balances; the money part of a plan.

    Parameters
    ----------
    before, after : Book
    prices_usd : mapping of token to USD price
    transactions : tuple of Transaction

    Raises
    ------
    ConservationError
        When replaying the transactions from ``before`` does not give ``after`` (to one base unit
        of a six-decimal token), or when AUM before is not AUM after plus costs, to 0.01 USD.
    """

    before: Book
    after: Book
    prices_usd: Mapping[str, float]
    transactions: tuple[Transaction, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "prices_usd", MappingProxyType(dict(self.prices_usd)))
        reached = replay(self.before, self.transactions, self.prices_usd)
        self._check_balances(reached.wallet, self.after.wallet)
        self._check_balances(reached.positions, self.after.positions)
        if abs(self.unaccounted_usd) > CENT_USD:
            raise ConservationError(f"{self.unaccounted_usd:.6f} USD is unaccounted for")

    def _check_balances(self, found: Mapping[Any, float], stated: Mapping[Any, float]) -> None:
        if found == stated:
            return
        for key in sorted({*found, *stated}):
            have, want = found.get(key, 0.0), stated.get(key, 0.0)
            token = key if isinstance(key, str) else key[1]
            tolerance = rounding_amount(token, self.prices_usd, self.aum_before_usd)
            if abs(have - want) > max(AMOUNT_TOLERANCE, tolerance):
                raise ConservationError(
                    f"the transactions leave {have} of {key}, the book says {want}"
                )

    @cached_property
    def _costs_usd(self) -> tuple[float, float]:
        """Gas and conversion fees."""
        return (
            math.fsum(step.gas_cost_usd for step in self.transactions),
            math.fsum(step.conversion_cost_usd for step in self.transactions),
        )

    @cached_property
    def _aum_usd(self) -> tuple[float, float]:
        """AUM before and after."""
        return self.before.aum_usd(self.prices_usd), self.after.aum_usd(self.prices_usd)

    @property
    def gas_usd(self) -> float:
        """Gas of all transactions in USD."""
        return self._costs_usd[0]

    @property
    def conversion_usd(self) -> float:
        """Conversion fees of all transactions in USD."""
        return self._costs_usd[1]

    @property
    def costs_usd(self) -> float:
        """Gas and conversion fees in USD."""
        return self.gas_usd + self.conversion_usd

    @property
    def aum_before_usd(self) -> float:
        """AUM before the first transaction."""
        return self._aum_usd[0]

    @property
    def aum_after_usd(self) -> float:
        """AUM after the last transaction; lower than before by the costs."""
        return self._aum_usd[1]

    @property
    def unaccounted_usd(self) -> float:
        """AUM before - AUM after - costs: 0 up to rounding."""
        return math.fsum([self.aum_before_usd, -self.aum_after_usd, -self.costs_usd])

    @property
    def turnover_usd(self) -> float:
        """USD withdrawn and allocated; conversions and holds do not count."""
        moves = (TransactionType.WITHDRAWAL, TransactionType.ALLOCATION)
        return math.fsum(step.amount_usd for step in self.transactions if step.type in moves)
