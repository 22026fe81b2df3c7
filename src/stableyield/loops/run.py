"""`run_loop_backtest`: the loop's state machine over the history of lending markets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from stableyield.errors import DayOutOfRangeError, MissingDataError
from stableyield.loops.daily_run import DayRecord, run_days
from stableyield.loops.held import run_held
from stableyield.loops.inputs import gas_per_transaction, price_table, rates_said
from stableyield.loops.market_days import Impact, MarketDays
from stableyield.loops.own_impact import kinked_impact
from stableyield.loops.rates import LoopRates, choose_markets
from stableyield.loops.result import LoopResult
from stableyield.loops.risk_table import RiskParameters, RiskTable, shipped_risk_table
from stableyield.loops.run_tables import daily_frame, held_frame, totals_of, transactions_frame
from stableyield.loops.settings import LoopSettings, LoopTarget

_NOT_LISTED = RiskParameters(0.0, 0.0, 0.0, is_collateral=False, is_borrowable=False)


@dataclass(frozen=True, eq=False)
class LoopMarket:
    """What surrounds the rates of a run.

    Parameters
    ----------
    prices : DataFrame, optional
        The ``prices_daily`` table; absent: par, said in the result.
    gas : DataFrame, optional
        The ``gas_daily`` table; not needed where the settings fix the USD of a transaction.
    risk : RiskTable, optional
        Instead of the shipped one.
    """

    prices: pd.DataFrame | None = None
    gas: pd.DataFrame | None = None
    risk: RiskTable | None = None


def run_loop_backtest(
    rates: LoopRates | Iterable[LoopRates],
    settings: LoopSettings | None = None,
    market: LoopMarket | None = None,
    **changes: Any,
) -> LoopResult:
    """Backtest the leveraged lending loop, and the same machine without leverage beside it.

    Each market (protocol on a chain) is a book of its own that starts with the same equity. What
    is decided at the end of a day goes by the rates of that day; it earns what the next day paid.

    Parameters
    ----------
    rates : LoopRates or several
        As `read_loop_rates` gives them.
    settings : LoopSettings, optional
    market : LoopMarket, optional
        Prices, gas and risk parameters.
    **changes
        Fields of `LoopSettings` and of `LoopMarket` to replace: ``equity_usd=...``,
        ``prices=...``.

    Returns
    -------
    LoopResult

    Raises
    ------
    ParameterError
        When a setting is out of bounds or names what the rates do not have.
    MissingDataError
        When no market has a supply and a borrow side, or a price or the gas is unknown.
    DayOutOfRangeError
        When no market has two days within the span.
    """
    names = set(LoopMarket.__dataclass_fields__)
    settings = replace(
        settings or LoopSettings(), **{k: v for k, v in changes.items() if k not in names}
    )
    market = replace(market or LoopMarket(), **{k: v for k, v in changes.items() if k in names})
    every = (rates,) if isinstance(rates, LoopRates) else tuple(rates)
    chosen = choose_markets(
        every,
        chains=settings.chains or None,
        protocols=settings.protocols or None,
        assets=settings.assets or None,
    )
    spans, notes = _spans(chosen, settings)
    _refuse_without_pair(chosen)
    books = {found.name: _books_of(found, rows, settings, market) for found, rows in spans}
    records = {name: book.loop for name, book in books.items()}
    daily = daily_frame(records, chosen)
    return LoopResult(
        daily=daily,
        unlevered=daily_frame({name: book.unlevered for name, book in books.items()}, chosen),
        held=held_frame({name: book.held for name, book in books.items()}),
        transactions=transactions_frame(records),
        totals={name: totals_of(daily[daily["market"] == name]) for name in records},
        settings=settings,
        rates=tuple(_within(found, rows) for found, rows in spans),
        assumptions=tuple(dict.fromkeys(t for book in books.values() for t in book.said)),
        notes=(*notes, *_notes(records, settings, chosen)),
    )


@dataclass(frozen=True, slots=True)
class _Books:
    """A market's days with the loop, without leverage and with each coin kept, and what it said."""

    loop: list[DayRecord]
    unlevered: list[DayRecord]
    held: dict[str, list[DayRecord]]
    said: tuple[str, ...]


def _books_of(found: LoopRates, rows: range, settings: LoopSettings, market: LoopMarket) -> _Books:
    days, said = _market_days(found, settings, market)
    plain = replace(days, settings=replace(settings, target=LoopTarget(leverage=1.0)))
    return _Books(
        loop=list(run_days(days, rows)),
        unlevered=list(run_days(plain, rows)),
        held=dict(run_held(plain, rows)),
        said=(*said, *rates_said(_within(found, rows))),
    )


Span = tuple[LoopRates, range]


def _spans(chosen: Sequence[LoopRates], settings: LoopSettings) -> tuple[list[Span], list[str]]:
    """Decision rows of each market within the settings' days, and markets without any."""
    spans, notes = [], []
    for found in chosen:
        rows = np.arange(found.n_days - 1)
        inside = np.ones(len(rows), dtype=bool)
        if settings.start is not None:
            inside &= found.days[:-1] >= np.datetime64(settings.start)
        if settings.end is not None:
            inside &= found.days[:-1] <= np.datetime64(settings.end)
        if inside.any():
            spans.append((found, range(int(rows[inside][0]), int(rows[inside][-1]) + 1)))
        else:
            notes.append(f"{found.name} has no two days in the span and is left out.")
    if not spans:
        first, last = (f(x.days[k] for x in chosen) for f, k in ((min, 0), (max, -1)))
        raise DayOutOfRangeError(
            f"no market has two days from {settings.start or first} to {settings.end or last}",
            remedy=f"the rates go from {first} to {last}",
        )
    return spans, notes


def _refuse_without_pair(chosen: Sequence[LoopRates]) -> None:
    for found in chosen:
        supply = np.isfinite(found.supply_apr).any(axis=0)
        borrow = np.isfinite(found.borrow_apr).any(axis=0)
        if supply.any() and borrow.any():
            return
    raise MissingDataError(
        "no market has a supply and a borrow side",
        where=", ".join(found.name for found in chosen),
        remedy="a loop borrows: give borrow rates (borrow_apr_pct, apyBaseBorrow) too",
    )


def _market_days(
    found: LoopRates, settings: LoopSettings, market: LoopMarket
) -> tuple[MarketDays, tuple[str, ...]]:
    prices = price_table(found, market.prices)
    gas_usd, gas_said = gas_per_transaction(found, market.gas, settings.costs)
    terms = _Terms(market.risk or shipped_risk_table(), found)
    impact, impact_said = _impact(found, settings)
    days = MarketDays(found, prices, gas_usd, terms, settings, impact)
    return days, (*prices.assumptions, *gas_said, *impact_said, *_assumed(found, terms))


class _Terms:
    """The risk table asked for one market; an asset that it does not know is no collateral."""

    def __init__(self, table: RiskTable, rates: LoopRates) -> None:
        self._table, self._rates = table, rates
        self._known: dict[tuple[date, str, str, date | None], RiskParameters] = {}

    def __call__(
        self, day: date, asset: str, debt_asset: str, opened_on: date | None
    ) -> RiskParameters:
        key = (day, asset, debt_asset, opened_on)
        if key not in self._known:
            self._known[key] = self._ask(*key)
        return self._known[key]

    def _ask(
        self, day: date, asset: str, debt_asset: str, opened_on: date | None
    ) -> RiskParameters:
        pair = self._rates.chain, self._rates.protocol, asset, debt_asset
        try:
            return self._table.risk_on(
                day, *pair, is_open=opened_on is not None, opened_on=opened_on
            )
        except MissingDataError:
            return _NOT_LISTED


def _assumed(found: LoopRates, terms: _Terms) -> list[str]:
    """What the risk parameters of a market rest on."""
    day: date = found.days[-1].item()
    each = {asset: terms(day, asset, asset, None) for asset in found.assets}
    unknown = [asset for asset, row in each.items() if row is _NOT_LISTED]
    doubtful = [asset for asset, row in each.items() if row.is_assumed]
    said = []
    if unknown:
        said.append(
            f"{found.name}: no risk parameters of {', '.join(unknown)}; supplied at most, never "
            "looped."
        )
    if doubtful:
        said.append(
            f"{found.name}: LTV and thresholds of {', '.join(doubtful)} are in part assumed."
        )
    return said


def _impact(found: LoopRates, settings: LoopSettings) -> tuple[Impact | None, tuple[str, ...]]:
    if settings.own_impact == "none":
        return None, (
            "Own size does not move the rates (own_impact none): true for small books only.",
        )
    return kinked_impact(found)


def _within(found: LoopRates, rows: range) -> LoopRates:
    return found.between(found.days[rows[0]].item(), found.days[rows[-1] + 1].item())


def _notes(
    records: dict[str, list[DayRecord]], settings: LoopSettings, chosen: Sequence[LoopRates]
) -> list[str]:
    """Sentences on what happened that no number shows."""
    lone = {found.name for found in chosen if len(found.assets) == 1}
    notes = []
    for name, each in records.items():
        if not any(record.after.debt_asset for record in each):
            why = "as a loop takes two coins" if name in lone else _why_never(each)
            notes.append(f"{name}: never looped, {why}.")
        reduced = [flag for record in each for flag in record.flags if flag.endswith("reduced")]
        if reduced:
            notes.append(f"{name}: the market allowed less than was asked for: {reduced[-1]}.")
        if each[-1].equity_usd <= 0.0 or each[-1].equity_usd < settings.equity_usd * 1e-6:
            notes.append(f"{name}: the equity was gone on {each[-1].target_day}.")
        if each[-1].closing is not None and each[-1].closing.target is None:
            stuck = each[-1].end.is_supplied
            notes += [f"{name}: could not be closed at the end, valued as it stood."] * stuck
    return notes


def _why_never(each: list[DayRecord]) -> str:
    """The obstacle of most days; a day without one had pairs, and none was worth its costs."""
    seen = Counter(record.decision.flags[0] if record.decision.flags else "" for record in each)
    obstacle, n_days = seen.most_common(1)[0]
    if not obstacle:
        return "as no spread was worth its costs"
    return f"for the most frequent reason, on {n_days} days: {obstacle}"
