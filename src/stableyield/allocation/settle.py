"""From a solution in model units to transactions in token units that balance.

Partial amounts are cut to base units (six decimals; eight for a token above 100 USD), full exits
take what is there to the last unit; what rounding makes short comes out of the largest deposit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.desk import DUST_USD, Desk, Leg, Sale
from stableyield.allocation.milp import AllocationModel
from stableyield.allocation.problem import AllocationProblem
from stableyield.allocation.terms import Moves
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import CENT_USD, FLOAT_ROUNDING, Book, Settlement
from stableyield.errors import IntegrityError

Floats = NDArray[np.float64]

FULL_SHARE = 1.0 - 1e-9
SOLVER_ROUNDING = 1e-9  # of AUM: what the flows of a solution may be short of


def settle(problem: AllocationProblem, model: AllocationModel, x: Floats) -> Settlement:
    """The transactions of solution ``x``, settled.

    Raises
    ------
    ConservationError
        When the books do not balance: a bug.
    """
    return carry_out(
        problem,
        _withdrawals(problem, model, x),
        _sales(problem, model, x),
        _deposits(problem, model, x),
    )


def nothing_done(problem: AllocationProblem) -> Settlement:
    """The settlement of doing nothing."""
    return carry_out(problem, (), (), ())


def carry_out(
    problem: AllocationProblem,
    withdrawals: Sequence[Leg],
    sales: Sequence[Sale],
    deposits: Sequence[Leg],
) -> Settlement:
    """Carry out withdrawals, conversions and deposits, paying gas and fees on the way.

    Deposits give way by up to a cent a token where rounding made something short.

    Raises
    ------
    IntegrityError
        When the moves cannot be paid from the book: a bug of whoever chose them.
    """
    # where a transaction costs nothing the solver may switch one on that moves nothing
    withdrawals, sales, deposits = (
        _without_nothings(withdrawals),
        _without_nothings(sales),
        _without_nothings(deposits),
    )
    wallet = {token: problem.book.wallet.get(token, 0.0) for token in problem.tokens}
    desk = Desk(problem, wallet, dict(problem.book.positions), sales=list(sales))
    desk.surplus = _surplus(problem, desk, withdrawals, deposits)
    withdrawals, deposits = _affordable(problem, desk, withdrawals, deposits)
    slack = {
        token: problem.prices_usd[token]
        * (desk.surplus[token] + sum(s.amount for s in desk.sales if s.sold == token))
        for token in problem.tokens
    }
    # first what brings spare money, so that gas can be paid from the first step on
    desk.withdraw_all(
        sorted(withdrawals, key=lambda w: (-min(slack[w.token], 1e3), -w.amount, w.pool, w.token))
    )
    desk.convert_all()
    for leg in deposits:
        desk.deposit(leg)
    touched = {(problem.pools[leg.pool].pool_id, leg.token) for leg in [*withdrawals, *deposits]}
    for key, amount in problem.book.positions.items():
        if key not in touched:
            desk.hold(*key, amount)
    return Settlement(
        problem.book, Book(desk.wallet, desk.positions), problem.prices_usd, tuple(desk.done)
    )


Step = TypeVar("Step", Leg, Sale)


def _without_nothings(steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if step.amount > 0.0 or step.gas_usd > 0.0]


# --- legs of one move ---


def withdrawal_legs(
    problem: AllocationProblem, pool: int, held_usd: Mapping[str, float], share: float = 1.0
) -> Iterator[Leg]:
    """The legs of withdrawing ``share`` of what pool number ``pool`` holds of some tokens."""
    pool_id = problem.pools[pool].pool_id
    gas_usd = problem.gas_of(pool).withdrawal
    for token in sorted(held_usd):
        held = problem.book.positions[pool_id, token]
        cut = min(floor_amount(share * held, problem.prices_usd[token]), held)
        amount = held if share >= FULL_SHARE else cut
        yield Leg(pool, token, amount, gas_usd)
        gas_usd = gas_usd if problem.parameters.gas_per_leg else 0.0


def deposit_legs(problem: AllocationProblem, pool: int, amount_usd: float) -> Iterator[Leg]:
    """The legs of depositing ``amount_usd`` into pool number ``pool``, in the pool's shares."""
    gas_usd = problem.gas_of(pool).allocation
    tokens = problem.pools[pool]
    for token, share in zip(tokens.tokens, tokens.token_shares, strict=True):
        price = problem.prices_usd[token]
        amount = floor_amount(amount_usd * share / price, price)
        yield Leg(pool, token, amount, gas_usd)
        gas_usd = gas_usd if problem.parameters.gas_per_leg else 0.0


def floor_amount(amount: float, price_usd: float = 1.0) -> float:
    """``amount`` cut to base units; a thousandth of a base unit is rounding noise."""
    units = _base_units(price_usd)
    return math.floor(amount * units + 1e-3) / units


def _base_units(price_usd: float) -> float:
    """Base units of a token: USDC and USDT have 10^6, WBTC has 10^8, ETH more."""
    return 1e6 if price_usd < 100.0 else 1e8


# --- flows of the solution in token units ---


def _moved(moves: Moves, model: AllocationModel, x: Floats) -> Iterator[tuple[int, float]]:
    """Pool (or arc) number and USD of each move that happens."""
    amounts_usd = moves.amounts(x) * model.unit_usd
    for pool, binary, amount_usd in zip(moves.pool, moves.binary, amounts_usd, strict=True):
        if round(x[binary]) == 1:
            yield int(pool), max(float(amount_usd), 0.0)


def _withdrawals(problem: AllocationProblem, model: AllocationModel, x: Floats) -> list[Leg]:
    shares = {
        i: {**problem.claim_legs_usd.get(i, {}), **problem.stranded_legs_usd.get(i, {})}
        for i, pool in enumerate(problem.pools)
        if pool.state is PoolState.EXIT and problem.position_usd[i] > 0.0
    }
    legs = [leg for i, held in shares.items() for leg in withdrawal_legs(problem, i, held)]
    for moves, held_legs, held_usd in (
        (model.withdrawals, problem.claim_legs_usd, problem.claim_usd),
        (model.rescues, problem.stranded_legs_usd, problem.stranded_usd),
    ):
        for i, amount_usd in _moved(moves, model, x):
            legs += withdrawal_legs(problem, i, held_legs[i], amount_usd / held_usd[i])
    return legs


def _sales(problem: AllocationProblem, model: AllocationModel, x: Floats) -> list[Sale]:
    moved = {
        (problem.tokens[model.arcs.sold[arc]], problem.tokens[model.arcs.bought[arc]]): amount_usd
        for arc, amount_usd in _moved(model.arcs.moves, model, x)
    }
    sales = []
    for (sold, bought), amount_usd in without_circles(moved).items():
        price = problem.prices_usd[sold]
        amount = floor_amount(amount_usd / price, price)
        sales.append(Sale(sold, bought, amount, problem.gas.conversion))
    return sales


def without_circles(sold_usd: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """The same conversions, by (sold, bought), without money that goes in a circle.

    Where conversions cost next to nothing, a plan within the gap may hold such a circle; nobody
    could begin it, as each of its sales waits for another.
    """
    left = dict(sold_usd)
    while circle := _circle(list(left)):
        least = min(left[arc] for arc in circle)
        left = {arc: usd - least * (arc in circle) for arc, usd in left.items()}
        left = {arc: usd for arc, usd in left.items() if usd > 0.0}
    return left


def _circle(arcs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Arcs that lead from a token back to it; empty where there are none."""
    open_arcs = list(arcs)
    while True:  # an arc into a token that nothing leaves is on no circle
        starts = {sold for sold, _ in open_arcs}
        kept = [arc for arc in open_arcs if arc[1] in starts]
        if len(kept) == len(open_arcs):
            break
        open_arcs = kept
    if not open_arcs:
        return []
    onwards = dict(reversed(open_arcs))
    path = [open_arcs[0][0]]
    while onwards[path[-1]] not in path:
        path.append(onwards[path[-1]])
    path = path[path.index(onwards[path[-1]]) :]
    return [(token, onwards[token]) for token in path]


def _deposits(problem: AllocationProblem, model: AllocationModel, x: Floats) -> list[Leg]:
    return [
        leg
        for i, amount_usd in _moved(model.deposits, model, x)
        for leg in deposit_legs(problem, i, amount_usd)
    ]


# --- what is spare ---


def _surplus(
    problem: AllocationProblem, desk: Desk, withdrawals: Sequence[Leg], deposits: Sequence[Leg]
) -> dict[str, float]:
    """What would be left of each token without gas, in token units; may be a little negative."""
    parts: dict[str, list[float]] = {token: [desk.wallet[token]] for token in problem.tokens}
    for leg in withdrawals:
        parts[leg.token].append(leg.amount)
    for leg in deposits:
        parts[leg.token].append(-leg.amount)
    for sale in desk.sales:
        parts[sale.sold].append(-sale.amount)
        parts[sale.bought].append(desk.proceeds(sale)[0])
    return {token: math.fsum(values) for token, values in parts.items()}


def _affordable(
    problem: AllocationProblem, desk: Desk, withdrawals: Sequence[Leg], deposits: Sequence[Leg]
) -> tuple[list[Leg], list[Leg]]:
    """Withdrawals and deposits without what rounding made short: a few base units, and the gas.

    Cuts deposits and sales, or draws more from a pool that keeps something. Updates the desk's
    sales and surplus.
    """
    legs = [*withdrawals, *deposits]
    withdrawals, deposits = list(withdrawals), list(deposits)
    gas_usd = math.fsum([leg.gas_usd for leg in legs] + [sale.gas_usd for sale in desk.sales])
    for _ in range(len(problem.tokens)):  # cutting a sale can make the token it buys short
        for token in problem.tokens:
            if desk.surplus[token] < 0.0:
                _cut(problem, desk, deposits, token, -desk.surplus[token])
    spare_usd = math.fsum(
        problem.prices_usd[t] * max(amount, 0.0) for t, amount in desk.surplus.items()
    )
    # dust of a token cannot pay, nor what floats lose on the way
    lost_usd = 2.0 * (DUST_USD * len(problem.tokens) + FLOAT_ROUNDING * problem.aum_usd)
    short_usd = gas_usd + lost_usd - spare_usd
    if gas_usd > 0.0 and short_usd > 0.0 and deposits:
        token = max(deposits, key=lambda leg: problem.prices_usd[leg.token] * leg.amount).token
        short = short_usd / problem.prices_usd[token]
        _cut(problem, desk, deposits, token, short)
    elif gas_usd > 0.0 and short_usd > 0.0:
        _draw(problem, desk, withdrawals, short_usd)
    return withdrawals, deposits


def _draw(problem: AllocationProblem, desk: Desk, withdrawals: list[Leg], short_usd: float) -> None:
    """Raise the largest withdrawal that leaves something in its pool, up to a cent."""

    def left_usd(leg: Leg) -> float:
        held = problem.book.positions[problem.pools[leg.pool].pool_id, leg.token]
        return (held - leg.amount) * problem.prices_usd[leg.token]

    partial = [n for n, leg in enumerate(withdrawals) if left_usd(leg) > CENT_USD]
    if partial and short_usd <= CENT_USD:
        n = max(partial, key=lambda m: left_usd(withdrawals[m]))
        leg, price = withdrawals[n], problem.prices_usd[withdrawals[n].token]
        more = math.ceil(short_usd / price * _base_units(price)) / _base_units(price)
        withdrawals[n] = replace(leg, amount=leg.amount + more)
        desk.surplus[leg.token] += more


def _cut(
    problem: AllocationProblem, desk: Desk, deposits: list[Leg], token: str, short: float
) -> None:
    """Lower the largest deposit in ``token``, else its largest sale, by ``short``, rounded up."""
    price, units = problem.prices_usd[token], _base_units(problem.prices_usd[token])
    short = math.ceil(short * units) / units
    legs = [n for n, leg in enumerate(deposits) if leg.token == token]
    sales = [n for n, sale in enumerate(desk.sales) if sale.sold == token]
    most_usd = max(CENT_USD, SOLVER_ROUNDING * problem.aum_usd)
    if not (legs or sales) or short * price > most_usd:
        raise IntegrityError(
            f"the solution is short of {short} {token}",
            remedy="report this as a bug, with the problem file",
        )
    if legs:
        n = max(legs, key=lambda m: deposits[m].amount)
        deposits[n] = replace(deposits[n], amount=deposits[n].amount - short)
        desk.surplus[token] += short
    else:
        n = max(sales, key=lambda m: desk.sales[m].amount)
        desk.sell_less(n, short)
