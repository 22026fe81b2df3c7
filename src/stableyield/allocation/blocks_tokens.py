"""Blocks of the model that are about tokens: balances, gas, and rows that tighten."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.assembly import OBJECTIVE_SCALE, Assembly
from stableyield.allocation.blocks_trade import TIE_BREAK_USD, Trade
from stableyield.allocation.terms import Legs, Moves
from stableyield.domain.rates import growth

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def balance_tokens(
    a: Assembly, deposits: Moves, withdrawals: Moves, rescues: Moves, trade: Trade
) -> Ints:
    """Every token: wallet + withdrawn + bought = deposited + sold + gas paid + left.

    Returns the columns of the gas payments, by token.
    """
    model = a.model
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
    trade.put_balances(a, rows)
    cash = growth(a.problem.parameters.cash_apy, a.problem.parameters.horizon_days)
    left = model.columns(a.n_tokens, cost=OBJECTIVE_SCALE * cash)
    paid = model.columns(a.n_tokens)
    model.put(rows, left, -1.0)
    model.put(rows, paid, -1.0)
    a.balance_rows, a.left = rows, left
    return paid


def _put_legs(a: Assembly, rows: Ints, legs: Legs, moves: Moves, sign: float) -> None:
    place = moves.columns_by_pool(a.n_pools, np.arange(len(moves.pool)))[legs.pool]
    moved = place >= 0
    place, token, share = place[moved], legs.token[moved], sign * legs.share[moved]
    a.model.put(rows[token], moves.binary[place], share * moves.minimum[place])
    a.model.put(rows[token], moves.excess[place], share)


def charge_costs(
    a: Assembly, deposits: Moves, withdrawals: Moves, rescues: Moves, trade: Trade, paid: Ints
) -> None:
    """Gas of every transaction, paid from the wallet, and the conversion fee, in the objective."""
    problem = a.problem
    n_claim, n_stranded = a.claim_legs.count(a.n_pools), a.stranded_legs.count(a.n_pools)
    gas = (
        (deposits, problem.gas_deposit_usd[deposits.pool]),
        (withdrawals, _withdrawal_gas(a, withdrawals, n_claim)),
        (rescues, _withdrawal_gas(a, rescues, n_stranded)),
    )
    fixed = a.exit_gas_usd / a.unit_usd
    row = a.gas_row = a.model.row("gas is paid", fixed, fixed)
    a.model.put(row, paid, 1.0)
    for moves, gas_usd in gas:
        a.model.put(row, moves.binary, -gas_usd / a.unit_usd)
        a.model.add_cost(moves.binary, -a.objective(gas_usd + TIE_BREAK_USD))
    trade.charge(a, row)


def _withdrawal_gas(a: Assembly, moves: Moves, n_legs: Ints) -> Floats:
    return np.array([a.problem.gas_withdrawal_usd(int(i), int(n_legs[i])) for i in moves.pool])


def tighten(a: Assembly, deposits: Moves, withdrawals: Moves, rescues: Moves, trade: Trade) -> None:
    """Rows that every plan obeys anyway and that bring the relaxation close to the truth.

    A deposit that needs more of a token than the wallet has needs a conversion into that token or
    a withdrawal that brings it: ``share * D <= min(w, share * cap) z + (share * cap - w)+ * (number
    of conversions into the token) + what withdrawals can bring``.
    """
    room, place = np.zeros(a.n_pools), np.zeros(a.n_pools, dtype=np.int64)
    room[deposits.pool], place[deposits.pool] = deposits.maximum, np.arange(len(deposits.pool))
    most = a.pool_legs.share * room[a.pool_legs.pool]
    legs = np.flatnonzero(most > a.wallet[a.pool_legs.token])
    pool, token, share = a.pool_legs.pool[legs], a.pool_legs.token[legs], a.pool_legs.share[legs]
    place, missing = place[pool], most[legs] - a.wallet[token]
    rows = a.model.rows("a deposit has a source", len(legs), upper=0.0)
    a.model.put(rows, deposits.excess[place], share)
    at_hand = np.minimum(a.wallet[token], most[legs])
    a.model.put(rows, deposits.binary[place], share * deposits.minimum[place] - at_hand)
    sources = _Sources.of(a, withdrawals, rescues)
    for bought in np.unique(token):
        needs = np.flatnonzero(token == bought)
        into = trade.into(int(bought))
        a.model.put(rows[needs, None], into[None, :], -missing[needs, None])
        brings = sources.token == bought
        amount = np.minimum(sources.amount[None, brings], missing[needs, None])
        is_own = sources.is_claim[None, brings] & (sources.pool[None, brings] == pool[needs, None])
        # a pool does not finance itself
        need, source = np.nonzero(~is_own)
        a.model.put(rows[needs][need], sources.binary[brings][source], -amount[need, source])


@dataclass(frozen=True, eq=False)
class _Sources:
    """What withdrawals can bring: ``amount`` of ``token`` by switching ``binary`` on."""

    pool: Ints
    token: Ints
    binary: Ints
    amount: Floats
    is_claim: Bools

    @classmethod
    def of(cls, a: Assembly, withdrawals: Moves, rescues: Moves) -> _Sources:
        parts = []
        for legs, moves in ((a.claim_legs, withdrawals), (a.stranded_legs, rescues)):
            place = moves.columns_by_pool(a.n_pools, np.arange(len(moves.pool)))[legs.pool]
            moved = place >= 0
            place, amount = place[moved], legs.share[moved] * moves.maximum[place[moved]]
            is_claim = np.full(len(place), moves is withdrawals)
            parts.append(
                (legs.pool[moved], legs.token[moved], moves.binary[place], amount, is_claim)
            )
        return cls(*(np.concatenate(part) for part in zip(*parts, strict=True)))
