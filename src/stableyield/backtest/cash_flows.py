"""Deposits and withdrawals of the owner: money that comes and goes beside the policy.

A flow of exec day t happens at the end of that day, at its prices and before its decision. A
deposit goes to the wallet. A withdrawal is an obligation: it is paid from the wallet; what that
lacks is bought with the other tokens of the wallet, and then with what positions can give, at
the gas and fees of the day. What cannot be raised (frozen pools, a day whose data cannot be
traded on, gas) is owed, flagged, and tried again on the next day before anything else is done.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from pathlib import Path

from stableyield.allocation.desk import Leg, NotPayableError, Sale
from stableyield.allocation.problem import AllocationProblem
from stableyield.allocation.settle import carry_out, floor_amount, withdrawal_legs
from stableyield.backtest.day import DayInputs, prepare
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import CENT_USD, Book, Settlement, price_of
from stableyield.errors import ConservationError, ContractError, InputError

RESERVES_USD = (0.01, 1.0, 100.0)  # raised beyond the need, until rounding and fees are met
DUST_AMOUNT = 1e-6  # token units: what is not worth owing


@dataclass(frozen=True, order=True)
class CashFlow:
    """Money that the owner brings or takes.

    Parameters
    ----------
    day : date
        Exec day before whose decision it happens.
    token : str
    amount : float
        Token units; negative takes out.

    Raises
    ------
    InputError
        When the amount is zero or not finite.
    """

    day: date
    token: str
    amount: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.amount) or self.amount == 0.0:
            raise InputError(
                f"the cash flow of {self.token} is {self.amount}",
                where=f"day {self.day}",
                remedy="give token units: positive to bring, negative to take",
            )


def flows_by_day(flows: Iterable[CashFlow]) -> dict[date, tuple[CashFlow, ...]]:
    """The flows of each day, deposits first."""
    in_order = sorted(flows, key=lambda flow: (flow.day, flow.amount < 0.0, flow.token))
    return {day: tuple(group) for day, group in groupby(in_order, key=lambda flow: flow.day)}


def read_cash_flows(path: Path) -> tuple[CashFlow, ...]:
    """The cash flows of a CSV file with the columns ``day``, ``token`` and ``amount``.

    Raises
    ------
    InputError
        When the file is missing, a column is missing or unknown, or a row cannot be read; names
        the row.
    """
    import csv  # noqa: PLC0415 - only where there is a file

    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot be read: {error}", where=str(path), remedy="name a CSV file of cash flows"
        ) from error
    rows = csv.DictReader(text.splitlines())
    if sorted(rows.fieldnames or ()) != ["amount", "day", "token"]:
        raise ContractError(
            f"the columns are {', '.join(rows.fieldnames or ()) or 'absent'}",
            where=str(path),
            remedy="they are day, token, amount",
        )
    return tuple(_flow_of(row, f"{path}, row {n}") for n, row in enumerate(rows, start=2))


def _flow_of(row: Mapping[str, str | None], where: str) -> CashFlow:
    values = [(row[name] or "").strip() for name in ("day", "token", "amount")]
    try:
        flow = CashFlow(date.fromisoformat(values[0]), values[1], float(values[2]))
    except InputError as error:
        raise ContractError(error.what, where=where, remedy=error.remedy) from error
    except ValueError as error:
        raise ContractError(
            f"{', '.join(values)!r} is no cash flow: {error}",
            where=where,
            remedy="write 2024-03-01,USDC,-5000",
        ) from error
    if not flow.token or None in row:
        raise ContractError(
            "it has no token, or a field too many", where=where, remedy="2024-03-01,USDC,-5000"
        )
    return flow


@dataclass(frozen=True)
class Served:
    """What came of the owner's flows of a day.

    Parameters
    ----------
    book : Book
        After the flows.
    flow_usd : float
        What came in less what went out, at the day's prices.
    owed : mapping of token to amount
        What could not be paid.
    raised : Settlement, optional
        What was sold and withdrawn to pay.
    """

    book: Book
    flow_usd: float = 0.0
    owed: Mapping[str, float] = field(default_factory=dict)
    raised: Settlement | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader must know: withdrawals that wait."""
        return tuple(f"owed to the owner: {amount} {token}" for token, amount in self.owed.items())


def serve(
    inputs: DayInputs, book: Book, owed: Mapping[str, float], flows: Sequence[CashFlow]
) -> Served:
    """Take the owner's deposits of a day, and pay what he is owed as far as the book can.

    Parameters
    ----------
    inputs : DayInputs
    book : Book
        At the end of the day, before its flows and its decision.
    owed : mapping of token to amount
        From earlier days.
    flows : sequence of CashFlow
        Of the day.

    Raises
    ------
    MissingDataError
        When a token that comes in or goes out has no price.
    ConservationError
        When AUM before plus flows is not AUM after plus costs, to a cent: a bug.
    """
    book = _deposited(book, flows)
    prepared = prepare(inputs, book, inputs.parameters)
    prices, owed = prepared.prices_usd, _due(owed, flows)
    raised = None if inputs.critical else raise_cash(prepared.expected_problem, owed)
    paid_from = book if raised is None else raised.after
    wallet = dict(paid_from.wallet)
    paid = {token: min(amount, wallet.get(token, 0.0)) for token, amount in owed.items()}
    wallet |= {token: wallet[token] - amount for token, amount in paid.items() if amount}
    came = {flow.token: 0.0 for flow in flows if flow.amount > 0.0}
    for flow in flows:
        if flow.amount > 0.0:
            came[flow.token] += flow.amount
    served = Served(
        Book(wallet, paid_from.positions),
        math.fsum(
            sign * amount * price_of(token, prices, f"cash flow on {inputs.view.day}")
            for sign, flow in ((1.0, came), (-1.0, paid))
            for token, amount in flow.items()
            if amount
        ),
        {t: a - paid[t] for t, a in owed.items() if a - paid[t] > DUST_AMOUNT},
        raised,
    )
    costs_usd = 0.0 if raised is None else raised.costs_usd
    came_usd = math.fsum(amount * prices[token] for token, amount in came.items())
    expected_usd = prepared.aum_usd - came_usd + served.flow_usd - costs_usd
    if abs(served.book.aum_usd(prices) - expected_usd) > CENT_USD:
        raise ConservationError(
            f"{expected_usd} USD are expected after the owner's flows, "
            f"{served.book.aum_usd(prices)} USD are there",
            where=f"day {inputs.view.day}",
        )
    return served


def _due(owed: Mapping[str, float], flows: Sequence[CashFlow]) -> dict[str, float]:
    """What has to be paid out on a day, in token units: its own withdrawals and older ones."""
    total = {token: [amount] for token, amount in owed.items()}
    for flow in flows:
        if flow.amount < 0.0:
            total.setdefault(flow.token, []).append(-flow.amount)
    return {token: math.fsum(parts) for token, parts in sorted(total.items())}


def _deposited(book: Book, flows: Sequence[CashFlow]) -> Book:
    """The book with the deposits of a day in its wallet."""
    wallet = dict(book.wallet)
    for flow in flows:
        if flow.amount > 0.0:
            wallet[flow.token] = wallet.get(flow.token, 0.0) + flow.amount
    return Book(wallet, book.positions)


# --- raising cash ---


def raise_cash(problem: AllocationProblem, owed: Mapping[str, float]) -> Settlement | None:
    """The settlement that brings what is owed into the wallet, as far as the book can give it.

    Other tokens of the wallet are sold first, the largest first; then positions are reduced:
    those that hold an owed token before others, the largest first. None where there is nothing
    to do or nothing to do it with.

    Parameters
    ----------
    problem : AllocationProblem
        Of the day and the book; frozen pools give nothing.
    owed : mapping of token to amount
    """
    wallet = problem.book.wallet
    need = {t: a - wallet.get(t, 0.0) for t, a in owed.items() if a > wallet.get(t, 0.0)}
    need = {t: a for t, a in need.items() if a > DUST_AMOUNT and t in problem.token_index}
    if not need:
        return None
    for reserve_usd in RESERVES_USD[:-1]:
        try:
            return _raised(problem, owed, need, reserve_usd)
        except NotPayableError:
            continue  # fees on what gas is paid with, and their order: raise more
    return _raised(problem, owed, need, RESERVES_USD[-1])


def _raised(
    problem: AllocationProblem,
    owed: Mapping[str, float],
    need: Mapping[str, float],
    reserve_usd: float,
) -> Settlement | None:
    """See `raise_cash`; ``reserve_usd`` more of each token."""
    prices = problem.prices_usd
    cash_usd = {
        token: max(amount - owed.get(token, 0.0), 0.0) * prices[token]
        for token, amount in problem.book.wallet.items()
        if token in prices
    }
    need_usd = {token: amount * prices[token] + reserve_usd for token, amount in need.items()}
    legs = list(_withdrawals(problem, need_usd, cash_usd))
    for leg in legs:
        cash_usd[leg.token] = cash_usd.get(leg.token, 0.0) + leg.amount * prices[leg.token]
    gas_usd = math.fsum(leg.gas_usd for leg in legs)
    sales = list(_sales(problem, need_usd, cash_usd, gas_usd))
    return carry_out(problem, legs, sales, ()) if legs or sales else None


def _withdrawals(
    problem: AllocationProblem, need_usd: Mapping[str, float], cash_usd: Mapping[str, float]
) -> Iterator[Leg]:
    """Legs that bring what the wallet cannot."""
    kept, conversion = 1.0 - problem.parameters.conversion_rate, problem.gas.conversion
    sold_usd = (max(usd - conversion, 0.0) * kept for usd in cash_usd.values())
    missing_usd = math.fsum(need_usd.values()) - math.fsum(sold_usd)
    for i in _sources(problem, need_usd):
        if missing_usd <= 0.0:
            return
        legs = {**problem.claim_legs_usd.get(i, {}), **problem.stranded_legs_usd.get(i, {})}
        value_usd, n_sold = math.fsum(legs.values()), len(set(legs) - set(need_usd))
        n_paid = len(legs) if problem.parameters.gas_per_leg else 1
        costs_usd = problem.gas_of(i).withdrawal * n_paid + conversion * n_sold
        after_fee = kept if n_sold else 1.0
        # gas may come out of what is sold, so the fee is reckoned on all of it
        wanted_usd = (missing_usd + costs_usd) / after_fee
        if value_usd * after_fee <= costs_usd:  # it would cost more than it brings
            continue
        is_whole = value_usd - wanted_usd < problem.parameters.min_position_usd
        share = 1.0 if is_whole else wanted_usd / value_usd
        yield from withdrawal_legs(problem, i, legs, share)
        missing_usd -= share * value_usd * after_fee - costs_usd


def _sources(problem: AllocationProblem, need_usd: Mapping[str, float]) -> list[int]:
    """Pools that can give something, in the order in which they are asked."""
    able = [
        i
        for i, pool in enumerate(problem.pools)
        if pool.state is not PoolState.FROZEN and problem.position_usd[i] > 0.0
    ]

    def order(i: int) -> tuple[bool, float, str]:
        pool = problem.pools[i]
        return (
            not set(pool.tokens) & set(need_usd),
            -float(problem.position_usd[i]),
            pool.pool_id,
        )

    return sorted(able, key=order)


def _sales(
    problem: AllocationProblem,
    need_usd: Mapping[str, float],
    cash_usd: Mapping[str, float],
    gas_usd: float,
) -> Iterator[Sale]:
    """Sell what is spare, the largest first, for what is owed and for the gas of getting it."""
    prices, conversion = problem.prices_usd, problem.gas.conversion
    kept = 1.0 - problem.parameters.conversion_rate
    spare = {token: usd - need_usd.get(token, 0.0) for token, usd in cash_usd.items()}
    for bought, usd_needed in need_usd.items():
        missing_usd = usd_needed + gas_usd - cash_usd.get(bought, 0.0)
        for sold in sorted(spare, key=lambda token: (-spare[token], token)):
            usd = min((missing_usd + conversion) / kept, spare[sold])
            if sold == bought or missing_usd <= 0.0 or usd * kept <= conversion + RESERVES_USD[0]:
                continue  # it would cost what it brings
            amount = floor_amount(usd / prices[sold], prices[sold])
            yield Sale(sold, bought, amount, conversion)
            spare[sold] -= usd
            missing_usd -= usd * kept - conversion  # the gas may come out of what is bought
