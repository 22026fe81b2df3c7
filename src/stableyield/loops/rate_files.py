"""Supply and borrow rates of lending markets from the files in which users have them.

A market is one protocol on one chain: both legs of a loop are in it. `read_loop_rates` reads

* a market directory with a ``lend_borrow_daily`` table (docs/formats.md), or that table alone;
* the ``lend-borrow`` layout: the same columns and ``supply_apr_last_pct``,
  ``borrow_apr_last_pct``, ``available_usd``, ``n_fresh``;
* the research notebooks' wide frame (`stableyield.loops.wide`).

What is done about the traps of such files:

* Times are floored to the UTC day. Of several readings within a day the last one counts; the same
  moment twice is an error.
* A day without a row, or with ``n_fresh = 0`` (carried over by the source), has the values of the
  last day that has one for at most `CARRY_DAYS` days, and is not fresh. Older is unknown (NaN):
  that asset can neither be supplied nor borrowed that day.
* A reward that is not known is not counted: 0. That errs against the loop on both legs.
* Negative cash is a glitch of the source: unknown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.errors import ContractError, MissingDataError
from stableyield.loops.rates import Flags, Floats, LoopRates
from stableyield.loops.wide import MEASURES, read_wide_column, wide_columns
from stableyield.market.columns import Origin, to_numbers, to_texts, to_timestamps
from stableyield.market.contracts import check_table
from stableyield.market.layouts.symbols import token_named
from stableyield.market.tables import FILE_FORMATS, origin_of_file, read_table

CARRY_DAYS = 2  # a gap is bridged by the last values for so many days, then the asset is unknown
TABLE = "lend_borrow_daily"
_KEY = ["market_id", "date"]
_EXTRAS = ("supply_apr_last_pct", "borrow_apr_last_pct", "available_usd", "n_fresh")
_TIME_COLUMNS = ("timestamp", "date")


def read_loop_rates(
    path: Path, *, protocol: str = "aave-v3", confirm_percent: bool = False
) -> tuple[LoopRates, ...]:
    """The markets in a file or market directory, in the order of chain and protocol.

    Parameters
    ----------
    path : Path
        A market directory with a ``lend_borrow_daily`` table, or a parquet or csv file.
    protocol : str
        Protocol of a wide frame, which does not say it.
    confirm_percent : bool
        Low percent columns really are percent.

    Raises
    ------
    MissingDataError
        When there is no such file or table.
    ContractError
        When a table breaks its contract.
    """
    if path.is_dir():
        found = [file for ending in FILE_FORMATS if (file := path / f"{TABLE}.{ending}").is_file()]
        if len(found) != 1:
            raise MissingDataError(
                f"{len(found) or 'no'} {TABLE} tables, one is wanted",
                where=str(path),
                remedy=f"a loop needs {TABLE}.parquet or {TABLE}.csv (see docs/formats.md)",
            )
        path = found[0]
    frame, origin = read_table(path), origin_of_file(path)
    if any(read_wide_column(str(name)) for name in frame.columns):
        return rates_from_wide(
            frame, protocol=protocol, origin=origin, confirm_percent=confirm_percent
        )
    return rates_from_table(frame, origin=origin, confirm_percent=confirm_percent)


def rates_from_table(
    frame: pd.DataFrame, *, origin: Origin | None = None, confirm_percent: bool = False
) -> tuple[LoopRates, ...]:
    """The markets of a ``lend_borrow_daily`` table, with the layout's further columns if any.

    Raises
    ------
    ContractError
        When the table breaks its contract, or one market has two reserves of one token.
    """
    origin = origin or Origin(TABLE)
    checked = check_table(TABLE, frame, origin, confirm_percent=confirm_percent)
    rows = checked.frame.assign(**_extra_columns(frame, origin))
    rows["asset"] = [token_named(symbol) for symbol in rows["symbol"]]
    markets = rows.groupby(["chain", "protocol"], sort=True)
    notes = _dropped_sentence(checked.n_dropped, origin)
    return tuple(
        _market(market, str(chain), str(protocol), (origin.file, notes))
        for (chain, protocol), market in markets
    )


def _dropped_sentence(n_dropped: int, origin: Origin) -> tuple[str, ...]:
    if not n_dropped:
        return ()
    return (f"{origin.file}: {n_dropped} readings were replaced by a later one of the same day.",)


def rates_from_wide(
    frame: pd.DataFrame,
    *,
    protocol: str = "aave-v3",
    origin: Origin | None = None,
    confirm_percent: bool = False,
) -> tuple[LoopRates, ...]:
    """The markets of the notebooks' wide frame, one a chain.

    Parameters
    ----------
    frame : DataFrame
        Columns as in `stableyield.loops.wide`; days in a column ``timestamp`` or ``date``, or in
        the index.
    protocol : str
    origin : Origin, optional
    confirm_percent : bool

    Raises
    ------
    ContractError
        When there are no days or no supply rates, or a value breaks the contract.
    """
    origin = origin or Origin("wide frame")
    moments = _moments(frame, origin)
    pools: dict[str, dict[str, Any]] = {}
    for name, column in wide_columns(frame).items():
        labels = {"chain": column.chain, "symbol": column.asset, "date": moments}
        pool = pools.setdefault(column.pool, labels)
        pool[column.measure] = to_numbers(frame[name], origin).to_numpy()
    parts = [pd.DataFrame({"market_id": pool, **values}) for pool, values in pools.items()]
    long = pd.concat(parts, ignore_index=True).assign(protocol=protocol)
    measures = [name for name in long if name in MEASURES.values()]
    long = long.dropna(subset=measures, how="all")
    if "borrow_apr_pct" not in long:
        long["borrow_apr_pct"] = np.nan
    return rates_from_table(long, origin=origin, confirm_percent=confirm_percent)


def _moments(frame: pd.DataFrame, origin: Origin) -> pd.Series[Any]:
    """The times of a wide frame's rows."""
    for name in _TIME_COLUMNS:
        if name in frame:
            return to_timestamps(frame[name].reset_index(drop=True), origin)
    if isinstance(frame.index, pd.DatetimeIndex):
        return to_timestamps(frame.index.to_series(name="index").reset_index(drop=True), origin)
    raise ContractError(
        "no column timestamp or date, and the index holds no dates",
        where=origin.file,
        remedy="name the days",
    )


def _extra_columns(frame: pd.DataFrame, origin: Origin) -> dict[str, Floats]:
    """The layout's further columns, in the rows and the order of the checked table."""
    names = [name for name in _EXTRAS if name in frame]
    rows = pd.DataFrame(
        {
            "market_id": to_texts(frame["market_id"]),
            "date": to_timestamps(frame["date"], origin),
            **{name: to_numbers(frame[name], origin) for name in names},
        }
    ).sort_values(_KEY, kind="stable")
    rows["date"] = rows["date"].dt.floor("D")
    last = rows.drop_duplicates(_KEY, keep="last").sort_values(_KEY, kind="stable")
    return {name: last[name].to_numpy() for name in names}


def _market(
    rows: pd.DataFrame, chain: str, protocol: str, told: tuple[str, tuple[str, ...]]
) -> LoopRates:
    """The arrays of one market from its rows, with the source's name and notes."""
    source, notes = told
    _refuse_twins(rows, f"{source}, {protocol} on {chain}")
    assets = tuple(sorted(set(rows["asset"])))
    first = rows["date"].min()
    i = (rows["date"] - first).dt.days.to_numpy()
    j = np.searchsorted(np.array(assets), rows["asset"].to_numpy(dtype=str))
    shape = (int(i.max()) + 1, len(assets))
    is_read = np.ones(len(rows), dtype=bool)
    if "n_fresh" in rows:
        is_read = (rows["n_fresh"] != 0.0).to_numpy()
    is_fresh = np.zeros(shape, dtype=bool)
    is_fresh[i[is_read], j[is_read]] = True
    carried = _carried_from(is_fresh)

    def grid(values: Floats, unknown: float = np.nan) -> Floats:
        table = np.full((shape[0] + 1, shape[1]), unknown)  # the last row is what nobody knows
        table[i[is_read], j[is_read]] = values[is_read]
        return np.take_along_axis(table, carried, axis=0)

    return LoopRates(
        chain=chain,
        protocol=protocol,
        days=np.datetime64(first, "D") + np.arange(shape[0]),
        assets=assets,
        **{
            name: grid(values, 0.0 if "reward" in name else np.nan)
            for name, values in _measures(rows).items()
        },
        is_borrowable=grid(_column(rows, "borrowable", 1.0), 1.0) != 0.0,
        is_fresh=is_fresh,
        source=source,
        notes=notes,
    )


def _measures(rows: pd.DataFrame) -> dict[str, Floats]:
    """The numbers of each row, by field of `LoopRates`."""
    supply = _column(rows, "supply_apr_pct", np.nan) / 100.0
    borrow = _column(rows, "borrow_apr_pct", np.nan) / 100.0
    supplied = _column(rows, "supplied_usd", np.nan)
    borrowed = _column(rows, "borrowed_usd", np.nan)
    cash = (
        _column(rows, "available_usd", np.nan) if "available_usd" in rows else supplied - borrowed
    )
    return {
        "supply_apr": supply,
        "borrow_apr": borrow,
        "quoted_supply_apr": _either(_column(rows, "supply_apr_last_pct", np.nan) / 100.0, supply),
        "quoted_borrow_apr": _either(_column(rows, "borrow_apr_last_pct", np.nan) / 100.0, borrow),
        "supply_reward_apr": np.nan_to_num(_column(rows, "supply_reward_apr_pct", 0.0) / 100.0),
        "borrow_reward_apr": np.nan_to_num(_column(rows, "borrow_reward_apr_pct", 0.0) / 100.0),
        "supplied_usd": supplied,
        "borrowed_usd": borrowed,
        "available_usd": np.where(cash < 0.0, np.nan, cash),
        "utilisation": np.divide(
            borrowed, supplied, out=np.full(len(rows), np.nan), where=supplied > 0.0
        ),
    }


def _column(rows: pd.DataFrame, name: str, absent: float) -> Floats:
    if name not in rows:
        return np.full(len(rows), absent)
    return rows[name].to_numpy(dtype=np.float64)


def _either(values: Floats, other: Floats) -> Floats:
    return np.where(np.isnan(values), other, values)


def _carried_from(is_fresh: Flags) -> NDArray[np.intp]:
    """The row whose values a day has: its own, or the last fresh one of `CARRY_DAYS` before it.

    The number of rows where there is none.
    """
    n_days = len(is_fresh)
    own = np.arange(n_days)[:, None]
    last = np.maximum.accumulate(np.where(is_fresh, own, -CARRY_DAYS - 1), axis=0)
    return np.where(own - last <= CARRY_DAYS, last, n_days)


def _refuse_twins(rows: pd.DataFrame, where: str) -> None:
    """Two reserves of one token in a market cannot be told apart by the token."""
    ids = rows.drop_duplicates("market_id").sort_values("market_id", kind="stable")
    twins = ids[ids.duplicated("asset", keep=False)]
    if len(twins):
        first, second = twins.loc[twins["asset"] == twins["asset"].iloc[0], "market_id"].iloc[:2]
        raise ContractError(
            f"{first} and {second} are both {twins['asset'].iloc[0]}",
            where=where,
            remedy="give a bridged token its own symbol, such as USDC.e",
        )
