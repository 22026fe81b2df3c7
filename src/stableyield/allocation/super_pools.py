"""Super-pools: a relaxation of all pools that a reduced model leaves out.

Every pool that is left out is cut into its tokens, and all pieces of one token and risk group are
put into one super-pool that is at least as good as each of them: the best rate, the lowest gas, the
largest size. A plan that uses pools left out maps piece by piece into the super-pools, so the
optimum of the reduced model with super-pools bounds that of all pools; and a solution that does not
use them is the optimum of all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.assembly import OBJECTIVE_SCALE, Assembly, pool_legs
from stableyield.allocation.blocks_trade import Trade
from stableyield.allocation.problem import AllocationProblem

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SuperPools:
    """One super-pool for each token and risk group of the pools left out; arrays (n_supers,).

    Parameters
    ----------
    token, group : ndarray of int
    rate : ndarray
        Growth over the horizon.
    gas_usd : ndarray
        Gas of one deposit.
    smallest_usd, largest_usd, total_usd : ndarray
        Of one deposit, and of all deposits together.
    count : ndarray of int
        Number of pieces, the most deposits.
    piece_pool, piece_super, piece_rate : ndarray of shape (n_pieces,)
        The pool, the super-pool and the rate of each piece.
    """

    token: Ints
    group: Ints
    rate: Floats
    gas_usd: Floats
    smallest_usd: Floats
    largest_usd: Floats
    total_usd: Floats
    count: Ints
    piece_pool: Ints
    piece_super: Ints
    piece_rate: Floats

    @classmethod
    def of(cls, problem: AllocationProblem, left_out: Bools, token_value: Floats) -> SuperPools:
        """Super-pools of the pools in ``left_out``.

        Parameters
        ----------
        problem : AllocationProblem
        left_out : ndarray of bool, shape (n_pools,)
            Pools that could get a deposit and are no candidates.
        token_value : ndarray of shape (n_tokens,)
            Any value of a token, in growth per USD; the marginal values of the relaxation make
            the pieces of a pool equally attractive, which makes the bound tight.
        """
        legs = pool_legs(problem)
        kept = left_out[legs.pool]
        pool, token, share = legs.pool[kept], legs.token[kept], legs.share[kept]
        n_legs = legs.count(len(problem.pools))
        cost_of_tokens = np.bincount(pool, share * token_value[token], len(problem.pools))
        # yield is shifted between the pieces of a pool by amounts that add up to nothing
        rate = problem.growth[pool] - cost_of_tokens[pool] + token_value[token]
        smallest = problem.smallest_deposit_usd

        key = token * 4 + problem.group[pool]
        keys, place = np.unique(key, return_inverse=True)
        n = len(keys)
        return cls(
            token=keys // 4,
            group=keys % 4,
            rate=_best(np.maximum, place, rate, n),
            gas_usd=_best(np.minimum, place, (problem.gas_deposit_usd / n_legs.clip(1))[pool], n),
            smallest_usd=_best(np.minimum, place, share * smallest[pool], n),
            largest_usd=_best(np.maximum, place, share * problem.cap_usd[pool], n),
            total_usd=np.bincount(place, share * problem.cap_usd[pool], n).astype(np.float64),
            count=np.bincount(place, minlength=n).astype(np.int64),
            piece_pool=pool,
            piece_super=place.astype(np.int64),
            piece_rate=rate,
        )

    def announce(self, a: Assembly) -> None:
        """Say which tokens could be needed, before conversions are made."""
        np.add.at(a.other_need, self.token, self.total_usd / a.unit_usd)

    def add(self, a: Assembly, trade: Trade) -> Ints:
        """Add the super-pools to the model; returns the columns that count their deposits."""
        model, n = a.model, len(self.token)
        unit, gas = a.unit_usd, self.gas_usd
        total = self.total_usd / unit
        counts = model.columns(n, cost=-a.objective(gas), upper=self.count, integer=True)
        amounts = model.columns(n, cost=OBJECTIVE_SCALE * self.rate, upper=total)
        for name, size, sign in (
            ("largest", self.largest_usd, 1.0),
            ("smallest", self.smallest_usd, -1.0),
        ):
            rows = model.rows(f"super-pool {name}", n, upper=0.0)
            model.put(rows, amounts, sign)
            model.put(rows, counts, -sign * size / unit)
        model.put(a.balance_rows[self.token], amounts, -1.0)
        model.put(a.gas_row, counts, -gas / unit)
        for group in np.unique(self.group[self.group > 0]):
            model.put(a.limit_rows[f"group {group}"], amounts[self.group == group], 1.0)
        if (row := a.limit_rows.get("min_pools")) is not None:
            model.put(row, counts, 1.0)
        if (row := a.limit_rows.get("min_invested_pct")) is not None:
            model.put(row, amounts, 1.0)
        self._tighten(a, trade, amounts, total)
        return counts

    def _tighten(self, a: Assembly, trade: Trade, amounts: Ints, total: Floats) -> None:
        """What is not in the wallet has to be bought or withdrawn first."""
        into = [trade.into(token) for token in range(a.n_tokens)]
        brought = np.zeros(a.n_tokens)
        for legs, held in ((a.claim_legs, a.claim), (a.stranded_legs, a.stranded)):
            may_leave = np.isin(legs.pool, a.held)
            np.add.at(brought, legs.token[may_leave], (legs.share * held[legs.pool])[may_leave])
        for token, column, most in zip(self.token, amounts, total, strict=True):
            at_hand = a.wallet[token] + brought[token]
            if most > at_hand:
                row = a.model.row("a super-pool has a source", upper=at_hand)
                a.model.put(row, column, 1.0)
                a.model.put(row, into[token], at_hand - most)


def _best(choose: np.ufunc, place: Ints, values: Floats, n: int) -> Floats:
    result = np.full(n, -np.inf if choose is np.maximum else np.inf)
    choose.at(result, place, values)
    return result
