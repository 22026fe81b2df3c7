"""Prices and gas of a loop's days as arrays: what is assumed about them is said, never silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.domain.costs import gas_fee_usd
from stableyield.errors import MissingDataError
from stableyield.loops.rates import LoopRates, day_counts
from stableyield.loops.settings import LoopCosts
from stableyield.market.contracts import check_table
from stableyield.market.layouts.side_data import prices_of
from stableyield.market.pegged import may_be_taken_at_par

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_GAS_CARRY_DAYS = 7


@dataclass(frozen=True, eq=False)
class PriceTable:
    """Prices of a market's assets on its days; arrays of shape (n_days, n_assets), USD.

    Parameters
    ----------
    close, low : ndarray
        Close of the day, carried over where it has none, and low, the close where unknown; NaN
        before the first known price.
    is_known : ndarray of bool
        Whether the day has a price of its own.
    assumptions : tuple of str
    """

    close: Floats
    low: Floats
    is_known: Flags
    assumptions: tuple[str, ...]


def price_table(rates: LoopRates, prices: pd.DataFrame | None) -> PriceTable:
    """Prices of the assets of ``rates`` on its days.

    Parameters
    ----------
    rates : LoopRates
    prices : DataFrame, optional
        The ``prices_daily`` table (token, date, close_usd, optionally low_usd). Absent: par, for
        coins that may be taken at par.

    Raises
    ------
    MissingDataError
        When a coin that may not be taken at par has no price at all.
    ContractError
        When the table breaks its contract.
    """
    shape = (rates.n_days, len(rates.assets))
    if prices is None:
        _refuse_without_price([a for a in rates.assets if not may_be_taken_at_par(a)], rates)
        ones = np.ones(shape)
        return PriceTable(ones, ones, np.ones(shape, dtype=bool), (_PAR,))
    checked = check_table("prices_daily", prices).frame
    first, last = (pd.Timestamp(str(day)).date() for day in rates.days[[0, -1]])
    found = prices_of(rates.assets, checked, first, last, assume_par=True)
    priced = set(found.table["token"])
    _refuse_without_price([a for a in rates.assets if a not in priced], rates)
    close = _grid(found.table, "close_usd", rates)
    low = _grid(found.table, "low_usd", rates) if "low_usd" in found.table else close
    known = np.isfinite(close)
    carried: Floats = pd.DataFrame(close).ffill().to_numpy()
    return PriceTable(carried, np.where(np.isfinite(low), low, carried), known, found.assumptions)


_PAR = (
    "Par is assumed: without prices every coin is worth 1.00 USD on every day, so that no depeg, "
    "no liquidation by price and no loss in price is in this run."
)


def _refuse_without_price(assets: Sequence[str], rates: LoopRates) -> None:
    if assets:
        raise MissingDataError(
            f"{assets[0]} has no price and may not be taken at par",
            where=rates.name,
            remedy="give prices, or leave the asset out",
        )


def _grid(table: pd.DataFrame, column: str, rates: LoopRates) -> Floats:
    index = pd.DatetimeIndex(rates.days.astype("datetime64[us]"))
    wide: pd.DataFrame = table.pivot_table(
        index="date", columns="token", values=column, aggfunc="last"
    )
    values: Floats = wide.reindex(index=index, columns=list(rates.assets)).to_numpy(np.float64)
    return values


def gas_per_transaction(
    rates: LoopRates, gas: pd.DataFrame | None, costs: LoopCosts
) -> tuple[Floats, tuple[str, ...]]:
    """USD of one plain transaction on each day, and what was assumed; shape (n_days,).

    Parameters
    ----------
    rates : LoopRates
    gas : DataFrame, optional
        The ``gas_daily`` table (date, gas_gwei, eth_usd), Ethereum mainnet.
    costs : LoopCosts
        A fixed ``gas_usd`` counts before the table.

    Raises
    ------
    MissingDataError
        When neither is there, or a day is more than 7 days after the last gas price.
    """
    if costs.gas_usd is not None:
        return np.full(rates.n_days, costs.gas_usd), (
            f"Gas is fixed at {costs.gas_usd:g} USD a transaction.",
        )
    if gas is None:
        raise MissingDataError(
            "there are no gas prices",
            where=rates.name,
            remedy="give a gas_daily table, or fix the USD of a transaction (gas_usd)",
        )
    table: pd.DataFrame = check_table("gas_daily", gas).frame.set_index("date")
    index = pd.DatetimeIndex(rates.days.astype("datetime64[us]"))
    known: Any = table[["gas_gwei", "eth_usd"]].dropna()
    on_days = known.reindex(known.index.union(index)).ffill(limit=_GAS_CARRY_DAYS).loc[index]
    missing = on_days["gas_gwei"].isna().to_numpy()
    if missing.any():
        raise MissingDataError(
            "there is no gas price",
            where=f"{rates.name}, {rates.days[int(missing.argmax())]}",
            remedy="choose other days, or fix the USD of a transaction (gas_usd)",
        )
    units, gwei, eth = costs.gas_units, on_days["gas_gwei"], on_days["eth_usd"]
    usd = [gas_fee_usd(units, g, e) for g, e in zip(gwei, eth, strict=True)]
    said = () if rates.chain == "Ethereum" else (_MAINNET.format(rates.chain),)
    return np.array(usd), said


_MAINNET = "Gas on {} is charged at Ethereum mainnet's price, which is dear for a rollup."


def rates_said(rates: LoopRates) -> tuple[str, ...]:
    """What was done about readings and amounts that the rates do not have, one sentence each."""
    known = np.isfinite(rates.supply_apr)
    begun = np.maximum.accumulate(known, axis=0)
    bridged = day_counts(rates, known & ~rates.is_fresh)
    unknown = day_counts(rates, begun & ~known)
    no_cash = day_counts(rates, known & np.isnan(rates.available_usd))
    said = list(rates.notes)
    if bridged:
        said.append(f"{rates.name}: the last reading was carried over for {bridged}.")
    if unknown:
        said.append(
            f"{rates.name}: no rate, or a longer gap: the coin is left and cannot be used, for "
            f"{unknown}."
        )
    if no_cash:
        said.append(f"{rates.name}: the cash is unknown and taken as enough for {no_cash}.")
    return tuple(said)
