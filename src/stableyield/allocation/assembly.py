"""What the blocks of the model share while it is put together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.problem import AllocationProblem
from stableyield.allocation.sparse import ModelBuilder
from stableyield.allocation.terms import Legs, Terms
from stableyield.domain.pool import PoolState

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

UNITS_PER_AUM = 1000.0
OBJECTIVE_SCALE = 1000.0
DUST = 1e-6  # model units: a tenth of a cent of AUM 1e6 USD


class Assembly:
    """A problem in model units, the model so far, and the expressions that blocks refer to.

    One unit of money is AUM / 1000; one unit of the objective is a thousandth of that.
    """

    def __init__(self, problem: AllocationProblem, candidates: Bools | None = None) -> None:
        self.problem = problem
        self.model = ModelBuilder()
        self.n_pools = len(problem.pools)
        self.n_tokens = len(problem.tokens)
        self.candidates = np.ones(self.n_pools, bool) if candidates is None else candidates
        self.unit_usd = problem.aum_usd / UNITS_PER_AUM
        self.claim = problem.claim_usd / self.unit_usd
        self.stranded = problem.stranded_usd / self.unit_usd
        self.position = self.claim + self.stranded
        self.cap = problem.cap_usd / self.unit_usd
        self.cap_with_band = self.cap * (1.0 + problem.parameters.cap_tolerance)
        self.minimum_move = problem.parameters.min_transaction_value / self.unit_usd
        self.minimum_position = problem.parameters.min_position_usd / self.unit_usd

        self.pool_legs = pool_legs(problem)
        self.claim_legs = Legs.of(problem.claim_legs_usd, problem.token_index)
        self.stranded_legs = Legs.of(problem.stranded_legs_usd, problem.token_index)

        held = self.position > 0.0
        tradable = self._in(PoolState.OPEN, PoolState.WITHDRAW_ONLY)
        self.held = np.flatnonzero(tradable & (self.position >= DUST))
        self.exits = np.flatnonzero(held & self._in(PoolState.EXIT))
        self.frozen = np.flatnonzero(held & self._in(PoolState.FROZEN))
        self.wallet = self._wallet_after_exits()

        # filled in by the blocks
        self.final_position = Terms(*_nothing())  # of pools that may change
        self.final_claim = Terms(*_nothing())
        self.used: Ints = np.full(self.n_pools, -1, dtype=np.int64)  # binary "is in use", by pool
        self.limit_rows: dict[str, int] = {}  # groups, min_pools, min_invested_pct
        self.balance_rows: Ints = np.zeros(0, np.int64)  # by token
        self.left: Ints = np.zeros(0, np.int64)  # columns of what is left in the wallet, by token
        self.gas_row = -1
        self.other_need = np.zeros(self.n_tokens)  # of tokens, by what is not a pool's deposit

    def _in(self, *states: PoolState) -> NDArray[np.bool_]:
        return np.isin(self.problem.state, [state.value for state in states])

    @property
    def buyable(self) -> NDArray[np.bool_]:
        """Which pools may get new money, before caps are looked at."""
        return self._in(PoolState.OPEN)

    def objective(self, usd: float | Floats) -> float | Floats:
        """USD of gain in units of the objective."""
        return usd / self.unit_usd * OBJECTIVE_SCALE

    def _wallet_after_exits(self) -> Floats:
        """Wallet by token with what forced exits bring, in model units."""
        wallet = self.problem.wallet_usd / self.unit_usd
        for legs, amount in (
            (self.claim_legs, self.claim),
            (self.stranded_legs, self.stranded),
        ):
            leaving = np.isin(legs.pool, self.exits)
            np.add.at(wallet, legs.token[leaving], (legs.share * amount[legs.pool])[leaving])
        # dust stays where it is: coefficients of 1e-9 make the solver's presolve err
        result: Floats = np.where(wallet < DUST, 0.0, wallet)
        return result

    @property
    def exit_gas_usd(self) -> float:
        """Gas of the forced exits."""
        n_legs = self.claim_legs.count(self.n_pools) + self.stranded_legs.count(self.n_pools)
        return float(
            sum(self.problem.gas_withdrawal_usd(int(i), int(n_legs[i])) for i in self.exits)
        )


def _nothing() -> tuple[Ints, Ints, Floats]:
    return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)


def pool_legs(problem: AllocationProblem) -> Legs:
    """Tokens and shares of the pools that may be bought."""
    shares: Mapping[int, Mapping[str, float]] = {
        i: dict(zip(pool.tokens, pool.token_shares, strict=True))
        for i, pool in enumerate(problem.pools)
        if pool.state is PoolState.OPEN
    }
    return Legs.of(shares, problem.token_index)
