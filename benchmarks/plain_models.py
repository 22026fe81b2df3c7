"""The allocation problem as one would write it in cvxpy: once with loops, once with arrays.

Both say the same, in plain US dollars and from the definitions: no scaling, no rows that only
tighten, no reduction. The large constants are the smallest that need no thought: the cap of a pool,
the size of a position, all that there can be of a token. HiGHS solves both, with one thread and
the same absolute gap in dollars as ours.
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import cvxpy as cp
import highspy
import numpy as np
from numpy.typing import NDArray

from stableyield.allocation import AllocationProblem, RateModel
from stableyield.domain.pool import PoolState
from stableyield.domain.rates import growth

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TIE_BREAK_USD = 1e-6  # per transaction


@dataclass(frozen=True)
class PlainResult:
    """What a plain model cost and found; USD of gain, CPU seconds."""

    status: str  # optimal, time_limit (with or without a plan) or infeasible
    build_seconds: float
    solve_seconds: float
    objective_usd: float
    bound_usd: float
    n_rows: int
    n_columns: int

    @property
    def gap_usd(self) -> float:
        return max(self.bound_usd - self.objective_usd, 0.0)

    @property
    def seconds(self) -> float:
        return self.build_seconds + self.solve_seconds


class Facts:
    """The numbers of a problem, in USD, by pool and token; what both models are written from."""

    def __init__(self, problem: AllocationProblem) -> None:
        if any(pool.rate_model is not RateModel.CONSTANT for pool in problem.pools):
            raise NotImplementedError("the plain models know constant rates only")
        p = self.parameters = problem.parameters
        self.n_tokens, self.aum = len(problem.tokens), problem.aum_usd
        state, held = problem.state, problem.position_usd > 0.0
        self.open = state == PoolState.OPEN.value
        tradable = self.open | (state == PoolState.WITHDRAW_ONLY.value)
        exits, frozen = state == PoolState.EXIT.value, state == PoolState.FROZEN.value
        self.held: Ints = np.flatnonzero(tradable & held)
        self.new: Ints = np.flatnonzero(self.open & ~held)
        self.group = problem.group
        self.position, self.claim = problem.position_usd, problem.claim_usd
        self.stranded, self.cap = problem.stranded_usd, problem.cap_usd
        self.growth = np.nan_to_num(problem.growth)
        self.cash = growth(p.cash_apy, p.horizon_days)

        # what a dollar of a deposit takes, and what a dollar of a withdrawal brings, by token
        index = problem.token_index
        self.takes = np.zeros((len(problem.pools), self.n_tokens))
        for i in np.flatnonzero(self.open):
            pool = problem.pools[i]
            self.takes[i, [index[t] for t in pool.tokens]] = pool.token_shares
        claim_legs, stranded_legs = (np.zeros_like(self.takes) for _ in range(2))
        for table, legs in (
            (claim_legs, problem.claim_legs_usd),
            (stranded_legs, problem.stranded_legs_usd),
        ):
            for i, by_token in legs.items():
                for token, usd in by_token.items():
                    table[i, index[token]] = usd
        legs = claim_legs + stranded_legs
        self.wallet = problem.wallet_usd + legs[exits].sum(axis=0)
        self.available = self.wallet + legs[self.held].sum(axis=0)
        self.brings, self.smallest_claim = _shares(claim_legs, p.min_transaction_value)
        self.rescues, self.smallest_stranded = _shares(stranded_legs, p.min_transaction_value)

        smallest_share = np.where(self.takes > 0.0, self.takes, np.inf).min(axis=1)
        self.smallest_deposit = p.min_transaction_value / np.where(self.open, smallest_share, 1.0)
        self.smallest_deposit[self.new] = np.maximum(
            self.smallest_deposit[self.new], p.min_position_usd
        )
        self.room = np.where(self.open, np.maximum(self.cap - self.claim, 0.0), 0.0)
        in_band = (self.cap < self.position) & (self.position <= self.cap * (1 + p.cap_tolerance))
        self.highest = np.where(in_band, self.position, self.cap)
        self.smallest_position = np.minimum(p.min_position_usd, self.position)

        self.gas_deposit = problem.gas_deposit_usd
        pools, count = range(len(problem.pools)), np.count_nonzero
        self.gas_claim, self.gas_stranded = (
            np.array([problem.gas_withdrawal_usd(i, int(count(part[i]))) for i in pools])
            for part in (self.brings, self.rescues)
        )
        self.gas_conversion = problem.gas.conversion
        self.gas_of_exits = sum(
            problem.gas_withdrawal_usd(i, int(count(legs[i]))) for i in np.flatnonzero(exits & held)
        )
        self.fixed_yield = float((self.growth * self.claim)[self.held].sum())

        real, drifted = problem.count_threshold_usd, problem.count_threshold_usd
        drifted *= 1.0 - p.cap_tolerance
        self.counts_from = np.where(self.position >= drifted, np.minimum(real, self.position), real)
        self.min_pools = problem.min_pools - int(count(frozen & (self.position >= drifted)))
        self.groups = []
        for number, cap in problem.group_cap_usd.items():
            members = problem.group == number
            now, stuck = (float(self.position[members & part].sum()) for part in (~exits, frozen))
            top = now if cap < now <= cap * (1.0 + p.cap_tolerance) else cap
            self.groups.append((number, max(top - stuck, 0.0)))
        self.min_invested = p.min_invested_pct * self.aum - float(self.position[frozen].sum())


def _shares(legs: Floats, min_transaction: float) -> tuple[Floats, Floats]:
    """Legs as shares of each pool's total, and the smallest withdrawal (all of it is one)."""
    total = legs.sum(axis=1)
    shares = legs / np.where(total > 0.0, total, 1.0)[:, None]
    least = np.where(shares > 0.0, shares, np.inf).min(axis=1)
    return shares, np.minimum(min_transaction / np.where(total > 0.0, least, 1.0), total)


def vectorised(f: Facts) -> cp.Problem:
    """The model with one variable for each kind of decision."""
    held, new, p, t = f.held, f.new, f.parameters, f.n_tokens
    n, m, fee = len(new), len(held), p.conversion_rate
    deposit, deposits = cp.Variable(n, nonneg=True), cp.Variable(n, boolean=True)
    more, adds = cp.Variable(m, nonneg=True), cp.Variable(m, boolean=True)
    out, leaves = cp.Variable(m, nonneg=True), cp.Variable(m, boolean=True)
    rescue, rescues = cp.Variable(m, nonneg=True), cp.Variable(m, boolean=True)
    used, real_held = cp.Variable(m, boolean=True), cp.Variable(m, boolean=True)
    real_new = cp.Variable(n, boolean=True)
    sold, sells = cp.Variable((t, t), nonneg=True), cp.Variable((t, t), boolean=True)
    left, paid = cp.Variable(t, nonneg=True), cp.Variable(t, nonneg=True)
    after = f.position[held] + more - out - rescue

    gas = f.gas_of_exits + f.gas_deposit[new] @ deposits + f.gas_deposit[held] @ adds
    gas += f.gas_claim[held] @ leaves + f.gas_stranded[held] @ rescues
    gas += f.gas_conversion * cp.sum(sells)
    rules = [
        *_moves(deposit, deposits, f.smallest_deposit[new], f.room[new]),
        *_moves(more, adds, f.smallest_deposit[held], f.room[held]),
        *_moves(out, leaves, f.smallest_claim[held], f.claim[held]),
        *_moves(rescue, rescues, f.smallest_stranded[held], f.stranded[held]),
        *_moves(sold, sells, p.min_transaction_value, np.tile(f.available, (t, 1)).T),
        sells + sells.T <= 1,
        adds <= used,
        adds + leaves <= 1,
        after
        <= cp.multiply(f.highest[held], used)
        - cp.multiply(np.where(f.open[held], f.highest[held] - f.cap[held], 0.0), adds),
        after >= cp.multiply(f.smallest_position[held], used),
        deposit >= cp.multiply(f.counts_from[new], real_new),
        after >= cp.multiply(f.counts_from[held], real_held),
        real_new <= deposits,
        real_held <= used,
        cp.sum(real_new) + cp.sum(real_held) >= f.min_pools,
        f.wallet
        + f.brings[held].T @ out
        + f.rescues[held].T @ rescue
        + (1.0 - fee) * cp.sum(sold, axis=0)
        == left + f.takes[new].T @ deposit + f.takes[held].T @ more + cp.sum(sold, axis=1) + paid,
        cp.sum(paid) == gas,
    ]
    for number, top in f.groups:
        in_new, in_held = ((f.group[part] == number).astype(float) for part in (new, held))
        rules.append(in_new @ deposit + in_held @ after <= top)
    if p.min_invested_pct > 0.0:
        rules.append(cp.sum(deposit) + cp.sum(after) >= f.min_invested)
    earned = f.fixed_yield + f.growth[new] @ deposit + f.growth[held] @ (more - out)
    number = sum(cp.sum(x) for x in (deposits, adds, leaves, rescues, sells))
    gain = earned + f.cash * cp.sum(left) - gas - fee * cp.sum(sold) - TIE_BREAK_USD * number
    return cp.Problem(cp.Maximize(gain), rules)


def _moves(
    amount: cp.Variable, happens: cp.Variable, smallest: Floats | float, largest: Floats
) -> list[cp.Constraint]:
    return [
        amount <= cp.multiply(largest, happens),
        amount >= cp.multiply(np.broadcast_to(smallest, largest.shape), happens),
    ]


def with_loops(f: Facts) -> cp.Problem:
    """The model with a variable and a constraint for each pool, token and pair of tokens."""
    return _Loops(f).program()


class _Loops:
    """Terms of the sums that every pool and pair of tokens adds to."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.rules: list[cp.Constraint] = []
        self.gas: list[cp.Expression | float] = [facts.gas_of_exits]
        self.earned: list[cp.Expression | float] = [facts.fixed_yield]
        self.fees: list[cp.Expression | float] = [0.0]
        self.flow: list[list[cp.Expression | float]] = [[usd] for usd in facts.wallet]
        self.after: dict[int, cp.Expression] = {}
        self.switches: list[cp.Variable] = []
        self.counted: list[cp.Variable] = []

    def program(self) -> cp.Problem:
        f, tokens = self.facts, range(self.facts.n_tokens)
        for i in f.new:
            self.after[i], deposits = self.deposit(i)
            self.count(i, deposits)
        for i in f.held:
            self.hold(i)
        self.convert()
        left, paid = ([cp.Variable(nonneg=True) for _ in tokens] for _ in range(2))
        self.rules += [sum(self.flow[j]) == left[j] + paid[j] for j in tokens]
        self.rules += [sum(paid) == sum(self.gas), sum(self.counted) >= f.min_pools]
        for number, top_usd in f.groups:
            members = [x for i, x in self.after.items() if f.group[i] == number]
            if members:
                self.rules.append(sum(members) <= top_usd)
        if f.parameters.min_invested_pct > 0.0:
            self.rules.append(sum(self.after.values()) >= f.min_invested)
        gain = sum(self.earned) + f.cash * sum(left) - sum(self.gas) - sum(self.fees)
        return cp.Problem(cp.Maximize(gain - TIE_BREAK_USD * sum(self.switches)), self.rules)

    def move(
        self, smallest: float, largest: float, gas_usd: float
    ) -> tuple[cp.Variable, cp.Variable]:
        amount, happens = cp.Variable(nonneg=True), cp.Variable(boolean=True)
        self.rules += [amount <= largest * happens, amount >= smallest * happens]
        self.gas.append(gas_usd * happens)
        self.switches.append(happens)
        return amount, happens

    def into_wallet(self, amount: cp.Variable, shares: Floats, sign: float) -> None:
        for j in np.flatnonzero(shares):
            self.flow[j].append(sign * shares[j] * amount)

    def count(self, i: int, used: cp.Variable) -> None:
        real = cp.Variable(boolean=True)
        self.rules += [self.after[i] >= self.facts.counts_from[i] * real, real <= used]
        self.counted.append(real)

    def deposit(self, i: int) -> tuple[cp.Variable, cp.Variable]:
        f = self.facts
        amount, happens = self.move(f.smallest_deposit[i], f.room[i], f.gas_deposit[i])
        self.into_wallet(amount, f.takes[i], -1.0)
        self.earned.append(f.growth[i] * amount)
        return amount, happens

    def hold(self, i: int) -> None:
        """What can be done with a position."""
        f, used = self.facts, cp.Variable(boolean=True)
        position, top, one_way = f.position[i], f.highest[i] * used, []
        if f.open[i]:
            more, adds = self.deposit(i)
            position = position + more
            top = top - (f.highest[i] - f.cap[i]) * adds
            self.rules.append(adds <= used)
            one_way.append(adds)
        if f.claim[i] > 0.0:
            out, leaves = self.move(f.smallest_claim[i], f.claim[i], f.gas_claim[i])
            self.into_wallet(out, f.brings[i], 1.0)
            self.earned.append(-f.growth[i] * out)
            position = position - out
            one_way.append(leaves)
        if f.stranded[i] > 0.0:
            rescue, _ = self.move(f.smallest_stranded[i], f.stranded[i], f.gas_stranded[i])
            self.into_wallet(rescue, f.rescues[i], 1.0)
            position = position - rescue
        self.rules += [position <= top, position >= f.smallest_position[i] * used]
        self.rules += [sum(one_way) <= 1] if one_way else []
        self.after[i] = position
        self.count(i, used)

    def convert(self) -> None:
        """Every pair of tokens, one way or the other."""
        f, p = self.facts, self.facts.parameters
        sells: dict[tuple[int, int], cp.Variable] = {}
        for j, k in itertools.permutations(range(f.n_tokens), 2):
            sold, sells[j, k] = self.move(p.min_transaction_value, f.available[j], f.gas_conversion)
            self.flow[j].append(-sold)
            self.flow[k].append((1.0 - p.conversion_rate) * sold)
            self.fees.append(p.conversion_rate * sold)
            if k < j:
                self.rules.append(sells[j, k] + sells[k, j] <= 1)


def solve_plain(
    problem: AllocationProblem,
    model: Callable[[Facts], cp.Problem],
    *,
    gap_usd: float,
    limit_seconds: float,
) -> PlainResult:
    """Build and solve one of the models; building includes what cvxpy does to it."""
    options = {
        "mip_abs_gap": gap_usd,
        "mip_rel_gap": 0.0,
        "threads": 1,
        "random_seed": 0,
        "time_limit": limit_seconds,
    }
    began = time.process_time()
    program = model(Facts(problem))
    data, chain, inverse = program.get_problem_data(cp.HIGHS)
    built = time.process_time()
    raw = chain.solve_via_data(program, data, solver_opts=options)
    solved = time.process_time()
    info, status = raw["info"], raw["model_status"]
    n_rows, n_columns = data["A"].shape
    result = PlainResult(
        {"kOptimal": "optimal", "kTimeLimit": "time_limit"}.get(status, "infeasible"),
        built - began,
        solved - built,
        np.nan,
        np.nan,
        n_rows,
        n_columns,
    )
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return result
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "may be inaccurate": the gap says how much
        program.unpack_results(raw, chain, inverse)
    objective = float(program.value)
    bound = objective + info.objective_function_value - info.mip_dual_bound
    return PlainResult(
        result.status,
        result.build_seconds,
        result.solve_seconds,
        objective,
        bound,
        n_rows,
        n_columns,
    )
