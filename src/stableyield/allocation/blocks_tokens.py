"""Blocks of the model that are about tokens: conversions, balances, gas, and rows that tighten."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.assembly import OBJECTIVE_SCALE, Assembly
from stableyield.allocation.terms import Legs, Moves
from stableyield.domain.rates import growth

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TIE_BREAK_USD = 1e-6  # per transaction: of two equal plans, the one with fewer transactions


@dataclass(frozen=True, eq=False)
class Arcs:
    """Conversions that can make sense: token ``sold[a]`` for token ``bought[a]``."""

    sold: Ints
    bought: Ints
    moves: Moves


def add_conversions(a: Assembly, deposits: Moves) -> Arcs:
    """Arcs from tokens that we can have to tokens that a deposit can need, not both ways at once.

    The largest amount of an arc is the smaller of what can be there and what can be needed.
    """
    fee = a.problem.parameters.conversion_rate
    available = a.wallet.copy()
    for legs, amount in ((a.claim_legs, a.claim), (a.stranded_legs, a.stranded)):
        held = np.isin(legs.pool, a.held)
        np.add.at(available, legs.token[held], (legs.share * amount[legs.pool])[held])
    room = np.zeros(a.n_pools)
    room[deposits.pool] = deposits.maximum
    needed = np.zeros(a.n_tokens)
    np.add.at(needed, a.pool_legs.token, a.pool_legs.share * room[a.pool_legs.pool])
    largest = np.minimum(available[:, None], needed[None, :] / (1.0 - fee))
    possible = (largest > 0.0) & (largest >= a.minimum_move) & ~np.eye(a.n_tokens, dtype=bool)
    sold, bought = np.nonzero(possible)
    largest_of_arc = largest[sold, bought]
    moves = Moves.add(
        a.model,
        np.arange(len(sold)),
        np.minimum(a.minimum_move, largest_of_arc),
        largest_of_arc,
    )
    arcs = Arcs(sold, bought, moves)
    _forbid_both_ways(a, arcs)
    return arcs


def _forbid_both_ways(a: Assembly, arcs: Arcs) -> None:
    number = {(j, k): n for n, (j, k) in enumerate(zip(arcs.sold, arcs.bought, strict=True))}
    for (j, k), n in number.items():
        back = number.get((k, j))
        if back is not None and j < k:
            row = a.model.row("one way between two tokens", upper=1.0)
            a.model.put(row, arcs.moves.binary[[n, back]], 1.0)


def balance_tokens(
    a: Assembly, deposits: Moves, withdrawals: Moves, rescues: Moves, arcs: Arcs
) -> Ints:
    """Every token: wallet + withdrawn + bought = deposited + sold + gas paid + left.

    Returns the columns of the gas payments, by token.
    """
    model, fee = a.model, a.problem.parameters.conversion_rate
    rows = np.array(
        [
            model.row(f"balance {token}", w, w)
            for token, w in zip(a.problem.tokens, -a.wallet, strict=True)
        ]
    )
    for legs, moves, sign in (
        (a.pool_legs, deposits, -1.0),
        (a.claim_legs, withdrawals, 1.0),
        (a.stranded_legs, rescues, 1.0),
    ):
        _put_legs(a, rows, legs, moves, sign)
    m = arcs.moves
    for column, value in ((m.binary, m.minimum), (m.excess, np.ones(len(m.pool)))):
        model.put(rows[arcs.sold], column, -value)
        model.put(rows[arcs.bought], column, (1.0 - fee) * value)
    cash = growth(a.problem.parameters.cash_apy, a.problem.parameters.horizon_days)
    left = model.columns(a.n_tokens, cost=OBJECTIVE_SCALE * cash)
    paid = model.columns(a.n_tokens)
    model.put(rows, left, -1.0)
    model.put(rows, paid, -1.0)
    return paid


def _put_legs(a: Assembly, rows: Ints, legs: Legs, moves: Moves, sign: float) -> None:
    place = moves.columns_by_pool(a.n_pools, np.arange(len(moves.pool)))[legs.pool]
    moved = place >= 0
    place, token, share = place[moved], legs.token[moved], sign * legs.share[moved]
    a.model.put(rows[token], moves.binary[place], share * moves.minimum[place])
    a.model.put(rows[token], moves.excess[place], share)


def charge_costs(
    a: Assembly, deposits: Moves, withdrawals: Moves, rescues: Moves, arcs: Arcs, paid: Ints
) -> None:
    """Gas of every transaction, paid from the wallet, and the conversion fee, in the objective."""
    problem = a.problem
    n_claim, n_stranded = a.claim_legs.count(a.n_pools), a.stranded_legs.count(a.n_pools)
    gas = (
        (deposits, problem.gas_deposit_usd[deposits.pool]),
        (withdrawals, _withdrawal_gas(a, withdrawals, n_claim)),
        (rescues, _withdrawal_gas(a, rescues, n_stranded)),
        (arcs.moves, np.full(len(arcs.sold), problem.gas.conversion)),
    )
    fixed = a.exit_gas_usd / a.unit_usd
    row = a.model.row("gas is paid", fixed, fixed)
    a.model.put(row, paid, 1.0)
    for moves, gas_usd in gas:
        a.model.put(row, moves.binary, -gas_usd / a.unit_usd)
        a.model.add_cost(moves.binary, -a.objective(gas_usd + TIE_BREAK_USD))
    fee = problem.parameters.conversion_rate
    a.model.add_cost(arcs.moves.binary, -OBJECTIVE_SCALE * fee * arcs.moves.minimum)
    a.model.add_cost(arcs.moves.excess, np.full(len(arcs.sold), -OBJECTIVE_SCALE * fee))


def _withdrawal_gas(a: Assembly, moves: Moves, n_legs: Ints) -> Floats:
    return np.array([a.problem.gas_withdrawal_usd(int(i), int(n_legs[i])) for i in moves.pool])


def tighten(a: Assembly, deposits: Moves, withdrawals: Moves, rescues: Moves, arcs: Arcs) -> None:
    """Rows that every plan obeys anyway and that bring the relaxation close to the truth.

    A deposit that needs more of a token than the wallet has needs a conversion into that token or
    a withdrawal that brings it: ``share * D <= min(w, share * cap) z + (share * cap - w)+ * (number
    of conversions into the token) + what withdrawals can bring``.
    """
    place = deposits.columns_by_pool(a.n_pools, np.arange(len(deposits.pool)))
    legs = a.pool_legs
    into = [arcs.moves.binary[arcs.bought == token] for token in range(a.n_tokens)]
    sources = _sources(a, withdrawals, rescues)
    own = set(withdrawals.binary.tolist())  # a pool does not finance itself
    for pool, token, share in zip(legs.pool, legs.token, legs.share, strict=True):
        d = place[pool]
        if d < 0:
            continue
        most, wallet = share * deposits.maximum[d], a.wallet[token]
        missing = most - wallet
        if missing <= 0.0:
            continue
        row = a.model.row("a deposit has a source", upper=0.0)
        a.model.put(row, deposits.excess[d], share)
        a.model.put(row, deposits.binary[d], share * deposits.minimum[d] - min(wallet, most))
        a.model.put(row, into[token], -missing)
        for source_pool, binary, amount in sources[token]:
            if source_pool != pool or binary not in own:
                a.model.put(row, binary, -min(amount, missing))


def _sources(a: Assembly, withdrawals: Moves, rescues: Moves) -> list[list[tuple[int, int, float]]]:
    """By token: the pool, the binary and the amount of each withdrawal that can bring it."""
    sources: list[list[tuple[int, int, float]]] = [[] for _ in range(a.n_tokens)]
    for legs, moves in ((a.claim_legs, withdrawals), (a.stranded_legs, rescues)):
        place = moves.columns_by_pool(a.n_pools, np.arange(len(moves.pool)))
        for pool, token, share in zip(legs.pool, legs.token, legs.share, strict=True):
            if place[pool] >= 0:
                n = place[pool]
                sources[token].append((pool, int(moves.binary[n]), share * moves.maximum[n]))
    return sources
