"""The desk that carries a plan out: wallet, positions and transactions, step by step.

Every conversion happens at the given prices. Gas is taken from the wallet at the step that needs
it, from tokens that the plan does not need otherwise. The order is withdrawals, conversions,
deposits, so that every step can be paid when its turn comes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.problem import AllocationProblem
from stableyield.domain.portfolio import (
    CENT_USD,
    WALLET,
    GasPayment,
    Transaction,
    TransactionType,
    rounding_amount,
)
from stableyield.errors import IntegrityError

Floats = NDArray[np.float64]

DUST_USD = 1e-7


class NotPayableError(IntegrityError):
    """A step that cannot be paid at this moment; another order may help."""


@dataclass(frozen=True)
class Leg:
    """A deposit or withdrawal of one token of one pool, in token units."""

    pool: int
    token: str
    amount: float
    gas_usd: float


@dataclass(frozen=True)
class Sale:
    """A conversion, in units of the token that is sold."""

    sold: str
    bought: str
    amount: float
    gas_usd: float


@dataclass
class Desk:
    """Wallet and transactions while the plan is carried out."""

    problem: AllocationProblem
    wallet: dict[str, float]
    positions: dict[tuple[str, str], float]
    surplus: dict[str, float] = field(default_factory=dict)  # not needed by later steps
    sales: list[Sale] = field(default_factory=list)
    done: list[Transaction] = field(default_factory=list)

    # --- steps ---

    def withdraw(self, leg: Leg) -> None:
        """Take a leg out of its pool."""
        key = (self.problem.pools[leg.pool].pool_id, leg.token)
        self.positions[key] -= leg.amount
        self._add(leg.token, leg.amount)
        self._record(TransactionType.WITHDRAWAL, key[0], WALLET, leg, leg.gas_usd)

    def deposit(self, leg: Leg) -> None:
        """Put a leg into its pool."""
        key = (self.problem.pools[leg.pool].pool_id, leg.token)
        self.positions[key] = self.positions.get(key, 0.0) + leg.amount
        self._add(leg.token, -leg.amount)
        self._record(TransactionType.ALLOCATION, WALLET, key[0], leg, leg.gas_usd)

    def convert(self, sale: Sale) -> None:
        """Sell one token for another at the given prices, less the fee."""
        received, fee_usd = self.proceeds(sale)
        self._add(sale.sold, -sale.amount)
        self._add(sale.bought, received)
        self.done.append(
            Transaction(
                seq=len(self.done) + 1,
                type=TransactionType.CONVERSION,
                from_location=WALLET,
                to_location=WALLET,
                token=sale.sold,
                amount=sale.amount,
                amount_usd=self._usd(sale.sold, sale.amount),
                to_token=sale.bought,
                to_amount=received,
                conversion_cost_usd=fee_usd,
                gas=self._pay_gas(sale.gas_usd),
            )
        )

    def hold(self, pool_id: str, token: str, amount: float) -> None:
        """Note that a position stays as it is."""
        self.done.append(
            Transaction(
                seq=len(self.done) + 1,
                type=TransactionType.HOLD,
                from_location=pool_id,
                to_location=pool_id,
                token=token,
                amount=amount,
                amount_usd=self._usd(token, amount),
            )
        )

    def proceeds(self, sale: Sale) -> tuple[float, float]:
        """Amount received after the fee, and the fee in USD."""
        sold_usd = self._usd(sale.sold, sale.amount)
        fee_usd = self.problem.parameters.conversion_rate * sold_usd
        return (sold_usd - fee_usd) / self.problem.prices_usd[sale.bought], fee_usd

    def _record(
        self, kind: TransactionType, source: str, target: str, leg: Leg, gas_usd: float
    ) -> None:
        amount_usd = self._usd(leg.token, leg.amount)
        gas = self._pay_gas(gas_usd)
        self.done.append(
            Transaction(
                len(self.done) + 1, kind, source, target, leg.token, leg.amount, amount_usd, gas=gas
            )
        )

    # --- gas ---

    def _pay_gas(self, gas_usd: float) -> tuple[GasPayment, ...]:
        payments: list[GasPayment] = []
        due = gas_usd
        while due > DUST_USD:
            token, available, sale = self._payer(due)
            if available <= DUST_USD:
                raise NotPayableError(
                    f"{due} USD of gas cannot be paid at step {len(self.done) + 1}",
                    remedy="report this as a bug, with the problem file",
                )
            paid_usd = min(due, available)
            amount = paid_usd / self.problem.prices_usd[token]
            if sale is not None:
                self.sell_less(sale, amount)
            self._add(token, -amount)
            self.surplus[token] -= amount
            payments.append(GasPayment(token, amount, self._usd(token, amount)))
            due -= paid_usd
        return tuple(payments)

    def _payer(self, due_usd: float) -> tuple[str, float, int | None]:
        """What can pay now: the token, how many USD of it, and the sale that shrinks for it.

        First what is spare; else what would be sold for something that is spare; dust comes last.
        """
        spare = {
            token: min(self._usd(token, self.surplus[token]), self._usd(token, balance))
            for token, balance in sorted(self.wallet.items())
        }
        best = max(spare, key=lambda token: spare[token])
        ways: list[tuple[str, float, int | None]] = [(best, spare[best], None)]
        for n, sale in enumerate(self.sales):
            available = min(
                self._usd(sale.sold, self.wallet[sale.sold]),
                self._usd(sale.sold, sale.amount),
                self._usd(sale.bought, self.surplus[sale.bought]),
            )
            ways.append((sale.sold, available, n))
        enough_usd = min(due_usd, CENT_USD)
        whole = (way for way in ways if way[1] >= enough_usd)
        return next(whole, max(ways, key=lambda way: way[1]))

    def sell_less(self, n: int, amount: float) -> None:
        """Shrink sale number ``n``: more of its token is spare, and less of what it buys."""
        sale = self.sales[n]
        less = replace(sale, amount=sale.amount - amount)
        self.surplus[sale.sold] += amount
        self.surplus[sale.bought] += self.proceeds(less)[0] - self.proceeds(sale)[0]
        self.sales[n] = less

    # --- order ---

    def withdraw_all(self, legs: list[Leg]) -> None:
        """Withdraw in the given order, but first what the gas at hand can pay for."""
        waiting = list(legs)
        while waiting:
            waiting.pop(self._first_possible([partial(self.withdraw, leg) for leg in waiting]))

    def convert_all(self) -> None:
        """Make every sale, each when what it sells and its gas are there."""
        while self.sales:
            self._first_possible([partial(self._convert_next, n) for n in range(len(self.sales))])

    def _convert_next(self, n: int) -> None:
        sale = self.sales.pop(n)
        if self.wallet[sale.sold] < sale.amount - self._rounding(sale.sold):
            raise NotPayableError(f"{sale.amount} {sale.sold} are not there yet")
        self.convert(sale)

    def _first_possible(self, steps: list[Callable[[], None]]) -> int:
        """Take the first step that can be paid; what a failed attempt did is undone."""
        failures = []
        for n, step in enumerate(steps):
            kept = (dict(self.wallet), dict(self.positions), dict(self.surplus), list(self.sales))
            try:
                step()
            except NotPayableError as failure:
                failures.append(failure)
                self.wallet, self.positions, self.surplus, self.sales = kept
            else:
                return n
        raise failures[0]

    # --- balances ---

    def _usd(self, token: str, amount: float) -> float:
        return amount * self.problem.prices_usd[token]

    def _add(self, token: str, amount: float) -> None:
        balance = self.wallet.get(token, 0.0) + amount
        # what floats leave of an emptied balance is not money
        self.wallet[token] = 0.0 if abs(balance) < self._rounding(token) else balance

    def _rounding(self, token: str) -> float:
        return rounding_amount(token, self.problem.prices_usd, self.problem.aum_usd)
