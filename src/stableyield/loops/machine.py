"""The loop as a state machine: what to do with a position, from what is known on the day.

::

    flat      --open-->       looped, unlevered
    looped    --switch-->     looped            a better pair, where the gain beats the cost
    looped    --deleverage--> looped            the health factor fell below the least
    looped    --unlever-->    unlevered         the spread stays negative
    looped    --unwind-->     unlevered, flat   the pair became illegal, or has no rates
    unlevered --relever-->    looped            unlevered --switch--> unlevered
    looped, unlevered --close--> flat
    any of them, where the market lacks the cash: stuck

What must happen comes first: a pair that became illegal or has no rates is unwound, a health factor
below the least is taken back, a spread that stays negative takes the leverage off. Only then may a
better pair be moved to, and only when its gain over the expected holding time beats the cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum

from stableyield.domain.rates import DAYS_PER_YEAR
from stableyield.loops.accounting import (
    HeldState,
    LegRates,
    LoopBook,
    MoveCost,
    Target,
    move_cost,
)
from stableyield.loops.candidates import (
    Candidate,
    DayView,
    LoopState,
    Position,
    equity_of,
    held_apr,
    list_candidates,
    loop_candidate,
)
from stableyield.loops.settings import LoopSettings

_LEAST_MOVE_USD = 1.0
_SAME = 1e-9


class LoopAction(StrEnum):
    """What was decided."""

    NONE = "none"
    OPEN = "open"
    HOLD = "hold"
    SWITCH = "switch"
    RELEVER = "relever"
    DELEVERAGE = "deleverage"
    UNLEVER = "unlever"
    UNWIND = "unwind"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, what it costs, and what a reader has to know about it."""

    action: LoopAction
    state: LoopState
    target: Target | None = None
    cost: MoveCost = field(default_factory=MoveCost)
    flags: tuple[str, ...] = ()


def decide(view: DayView, position: Position, settings: LoopSettings) -> Decision:
    """The day's decision for a position; see the module.

    ``position.negative_days`` counts the decision day already.
    """
    if reason := _forced(view, position, settings):
        return _leave(view, position, settings, reason)
    if _has_no_choice(view, position.book, settings):
        return Decision(LoopAction.HOLD, LoopState.UNLEVERED)
    candidates, refusals = list_candidates(view, position, settings)
    return _move_if_better(view, position, settings, candidates, refusals)


def close(view: DayView, position: Position, settings: LoopSettings) -> Decision:
    """Bring everything back into the wallet, as far as the market has the cash."""
    book = position.book
    if not book.is_supplied:
        return Decision(LoopAction.NONE, LoopState.FLAT)
    target = Target(book.asset, is_supplied=False)
    return _as_far_as_cash_goes(view, position, settings, (LoopAction.CLOSE, target, ()))


# --- what must happen -----------------------------------------------------------------------------


def _forced(
    view: DayView, position: Position, settings: LoopSettings
) -> tuple[LoopAction, str] | None:
    """Why a position has to be changed whatever it costs."""
    book = position.book
    if not book.is_supplied:
        return None
    if reason := _illegal(view, position):
        return LoopAction.UNWIND, reason
    if not book.debt_asset:
        return None
    prices = view.pair_prices(book.asset, book.debt_asset)
    threshold = view.terms(book.asset, book.debt_asset, position.opened_on).liquidation_threshold
    health = book.health_factor(prices, threshold)
    if health < settings.min_health_factor:
        return LoopAction.DELEVERAGE, f"health factor {health:.3f}"
    n = settings.unlever_after_days
    if n is not None and position.negative_days >= n:
        return LoopAction.UNLEVER, f"spread negative for {position.negative_days} days"
    return None


def _illegal(view: DayView, position: Position) -> str:
    """Why what is held may not be held on, for a reason other than its size."""
    book = position.book
    if book.asset not in view.assets:
        return f"{book.asset} has no rate or price"
    if not book.debt_asset:
        return ""
    if book.debt_asset not in view.borrowable:
        return f"{book.debt_asset} has no borrow rate or price"
    terms = view.terms(book.asset, book.debt_asset, position.opened_on)
    if terms.ltv <= 0.0:
        return f"{book.asset} is no collateral any more"
    return "" if terms.is_borrowable else f"{book.debt_asset} is not borrowable any more"


def _leave(
    view: DayView, position: Position, settings: LoopSettings, reason: tuple[LoopAction, str]
) -> Decision:
    """Take the leverage off, or take it back to its target; the collateral stays where it may."""
    action, text = reason
    book = position.book
    if action is LoopAction.DELEVERAGE:
        pair = loop_candidate(view, position, settings, (book.asset, book.debt_asset))
        if isinstance(pair, Candidate) and pair.target.leverage < book.leverage(
            view.pair_prices(book.asset, book.debt_asset)
        ):
            return _as_far_as_cash_goes(view, position, settings, (action, pair.target, (text,)))
    can_stay = book.asset in view.assets
    target = Target(book.asset, is_supplied=can_stay)
    return _as_far_as_cash_goes(view, position, settings, (action, target, (text,)))


def _as_far_as_cash_goes(
    view: DayView,
    position: Position,
    settings: LoopSettings,
    wish: tuple[LoopAction, Target, tuple[str, ...]],
) -> Decision:
    """A forced move, or the part of it that the market's cash allows: then it is stuck."""
    action, target, flags = wish
    book = position.book
    prices = view.pair_prices(book.asset, book.debt_asset)
    equity, held_usd = book.equity_usd(prices), book.collateral_usd(prices)
    cash = view.cash_usd.get(book.asset, math.nan)
    needed = held_usd - (target.leverage * equity if target.is_supplied else 0.0)
    stuck = LoopState.STUCK
    if not needed > cash:  # an unknown amount of cash is taken as enough, and flagged by the run
        cost = _cost(view, position, target, settings)
        if cost.total_usd < equity:
            return Decision(action, _state_of(target), target, cost, flags)
        return Decision(LoopAction.HOLD, stuck, None, MoveCost(), (*flags, "cost exceeds equity"))
    flags = (*flags, f"cannot leave: {needed:,.0f} USD needed, {max(cash, 0.0):,.0f} USD of cash")
    repaid = min(max(cash, 0.0), book.debt_usd(prices))
    if repaid < _LEAST_MOVE_USD:
        return Decision(LoopAction.HOLD, stuck, None, MoveCost(), flags)
    size = (held_usd - repaid) / equity
    debt_asset = book.debt_asset if size > 1.0 + _SAME else ""
    part = Target(book.asset, debt_asset, max(size, 1.0), position.rounds)
    cost = _cost(view, position, part, settings)
    if cost.total_usd >= min(equity, repaid):
        return Decision(LoopAction.HOLD, stuck, None, MoveCost(), flags)
    return Decision(action, stuck, part, cost, flags)


# --- what may happen ------------------------------------------------------------------------------


def _has_no_choice(view: DayView, book: LoopBook, settings: LoopSettings) -> bool:
    """Without leverage, in the only coin there is."""
    is_plain = settings.target.leverage == 1.0 and not book.debt_asset
    return is_plain and book.is_supplied and tuple(view.assets) == (book.asset,)


def _move_if_better(
    view: DayView,
    position: Position,
    settings: LoopSettings,
    candidates: list[Candidate],
    refusals: list[str],
) -> Decision:
    """The candidate whose gain over the holding time, less its cost, is largest; or to stay."""
    book, now_apr = position.book, held_apr(view, position)
    equity, years = equity_of(view, position), settings.expected_holding_days / DAYS_PER_YEAR
    best: tuple[float, Candidate, MoveCost] | None = None
    for candidate in candidates:
        if _is_held(candidate.target, book) or not _has_cash_to_move(view, position, candidate):
            continue
        cost = _cost(view, position, candidate.target, settings)
        gain = (candidate.apr - now_apr) * equity * years
        lead = gain - settings.hysteresis * cost.total_usd
        if lead > 0.0 and cost.total_usd < equity and (best is None or lead > best[0]):
            best = lead, candidate, cost
    if best is None:
        said = tuple(refusals) if not book.debt_asset else ()
        action = LoopAction.HOLD if book.is_supplied else LoopAction.NONE
        return Decision(action, _state_of_book(book), None, MoveCost(), said)
    _, candidate, cost = best
    flags = tuple(filter(None, (candidate.flag,)))
    state = _state_of(candidate.target)
    return Decision(_action(book, candidate.target), state, candidate.target, cost, flags)


def _action(book: LoopBook, target: Target) -> LoopAction:
    if not book.is_supplied:
        return LoopAction.OPEN
    if target.debt_asset and not book.debt_asset:
        return LoopAction.RELEVER
    if book.debt_asset and not target.debt_asset:
        return LoopAction.UNLEVER
    return LoopAction.SWITCH


def _has_cash_to_move(view: DayView, position: Position, candidate: Candidate) -> bool:
    """Whether what has to be withdrawn is there; unknown is taken as enough."""
    book, target = position.book, candidate.target
    if not book.is_supplied:
        return True
    prices = view.pair_prices(book.asset, book.debt_asset)
    stays = target.leverage * book.equity_usd(prices) if target.asset == book.asset else 0.0
    needed = book.collateral_usd(prices) - stays
    return not needed > view.cash_usd.get(book.asset, math.nan)


def _is_held(target: Target, book: LoopBook) -> bool:
    """The same pair at another leverage is no reason to trade: only HF and spread are."""
    return (target.asset, target.debt_asset) == (book.asset, book.debt_asset) and book.is_supplied


def _cost(view: DayView, position: Position, target: Target, settings: LoopSettings) -> MoveCost:
    book = position.book
    prices = view.pair_prices(book.asset or target.asset, book.debt_asset)
    held = HeldState(book, prices, position.rounds)
    return move_cost(held, target, settings.costs, view.gas_usd)


def _state_of(target: Target) -> LoopState:
    if not target.is_supplied:
        return LoopState.FLAT
    return LoopState.LOOPED if target.debt_asset else LoopState.UNLEVERED


def _state_of_book(book: LoopBook) -> LoopState:
    return _state_of(Target(book.asset, book.debt_asset, 1.0, is_supplied=book.is_supplied))


def with_spread(position: Position, rates: LegRates | None) -> Position:
    """The position with its count of days with a negative spread, today included."""
    if rates is None or not position.book.debt_asset:
        return replace(position, negative_days=0)
    return replace(
        position, negative_days=position.negative_days + 1 if rates.spread_apr < 0.0 else 0
    )
