"""Token prices with their depegs, gas and ETH."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stableyield.market.synthetic.settings import PriceModel, SyntheticSettings

Floats = NDArray[np.float64]

_N_NORMALS, _N_UNIFORMS = 4, 4
_CAP_OF_FIRST_USD, _CAP_EXPONENT = 1.2e11, 2.6  # capitalisation falls steeply with popularity
_CAP_LOG_SD = 0.004


@dataclass(frozen=True, eq=False)
class PricePaths:
    """Daily candles of each token, USD; arrays of shape (n_days, n_tokens)."""

    open_usd: Floats
    high_usd: Floats
    low_usd: Floats
    close_usd: Floats
    market_cap_usd: Floats


@dataclass(frozen=True, eq=False)
class GasPaths:
    """Gas price and ETH price; arrays of shape (n_days,)."""

    gas_gwei: Floats
    eth_usd: Floats


def simulate_prices(settings: SyntheticSettings, streams: list[np.random.Generator]) -> PricePaths:
    """Candles of every token; one stream per token.

    A price is its peg of 1 USD plus a mean-reverting deviation of a few basis points, less what is
    left of the last depeg. The open is the close of the day before.
    """
    model, n_days = settings.prices, settings.n_days
    substreams = [stream.spawn(2) for stream in streams]
    z = np.stack([two[0].standard_normal((n_days, _N_NORMALS)) for two in substreams], axis=2)
    u = np.stack([two[1].random((n_days, _N_UNIFORMS)) for two in substreams], axis=2)
    rank = np.arange(1, len(streams) + 1)
    noise = model.noise * np.sqrt(rank)
    deviation = _deviation(model, noise, z[:, 0])
    depeg = _depeg(model, u)
    close = 1.0 + deviation - depeg
    before = np.vstack([1.0 + deviation[:1], close[:-1]])
    stress = 0.3 * u[:, 3] * depeg  # the day's low is deeper than its close
    caps = np.log(_CAP_OF_FIRST_USD * rank**-_CAP_EXPONENT)
    caps = caps + np.cumsum(_CAP_LOG_SD * z[:, 1], axis=0)
    return PricePaths(
        open_usd=before,
        high_usd=np.maximum(before, close) + noise * np.abs(z[:, 2]),
        low_usd=np.minimum(before, close) - noise * np.abs(z[:, 3]) - stress,
        close_usd=close,
        market_cap_usd=np.round(np.exp(caps)),
    )


def _deviation(model: PriceModel, noise: Floats, z: Floats) -> Floats:
    innovation = noise * np.sqrt(1.0 - model.persistence**2)
    deviation = noise * z
    for t in range(1, len(z)):
        deviation[t] = model.persistence * deviation[t - 1] + innovation * z[t]
    return deviation


def _depeg(model: PriceModel, u: Floats) -> Floats:
    """What is missing to the peg (fraction), decaying at a pace that is drawn with each depeg."""
    ratio = model.depeg_max / model.depeg_min
    depth = model.depeg_min * ratio ** u[:, 1]
    pace = 0.4 + 0.4 * u[:, 2]
    starts = u[:, 0] < model.depeg_hazard
    depeg = np.zeros_like(depth)
    left, kept = np.zeros(depth.shape[1]), np.zeros(depth.shape[1])
    for t in range(len(depth)):
        begins = starts[t] & (depth[t] > left)
        left = np.where(begins, depth[t], left * kept)
        kept = np.where(begins, pace[t], kept)
        depeg[t] = left
    return depeg


def simulate_gas(settings: SyntheticSettings, stream: np.random.Generator) -> GasPaths:
    """Gas: log AR(1) with jumps, cut at the model's bounds; ETH: geometric Brownian motion."""
    model, n_days = settings.prices, settings.n_days
    normals, uniforms = stream.spawn(2)
    z = normals.standard_normal((n_days, 2))
    u = uniforms.random((n_days, 2))
    jumps = -model.gas_jump_log_mean * np.log1p(-u[:, 1]) * (u[:, 0] < model.gas_jump_hazard)
    innovation = model.gas_log_sd * np.sqrt(1.0 - model.gas_persistence**2)
    level = np.empty(n_days)
    level[0] = model.gas_log_sd * z[0, 0]
    for t in range(1, n_days):
        level[t] = model.gas_persistence * level[t - 1] + innovation * z[t, 0] + jumps[t]
    gas = np.clip(model.gas_median_gwei * np.exp(level), model.gas_min_gwei, model.gas_max_gwei)
    eth = model.eth_start_usd * np.exp(
        np.cumsum(model.eth_log_sd * z[:, 1] - 0.5 * model.eth_log_sd**2)
    )
    return GasPaths(gas, eth)
