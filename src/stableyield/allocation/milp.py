"""The allocation problem as a sparse mixed-integer program.

One deposit per pool that may be bought, withdrawals for held pools only, one claim per position
whose legs move together, conversion arcs only from tokens that we can have to tokens that some
pool needs. A quantity that happens at all is at least its minimum: ``minimum * binary + excess``.
Every constraint is exact and has no slack; money is conserved by the token balances.

Money is in units of AUM / 1000 and the objective is times 1000: in plain dollars the solver drops
its cuts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation import blocks_positions as positions
from stableyield.allocation import blocks_tokens as tokens
from stableyield.allocation.assembly import OBJECTIVE_SCALE, Assembly
from stableyield.allocation.blocks_trade import Arcs, Stars
from stableyield.allocation.problem import AllocationProblem
from stableyield.allocation.sparse import SparseModel
from stableyield.allocation.super_pools import SuperPools
from stableyield.allocation.terms import Moves

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class AllocationModel:
    """The sparse model and where each decision stands in it.

    Parameters
    ----------
    sparse : SparseModel
    unit_usd : float
        US dollars in one unit of money.
    deposits, withdrawals, rescues : Moves
        Deposits, withdrawals of claims, and withdrawals of stranded legs.
    trade : Arcs or Stars
        Conversions.
    used : ndarray of int, shape (n_pools,)
        Column of the binary "is in use afterwards", -1 for pools that cannot change.
    balance_rows, left : ndarray of int, shape (n_tokens,)
        Rows of the token balances, and columns of what is left in the wallet.
    gas_paid : ndarray of int, shape (n_tokens,)
        Columns of the gas that each token pays.
    gas_row : int
    group_rows : mapping of group to row
    limit_rows : mapping of name to row
        Of ``min_pools`` and ``min_invested_pct``, where they demand something.
    other_counts : ndarray of int
        Columns that count the deposits into what stands for pools that are no candidates.
    constant_usd : float
        Part of the gain that no decision changes: yield of what is held, gas of forced exits.
    """

    sparse: SparseModel
    unit_usd: float
    deposits: Moves
    withdrawals: Moves
    rescues: Moves
    trade: Arcs | Stars
    used: Ints
    balance_rows: Ints
    left: Ints
    gas_paid: Ints
    gas_row: int
    group_rows: Mapping[int, int]
    limit_rows: Mapping[str, int]
    other_counts: Ints
    constant_usd: float

    @property
    def arcs(self) -> Arcs:
        """The conversions of an exact model.

        Raises
        ------
        TypeError
            When the model has them relaxed.
        """
        if isinstance(self.trade, Stars):
            raise TypeError("a model with relaxed conversions has no arcs")
        return self.trade

    @property
    def moves(self) -> Ints:
        """Binaries of everything that can be done; of an exact model."""
        kinds = (self.deposits, self.withdrawals, self.rescues, self.arcs.moves)
        return np.concatenate([moves.binary for moves in kinds])

    @property
    def usd_of_objective_unit(self) -> float:
        """USD of gain in one unit of the objective."""
        return self.unit_usd / OBJECTIVE_SCALE

    def usd_of_objective(self, value: float) -> float:
        """Gain in USD of an objective value of the model."""
        return value * self.usd_of_objective_unit + self.constant_usd


def build_model(
    problem: AllocationProblem,
    candidates: Bools | None = None,
    others: SuperPools | None = None,
    *,
    stars: bool = False,
    only: tuple[Bools, Bools] | None = None,
) -> AllocationModel:
    """The mixed-integer program of ``problem``.

    Parameters
    ----------
    problem : AllocationProblem
    candidates : ndarray of bool, shape (n_pools,), optional
        Pools that may get a deposit; absent: all.
    others : SuperPools, optional
        What stands for the pools that are no candidates, so that the optimum bounds that of all.
    stars : bool
        Relax conversions to who sells and who buys (see `stableyield.allocation.blocks_trade`).
    only : pair of ndarray of bool, shape (n_tokens,), optional
        Tokens that may be sold, and tokens that may be bought.
    """
    a = Assembly(problem, candidates)
    if others is not None:
        others.announce(a)
    deposits = positions.add_deposits(a)
    withdrawals = positions.add_withdrawals(a, a.claim_legs, a.claim)
    rescues = positions.add_withdrawals(a, a.stranded_legs, a.stranded)
    positions.link_positions(a, deposits, withdrawals, rescues)
    positions.limit_positions(a, deposits, withdrawals, rescues)
    positions.limit_groups(a, withdrawals, rescues)
    positions.count_pools(a)
    positions.demand_invested(a)
    fixed_yield_usd = positions.add_yields(a)
    trade = Stars.add(a, deposits) if stars else Arcs.add(a, deposits, only)
    paid = tokens.balance_tokens(a, deposits, withdrawals, rescues, trade)
    tokens.charge_costs(a, deposits, withdrawals, rescues, trade, paid)
    counts = np.zeros(0, np.int64) if others is None else others.add(a, trade)
    tokens.tighten(a, deposits, withdrawals, rescues, trade)
    return AllocationModel(
        sparse=a.model.build(),
        unit_usd=a.unit_usd,
        deposits=deposits,
        withdrawals=withdrawals,
        rescues=rescues,
        trade=trade,
        used=a.used,
        balance_rows=a.balance_rows,
        left=a.left,
        gas_paid=paid,
        gas_row=a.gas_row,
        group_rows={g: a.limit_rows[f"group {g}"] for g in problem.group_cap_usd},
        limit_rows=MappingProxyType(a.limit_rows),
        other_counts=counts,
        constant_usd=fixed_yield_usd - a.exit_gas_usd,
    )
