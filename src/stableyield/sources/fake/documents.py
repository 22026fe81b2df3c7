"""A market as the documents that the providers would serve of it.

Only the fields that this package reads carry data; the others of the documented shape are there,
empty. Borrow rates of lending pools are made up where the market has none: they follow from the
supply rate, the utilisation and a reserve factor of 10 %.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from stableyield.domain.pool import PoolKind
from stableyield.domain.rates import apy_to_apr
from stableyield.market.contracts import check_frames
from stableyield.market.frames import MarketFrames
from stableyield.market.layouts.projects import rate_convention

_LAST_READING = pd.Timedelta("23:01:12")
_RESERVE_FACTOR = 0.1
_LARGEST_UTILISATION = 0.99
_LTV = 0.75
_EMPTY_FIELDS = dict.fromkeys(
    (
        *("rewardTokens", "apyPct1D", "apyPct7D", "apyPct30D", "poolMeta", "il7d", "apyBase7d"),
        *("apyMean30d", "volumeUsd1d", "volumeUsd7d", "apyBaseInception"),
    )
)


def token_address(chain: str, token: str) -> str:
    """The made-up address of a token, always the same."""
    return f"0x{hashlib.sha256(f'{chain}:{token}'.encode()).hexdigest()[:40]}"


@dataclass(frozen=True, eq=False)
class MarketDocuments:
    """Documents of a market.

    Parameters
    ----------
    frames : MarketFrames
        Checked (`checked_frames`).
    """

    frames: MarketFrames

    def pools(self, today: date) -> list[dict[str, Any]]:
        """Rows of ``GET /pools``."""
        rows = self._rows[self._rows["date"] == pd.Timestamp(today)]
        fields = [*("chain", "project", "symbol", "tvlUsd", "apyBase", "apyReward", "apy", "pool")]
        return [
            {**row, **_EMPTY_FIELDS, "stablecoin": True, "underlyingTokens": list(addresses)}
            for row, addresses in zip(
                _plain(rows[fields]), rows["pool"].map(self._addresses), strict=True
            )
        ]

    def chart(self, pool_id: str, today: date) -> list[dict[str, Any]]:
        """Rows of ``GET /chart/{pool}``."""
        rows = self._of_pool(pool_id, today)
        fields = ["timestamp", "tvlUsd", "apy", "apyBase", "apyReward"]
        return [{**row, "il7d": None, "apyBase7d": None} for row in _plain(rows[fields])]

    def lend_borrow(self, pool_id: str, today: date) -> list[dict[str, Any]]:
        """Rows of ``GET /chartLendBorrow/{pool}``."""
        rows = self._of_pool(pool_id, today)
        fields = ["timestamp", "totalSupplyUsd", "totalBorrowUsd", "apyBase", "apyReward"]
        found = _plain(rows[[*fields, "apyBaseBorrow"]])
        return [{**row, "debtCeilingUsd": None, "apyRewardBorrow": None} for row in found]

    def lend_borrow_now(self, today: date) -> list[dict[str, Any]]:
        """Rows of ``GET /lendBorrow``."""
        rows = self._rows[self._rows["date"] == pd.Timestamp(today)]
        rows = rows[rows["apyBaseBorrow"].notna()]
        fields = ["pool", "apyBaseBorrow", "totalSupplyUsd", "totalBorrowUsd"]
        rest = {"apyRewardBorrow": None, "debtCeilingUsd": None, "ltv": _LTV, "borrowable": True}
        rest |= {"mintedCoin": None, "borrowFactor": None}
        return [{**row, **rest} for row in _plain(rows[fields])]

    def closes(self, today: date) -> list[tuple[date, dict[str, float]]]:
        """Closing prices by token, for each day up to ``today``."""
        known = self._prices[self._prices["date"] <= pd.Timestamp(today)]
        known = known[known["close_usd"].notna()]
        by_day: dict[date, dict[str, float]] = {}
        days = known["date"].dt.date
        for day, token, usd in zip(days, known["token"], known["close_usd"], strict=True):
            by_day.setdefault(day, {})[token] = usd
        return sorted(by_day.items())

    def candles(self, token: str, first: date, last: date) -> list[dict[str, Any]]:
        """Rows of ``prices_daily`` of a token; open, high and low are the close where unknown."""
        rows = self._prices[self._prices["token"] == token]
        rows = rows[rows["date"].between(pd.Timestamp(first), pd.Timestamp(last))]
        filled = rows.copy()
        for name in ("open_usd", "high_usd", "low_usd"):
            column = rows[name] if name in rows else rows["close_usd"]
            filled[name] = column.fillna(rows["close_usd"])
        if "market_cap_usd" not in filled:
            filled["market_cap_usd"] = 0.0
        return _plain(filled)

    def gas(self, today: date) -> tuple[float, float] | None:
        """Gas price (gwei) and ETH price (USD) of a day, if both are known."""
        table = self.frames.gas_daily
        if table is None:
            return None
        row = table[table["date"] == pd.Timestamp(today)].dropna(subset=["gas_gwei", "eth_usd"])
        return (
            None if row.empty else (float(row["gas_gwei"].iloc[0]), float(row["eth_usd"].iloc[0]))
        )

    @cached_property
    def tokens_by_coin(self) -> dict[str, str]:
        """Token by ``chain:address`` as the coins chart names it, chains in lower case."""
        return {
            f"{chain.lower()}:{token_address(chain, token)}": token
            for chain, tokens in zip(
                self.frames.pools["chain"], self.frames.pools["tokens"], strict=True
            )
            for token in tokens
        }

    @cached_property
    def _addresses(self) -> dict[str, tuple[str, ...]]:
        pools = self.frames.pools
        return {
            pool_id: tuple(token_address(chain, token) for token in tokens)
            for pool_id, chain, tokens in zip(
                pools["pool_id"], pools["chain"], pools["tokens"], strict=True
            )
        }

    @cached_property
    def _prices(self) -> pd.DataFrame:
        found = self.frames.prices_daily
        columns = ["token", "date", "close_usd"]
        return pd.DataFrame(columns=columns) if found is None else found

    @cached_property
    def _rows(self) -> pd.DataFrame:
        """Every pool day under DefiLlama's names, with lending rates."""
        pools, daily = self.frames.pools, self.frames.pool_daily
        rows = daily.merge(
            pools[["pool_id", "chain", "protocol", "symbol"]].assign(
                kind=pools.get("kind", PoolKind.UNKNOWN.value)
            ),
            on="pool_id",
        )
        base_pct = rows.get("apy_base_pct", rows["apy_pct"])
        is_simple = rows["protocol"].map(rate_convention) == "simple"
        apr_pct = 100.0 * apy_to_apr(base_pct.to_numpy() / 100.0)
        quoted_pct = np.where(is_simple, apr_pct, base_pct)
        reward_pct = rows.get("apy_reward_pct", rows["apy_pct"] - base_pct)
        renamed = rows.rename(
            columns={"pool_id": "pool", "protocol": "project", "tvl_usd": "tvlUsd"}
        )
        return renamed.assign(
            apyBase=quoted_pct,
            apyReward=reward_pct,
            apy=quoted_pct + reward_pct.fillna(0.0),
            timestamp=(rows["date"] + _LAST_READING).dt.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            **_lending(rows, np.asarray(quoted_pct)),
        )

    @cached_property
    def _positions(self) -> dict[str, Any]:
        return {str(name): where for name, where in self._rows.groupby("pool").indices.items()}

    def _of_pool(self, pool_id: str, today: date) -> pd.DataFrame:
        rows = self._rows.take(self._positions.get(pool_id, []))
        return rows[rows["date"] <= pd.Timestamp(today)]


def checked_frames(frames: MarketFrames, last_day: date) -> MarketFrames:
    """The frames, checked, with all days moved so that the last pool day is ``last_day``.

    Raises
    ------
    ContractError
        When a table breaks its contract.
    """
    checked = check_frames(frames, confirm_percent=True)
    shift = pd.Timestamp(last_day) - checked.pool_daily["date"].max()

    def moved(table: pd.DataFrame | None) -> Any:
        if table is None:
            return None
        days = [name for name in table if pd.api.types.is_datetime64_any_dtype(table[name])]
        return table.assign(**{str(name): table[name] + shift for name in days})

    names = ("pools", "pool_daily", "prices_daily", "gas_daily", "lend_borrow_daily")
    return MarketFrames(**{name: moved(getattr(checked, name)) for name in names})


def _lending(rows: pd.DataFrame, supply_pct: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Sizes and borrow rates of lending pools; NaN for the others."""
    cash = rows["tvl_usd"].where(rows["kind"] == PoolKind.LENDING.value)
    supplied = rows["deposits_usd"].where(cash.notna()) if "deposits_usd" in rows else 2.0 * cash
    borrowed = (supplied - cash).clip(lower=0.0)
    utilisation = (borrowed / supplied).where(borrowed > 0.0).clip(upper=_LARGEST_UTILISATION)
    return {
        "totalSupplyUsd": supplied,
        "totalBorrowUsd": borrowed,
        "apyBaseBorrow": supply_pct / (utilisation * (1.0 - _RESERVE_FACTOR)),
    }


def _plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of plain values; what is unknown is null."""
    columns = {
        str(name): frame[name].astype(object).where(frame[name].notna(), None).tolist()
        for name in frame
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
