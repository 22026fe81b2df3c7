"""What our own claim leaves of a pool's rate, as it is and as chords for the solver.

``growth x claim x share kept``: the forecast is the level, the rate model only the shape. A
pro-rata revenue is shared with `AllocationProblem.others_usd`. The forecast of a kinked market
describes it at the ``deposits_usd`` of its curve, which include our claim or not, as TVL does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.problem import AllocationProblem, RateModel
from stableyield.domain.lending import KinkedCurve, pro_rata_factor

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

N_SEGMENTS = 8
NEGLIGIBLE = 1e-9  # of the largest claim: a kink so near to an end is none


@dataclass(frozen=True, eq=False)
class ConcaveYield:
    """Yield of a claim between ``low_usd`` and ``high_usd``: the least of some lines.

    Parameters
    ----------
    low_usd, high_usd : float
    slope : ndarray of shape (n_lines,)
        Growth of one more USD.
    intercept_usd : ndarray of shape (n_lines,)
    """

    low_usd: float
    high_usd: float
    slope: Floats
    intercept_usd: Floats


def share_kept(problem: AllocationProblem, pools: Ints, claim_usd: Floats) -> Floats:
    """Share of each pool's growth that is left with our claim in it; shape (n,).

    A loss is not shared away: 1 where the growth is not positive. Above 1 where we leave a kinked
    market.

    Parameters
    ----------
    problem : AllocationProblem
    pools : ndarray of int, shape (n,)
        Pool numbers.
    claim_usd : ndarray of shape (n,)
        Our claim in each, positive.
    """
    kept = np.ones(len(pools))
    for n, i in enumerate(pools.tolist()):
        if problem.growth[i] > 0.0:
            kept[n] = _share_kept(problem, i, claim_usd[[n]])[0]
    return kept


def _share_kept(problem: AllocationProblem, pool: int, claim_usd: Floats) -> Floats:
    """The share at several claims in one pool."""
    curve = problem.pools[pool].curve
    if curve is not None:
        others = _others_usd(problem, pool, curve)
        return curve.share_kept(np.full_like(claim_usd, others), claim_usd)
    if problem.pools[pool].rate_model is RateModel.PRO_RATA:
        shared = pro_rata_factor(np.full_like(claim_usd, problem.others_usd[pool]), claim_usd)
        return np.nan_to_num(shared)  # nobody else in the pool: nothing is promised
    return np.ones_like(claim_usd)


def _others_usd(problem: AllocationProblem, pool: int, curve: KinkedCurve) -> float:
    """Everybody else's deposits in a kinked market."""
    own = problem.claim_usd[pool] if problem.tvl_includes_position else 0.0
    return max(curve.deposits_usd - float(own), 0.0)


def concave_yields(
    problem: AllocationProblem, pool: int, highest_usd: float
) -> tuple[ConcaveYield, ...]:
    """The yield of claims from 0 to ``highest_usd`` by chords, which never promise too much.

    One piece where the yield is concave: always, but for a kinked market which deposits in this
    range push from above its kink to below. There the next dollar earns more below the kink than
    just above it; two pieces meet at the kink.
    """
    growth = float(problem.growth[pool])
    if growth <= 0.0:
        return (ConcaveYield(0.0, highest_usd, np.array([growth]), np.zeros(1)),)
    curve = problem.pools[pool].curve
    if curve is None:
        return (_joined([_chords(problem, pool, 0.0, highest_usd, N_SEGMENTS)]),)
    others = _others_usd(problem, pool, curve)
    kink = curve.debt_usd / curve.optimal_utilisation - others
    if curve.is_steeper_above_the_kink and _is_inside(kink, 0.0, highest_usd):
        ranges = [(0.0, kink), (kink, highest_usd)]
    else:
        ranges = [(0.0, highest_usd)]
    return tuple(_joined(list(_stretches(problem, pool, low, high))) for low, high in ranges)


def _is_inside(point: float, low: float, high: float) -> bool:
    margin = NEGLIGIBLE * high
    return low + margin < point < high - margin


def _stretches(
    problem: AllocationProblem, pool: int, low: float, high: float
) -> Iterator[ConcaveYield]:
    """Lines for each smooth stretch of a kinked market's yield.

    The yield is linear while everything is lent, and has a corner at a kink. Where we would be the
    larger part of the market it turns convex: there the tangent where it turns is what never
    promises too much.
    """
    curve = problem.pools[pool].curve
    if curve is None:
        raise AssertionError
    others = _others_usd(problem, pool, curve)
    full = curve.debt_usd - others
    kink = curve.debt_usd / curve.optimal_utilisation - others
    cuts = [low, *(c for c in (full, kink) if _is_inside(c, low, high)), high]
    now = float(curve.supply_apr(curve.utilisation(np.array(curve.deposits_usd), np.array(0.0))))
    for start, end in pairwise(cuts):
        middle = 0.5 * (start + end)
        if middle <= full:
            yield _chords(problem, pool, start, end, 1)
            continue
        is_above = middle < kink
        turn = max(curve.concave_up_to_usd(others, is_above=is_above), start)
        if turn > start + NEGLIGIBLE * end:
            yield _chords(problem, pool, start, min(turn, end), N_SEGMENTS)
        if turn < end:
            slope = curve.marginal_apr(others, turn, is_above=is_above) / now
            slope *= float(problem.growth[pool])
            value = float(_yield_usd(problem, pool, np.array([turn]))[0])
            yield ConcaveYield(turn, end, np.array([slope]), np.array([value - slope * turn]))


def _chords(
    problem: AllocationProblem, pool: int, low: float, high: float, n_segments: int
) -> ConcaveYield:
    points = np.linspace(low, high, n_segments + 1)
    value = _yield_usd(problem, pool, points)
    slope = np.diff(value) / np.diff(points)
    return ConcaveYield(low, high, slope, value[:-1] - slope * points[:-1])


def _yield_usd(problem: AllocationProblem, pool: int, claim_usd: Floats) -> Floats:
    growth = float(problem.growth[pool])
    return growth * claim_usd * _share_kept(problem, pool, claim_usd)


def _joined(parts: list[ConcaveYield]) -> ConcaveYield:
    """One piece with the lines of all."""
    return ConcaveYield(
        parts[0].low_usd,
        parts[-1].high_usd,
        np.concatenate([part.slope for part in parts]),
        np.concatenate([part.intercept_usd for part in parts]),
    )
