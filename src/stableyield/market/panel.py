"""The market as arrays, and the only door to it: `MarketPanel.as_of`.

A row dated ``d`` describes UTC day ``d`` and becomes known at its end. ``as_of(t)`` therefore shows
the rows of day ``t`` and before, and the pools and tokens that were known by then, as read-only
slices. Columns are ordered by the day on which they first became known, so a view is a plain
rectangle cut off at the top left: it has no place where the future could be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.pool import Pool
from stableyield.domain.rates import day_return
from stableyield.errors import ContractError, DayOutOfRangeError

Floats = NDArray[np.float64]
Days = NDArray[np.datetime64]

LIST_TIMEOUT_DAYS = 7  # a pool without a row for this long is off the live list
_UNKNOWN = np.float64(np.nan)


@dataclass(frozen=True, eq=False)
class _Series:
    """Named float64 arrays of one shape (n_days, n_columns); an absent one is unknown (NaN)."""

    @classmethod
    def build(cls, shape: tuple[int, int], arrays: Mapping[str, Floats]) -> Self:
        """Read-only arrays of ``shape`` from those that are given.

        Raises
        ------
        ContractError
            For an unknown name or a wrong shape.
        """
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(arrays) - known):
            raise ContractError(f"{cls.__name__} has no field {unknown[0]!r}")
        values = {}
        for name in known:
            values[name] = _read_only(arrays.get(name, np.broadcast_to(_UNKNOWN, shape)))
            if values[name].shape != shape:
                raise ContractError(
                    f"{name} has shape {values[name].shape}, expected {shape}", where=cls.__name__
                )
        return cls(**values)

    def head(self, n_days: int, n_columns: int) -> Self:
        """The first ``n_days`` rows and ``n_columns`` columns; no copy."""
        return type(self)(
            **{item.name: getattr(self, item.name)[:n_days, :n_columns] for item in fields(self)}
        )

    def columns(self, order: NDArray[np.intp]) -> Self:
        """The columns in another order."""
        return type(self)(
            **{item.name: _read_only(getattr(self, item.name)[:, order]) for item in fields(self)}
        )


@dataclass(frozen=True, eq=False)
class PoolSeries(_Series):
    """What is known of each pool on each day: arrays of shape (n_days, n_pools).

    Rates are percent per year; ``return_1d`` is the growth (fraction) of one unit held from the
    end of the previous calendar day to the end of the row's day; ``is_filtered_out`` is 0 or 1.
    The ``forecast_*`` arrays are a foreign forecaster's output, by exec date.
    """

    apy_pct: Floats
    tvl_usd: Floats
    apy_base_pct: Floats
    apy_reward_pct: Floats
    deposits_usd: Floats
    available_usd: Floats
    return_1d: Floats
    is_filtered_out: Floats
    forecast_apy_pct: Floats
    forecast_apy_q10_pct: Floats
    forecast_tvl_usd: Floats


@dataclass(frozen=True, eq=False)
class TokenSeries(_Series):
    """Prices of each token on each day, USD: arrays of shape (n_days, n_tokens)."""

    close_usd: Floats
    open_usd: Floats
    high_usd: Floats
    low_usd: Floats
    market_cap_usd: Floats
    peg_usd: Floats


@dataclass(frozen=True, eq=False)
class GasSeries:
    """Gas price and ETH price of each day: arrays of shape (n_days,); NaN where unknown."""

    gas_gwei: Floats
    eth_usd: Floats

    def head(self, n_days: int) -> GasSeries:
        """The first ``n_days`` days; no copy."""
        return GasSeries(self.gas_gwei[:n_days], self.eth_usd[:n_days])


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
    """

    day: date
    days: Days
    pools: tuple[Pool, ...]
    pool_series: PoolSeries
    tokens: tuple[str, ...]
    token_series: TokenSeries
    gas: GasSeries

    @cached_property
    def pool_ids(self) -> tuple[str, ...]:
        """Identities of the pools, in column order."""
        return tuple(pool.pool_id for pool in self.pools)

    @cached_property
    def pool_index(self) -> Mapping[str, int]:
        """Column of each pool id."""
        return MappingProxyType({pool_id: i for i, pool_id in enumerate(self.pool_ids)})

    @cached_property
    def token_index(self) -> Mapping[str, int]:
        """Column of each token."""
        return MappingProxyType({token: j for j, token in enumerate(self.tokens)})

    @cached_property
    def prices_usd(self) -> Mapping[str, float]:
        """Closing prices of day t; a token without one is absent."""
        last = self.token_series.close_usd[-1]
        return MappingProxyType(
            {
                token: float(price)
                for token, price in zip(self.tokens, last, strict=True)
                if np.isfinite(price)
            }
        )

    @cached_property
    def row_age_days(self) -> NDArray[np.int64]:
        """Days since each pool's last row (0: it has one today); shape (n_pools,)."""
        return _first_known(self.pool_series.apy_pct[::-1], self.pool_series.tvl_usd[::-1])

    @cached_property
    def is_listed(self) -> NDArray[np.bool_]:
        """Which pools were on the live list at the end of t; shape (n_pools,).

        Inside [listed_from, listed_until], active, and with a row in the last 7 days.
        """
        inside = np.array(
            [
                (pool.listed_from is None or pool.listed_from <= self.day)
                and (pool.listed_until is None or self.day <= pool.listed_until)
                and pool.is_active
                for pool in self.pools
            ],
            dtype=bool,
        )
        return inside & (self.row_age_days < LIST_TIMEOUT_DAYS)

    @cached_property
    def realised_return(self) -> Floats:
        """Growth (fraction) of one unit in each pool over day t; NaN where unknown.

        The share-price return where there is one, else the day return of the APY of day t.
        """
        by_price = self.pool_series.return_1d[-1]
        by_rate = day_return(self.pool_series.apy_pct[-1] / 100.0)
        result: Floats = np.where(np.isfinite(by_price), by_price, by_rate)
        return result


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
        pool_known = _first_known(
            pool_series.apy_pct, pool_series.tvl_usd, pool_series.forecast_apy_pct
        )
        for i, pool in enumerate(pools):
            if pool.listed_from is not None:
                listed = int((np.datetime64(pool.listed_from, "D") - days[0]).astype(int))
                pool_known[i] = min(pool_known[i], max(listed, 0))
        token_known = _first_known(token_series.close_usd)
        by_pool = _order(pool_known, [p.pool_id for p in pools])
        by_token = _order(token_known, list(tokens))
        unknown = np.broadcast_to(_UNKNOWN, (len(days),))
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
            GasSeries(_read_only(gas.gas_gwei), _read_only(gas.eth_usd)),
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

    @property
    def first_day(self) -> date:
        """The first day of the history."""
        return _as_date(self._days[0])

    @property
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
        n_pools = int(np.searchsorted(self._pool_known_from, t, side="right"))
        n_tokens = int(np.searchsorted(self._token_known_from, t, side="right"))
        return MarketView(
            day=day,
            days=self._days[: t + 1],
            pools=tuple(self._known_at(pool, day) for pool in self._pools[:n_pools]),
            pool_series=self._pool_series.head(t + 1, n_pools),
            tokens=self._tokens[:n_tokens],
            token_series=self._token_series.head(t + 1, n_tokens),
            gas=self._gas.head(t + 1),
        )

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


def _first_known(*arrays: Floats) -> NDArray[np.int64]:
    """First row with a value in any of the arrays, by column; n_days where there is none."""
    has = np.logical_or.reduce([np.isfinite(array) for array in arrays])
    first: NDArray[np.int64] = np.where(has.any(axis=0), has.argmax(axis=0), has.shape[0])
    return first


def _order(known_from: NDArray[np.int64], names: list[str]) -> NDArray[np.intp]:
    return np.array(
        sorted(range(len(names)), key=lambda i: (known_from[i], names[i])), dtype=np.intp
    )


def _read_only(array: Floats) -> Floats:
    result = np.array(array, dtype=np.float64) if array.flags.writeable else array
    result.setflags(write=False)
    return result


def _as_date(day: np.datetime64) -> date:
    result: date = day.astype("datetime64[D]").astype(date)
    return result
