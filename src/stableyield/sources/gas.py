"""Gas: Etherscan's oracle for today, and the daily averages that it exports as CSV.

``gas_gwei`` is what a transaction pays per unit, base fee and tip together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import SecretStr

from stableyield.errors import ContractError
from stableyield.market.columns import Origin, to_numbers
from stableyield.market.contracts import check_table
from stableyield.market.tables import read_table
from stableyield.sources.ask import Reading, fetched_of, reply_now
from stableyield.sources.base import Fetched, Span
from stableyield.sources.defillama import snapshot_day
from stableyield.sources.etherscan import (
    ETHEREUM,
    ETHERSCAN_URL,
    SOURCE,
    etherscan_request,
    result_of,
)
from stableyield.sources.http import HttpClient
from stableyield.sources.payload import Bounds, Cleaning, bad_shape, checked, numbers_of
from stableyield.sources.request import Request

GAS_GWEI = Bounds(1e-9, 1e5)
ETH_USD = Bounds(1e-3, 1e7)
_WEI_PER_GWEI = 1e9
_EXPORT_SECONDS = "UnixTimeStamp"


@dataclass(frozen=True)
class GasOracle:
    """``gastracker.gasoracle`` and ``stats.ethprice`` of Etherscan V2; table ``gas_daily``.

    Parameters
    ----------
    client : HttpClient
    key : SecretStr, optional
        Without it nothing is asked.
    base_url : str
    chain_id : int
    """

    client: HttpClient
    key: SecretStr | None
    base_url: str = ETHERSCAN_URL
    chain_id: int = ETHEREUM

    @property
    def name(self) -> str:
        """Provider and route."""
        return f"{SOURCE} gas oracle"

    def fetch(self, span: Span) -> Fetched:
        """Today's gas and ETH price, as they are now.

        Raises
        ------
        MissingDataError
            For another day than today: read its average from an export.
        SourceError
            When the provider fails, or answers with status "0".
        """
        day = snapshot_day(span, self.client.clock.utc_now(), self.name)
        gas = self._request({"module": "gastracker", "action": "gasoracle"})
        eth = self._request({"module": "stats", "action": "ethprice"})
        replies = [
            reply_now(self.client, gas, lambda value: self._gas(value, gas)),
            reply_now(self.client, eth, lambda value: self._eth(value, eth)),
        ]
        both = fetched_of(replies)
        frame = pd.concat([both.tables["gas"], both.tables["eth"]], axis=1).assign(
            date=pd.Timestamp(day)
        )
        return Fetched(
            checked("gas_daily", frame, gas, Cleaning()),
            both.provenance,
            both.masked,
            both.examples,
            ("Gas of the day is the proposed gas price (base fee and tip) when it was asked for.",),
        )

    def _request(self, params: dict[str, str]) -> Request:
        with_chain = {"chainid": str(self.chain_id), **params}
        return etherscan_request(self.base_url, self.key, str(self.chain_id), with_chain)

    def _gas(self, value: Any, request: Request) -> Reading:
        number = self._one(value, "ProposeGasPrice", GAS_GWEI, request)
        return Reading({"gas": pd.DataFrame({"gas_gwei": [number]})}, 1)

    def _eth(self, value: Any, request: Request) -> Reading:
        number = self._one(value, "ethusd", ETH_USD, request)
        return Reading({"eth": pd.DataFrame({"eth_usd": [number]})}, 1)

    @staticmethod
    def _one(value: Any, field: str, bounds: Bounds, request: Request) -> float:
        """One number that must be there: what is now is known or the answer is wrong."""
        result = result_of(value, request)
        if not isinstance(result, dict):
            raise bad_shape(request, "result is no object")
        cleaning = Cleaning()
        number = float(numbers_of([result], field, request, cleaning, bounds, as_text=True)[0])
        if np.isnan(number):
            raise bad_shape(request, f"{field} is {result[field]!r}: it cannot be true")
        return number


def read_gas_export(path: Path) -> pd.Series[Any]:
    """Daily average gas price in gwei from Etherscan's CSV export, by UTC day.

    The export has ``Date(UTC)``, ``UnixTimeStamp`` and ``Value (Wei)``. A day at 0 is unknown.

    Raises
    ------
    MissingDataError
        When there is no such file.
    ContractError
        When a column is missing, or a row cannot be read.
    """
    return _export(path, "Value (Wei)", "gas_gwei", 1.0 / _WEI_PER_GWEI)


def read_eth_price_export(path: Path) -> pd.Series[Any]:
    """Daily ETH price in USD from Etherscan's CSV export, by UTC day; see `read_gas_export`.

    Raises
    ------
    MissingDataError, ContractError
        As `read_gas_export`.
    """
    return _export(path, "Value", "eth_usd", 1.0)


def gas_table(gas_gwei: pd.Series[Any], eth_usd: pd.Series[Any]) -> pd.DataFrame:
    """The ``gas_daily`` table of the days on which either is known; the other stays unknown.

    Raises
    ------
    ContractError
        When a value breaks the contract.
    """
    both = pd.concat([gas_gwei.rename("gas_gwei"), eth_usd.rename("eth_usd")], axis=1)
    frame = both.sort_index().rename_axis("date").reset_index()
    return check_table("gas_daily", frame).frame


def eth_of_prices(prices_daily: pd.DataFrame, token: str = "ETH") -> pd.Series[Any]:
    """ETH price in USD by UTC day, from a price table that has it as ``token``."""
    rows = prices_daily[prices_daily["token"] == token]
    return pd.Series(rows["close_usd"].to_numpy(), pd.DatetimeIndex(rows["date"]), name="eth_usd")


def _export(path: Path, column: str, name: str, factor: float) -> pd.Series[Any]:
    table, origin = read_table(path), Origin(path.name, is_csv=True)
    for needed in (_EXPORT_SECONDS, column):
        if needed not in table:
            raise ContractError(
                f"column {needed!r} is missing",
                where=str(path),
                remedy="give the CSV as Etherscan exports it, with its header",
                details=(f"found: {', '.join(map(str, table.columns))}",),
            )
    seconds = to_numbers(table[_EXPORT_SECONDS], origin)
    values = to_numbers(table[column], origin) * factor
    if (bad := np.flatnonzero(~np.isfinite(seconds))).size:
        raise origin.error("no moment", _EXPORT_SECONDS, int(bad[0]), seconds.iloc[bad[0]])
    if (bad := np.flatnonzero(values < 0.0)).size:
        raise origin.error("below 0", column, int(bad[0]), table[column].iloc[bad[0]])
    days = pd.to_datetime(seconds.astype("int64"), unit="s").dt.floor("D").astype("datetime64[us]")
    known = values.where((values > 0.0) & np.isfinite(values)).to_numpy()
    series = pd.Series(known, pd.DatetimeIndex(days), name=name)
    return series[~series.index.duplicated(keep="last")].sort_index()
