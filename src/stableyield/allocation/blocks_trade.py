"""Conversions between tokens, exactly (a binary for each pair) or relaxed (one for each token).

The gas of a conversion is paid for each *pair* of tokens, and this is what makes the program hard.
The relaxed form says only who sells and who buys: at least as many conversions as there are
sellers, and as there are buyers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.assembly import OBJECTIVE_SCALE, Assembly
from stableyield.allocation.terms import Moves

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TIE_BREAK_USD = 1e-6  # per transaction: of two equal plans, the one with fewer transactions


class Trade(Protocol):
    """How tokens become other tokens."""

    def into(self, token: int) -> Ints:
        """Binaries of which one is on when a token is bought."""
        ...

    def put_balances(self, a: Assembly, rows: Ints) -> None:
        """What is sold and bought, in the balances of the tokens."""
        ...

    def charge(self, a: Assembly, gas_row: int) -> None:
        """Gas and fees of conversions."""
        ...


@dataclass(frozen=True, eq=False)
class Arcs:
    """Conversions that can make sense: token ``sold[n]`` for token ``bought[n]``."""

    sold: Ints
    bought: Ints
    moves: Moves

    @classmethod
    def add(cls, a: Assembly, deposits: Moves, only: tuple[Bools, Bools] | None = None) -> Arcs:
        """Arcs from tokens that we can have to tokens that can be needed, not both ways at once.

        The largest amount of an arc is the smaller of what can be there and what can be needed.
        ``only`` restricts the tokens that are sold and bought.
        """
        available, needed = _available_and_needed(a, deposits)
        largest = np.minimum(available[:, None], needed[None, :])
        possible = (largest > 0.0) & (largest >= a.minimum_move) & ~np.eye(a.n_tokens, dtype=bool)
        if only is not None:
            possible &= only[0][:, None] & only[1][None, :]
        sold, bought = np.nonzero(possible)
        largest_of_arc = largest[sold, bought]
        minimum = np.minimum(a.minimum_move, largest_of_arc)
        arcs = cls(sold, bought, Moves.add(a.model, np.arange(len(sold)), minimum, largest_of_arc))
        arcs._forbid_both_ways(a)
        return arcs

    def _forbid_both_ways(self, a: Assembly) -> None:
        number = {(j, k): n for n, (j, k) in enumerate(zip(self.sold, self.bought, strict=True))}
        for (j, k), n in number.items():
            back = number.get((k, j))
            if back is not None and j < k:
                row = a.model.row("one way between two tokens", upper=1.0)
                a.model.put(row, self.moves.binary[[n, back]], 1.0)

    def into(self, token: int) -> Ints:
        """Binaries of the arcs that buy a token."""
        result: Ints = self.moves.binary[self.bought == token]
        return result

    def put_balances(self, a: Assembly, rows: Ints) -> None:
        """Sold out of one balance, bought into another, less the fee."""
        m, fee = self.moves, a.problem.parameters.conversion_rate
        for column, value in ((m.binary, m.minimum), (m.excess, np.ones(len(m.pool)))):
            a.model.put(rows[self.sold], column, -value)
            a.model.put(rows[self.bought], column, (1.0 - fee) * value)

    def charge(self, a: Assembly, gas_row: int) -> None:
        """Gas of each arc that is used, and the fee on what it sells."""
        m, gas_usd = self.moves, a.problem.gas.conversion
        a.model.put(gas_row, m.binary, -gas_usd / a.unit_usd)
        a.model.add_cost(m.binary, -a.objective(gas_usd + TIE_BREAK_USD))
        fee = OBJECTIVE_SCALE * a.problem.parameters.conversion_rate
        a.model.add_cost(m.binary, -fee * m.minimum)
        a.model.add_cost(m.excess, np.full(len(m.pool), -fee))


@dataclass(frozen=True, eq=False)
class Stars:
    """Who sells and who buys, without saying what for what.

    Parameters
    ----------
    sellers, buyers : ndarray of int
        Token numbers.
    sells, buys : ndarray of int
        Binaries of the sellers and the buyers.
    sold, bought : ndarray of int
        Columns of the amounts; ``bought`` before the fee.
    number : int
        Column: at least how many conversions this takes.
    """

    sellers: Ints
    buyers: Ints
    sells: Ints
    buys: Ints
    sold: Ints
    bought: Ints
    number: int

    @classmethod
    def add(cls, a: Assembly, deposits: Moves) -> Stars:
        """A seller and a buyer for each token that can be one."""
        available, needed = _available_and_needed(a, deposits)
        model = a.model
        sellers = np.flatnonzero((available > 0.0) & (available >= a.minimum_move))
        buyers = np.flatnonzero((needed > 0.0) & (needed >= a.minimum_move))
        sells, buys = model.binaries(len(sellers)), model.binaries(len(buyers))
        sold = model.columns(len(sellers), upper=available[sellers])
        bought = model.columns(len(buyers), upper=needed[buyers])
        number = int(model.columns(1)[0])
        for amount, switch, most in (
            (sold, sells, available[sellers]),
            (bought, buys, needed[buyers]),
        ):
            rows = model.rows("only who trades", len(switch), upper=0.0)
            model.put(rows, amount, 1.0)
            model.put(rows, switch, -most)
            enough = model.row("at least one conversion each", lower=0.0)
            model.put(enough, number, 1.0)
            model.put(enough, switch, -1.0)
        even = model.row("what is sold is bought", 0.0, 0.0)
        model.put(even, sold, 1.0)
        model.put(even, bought, -1.0)
        sells_of = dict(zip(sellers.tolist(), sells.tolist(), strict=True))
        for token, buy in zip(buyers.tolist(), buys.tolist(), strict=True):
            if token in sells_of:
                row = model.row("sold or bought, not both", upper=1.0)
                model.put(row, [sells_of[token], buy], 1.0)
        return cls(sellers, buyers, sells, buys, sold, bought, number)

    def into(self, token: int) -> Ints:
        """The binary of a token's being bought."""
        result: Ints = self.buys[self.buyers == token]
        return result

    def put_balances(self, a: Assembly, rows: Ints) -> None:
        """Sold out of a balance, bought into a balance, less the fee."""
        a.model.put(rows[self.sellers], self.sold, -1.0)
        kept = 1.0 - a.problem.parameters.conversion_rate
        a.model.put(rows[self.buyers], self.bought, kept)

    def charge(self, a: Assembly, gas_row: int) -> None:
        """Gas of the fewest conversions, and the fee on what is sold."""
        gas_usd = a.problem.gas.conversion
        a.model.put(gas_row, self.number, -gas_usd / a.unit_usd)
        a.model.add_cost(self.number, -a.objective(gas_usd + TIE_BREAK_USD))
        fee = OBJECTIVE_SCALE * a.problem.parameters.conversion_rate
        a.model.add_cost(self.sold, np.full(len(self.sold), -fee))


def _available_and_needed(a: Assembly, deposits: Moves) -> tuple[Floats, Floats]:
    """The most there can be of each token, and the most that can be needed, before the fee."""
    available = a.wallet.copy()
    for legs, amount in ((a.claim_legs, a.claim), (a.stranded_legs, a.stranded)):
        held = np.isin(legs.pool, a.held)
        np.add.at(available, legs.token[held], (legs.share * amount[legs.pool])[held])
    room = np.zeros(a.n_pools)
    room[deposits.pool] = deposits.maximum
    needed = a.other_need.copy()
    np.add.at(needed, a.pool_legs.token, a.pool_legs.share * room[a.pool_legs.pool])
    return available, needed / (1.0 - a.problem.parameters.conversion_rate)
