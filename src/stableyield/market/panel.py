"""The market as arrays, and the only door to it: `MarketPanel.as_of`.

A row dated ``d`` describes UTC day ``d`` and becomes known at its end. ``as_of(t)`` therefore shows
the rows of day ``t`` and before, and the pools and tokens that were known by then, as read-only
slices. Columns are ordered by the day on which they first became known, so a view is a plain
rectangle cut off at the top left: it has no place where the future could be.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.pool import Pool
from stableyield.errors import ContractError, DayOutOfRangeError
from stableyield.market.day_facts import (
    LIST_TIMEOUT_DAYS,
    DayFacts,
    first_known,
    realised_returns,
    row_ages,
)
from stableyield.market.directory import Directory
from stableyield.market.series import UNKNOWN, GasSeries, PoolSeries, TokenSeries, read_only

__all__ = [
    "LIST_TIMEOUT_DAYS",
    "GasSeries",
    "MarketPanel",
    "MarketView",
    "PoolSeries",
    "Provenance",
    "TokenSeries",
]

Floats = NDArray[np.float64]
Days = NDArray[np.datetime64]

MOST_DIRECTORIES = 4  # kept: of today, and of the end of what is looked at together
WALK_DAYS = 64  # made at once of a walk: enough to share the work, and little in memory


@dataclass(frozen=True)
class Provenance:
    """Where a market came from.

    Parameters
    ----------
    assumptions : tuple of str
        What was assumed when it was made (par prices, fixed gas): printed in reports.
    hashes : mapping of str to str
        sha256 of each input.
    """

    assumptions: tuple[str, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class MarketView:
    """The market as it was known at the end of ``day``.

    Attributes
    ----------
    day : date
        The decision day t; the last row of every array.
    days : ndarray of datetime64[D], shape (n_days,)
    pools : tuple of Pool
        Every pool that was known by t, listed or not. ``listed_until`` and ``is_active`` only say
        what was known at t.
    pool_series : PoolSeries of shape (n_days, n_pools)
    tokens : tuple of str
    token_series : TokenSeries of shape (n_days, n_tokens)
    gas : GasSeries of shape (n_days,)
    shared_directory : Directory, optional
        That of other views with the very same ``pools`` and ``tokens``.
    shared_facts : DayFacts, optional
        What follows from ``pool_series``, made with that of other days.
    """

    day: date
    days: Days
    pools: tuple[Pool, ...]
    pool_series: PoolSeries
    tokens: tuple[str, ...]
    token_series: TokenSeries
    gas: GasSeries
    shared_directory: Directory | None = field(default=None, repr=False)
    shared_facts: DayFacts | None = field(default=None, repr=False)

    @cached_property
    def directory(self) -> Directory:
        """The pools and tokens, and what follows from them alone."""
        shared = self.shared_directory
        if shared is not None and shared.pools is self.pools and shared.tokens is self.tokens:
            return shared
        return Directory(self.pools, self.tokens)

    @property
    def pool_ids(self) -> tuple[str, ...]:
        """Identities of the pools, in column order."""
        return self.directory.pool_ids

    @property
    def pool_index(self) -> Mapping[str, int]:
        """Column of each pool id."""
        return self.directory.pool_index

    @property
    def token_index(self) -> Mapping[str, int]:
        """Column of each token."""
        return self.directory.token_index

    @cached_property
    def prices_usd(self) -> Mapping[str, float]:
        """Closing prices of day t; a token without one is absent."""
        last = self.token_series.close_usd[-1].tolist()
        return MappingProxyType(
            {
                token: price
                for token, price in zip(self.tokens, last, strict=True)
                if math.isfinite(price)
            }
        )

    @cached_property
    def _facts(self) -> DayFacts:
        shared, series = self.shared_facts, self.pool_series
        if shared is not None and shared.series is series:
            return shared
        return DayFacts(series, row_ages(series)[0], realised_returns(series)[0])

    @property
    def row_age_days(self) -> NDArray[np.int64]:
        """Days since each pool's last row (0: it has one today); shape (n_pools,)."""
        return self._facts.row_age_days

    @cached_property
    def is_listed(self) -> NDArray[np.bool_]:
        """Which pools were on the live list at the end of t; shape (n_pools,).

        Inside [listed_from, listed_until], active, and with a row in the last 7 days.
        """
        listed = self.directory.listed_on(self.day) & (self.row_age_days < LIST_TIMEOUT_DAYS)
        listed.setflags(write=False)
        return listed

    @property
    def realised_return(self) -> Floats:
        """Growth (fraction) of one unit in each pool over day t; NaN where unknown.

        The share-price return where there is one, else the day return of the APY of day t.
        """
        return self._facts.realised_return


@dataclass(frozen=True, eq=False)
class MarketPanel:
    """A market's whole history; `as_of` is the only way to look at it.

    Build it with `MarketPanel.build`, which sorts the columns by the day they became known.

    Attributes
    ----------
    first_day, last_day : date
    provenance : Provenance
    """

    _days: Days
    _pools: tuple[Pool, ...]
    _pool_series: PoolSeries
    _pool_known_from: NDArray[np.int64]
    _tokens: tuple[str, ...]
    _token_series: TokenSeries
    _token_known_from: NDArray[np.int64]
    _gas: GasSeries
    provenance: Provenance = field(default_factory=Provenance)

    @classmethod
    def build(
        cls,
        days: Days,
        pools: Sequence[Pool],
        pool_arrays: Mapping[str, Floats],
        tokens: Sequence[str],
        token_arrays: Mapping[str, Floats],
        *,
        gas: GasSeries | None = None,
        provenance: Provenance | None = None,
    ) -> MarketPanel:
        """A panel from arrays in any column order.

        Parameters
        ----------
        days : ndarray of datetime64[D], shape (n_days,)
            Consecutive calendar days.
        pools, tokens : sequences of length n_pools and n_tokens
        pool_arrays : mapping of PoolSeries field to ndarray of shape (n_days, n_pools)
        token_arrays : mapping of TokenSeries field to ndarray of shape (n_days, n_tokens)
        gas : GasSeries of shape (n_days,), optional
            Unknown when absent.
        provenance : Provenance, optional

        Raises
        ------
        ContractError
            When days are not consecutive, an identity repeats, or a shape does not fit.
        """
        days = np.asarray(days, dtype="datetime64[D]")
        if len(days) == 0 or np.any(np.diff(days) != np.timedelta64(1, "D")):
            raise ContractError(
                "the days of a market must be consecutive", remedy="fill missing days with NaN"
            )
        for what, names in (("pool_id", [p.pool_id for p in pools]), ("token", list(tokens))):
            if len(set(names)) != len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise ContractError(f"{what} {twice!r} occurs twice", remedy="keep one")
        pool_series = PoolSeries.build((len(days), len(pools)), pool_arrays)
        token_series = TokenSeries.build((len(days), len(tokens)), token_arrays)
        pool_known = first_known(
            pool_series.apy_pct, pool_series.tvl_usd, pool_series.forecast_apy_pct
        )
        for i, pool in enumerate(pools):
            if pool.listed_from is not None:
                listed = int((np.datetime64(pool.listed_from, "D") - days[0]).astype(int))
                pool_known[i] = min(pool_known[i], max(listed, 0))
        token_known = first_known(token_series.close_usd)
        by_pool = _order(pool_known, [p.pool_id for p in pools])
        by_token = _order(token_known, list(tokens))
        unknown = np.broadcast_to(UNKNOWN, (len(days),))
        gas = gas or GasSeries(unknown, unknown)
        if not gas.gas_gwei.shape == gas.eth_usd.shape == days.shape:
            raise ContractError(f"gas needs one value a day, {len(days)} in all")
        days = days.copy()
        days.setflags(write=False)
        return cls(
            days,
            tuple(pools[i] for i in by_pool),
            pool_series.columns(by_pool),
            pool_known[by_pool],
            tuple(tokens[j] for j in by_token),
            token_series.columns(by_token),
            token_known[by_token],
            GasSeries(read_only(gas.gas_gwei), read_only(gas.eth_usd)),
            provenance or Provenance(),
        )

    @classmethod
    def from_directory(cls, directory: Path | str, *, assume_par: bool = False) -> MarketPanel:
        """The market in a market directory (see docs/formats.md).

        Raises
        ------
        InputError
            When a table is missing or breaks its contract; names file, column and row.
        """
        from stableyield.market.files import read_market  # noqa: PLC0415 - it needs us

        return read_market(Path(directory), assume_par=assume_par)

    @cached_property
    def first_day(self) -> date:
        """The first day of the history."""
        return _as_date(self._days[0])

    @cached_property
    def last_day(self) -> date:
        """The last day of the history."""
        return _as_date(self._days[-1])

    @cached_property
    def sha256(self) -> str:
        """Fingerprint of the whole history: equal data, equal text."""
        digest = hashlib.sha256()
        digest.update(repr((self._pools, self._tokens)).encode())
        digest.update(self._days.tobytes())
        for series in (self._pool_series, self._token_series, self._gas):
            for item in fields(series):
                digest.update(item.name.encode())
                digest.update(np.ascontiguousarray(getattr(series, item.name)).data)
        return digest.hexdigest()

    def as_of(self, day: date) -> MarketView:
        """The market as it was known at the end of ``day``.

        Raises
        ------
        DayOutOfRangeError
            When ``day`` is outside the history.
        """
        t = (day - self.first_day).days
        if not 0 <= t < len(self._days):
            raise DayOutOfRangeError(
                f"day {day} is outside the market's history",
                remedy=f"choose a day from {self.first_day} to {self.last_day}",
            )
        return self._view(t, day, None)

    def walk(self, days: Sequence[date]) -> Iterator[MarketView]:
        """The market as of each of some consecutive days, in their order.

        The views are those of `as_of`, and so are the errors; what follows from their rows is made
        for many days at once.
        """
        for n in range(0, len(days), WALK_DAYS):
            part = days[n : n + WALK_DAYS]
            last = self.as_of(part[-1]).pool_series
            facts = zip(row_ages(last, len(part)), realised_returns(last, len(part)), strict=True)
            for t, (day, of_day) in enumerate(zip(part, facts, strict=True), len(last.apy_pct)):
                yield self._view(t - len(part), day, of_day)

    def _view(
        self, t: int, day: date, facts: tuple[NDArray[np.int64], Floats] | None
    ) -> MarketView:
        """The view of row ``t``; ``facts`` may have pools that were not known yet."""
        known = self._known_on(day)
        n_pools = len(known.pools)
        series = self._pool_series.head(t + 1, n_pools)
        return MarketView(
            day=day,
            days=self._days[: t + 1],
            pools=known.pools,
            pool_series=series,
            tokens=known.tokens,
            token_series=self._token_series.head(t + 1, len(known.tokens)),
            gas=self._gas.head(t + 1),
            shared_directory=known,
            shared_facts=facts and DayFacts(series, facts[0][:n_pools], facts[1][:n_pools]),
        )

    @cached_property
    def _turning_days(self) -> list[int]:
        """Days (ordinals) on which more is known of pools or tokens than before, increasing."""
        known = {*self._pool_known_from.tolist(), *self._token_known_from.tolist()}
        days = {self.first_day.toordinal() + rows for rows in known}
        days.add(self.last_day.toordinal())
        for pool in self._pools:
            if pool.listed_from is not None:
                days.add(pool.listed_from.toordinal())
            if pool.listed_until is not None:
                days.add(pool.listed_until.toordinal() + 1)
        return sorted(days)

    @cached_property
    def _last_known(self) -> dict[int, Directory]:
        """What was known between two turning days: of the last ones that were asked for."""
        return {}

    def _known_on(self, day: date) -> Directory:
        """The pools and tokens as known on ``day``; one and the same object from turn to turn."""
        turn = bisect_right(self._turning_days, day.toordinal())
        known = self._last_known.get(turn)
        if known is None:
            t = (day - self.first_day).days
            n_pools = int(np.searchsorted(self._pool_known_from, t, side="right"))
            n_tokens = int(np.searchsorted(self._token_known_from, t, side="right"))
            pools = tuple(self._known_at(pool, day) for pool in self._pools[:n_pools])
            known = Directory(pools, self._tokens[:n_tokens])
            while len(self._last_known) >= MOST_DIRECTORIES:
                del self._last_known[next(iter(self._last_known))]
            self._last_known[turn] = known
        return known

    def _known_at(self, pool: Pool, day: date) -> Pool:
        """The pool without what only later days say of it."""
        ends_later = pool.listed_until is not None and pool.listed_until >= day
        starts_later = pool.listed_from is not None and pool.listed_from > day
        inactive_later = not pool.is_active and day < self.last_day
        if not (ends_later or starts_later or inactive_later):
            return pool
        return replace(
            pool,
            # "not listed yet" is all that is known of a later listing
            listed_from=date.max if starts_later else pool.listed_from,
            listed_until=None if ends_later else pool.listed_until,
            is_active=pool.is_active or inactive_later,
        )


def _order(known_from: NDArray[np.int64], names: list[str]) -> NDArray[np.intp]:
    return np.array(
        sorted(range(len(names)), key=lambda i: (known_from[i], names[i])), dtype=np.intp
    )


def _as_date(day: np.datetime64) -> date:
    result: date = day.astype("datetime64[D]").astype(date)
    return result
