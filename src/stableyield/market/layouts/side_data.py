"""Prices and gas, which aggregator charts and vault histories do not carry.

Traps of ``stablecoin_daily``: the same coin comes from several sources. One is chosen for each
coin, never averaged: one with open, high and low before one with closes only, then the longest,
then the first by name. A row dated D describes day D, whatever its source: aggregator prices are
those at the end of D, exchange candles close at 23:59:59 of D. Days are missing inside a source;
they stay unknown. A market capitalisation of 0 is unknown.

Traps of ``gas_eth_daily``: the first days of the chain have a gas price of 0 and no ETH price;
both are unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from stableyield.market.columns import Origin, to_numbers, to_texts, to_timestamps
from stableyield.market.layouts.tables import need_columns
from stableyield.market.pegged import PAR_USD, may_be_taken_at_par, origin_of

LARGEST_GAP_TO_PAR = 0.05  # a coin last seen further away is not continued at par
_PRICES = {"open": "open_usd", "high": "high_usd", "low": "low_usd", "close": "close_usd"}


@dataclass(frozen=True, eq=False)
class Prices:
    """Prices of the tokens of a market and what was assumed about them."""

    table: pd.DataFrame
    assumptions: tuple[str, ...]


def read_gas(frame: pd.DataFrame) -> pd.DataFrame:
    """The ``gas_daily`` table from date, avg_gas_gwei, eth_usd.

    Raises
    ------
    ContractError
        When a column is missing or cannot be read.
    """
    origin = Origin("gas_eth_daily")
    need_columns(frame, ("date", "avg_gas_gwei", "eth_usd"), origin.file)
    gwei = to_numbers(frame["avg_gas_gwei"], origin)
    eth = to_numbers(frame["eth_usd"], origin)
    return pd.DataFrame(
        {
            "date": to_timestamps(frame["date"], origin),
            "gas_gwei": gwei.where(gwei > 0.0),
            "eth_usd": eth.where(eth > 0.0),
        }
    )


def read_stablecoin_prices(frame: pd.DataFrame) -> pd.DataFrame:
    """The ``prices_daily`` table from date, symbol, open, high, low, close, market_cap, source.

    Raises
    ------
    ContractError
        When a column is missing or cannot be read.
    """
    origin = Origin("stablecoin_daily")
    need_columns(frame, ("date", "symbol", "source", "market_cap", *_PRICES), origin.file)
    numbers = {name: to_numbers(frame[name], origin) for name in (*_PRICES, "market_cap")}
    rows = pd.DataFrame(
        {
            "token": to_texts(frame["symbol"]),
            "date": to_timestamps(frame["date"], origin),
            **{
                _PRICES.get(name, "market_cap_usd"): n.where(n > 0.0) for name, n in numbers.items()
            },
            "source": to_texts(frame["source"]),
        }
    )
    chosen = rows["token"].map(_source_of_each(rows)) == rows["source"]
    observed = rows["close_usd"].notna()
    return rows[chosen & observed].drop(columns="source").reset_index(drop=True)


def prices_of(
    tokens: Sequence[str],
    observed: pd.DataFrame | None,
    first: date,
    last: date,
    *,
    assume_par: bool,
) -> Prices:
    """Prices of ``tokens`` from ``first`` to ``last``.

    A bridged token has its origin's price. With ``assume_par`` a plain dollar coin is taken at
    1 USD after the last day of its source, or on all days when it has none; a coin whose last
    observed price is more than 5 % away from 1 USD is not. Before the first day of a source and
    on days missing inside it the price stays unknown.
    """
    days = pd.date_range(first, last, freq="D", unit="us")
    parts: list[pd.DataFrame] = []
    par_days: dict[str, int] = {}
    for token in sorted(set(tokens)):
        rows = _observed(observed, token)
        parts.append(rows.loc[rows["date"].between(days[0], days[-1])])
        if assume_par and len(missing := _days_at_par(token, rows, days)):
            parts.append(pd.DataFrame({"token": token, "date": missing, "close_usd": PAR_USD}))
            par_days[token] = len(missing)
    filled = [part for part in parts if len(part)]
    table = pd.concat(filled, ignore_index=True) if filled else _observed(None, "")
    return Prices(table, (*_bridged_sentence(tokens, table), *_par_sentence(par_days)))


def _source_of_each(rows: pd.DataFrame) -> dict[str, str]:
    by = rows.groupby(["token", "source"], as_index=False).agg(
        n_lows=("low_usd", "count"), n_days=("close_usd", "count")
    )
    by["has_lows"] = by["n_lows"] > 0
    best = by.sort_values(
        ["token", "has_lows", "n_days", "source"], ascending=[True, False, False, True]
    ).drop_duplicates("token")
    return dict(zip(best["token"], best["source"], strict=True))


def _observed(observed: pd.DataFrame | None, token: str) -> pd.DataFrame:
    """Observed rows of ``token``, or of the token that it is bridged from."""
    if observed is None:
        empty: dict[str, Any] = {
            "token": pd.Series(dtype="str"),
            "date": pd.Series(dtype="datetime64[us]"),
            "close_usd": pd.Series(dtype="float64"),
        }
        return pd.DataFrame(empty)
    own = observed[observed["token"] == token]
    if own.empty:
        own = observed[observed["token"] == origin_of(token)]
    return own.assign(token=token)


def _days_at_par(token: str, rows: pd.DataFrame, days: pd.DatetimeIndex) -> pd.DatetimeIndex:
    if not may_be_taken_at_par(token):
        return days[:0]
    if rows.empty:
        return days
    last_seen = rows.sort_values("date").iloc[-1]
    if abs(last_seen["close_usd"] - PAR_USD) > LARGEST_GAP_TO_PAR:
        return days[:0]
    after: pd.DatetimeIndex = days[days > last_seen["date"]]
    return after


def _bridged_sentence(tokens: Sequence[str], table: pd.DataFrame) -> list[str]:
    priced = set(table["token"])
    pairs = [
        f"{token} as {origin_of(token)}"
        for token in sorted(set(tokens) & priced)
        if origin_of(token) != token
    ]
    return [f"Bridged tokens have the price of their origin: {', '.join(pairs)}."] if pairs else []


def _par_sentence(par_days: dict[str, int]) -> list[str]:
    if not par_days:
        return []
    counts = ", ".join(f"{token} {n}" for token, n in par_days.items())
    return [
        f"Par is assumed: {sum(par_days.values())} token-days after the end of the observed prices "
        f"(or of tokens without any) are taken at {PAR_USD:.2f} USD. Days by token: {counts}."
    ]
