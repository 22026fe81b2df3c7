"""A market as data frames: what files hold and what readers and the simulator produce."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class MarketFrames:
    """The tables of a market directory (see docs/formats.md for their columns).

    Parameters
    ----------
    pools, pool_daily : DataFrame
    prices_daily, gas_daily, forecasts, lend_borrow_daily : DataFrame, optional
        Absent: unknown.
    assumptions : tuple of str
        What the maker of the frames had to assume, one sentence each.
    """

    pools: pd.DataFrame
    pool_daily: pd.DataFrame
    prices_daily: pd.DataFrame | None = None
    gas_daily: pd.DataFrame | None = None
    forecasts: pd.DataFrame | None = None
    lend_borrow_daily: pd.DataFrame | None = None
    assumptions: tuple[str, ...] = ()
