"""One market from day to day: decide, move, earn, be liquidated, record; money is conserved."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

from stableyield.loops.accounting import (
    Accrual,
    LegRates,
    Liquidation,
    LiquidationTerms,
    LoopBook,
    Part,
    accrue,
    check_conserved,
    liquidate,
    moved,
    reprice_usd,
)
from stableyield.loops.candidates import Position, held_rates
from stableyield.loops.machine import Decision, close, decide, with_spread
from stableyield.loops.market_days import MarketDays

RUINED_USD = 0.01  # equity below a cent is gone


@dataclass(frozen=True, slots=True)
class DayRecord:
    """One step of one market, from the decision at the end of ``day`` to ``target_day``.

    ``before`` is the book before the decision, ``after`` the one after it, ``end`` the one at the
    end of the step; ``closing`` the decision that ends the run.
    """

    day: date
    target_day: date
    decision: Decision
    before: LoopBook
    after: LoopBook
    end: LoopBook
    leverage_before: float
    leverage_after: float
    rates: LegRates
    equity_start_usd: float
    equity_usd: float
    collateral_usd: float
    debt_usd: float
    health_factor: float
    parts: dict[Part, float]
    liquidation: Liquidation
    flags: tuple[str, ...]
    closing: Decision | None = None


@dataclass(frozen=True, slots=True)
class _Step:
    """What a day did to a book: the end of the day, its lowest health factor and its parts."""

    book: LoopBook
    health_factor: float
    parts: dict[Part, float]
    liquidation: Liquidation
    flags: tuple[str, ...] = ()


def run_days(days: MarketDays, rows: range) -> Iterator[DayRecord]:
    """Run a market over decision rows; the last step ends by bringing the money back.

    A market whose equity is gone ends there.

    Raises
    ------
    ConservationError
        When equity does not change by what the step accounts for: a bug.
    """
    position = Position(LoopBook(collateral=days.settings.equity_usd))
    for row in rows:
        record, position = _run_day(days, row, position)
        if row == rows[-1]:
            record = _closed(days, row + 1, record, position)
        yield record
        if record.equity_usd < RUINED_USD:
            return


def _run_day(days: MarketDays, row: int, position: Position) -> tuple[DayRecord, Position]:
    view, before = days.view(row), position.book
    prices = days.pair_prices(row, before)
    start_usd = before.equity_usd(prices)
    position = with_spread(position, held_rates(view, before))
    decision = decide(view, position, days.settings)
    after = before
    if (target := decision.target) is not None:
        pair = view.pair_prices(target.asset, target.debt_asset)
        after = moved(start_usd - decision.cost.total_usd, target, pair)
    rates, stale = days.realised(row, after)
    opened_on = _opened_on(position, after, days.day(row))
    step = _earn(days, row, after, rates, opened_on)
    then = days.pair_prices(row + 1, step.book)
    parts: dict[Part, float] = {"costs": -decision.cost.total_usd, **step.parts}
    end_usd = step.book.equity_usd(then)
    where = f"{days.rates.name} on {days.day(row)}"
    check_conserved(start_usd, end_usd, parts, where)
    record = DayRecord(
        day=days.day(row),
        target_day=days.day(row + 1),
        decision=decision,
        before=before,
        after=after,
        end=step.book,
        leverage_before=before.leverage(prices),
        leverage_after=after.leverage(days.pair_prices(row, after)),
        rates=rates,
        equity_start_usd=start_usd,
        equity_usd=end_usd,
        collateral_usd=step.book.collateral_usd(then),
        debt_usd=step.book.debt_usd(then),
        health_factor=step.health_factor,
        parts=parts,
        liquidation=step.liquidation,
        flags=(*decision.flags, *stale, *step.flags, *_price_flags(days, row + 1, after)),
    )
    return record, _next(position, record, opened_on)


def _opened_on(position: Position, after: LoopBook, day: date) -> date | None:
    """The day on which the pair that is held after the decision was opened; None without debt."""
    if not after.debt_asset:
        return None
    held = position.book
    is_same = (after.asset, after.debt_asset) == (held.asset, held.debt_asset)
    return position.opened_on if is_same else day


def _next(position: Position, record: DayRecord, opened_on: date | None) -> Position:
    """The position that the next day finds; a new pair starts to count its spread anew."""
    target, end = record.decision.target, record.end
    is_same = (end.asset, end.debt_asset) == (position.book.asset, position.book.debt_asset)
    return Position(
        end,
        record.decision.state,
        rounds=position.rounds if target is None else target.rounds,
        negative_days=position.negative_days if is_same else 0,
        opened_on=opened_on if end.debt_asset else None,
    )


def _earn(
    days: MarketDays, row: int, book: LoopBook, rates: LegRates, opened_on: date | None
) -> _Step:
    """Accrue a book to the next row; liquidators call at the day's low, then at its close."""
    now, then = days.pair_prices(row, book), days.pair_prices(row + 1, book)
    low = days.pair_prices(row + 1, book, at_low=True)
    years = days.years(row)
    if not book.debt_asset or not book.is_supplied:
        earned = accrue(book, rates, years, now, then)
        return _Step(earned.book, math.inf, _parts(earned), Liquidation(earned.book))
    terms = days.terms_of(days.day(row), book.asset, book.debt_asset, opened_on)
    call = LiquidationTerms(terms.liquidation_threshold, terms.liquidation_bonus)
    earned = accrue(book, rates, years, now, low)
    at_low = liquidate(earned.book, low, call)
    at_close = liquidate(at_low.book, then, call)
    both = _together(at_low, at_close)
    threshold = call.liquidation_threshold
    health = min(
        earned.book.health_factor(low, threshold), at_low.book.health_factor(then, threshold)
    )
    parts = _parts(earned)
    parts["price"] += reprice_usd(at_low.book, low, then)
    parts["liquidation"] = -both.loss_usd
    parts["shortfall"] = both.shortfall_usd
    return _Step(both.book, health, parts, both, _liquidation_flags(both))


def _together(first: Liquidation, second: Liquidation) -> Liquidation:
    return Liquidation(
        second.book,
        first.n_calls + second.n_calls,
        first.repaid_usd + second.repaid_usd,
        first.seized_usd + second.seized_usd,
        first.shortfall_usd + second.shortfall_usd,
    )


def _parts(earned: Accrual) -> dict[Part, float]:
    return {
        "supply": earned.supply_usd,
        "borrow": -earned.borrow_usd,
        "reward": earned.reward_usd,
        "price": earned.price_usd,
    }


def _liquidation_flags(call: Liquidation) -> tuple[str, ...]:
    if not call.n_calls:
        return ()
    said = (
        f"liquidated: {call.repaid_usd:,.0f} USD repaid, {call.seized_usd:,.0f} USD of collateral "
        "taken",
    )
    if call.shortfall_usd > RUINED_USD:
        return (*said, f"bad debt: {call.shortfall_usd:,.0f} USD not covered, equity is 0")
    return said


def _price_flags(days: MarketDays, row: int, book: LoopBook) -> tuple[str, ...]:
    legs = [asset for asset in (book.asset, book.debt_asset) if asset]
    return tuple(
        f"{asset}: no price that day, the last one is used"
        for asset in legs
        if not days.prices.is_known[row, days.rates.column_of(asset)]
    )


def _closed(days: MarketDays, row: int, record: DayRecord, position: Position) -> DayRecord:
    """The last record with the costs of bringing the money back at the end of its step."""
    if record.equity_usd < RUINED_USD:
        return record
    decision = close(days.view(row), position, days.settings)
    if (target := decision.target) is None:
        return replace(record, flags=(*record.flags, *decision.flags), closing=decision)
    pair = days.view(row).pair_prices(target.asset, target.debt_asset)
    end_usd = record.equity_usd - decision.cost.total_usd
    book = moved(end_usd, target, pair)
    parts: dict[Part, float] = {
        **record.parts,
        "costs": record.parts["costs"] - decision.cost.total_usd,
    }
    check_conserved(record.equity_start_usd, end_usd, parts, f"closing {days.rates.name}")
    return replace(
        record,
        end=book,
        equity_usd=end_usd,
        collateral_usd=book.collateral_usd(pair),
        debt_usd=book.debt_usd(pair),
        parts=parts,
        flags=(*record.flags, *decision.flags),
        closing=decision,
    )
