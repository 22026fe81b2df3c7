"""APY, rewards, TVL and realised returns of all pools, day by day.

Every pool has its own random streams, and each day takes a fixed number of draws from them. So the
past of a market does not depend on how long it is, nor a pool on how many others there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import day_return
from stableyield.market.synthetic.settings import RateModel, SyntheticSettings

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BURN_IN_DAYS = 60  # so that the first day is as typical as any other

_CALM, _VOLATILE, _SPIKE = 0, 1, 2
_JUMP_LOG_MAX = 1.8
_MOVEMENT_MAX = 0.5  # log rate in a day, jumps apart: fits the largest real movements
_NO_DUST_SHARE, _DUST_MEDIAN_PCT = 0.6, 0.005  # what a pool pays that pays nothing
_MARKET_PACE = 0.1
_KINK = 0.9  # utilisation at which a lending rate turns steep
_KINK_LEVEL = 1.3  # rate at the kink, relative to the pool's long-run rate
_STEEPNESS = 10.0  # the rate at full utilisation is about this many times the rate at the kink
_FLOW_MAX = 1.0  # log TVL in a day: a whale comes or leaves

_UNIFORMS = (
    "regime",
    "jump_size",
    "jump_side",
    "idle",
    "programme_start",
    "programme_days",
    "missing",
    "stale",
    "loss",
    "loss_size",
)
_NORMALS = (
    "slow",
    "transient",
    "burst",
    "programme_level",
    "programme_noise",
    "flow",
    "flow_burst",
    "realised",
)


@dataclass(frozen=True, eq=False)
class RatePaths:
    """What the pools did; arrays of shape (n_days, n_pools).

    Parameters
    ----------
    base_pct, reward_pct : ndarray
        As published: a stale row repeats the one before.
    tvl_usd, deposits_usd : ndarray
        TVL is what can be withdrawn from a lending pool, and everything that is in another one.
    return_1d : ndarray
        Growth (fraction) of one unit over the day, losses included.
    is_missing : ndarray of bool
        The provider has no row.
    """

    base_pct: Floats
    reward_pct: Floats
    tvl_usd: Floats
    deposits_usd: Floats
    return_1d: Floats
    is_missing: Bools


@dataclass(frozen=True, eq=False)
class _Traits:
    """What stays the same in a pool; arrays of shape (n_pools,)."""

    log_level: Floats
    volatility: Floats
    market_beta: Floats
    is_dead: Bools
    dust_pct: Floats
    can_idle: Bools
    can_reward: Bools
    log_tvl: Floats
    flow_noise: Floats
    is_lending: Bools
    is_vault: Bools


@dataclass(eq=False)
class _State:
    """What a day hands to the next; arrays of shape (n_pools,)."""

    regime: NDArray[np.intp]
    slow: Floats
    jump: Floats
    is_idle: Bools
    programme_days_left: Floats
    programme_usd_per_year: Floats
    heat: Floats
    flow_shock: Floats
    log_tvl: Floats

    @classmethod
    def at_start(cls, traits: _Traits) -> _State:
        n_pools = len(traits.log_tvl)
        return cls(
            regime=np.full(n_pools, _CALM, dtype=np.intp),
            slow=np.zeros(n_pools),
            jump=np.zeros(n_pools),
            is_idle=np.zeros(n_pools, dtype=bool),
            programme_days_left=np.zeros(n_pools),
            programme_usd_per_year=np.zeros(n_pools),
            heat=np.zeros(n_pools),
            flow_shock=np.zeros(n_pools),
            log_tvl=traits.log_tvl.copy(),
        )


@dataclass(frozen=True, eq=False)
class _Draws:
    """Random numbers of one day, or of all days, by name."""

    values: dict[str, Floats]

    def __getitem__(self, name: str) -> Floats:
        return self.values[name]

    def day(self, t: int) -> _Draws:
        return _Draws({name: array[t] for name, array in self.values.items()})


def simulate_rates(
    settings: SyntheticSettings,
    market_stream: np.random.Generator,
    pool_streams: list[np.random.Generator],
    kinds: tuple[NDArray[np.bool_], NDArray[np.bool_]],
) -> RatePaths:
    """Simulate all pools over all days.

    Parameters
    ----------
    settings : SyntheticSettings
    market_stream : Generator
        Of the common factor.
    pool_streams : list of Generator
        One per pool.
    kinds : two ndarrays of bool, shape (n_pools,)
        Which pools are lending reserves, and which are vaults.
    """
    n_days = BURN_IN_DAYS + settings.n_days
    substreams = [stream.spawn(3) for stream in pool_streams]
    traits = _draw_traits(settings, [three[0] for three in substreams], kinds)
    draws = _draw(n_days, substreams)
    market = _market_factor(settings.rates, market_stream, n_days)
    state = _State.at_start(traits)
    paths = {
        name: np.empty((n_days, len(pool_streams))) for name in ("base", "reward", "tvl", "loss")
    }
    for t in range(n_days):
        today = draws.day(t)
        base = _step_base(settings, traits, state, today, market[t])
        reward = _step_reward(settings, traits, state, today)
        loss = _loss(settings, traits, today)
        paths["base"][t], paths["reward"][t], paths["loss"][t] = base, reward, loss
        paths["tvl"][t] = np.exp(state.log_tvl)
        reference = np.log(settings.rates.level_median_pct) + market[t]
        _step_tvl(settings, traits, state, today, (np.log(base + reward + 0.1) - reference, loss))
    after = slice(BURN_IN_DAYS, None)
    return _publish(
        settings,
        traits,
        {name: array[after] for name, array in paths.items()},
        _Draws({name: array[after] for name, array in draws.values.items()}),
    )


def _draw_traits(
    settings: SyntheticSettings,
    streams: list[np.random.Generator],
    kinds: tuple[NDArray[np.bool_], NDArray[np.bool_]],
) -> _Traits:
    rates, sizes = settings.rates, settings.sizes
    z = np.array([stream.standard_normal(6) for stream in streams])
    u = np.array([stream.random(4) for stream in streams])
    volatility = rates.volatility_median * np.exp(rates.volatility_log_sd * z[:, 1])
    return _Traits(
        log_level=np.log(rates.level_median_pct) + rates.level_log_sd * z[:, 0],
        volatility=np.minimum(volatility, rates.volatility_max),
        market_beta=1.0 + 0.3 * z[:, 2],
        is_dead=u[:, 0] < rates.dead_share,
        dust_pct=np.where(u[:, 3] < _NO_DUST_SHARE, 0.0, _DUST_MEDIAN_PCT * np.exp(z[:, 5])),
        can_idle=u[:, 1] < rates.idle_share,
        can_reward=u[:, 2] < settings.rewards.eligible_share,
        log_tvl=np.log(sizes.median_usd) + sizes.log_sd * z[:, 3],
        flow_noise=np.minimum(sizes.noise * np.exp(sizes.noise_log_sd * z[:, 4]), 0.15),
        is_lending=kinds[0],
        is_vault=kinds[1],
    )


def _draw(n_days: int, substreams: list[list[np.random.Generator]]) -> _Draws:
    normals = np.stack(
        [three[1].standard_normal((n_days, len(_NORMALS))) for three in substreams], axis=2
    )
    uniforms = np.stack([three[2].random((n_days, len(_UNIFORMS))) for three in substreams], axis=2)
    values = {name: np.ascontiguousarray(normals[:, k]) for k, name in enumerate(_NORMALS)}
    values |= {name: np.ascontiguousarray(uniforms[:, k]) for k, name in enumerate(_UNIFORMS)}
    return _Draws(values)


def _market_factor(model: RateModel, stream: np.random.Generator, n_days: int) -> Floats:
    """Common log factor, shape (n_days,): an AR(1) smoothed over weeks.

    Real pools share the level of the season, but hardly a daily movement.
    """
    z = model.market_log_sd * stream.standard_normal(n_days)
    innovation = np.sqrt(1.0 - model.market_persistence**2)
    factor = np.empty(n_days)
    target = smooth = z[0]
    for t in range(n_days):
        target = model.market_persistence * target + innovation * z[t]
        smooth += _MARKET_PACE * (target - smooth)
        factor[t] = smooth
    return factor


def _transitions(model: RateModel) -> Floats:
    """Cumulated transition probabilities, shape (3, 2): up to calm, up to volatile."""
    calm_to_spike = 0.25 * model.to_spike
    return np.array(
        [
            [1.0 - model.calm_to_volatile - calm_to_spike, 1.0 - calm_to_spike],
            [model.volatile_to_calm, 1.0 - model.to_spike],
            [0.0, model.spike_to_volatile],
        ]
    )


def _step_base(
    settings: SyntheticSettings, traits: _Traits, state: _State, today: _Draws, market: float
) -> Floats:
    """Base APY of the day, percent."""
    model = settings.rates
    before = state.regime
    state.regime = (today["regime"][:, None] > _transitions(model)[before]).sum(axis=1)
    factor = np.where(state.regime == _CALM, 1.0, model.volatile_factor)
    burst = np.exp(model.burst_log_sd * today["burst"])
    movement = np.minimum(traits.volatility * factor * burst, _MOVEMENT_MAX)
    kept = np.where(state.slow > 0.0, model.high_persistence, model.persistence)
    state.slow = (
        kept * state.slow
        + movement * today["slow"]
        - settings.sizes.rate_elasticity * state.flow_shock
    )
    size = np.minimum(-model.jump_log_mean * np.log1p(-today["jump_size"]), _JUMP_LOG_MAX)
    side = np.where(today["jump_side"] < model.jump_up_share, 1.0, -1.0)
    starts = (state.regime == _SPIKE) & (before != _SPIKE)
    state.jump = model.jump_decay * state.jump + np.where(starts, side * size, 0.0)
    transient = model.transient_ratio * movement * today["transient"]
    log_base = traits.log_level + traits.market_beta * market + state.slow + state.jump + transient
    chance = np.where(state.is_idle, 1.0 / model.idle_days, model.idle_hazard * traits.can_idle)
    state.is_idle = state.is_idle ^ (today["idle"] < chance)
    base: Floats = np.minimum(np.exp(log_base), model.apy_max_pct)
    return np.where(traits.is_dead | state.is_idle, traits.dust_pct, base)


def _step_reward(
    settings: SyntheticSettings, traits: _Traits, state: _State, today: _Draws
) -> Floats:
    """Reward APY of the day, percent: the programme's budget over the pool's TVL."""
    model = settings.rewards
    state.programme_days_left = np.maximum(state.programme_days_left - 1.0, 0.0)
    starts = (
        (state.programme_days_left == 0.0)
        & traits.can_reward
        & (today["programme_start"] < model.start_hazard)
    )
    mean_extra_days = max(model.mean_days - model.min_days, 0.0)
    days = np.ceil(model.min_days - mean_extra_days * np.log1p(-today["programme_days"]))
    level = model.level_median_pct * np.exp(model.level_log_sd * today["programme_level"])
    tvl = np.exp(state.log_tvl)
    state.programme_days_left = np.where(starts, days, state.programme_days_left)
    state.programme_usd_per_year = np.where(
        starts, level / 100.0 * tvl, state.programme_usd_per_year
    ) * np.exp(model.noise * today["programme_noise"])
    reward = np.minimum(100.0 * state.programme_usd_per_year / tvl, settings.rates.apy_max_pct)
    return np.where(state.programme_days_left > 0.0, reward, 0.0)


def _loss(settings: SyntheticSettings, traits: _Traits, today: _Draws) -> Floats:
    """Share of its assets that a vault loses today; nearly always 0."""
    hit = traits.is_vault & (today["loss"] < settings.sizes.loss_hazard)
    size = np.minimum(-settings.sizes.loss_mean * np.log1p(-today["loss_size"]), 0.5)
    return np.where(hit, size, 0.0)


def _step_tvl(
    settings: SyntheticSettings,
    traits: _Traits,
    state: _State,
    today: _Draws,
    news: tuple[Floats, Floats],
) -> None:
    """Move TVL to tomorrow: lagged inflow after a high rate, noise, a pull home, losses.

    ``news`` are the day's log APY relative to the market's, and the day's loss.
    """
    model = settings.sizes
    excess, loss = news
    weight = 1.0 / (1.0 + model.inflow_lag_days)
    state.heat = (1.0 - weight) * state.heat + weight * np.clip(excess, -1.5, 1.5)
    state.heat = np.where(loss > 0.0, -5.0, state.heat)  # depositors run
    movement = traits.flow_noise * np.exp(model.burst_log_sd * today["flow_burst"])
    state.flow_shock = np.clip(movement * today["flow"], -_FLOW_MAX, _FLOW_MAX)
    state.log_tvl = (
        state.log_tvl
        + model.inflow_per_day * state.heat
        + model.pull * (traits.log_tvl - state.log_tvl)
        + state.flow_shock
        + np.log1p(-loss)
    )


def _publish(
    settings: SyntheticSettings, traits: _Traits, paths: dict[str, Floats], draws: _Draws
) -> RatePaths:
    """What the provider shows of the true paths."""
    true_apy = (paths["base"] + paths["reward"]) / 100.0
    noise = 1.0 + settings.sizes.return_noise * draws["realised"]
    return_1d = (1.0 + day_return(true_apy) * noise) * (1.0 - paths["loss"]) - 1.0
    is_stale = draws["stale"] < settings.rates.stale_share
    is_missing = draws["missing"] < settings.universe.missing_day_share
    return RatePaths(
        base_pct=_repeat(np.round(paths["base"], 5), is_stale),
        reward_pct=_repeat(np.round(paths["reward"], 5), is_stale),
        tvl_usd=np.round(paths["tvl"]),
        deposits_usd=np.round(paths["tvl"] / (1.0 - _utilisation(traits, paths["base"]))),
        return_1d=return_1d,
        is_missing=is_missing,
    )


def _repeat(array: Floats, is_stale: Bools) -> Floats:
    """Each stale value replaced by the last one that is not."""
    rows = np.arange(len(array))[:, None]
    source = np.maximum.accumulate(np.where(is_stale, 0, rows), axis=0)
    return np.take_along_axis(array, source, axis=0)


def _utilisation(traits: _Traits, base_pct: Floats) -> Floats:
    """Share of a lending pool's deposits that is lent out: a kinked rate model, inverted.

    Below the kink the supply rate grows with the square of utilisation (borrow rate x
    utilisation); above it the rate turns steep. Pools that do not lend have 0.
    """
    relative = base_pct / (_KINK_LEVEL * np.exp(traits.log_level))
    steep = _KINK + (1.0 - _KINK) * (relative - 1.0) / (_STEEPNESS - 1.0)
    used = np.where(relative < 1.0, _KINK * np.sqrt(relative), np.minimum(steep, 0.98))
    return np.where(traits.is_lending, used, 0.0)
