"""What a pool is: identity, tokens, shares and the state it is in for a decision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from stableyield.errors import ContractError


class PoolKind(StrEnum):
    """How a pool earns, as far as it is known."""

    LENDING = "lending"
    VAULT = "vault"
    AMM = "amm"
    UNKNOWN = "unknown"


class PoolState(StrEnum):
    """What a plan may do with a pool today."""

    OPEN = "open"
    WITHDRAW_ONLY = "withdraw_only"  # held, fails a filter: may be kept or reduced
    EXIT = "exit"  # held, must be left completely
    FROZEN = "frozen"  # held, data missing: neither bought nor sold, counts in AUM and limits
    EXCLUDED = "excluded"  # not held and not investable


@dataclass(frozen=True, slots=True)
class Pool:
    """A place that takes one or more tokens and pays yield.

    Parameters
    ----------
    pool_id : str
        Unique identity.
    symbol, chain, protocol : str
        As the source names them.
    tokens : tuple of str
        Token symbols, case-exact, no repeats.
    token_shares : tuple of float, optional
        Share of each token in a deposit; sums to 1. Equal when absent.
    token_addresses : tuple of str, optional
        Contract address of each token, where known: the real identity is (chain, address).
    kind : PoolKind
    listed_from, listed_until : date, optional
        First and last day on which the pool was listed; open-ended when absent.
    is_active : bool
        False: inactive on the *last* day of the data; says nothing about earlier days.

    Raises
    ------
    ContractError
        When the id or the tokens are empty, a token repeats, or the shares do not sum to 1.
    """

    pool_id: str
    symbol: str
    chain: str
    protocol: str
    tokens: tuple[str, ...]
    token_shares: tuple[float, ...] = ()
    token_addresses: tuple[str, ...] = ()
    kind: PoolKind = PoolKind.UNKNOWN
    listed_from: date | None = None
    listed_until: date | None = None
    is_active: bool = True

    def __post_init__(self) -> None:
        if not self.pool_id:
            raise ContractError("a pool has an empty pool_id", remedy="give every pool an id")
        where = f"pool {self.pool_id}"
        if not self.tokens or not all(self.tokens):
            raise ContractError("no tokens", where=where, remedy="name at least one token")
        if len(set(self.tokens)) != len(self.tokens):
            raise ContractError(f"a token repeats in {list(self.tokens)}", where=where)
        if self.token_addresses and len(self.token_addresses) != len(self.tokens):
            raise ContractError("as many token_addresses as tokens are needed", where=where)
        if not self.token_shares:
            object.__setattr__(self, "token_shares", (1.0 / len(self.tokens),) * len(self.tokens))
        if len(self.token_shares) != len(self.tokens):
            raise ContractError("as many token_shares as tokens are needed", where=where)
        if min(self.token_shares) <= 0.0 or abs(sum(self.token_shares) - 1.0) > 1e-9:
            raise ContractError(
                f"token_shares {list(self.token_shares)} must be positive and sum to 1", where=where
            )
