"""What a market offers on a day: the places for the money, their size and their quoted rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from stableyield.loops.accounting import LegRates, LoopBook, Prices, Target
from stableyield.loops.formulas import net_apr
from stableyield.loops.risk_table import RiskParameters
from stableyield.loops.settings import LoopSettings

_SAME = 1e-9


class LoopState(StrEnum):
    """Where a position stands after the day's decision."""

    FLAT = "flat"
    LOOPED = "looped"
    UNLEVERED = "unlevered"
    STUCK = "stuck"


@dataclass(frozen=True)
class DayView:
    """What is known of a market at the end of the decision day.

    Parameters
    ----------
    assets : sequence of str
        Those with a rate and a price today.
    borrowable : frozenset of str
        Those with a borrow rate too.
    rates : callable
        ``rates(asset, debt_asset, supplied_usd, borrowed_usd)``: rates of both legs with a
        position of this size; rewards after the haircut.
    terms : callable
        ``terms(asset, debt_asset, opened_on)``: what the market allows to a position that was
        opened on that day; to a new one where it is None.
    cash_usd, supplied_usd, borrowed_usd : mapping of asset to float
        Withdrawable cash, deposits and debt of the market; NaN where unknown.
    prices : mapping of asset to float
    gas_usd : float
        Of one plain transaction.
    """

    assets: Sequence[str]
    borrowable: frozenset[str]
    rates: Callable[[str, str, float, float], LegRates]
    terms: Callable[[str, str, date | None], RiskParameters]
    cash_usd: Mapping[str, float]
    prices: Mapping[str, float]
    gas_usd: float
    supplied_usd: Mapping[str, float] = field(default_factory=dict)
    borrowed_usd: Mapping[str, float] = field(default_factory=dict)

    def pair_prices(self, asset: str, debt_asset: str) -> Prices:
        """Prices of a pair; of no debt, 1."""
        return Prices(self.prices[asset], self.prices[debt_asset] if debt_asset else 1.0)


@dataclass(frozen=True, slots=True)
class Position:
    """A book, how and on which day its pair was built, and how long its spread is negative."""

    book: LoopBook
    state: LoopState = LoopState.FLAT
    rounds: int = 0
    negative_days: int = 0
    opened_on: date | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place for the money and the rate on equity that it is quoted to pay."""

    target: Target
    apr: float
    flag: str = ""


def list_candidates(
    view: DayView, position: Position, settings: LoopSettings
) -> tuple[list[Candidate], list[str]]:
    """Every place that is allowed today, the best first; without any pair, why each was refused."""
    equity = equity_of(view, position)
    found = [
        Candidate(Target(asset), view.rates(asset, "", equity, 0.0).spread_apr)
        for asset in view.assets
        if not _is_over_supply_cap(view, asset, asset, equity)
    ]
    refusals: list[str] = []
    has_pair = False
    for pair in _pairs(view) if settings.target.leverage != 1.0 else ():
        candidate = loop_candidate(view, position, settings, pair)
        if isinstance(candidate, Candidate):
            found.append(candidate)
        elif candidate:
            refusals.append(candidate)
        has_pair |= pair[0] != pair[1] and not (isinstance(candidate, str) and candidate)
    found.sort(key=lambda c: (-c.apr, c.target.leverage, c.target.asset, c.target.debt_asset))
    return found, [] if has_pair else refusals


def _pairs(view: DayView) -> Iterator[tuple[str, str]]:
    for asset in view.assets:
        for debt_asset in view.assets:
            if debt_asset in view.borrowable:
                yield asset, debt_asset


def loop_candidate(
    view: DayView, position: Position, settings: LoopSettings, pair: tuple[str, str]
) -> Candidate | str:
    """A pair at the leverage that it may have today, or why it may not be looped.

    An empty text: there is nothing to say, as leverage is not wanted or does not pay.
    """
    asset, debt_asset = pair
    if asset == debt_asset and not _has_rewards(view, asset):
        return ""
    terms, names = view.terms(asset, debt_asset, None), f"{asset}/{debt_asset}"
    if terms.ltv <= 0.0 or not terms.is_borrowable:
        return f"{names}: {'no collateral' if terms.ltv <= 0.0 else 'not borrowable'}"
    size, flag = _size(settings, terms, names)
    if size <= 1.0 + _SAME:
        return flag
    equity = equity_of(view, position)
    supply_usd, debt_usd = size * equity, (size - 1.0) * equity
    is_held = (position.book.asset, position.book.debt_asset) == pair
    if not is_held and (reason := _no_room(view, pair, supply_usd, debt_usd)):
        return f"{names}: {reason}"
    rates = view.rates(asset, debt_asset, supply_usd, debt_usd)
    if not (is_held or _may_pay(pair, rates, settings)):
        return ""
    rounds = settings.target.rounds_by_hand(size, settings.target.drawn_ltv(terms.ltv))
    return Candidate(Target(asset, debt_asset, size, rounds), equity_apr(rates, size), flag)


def equity_apr(rates: LegRates, leverage: float) -> float:
    """Rate on equity of a position at these rates, see `formulas.net_apr`."""
    return net_apr(
        leverage,
        rates.supply_apr,
        rates.borrow_apr,
        rates.supply_reward_apr,
        rates.borrow_reward_apr,
    )


def _has_rewards(view: DayView, asset: str) -> bool:
    """Borrowing what is supplied pays only by rewards: interest alone always costs."""
    rates = view.rates(asset, asset, 0.0, 0.0)
    return rates.supply_reward_apr + rates.borrow_reward_apr > 0.0


def _may_pay(pair: tuple[str, str], rates: LegRates, settings: LoopSettings) -> bool:
    """Whether borrowing earns anything; the same asset on both sides has to, always."""
    may_cost = settings.unlever_after_days is None and pair[0] != pair[1]
    return may_cost or rates.spread_apr > 0.0


def _size(settings: LoopSettings, terms: RiskParameters, names: str) -> tuple[float, str]:
    """Leverage that a pair may have, and what to say where that is not what was asked for."""
    threshold, least = terms.liquidation_threshold, settings.min_health_factor
    wanted = settings.target.size(threshold)
    allowed = min(
        settings.target.size_within(terms.ltv, threshold),
        least / (least - threshold) if least > threshold else math.inf,
    )
    if allowed >= wanted - _SAME:
        return wanted, ""
    what = f"{names}: leverage {wanted:.2f} is above the {allowed:.2f} of LTV {terms.ltv:g}"
    if settings.over_limit == "refuse":
        return 1.0, f"{what}, refused"
    return allowed, f"{what}, reduced"


def _no_room(view: DayView, pair: tuple[str, str], supply_usd: float, debt_usd: float) -> str:
    """Why a market has no room for a position; comparisons with an unknown amount are false."""
    asset, debt_asset = pair
    if view.cash_usd.get(debt_asset, math.nan) < debt_usd:
        return "too little cash to borrow"
    if _is_over_supply_cap(view, asset, debt_asset, supply_usd):
        return "supply cap"
    cap_usd = view.terms(asset, debt_asset, None).borrow_cap * view.prices[debt_asset]
    return "borrow cap" if view.borrowed_usd.get(debt_asset, math.nan) + debt_usd > cap_usd else ""


def _is_over_supply_cap(view: DayView, asset: str, debt_asset: str, supply_usd: float) -> bool:
    cap_usd = view.terms(asset, debt_asset, None).supply_cap * view.prices[asset]
    return view.supplied_usd.get(asset, math.nan) + supply_usd > cap_usd


def held_rates(view: DayView, book: LoopBook) -> LegRates | None:
    """Rates of a supplied position today; nothing where they are unknown."""
    if not book.is_supplied or book.asset not in view.assets:
        return None
    if book.debt_asset and book.debt_asset not in view.borrowable:
        return None
    prices = view.pair_prices(book.asset, book.debt_asset)
    sizes = book.collateral_usd(prices), book.debt_usd(prices)
    return view.rates(book.asset, book.debt_asset, *sizes)


def held_apr(view: DayView, position: Position) -> float:
    """Rate on equity of what is held; 0 in the wallet."""
    book = position.book
    rates = held_rates(view, book)
    if rates is None:
        return 0.0
    size = book.leverage(view.pair_prices(book.asset, book.debt_asset)) if book.debt_asset else 1.0
    return equity_apr(rates, max(size, 1.0))


def equity_of(view: DayView, position: Position) -> float:
    """Equity of a position at today's prices, USD."""
    book = position.book
    return book.equity_usd(view.pair_prices(book.asset, book.debt_asset))
