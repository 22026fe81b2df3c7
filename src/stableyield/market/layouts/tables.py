"""What every layout hands on, and the columns that it asks of its source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from stableyield.errors import ContractError
from stableyield.market.columns import Origin


@dataclass(frozen=True, eq=False)
class LayoutTables:
    """A source in the shape of a market, before prices and gas are added.

    Parameters
    ----------
    pools, pool_daily : DataFrame
    lend_borrow_daily : DataFrame, optional
    sizes_in_tokens : bool
        The sizes of ``pool_daily`` are token units, not yet USD.
    masked : mapping of str to int
        Values that were made unknown or rows that were left out, by reason.
    assumptions : tuple of str
    """

    pools: pd.DataFrame
    pool_daily: pd.DataFrame
    lend_borrow_daily: pd.DataFrame | None = None
    sizes_in_tokens: bool = False
    masked: Mapping[str, int] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()


def need_columns(frame: pd.DataFrame, names: Iterable[str], where: str) -> None:
    """All of ``names`` are columns of ``frame``.

    Raises
    ------
    ContractError
        With the first column that is missing.
    """
    if missing := [name for name in names if name not in frame]:
        raise ContractError(
            f"column {missing[0]!r} is missing",
            where=where,
            remedy="is this the right file for the layout?",
            details=(f"found: {', '.join(map(str, frame.columns))}",),
        )


def refuse_blanks(rows: pd.DataFrame, names: Iterable[str], origin: Origin) -> None:
    """No row is silent in one of the columns ``names``.

    Raises
    ------
    ContractError
        With the first row that is.
    """
    for name in names:
        blank = rows[name].isna().to_numpy()
        if blank.any():
            position = int(blank.argmax())
            raise origin.error("empty", name, position, rows[name].iloc[position])


def refuse_repeats(rows: pd.DataFrame, key: tuple[str, ...], origin: Origin) -> None:
    """No two rows have the same ``key``.

    Raises
    ------
    ContractError
        With the first row that repeats an earlier one.
    """
    repeats = rows.duplicated(list(key)).to_numpy()
    if repeats.any():
        position = int(repeats.argmax())
        values = ", ".join(str(rows[name].iloc[position]) for name in key)
        raise origin.error("this key occurs twice", ", ".join(key), position, values)
