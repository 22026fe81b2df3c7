"""All moves of an exact model as flows between places: tokens, risk groups, and sets of them.

A place is an inequality that every plan obeys: what is there, plus what moves bring, covers what
moves take. For a token it is its balance; for a set of tokens the sum of their balances; for a risk
group the room under its cap, which withdrawals add to and deposits use.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.assembly import Assembly
from stableyield.allocation.blocks_positions import highest_positions
from stableyield.allocation.milp import AllocationModel
from stableyield.allocation.problem import AllocationProblem, RateModel
from stableyield.allocation.terms import Legs, Moves
from stableyield.domain.rates import growth

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Flows:
    """Moves and places; a move that is on has ``minimum + excess``, ``least <= excess <= most``.

    Parameters
    ----------
    binary, excess, row : ndarray of int, shape (n_moves,)
        Columns of each move, and the row that binds its excess to its binary.
    minimum, least, most : ndarray of shape (n_moves,)
        In model units.
    is_forced : ndarray of bool, shape (n_moves,)
        Moves that every plan has, with at least ``least``.
    twin : ndarray of int, shape (n_moves,)
        The move that never happens together with this one; -1: none.
    sold, bought : ndarray of int, shape (n_moves,)
        Tokens of a conversion; -1 for other moves.
    brings : ndarray of shape (n_tokens + n_groups, n_moves)
        What one unit of each move brings to each token and group; negative: takes.
    at_hand : ndarray of shape (n_tokens + n_groups,)
        What is there without moves.
    spare : ndarray of int, shape (n_tokens, 2)
        Columns of what is left of a token and of the gas it pays.
    """

    binary: Ints
    excess: Ints
    row: Ints
    minimum: Floats
    least: Floats
    most: Floats
    is_forced: Bools
    twin: Ints
    sold: Ints
    bought: Ints
    brings: Floats
    at_hand: Floats
    spare: Ints

    @property
    def n_tokens(self) -> int:
        """Number of tokens; groups come after them."""
        return len(self.spare)

    def amounts(self, x: Floats) -> Floats:
        """Amount of each move in a solution ``x``; shape (n_moves,)."""
        result: Floats = self.minimum * x[self.binary] + x[self.excess]
        return result

    def of(self, kept: Bools, column: Ints, row: Ints) -> Flows:
        """The moves in ``kept``, by the new numbers of columns and rows."""
        number = np.where(kept, np.cumsum(kept) - 1, -1)
        twin = np.where(self.twin >= 0, number[self.twin], -1)
        return replace(
            self,
            binary=column[self.binary[kept]],
            excess=column[self.excess[kept]],
            row=row[self.row[kept]],
            minimum=self.minimum[kept],
            least=self.least[kept],
            most=self.most[kept],
            is_forced=self.is_forced[kept],
            twin=twin[kept],
            sold=self.sold[kept],
            bought=self.bought[kept],
            brings=self.brings[:, kept],
            spare=column[self.spare],
        )


def flows_of(problem: AllocationProblem, model: AllocationModel) -> Flows:
    """The flows of a model with exact conversions and without super-pools."""
    a = Assembly(problem)
    kinds = (model.deposits, model.withdrawals, model.rescues, model.arcs.moves)
    first = np.cumsum([0, *(len(moves.pool) for moves in kinds)])
    none = np.full(first[3], -1, dtype=np.int64)
    minimum = np.concatenate([moves.minimum for moves in kinds])
    flows = Flows(
        binary=model.moves,
        excess=np.concatenate([moves.excess for moves in kinds]),
        row=np.concatenate([moves.row for moves in kinds]),
        minimum=minimum,
        least=np.zeros(len(minimum)),
        most=np.concatenate([moves.maximum for moves in kinds]) - minimum,
        is_forced=np.zeros(len(minimum), dtype=bool),
        twin=_twins(a, model, first),
        sold=np.concatenate([none, model.arcs.sold]),
        bought=np.concatenate([none, model.arcs.bought]),
        brings=np.vstack([_to_tokens(a, model, first), _to_groups(a, model, first)]),
        at_hand=np.concatenate([a.wallet, _room_of_groups(a, model)]),
        spare=np.column_stack([model.left, model.gas_paid]),
    )
    least = np.zeros(len(minimum))
    least[: first[1]] = _worth_its_gas(a, model)
    least[first[1] : first[2]] = _forced(a, model)
    is_forced = (np.arange(len(minimum)) >= first[1]) & (least > 0.0)
    return replace(
        flows, least=np.minimum(least, np.where(is_forced, flows.most, np.inf)), is_forced=is_forced
    )


def _twins(a: Assembly, model: AllocationModel, first: Ints) -> Ints:
    """Deposit and withdrawal of one pool, and the two ways between two tokens."""
    twin = np.full(first[-1], -1, dtype=np.int64)
    withdrawal = model.withdrawals.columns_by_pool(
        a.n_pools, np.arange(len(model.withdrawals.pool)) + first[1]
    )
    twin[: first[1]] = withdrawal[model.deposits.pool]
    deposits = np.flatnonzero(twin >= 0)
    twin[twin[deposits]] = deposits
    arc = np.full((a.n_tokens, a.n_tokens), -1, dtype=np.int64)
    arcs = model.arcs
    arc[arcs.sold, arcs.bought] = np.arange(first[3], first[4])
    twin[first[3] :] = arc[arcs.bought, arcs.sold]
    return twin


def _to_tokens(a: Assembly, model: AllocationModel, first: Ints) -> Floats:
    brings = np.zeros((a.n_tokens, first[-1]))
    kinds: tuple[tuple[Legs, Moves, float], ...] = (
        (a.pool_legs, model.deposits, -1.0),
        (a.claim_legs, model.withdrawals, 1.0),
        (a.stranded_legs, model.rescues, 1.0),
    )
    for (legs, moves, sign), start in zip(kinds, first, strict=False):
        place = moves.columns_by_pool(a.n_pools, np.arange(len(moves.pool)))[legs.pool]
        moved = place >= 0
        np.add.at(brings, (legs.token[moved], place[moved] + start), sign * legs.share[moved])
    arcs, number = model.arcs, np.arange(first[3], first[4])
    brings[arcs.sold, number] = -1.0
    brings[arcs.bought, number] = 1.0 - a.problem.parameters.conversion_rate
    return brings


def _to_groups(a: Assembly, model: AllocationModel, first: Ints) -> Floats:
    brings = np.zeros((len(model.group_rows), first[-1]))
    kinds = ((model.deposits, -1.0), (model.withdrawals, 1.0), (model.rescues, 1.0))
    for (moves, sign), start in zip(kinds, first, strict=False):
        for place, group in enumerate(model.group_rows):
            members = np.flatnonzero(a.problem.group[moves.pool] == group)
            brings[place, members + start] = sign
    return brings


def _room_of_groups(a: Assembly, model: AllocationModel) -> Floats:
    """Room that each group has before moves; negative when something has to leave."""
    rooms = []
    for group, row in model.group_rows.items():
        members = np.flatnonzero(a.problem.group == group)
        held = a.position[np.intersect1d(members, a.held)].sum()
        rooms.append(model.sparse.row_upper[row] - held)
    return np.array(rooms)


def _worth_its_gas(a: Assembly, model: AllocationModel) -> Floats:
    """The excess from which on a deposit earns its gas; smaller ones need not be looked at.

    Without such a deposit the plan still meets all limits, and gains no less: ``growth x D`` is
    lost, gas is saved. Where that could change how many pools are of real size, it is not asked.
    """
    problem, moves = a.problem, model.deposits
    p = problem.parameters
    if p.min_invested_pct > 0.0:
        return np.zeros(len(moves.pool))
    cash = growth(p.cash_apy, p.horizon_days)
    above_cash = np.nan_to_num(problem.growth)[moves.pool] - cash
    gas = problem.gas_deposit_usd[moves.pool] * (1.0 + cash) / a.unit_usd
    enough = np.full(len(gas), np.inf)
    np.divide(gas, above_cash, out=enough, where=above_cash > 0.0)
    if "min_pools" in model.limit_rows:
        real = problem.count_threshold_usd / a.unit_usd
        held = a.position[moves.pool]
        drifted = real * (1.0 - p.cap_tolerance)
        enough = np.where(held >= drifted, enough, np.minimum(enough, real - held))
    is_kinked = [problem.pools[i].rate_model is RateModel.KINKED for i in moves.pool]
    is_sure = ~np.array(is_kinked, dtype=bool)
    is_sure &= a.stranded[moves.pool] == 0.0
    enough = np.where(is_sure, enough, 0.0) - moves.minimum
    # more than can be: such a deposit is not made
    result: Floats = np.clip(enough, 0.0, moves.maximum - moves.minimum + 1.0)
    return result


def _forced(a: Assembly, model: AllocationModel) -> Floats:
    """The excess that a position above its cap has to shed; 0 for moves that are not forced."""
    moves = model.withdrawals
    too_much = (a.position - highest_positions(a))[moves.pool] - moves.minimum
    return np.where(a.stranded[moves.pool] == 0.0, np.maximum(too_much, 0.0), 0.0)
