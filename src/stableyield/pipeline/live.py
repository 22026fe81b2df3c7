"""The live providers as one source: what a day needs, and no more.

Pools, prices and gas are what a decision needs; without pools or prices there is none. Lending
snapshots, candles and balances are asked for where a key is there; what fails of them is said in
the run's warnings, and the day is decided without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd
from sqlalchemy import Engine, select

from stableyield.config import AllocationParameters, Settings
from stableyield.errors import SourceError
from stableyield.pipeline.ingest import newest_day
from stableyield.pipeline.options import parameters_of_day
from stableyield.sources import (
    COINGECKO_IDS,
    CandlePrices,
    Fetched,
    GasOracle,
    HttpClient,
    LendBorrowSnapshot,
    PoolHistory,
    PoolKey,
    PoolUniverse,
    Provenance,
    ProviderUrls,
    Span,
    StablecoinCloses,
    WalletBalances,
    candle_ids,
    fetch_all,
)
from stableyield.store import reading
from stableyield.store.clock import to_day_number
from stableyield.store.schema import POOL_KEYS, REVISIONS

HISTORY_DAYS = 400
OVERLAP_DAYS = 3  # prices of the last days are asked for again: they may have been corrected
MOST_HISTORIES = 400


@dataclass(frozen=True)
class LiveMarket:
    """DefiLlama, CoinMarketCap and Etherscan, asked for one day.

    Parameters
    ----------
    engine : Engine
        Says what is known already.
    client : HttpClient
    settings : Settings
        Keys and wallet.
    urls : ProviderUrls
    overrides : mapping of str to object
        Parameters of the run: histories are fetched of approved pools only.
    on_progress : callable, optional
        Told the number of histories done, the number in all, and the pool.
    """

    engine: Engine
    client: HttpClient
    settings: Settings
    urls: ProviderUrls
    overrides: Mapping[str, object]
    on_progress: Callable[[int, int, str], None] | None = None

    @property
    def name(self) -> str:
        """For messages and records."""
        return "live providers"

    def fetch(self, span: Span) -> Fetched:
        """Everything for the last day of ``span``, and the history that is not known yet.

        Raises
        ------
        SourceError
            When pools, prices or too many histories cannot be had.
        MissingDataError
            When the day is neither today nor, until 01:00 UTC, yesterday.
        """
        day = span.last
        rows_before = self._rows_on(day - timedelta(days=1))
        universe = PoolUniverse(
            self.client, self.urls.yields, previous_n_pools=len(rows_before) or None
        ).fetch(Span.of(day))
        closes = StablecoinCloses(self.client, base_url=self.urls.stablecoins)
        parts = [
            universe,
            *self._histories(universe, rows_before, day),
            closes.fetch(Span(self._first_price_day(day), day)),
        ]
        notes: list[str] = []
        for name, ask in self._optional(universe, day):
            try:
                parts.append(ask())
            except SourceError as error:
                notes.append(f"{name} was not had: {error.one_line}")
        return together(parts, tuple(notes))

    def _optional(self, universe: Fetched, day: date) -> list[tuple[str, Callable[[], Fetched]]]:
        """What can be done without, by name."""
        client, urls, keys, of_day = self.client, self.urls, self.settings, Span.of(day)
        gas = GasOracle(client, keys.etherscan_key, urls.etherscan)
        lending = LendBorrowSnapshot(client, universe, urls.yields)
        wanted: list[tuple[str, Callable[[], Fetched]]] = [
            ("gas", lambda: gas.fetch(of_day)),
            ("lending snapshot", lambda: lending.fetch(of_day)),
        ]
        if keys.cmc_key is not None:
            candles = CandlePrices(client, keys.cmc_key, candle_ids(own_ids=keys.cmc_ids), urls.cmc)
            days = Span(self._first_price_day(day), day)
            wanted.append(("candles", lambda: candles.fetch(days)))
        if keys.wallet_address is not None:
            tokens = addresses_of(universe.tables["pools"], "Ethereum")
            wallet = WalletBalances(
                client, keys.etherscan_key, keys.wallet_address, tokens, urls.etherscan
            )
            wanted.append(("wallet", lambda: wallet.fetch(of_day)))
        return wanted

    def _histories(
        self, universe: Fetched, rows_before: frozenset[str], day: date
    ) -> list[Fetched]:
        """The past of pools that may be bought and of which yesterday is not known."""
        parameters = parameters_of_day(self.engine, self.overrides)
        pools = wanted_pools(universe, parameters)
        missing = [key for key in pools if key.pool_id not in rows_before][:MOST_HISTORIES]
        if not missing:
            return []
        keys = {key.pool_id: key for key in missing}
        past = Span(day - timedelta(days=HISTORY_DAYS), day - timedelta(days=1))

        def fetch_one(pool_id: str) -> Fetched:
            return PoolHistory(self.client, keys[pool_id], self.urls.yields).fetch(past)

        outcome = fetch_all(list(keys), fetch_one, on_progress=self.on_progress)
        return list(outcome.fetched.values())

    def _rows_on(self, day: date) -> frozenset[str]:
        """Pools with a row on a day."""
        daily = REVISIONS["pool_daily"]
        query = (
            select(POOL_KEYS.c.pool_id)
            .join(daily, daily.c.pool_key == POOL_KEYS.c.pool_key)
            .where(daily.c.date == to_day_number(day), daily.c.superseded_at.is_(None))
        )
        with reading(self.engine, "the pools of yesterday") as connection:
            return frozenset(connection.scalars(query))

    def _first_price_day(self, day: date) -> date:
        """The first day whose prices are asked for."""
        known = newest_day(self.engine, "token_prices_daily")
        if known is None:
            return day - timedelta(days=HISTORY_DAYS)
        return min(day, known) - timedelta(days=OVERLAP_DAYS)


def wanted_pools(universe: Fetched, parameters: AllocationParameters) -> tuple[PoolKey, ...]:
    """Pools that the parameters would let in, as far as the universe tells; the largest first."""
    pools, daily = universe.tables["pools"], universe.tables["pool_daily"]
    chains, protocols = parameters.approved_chains, parameters.approved_protocols
    priced = frozenset(COINGECKO_IDS.values())
    table = pools.merge(daily[["pool_id", "tvl_usd"]], on="pool_id")
    table = table[table["tvl_usd"] >= parameters.pool_tvl_limit]
    if chains:
        table = table[table["chain"].isin(chains)]
    if protocols:
        table = table[table["protocol"].isin(protocols)]
    table = table.sort_values(["tvl_usd", "pool_id"], ascending=[False, True])
    rows = zip(
        *(table[name] for name in ("pool_id", "protocol", "chain", "symbol", "tokens")), strict=True
    )
    return tuple(
        PoolKey(pool_id, protocol, chain, symbol)
        for pool_id, protocol, chain, symbol, tokens in rows
        if tokens and priced.issuperset(tokens)
    )


def addresses_of(pools: pd.DataFrame, chain: str) -> dict[str, str]:
    """Token by address, of the pools of a chain; an address that has two names is left out."""
    found: dict[str, set[str]] = {}
    of_chain = pools[pools["chain"] == chain]
    for tokens, addresses in zip(of_chain["tokens"], of_chain["token_addresses"], strict=True):
        for token, address in zip(tokens, addresses, strict=False):
            found.setdefault(address.lower(), set()).add(token)
    return {address: names.pop() for address, names in sorted(found.items()) if len(names) == 1}


def together(parts: list[Fetched], notes: tuple[str, ...] = ()) -> Fetched:
    """Several answers as one; of two prices of a token and day the later part's counts."""
    tables: dict[str, list[pd.DataFrame]] = {}
    masked: dict[str, int] = {}
    provenance: list[Provenance] = []
    for part in parts:
        for name, frame in part.tables.items():
            tables.setdefault(name, []).append(frame)
        for reason, count in part.masked.items():
            masked[reason] = masked.get(reason, 0) + count
        provenance += part.provenance
    joined = {
        name: frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
        for name, frames in tables.items()
    }
    if "prices_daily" in joined:
        prices = joined["prices_daily"].drop_duplicates(["token", "date"], keep="last")
        joined["prices_daily"] = prices.reset_index(drop=True)
    sentences = dict.fromkeys(each for part in parts for each in part.assumptions)
    return Fetched(joined, tuple(provenance), masked, (), (*sentences, *notes))
