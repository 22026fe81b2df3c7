"""One coin supplied throughout: the plainest alternative to a loop, known best in hindsight only.

The same machine at leverage 1 chases the best rate of each week. That can do worse than to stay
with one coin, so a loop is measured against both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from stableyield.loops.daily_run import DayRecord, run_days
from stableyield.loops.inputs import PriceTable
from stableyield.loops.market_days import MarketDays


def run_held(days: MarketDays, rows: range) -> Iterator[tuple[str, list[DayRecord]]]:
    """Each coin of a market supplied on every day on which that is possible, without leverage.

    It pays the costs of its deposits and withdrawals, moves the rate by its size and bears the
    coin's price, as the loop does. A coin that could never be supplied is left out.

    Parameters
    ----------
    days : MarketDays
        With settings of leverage 1.
    rows : range
        Decision rows.
    """
    for column, asset in enumerate(days.rates.assets):
        alone = replace(
            days,
            rates=days.rates.of_assets((asset,)),
            prices=_of_column(days.prices, column),
        )
        records = list(run_days(alone, rows))
        if any(record.after.is_supplied for record in records):
            yield asset, records


def _of_column(prices: PriceTable, column: int) -> PriceTable:
    own = slice(column, column + 1)
    return replace(
        prices,
        close=prices.close[:, own],
        low=prices.low[:, own],
        is_known=prices.is_known[:, own],
    )
