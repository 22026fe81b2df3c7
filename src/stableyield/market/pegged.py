"""Which tokens may be taken at par when the caller asks for it, and which bridged tokens are what.

Both tables are closed lists: a token that is not in them has no price until one is observed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

PAR_USD = 1.0

# Dollar coins that are meant to trade at 1 USD and do not pay yield by themselves. Left out on
# purpose: savings and yield-bearing tokens (sDAI, sUSDe, sUSDS, stUSD, xUSD, USD0++), rebasing
# tokens that pay yield into the balance (USDM, USDB, USD+), coins that have traded far from 1 USD
# (MIM, MAI, UST, USDN, HUSD, USDD), symbols shared by several issuers (eUSD), other currencies.
PEGGED_TO_USD = frozenset(
    {
        "USDC",
        "USDT",
        "DAI",
        "USDS",
        "FRAX",
        "frxUSD",
        "GHO",
        "LUSD",
        "BUSD",
        "TUSD",
        "GUSD",
        "USDP",
        "PYUSD",
        "FDUSD",
        "RLUSD",
        "crvUSD",
        "sUSD",
        "USDe",
        "DOLA",
        "USDA",
        "USD0",
        "USR",
        "USDz",
    }
)

# The same dollar behind a bridge or wrapper: priced as its origin.
ORIGIN_OF: Mapping[str, str] = MappingProxyType(
    {
        "USDC.e": "USDC",
        "USDbC": "USDC",
        "axlUSDC": "USDC",
        "USDT.e": "USDT",
        "USDT0": "USDT",
        "DAI.e": "DAI",
        "xDAI": "DAI",
        "WXDAI": "DAI",
    }
)


def origin_of(token: str) -> str:
    """The token whose price ``token`` has: its origin if it is bridged, else itself."""
    return ORIGIN_OF.get(token, token)


def may_be_taken_at_par(token: str) -> bool:
    """Whether ``token`` is a plain dollar coin, bridged or not."""
    return origin_of(token) in PEGGED_TO_USD
