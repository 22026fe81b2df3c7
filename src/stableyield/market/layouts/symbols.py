"""Which token stands behind the symbol of a pool.

Aggregators write symbols in capitals (``USDE`` for USDe) and name a vault after its curator
(``STEAKUSDC``). The rules are explicit and closed: a symbol that none of them resolves stays its
own token, which has no price, so its pool cannot be bought.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

# What aggregators write, where it is not the token's own spelling.
_SPELLINGS: Mapping[str, str] = MappingProxyType(
    {
        "USDC.E": "USDC.e",
        "USDT.E": "USDT.e",
        "DAI.E": "DAI.e",
        "USDBC": "USDbC",
        "USD₮": "USDT",
        "USD₮0": "USDT0",
        "XDAI": "xDAI",
        "AXLUSDC": "axlUSDC",
        "USDE": "USDe",
        "SUSDE": "sUSDe",
        "SUSDS": "sUSDS",
        "SDAI": "sDAI",
        "SUSD": "sUSD",
        "CRVUSD": "crvUSD",
        "SCRVUSD": "scrvUSD",
        "FRXUSD": "frxUSD",
        "SFRXUSD": "sfrxUSD",
        "STUSD": "stUSD",
        "SFRAX": "sFRAX",
        "DEUSD": "deUSD",
        "SDEUSD": "sdeUSD",
        "XUSD": "xUSD",
        "SYRUPUSDC": "syrupUSDC",
        "CUSDO": "cUSDO",
        "WSTUSR": "wstUSR",
    }
)
_PLAIN = frozenset(
    {
        *("USDC", "USDT", "USDT0", "DAI", "USDS", "FRAX", "GHO", "LUSD", "BUSD", "TUSD", "GUSD"),
        *("USDP", "PYUSD", "FDUSD", "RLUSD", "DOLA", "USDA", "USD0", "USR", "USDM", "USDB"),
        *("EURC", "EURA", "MAI", "MIM", "USDD", "UST", "SAI", "WXDAI", "USD+", "USDZ"),
    }
)
# A curated vault: up to 8 letters, digits or dots of a curator, one of these dollars, and at most
# one of these endings. S before USDS, USDE or DAI is a savings token, not a curator.
_CURATED = re.compile(
    r"^(?P<curator>[A-Z0-9.]{1,8}?)(?P<token>USDC|USDT|PYUSD|CRVUSD|USDA|EURC|DAI)"
    r"(?P<ending>C|F|CORE|PRIME|RWA|LITE|MAX|V2|\+)?$"
)
_NOT_CURATORS = ("PT", "YT", "LP", "STK", "CVX", "S", "SYRUP", "A", "C", "AXL")

Found = Literal["spelling", "curated vault", "pair", "unresolved"]


@dataclass(frozen=True, slots=True)
class ResolvedSymbol:
    """The tokens behind a symbol and the rule that found them."""

    tokens: tuple[str, ...]
    found: Found


def token_named(symbol: str) -> str:
    """The token's own spelling of ``symbol``; itself when no other is known."""
    return _SPELLINGS.get(symbol, symbol)


def resolve_symbol(symbol: str) -> ResolvedSymbol:
    """The tokens behind the symbol of a pool.

    ``USDE`` is USDe, ``STEAKUSDC`` is USDC, ``USDC-USDT`` is a pair, and ``PT-SUSDE-27FEB2025``
    stays what it is.
    """
    if _is_token(symbol):
        return ResolvedSymbol((token_named(symbol),), "spelling")
    parts = re.split(r"[-/]", symbol)
    if len(parts) > 1 and all(map(_is_token, parts)) and len(set(parts)) == len(parts):
        return ResolvedSymbol(tuple(map(token_named, parts)), "pair")
    match = _CURATED.match(symbol)
    if match and match["curator"] not in _NOT_CURATORS:
        return ResolvedSymbol((token_named(match["token"]),), "curated vault")
    return ResolvedSymbol((symbol,), "unresolved")


def _is_token(symbol: str) -> bool:
    return symbol in _PLAIN or symbol in _SPELLINGS or symbol in _SPELLINGS.values()
