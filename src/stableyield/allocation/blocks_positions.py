"""Blocks of the model that are about pools: moves, caps, groups, counts and yields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.assembly import DUST, OBJECTIVE_SCALE, UNITS_PER_AUM, Assembly
from stableyield.allocation.dilution import ConcaveYield, concave_yields
from stableyield.allocation.problem import RateModel
from stableyield.allocation.terms import Legs, Moves, Terms

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NEGLIGIBLE = 1e-9  # model units: AUM 2e7 USD makes this 2e-5 USD


def add_deposits(a: Assembly) -> Moves:
    """Deposits into pools that may be bought and have room for a smallest deposit."""
    smallest = a.minimum_move / a.pool_legs.smallest_share(a.n_pools)
    is_held = np.isin(np.arange(a.n_pools), a.held)
    minimum = np.where(is_held, smallest, np.maximum(smallest, a.minimum_position))
    room = a.cap - a.claim
    pools = np.flatnonzero(a.buyable & a.candidates & (room >= minimum) & (room > NEGLIGIBLE))
    return Moves.add(a.model, pools, minimum[pools], room[pools])


def add_withdrawals(a: Assembly, legs: Legs, amount: Floats) -> Moves:
    """Withdrawals of what held pools hold; all of it may always be taken."""
    smallest = a.minimum_move / legs.smallest_share(a.n_pools)
    pools = a.held[amount[a.held] >= DUST]
    minimum = np.minimum(smallest, amount)[pools]
    return Moves.add(a.model, pools, minimum, amount[pools])


def link_positions(a: Assembly, deposits: Moves, withdrawals: Moves, rescues: Moves) -> None:
    """Say what is in each pool afterwards, and which pools are in use.

    A pool that is not held is used when it gets a deposit. A held pool has a column for its final
    position and a binary for being used; it never gets a deposit and a withdrawal at once.
    """
    model = a.model
    is_new = np.isin(deposits.pool, a.held, invert=True)
    new = Terms.join([deposits.terms]).of(deposits.pool[is_new])
    a.used[deposits.pool[is_new]] = deposits.binary[is_new]

    final = model.columns(len(a.held), upper=np.maximum(a.position, a.cap)[a.held])
    a.used[a.held] = model.binaries(len(a.held))
    a.final_position = Terms.join([new, Terms(a.held, final, np.ones(len(a.held)))])
    a.final_claim = Terms.join([deposits.terms, withdrawals.negative_terms])

    row = np.full(a.n_pools, -1, dtype=np.int64)
    for i in a.held:  # final - deposit + withdrawal + rescue = position
        row[i] = model.row("position", a.position[i], a.position[i])
    model.put(row[a.held], final, 1.0)
    deposits.terms.of(a.held).into_rows(model, row, -1.0)
    withdrawals.terms.into_rows(model, row)
    rescues.terms.into_rows(model, row)
    _one_direction(a, deposits, withdrawals)
    for moves in (withdrawals, rescues):  # or else a binary of 1e-7 times a large cap hides dust
        stays = model.rows("in use unless it is withdrawn", len(moves.pool), lower=1.0)
        model.put(stays, a.used[moves.pool], 1.0)
        model.put(stays, moves.binary, 1.0)


def _one_direction(a: Assembly, deposits: Moves, withdrawals: Moves) -> None:
    deposit = deposits.columns_by_pool(a.n_pools, deposits.binary)
    withdrawal = withdrawals.columns_by_pool(a.n_pools, withdrawals.binary)
    for i in a.held[deposit[a.held] >= 0]:
        kept = a.model.row("a deposit keeps the pool in use", upper=0.0)
        a.model.put(kept, [deposit[i], a.used[i]], [1.0, -1.0])
        if withdrawal[i] >= 0:
            either = a.model.row("deposit or withdrawal, not both", upper=1.0)
            a.model.put(either, [deposit[i], withdrawal[i]], 1.0)


def limit_positions(a: Assembly, deposits: Moves, withdrawals: Moves, rescues: Moves) -> None:
    """Caps and smallest size of held positions; a new one obeys them by its deposit's bounds.

    A position above its cap by less than the tolerance may stay but not grow; new money never
    leads above a cap. One above that has to shrink, which the relaxation does not see by itself.
    """
    deposit = deposits.columns_by_pool(a.n_pools, deposits.binary)
    final = a.final_position.of(a.held)
    column = dict(zip(final.pool.tolist(), final.column.tolist(), strict=True))
    tops = highest_positions(a)
    for i in a.held.tolist():
        held, cap, highest = a.position[i], a.cap[i], tops[i]
        top = a.model.row(f"position cap {i}", upper=0.0)
        a.model.put(top, [column[i], a.used[i]], [1.0, -highest])
        if deposit[i] >= 0 and highest > cap:
            a.model.put(top, deposit[i], highest - cap)
        bottom = a.model.row("smallest position", lower=0.0)
        smallest = min(a.minimum_position, held)
        a.model.put(bottom, [column[i], a.used[i]], [1.0, -smallest])
        if held - highest > DUST:
            _must_shrink(a, np.array([i]), withdrawals, rescues)


def highest_positions(a: Assembly) -> Floats:
    """The cap of each pool; what is held where it is above the cap by less than the tolerance."""
    is_in_band = (a.cap < a.position) & (a.position <= a.cap_with_band)
    return np.where(is_in_band, a.position, a.cap)


def _must_shrink(a: Assembly, pools: Ints, withdrawals: Moves, rescues: Moves) -> None:
    """Something is withdrawn from one of ``pools``."""
    row = a.model.row("something is withdrawn", lower=1.0)
    for moves in (withdrawals, rescues):
        a.model.put(row, moves.binary[np.isin(moves.pool, pools)], 1.0)


def limit_groups(a: Assembly, withdrawals: Moves, rescues: Moves) -> None:
    """Share of AUM of each risk group, held and frozen positions included."""
    tolerance = 1.0 + a.problem.parameters.cap_tolerance
    for group, cap_usd in a.problem.group_cap_usd.items():
        members = np.flatnonzero(a.problem.group == group)
        terms = a.final_position.of(members)
        cap = cap_usd / a.unit_usd
        held = float(a.position[members].sum() - a.position[np.intersect1d(members, a.exits)].sum())
        highest = held if cap < held <= cap * tolerance else cap
        frozen = float(a.position[np.intersect1d(members, a.frozen)].sum())
        # what is frozen cannot be reduced: the others must at least leave
        row = a.model.row(f"group {group}", upper=max(highest - frozen, 0.0))
        terms.into_one_row(a.model, row)
        a.limit_rows[f"group {group}"] = row
        movable = np.intersect1d(members, a.held)
        if a.position[movable].sum() - max(highest - frozen, 0.0) > DUST:
            _must_shrink(a, movable, withdrawals, rescues)


def count_pools(a: Assembly) -> None:
    """At least ``min_pools`` pools of real size; a held one may have drifted a little below."""
    wanted = a.problem.min_pools
    threshold = a.problem.count_threshold_usd / a.unit_usd
    drifted = threshold * (1.0 - a.problem.parameters.cap_tolerance)
    is_frozen = np.isin(np.arange(a.n_pools), a.frozen)
    wanted -= int(np.count_nonzero(is_frozen & (a.position >= drifted)))
    if wanted <= 0:
        return
    needed = np.where(a.position >= drifted, np.minimum(threshold, a.position), threshold)
    able = np.flatnonzero((a.used >= 0) & (np.maximum(a.cap, a.position) >= needed))
    counts = a.model.binaries(len(able))
    row_of_pool = np.full(a.n_pools, -1, dtype=np.int64)
    row_of_pool[able] = a.model.rows("counts only at real size", len(able), lower=0.0)
    a.final_position.of(able).into_rows(a.model, row_of_pool)
    a.model.put(row_of_pool[able], counts, -needed[able])
    used = a.model.rows("counts only when used", len(able), upper=0.0)
    a.model.put(used, counts, 1.0)
    a.model.put(used, a.used[able], -1.0)
    total = a.model.row("min_pools", lower=float(wanted))
    a.model.put(total, counts, 1.0)
    a.limit_rows["min_pools"] = total


def demand_invested(a: Assembly) -> None:
    """The smallest share of AUM that must be in pools."""
    share = a.problem.parameters.min_invested_pct
    if share > 0.0:
        frozen = float(a.position[a.frozen].sum())
        row = a.model.row("min_invested_pct", lower=share * UNITS_PER_AUM - frozen)
        a.final_position.into_one_row(a.model, row)
        a.limit_rows["min_invested_pct"] = row


def add_yields(a: Assembly) -> float:
    """Yield of the final claims over the horizon; returns the part in USD that is fixed.

    A constant rate is linear in the claim. A diluted one is the least of some chords, which never
    promise more than the curve, in perspective form (zero when the pool is unused).
    """
    problem = a.problem
    growth = np.nan_to_num(problem.growth)  # only pools with a known APY have terms below
    constant = np.array([p.rate_model is RateModel.CONSTANT for p in problem.pools], dtype=bool)
    linear = a.final_claim.of(np.flatnonzero(constant))
    a.model.add_cost(linear.column, OBJECTIVE_SCALE * growth[linear.pool] * linear.value)
    fixed = float((growth * problem.claim_usd)[a.held][constant[a.held]].sum())
    for i in np.unique(a.final_claim.pool[~constant[a.final_claim.pool]]):
        _add_diluted(a, int(i))
    return fixed


@dataclass(frozen=True, eq=False)
class _Claim:
    """``constant + value @ x[column]``, 0 unless ``switch_value @ x[switch]`` is 1; model units."""

    column: Ints
    value: Floats
    constant: float
    switch: Ints
    switch_value: Floats


def _add_diluted(a: Assembly, pool: int) -> None:
    highest = max(a.cap[pool], a.claim[pool])
    first, *second = concave_yields(a.problem, pool, float(highest * a.unit_usd))
    terms = a.final_claim.of(np.array([pool]))
    switch = a.used[[pool]]
    claim = _Claim(terms.column, terms.value, float(a.claim[pool]), switch, np.ones(1))
    for piece in second:
        claim, beyond = _split(a, claim, piece)
        _add_chords(a, beyond, piece)
    _add_chords(a, claim, first)


def _split(a: Assembly, claim: _Claim, piece: ConcaveYield) -> tuple[_Claim, _Claim]:
    """A claim as the sum of two of which one is 0: outside the range of ``piece``, and inside.

    One more binary says which; so the two yields meet the exact convex hull of their union.
    """
    model = a.model
    inside, amount = model.binaries(1), model.columns(1)
    start, end = piece.low_usd / a.unit_usd, piece.high_usd / a.unit_usd
    outside = _Claim(
        np.append(claim.column, amount),
        np.append(claim.value, -1.0),
        claim.constant,
        np.append(claim.switch, inside),
        np.append(claim.switch_value, -1.0),
    )
    model.put(model.row("outside", lower=-claim.constant), outside.column, outside.value)
    row = model.row("outside ends where inside starts", upper=-claim.constant)
    model.put(row, outside.column, outside.value)
    model.put(row, outside.switch, -start * outside.switch_value)
    for bound, sign in ((end, 1.0), (start, -1.0)):
        row = model.row("inside", upper=0.0)
        model.put(row, amount, sign)
        model.put(row, inside, -sign * bound)
    return outside, _Claim(amount, np.ones(1), 0.0, inside, np.ones(1))


def _add_chords(a: Assembly, claim: _Claim, piece: ConcaveYield) -> None:
    column = a.model.columns(1, cost=OBJECTIVE_SCALE, lower=-np.inf)
    intercepts = piece.intercept_usd / a.unit_usd
    for slope, intercept in zip(piece.slope.tolist(), intercepts.tolist(), strict=True):
        row = a.model.row("yield", upper=slope * claim.constant)
        a.model.put(row, column, 1.0)
        a.model.put(row, claim.column, -slope * claim.value)
        a.model.put(row, claim.switch, -intercept * claim.switch_value)
