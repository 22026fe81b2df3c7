"""Withdrawals of the owner that the wallet cannot pay: the run raises them before it decides.

As in a backtest (`stableyield.backtest.cash_flows`) a withdrawal is an obligation. It is paid from
the wallet; what that lacks is bought with its other tokens, and then with what positions can give.
Those steps come first in the plan, the allocation decides on what is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stableyield.allocation import Plan
from stableyield.backtest.cash_flows import DUST_AMOUNT, raise_cash
from stableyield.backtest.day import Prepared
from stableyield.domain.portfolio import Book, Settlement, Transaction, TransactionType
from stableyield.errors import InputError
from stableyield.pipeline.move_rule import Movement

_PAYMENT = "payment"


@dataclass(frozen=True)
class Payment:
    """What the owner is paid on a day, and how it was raised.

    Parameters
    ----------
    book : Book
        After the payment: what the allocation decides on.
    paid : mapping of token to amount
    raised : Settlement, optional
        What was sold and withdrawn for it; None: the wallet had it.
    """

    book: Book
    paid: Mapping[str, float] = field(default_factory=dict)
    raised: Settlement | None = None

    @property
    def steps(self) -> tuple[Transaction, ...]:
        """The steps that raise it; what stays where it is is the business of the plan."""
        found = () if self.raised is None else self.raised.transactions
        moving = (step for step in found if step.type is not TransactionType.HOLD)
        return tuple(replace(step, seq=n) for n, step in enumerate(moving, start=1))

    @property
    def costs_usd(self) -> float:
        """Gas and fees of raising it."""
        return 0.0 if self.raised is None else self.raised.costs_usd

    def to_dict(self) -> dict[str, Any]:
        """As the plan's explanation has it."""
        gas, conversion = (
            (0.0, 0.0) if self.raised is None else (self.raised.gas_usd, self.raised.conversion_usd)
        )
        costs = {"gas_usd": gas, "conversion_usd": conversion, "total_usd": self.costs_usd}
        steps = [step.to_dict() for step in self.steps]
        return {"paid": dict(self.paid), "costs": costs, "steps": steps}

    @property
    def sentence(self) -> str:
        """It in one line."""
        amounts = ", ".join(f"{amount:,.2f} {token}" for token, amount in self.paid.items())
        return f"Pay the owner {amounts}, raised in {len(self.steps)} steps."


def pay(prepared: Prepared, owed: Mapping[str, float]) -> Payment:
    """Raise what is owed, and pay it.

    Parameters
    ----------
    prepared : Prepared
        The day, with the book before the payment.
    owed : mapping of token to amount

    Raises
    ------
    InputError
        When it cannot be raised in full: positions are frozen, or what is there is not enough.
    """
    if not owed:
        return Payment(prepared.book)
    raised = raise_cash(prepared.expected_problem, owed)
    book = prepared.book if raised is None else raised.after
    for token, amount in owed.items():
        short = amount - book.wallet.get(token, 0.0)
        if short > DUST_AMOUNT:
            raise InputError(
                f"the owner takes {amount:,.6f} {token}, and {short:,.6f} of it cannot be raised",
                where=f"day {prepared.inputs.view.day}",
                remedy=f"take less: stableyield ledger deposit {token} {short:.6f} brings the rest "
                "back into the books; take it on a later day",
            )
    wallet = {
        token: max(amount - owed.get(token, 0.0), 0.0) for token, amount in book.wallet.items()
    }
    return Payment(Book(wallet, book.positions), dict(owed), raised)


def with_payment(plan: Plan, movement: Movement, payment: Payment) -> tuple[Plan, Movement]:
    """Plan and movement of a day on which the owner may be paid: both say so then.

    The plan itself stays the one of the book after the payment, and is verified as such; see
    `whole_document`.
    """
    if not payment.paid:
        return plan, movement
    told = replace(movement, sentence=f"{payment.sentence} {movement.sentence}")
    of_plan = {"move_rule": told.to_dict(), _PAYMENT: payment.to_dict()}
    return replace(plan, explain=lambda: {**plan.explanation, **of_plan}), told


def whole_document(plan: Plan) -> dict[str, Any]:
    """The plan file of a day: the steps of a payment first, its costs among the costs.

    ``paid_to_owner`` are the amounts by token, where there are any.
    """
    document = plan.to_document()
    payment = document["explanation"].get(_PAYMENT)
    if payment is None:
        return document
    first = payment["steps"]
    later = [step | {"seq": step["seq"] + len(first)} for step in document["transactions"]]
    costs = {name: usd + payment["costs"][name] for name, usd in document["costs"].items()}
    return document | {
        "aum_before_usd": document["aum_before_usd"] + payment["costs"]["total_usd"],
        "costs": costs,
        "transactions": [*first, *later],
        "paid_to_owner": payment["paid"],
    }


def all_steps(plan: Plan, payment: Payment) -> tuple[Transaction, ...]:
    """Every step of a day in its order, those of the payment first."""
    first = payment.steps
    later = (replace(step, seq=step.seq + len(first)) for step in plan.settlement.transactions)
    return (*first, *later)
