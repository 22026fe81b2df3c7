"""The outside world: one module a provider behind one small protocol (docs/sources.md).

A source is asked for days and hands on checked tables and every answer, word for word, with its
hash. Keys are arguments; nothing here reads the environment.
"""

from __future__ import annotations

from stableyield.sources.aave import AaveRates, AaveReserve
from stableyield.sources.ask import Freshness
from stableyield.sources.base import Fetched, Provenance, Source, Span
from stableyield.sources.bulk import BulkOutcome, BulkSettings, fetch_all
from stableyield.sources.cache import ReplyCache
from stableyield.sources.candles import CMC_IDS, CandlePrices, candle_ids
from stableyield.sources.clock import Clock, system_clock
from stableyield.sources.defillama import PoolHistory, PoolKey, PoolUniverse
from stableyield.sources.failures import (
    KeyRefusedError,
    PayloadError,
    PaymentRequiredError,
    ProviderError,
    RejectedFeedError,
)
from stableyield.sources.gas import GasOracle, gas_table, read_eth_price_export, read_gas_export
from stableyield.sources.http import HttpClient, HttpSettings
from stableyield.sources.lend_borrow import LendBorrowHistory, LendBorrowSnapshot
from stableyield.sources.prices import COINGECKO_IDS, CoinCloses, StablecoinCloses
from stableyield.sources.retry import RetryPolicy
from stableyield.sources.urls import ProviderUrls
from stableyield.sources.wallet import WalletBalances, read_balances

__all__ = [
    "CMC_IDS",
    "COINGECKO_IDS",
    "AaveRates",
    "AaveReserve",
    "BulkOutcome",
    "BulkSettings",
    "CandlePrices",
    "Clock",
    "CoinCloses",
    "Fetched",
    "Freshness",
    "GasOracle",
    "HttpClient",
    "HttpSettings",
    "KeyRefusedError",
    "LendBorrowHistory",
    "LendBorrowSnapshot",
    "PayloadError",
    "PaymentRequiredError",
    "PoolHistory",
    "PoolKey",
    "PoolUniverse",
    "Provenance",
    "ProviderError",
    "ProviderUrls",
    "RejectedFeedError",
    "ReplyCache",
    "RetryPolicy",
    "Source",
    "Span",
    "StablecoinCloses",
    "WalletBalances",
    "candle_ids",
    "fetch_all",
    "gas_table",
    "read_balances",
    "read_eth_price_export",
    "read_gas_export",
    "system_clock",
]
