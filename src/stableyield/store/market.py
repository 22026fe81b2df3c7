"""A market into the store, and the panel that was known by a moment out of it.

Two clocks. A row's own day says which decisions it may serve: `MarketPanel.as_of` sees to that.
``known_by`` says which revisions had reached this store: a row that was fetched or corrected later
is not there. History that was fetched in one go (a backfill) is therefore invisible to a
``known_by`` before its fetch, however old its days are: replaying a run needs exactly what was
there. A backtest leaves ``known_by`` out: it reads the latest revisions, by their own days.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Engine, Select, Table, func, select

from stableyield.domain.pool import Pool
from stableyield.errors import MissingDataError
from stableyield.market.assemble import (
    FORECAST_COLUMNS,
    POOL_COLUMNS,
    pools_of,
    tokens_of,
    unpriced_tokens,
)
from stableyield.market.columns import Origin
from stableyield.market.contracts import check_table
from stableyield.market.frames import MarketFrames
from stableyield.market.panel import (
    Days,
    Floats,
    GasSeries,
    MarketPanel,
    Provenance,
)
from stableyield.store.bulk import number_blocks
from stableyield.store.failures import shown
from stableyield.store.grids import grids_of, scattered
from stableyield.store.reading import between, known_rows, read_table
from stableyield.store.revisions import pool_numbers, write_frame
from stableyield.store.schema import REVISIONS, UNKNOWN_HORIZON
from stableyield.store.session import Batch, Written, reading

# table of a market directory -> table of the store
STORED_AS: Mapping[str, str] = MappingProxyType(
    {
        "pools": "pools",
        "pool_daily": "pool_daily",
        "prices_daily": "token_prices_daily",
        "gas_daily": "gas_fees_daily",
        "forecasts": "forecasts",
        "lend_borrow_daily": "lend_borrow_daily",
    }
)
_RENAMED = {"tokens": "underlying_tokens"}
FOREIGN = "foreign"  # the method of forecasts that were read from files
_PRICES = ("close_usd", "open_usd", "high_usd", "low_usd", "market_cap_usd", "peg_usd")


@dataclass(frozen=True)
class Window:
    """Which part of the market is loaded.

    Parameters
    ----------
    first, last : date, optional
        Days, both included; from the first to the last day with a pool row when absent.
    known_by : datetime, optional
        Only revisions that had been ingested by then; the latest when absent.
    forecast_method : str, optional
        Whose forecasts the panel carries; none when absent.
    pool_ids : tuple of str, optional
        Only these pools; all that are known when absent. A panel is dense: 17,000 pools of a year
        are 0.5 GB, so load the ones that may be held.
    forecast_horizon_days : int, optional
        For how many days the forecasts are; those of which nobody said it (files) when absent.
    """

    first: date | None = None
    last: date | None = None
    known_by: datetime | None = None
    forecast_method: str | None = None
    pool_ids: tuple[str, ...] | None = None
    forecast_horizon_days: int | None = None


def write_market(
    batch: Batch, frames: MarketFrames, *, confirm_percent: bool = False
) -> dict[str, Written]:
    """Write every table of ``frames``; see `write_market_table`.

    Returns
    -------
    dict of str to Written
        By name of the table in the store.
    """
    return {
        stored: write_market_table(batch, name, frame, confirm_percent=confirm_percent)
        for name, stored in STORED_AS.items()
        if (frame := getattr(frames, name)) is not None
    }


def write_market_table(
    batch: Batch,
    name: str,
    frame: pd.DataFrame,
    *,
    origin: Origin | None = None,
    confirm_percent: bool = False,
) -> Written:
    """Check a table of the market directory's format and write it.

    Parameters
    ----------
    batch : Batch
    name : str
        A key of `stableyield.market.table_contracts.CONTRACTS`.
    frame : DataFrame
    origin : Origin, optional
        Where it is from, for messages.
    confirm_percent : bool
        Low percent columns really are percent.

    Raises
    ------
    ContractError
        When the table breaks its contract, or a pool is neither in the store nor in ``pools``.
    """
    origin = origin or Origin(name)
    checked = check_table(name, frame, origin, confirm_percent=confirm_percent).frame
    if name == "forecasts":
        checked = checked.assign(method=FOREIGN, horizon_days=float("nan"))
    if name == "pools" and "is_active" not in checked:
        checked = checked.assign(is_active=True)
    return write_frame(batch, STORED_AS[name], checked.rename(columns=_RENAMED), origin)


def load_panel(engine: Engine, window: Window | None = None) -> MarketPanel:
    """The market in the store as a panel.

    Parameters
    ----------
    engine : Engine
    window : Window, optional
        Everything, as it is known now, when absent.

    Raises
    ------
    MissingDataError
        When the store has no pool row in the window.
    StoreError
        When the database fails.
    """
    window = window or Window()
    with reading(engine, "the market") as connection:
        days = _calendar(connection, window)
        frames = _frames(connection, window, days)
        pools = pools_of(frames.pools)
        arrays = _pool_grids(connection, window, days, pools)
    tokens = tokens_of(frames)
    missing = unpriced_tokens(frames)
    notices = (f"No price is known for: {', '.join(missing)}; pools with them cannot be used.",)
    return MarketPanel.build(
        days,
        pools,
        arrays,
        tokens,
        {}
        if frames.prices_daily is None
        else grids_of(frames.prices_daily, "token", tokens, days, _PRICES),
        gas=_gas(frames.gas_daily, days),
        provenance=Provenance(notices if missing else ()),
    )


def load_frames(engine: Engine, window: Window | None = None) -> MarketFrames:
    """The market in the store as the tables of a market directory; absent ones stay absent.

    Raises
    ------
    MissingDataError
        When the store has no pool row in the window.
    StoreError
        When the database fails.
    """
    window = window or Window()
    with reading(engine, "the market") as connection:
        return _frames(connection, window, _calendar(connection, window), with_pool_days=True)


def _calendar(connection: Connection, window: Window) -> Days:
    """The days of the window, from the first to the last one that has a row."""
    daily = REVISIONS["pool_daily"]
    first, last = connection.execute(
        select(func.min(daily.c.date), func.max(daily.c.date)).where(
            known_rows(daily, window.known_by), between(daily.c.date, window.first, window.last)
        )
    ).one()
    if first is None:
        when = f", known by {window.known_by.isoformat()}" if window.known_by else ""
        raise MissingDataError(
            f"no pool has a row from {window.first or 'the start'} to {window.last or 'now'}{when}",
            where=shown(connection.engine.url),
            remedy="ingest these days first, or ask for others",
        )
    return np.arange(first, last + 1).astype("datetime64[D]")


def _frames(
    connection: Connection, window: Window, days: Days, *, with_pool_days: bool = False
) -> MarketFrames:
    first, last = days[0].item(), days[-1].item()

    def read(table: str, only: Mapping[str, str | int] | None = None) -> pd.DataFrame:
        return read_table(
            connection, table, known_by=window.known_by, first=first, last=last, only=only
        )

    def optional(table: str) -> pd.DataFrame | None:
        return found if len(found := read(table)) else None

    pools = read_table(connection, "pools", known_by=window.known_by)
    pools = _wanted(pools, window.pool_ids, connection)
    pools = pools.rename(columns={stored: name for name, stored in _RENAMED.items()})
    for name in ("token_shares", "token_addresses"):
        pools[name] = pd.Series([value or () for value in pools[name]], dtype=object)
    prices = optional("token_prices_daily")
    if not with_pool_days:  # the panel reads these tables as numbers
        return MarketFrames(pools, pd.DataFrame(), prices, optional("gas_fees_daily"))
    forecasts = None
    if window.forecast_method is not None:
        found = _of_pools(read("forecasts", _forecasts_of(window)), window)
        found = found.drop(columns=["method", "horizon_days"])
        forecasts = _without_empty(found.reset_index(drop=True)) if len(found) else None
    return MarketFrames(
        _without_empty(pools.drop(columns="pool_meta")),
        _without_empty(_of_pools(read("pool_daily"), window)),
        prices,
        optional("gas_fees_daily"),
        forecasts,
        optional("lend_borrow_daily"),
    )


def _of_pools(rows: pd.DataFrame, window: Window) -> pd.DataFrame:
    if window.pool_ids is None:
        return rows
    return rows[rows["pool_id"].isin(window.pool_ids)].reset_index(drop=True)


def _wanted(
    pools: pd.DataFrame, pool_ids: tuple[str, ...] | None, connection: Connection
) -> pd.DataFrame:
    if pool_ids is None:
        return pools
    known = set(pools["pool_id"])
    if unknown := [pool_id for pool_id in pool_ids if pool_id not in known]:
        raise MissingDataError(
            f"pool {unknown[0]!r} is not in the store",
            where=shown(connection.engine.url),
            remedy="ingest it first, or leave it out",
        )
    return pools[pools["pool_id"].isin(pool_ids)].reset_index(drop=True)


def _without_empty(frame: pd.DataFrame) -> pd.DataFrame:
    """Without the columns that no row fills: absent is unknown, an empty flag would be false."""
    return frame.dropna(axis="columns", how="all")


def _gas(table: pd.DataFrame | None, days: Days) -> GasSeries | None:
    if table is None:
        return None
    grids = grids_of(table.assign(where="gas"), "where", ["gas"], days, ("gas_gwei", "eth_usd"))
    return GasSeries(grids["gas_gwei"][:, 0], grids["eth_usd"][:, 0])


def _pool_grids(
    connection: Connection, window: Window, days: Days, pools: Sequence[Pool]
) -> dict[str, Floats]:
    """Arrays of shape (n_days, n_pools) by name of `PoolSeries`."""
    numbers = pool_numbers(connection)
    wanted = [numbers[pool.pool_id] for pool in pools]
    places = np.full(max(numbers.values(), default=0) + 1, -1, dtype=np.intp)
    places[wanted] = np.arange(len(pools))
    only = wanted if window.pool_ids is not None else None
    daily = REVISIONS["pool_daily"]
    query = _numbers_of(daily, "date", POOL_COLUMNS, window, days, only)
    grids = scattered(number_blocks(connection, query), POOL_COLUMNS, days, places)
    if window.forecast_method is None:
        return grids
    table = REVISIONS["forecasts"]
    query = _numbers_of(table, "exec_date", tuple(FORECAST_COLUMNS), window, days, only)
    query = query.where(*(table.c[name] == v for name, v in _forecasts_of(window).items()))
    names = tuple(FORECAST_COLUMNS.values())
    grids |= scattered(number_blocks(connection, query), names, days, places)
    tvl = grids["forecast_tvl_usd"]
    return {**grids, "forecast_tvl_usd": np.where(tvl < 0.0, np.nan, tvl)}  # as from files


def _forecasts_of(window: Window) -> dict[str, str | int]:
    """What tells the forecasts of the window from others, by column of the revisions."""
    return {
        "method": window.forecast_method or "",
        "horizon_days": window.forecast_horizon_days or UNKNOWN_HORIZON,
    }


def _numbers_of(
    table: Table,
    day: str,
    names: Sequence[str],
    window: Window,
    days: Days,
    only: list[int] | None,
) -> Select[Any]:
    first, last = days[0].item(), days[-1].item()
    query = select(*(table.c[name] for name in (day, "pool_key", *names))).where(
        known_rows(table, window.known_by), between(table.c[day], first, last)
    )
    return query if only is None else query.where(table.c.pool_key.in_(only))
