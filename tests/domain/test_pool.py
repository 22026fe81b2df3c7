"""A pool says what it takes, or is refused."""

from __future__ import annotations

import pytest

from stableyield.domain.pool import Pool
from stableyield.errors import ContractError


def test_shares_are_equal_unless_they_are_given() -> None:
    assert Pool("a", "A", "Ethereum", "curve", ("DAI", "USDC")).token_shares == (0.5, 0.5)
    given = Pool("a", "A", "Ethereum", "curve", ("DAI", "USDC"), token_shares=(0.3, 0.7))
    assert given.token_shares == (0.3, 0.7)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pool_id": ""}, "empty pool_id"),
        ({"tokens": ()}, "no tokens"),
        ({"tokens": ("DAI", "")}, "no tokens"),
        ({"tokens": ("DAI", "DAI")}, "repeats"),
        ({"token_shares": (1.0,)}, "as many token_shares"),
        ({"token_shares": (0.5, 0.6)}, "sum to 1"),
        ({"token_shares": (1.0, 0.0)}, "positive"),
        ({"token_addresses": ("0x1",)}, "token_addresses"),
    ],
)
def test_a_pool_that_makes_no_sense_is_refused(fields: dict[str, object], message: str) -> None:
    whole: dict[str, object] = {
        "pool_id": "a",
        "symbol": "DAI-USDC",
        "chain": "Ethereum",
        "protocol": "curve",
        "tokens": ("DAI", "USDC"),
    }
    with pytest.raises(ContractError, match=message):
        Pool(**{**whole, **fields})
