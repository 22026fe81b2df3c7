"""The books of a loop: accrual, moves and their costs, liquidation; every step accounts for itself.

A position holds units of one collateral token and owes units of one debt token. Each verb returns
the new book and the parts of the change in USD, so that equity after is equity before plus the
parts, to rounding: nothing is plugged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from stableyield.errors import ConservationError
from stableyield.loops.settings import LoopCosts

RELATIVE_TOLERANCE = 1e-9
# Aave v3.3: half of the debt per call while the health factor is above 0.95 and both sides are
# large, all of it below (LiquidationLogic: CLOSE_FACTOR_HF_THRESHOLD, MIN_BASE_MAX_CLOSE_FACTOR)
FULL_CLOSE_HEALTH_FACTOR = 0.95
FULL_CLOSE_BELOW_USD = 2_000.0
_MOST_CALLS = 60
_DUST = 1e-12  # share of the debt below which it counts as repaid


@dataclass(frozen=True, slots=True)
class Prices:
    """USD per token of the collateral and of the debt."""

    collateral: float = 1.0
    debt: float = 1.0


@dataclass(frozen=True, slots=True)
class LegRates:
    """Rates of a position: APR as fractions per year, rewards after the haircut."""

    supply_apr: float
    borrow_apr: float = 0.0
    supply_reward_apr: float = 0.0
    borrow_reward_apr: float = 0.0

    @property
    def spread_apr(self) -> float:
        """What a borrowed dollar earns: supply less borrow, rewards of both included."""
        return self.supply_apr + self.supply_reward_apr - self.borrow_apr + self.borrow_reward_apr


@dataclass(frozen=True, slots=True)
class LoopBook:
    """A position: token units of collateral and debt, and which tokens they are.

    Parameters
    ----------
    asset, debt_asset : str
        Empty where there is none.
    collateral, debt : float
        Token units, not negative.
    is_supplied : bool
        False: the collateral lies in the wallet and earns nothing.
    """

    asset: str = ""
    collateral: float = 0.0
    debt_asset: str = ""
    debt: float = 0.0
    is_supplied: bool = False

    def collateral_usd(self, prices: Prices) -> float:
        """Value of the collateral."""
        return self.collateral * prices.collateral

    def debt_usd(self, prices: Prices) -> float:
        """Value of the debt."""
        return self.debt * prices.debt

    def equity_usd(self, prices: Prices) -> float:
        """Collateral less debt."""
        return self.collateral_usd(prices) - self.debt_usd(prices)

    def leverage(self, prices: Prices) -> float:
        """Collateral over equity; NaN without equity."""
        equity = self.equity_usd(prices)
        return self.collateral_usd(prices) / equity if equity > 0.0 else math.nan

    def health_factor(self, prices: Prices, liquidation_threshold: float) -> float:
        """``C p LT / (D q)``; infinite without debt."""
        debt = self.debt_usd(prices)
        if debt <= 0.0:
            return math.inf
        return self.collateral_usd(prices) * liquidation_threshold / debt


# --- a day ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accrual:
    """A book one step later, and what the step earned, in USD.

    Parameters
    ----------
    book : LoopBook
    supply_usd, borrow_usd, reward_usd : float
        Interest received and owed, and rewards, at the prices before the step.
    price_usd : float
        Effect of the prices' change on both sides.
    """

    book: LoopBook
    supply_usd: float
    borrow_usd: float
    reward_usd: float
    price_usd: float


def accrue(book: LoopBook, rates: LegRates, years: float, now: Prices, then: Prices) -> Accrual:
    """Carry a book over ``years``: ``C *= exp(s dt)``, ``D *= exp(b dt)``, rewards, new prices.

    Rewards come in other tokens and are sold into the collateral at the prices before the step.
    """
    if not book.is_supplied:
        change = book.collateral * (then.collateral - now.collateral)
        return Accrual(book, 0.0, 0.0, 0.0, change)
    interest = book.collateral * math.expm1(rates.supply_apr * years)
    owed = book.debt * math.expm1(rates.borrow_apr * years)
    reward_usd = book.collateral_usd(now) * math.expm1(rates.supply_reward_apr * years)
    reward_usd += book.debt_usd(now) * math.expm1(rates.borrow_reward_apr * years)
    collateral = book.collateral + interest + reward_usd / now.collateral
    debt = book.debt + owed
    price_usd = collateral * (then.collateral - now.collateral) - debt * (then.debt - now.debt)
    return Accrual(
        replace(book, collateral=collateral, debt=debt),
        supply_usd=interest * now.collateral,
        borrow_usd=owed * now.debt,
        reward_usd=reward_usd,
        price_usd=price_usd,
    )


def reprice_usd(book: LoopBook, now: Prices, then: Prices) -> float:
    """Change of equity when only prices change."""
    return book.equity_usd(then) - book.equity_usd(now)


# --- moves ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """What a position shall be: tokens, leverage, and whether it earns at all.

    Parameters
    ----------
    asset, debt_asset : str
        ``debt_asset`` is empty without leverage.
    leverage : float
        Collateral over equity, at least 1.
    rounds : int
        Re-supplies that lead there by hand.
    is_supplied : bool
    """

    asset: str
    debt_asset: str = ""
    leverage: float = 1.0
    rounds: int = 0
    is_supplied: bool = True


@dataclass(frozen=True, slots=True)
class MoveCost:
    """What a move costs and how much it trades, in USD."""

    n_transactions: int = 0
    gas_usd: float = 0.0
    swap_usd: float = 0.0
    flash_usd: float = 0.0
    turnover_usd: float = 0.0

    @property
    def total_usd(self) -> float:
        """Gas, swap costs and flash-loan premium."""
        return self.gas_usd + self.swap_usd + self.flash_usd


@dataclass(frozen=True, slots=True)
class HeldState:
    """A book as the cost of a move sees it.

    Parameters
    ----------
    book : LoopBook
    prices : Prices
    rounds : int
        With which it was built by hand.
    """

    book: LoopBook
    prices: Prices
    rounds: int = 0


def move_cost(held: HeldState, target: Target, costs: LoopCosts, gas_usd: float) -> MoveCost:
    """Cost of moving a book to a target, on the equity before the move.

    A flash loan changes only what differs: the swapped volume is what must be bought. By hand a
    position of another pair is taken down and built again. A full rebuild swaps ``2 (L - 1)`` of
    equity (design of the loops room; Aave's flash-loan premium is 5 basis points).

    Parameters
    ----------
    gas_usd : float
        USD of one transaction; one through a flash loan counts `LoopCosts.flash_gas_multiple`
        times.
    """
    book, equity = held.book, held.book.equity_usd(held.prices)
    has_debt = bool(book.debt_asset) or bool(target.debt_asset)
    if costs.execution == "flash_loan" and has_debt:
        swapped = _bought(held, target)
        lent = max(swapped, abs((target.leverage - 1.0) * equity - book.debt_usd(held.prices)))
        n = 2 if target.debt_asset and not book.debt_asset else 1
        gas = gas_usd * (n - 1 + costs.flash_gas_multiple)
        return MoveCost(n, gas, swapped * costs.swap, lent * costs.flash_premium, swapped)
    n, swapped = _by_hand(held, target, equity)
    return MoveCost(n, gas_usd * n, swapped * costs.swap, 0.0, swapped)


def _bought(held: HeldState, target: Target) -> float:
    """USD of tokens that must be bought to get from one set of holdings to another."""
    book, equity = held.book, held.book.equity_usd(held.prices)
    change: dict[str, float] = {}
    for asset, usd in (
        (book.asset or target.asset, -book.collateral_usd(held.prices)),
        (book.debt_asset, book.debt_usd(held.prices)),
        (target.asset, target.leverage * equity),
        (target.debt_asset, -(target.leverage - 1.0) * equity),
    ):
        change[asset] = change.get(asset, 0.0) + usd
    return math.fsum(usd for usd in change.values() if usd > 0.0)


def _by_hand(held: HeldState, target: Target, equity: float) -> tuple[int, float]:
    """Transactions and swapped USD of a move without a flash loan.

    A plain deposit or withdrawal is one transaction, a round three (borrow, swap, supply), and
    taking a round down three (withdraw, swap, repay).
    """
    book = held.book
    debt = book.debt_usd(held.prices)
    drawn = (target.leverage - 1.0) * equity
    same_asset = book.asset in {"", target.asset}
    same_pair = same_asset and book.debt_asset == target.debt_asset and book.debt_asset
    if same_pair:  # only the leverage changes
        needs_swap = book.asset != book.debt_asset
        return 3 * max(held.rounds, target.rounds, 1), abs(drawn - debt) * needs_swap
    n = 3 * max(held.rounds, 1) * bool(book.debt_asset) + 3 * target.rounds
    swapped = debt * (book.asset != book.debt_asset) + drawn * (target.asset != target.debt_asset)
    if not same_asset:
        n, swapped = n + 1, swapped + equity
    leaves = book.is_supplied and (not same_asset or not target.is_supplied)
    enters = target.is_supplied and (not same_asset or not book.is_supplied)
    return n + leaves + enters, swapped


def moved(equity_usd: float, target: Target, prices: Prices) -> LoopBook:
    """The target's book on an equity, at prices of the target's tokens."""
    debt = (target.leverage - 1.0) * equity_usd / prices.debt if target.debt_asset else 0.0
    return LoopBook(
        asset=target.asset,
        collateral=target.leverage * equity_usd / prices.collateral,
        debt_asset=target.debt_asset,
        debt=debt,
        is_supplied=target.is_supplied,
    )


# --- liquidation ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LiquidationTerms:
    """Fractions: the threshold of the health factor, and the liquidator's bonus."""

    liquidation_threshold: float
    liquidation_bonus: float


@dataclass(frozen=True, slots=True)
class Liquidation:
    """A book after liquidators have called, and what they took, in USD.

    Parameters
    ----------
    book : LoopBook
    n_calls : int
        0: the health factor was at least 1.
    repaid_usd, seized_usd : float
        Debt they repaid and collateral they took.
    shortfall_usd : float
        Bad debt: what no collateral covered. The lenders bear it; our equity ends at 0.
    """

    book: LoopBook
    n_calls: int = 0
    repaid_usd: float = 0.0
    seized_usd: float = 0.0
    shortfall_usd: float = 0.0

    @property
    def loss_usd(self) -> float:
        """What liquidators took beyond what they repaid."""
        return self.seized_usd - self.repaid_usd


def liquidate(book: LoopBook, prices: Prices, terms: LiquidationTerms) -> Liquidation:
    """Let liquidators call until the health factor is 1 or nothing is left.

    A call repays half of the debt while the health factor is above 0.95 and both sides are worth
    2,000 USD or more, else all of it, and seizes that value and the bonus, or all collateral.
    """
    start, n_calls, repaid_usd, seized_usd = book.debt, 0, 0.0, 0.0
    while book.debt > _DUST * start and n_calls < _MOST_CALLS:
        health = book.health_factor(prices, terms.liquidation_threshold)
        if health >= 1.0:
            break
        collateral, debt = book.collateral_usd(prices), book.debt_usd(prices)
        is_half = health > FULL_CLOSE_HEALTH_FACTOR and min(collateral, debt) >= (
            FULL_CLOSE_BELOW_USD
        )
        repaid = (0.5 if is_half else 1.0) * debt
        seized = repaid * (1.0 + terms.liquidation_bonus)
        if seized > collateral:
            repaid, seized = collateral / (1.0 + terms.liquidation_bonus), collateral
        is_all = seized >= collateral
        book = replace(
            book,
            collateral=0.0 if is_all else book.collateral - seized / prices.collateral,
            debt=book.debt - repaid / prices.debt,
        )
        n_calls, repaid_usd, seized_usd = n_calls + 1, repaid_usd + repaid, seized_usd + seized
        if is_all:
            break
    if n_calls and (book.collateral == 0.0 or book.debt <= _DUST * start):
        shortfall = book.debt_usd(prices)
        book = replace(book, debt_asset="", debt=0.0)
        return Liquidation(book, n_calls, repaid_usd, seized_usd, shortfall)
    return Liquidation(book, n_calls, repaid_usd, seized_usd)


Part = Literal["costs", "supply", "borrow", "reward", "price", "liquidation", "shortfall"]


def check_conserved(start_usd: float, end_usd: float, parts: dict[Part, float], where: str) -> None:
    """Equity after is equity before plus the parts, to 1e-9 of the larger side of the book.

    Raises
    ------
    ConservationError
        When it is not: a bug.
    """
    expected = math.fsum((start_usd, *parts.values()))
    scale = max(abs(start_usd), abs(end_usd), 1e-6)
    if abs(expected - end_usd) > RELATIVE_TOLERANCE * scale:
        raise ConservationError(
            f"equity is {end_usd!r} USD, its parts add up to {expected!r} USD",
            where=where,
            remedy="report this as a bug",
            details=tuple(f"{name}: {usd!r}" for name, usd in parts.items()),
        )
