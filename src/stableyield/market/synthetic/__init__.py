"""A seeded stablecoin market: pools, rates, prices and gas, for tests, demos and studies."""

from __future__ import annotations

from stableyield.market.synthetic.settings import (
    PriceModel,
    RateModel,
    RewardModel,
    SizeModel,
    SyntheticSettings,
    UniverseModel,
)
from stableyield.market.synthetic.simulate import simulate_market

__all__ = [
    "PriceModel",
    "RateModel",
    "RewardModel",
    "SizeModel",
    "SyntheticSettings",
    "UniverseModel",
    "simulate_market",
]
