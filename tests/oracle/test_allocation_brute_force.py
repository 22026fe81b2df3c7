"""The optimiser against brute force: every pattern of moves of a tiny problem, a small LP for each.

The oracle is written leg by leg from the definitions (design: sections 2 to 4 of the allocation
problem); it shares no formulation with the model: no big-M, no binaries, no scaling, no balances.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from stableyield.allocation import AllocationProblem, PoolInput, RateModel, closing
from stableyield.domain.pool import PoolState
from stableyield.domain.rates import growth
from support.problems import random_problem, solved

linprog = pytest.importorskip("scipy.optimize").linprog


@dataclass(frozen=True)
class Move:
    """Something that happens in a pattern: an amount in USD between two bounds.

    ``legs`` says what one dollar of it brings to (or takes from) the wallet, by token.
    """

    pool: str
    legs: dict[str, float]
    low: float
    high: float
    gas_usd: float
    gain_per_usd: float
    claim: float = 0.0  # what one dollar of it adds to the position of the pool


@dataclass(frozen=True)
class Choice:
    """What is done with one pool in a pattern, and what is in the pool without the moves."""

    pool: str
    moves: tuple[Move, ...] = ()
    position: float = 0.0
    low: float = 0.0
    high: float = math.inf
    brings: dict[str, float] = field(default_factory=dict)  # amounts that are not a choice
    gas_usd: float = 0.0
    yield_usd: float = 0.0


class Oracle:
    """The best net gain of a problem by enumeration."""

    def __init__(self, task: AllocationProblem) -> None:
        self.task, self.p = task, task.parameters
        self.price = dict(task.prices_usd)
        self.tokens = sorted(self.price)
        self.wallet = {t: task.book.wallet.get(t, 0.0) * self.price[t] for t in self.tokens}
        self.held: dict[str, dict[str, float]] = {}
        for (pool_id, token), amount in task.book.positions.items():
            self.held.setdefault(pool_id, {})[token] = amount * self.price[token]
        self.aum = sum(self.wallet.values()) + sum(sum(h.values()) for h in self.held.values())
        self.cash = growth(self.p.cash_apy, self.p.horizon_days)

    # --- one pool ---

    def _legs(self, n: int) -> int:
        return n if self.p.gas_per_leg else min(n, 1)

    def _rate(self, pool: PoolInput) -> float:
        g = self.p.risk_aversion if math.isfinite(pool.apy_q10_pct) else 0.0
        mean, low = pool.apy_pct / 100.0, pool.apy_q10_pct / 100.0
        return growth((1.0 - g) * mean + (g * low if g else 0.0), self.p.horizon_days)

    def _cap(self, pool: PoolInput) -> float:
        position = sum(self.held.get(pool.pool_id, {}).values())
        others = pool.tvl_usd - position if self.task.tvl_includes_position else pool.tvl_usd
        share = self.p.position_max_pct_pool_tvl
        caps = [self.p.tvl_limit_percentage * pool.tvl_usd, share / (1 - share) * max(others, 0.0)]
        if not self.p.profit_optimization:
            shares = (self.p.max_alloc_percentage, self.p.position_max_pct_total_assets)
            caps.append(min(shares) * self.aum)
        return min(caps)

    def choices(self, pool: PoolInput) -> Iterator[Choice]:
        """Everything that can be done with a pool."""
        held = self.held.get(pool.pool_id, {})
        position = sum(held.values())
        gas = pool.gas or self.task.gas
        if pool.state is PoolState.EXIT:
            cost = gas.withdrawal * self._legs(len(held))
            yield Choice(pool.pool_id, brings=held, gas_usd=cost)
            return
        if pool.state is PoolState.FROZEN:
            yield Choice(pool.pool_id, position=position)
            return
        rate, cap = self._rate(pool), self._cap(pool)
        claim = {t: usd for t, usd in held.items() if t in pool.tokens}
        stranded = {t: usd for t, usd in held.items() if t not in pool.tokens}
        top = position if cap < position <= cap * (1.0 + self.p.cap_tolerance) else cap
        kinds = itertools.product(
            self._withdrawals(pool, claim, -rate), self._withdrawals(pool, stranded, 0.0)
        )
        for of_claim, of_stranded in kinds:
            out = tuple(m for m in (of_claim, of_stranded) if m is not None)
            gone = sum(m.high for m in out if m.low == m.high)
            base = Choice(
                pool.pool_id,
                out,
                position,
                min(self.p.min_position_usd, position) if gone < position else 0.0,
                top,
                yield_usd=rate * sum(claim.values()),
            )
            yield base
            deposit = self._deposit(pool, cap, rate, is_new=position == 0.0)
            if deposit is not None and of_claim is None:
                low = min(self.p.min_position_usd, position)
                yield replace(base, moves=(*out, deposit), low=low, high=cap)

    def _withdrawals(
        self, pool: PoolInput, legs: dict[str, float], gain: float
    ) -> Iterator[Move | None]:
        """Nothing, a part (each leg of the smallest size at least), or all of it."""
        yield None
        total = sum(legs.values())
        if total == 0.0:
            return
        shares = {token: usd / total for token, usd in legs.items()}
        gas = (pool.gas or self.task.gas).withdrawal * self._legs(len(legs))
        smallest = self.p.min_transaction_value / min(shares.values())
        everything = Move(pool.pool_id, shares, total, total, gas, gain, -1.0)
        yield everything
        if smallest < total:
            yield replace(everything, low=smallest)

    def _deposit(self, pool: PoolInput, cap: float, rate: float, *, is_new: bool) -> Move | None:
        if pool.state is not PoolState.OPEN:
            return None
        legs = dict(zip(pool.tokens, pool.token_shares, strict=True))
        smallest = self.p.min_transaction_value / min(legs.values())
        if is_new:
            smallest = max(smallest, self.p.min_position_usd)
        if cap <= 1e-9 * self.aum or smallest > cap:
            return None
        gas = (pool.gas or self.task.gas).allocation * self._legs(len(legs))
        takes = {token: -share for token, share in legs.items()}
        return Move(pool.pool_id, takes, smallest, cap, gas, rate, 1.0)

    # --- one pattern ---

    def best(self) -> float:
        """The highest net gain; minus infinity when there is no plan."""
        best = -math.inf
        options = [list(self.choices(pool)) for pool in self.task.pools]
        for choices in itertools.product(*options):
            for counted in self._counted(choices):
                # conversions that are free of gas and of any size bound what they can bring
                if self._gain(choices, counted, self._arcs(), free=True) <= best + 1e-9:
                    continue
                for arcs in self._arc_patterns():
                    best = max(best, self._gain(choices, counted, arcs, free=False))
        return best

    def _arcs(self) -> list[tuple[str, str]]:
        return list(itertools.permutations(self.tokens, 2))

    def _arc_patterns(self) -> Iterator[list[tuple[str, str]]]:
        """Between two tokens: no conversion, or one way, or the other."""
        pairs = list(itertools.combinations(self.tokens, 2))
        for ways in itertools.product(range(3), repeat=len(pairs)):
            yield [
                pair if way == 1 else pair[::-1]
                for pair, way in zip(pairs, ways, strict=True)
                if way
            ]

    def _counted(self, choices: tuple[Choice, ...]) -> Iterator[dict[str, float]]:
        """Each set of pools that could be the ones of real size, with the size that each needs."""
        real = max(self.p.min_pool_share * self.aum, self.p.min_position_usd)
        wanted = min(1, self.p.min_pools) if self.p.profit_optimization else self.p.min_pools
        needs = {}
        for choice in choices:
            drifted = choice.position >= real * (1.0 - self.p.cap_tolerance)
            needs[choice.pool] = min(real, choice.position) if drifted else real
        for chosen in itertools.combinations(needs, wanted):
            yield {pool: needs[pool] for pool in chosen}

    def _gain(
        self,
        choices: tuple[Choice, ...],
        counted: dict[str, float],
        arcs: list[tuple[str, str]],
        *,
        free: bool,
    ) -> float:
        """Net gain of the best amounts of a pattern, by linear programming."""
        moves = [move for choice in choices for move in choice.moves]
        n, fee = len(moves) + len(arcs), self.p.conversion_rate
        gas = sum(c.gas_usd for c in choices) + sum(m.gas_usd for m in moves)
        gas += 0.0 if free else len(arcs) * self.task.gas.conversion
        place = {token: j for j, token in enumerate(self.tokens)}
        flow = np.zeros((len(self.tokens), n))  # into the wallet, by token
        start = np.array([self.wallet[token] for token in self.tokens])
        for choice in choices:
            for token, usd in choice.brings.items():
                start[place[token]] += usd
        for k, move in enumerate(moves):
            for token, share in move.legs.items():
                flow[place[token], k] += share
        for k, (sold, bought) in enumerate(arcs, start=len(moves)):
            flow[place[sold], k] -= 1.0
            flow[place[bought], k] += 1.0 - fee
        rows, limits = [-flow, -flow.sum(axis=0)[None, :]], [start, [start.sum() - gas]]
        rows_x, limits_x = self._position_rows(choices, moves, n, counted)
        smallest = 0.0 if free else self.p.min_transaction_value
        bounds = [(m.low, m.high) for m in moves] + [(smallest, None)] * len(arcs)
        gain = np.array([m.gain_per_usd for m in moves] + [0.0] * len(arcs))
        gain = gain + self.cash * flow.sum(axis=0)
        gain[len(moves) :] -= fee
        if any(low > (math.inf if high is None else high) for low, high in bounds):
            return -math.inf
        fixed = sum(c.yield_usd for c in choices) - gas + self.cash * (start.sum() - gas)
        if n == 0:
            b = np.concatenate([*limits, limits_x])
            return fixed if np.all(b >= -1e-9 * self.aum) else -math.inf
        result = linprog(
            -gain,
            A_ub=np.vstack([*rows, *rows_x]),
            b_ub=np.concatenate([*limits, limits_x]),
            bounds=bounds,
        )
        return fixed - result.fun if result.status == 0 else -math.inf

    def _position_rows(
        self, choices: tuple[Choice, ...], moves: list[Move], n: int, counted: dict[str, float]
    ) -> tuple[list[np.ndarray], list[float]]:
        """``A x <= b`` for sizes, counted pools, groups and the share that must be invested."""
        rows, limits = [], []
        change = {
            choice.pool: np.array(
                [m.claim if m.pool == choice.pool else 0.0 for m in moves]
                + [0.0] * (n - len(moves))
            )
            for choice in choices
        }
        for choice in choices:
            x = change[choice.pool]
            if choice.high < math.inf:
                rows += [x, -x]
                limits += [choice.high - choice.position, choice.position - choice.low]
            if choice.pool in counted:
                rows.append(-x)
                limits.append(choice.position - counted[choice.pool])
        for members, cap in self._groups(choices):
            rows.append(sum((change[c.pool] for c in members), np.zeros(n)))
            limits.append(cap - sum(c.position for c in members))
        rows.append(-sum((change[c.pool] for c in choices), np.zeros(n)))
        limits.append(sum(c.position for c in choices) - self.p.min_invested_pct * self.aum)
        return rows, limits

    def _groups(self, choices: tuple[Choice, ...]) -> Iterator[tuple[list[Choice], float]]:
        group = {pool.pool_id: pool.risk_group for pool in self.task.pools}
        frozen = {p.pool_id for p in self.task.pools if p.state is PoolState.FROZEN}
        for number, share in self.p.group_max_pct.items():
            members = [c for c in choices if group[c.pool] == number]
            held, cap = sum(c.position for c in members), share * self.aum
            stuck = sum(c.position for c in members if c.pool in frozen)
            if any(c.pool not in frozen for c in members):
                top = held if cap < held <= cap * (1.0 + self.p.cap_tolerance) else cap
                yield members, max(top, stuck)


# --- comparisons ---


@pytest.fixture(autouse=True)
def _shaved_however_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts and shaving have to be right too, not the search alone."""
    monkeypatch.setattr(closing, "FEWEST_MOVES", 0)


@pytest.fixture(autouse=True)
def _shaved_however_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts and shaving have to be right too, not the search alone."""
    monkeypatch.setattr(closing, "FEWEST_MOVES", 0)


def _tiny(seed: int, n_pools: int, n_tokens: int) -> AllocationProblem:
    rng = np.random.default_rng(seed)
    task = random_problem(
        seed,
        n_pools,
        n_tokens,
        gap_usd=1e-6,
        cash_apy=float(rng.choice([0.0, 0.0, 0.03])),
        min_invested_pct=float(rng.choice([0.0, 0.0, 0.4])),
        min_pools=int(rng.integers(0, 3)),
        min_position_usd=float(rng.choice([0.0, 50.0, 400.0])),
        cap_tolerance=float(rng.choice([0.0, 0.1, 0.3])),
        group1_max_pct=float(rng.uniform(0.1, 0.8)),
        position_max_pct_pool_tvl=float(rng.uniform(0.05, 0.5)),
        tvl_limit_percentage=float(rng.uniform(0.05, 0.5)),
    )
    return replace(
        task,
        pools=[replace(p, rate_model=RateModel.CONSTANT) for p in task.pools if p.tokens],
    )


def _compare(task: AllocationProblem) -> bool:
    """Compare with brute force; whether there was a plan."""
    known = Oracle(task).best()
    plan = solved(task)
    if known == -math.inf:
        assert plan.status == "infeasible"
        return False
    assert plan.status == "optimal"
    tolerance_usd = 1e-4 + 1e-9 * task.aum_usd
    assert plan.certificate.objective_usd == pytest.approx(known, abs=tolerance_usd)
    assert plan.certificate.bound_usd >= known - tolerance_usd
    return True


def _sizes(seed: int) -> tuple[int, int]:
    return 2 + seed % 2, 3 if seed % 6 == 0 else 2


@pytest.mark.parametrize("seed", range(100))
def test_the_optimiser_finds_what_brute_force_finds(seed: int) -> None:
    _compare(_tiny(seed, *_sizes(seed)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1_000, 1_420))
def test_the_optimiser_finds_what_brute_force_finds_with_more_tokens(seed: int) -> None:
    _compare(_tiny(seed, 3 + seed % 2, 3))


def test_the_instances_are_worth_comparing() -> None:
    """Most have a plan, and most plans move money."""
    plans = [solved(_tiny(seed, *_sizes(seed))) for seed in range(100)]
    assert sum(plan.status == "optimal" for plan in plans) >= 60
    assert sum(plan.n_moves >= 2 for plan in plans) >= 50
    assert sum(plan.settlement.conversion_usd > 0.0 for plan in plans) >= 5
    assert sum(plan.status == "infeasible" for plan in plans) >= 5
