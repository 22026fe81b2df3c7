"""What a backtest forecast and decided, day by day, to the last bit; and where two runs differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from stableyield.backtest.day import QuickForecaster
from stableyield.domain.portfolio import WALLET
from stableyield.domain.rates import Floats
from stableyield.forecast import Forecast, Forecaster
from stableyield.market.panel import MarketView

if TYPE_CHECKING:
    import pandas as pd

    from stableyield.backtest.result import BacktestResult

Fact = tuple[str, str]
"""A pool id (empty where it is about no single pool), and what about it."""
Facts = dict[Fact, str]

ABSENT = "absent"
# columns of the daily log that are settled when the decision of the day is made
_DECIDED = (
    *("status", "solver_status", "aum_start", "flow_usd", "aum_after", "total_fees_usd"),
    *("gas_usd", "conversion_usd", "turnover_usd", "daily_forecast_pnl", "n_positions"),
    *("n_token_changes", "allocations_by_token", "allocations_by_pool", "gap_usd"),
)


@dataclass(frozen=True)
class Difference:
    """The first thing that differs between two runs.

    Parameters
    ----------
    day : date
        The exec day.
    pool_id : str
        Empty where it is about no single pool.
    what : str
    first, second : str
        The value in each run, floats to the last bit; ``absent`` where there is none.
    """

    day: date
    pool_id: str
    what: str
    first: str
    second: str


@dataclass(frozen=True, eq=False)
class Answer:
    """One array or value of a forecast.

    Parameters
    ----------
    what : str
    pool_ids : tuple of str
        Empty where the value is about no single pool.
    value : object
        An array or a tuple with one entry a pool, or one value.
    """

    what: str
    pool_ids: tuple[str, ...]
    value: Any

    @property
    def facts(self) -> Facts:
        """The answer by pool."""
        if not self.pool_ids:
            return {("", self.what): _text(self.value)}
        # repr of plain numbers and words, all at once: it is exact
        texts = map(repr, np.asarray(self.value).tolist())
        return {(pool, self.what): text for pool, text in zip(self.pool_ids, texts, strict=True)}


@dataclass
class RecordedForecaster:
    """A forecaster that keeps what the one inside answers."""

    inside: Forecaster
    answers: dict[date, list[Answer]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """That of the forecaster inside."""
        return self.inside.name

    @property
    def model_version(self) -> str:
        """That of the forecaster inside, where it has one."""
        return str(getattr(self.inside, "model_version", ""))

    def forecast(self, view: MarketView, horizon_days: int) -> Forecast:
        """The forecast of the forecaster inside."""
        made = self.inside.forecast(view, horizon_days)
        what = f"forecast {horizon_days} d ahead"
        for item in fields(made):
            self._keep(view, f"{what}, {item.name}", getattr(made, item.name))
        return made

    def _keep(self, view: MarketView, what: str, values: Any) -> None:
        n_pools = len(view.pool_ids)
        is_by_pool = isinstance(values, (np.ndarray, tuple)) and np.shape(values) == (n_pools,)
        answer = Answer(what, view.pool_ids if is_by_pool else (), values)
        self.answers.setdefault(view.day, []).append(answer)


@dataclass
class RecordedQuickForecaster(RecordedForecaster):
    """The same of a forecaster that has parts of its forecast sooner than the whole."""

    def expected(self, view: MarketView, horizon_days: int) -> tuple[Floats, Floats]:
        """The expectation of the forecaster inside."""
        apy_pct, tvl_usd = self._quick.expected(view, horizon_days)
        self._keep(view, f"expected {horizon_days} d ahead, apy_pct", apy_pct)
        self._keep(view, f"expected {horizon_days} d ahead, tvl_usd", tvl_usd)
        return apy_pct, tvl_usd

    def apy_q10_pct(self, view: MarketView, horizon_days: int) -> Floats:
        """The low quantile of the forecaster inside."""
        apy_q10_pct = self._quick.apy_q10_pct(view, horizon_days)
        self._keep(view, f"expected {horizon_days} d ahead, apy_q10_pct", apy_q10_pct)
        return apy_q10_pct

    @property
    def _quick(self) -> QuickForecaster:
        assert isinstance(self.inside, QuickForecaster)  # `recorded` sees to it
        return self.inside


def recorded(forecaster: Forecaster) -> RecordedForecaster:
    """The forecaster with a memory of its answers; as quick as it was."""
    if isinstance(forecaster, QuickForecaster):
        return RecordedQuickForecaster(forecaster)
    return RecordedForecaster(forecaster)


@dataclass(frozen=True, eq=False)
class Decisions:
    """What a run forecast and decided.

    Parameters
    ----------
    answers : mapping of day to what was forecast on it
        In the order in which it was asked for.
    result : BacktestResult
    """

    answers: dict[date, list[Answer]]
    result: BacktestResult

    @cached_property
    def _rows(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """The rows of each table by ISO day."""
        return {
            name: _rows_by_day(getattr(self.result, name))
            for name in ("positions", "transactions", "daily_log")
        }

    def of(self, day: date) -> tuple[Facts, ...]:
        """Everything of a day in groups, what comes first in the day first."""
        book, steps, log = (rows.get(day.isoformat(), []) for rows in self._rows.values())
        answers: Facts = {}
        for answer in self.answers.get(day, ()):
            answers.update(answer.facts)
        pools = {
            (str(row["pool_id"]), f"position, {row['token']}"): repr(row["amount"])
            for row in book
            if row["pool_id"] != WALLET
        }
        wallet = {
            ("", f"wallet, {row['token']}"): repr(row["amount"])
            for row in book
            if row["pool_id"] == WALLET
        }
        transactions = {
            (_pool_of(row), f"transaction {row['seq']}"): _text({**row, "exec_date": None})
            for row in steps
        }
        decided = {("", name): _text(row[name]) for row in log for name in _DECIDED if name in row}
        return answers, pools, wallet, transactions, decided


def first_difference(one: Decisions, other: Decisions, days: Iterable[date]) -> Difference | None:
    """The first thing that two runs forecast or decided differently on any of ``days``."""
    for day in days:
        for first, second in zip(one.of(day), other.of(day), strict=True):
            if first == second:
                continue
            for fact in dict.fromkeys((*first, *second)):
                values = first.get(fact, ABSENT), second.get(fact, ABSENT)
                if values[0] != values[1]:
                    return Difference(day, *fact, *values)
    return None


def _rows_by_day(table: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    days = table["exec_date"].astype(str).str.slice(0, 10)
    return {
        str(day): [{str(name): value for name, value in row.items()} for row in rows]
        for day, rows in (
            (day, found.to_dict("records")) for day, found in table.groupby(days, sort=False)
        )
    }


def _pool_of(transaction: Mapping[str, Any]) -> str:
    """The pool that a transaction is about; empty for a conversion."""
    ends = {str(transaction["from_location"]), str(transaction["to_location"])}
    return min(ends - {WALLET}, default="")


def _text(value: Any) -> str:
    """The value to the last bit: ``repr`` of a float is exact, and NaN is NaN."""
    return repr(value.tolist() if hasattr(value, "tolist") else value)
