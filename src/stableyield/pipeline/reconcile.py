"""What the books say against what was observed: wallets and pools, token by token."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stableyield.domain.portfolio import WALLET, Book, price_of
from stableyield.errors import DataQualityError
from stableyield.pipeline.journal import balances_of_book, book_of
from stableyield.sources.wallet import WARM_WALLET

if TYPE_CHECKING:
    import pandas as pd

Balances = Mapping[tuple[str, str], float]
SHOWN_USD = 0.01  # smaller differences are rounding


@dataclass(frozen=True)
class Difference:
    """One balance that is not what it should be.

    Parameters
    ----------
    location, token : str
    booked, observed : float
        Token units.
    difference_usd : float
        Observed less booked.
    """

    location: str
    token: str
    booked: float
    observed: float
    difference_usd: float

    @property
    def amount(self) -> float:
        """Observed less booked, token units."""
        return self.observed - self.booked

    def __str__(self) -> str:
        return (
            f"{self.token} in {self.location}: booked {self.booked:,.6f}, observed "
            f"{self.observed:,.6f}, {self.difference_usd:+,.2f} USD"
        )


@dataclass(frozen=True)
class Reconciliation:
    """Booked and observed balances side by side.

    Parameters
    ----------
    differences : tuple of Difference
        The largest first.
    n_compared : int
        Balances that were observed.
    unobserved : tuple of (location, token)
        Booked balances that nobody looked at.
    aum_usd : float
        Of the booked book.
    """

    differences: tuple[Difference, ...]
    n_compared: int
    unobserved: tuple[tuple[str, str], ...]
    aum_usd: float

    @property
    def total_usd(self) -> float:
        """Sum of the sizes of all differences."""
        return math.fsum(abs(each.difference_usd) for each in self.differences)

    def amounts(self) -> dict[tuple[str, str], float]:
        """What has to be booked, by (location, token)."""
        return {(each.location, each.token): each.amount for each in self.differences}

    def raise_if_above(self, share: float) -> None:
        """Stop where the differences are too large to be called rounding or accrual.

        Raises
        ------
        DataQualityError
            When they are above ``share`` of the AUM.
        """
        if self.total_usd <= share * self.aum_usd:
            return
        raise DataQualityError(
            f"observed balances differ from the booked ones by {self.total_usd:,.2f} USD of "
            f"{self.aum_usd:,.2f} USD",
            where="reconciliation",
            remedy="book what was brought or taken (stableyield ledger deposit, withdraw), or "
            "raise --max-difference-pct",
            details=tuple(map(str, self.differences[:10])),
        )

    def to_dict(self) -> dict[str, Any]:
        """As the run keeps it."""
        return {
            "n_compared": self.n_compared,
            "n_unobserved": len(self.unobserved),
            "total_usd": self.total_usd,
            "differences": [str(each) for each in self.differences[:20]],
        }


def reconcile(book: Book, observed: Balances, prices_usd: Mapping[str, float]) -> Reconciliation:
    """Compare every balance that was observed.

    A balance that nobody observed is taken as booked: a wallet's provider does not see the pools.

    Raises
    ------
    MissingDataError
        When a token that differs has no price.
    """
    booked = balances_of_book(book)
    differences = []
    for (location, token), amount in sorted(observed.items()):
        off = amount - booked.get((location, token), 0.0)
        if off == 0.0:
            continue
        usd = off * price_of(token, prices_usd, f"observed in {location}")
        if abs(usd) >= SHOWN_USD:
            was = booked.get((location, token), 0.0)
            differences.append(Difference(location, token, was, amount, usd))
    differences.sort(key=lambda each: (-abs(each.difference_usd), each.location, each.token))
    return Reconciliation(
        differences=tuple(differences),
        n_compared=len(observed),
        unobserved=tuple(key for key in booked if key not in observed),
        aum_usd=book.aum_usd(prices_usd),
    )


def observed_book(book: Book, found: Reconciliation) -> Book:
    """The book with the differences booked."""
    balances = balances_of_book(book)
    for each in found.differences:
        balances[each.location, each.token] = each.observed
    return book_of(balances)


def balances_in(table: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Balances by (location, token) of a table with location, token and amount."""
    rows = zip(table["location"], table["token"], table["amount"], strict=True)
    return {
        (WALLET if place == WARM_WALLET else str(place), str(token)): float(amount)
        for place, token, amount in rows
    }
