"""Settings of the synthetic market: what is drawn, how often and how far.

The defaults of `RateModel` are fitted to quoted APYs of 72 stablecoin lending pools and vaults,
June 2024 to February 2025; ``benchmarks/synthetic_calibration.py`` repeats the comparison.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import date

from stableyield.errors import ParameterError

STABLECOINS = ("USDC", "USDT", "DAI", "USDe", "crvUSD", "FRAX", "PYUSD", "GHO")
MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class UniverseModel:
    """Which pools there are and when they are listed.

    Parameters
    ----------
    pair_share, triple_share : float
        Share of pools with two and with three tokens; the rest have one.
    zipf_exponent : float
        Popularity of the k-th token is ``k ** -zipf_exponent``.
    late_share : float
        Share of pools that are listed after the first day.
    listing_window_days : int
        Days after the first one over which the late listings are spread evenly.
    delisting_hazard : float
        Probability per day that a listed pool leaves for good.
    missing_day_share : float
        Probability that a listed pool has no row on a day.
    """

    pair_share: float = 0.22
    triple_share: float = 0.08
    zipf_exponent: float = 1.0
    late_share: float = 0.25
    listing_window_days: int = 365
    delisting_hazard: float = 1.0 / 1500.0
    missing_day_share: float = 0.009


@dataclass(frozen=True, slots=True)
class RateModel:
    """How base rates move: log rate = level + market + slow part + jumps + transient part.

    Parameters
    ----------
    level_median_pct, level_log_sd : float
        Base APY of a pool at the middle of its range, percent: median and log standard deviation
        over pools. The mean is lower: what falls stays down longer than what rises.
    market_log_sd, market_persistence : float
        Common factor: stationary log standard deviation and AR(1) coefficient per day.
    volatility_median, volatility_log_sd : float
        Daily log movement of a pool in the calm regime: median and log standard deviation.
    volatility_max : float
        Largest daily log movement of a pool in the calm regime.
    burst_log_sd : float
        Most days are quiet and a few are not: log standard deviation of a day's movement.
    persistence, high_persistence : float
        AR(1) coefficient per day of the slow part below and above its mean. A high rate reverts
        faster: borrowers repay and lenders arrive.
    transient_ratio : float
        Size of the part that is gone the next day, relative to the slow part's movement.
    volatile_factor : float
        Movement in the volatile and the spike regime relative to the calm one.
    calm_to_volatile, volatile_to_calm, to_spike, spike_to_volatile : float
        Transition probabilities per day; ``to_spike`` is that of the volatile regime, the calm one
        has a quarter of it.
    jump_log_mean, jump_up_share, jump_decay : float
        A spike's mean log size, the share that goes up, and what is left of it a day later.
    dead_share : float
        Share of pools that pay nothing at all.
    idle_share, idle_hazard, idle_days : float
        Share of pools that stop paying from time to time, how likely per day, mean length.
    stale_share : float
        Probability that a day's row repeats the one before.
    apy_max_pct : float
        Base and reward APY are cut here, percent.
    """

    level_median_pct: float = 7.1
    level_log_sd: float = 0.375
    market_log_sd: float = 0.2
    market_persistence: float = 0.99
    volatility_median: float = 0.0105
    volatility_log_sd: float = 1.05
    volatility_max: float = 0.3
    burst_log_sd: float = 2.05
    persistence: float = 0.98
    high_persistence: float = 0.885
    transient_ratio: float = 1.35
    volatile_factor: float = 2.6
    calm_to_volatile: float = 0.12
    volatile_to_calm: float = 0.12
    to_spike: float = 0.1
    spike_to_volatile: float = 0.9
    jump_log_mean: float = 0.42
    jump_up_share: float = 0.6
    jump_decay: float = 0.27
    dead_share: float = 0.1
    idle_share: float = 0.2
    idle_hazard: float = 0.02
    idle_days: float = 25.0
    stale_share: float = 0.006
    apy_max_pct: float = 250.0


@dataclass(frozen=True, slots=True)
class RewardModel:
    """Reward programmes: a fixed budget per day, shared by whoever is in the pool.

    Parameters
    ----------
    eligible_share : float
        Share of pools that can have programmes.
    start_hazard, mean_days, min_days : float
        Probability per day that one starts; mean and smallest length in days.
    level_median_pct, level_log_sd : float
        Reward APY at the start, percent: median and log standard deviation.
    noise : float
        Daily log movement of the reward token's price.
    """

    eligible_share: float = 0.5
    start_hazard: float = 0.012
    mean_days: float = 30.0
    min_days: float = 5.0
    level_median_pct: float = 2.2
    level_log_sd: float = 0.75
    noise: float = 0.03


@dataclass(frozen=True, slots=True)
class SizeModel:
    """How TVL is spread and how it moves.

    Parameters
    ----------
    median_usd, log_sd : float
        TVL of a pool at the start, USD: median and log standard deviation over pools.
    inflow_per_day : float
        Daily log inflow of a pool that has paid e times the market's rate lately.
    inflow_lag_days : float
        Mean lag of that inflow behind the APY.
    pull : float
        Share of the log distance to the start that is undone per day.
    noise, noise_log_sd : float
        Daily log movement: median and log standard deviation over pools.
    burst_log_sd : float
        Log standard deviation of a day's movement around the pool's own.
    rate_elasticity : float
        Fall of the log base rate per log of a day's unexpected inflow (utilisation).
    loss_hazard, loss_mean : float
        Probability per day of a real loss of a vault (bad debt), and its mean size (fraction).
    return_noise : float
        Standard deviation of a realised day's return relative to the quoted one.
    """

    median_usd: float = 4e6
    log_sd: float = 1.9
    inflow_per_day: float = 0.02
    inflow_lag_days: float = 4.0
    pull: float = 0.02
    noise: float = 0.025
    noise_log_sd: float = 0.9
    burst_log_sd: float = 1.2
    rate_elasticity: float = 0.08
    loss_hazard: float = 1.0 / 8000.0
    loss_mean: float = 0.02
    return_noise: float = 0.05


@dataclass(frozen=True, slots=True)
class PriceModel:
    """How token prices, gas and ETH move.

    Parameters
    ----------
    noise : float
        Daily deviation of the most popular token from its peg (fraction); later tokens have more.
    persistence : float
        AR(1) coefficient per day of that deviation.
    depeg_hazard : float
        Probability per day and token that it leaves its peg.
    depeg_min, depeg_max : float
        Depth of a depeg (fraction), log-uniform between the two.
    gas_median_gwei, gas_log_sd, gas_persistence : float
        Gas price: median, stationary log standard deviation, AR(1) coefficient per day.
    gas_jump_hazard, gas_jump_log_mean : float
        Probability per day of a jump of the gas price and its mean log size.
    gas_min_gwei, gas_max_gwei : float
        The gas price is cut here.
    eth_start_usd, eth_log_sd : float
        ETH: first price, daily log standard deviation; no drift.
    """

    noise: float = 0.0003
    persistence: float = 0.5
    depeg_hazard: float = 1.0 / 700.0
    depeg_min: float = 0.01
    depeg_max: float = 0.12
    gas_median_gwei: float = 8.0
    gas_log_sd: float = 0.7
    gas_persistence: float = 0.97
    gas_jump_hazard: float = 0.03
    gas_jump_log_mean: float = 0.6
    gas_min_gwei: float = 1.0
    gas_max_gwei: float = 60.0
    eth_start_usd: float = 3000.0
    eth_log_sd: float = 0.03


@dataclass(frozen=True, slots=True)
class SyntheticSettings:
    """A synthetic market: same settings, same frames, bit for bit.

    A longer market (``n_days``) begins with the shorter one of the same seed, and a larger one
    (``n_pools``) contains the smaller one.

    Parameters
    ----------
    seed : int
        Not negative.
    n_days, n_pools : int
        At least 1. A pool whose listing would fall after the last day is not in the frames.
    first_day : date
    tokens : tuple of str
        At least three, the most popular first.
    universe, rates, rewards, sizes, prices
        The models of the parts.

    Raises
    ------
    ParameterError
        When a value is out of its bounds.
    """

    seed: int = 1
    n_days: int = 365
    n_pools: int = 250
    first_day: date = date(2024, 1, 1)
    tokens: tuple[str, ...] = STABLECOINS
    universe: UniverseModel = field(default_factory=UniverseModel)
    rates: RateModel = field(default_factory=RateModel)
    rewards: RewardModel = field(default_factory=RewardModel)
    sizes: SizeModel = field(default_factory=SizeModel)
    prices: PriceModel = field(default_factory=PriceModel)

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MAX_SEED:
            raise ParameterError(f"seed is {self.seed}", remedy=f"choose one from 0 to {MAX_SEED}")
        for name in ("n_days", "n_pools"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} is {getattr(self, name)}", remedy="ask for 1 or more")
        if len(self.tokens) < 3 or len(set(self.tokens)) != len(self.tokens):
            raise ParameterError(
                f"tokens are {list(self.tokens)}", remedy="name at least three, none twice"
            )
        for name, value in self._numbers():
            _check_number(name, value)
        if self.universe.pair_share + self.universe.triple_share > 1.0:
            raise ParameterError("pair_share and triple_share exceed 1", remedy="lower one of them")
        if self.prices.depeg_min > self.prices.depeg_max:
            raise ParameterError(
                f"prices.depeg_min {self.prices.depeg_min} exceeds prices.depeg_max",
                remedy="swap them",
            )

    def _numbers(self) -> Iterator[tuple[str, float]]:
        for part in ("universe", "rates", "rewards", "sizes", "prices"):
            model = getattr(self, part)
            for item in fields(model):
                yield f"{part}.{item.name}", getattr(model, item.name)


_PROBABILITY_SUFFIXES = (
    "_share",
    "_hazard",
    "persistence",
    "_decay",
    "pull",
    "calm_to_volatile",
    "volatile_to_calm",
    "to_spike",
    "spike_to_volatile",
)
_POSITIVE = (
    "_median",
    "_median_pct",
    "_median_usd",
    "_median_gwei",
    "_min_gwei",
    "_start_usd",
    "depeg_min",
    "sizes.median_usd",
)


def _check_number(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0.0):
        raise ParameterError(f"{name} is {value}", remedy="give a finite number, 0 or more")
    if value == 0.0 and name.endswith(_POSITIVE):
        raise ParameterError(f"{name} is 0", remedy="give a positive number")
    if value > 1.0 and name.endswith(_PROBABILITY_SUFFIXES):
        raise ParameterError(f"{name} is {value}", remedy="give a share from 0 to 1")
    if value >= 1.0 and name == "prices.depeg_max":
        raise ParameterError(f"{name} is {value}", remedy="a price stays positive: less than 1")
    if value < 1.0 and name == "rates.idle_days":
        raise ParameterError(f"{name} is {value}", remedy="give 1 day or more")
