"""DefiLlama: the universe of pools as it is now, and the history of one pool.

Which of its numbers is an APR, and what its TVL measures, is said in
`stableyield.market.layouts.panel`, which reads the same columns from files.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from stableyield.errors import MissingDataError
from stableyield.market.layouts.panel import read_panel_layout
from stableyield.market.layouts.projects import rate_convention
from stableyield.market.layouts.symbols import resolve_symbol
from stableyield.sources.ask import TODAY, Freshness, Reading, ask, ask_now
from stableyield.sources.base import Fetched, Span
from stableyield.sources.failures import RejectedFeedError
from stableyield.sources.http import HttpClient
from stableyield.sources.payload import (
    APY_PCT,
    USD,
    Cleaning,
    Records,
    bad_shape,
    checked,
    in_span,
    member,
    moments_of,
    numbers_of,
    records,
    texts_of,
    values_of,
)
from stableyield.sources.request import Request, joined

SOURCE = "defillama"
YIELDS_URL = "https://yields.llama.fi"
LEAST_SHARE = 0.5  # of yesterday's universe; a smaller one is a fault, not news
AFTER_MIDNIGHT = timedelta(hours=1)  # until then the last hourly reading of yesterday is served

_LARGEST_LOST_SHARE = 0.01
_IDENTITY = {"series": "pool", "project": "project", "chain": "chain", "symbol": "symbol"}
_RATES = {"apy": "apy", "apy_base": "apyBase", "apy_reward": "apyReward"}
_UNITS_FROM_ROWS = 100  # fewer rows than this may all be low without being fractions


@dataclass(frozen=True, slots=True)
class PoolKey:
    """A pool as DefiLlama names it; what its history needs, but does not hold.

    Parameters
    ----------
    pool_id, protocol, chain, symbol : str
    """

    pool_id: str
    protocol: str
    chain: str
    symbol: str

    @property
    def market_columns(self) -> dict[str, str]:
        """The columns of ``lend_borrow_daily`` that say which market a row is of."""
        return {
            "market_id": self.pool_id,
            "chain": self.chain,
            "protocol": self.protocol,
            "symbol": self.symbol,
        }


@dataclass(frozen=True)
class PoolUniverse:
    """``GET /pools``: every pool as it is now; tables ``pools`` and ``pool_daily``.

    Parameters
    ----------
    client : HttpClient
    base_url : str
    previous_n_pools : int, optional
        Size of yesterday's universe; a feed below half of it is rejected.
    confirm_percent : bool
        Low APYs really are percent.
    """

    client: HttpClient
    base_url: str = YIELDS_URL
    previous_n_pools: int | None = None
    confirm_percent: bool = False

    @property
    def name(self) -> str:
        """Provider and route."""
        return f"{SOURCE} pools"

    def fetch(self, span: Span) -> Fetched:
        """Today's universe, or yesterday's within an hour after midnight.

        The answer bears no date: it is stamped with the day asked for, which must be the one that
        it describes. ``pools`` has a column ``pool_meta`` beside those of its contract.

        Raises
        ------
        MissingDataError
            For any other day: the provider does not serve the past.
        RejectedFeedError
            When the universe is empty or halved.
        SourceError
            When the provider fails or changed its format.
        """
        day = snapshot_day(span, self.client.clock.utc_now(), self.name)
        request = Request(SOURCE, "pools", joined(self.base_url, "pools"))
        return ask_now(self.client, request, self._read, day)

    def _read(self, value: Any, day: date, request: Request) -> Reading:
        rows = records(member(value, "data", request), request)
        cleaning = Cleaning()
        panel = _panel(rows, request, cleaning).assign(date=pd.Timestamp(day))
        addresses = values_of(rows, "underlyingTokens", request)
        notes = [note if isinstance(note := row.get("poolMeta"), str) else None for row in rows]
        panel = panel.assign(
            addresses=pd.Series(addresses, dtype=object), pool_meta=pd.Series(notes, dtype=object)
        )
        panel = _with_identity(panel, request, cleaning)
        repeats = panel["series"].duplicated(keep="last")
        cleaning.add("repeated pools", int(repeats.sum()))
        panel = panel[~repeats].reset_index(drop=True)
        self._refuse_halved(len(panel), request)
        layout = read_panel_layout(panel.drop(columns=["addresses", "pool_meta"]))
        extra = panel.set_index("series").loc[layout.pools["pool_id"]]
        pools = layout.pools.assign(
            is_active=True,
            token_addresses=_addresses(layout.pools["tokens"], extra["addresses"]),
        )
        confirm = self.confirm_percent or len(panel) < _UNITS_FROM_ROWS
        tables = {
            **checked("pools", pools, request, cleaning),
            **checked("pool_daily", layout.pool_daily, request, cleaning, confirm_percent=confirm),
        }
        meta = extra["pool_meta"].where(extra["pool_meta"].notna(), None)
        tables["pools"] = tables["pools"].assign(pool_meta=meta.to_numpy())
        return Reading(tables, len(rows), cleaning, _assumptions(panel))

    def _refuse_halved(self, n_pools: int, request: Request) -> None:
        before = self.previous_n_pools
        if before is not None and n_pools < LEAST_SHARE * before:
            raise RejectedFeedError(
                f"{n_pools} pools came, {before} were there before: the feed is not used",
                source=SOURCE,
                status=200,
                where=request.where,
                remedy="fetch it again later; if the provider really dropped them, give the new "
                "size as previous_n_pools",
            )


@dataclass(frozen=True)
class PoolHistory:
    """``GET /chart/{pool}``: the days of one pool; table ``pool_daily``.

    Parameters
    ----------
    client : HttpClient
    pool : PoolKey
    base_url : str
    freshness : Freshness
    """

    client: HttpClient
    pool: PoolKey
    base_url: str = YIELDS_URL
    freshness: Freshness = TODAY

    @property
    def name(self) -> str:
        """Provider and route."""
        return f"{SOURCE} chart"

    def fetch(self, span: Span) -> Fetched:
        """The rows of ``span``, one a UTC day, the last reading of each.

        Raises
        ------
        SourceError
            When the provider fails, changed its format, or knows nothing of the pool.
        """
        pool_id = self.pool.pool_id
        request = Request(SOURCE, "chart", joined(self.base_url, "chart", pool_id), pool_id)
        return ask(self.client, request, self._read, span, self.freshness)

    def _read(self, value: Any, span: Span, request: Request) -> Reading:
        rows = records(member(value, "data", request), request)
        cleaning = Cleaning()
        panel = _measures(rows, request, cleaning).assign(
            date=moments_of(rows, "timestamp", request),
            series=self.pool.pool_id,
            project=self.pool.protocol,
            chain=self.pool.chain,
            symbol=self.pool.symbol,
        )
        panel = in_span(panel, span, self.client.clock.utc_now().date(), cleaning)
        silent = panel["apy"].isna() & panel["tvl_usd"].isna()
        cleaning.add("rows without APY and TVL", int(silent.sum()))
        panel = panel[~silent].reset_index(drop=True)
        if panel.empty:
            return Reading({}, len(rows), cleaning)
        layout = read_panel_layout(panel)
        tables = checked("pool_daily", layout.pool_daily, request, cleaning)
        return Reading(tables, len(rows), cleaning, layout.assumptions)


def snapshot_day(span: Span, now: datetime, name: str) -> date:
    """The day that a snapshot taken ``now`` describes, if it is the one asked for.

    Raises
    ------
    MissingDataError
        When it is not: a snapshot of now says nothing about another day.
    """
    recent = {now.date(), (now - AFTER_MIDNIGHT).date()}
    if span.first == span.last and span.first in recent:
        return span.first
    raise MissingDataError(
        f"only serves what is now ({now:%Y-%m-%d %H:%M} UTC), {span} was asked for",
        where=name,
        remedy="ask for today, or read the day from the store if it was kept",
    )


def _measures(rows: Records, request: Request, cleaning: Cleaning) -> pd.DataFrame:
    columns = {"tvl_usd": numbers_of(rows, "tvlUsd", request, cleaning, USD)}
    for name, theirs in _RATES.items():
        columns[name] = numbers_of(rows, theirs, request, cleaning, APY_PCT)
    return pd.DataFrame(columns)


def _panel(rows: Records, request: Request, cleaning: Cleaning) -> pd.DataFrame:
    texts = {name: texts_of(rows, theirs, request) for name, theirs in _IDENTITY.items()}
    return pd.DataFrame(texts, dtype="str").join(_measures(rows, request, cleaning))


def _with_identity(panel: pd.DataFrame, request: Request, cleaning: Cleaning) -> pd.DataFrame:
    """Without the few rows that do not say which pool they are; many of them are a fault."""
    nameless = panel[list(_IDENTITY)].isna().any(axis=1).to_numpy()
    if nameless.mean() > _LARGEST_LOST_SHARE:
        row = int(nameless.argmax())
        field = next(theirs for name, theirs in _IDENTITY.items() if pd.isna(panel[name].iloc[row]))
        raise bad_shape(
            request,
            f"{field} is null, as in {nameless.sum()} of {len(panel)} rows",
            f"row {row + 1}",
        )
    cleaning.add("rows without pool, project, chain or symbol", int(nameless.sum()))
    return panel[~nameless]


def _addresses(tokens: pd.Series[Any], addresses: pd.Series[Any]) -> pd.Series[Any]:
    """Addresses of each pool's tokens, where there is one for each; else none is known."""
    found = [
        tuple(given)
        if isinstance(given, list)
        and len(given) == len(names)
        and all(isinstance(address, str) and address for address in given)
        else ()
        for names, given in zip(tokens, addresses, strict=True)
    ]
    return pd.Series(found, tokens.index, dtype=object)


def _assumptions(panel: pd.DataFrame) -> tuple[str, ...]:
    """What the universe had to be taken for, in counts: there are thousands of symbols."""
    projects = panel["project"].value_counts()
    by_convention = {name: rate_convention(str(name)) for name in projects.index}
    unknown = [name for name, convention in by_convention.items() if convention == "unknown"]
    symbols = panel["symbol"].unique()
    unresolved = sum(resolve_symbol(symbol).found == "unresolved" for symbol in symbols)
    several = int(np.sum([len(resolve_symbol(symbol).tokens) > 1 for symbol in symbols]))
    sentences = (
        (
            len(unknown),
            f"Whether apyBase of {len(unknown)} projects ({projects[unknown].sum()} pools) is APR "
            "or APY is not known; it is taken as APY, the lower reading.",
        ),
        (
            unresolved,
            f"{unresolved} of {len(symbols)} symbols stand for no known token and stay without a "
            "price.",
        ),
        (several, "Addresses of pools with several tokens are taken in the order of the symbol."),
    )
    return tuple(text for count, text in sentences if count)
