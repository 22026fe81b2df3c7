"""The allocation problem as a sparse mixed-integer program.

One deposit per pool that may be bought, withdrawals for held pools only, one claim per position
whose legs move together, conversion arcs only from tokens that we can have to tokens that some
pool needs. A quantity that happens at all is at least its minimum: ``minimum * binary + excess``.
Every constraint is exact and has no slack; money is conserved by the token balances.

Money is in units of AUM / 1000 and the objective is times 1000: in plain dollars the solver drops
its cuts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation import blocks_positions as positions
from stableyield.allocation import blocks_tokens as tokens
from stableyield.allocation.assembly import OBJECTIVE_SCALE, Assembly
from stableyield.allocation.problem import AllocationProblem
from stableyield.allocation.sparse import SparseModel
from stableyield.allocation.terms import Moves

Ints = NDArray[np.int64]


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
    arcs : Arcs
        Conversions.
    used : ndarray of int, shape (n_pools,)
        Column of the binary "is in use afterwards", -1 for pools that cannot change.
    constant_usd : float
        Part of the gain that no decision changes: yield of what is held, gas of forced exits.
    """

    sparse: SparseModel
    unit_usd: float
    deposits: Moves
    withdrawals: Moves
    rescues: Moves
    arcs: tokens.Arcs
    used: Ints
    constant_usd: float

    @property
    def usd_of_objective_unit(self) -> float:
        """USD of gain in one unit of the objective."""
        return self.unit_usd / OBJECTIVE_SCALE

    def usd_of_objective(self, value: float) -> float:
        """Gain in USD of an objective value of the model."""
        return value * self.usd_of_objective_unit + self.constant_usd


def build_model(problem: AllocationProblem) -> AllocationModel:
    """The mixed-integer program of ``problem``."""
    a = Assembly(problem)
    deposits = positions.add_deposits(a)
    withdrawals = positions.add_withdrawals(a, a.claim_legs, a.claim)
    rescues = positions.add_withdrawals(a, a.stranded_legs, a.stranded)
    positions.link_positions(a, deposits, withdrawals, rescues)
    positions.limit_positions(a, deposits)
    positions.limit_groups(a)
    positions.count_pools(a)
    positions.demand_invested(a)
    fixed_yield_usd = positions.add_yields(a)
    arcs = tokens.add_conversions(a, deposits)
    paid = tokens.balance_tokens(a, deposits, withdrawals, rescues, arcs)
    tokens.charge_costs(a, deposits, withdrawals, rescues, arcs, paid)
    tokens.tighten(a, deposits, withdrawals, rescues, arcs)
    return AllocationModel(
        sparse=a.model.build(),
        unit_usd=a.unit_usd,
        deposits=deposits,
        withdrawals=withdrawals,
        rescues=rescues,
        arcs=arcs,
        used=a.used,
        constant_usd=fixed_yield_usd - a.exit_gas_usd,
    )
