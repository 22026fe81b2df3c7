"""Supply and borrow rates of a lending market as arrays: what is known of it on each day.

A market is one protocol on one chain: both legs of a loop are in it. `until` is how a decision sees
it. `stableyield.loops.rate_files` makes such arrays from files and frames, and says what it does
about gaps, repeated days and carried values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from stableyield.errors import ContractError, DayOutOfRangeError, ParameterError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Days = NDArray[np.datetime64]


@dataclass(frozen=True, eq=False)
class LoopRates:
    """What a lending market paid and charged on each day; arrays are read-only.

    Parameters
    ----------
    chain, protocol : str
    days : ndarray of shape (n_days,)
        Consecutive UTC days, datetime64[D].
    assets : tuple of str
        Tokens in their own spelling, sorted.
    supply_apr, borrow_apr : ndarray of shape (n_days, n_assets)
        What the day paid and charged, fraction per year (APR); NaN where unknown.
    quoted_supply_apr, quoted_borrow_apr : ndarray of the same shape
        The last reading of the day: what a decision at its end sees. The same as above where the
        source has one reading a day.
    supply_reward_apr, borrow_reward_apr : ndarray of the same shape
        What is paid on top to suppliers and to borrowers; 0 where unknown, which errs against
        the loop on both legs.
    supplied_usd, borrowed_usd, available_usd, utilisation : ndarray of the same shape
        Deposits, debt, cash that can be withdrawn or borrowed, and debt over deposits at the end
        of the day; NaN where unknown.
    is_borrowable : ndarray of bool of the same shape
        Whether the source says that the asset may be borrowed; true where it says nothing.
    is_fresh : ndarray of bool of the same shape
        Whether the day has a row of its own; else its values are carried over or unknown.
    source : str
        Name of the file or frame.
    notes : tuple of str
        What was done about the source's traps, one sentence each.
    """

    chain: str
    protocol: str
    days: Days
    assets: tuple[str, ...]
    supply_apr: Floats
    borrow_apr: Floats
    quoted_supply_apr: Floats
    quoted_borrow_apr: Floats
    supply_reward_apr: Floats
    borrow_reward_apr: Floats
    supplied_usd: Floats
    borrowed_usd: Floats
    available_usd: Floats
    utilisation: Floats
    is_borrowable: Flags
    is_fresh: Flags
    source: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = (len(self.days), len(self.assets))
        if not len(self.days):
            raise ContractError("no days", where=self.source)
        if (np.diff(self.days.astype("datetime64[D]").astype(np.int64)) != 1).any():
            raise ContractError("days are not consecutive", where=self.source)
        for name in ("days", *_array_names()):
            array = getattr(self, name).view()
            if name != "days" and array.shape != shape:
                raise ContractError(f"{name} has shape {array.shape}, expected {shape}")
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def name(self) -> str:
        """The market in words: ``aave-v3 on Ethereum``."""
        return f"{self.protocol} on {self.chain}"

    @property
    def n_days(self) -> int:
        """Number of days."""
        return len(self.days)

    def row_of(self, day: date) -> int:
        """Row of ``day``.

        Raises
        ------
        DayOutOfRangeError
            When the rates do not reach to it.
        """
        row = int((np.datetime64(day, "D") - self.days[0]).astype(np.int64))
        if not 0 <= row < self.n_days:
            raise DayOutOfRangeError(
                f"{np.datetime64(day, 'D')} is outside {self.days[0]} .. {self.days[-1]}",
                where=self.name,
                remedy="choose a day within the rates",
            )
        return row

    def column_of(self, asset: str) -> int:
        """Column of ``asset``.

        Raises
        ------
        ParameterError
            When the market does not have it.
        """
        if asset not in self.assets:
            raise ParameterError(
                f"{self.name} has no {asset!r}", remedy=f"it has {', '.join(self.assets)}"
            )
        return self.assets.index(asset)

    def until(self, day: date) -> LoopRates:
        """What was known at the end of ``day``: its row and those before; no copy.

        Raises
        ------
        DayOutOfRangeError
            When the rates do not reach to it.
        """
        return self._rows(slice(0, self.row_of(day) + 1))

    def between(self, start: date, end: date) -> LoopRates:
        """The days from ``start`` to ``end``, both included; no copy.

        Raises
        ------
        DayOutOfRangeError
            When the rates do not reach to one of them.
        ParameterError
            When ``end`` is before ``start``.
        """
        if end < start:
            raise ParameterError(f"end {end} is before start {start}")
        return self._rows(slice(self.row_of(start), self.row_of(end) + 1))

    def of_assets(self, assets: Sequence[str]) -> LoopRates:
        """The columns of ``assets``, in this order.

        Raises
        ------
        ParameterError
            When the market does not have one of them.
        """
        columns = [self.column_of(asset) for asset in assets]
        arrays = {name: getattr(self, name)[:, columns] for name in _array_names()}
        return replace(self, assets=tuple(assets), **arrays)

    def _rows(self, rows: slice) -> LoopRates:
        arrays = {name: getattr(self, name)[rows] for name in _array_names()}
        return replace(self, days=self.days[rows], **arrays)


def _array_names() -> tuple[str, ...]:
    others = {"chain", "protocol", "days", "assets", "source", "notes"}
    return tuple(item.name for item in fields(LoopRates) if item.name not in others)


def day_counts(rates: LoopRates, where: Flags) -> str:
    """``USDC 3 days, USDT 1 day``: the coins with days on which ``where`` holds, in words."""
    counts = zip(rates.assets, where.sum(axis=0).tolist(), strict=True)
    return ", ".join(f"{asset} {n} {'day' if n == 1 else 'days'}" for asset, n in counts if n)


def choose_markets(
    markets: Iterable[LoopRates],
    *,
    chains: Sequence[str] | None = None,
    protocols: Sequence[str] | None = None,
    assets: Sequence[str] | None = None,
) -> tuple[LoopRates, ...]:
    """The markets on ``chains`` and of ``protocols``, with those of ``assets`` that they have.

    Nothing given means all. Names of chains and protocols are compared without case.

    Raises
    ------
    ParameterError
        When a name is in none of the markets, or no market is left.
    """
    known = tuple(markets)
    _refuse_unknown("chain", chains, {market.chain.lower() for market in known})
    _refuse_unknown("protocol", protocols, {market.protocol.lower() for market in known})
    held = {asset for market in known for asset in market.assets}
    if strange := sorted(set(assets or ()) - held):
        raise ParameterError(
            f"asset {strange[0]!r} is in no market", remedy=f"choose of {', '.join(sorted(held))}"
        )
    chosen = []
    for market in known:
        on_chain = chains is None or market.chain.lower() in _lower(chains)
        in_protocol = protocols is None or market.protocol.lower() in _lower(protocols)
        kept = [a for a in market.assets if assets is None or a in assets]
        if on_chain and in_protocol and kept:
            chosen.append(market if len(kept) == len(market.assets) else market.of_assets(kept))
    if not chosen:
        raise ParameterError("no market has these chains, protocols and assets together")
    return tuple(chosen)


def _lower(names: Sequence[str]) -> set[str]:
    return {name.lower() for name in names}


def _refuse_unknown(what: str, names: Sequence[str] | None, known: set[str]) -> None:
    if strange := sorted(_lower(names or ()) - known):
        raise ParameterError(
            f"{what} {strange[0]!r} is in no market", remedy=f"choose of {', '.join(sorted(known))}"
        )
