"""Market-like allocation problems of any size, from a seed.

70 % single-token pools, 22 % pairs, 8 % triples over tokens of Zipf popularity; APY lognormal
(median 5 %, sigma 0.7, by group x 0.85 / 1 / 1.3), TVL Pareto (from 2e5, tail 0.75, at most 5e9),
prices N(1, 0.002); up to 12 held pools worth 60-80 % of AUM, 2 % of AUM in a pool that left the
list, the wallet in 4 tokens; gas 5 / 5 / 8 USD, min_pools 5, groups 35 / 35 / 30 %, smallest
transaction and position 50 USD.
"""

from __future__ import annotations

import numpy as np

from stableyield.allocation import AllocationProblem, PoolInput, RateModel
from stableyield.config import AllocationParameters
from stableyield.domain.costs import GasCosts
from stableyield.domain.portfolio import Book

GROUP_FACTOR = {1: 0.85, 2: 1.0, 3: 1.3}
GAS = GasCosts(allocation=5.0, withdrawal=5.0, conversion=8.0)


def market(
    n_pools: int,
    n_tokens: int,
    aum_usd: float,
    seed: int,
    *,
    rate_model: RateModel = RateModel.CONSTANT,
    **parameters: object,
) -> AllocationProblem:
    """One instance of the family ``market(N, T, AUM, seed)``."""
    rng = np.random.default_rng([seed, n_pools, n_tokens])
    tokens = [f"T{j:02d}" for j in range(n_tokens)]
    popularity = 1.0 / np.arange(1, n_tokens + 1)
    popularity /= popularity.sum()
    prices = {token: float(1.0 + rng.normal(0.0, 0.002)) for token in tokens}
    pools = []
    for i in range(n_pools):
        n_legs = min(int(rng.choice([1, 2, 3], p=[0.70, 0.22, 0.08])), n_tokens)
        legs = rng.choice(n_tokens, size=n_legs, replace=False, p=popularity)
        group = int(rng.integers(1, 4))
        apy_pct = 5.0 * np.exp(rng.normal(0.0, 0.7)) * GROUP_FACTOR[group]
        tvl_usd = min(2e5 * (1.0 - rng.random()) ** (-1.0 / 0.75), 5e9)
        names = tuple(tokens[j] for j in sorted(legs))
        pools.append(
            PoolInput(
                f"pool_{i:05d}",
                "-".join(names),
                "Ethereum",
                "synthetic",
                names,
                apy_pct=float(apy_pct),
                tvl_usd=float(tvl_usd),
                risk_group=group,
                rate_model=rate_model,
            )
        )
    book = _book(rng, pools, tokens, popularity, prices, aum_usd)
    values = {
        "min_transaction_value": 50.0,
        "min_position_usd": 50.0,
        "min_pools": 5,
        "horizon_days": 7.0,
        **parameters,
    }
    return AllocationProblem(pools, book, prices, GAS, AllocationParameters.from_mapping(values))


def _book(
    rng: np.random.Generator,
    pools: list[PoolInput],
    tokens: list[str],
    popularity: np.ndarray,
    prices: dict[str, float],
    aum_usd: float,
) -> Book:
    n_held = min(12, len(pools) // 2)
    invested = rng.uniform(0.6, 0.8) * aum_usd
    weights = rng.dirichlet(np.ones(n_held)) * invested
    positions: dict[tuple[str, str], float] = {}
    for place, usd in zip(rng.permutation(len(pools))[:n_held], weights, strict=True):
        pool = pools[place]
        held_usd = min(usd, 0.04 * pool.tvl_usd)
        for token in pool.tokens:
            positions[pool.pool_id, token] = held_usd / len(pool.tokens) / prices[token]
    positions["pool_gone", tokens[0]] = 0.02 * aum_usd / prices[tokens[0]]
    invested_usd = sum(amount * prices[token] for (_, token), amount in positions.items())
    n_wallet = min(4, len(tokens))
    chosen = rng.choice(len(tokens), size=n_wallet, replace=False, p=popularity)
    shares = rng.dirichlet(np.ones(n_wallet)) * (aum_usd - invested_usd)
    wallet = {tokens[j]: usd / prices[tokens[j]] for j, usd in zip(chosen, shares, strict=True)}
    return Book(wallet, positions)
