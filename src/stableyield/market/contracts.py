"""What each table of a market must hold, and the message when it does not.

The contracts themselves are data, in `stableyield.market.table_contracts`. `check_table` types
the columns and has pandera check the values; the first violation becomes a `ContractError` that
names file, column, row and value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.domain.pool import PoolKind
from stableyield.errors import ContractError
from stableyield.market.columns import (
    Origin,
    to_flags,
    to_lists,
    to_numbers,
    to_texts,
    to_timestamps,
)
from stableyield.market.frames import MarketFrames
from stableyield.market.table_contracts import CONTRACTS, ColumnKind, TableContract

if TYPE_CHECKING:
    import pandera.pandas as pa

FRACTION_MEDIAN_PCT = 0.5  # a percent column whose usual value is below this looks like fractions
FRACTION_OF_LIKE = 0.03  # so does one whose usual value is below this share of its like's
_N_DETAILS = 5


@dataclass(frozen=True, eq=False)
class CheckedTable:
    """A table that keeps its contract.

    Parameters
    ----------
    frame : DataFrame
        Known columns only, typed; dates are UTC days.
    ignored_columns : tuple of str
        Columns that the contract does not know.
    n_dropped : int
        Earlier readings of the same day, and of foreign forecasts earlier duplicates.
    """

    frame: pd.DataFrame
    ignored_columns: tuple[str, ...] = ()
    n_dropped: int = 0

    @property
    def n_rows_in(self) -> int:
        """Rows before."""
        return len(self.frame) + self.n_dropped


def check_table(
    table: str,
    frame: pd.DataFrame,
    origin: Origin | None = None,
    *,
    confirm_percent: bool = False,
) -> CheckedTable:
    """``frame`` with typed, checked columns and one row a key and UTC day.

    Of several readings within a day the last one is kept.

    Parameters
    ----------
    table : str
        A key of `CONTRACTS`.
    frame : DataFrame
    origin : Origin, optional
        For messages; the table's name when absent.
    confirm_percent : bool
        The caller confirms that low percent columns really are percent.

    Raises
    ------
    ContractError
        When the table is empty, a column is missing, or a value breaks the contract.
    """
    contract = CONTRACTS[table]
    origin = origin or Origin(table)
    if missing := [
        name for name, column in contract.columns.items() if column.required and name not in frame
    ]:
        raise ContractError(
            f"column {missing[0]!r} is missing",
            where=origin.file,
            remedy=f"add it; {table} needs {', '.join(_required(contract))}",
            details=(f"found: {', '.join(map(str, frame.columns))}",),
        )
    if frame.empty:
        raise ContractError("no rows", where=origin.file, remedy="remove the file or fill it")
    known = [name for name in contract.columns if name in frame]
    ignored = tuple(sorted(str(name) for name in frame.columns if name not in contract.columns))
    frame = _typed(frame[known].reset_index(drop=True), contract, origin)
    _check_values(table, frame, origin)
    if table == "pools":
        _check_pools(frame, origin)
    if table == "forecasts":
        _check_target_days(frame, origin)
    if not confirm_percent:
        _check_units(frame, contract, origin)
    daily = _one_row_a_day(frame, contract)
    return CheckedTable(daily, ignored, len(frame) - len(daily))


def check_frames(frames: MarketFrames, *, confirm_percent: bool = False) -> MarketFrames:
    """The frames with every table checked, on its own and against ``pools``.

    Raises
    ------
    ContractError
        When a table breaks its contract or a row names a pool that is not in ``pools``.
    """
    checked: dict[str, Any] = {
        name: check_table(name, frame, confirm_percent=confirm_percent).frame
        for name in CONTRACTS
        if (frame := getattr(frames, name)) is not None
    }
    check_pool_ids(checked["pools"], checked["pool_daily"], Origin("pool_daily"))
    return replace(frames, **checked)


def check_pool_ids(pools: pd.DataFrame, daily: pd.DataFrame, origin: Origin) -> None:
    """Every row of ``daily`` belongs to a pool of ``pools``.

    Raises
    ------
    ContractError
        With the first pool_id that is unknown.
    """
    unknown = ~daily["pool_id"].isin(pools["pool_id"]).to_numpy()
    if unknown.any():
        position = int(unknown.argmax())
        raise ContractError(
            f"pool_id {daily['pool_id'].iloc[position]!r} is not in pools",
            where=f"{origin.file}, {daily['date'].iloc[position]:%Y-%m-%d}",
            remedy="add the pool to pools or remove its rows",
            details=(f"{daily.loc[unknown, 'pool_id'].nunique()} pools in all are unknown",),
        )


def _required(contract: TableContract) -> list[str]:
    return [name for name, column in contract.columns.items() if column.required]


def _typed(frame: pd.DataFrame, contract: TableContract, origin: Origin) -> pd.DataFrame:
    columns = {
        name: _as(contract.columns[name].kind, frame[name], origin) for name in map(str, frame)
    }
    return pd.DataFrame(columns, copy=False)


def _as(kind: ColumnKind, column: pd.Series[Any], origin: Origin) -> pd.Series[Any]:
    if kind == "text":
        return to_texts(column)
    if kind == "moment":
        return to_timestamps(column, origin)
    if kind == "number":
        return to_numbers(column, origin)
    if kind in {"on_flag", "off_flag"}:
        return to_flags(column, origin, default=kind == "on_flag")
    return to_lists(column, origin, of=str if kind == "texts" else float)


@lru_cache(maxsize=len(CONTRACTS))
def _schema(table: str) -> pa.DataFrameSchema:
    """The pandera schema of a table; built on first use, as pandera is slow to import."""
    import pandera.pandas as pa  # noqa: PLC0415 - 0.2 s that only reading files needs

    contract = CONTRACTS[table]
    never_empty = {name for name, c in contract.columns.items() if c.kind == "text" and c.required}
    never_empty |= {name for name, c in contract.columns.items() if c.kind == "moment"}
    never_empty -= {"listed_from", "listed_until"}
    columns = {}
    for name, column in contract.columns.items():
        checks = []
        if column.kind == "number":
            finite = pa.Check(np.isfinite, error="not finite")
            checks.append(finite)
        if column.at_least is not None:
            checks.append(pa.Check.ge(column.at_least, error=f"below {column.at_least:g}"))
        if column.above is not None:
            checks.append(pa.Check.gt(column.above, error=f"not above {column.above:g}"))
        if column.at_most is not None:
            checks.append(pa.Check.le(column.at_most, error=f"above {column.at_most:g}"))
        columns[name] = pa.Column(
            checks=checks, nullable=name not in never_empty, required=column.required
        )
    unique = None if contract.last_of_key_wins else list(contract.key)
    return pa.DataFrameSchema(columns, unique=unique, report_duplicates="exclude_first")


def _check_values(table: str, frame: pd.DataFrame, origin: Origin) -> None:
    from pandera.errors import SchemaErrors  # noqa: PLC0415 - see _schema

    try:
        _schema(table).validate(frame, lazy=True, inplace=True)  # it has nothing to coerce
    except SchemaErrors as error:
        raise _first_failure(table, frame, error.failure_cases, origin) from None


def _first_failure(
    table: str, frame: pd.DataFrame, cases: pd.DataFrame, origin: Origin
) -> ContractError:
    """The violation in the earliest row, with the next ones as details."""
    key = ", ".join(CONTRACTS[table].key)
    cases = cases.assign(index=cases["index"].astype("int64")).sort_values("index", kind="stable")
    messages, seen = [], set()
    for row, column, check in zip(cases["index"], cases["column"], cases["check"], strict=True):
        repeats = check == "multiple_fields_uniqueness"
        if (row, None if repeats else column) in seen:
            continue  # a repeated key is reported once per column of the key
        seen.add((row, None if repeats else column))
        if repeats:
            values = tuple(str(frame[name].iloc[row]) for name in CONTRACTS[table].key)
            messages.append(origin.error("this key occurs twice", key, row, ", ".join(values)))
        else:
            problem = "empty" if check == "not_nullable" else str(check)
            messages.append(origin.error(problem, column, row, frame[column].iloc[row]))
    first = messages[0]
    rest = tuple(f"{m.where}: {m.what}" for m in messages[1 : 1 + _N_DETAILS])
    left = len(messages) - 1 - len(rest)
    details = (*rest, f"and {left} more") if left > 0 else rest
    return ContractError(first.what, where=first.where, remedy=first.remedy, details=details)


def _check_pools(pools: pd.DataFrame, origin: Origin) -> None:
    """Tokens of each pool and what is listed beside them, its kind and its listing days."""
    for position, tokens in enumerate(pools["tokens"]):
        if not tokens or not all(tokens):
            raise origin.error("a pool needs at least one token", "tokens", position, list(tokens))
        if len(set(tokens)) != len(tokens):
            raise origin.error("a token repeats", "tokens", position, list(tokens))
    for name in ("token_shares", "token_addresses"):
        for position, items in enumerate(pools.get(name, ())):
            if items and len(items) != len(pools["tokens"].iloc[position]):
                raise origin.error("one item a token is wanted", name, position, list(items))
    for position, shares in enumerate(pools.get("token_shares", ())):
        if shares and (min(shares) <= 0.0 or abs(sum(shares) - 1.0) > 1e-9):
            what = "shares are positive and sum to 1"
            raise origin.error(what, "token_shares", position, list(shares))
    _check_kinds_and_listings(pools, origin)


def _check_kinds_and_listings(pools: pd.DataFrame, origin: Origin) -> None:
    kinds = [kind.value for kind in PoolKind]
    if "kind" in pools:
        known = pools["kind"].isna() | pools["kind"].isin(kinds)
        _refuse(~known, pools["kind"], f"not one of {', '.join(kinds)}", origin)
    if {"listed_from", "listed_until"} <= set(pools):
        backwards = pools["listed_until"] < pools["listed_from"]
        _refuse(backwards, pools["listed_until"], "before listed_from", origin)


def _refuse(where: pd.Series[bool], column: pd.Series[Any], what: str, origin: Origin) -> None:
    for position in np.flatnonzero(where)[:1]:
        raise origin.error(what, str(column.name), int(position), column.iloc[position])


def _check_target_days(forecasts: pd.DataFrame, origin: Origin) -> None:
    """A forecast is of a day after the one that it was made on."""
    targets, made = forecasts["target_date"], forecasts["exec_date"]
    _refuse(targets.dt.floor("D") <= made.dt.floor("D"), targets, "not after exec_date", origin)


def _check_units(frame: pd.DataFrame, contract: TableContract, origin: Origin) -> None:
    for name in map(str, frame):
        column = contract.columns[name]
        if column.is_percent and (median := _median_size(frame[name])) < FRACTION_MEDIAN_PCT:
            raise _not_percent(name, f"half of its values are below {median:.4g}", origin)
        if (like := column.percent_like) not in frame:
            continue
        both = frame[(frame[name].abs() > 0.0) & (frame[like].abs() > 0.0)]
        median, usual = _median_size(both[name]), _median_size(both[like])
        if median < FRACTION_OF_LIKE * usual:
            beside = f"its usual value is {median:.4g}, that of {like!r} {usual:.4g}"
            raise _not_percent(name, beside, origin)


def _median_size(column: pd.Series[Any]) -> float:
    """Median of the absolute values that are known and not zero; NaN without any."""
    sizes = column.abs().to_numpy()
    sizes = sizes[sizes > 0.0]
    return float(np.median(sizes)) if len(sizes) else float("nan")


def _not_percent(name: str, why: str, origin: Origin) -> ContractError:
    return ContractError(
        f"column {name!r} looks like fractions: {why}, percent are wanted (4.2 means 4.2 %)",
        where=origin.file,
        remedy="multiply it by 100, or, if the rates really are that low, confirm with "
        "--confirm-percent (confirm_percent=True)",
    )


def _one_row_a_day(frame: pd.DataFrame, contract: TableContract) -> pd.DataFrame:
    """Moments floored to UTC days; of a repeated key the last reading stays, in key order.

    Rows are moved at most once, and not at all where they are in order and none repeats: a wide
    market is as large as it is.
    """
    moments = [str(name) for name in frame if contract.columns[str(name)].kind == "moment"]
    floored = frame.assign(**{name: frame[name].dt.floor("D") for name in moments})
    ranks = {name: _ranks(floored[name]) for name in contract.key}
    # a reading is later than another by its moment, a forecast by its place in the file
    by_moment = () if contract.last_of_key_wins else moments
    latest = {name: _ranks(frame[name]) for name in contract.key if name in by_moment}
    order = np.lexsort([*(ranks | latest).values()][::-1])
    repeats = np.logical_and.reduce([r[order][1:] == r[order][:-1] for r in ranks.values()])
    kept = order[np.append(~repeats, True)]
    if len(kept) == len(frame) and (np.diff(kept) == 1).all():
        return floored
    return floored.take(kept).reset_index(drop=True)


def _ranks(column: pd.Series[Any]) -> NDArray[np.int64]:
    """Numbers in the order of the values of a key column, equal for equal values."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return column.to_numpy().astype(np.int64)
    return pd.factorize(column, sort=True)[0].astype(np.int64, copy=False)
