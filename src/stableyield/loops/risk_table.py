"""What a lending market lets one borrow against an asset, by date.

Loan-to-value (LTV) is what may be drawn when a position is opened or raised; above the liquidation
threshold it may be liquidated, for a bonus. In an efficiency mode (e-mode) assets of one category
count for more against each other. All of that changes by governance, so every row holds from its
``effective_from`` until the next row of the same reserve and mode.

The shipped table, ``data/risk_parameters.csv``, names a source in each row; ``is_assumed`` marks
rows of which the value or the first day could not be confirmed. A user's file of the same columns
(`read_risk_table`) takes the place of all shipped rows of the reserves that it names.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stableyield.errors import ContractError, MissingDataError
from stableyield.market.columns import Origin, to_flags, to_numbers, to_texts, to_timestamps
from stableyield.market.layouts.tables import refuse_repeats
from stableyield.market.tables import origin_of_file, read_table

SHIPPED_TABLE = Path(__file__).parent / "data" / "risk_parameters.csv"
_TEXTS = ("chain", "protocol", "asset")
_SHARES = ("ltv", "liquidation_threshold", "liquidation_bonus")
_FLAGS = ("is_collateral", "is_borrowable")
_REQUIRED = (*_TEXTS, "effective_from", *_SHARES, *_FLAGS)
_CAPS = ("supply_cap", "borrow_cap")
_KEY = ("chain", "protocol", "asset", "emode", "effective_from")

_Reserve = tuple[str, str, str]  # chain and protocol in lower case, asset as it is spelt


@dataclass(frozen=True, slots=True)
class RiskParameters:
    """What holds for a collateral asset against a debt asset on one day.

    Parameters
    ----------
    ltv : float
        Largest share of the collateral that may be drawn; 0 when it is no collateral.
    liquidation_threshold : float
        Debt over collateral from which on it may be liquidated.
    liquidation_bonus : float
        What a liquidator gets on top, as a share of the debt repaid.
    is_collateral : bool
        Whether the asset counts as collateral.
    is_borrowable : bool
        Whether the debt asset may be borrowed.
    emode : str
        Name of the e-mode category that was applied; empty without.
    supply_cap, borrow_cap : float
        Caps of the collateral's deposits and of the debt asset's debt, in tokens; NaN where
        unknown.
    is_assumed : bool
        Whether a row behind it could not be confirmed.
    source : str
        Where the row of the collateral asset comes from.
    """

    ltv: float
    liquidation_threshold: float
    liquidation_bonus: float
    is_collateral: bool
    is_borrowable: bool
    emode: str = ""
    supply_cap: float = float("nan")
    borrow_cap: float = float("nan")
    is_assumed: bool = False
    source: str = ""

    @property
    def can_open(self) -> bool:
        """Whether a loop may be opened or raised."""
        return self.is_collateral and self.is_borrowable and self.ltv > 0.0


@dataclass(frozen=True, slots=True)
class _Row:
    effective_from: date
    ltv: float
    liquidation_threshold: float
    liquidation_bonus: float
    is_collateral: bool
    is_borrowable: bool
    supply_cap: float
    borrow_cap: float
    is_assumed: bool
    source: str


@dataclass(frozen=True, eq=False)
class RiskTable:
    """Risk parameters by reserve, e-mode and date; see the module.

    Parameters
    ----------
    rows : mapping
        By reserve (chain, protocol, asset), then by e-mode (empty: without), rows in the order of
        their first day.
    """

    rows: Mapping[_Reserve, Mapping[str, tuple[_Row, ...]]]

    def risk_on(
        self,
        day: date,
        chain: str,
        protocol: str,
        asset: str,
        debt_asset: str,
        *,
        is_open: bool = False,
        opened_on: date | None = None,
    ) -> RiskParameters:
        """What holds on ``day`` for ``asset`` as collateral of a debt in ``debt_asset``.

        An e-mode is applied when both assets are in it that day: the collateral as collateral, the
        debt asset as borrowable. Of several the one with the highest LTV.

        Parameters
        ----------
        day : date
        chain, protocol : str
            Compared without case.
        asset, debt_asset : str
            In the tokens' own spelling.
        is_open : bool
            The position is held already: its debt may stay in an e-mode out of which nothing more
            may be borrowed, so the category's threshold holds as long as both are in it.
        opened_on : date, optional
            First day of the held position. An e-mode from which nothing could be borrowed by then
            was never entered; when absent it is taken to have been.

        Raises
        ------
        MissingDataError
            When the table has no row of an asset for that day.
        """
        collateral = self._modes(day, chain, protocol, asset)
        debt = self._modes(day, chain, protocol, debt_asset)
        emode = _best_mode(collateral, debt, is_open=is_open)
        if emode and not debt[emode].is_borrowable and opened_on is not None:
            then = self.risk_on(opened_on, chain, protocol, asset, debt_asset)
            emode = emode if then.emode == emode else _best_mode(collateral, debt, is_open=False)
        row, owed = collateral[emode], debt[emode]
        base, base_owed = collateral[""], debt[""]
        return RiskParameters(
            ltv=row.ltv if row.is_collateral else 0.0,
            liquidation_threshold=row.liquidation_threshold if row.is_collateral else 0.0,
            liquidation_bonus=row.liquidation_bonus if row.is_collateral else 0.0,
            is_collateral=row.is_collateral,
            is_borrowable=owed.is_borrowable and base_owed.is_borrowable,
            emode=emode,
            supply_cap=base.supply_cap,
            borrow_cap=base_owed.borrow_cap,
            is_assumed=any(r.is_assumed for r in (row, owed, base, base_owed)),
            source=row.source,
        )

    def replaced_by(self, other: RiskTable) -> RiskTable:
        """The table with all rows of the reserves that ``other`` names taken from ``other``."""
        return RiskTable({**self.rows, **other.rows})

    def _modes(self, day: date, chain: str, protocol: str, asset: str) -> dict[str, _Row]:
        """The row of each mode that holds on ``day``; without e-mode there is always one."""
        modes = self.rows.get((chain.lower(), protocol.lower(), asset), {})
        current = {}
        for emode, rows in modes.items():
            n = bisect_right(rows, day, key=lambda row: row.effective_from)
            if n:
                current[emode] = rows[n - 1]
        if "" not in current:
            first = modes[""][0].effective_from if modes.get("") else None
            raise MissingDataError(
                f"no risk parameters of {asset} on {day}"
                + (f", the first are of {first}" if first else ""),
                where=f"{protocol} on {chain}",
                remedy="give a risk table with rows of this asset (see docs/loops.md)",
            )
        return current


def _best_mode(collateral: Mapping[str, _Row], debt: Mapping[str, _Row], *, is_open: bool) -> str:
    """The e-mode that both rows are in with the highest LTV; empty when there is none."""
    shared = [
        (row.ltv, emode)
        for emode, row in collateral.items()
        if emode
        and row.is_collateral
        and emode in debt
        and (debt[emode].is_borrowable or is_open)
        and row.ltv >= collateral[""].ltv
    ]
    return max(shared, default=(0.0, ""))[1]


def risk_on(
    day: date,
    chain: str,
    protocol: str,
    asset: str,
    debt_asset: str,
    table: RiskTable | None = None,
) -> RiskParameters:
    """`RiskTable.risk_on` of ``table``, or of the shipped one.

    Raises
    ------
    MissingDataError
        When the table has no row of an asset for that day.
    """
    return (table or shipped_risk_table()).risk_on(day, chain, protocol, asset, debt_asset)


@lru_cache(maxsize=1)
def shipped_risk_table() -> RiskTable:
    """The table that comes with the package."""
    return risk_table_of(read_table(SHIPPED_TABLE), origin_of_file(SHIPPED_TABLE))


def read_risk_table(path: Path) -> RiskTable:
    """The shipped table, with the reserves that the file ``path`` names taken from it.

    Raises
    ------
    MissingDataError
        When there is no such file.
    ContractError
        When a column is missing or a value breaks the contract; names row, column and value.
    """
    return shipped_risk_table().replaced_by(risk_table_of(read_table(path), origin_of_file(path)))


def risk_table_of(frame: pd.DataFrame, origin: Origin | None = None) -> RiskTable:
    """A table from rows: fractions, days and flags.

    Parameters
    ----------
    frame : DataFrame
        chain, protocol, asset, effective_from, ltv, liquidation_threshold, liquidation_bonus,
        is_collateral, is_borrowable; optional emode (empty: without), supply_cap and borrow_cap
        (tokens; empty: unknown), is_assumed, source.
    origin : Origin, optional
        For messages.

    Raises
    ------
    ContractError
        When a column is missing or a value breaks the contract; names row, column and value.
    """
    origin = origin or Origin("risk table")
    if missing := [name for name in _REQUIRED if name not in frame]:
        raise ContractError(
            f"column {missing[0]!r} is missing",
            where=origin.file,
            remedy=f"add it; a risk table needs {', '.join(_REQUIRED)}",
        )
    typed = _typed(frame.reset_index(drop=True), origin)
    _check(typed, origin)
    typed["chain"], typed["protocol"] = typed["chain"].str.lower(), typed["protocol"].str.lower()
    refuse_repeats(typed, _KEY, origin)
    rows: dict[_Reserve, dict[str, tuple[_Row, ...]]] = {}
    values = ["effective_from", *_SHARES, *_FLAGS, *_CAPS, "is_assumed", "source"]
    for key, group in typed.sort_values(list(_KEY), kind="stable").groupby(
        list(_KEY[:4]), sort=True
    ):
        chain, protocol, asset, emode = map(str, key)
        rows.setdefault((chain, protocol, asset), {})[emode] = tuple(
            _Row(first.date(), *rest)
            for first, *rest in group[values].itertuples(index=False, name=None)
        )
    _check_modes(rows, origin)
    return RiskTable(rows)


def _typed(frame: pd.DataFrame, origin: Origin) -> pd.DataFrame:
    nothing = pd.Series(np.nan, frame.index)
    texts = {name: to_texts(frame[name]) for name in _TEXTS}
    others = {
        name: to_texts(frame[name]).fillna("") for name in ("emode", "source") if name in frame
    }
    return pd.DataFrame(
        {
            "emode": "",
            "source": origin.file,
            **texts,
            **others,
            "effective_from": to_timestamps(frame["effective_from"], origin).dt.floor("D"),
            **{name: to_numbers(frame[name], origin) for name in _SHARES},
            **{name: to_numbers(frame.get(name, nothing), origin) for name in _CAPS},
            **{name: to_flags(frame[name], origin, default=False) for name in _FLAGS},
            "is_assumed": to_flags(frame.get("is_assumed", nothing), origin, default=False),
        }
    )


def _check(rows: pd.DataFrame, origin: Origin) -> None:
    for name in (*_TEXTS, "effective_from", *_SHARES):
        _refuse(rows[name].isna(), rows[name], "empty", origin)
    for name in _SHARES:
        outside = (rows[name] < 0.0) | (rows[name] > 1.0)
        _refuse(outside, rows[name], "a fraction from 0 to 1 is wanted (80 % is 0.8)", origin)
    for name in _CAPS:
        _refuse(rows[name] < 0.0, rows[name], "a cap is not negative", origin)
    ltv, threshold = rows["ltv"], rows["liquidation_threshold"]
    _refuse(ltv > threshold, ltv, "above the liquidation threshold of its row", origin)
    useless = rows["is_collateral"] & (threshold == 0.0)
    _refuse(useless, threshold, "collateral needs a threshold above 0", origin)
    # seized collateral is debt times (1 + bonus): beyond 1 it does not cover the debt at the start
    unpaid = threshold * (1.0 + rows["liquidation_bonus"]) > 1.0
    what = "the bonus on top of the threshold exceeds the collateral"
    _refuse(unpaid, rows["liquidation_bonus"], what, origin)


def _refuse(where: pd.Series[bool], column: pd.Series[Any], what: str, origin: Origin) -> None:
    for position in np.flatnonzero(where)[:1]:
        raise origin.error(what, str(column.name), int(position), column.iloc[position])


def _check_modes(rows: Mapping[_Reserve, Mapping[str, tuple[_Row, ...]]], origin: Origin) -> None:
    for (chain, protocol, asset), modes in rows.items():
        if "" not in modes:
            raise ContractError(
                f"{asset} has rows of an e-mode only",
                where=f"{origin.file}, {protocol} on {chain}",
                remedy="add its rows without e-mode",
            )
