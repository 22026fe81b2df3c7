"""The research notebooks' frame of pools, read into pools of an allocation problem."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.allocation.problem import PoolInput, RateModel
from stableyield.domain.pool import PoolState
from stableyield.errors import ContractError, MissingDataError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

REQUIRED_COLUMNS = (
    "pool_id",
    "symbol",
    "chain",
    "protocol",
    "underlying_tokens",
    "forecasted_apy",
    "forecasted_tvl",
    "is_filtered_out",
    "is_active",
)


def pools_of_frame(
    pools_df: pd.DataFrame, held: Collection[str], rate_model: RateModel
) -> list[PoolInput]:
    """Pools of an allocation problem from the notebooks' frame, which is only read.

    An inactive pool is left out: whoever holds it must leave it. A pool that is filtered out is
    left out too, unless it is held: then it may be kept or reduced, or, without a forecast by
    which to weigh that, it is frozen.

    Parameters
    ----------
    pools_df : DataFrame
        One row a pool, with `REQUIRED_COLUMNS`; optional are ``forecasted_apy_q10`` (percent),
        ``token_shares`` and ``risk_group``. Other columns are ignored.
    held : collection of str
        Ids of the pools with a position.
    rate_model : RateModel

    Raises
    ------
    ContractError
        When a column is missing, a pool_id is empty or occurs twice, or a cell is unreadable.
    MissingDataError
        When an open pool has no forecast.
    """
    for column in REQUIRED_COLUMNS:
        if column not in pools_df.columns:
            raise ContractError(
                f"no column {column!r}",
                where="pools_df",
                remedy=f"the frame needs {', '.join(REQUIRED_COLUMNS)}",
            )
    table = _Table(pools_df)
    pool_ids = table.unique_ids()
    is_filtered_out = table.flags("is_filtered_out")
    is_held = np.array([pool_id in held for pool_id in pool_ids], dtype=bool)
    used = table.flags("is_active") & (is_held | ~is_filtered_out)
    return _pools(_Table(pools_df.loc[used]), is_filtered_out[used], rate_model)


def tokens_of_frame(pools_df: pd.DataFrame) -> set[str]:
    """Every token of every pool of the frame.

    Raises
    ------
    ContractError
        When a cell is not a list of texts, given as a list or as JSON.
    """
    lists = _Table(pools_df).lists("underlying_tokens", str)
    return {token for tokens in lists for token in tokens}


def _pools(table: _Table, is_filtered_out: Bools, rate_model: RateModel) -> list[PoolInput]:
    apy_pct, tvl_usd = table.numbers("forecasted_apy"), table.numbers("forecasted_tvl")
    is_known = np.isfinite(apy_pct) & np.isfinite(tvl_usd)
    _check_forecasts(table, is_filtered_out | is_known, np.isfinite(apy_pct))
    apy_q10_pct = table.numbers("forecasted_apy_q10")
    pool_ids, symbols, chains, protocols = map(
        table.texts, ("pool_id", "symbol", "chain", "protocol")
    )
    legs, risk_groups = _sorted_legs(table), table.risk_groups()
    return [
        PoolInput(
            pool_id,
            symbols[i],
            chains[i],
            protocols[i],
            tokens=legs[i][0],
            token_shares=legs[i][1],
            apy_pct=float(apy_pct[i]),
            apy_q10_pct=float(apy_q10_pct[i]),
            tvl_usd=float(tvl_usd[i]),
            risk_group=risk_groups[i],
            state=_state(bool(is_filtered_out[i]), bool(is_known[i])),
            rate_model=rate_model,
        )
        for i, pool_id in enumerate(pool_ids)
    ]


def _state(is_filtered_out: bool, is_known: bool) -> PoolState:
    if not is_filtered_out:
        return PoolState.OPEN
    return PoolState.WITHDRAW_ONLY if is_known else PoolState.FROZEN


def _check_forecasts(table: _Table, is_fine: Bools, has_apy: Bools) -> None:
    if is_fine.all():
        return
    row = int(np.argmin(is_fine))
    raise MissingDataError(
        f"{'forecasted_tvl' if has_apy[row] else 'forecasted_apy'} is unknown",
        where=table.where(row),
        remedy="supply the forecast, or set is_filtered_out",
    )


def _sorted_legs(table: _Table) -> list[tuple[tuple[str, ...], tuple[float, ...]]]:
    """Tokens and their shares of each pool, sorted by token: their order has no meaning."""
    legs = []
    tokens_of, shares_of = table.lists("underlying_tokens", str), table.lists("token_shares", float)
    for row, (tokens, shares) in enumerate(zip(tokens_of, shares_of, strict=True)):
        if shares and len(shares) != len(tokens):
            raise ContractError(
                f"{len(shares)} token_shares for {len(tokens)} tokens", where=table.where(row)
            )
        order = sorted(range(len(tokens)), key=tokens.__getitem__)
        legs.append((tuple(tokens[k] for k in order), tuple(shares[k] for k in order if shares)))
    return legs


@dataclass(frozen=True, eq=False)
class _Table:
    """A frame of pools, its columns as checked values, and its rows' names for messages."""

    frame: pd.DataFrame

    def where(self, row: int) -> str:
        """Index label and pool_id of row number ``row``."""
        pool_id = self.frame["pool_id"].iloc[row] if "pool_id" in self.frame else ""
        return f"pools_df row {self.frame.index[row]} ({pool_id})"

    def unique_ids(self) -> list[str]:
        """The pool ids, of which none may occur twice."""
        seen: set[str] = set()
        for pool_id in self.texts("pool_id"):
            if pool_id in seen:
                raise ContractError(
                    f"pool {pool_id} occurs twice", where="pools_df", remedy="keep one row a pool"
                )
            seen.add(pool_id)
        return self.texts("pool_id")

    def texts(self, column: str) -> list[str]:
        """Texts, none of them empty."""
        values = self.frame[column].tolist()
        for row, value in enumerate(values):
            if not isinstance(value, str) or not value:
                raise self._error(column, row, value, "a text")
        return values

    def flags(self, column: str) -> Bools:
        """True or False; 1 and 0 will do, a text or nothing will not."""
        values = self.frame[column].tolist()
        for row, value in enumerate(values):
            if not isinstance(value, (bool, np.bool_, int, float)) or value not in (0, 1):
                raise self._error(column, row, value, "True or False")
        return np.array(values, dtype=bool)

    def numbers(self, column: str) -> Floats:
        """Numbers; NaN where the cell is empty or the column is absent."""
        if column not in self.frame.columns:
            return np.full(len(self.frame), np.nan)
        cells = self.frame[column]
        values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        is_wrong = np.isinf(values) | (np.isnan(values) & ~cells.isna().to_numpy())
        if is_wrong.any():
            row = int(is_wrong.argmax())
            raise self._error(column, row, cells.iloc[row], "a finite number")
        return values

    def risk_groups(self) -> list[int]:
        """Risk groups; 0 (in no group) where the cell is empty or the column is absent."""
        groups = np.nan_to_num(self.numbers("risk_group"), nan=0.0)
        is_wrong = ~np.isin(groups, (0.0, 1.0, 2.0, 3.0))
        if is_wrong.any():
            row = int(is_wrong.argmax())
            raise self._error("risk_group", row, groups[row], "1, 2, 3 or empty")
        return [int(group) for group in groups]

    def lists(self, column: str, of: type[str] | type[float]) -> list[tuple[Any, ...]]:
        """Tuples from lists or JSON lists; empty where the cell is, or the column is absent."""
        if column not in self.frame.columns:
            return [()] * len(self.frame)
        return [
            self._list(column, row, value, of)
            for row, value in enumerate(self.frame[column].tolist())
        ]

    def _list(
        self, column: str, row: int, value: Any, of: type[str] | type[float]
    ) -> tuple[Any, ...]:
        wanted = f"a list of {'texts' if of is str else 'numbers'}, or one in JSON"
        items = value
        if isinstance(value, str):
            try:
                items = json.loads(value)
            except ValueError as error:
                raise self._error(column, row, value, wanted) from error
        elif isinstance(value, np.ndarray):
            items = value.tolist()
        elif pd.api.types.is_scalar(value) and pd.isna(value):
            items = []
        if not isinstance(items, Sequence) or isinstance(items, str):
            raise self._error(column, row, value, wanted)
        kinds = str if of is str else (int, float)
        for item in items:
            if not isinstance(item, kinds) or isinstance(item, bool) or item == "":
                raise self._error(column, row, value, wanted)
        return tuple(of(item) for item in items)

    def _error(self, column: str, row: int, value: Any, wanted: str) -> ContractError:
        return ContractError(f"{column} is {value!r}, not {wanted}", where=self.where(row))
