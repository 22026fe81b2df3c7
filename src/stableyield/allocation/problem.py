"""One allocation decision as arrays: pools, tokens, prices, costs, limits and the book.

No solver here. Money is in US dollars at today's prices; rates are fractions per year.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stableyield.config import AllocationParameters
from stableyield.domain.costs import GasCosts
from stableyield.domain.lending import KinkedCurve
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import Book, price_of
from stableyield.domain.rates import growth
from stableyield.errors import ContractError, InputError, MissingDataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class RateModel(StrEnum):
    """How a pool's yield answers to our own deposit."""

    CONSTANT = "constant"
    PRO_RATA = "pro_rata"
    KINKED = "kinked"


@dataclass(frozen=True, slots=True)
class PoolInput:
    """One pool as the optimiser sees it.

    Parameters
    ----------
    pool_id, symbol, chain, protocol : str
    tokens : tuple of str
    token_shares : tuple of float
        Share of each token in a deposit; sums to 1.
    apy_pct, apy_q10_pct : float
        Forecast horizon-mean APY and its 10 % quantile, percent; NaN where unknown. An unknown
        quantile means no risk adjustment.
    tvl_usd : float
        Forecast TVL; NaN where unknown.
    risk_group : int
        1, 2 or 3; 0: in no group.
    state : PoolState
    rate_model : RateModel
    gas : GasCosts, optional
        Gas of this pool's transactions; absent: the problem's.
    curve : KinkedCurve, optional
        The lending market, with ``rate_model`` kinked and only then. The forecast is the rate at
        its ``deposits_usd``; the curve says how the rate answers to other deposits.
    """

    pool_id: str
    symbol: str
    chain: str
    protocol: str
    tokens: tuple[str, ...]
    token_shares: tuple[float, ...] = ()
    apy_pct: float = np.nan
    apy_q10_pct: float = np.nan
    tvl_usd: float = np.nan
    risk_group: int = 0
    state: PoolState = PoolState.OPEN
    rate_model: RateModel = RateModel.CONSTANT
    gas: GasCosts | None = None
    curve: KinkedCurve | None = None

    def __post_init__(self) -> None:
        where = f"pool {self.pool_id}"
        if (self.curve is not None) is not (self.rate_model is RateModel.KINKED):
            raise ContractError(
                f"rate_model {self.rate_model} {'without' if self.curve is None else 'with'} a "
                "rate_curve",
                where=where,
                remedy="give a rate_curve with rate_model kinked, and only then",
            )
        if not self.token_shares and self.tokens:
            object.__setattr__(self, "token_shares", (1.0 / len(self.tokens),) * len(self.tokens))
        if len(set(self.tokens)) != len(self.tokens):
            raise ContractError(f"a token repeats in {list(self.tokens)}", where=where)
        if len(self.token_shares) != len(self.tokens) or (
            self.tokens
            and (min(self.token_shares) <= 0.0 or abs(sum(self.token_shares) - 1.0) > 1e-9)
        ):
            raise ContractError(
                f"token_shares {list(self.token_shares)} must be positive, one a token, sum 1",
                where=where,
            )
        if self.risk_group not in (0, 1, 2, 3):
            raise ContractError(f"risk_group {self.risk_group} is not 1, 2 or 3", where=where)
        is_used = self.state in (PoolState.OPEN, PoolState.WITHDRAW_ONLY)
        self._check_forecast(where, is_used=is_used)
        if is_used and not self.tokens:
            raise ContractError("no tokens", where=where, remedy="name at least one token")

    def _check_forecast(self, where: str, *, is_used: bool) -> None:
        for name, value, lowest, is_needed in (
            ("forecast_apy_pct", self.apy_pct, -100.0, is_used),
            ("forecast_apy_q10_pct", self.apy_q10_pct, -100.0, False),
            ("forecast_tvl_usd", self.tvl_usd, 0.0, is_used),
        ):
            if is_needed and not math.isfinite(value):
                raise MissingDataError(
                    f"{name} is {value}",
                    where=where,
                    remedy="supply the forecast, or give the pool the state frozen or exit",
                )
            if value < lowest:
                raise ContractError(f"{name} is {value}, below {lowest:g}", where=where)


@dataclass(frozen=True, eq=False)
class AllocationProblem:
    """One allocation decision.

    Pools and tokens are sorted by identity, so the order in which they are given does not matter.

    Parameters
    ----------
    pools : sequence of PoolInput
        A pool that the book holds and that is not named here must be left (state exit).
    book : Book
    prices_usd : mapping of token to USD price
        May hold more tokens than are needed.
    gas : GasCosts
        Gas in USD per transaction where a pool has none of its own.
    parameters : AllocationParameters
    tvl_includes_position : bool
        Whether the TVL forecasts, and the deposits of rate curves, include what we hold.

    Raises
    ------
    ContractError
        When a pool_id occurs twice.
    MissingDataError
        When a token that is owned or could be bought has no usable price.
    """

    pools: Sequence[PoolInput]
    book: Book
    prices_usd: Mapping[str, float]
    gas: GasCosts
    parameters: AllocationParameters = field(default_factory=AllocationParameters)
    tvl_includes_position: bool = True

    def __post_init__(self) -> None:
        by_id: dict[str, PoolInput] = {}
        for pool in self.pools:
            if pool.pool_id in by_id:
                raise ContractError(f"pool {pool.pool_id} occurs twice", remedy="keep one")
            if pool.state is not PoolState.EXCLUDED:
                by_id[pool.pool_id] = pool
        for pool_id in self.book.pool_ids:
            by_id.setdefault(pool_id, _gone(pool_id))
        object.__setattr__(self, "pools", tuple(by_id[key] for key in sorted(by_id)))
        prices = {
            token: price_of(token, self.prices_usd, f"token {token}") for token in self.tokens
        }
        object.__setattr__(self, "prices_usd", MappingProxyType(prices))
        if self.aum_usd <= 0.0:
            raise InputError("the wallet and the positions are empty", remedy="give some money")

    @classmethod
    def from_json(cls, source: Path | str | Mapping[str, Any]) -> AllocationProblem:
        """A problem from a problem file (see docs/formats.md), or from its content.

        Raises
        ------
        InputError
            When the file is missing or not JSON, or a key or value is wrong; names it.
        """
        from stableyield.allocation.problem_file import read_problem  # noqa: PLC0415 - it needs us

        return read_problem(source)

    # --- tokens and value ---

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """Tokens that are owned or that an open pool takes, sorted."""
        wanted = {
            token for pool in self.pools if pool.state is PoolState.OPEN for token in pool.tokens
        }
        return tuple(sorted(wanted | set(self.book.tokens)))

    @cached_property
    def token_index(self) -> Mapping[str, int]:
        """Place of each token in `tokens`."""
        return MappingProxyType({token: j for j, token in enumerate(self.tokens)})

    @cached_property
    def pool_index(self) -> Mapping[str, int]:
        """Place of each pool in `pools`."""
        return MappingProxyType({pool.pool_id: i for i, pool in enumerate(self.pools)})

    @cached_property
    def aum_usd(self) -> float:
        """Wallet and positions in USD, pools that left the list included."""
        return self.book.aum_usd(self.prices_usd)

    @cached_property
    def wallet_usd(self) -> Floats:
        """Wallet in USD by token; shape (n_tokens,)."""
        wallet = self.book.wallet
        return np.array([wallet.get(t, 0.0) * self.prices_usd[t] for t in self.tokens])

    # --- pools as arrays ---

    @cached_property
    def state(self) -> NDArray[np.str_]:
        """State of each pool; shape (n_pools,)."""
        return np.array([pool.state.value for pool in self.pools])

    @cached_property
    def group(self) -> Ints:
        """Risk group of each pool, 0 for none; shape (n_pools,)."""
        return np.array([pool.risk_group for pool in self.pools], dtype=np.int64)

    @cached_property
    def apy(self) -> Floats:
        """Risk-adjusted APY (fraction): ``(1 - g) mean + g q10``; shape (n_pools,)."""
        mean = np.array([pool.apy_pct for pool in self.pools]) / 100.0
        q10 = np.array([pool.apy_q10_pct for pool in self.pools]) / 100.0
        g = self.parameters.risk_aversion
        return np.where(np.isfinite(q10), (1.0 - g) * mean + g * q10, mean)

    @cached_property
    def growth(self) -> Floats:
        """Growth over the horizon at `apy`, before dilution; NaN where unknown; (n_pools,)."""
        return growth(self.apy, self.parameters.horizon_days)

    @cached_property
    def tvl_usd(self) -> Floats:
        """Forecast TVL; NaN where unknown; shape (n_pools,)."""
        return np.array([pool.tvl_usd for pool in self.pools])

    @cached_property
    def others_usd(self) -> Floats:
        """Everybody else's money in each pool; never negative; shape (n_pools,)."""
        own = self.position_usd if self.tvl_includes_position else 0.0
        return np.maximum(self.tvl_usd - own, 0.0)

    @cached_property
    def gas_deposit_usd(self) -> Floats:
        """Gas of a whole deposit, all its legs; shape (n_pools,)."""
        return np.array(
            [
                self.gas_of(i).allocation * self._legs(len(p.tokens))
                for i, p in enumerate(self.pools)
            ]
        )

    @cached_property
    def smallest_deposit_usd(self) -> Floats:
        """Smallest deposit that a pool accepts; shape (n_pools,).

        Its smallest leg is a whole transaction, and a new position has at least its own minimum.
        """
        p = self.parameters
        share = np.array([min(pool.token_shares, default=1.0) for pool in self.pools])
        move = p.min_transaction_value / share
        return np.where(self.position_usd > 0.0, move, np.maximum(move, p.min_position_usd))

    def gas_withdrawal_usd(self, pool: int, n_legs: int) -> float:
        """Gas of a withdrawal of ``n_legs`` tokens from pool number ``pool``."""
        return self.gas_of(pool).withdrawal * self._legs(n_legs)

    def gas_of(self, pool: int) -> GasCosts:
        """Gas of one transaction with pool number ``pool``."""
        return self.pools[pool].gas or self.gas

    def _legs(self, n_legs: int) -> int:
        return n_legs if self.parameters.gas_per_leg else 1

    # --- what is held ---

    @cached_property
    def claim_legs_usd(self) -> Mapping[int, Mapping[str, float]]:
        """What each held pool holds in its own tokens, USD by token, by pool number."""
        return self._legs_usd(inside=True)

    @cached_property
    def stranded_legs_usd(self) -> Mapping[int, Mapping[str, float]]:
        """What lies in a pool in tokens that it does not contain: earns nothing, can only leave."""
        return self._legs_usd(inside=False)

    def _legs_usd(self, *, inside: bool) -> Mapping[int, Mapping[str, float]]:
        legs: dict[int, dict[str, float]] = {}
        for (pool_id, token), amount in self.book.positions.items():
            i = self.pool_index[pool_id]
            if (token in self.pools[i].tokens) is inside:
                legs.setdefault(i, {})[token] = amount * self.prices_usd[token]
        return MappingProxyType(legs)

    @cached_property
    def claim_usd(self) -> Floats:
        """Value of the earning part of each position; shape (n_pools,)."""
        return self._totals(self.claim_legs_usd)

    @cached_property
    def stranded_usd(self) -> Floats:
        """Value of the stranded part of each position; shape (n_pools,)."""
        return self._totals(self.stranded_legs_usd)

    @cached_property
    def position_usd(self) -> Floats:
        """Value of each whole position; shape (n_pools,)."""
        return self.claim_usd + self.stranded_usd

    def _totals(self, legs: Mapping[int, Mapping[str, float]]) -> Floats:
        total = np.zeros(len(self.pools))
        for i, by_token in legs.items():
            total[i] = sum(by_token.values())
        return total

    # --- limits ---

    @property
    def min_pools(self) -> int:
        """Pools of real size that are demanded."""
        p = self.parameters
        return min(1, p.min_pools) if p.profit_optimization else p.min_pools

    @cached_property
    def share_cap_usd(self) -> float:
        """Largest position by share of AUM."""
        if self.parameters.profit_optimization:
            return self.aum_usd
        p = self.parameters
        return min(p.max_alloc_percentage, p.position_max_pct_total_assets) * self.aum_usd

    @cached_property
    def tvl_cap_usd(self) -> Floats:
        """Largest position by the pool's size, our own money included; shape (n_pools,)."""
        p = self.parameters
        own_share = p.position_max_pct_pool_tvl / (1.0 - p.position_max_pct_pool_tvl)
        return np.minimum(p.tvl_limit_percentage * self.tvl_usd, own_share * self.others_usd)

    @cached_property
    def cap_usd(self) -> Floats:
        """Largest whole position of each pool; shape (n_pools,); 0 where TVL is unknown."""
        return np.nan_to_num(np.minimum(self.tvl_cap_usd, self.share_cap_usd), nan=0.0)

    @cached_property
    def group_cap_usd(self) -> Mapping[int, float]:
        """Largest total of each risk group."""
        return MappingProxyType(
            {g: share * self.aum_usd for g, share in self.parameters.group_max_pct.items()}
        )

    @property
    def count_threshold_usd(self) -> float:
        """From this size on a position counts for ``min_pools``."""
        p = self.parameters
        return max(p.min_pool_share * self.aum_usd, p.min_position_usd)

    def with_parameters(self, parameters: AllocationParameters) -> AllocationProblem:
        """The same decision under other parameters."""
        return replace(self, parameters=parameters)


def _gone(pool_id: str) -> PoolInput:
    return PoolInput(pool_id, pool_id, "", "", (), state=PoolState.EXIT)
