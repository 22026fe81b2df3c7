"""Supply and borrow history of lending markets (``lend_borrow_daily``).

Traps of this source:

* Rates are APR, in percent. ``supply_apr_pct`` is the mean of a day's readings, ``_last_`` the
  last one. The last is what is known at the end of the day: it becomes ``apy_pct``. The mean is
  what the day paid: it becomes ``return_1d``.
* ``n_fresh = 0`` is a day without a reading, carried over from the day before: made unknown.
* ``available_usd`` (supplied - borrowed) is negative now and then: a glitch, made unknown.
* Sparse markets have rows on some days only, and some have no borrow rate. Nothing is filled.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from stableyield.domain.pool import PoolKind
from stableyield.domain.rates import apr_to_apy, day_return
from stableyield.market.columns import Origin, to_numbers, to_texts, to_timestamps
from stableyield.market.layouts.symbols import token_named
from stableyield.market.layouts.tables import LayoutTables, need_columns

_TEXTS = ("market_id", "protocol", "chain", "symbol")
_NUMBERS = (
    "supplied_usd",
    "borrowed_usd",
    "supply_apr_pct",
    "borrow_apr_pct",
    "supply_apr_last_pct",
    "available_usd",
    "n_fresh",
)


def read_lend_borrow_layout(daily: pd.DataFrame) -> LayoutTables:
    """The supply side of each market as a pool, and the lend/borrow table; see the module.

    Parameters
    ----------
    daily : DataFrame
        market_id, protocol, chain, symbol, date, supplied_usd, borrowed_usd, supply_apr_pct,
        borrow_apr_pct, supply_apr_last_pct, available_usd, n_fresh.

    Raises
    ------
    ContractError
        When a column is missing or cannot be read.
    """
    origin = Origin("lend_borrow_daily")
    need_columns(daily, (*_TEXTS, "date", *_NUMBERS), origin.file)
    rows = pd.DataFrame(
        {
            **{name: to_texts(daily[name]) for name in _TEXTS},
            "date": to_timestamps(daily["date"], origin),
            **{name: to_numbers(daily[name], origin) for name in _NUMBERS},
        }
    )
    carried = (rows["n_fresh"] == 0.0).to_numpy()
    overdrawn = (rows["available_usd"] < 0.0).to_numpy() & ~carried
    fresh = rows[~carried]
    masked = {
        "rows carried over without a reading": int(carried.sum()),
        "negative available_usd": int(overdrawn.sum()),
    }
    return LayoutTables(
        _pools(fresh),
        _pool_daily(fresh),
        lend_borrow_daily=_lend_borrow_daily(fresh),
        masked={reason: n for reason, n in masked.items() if n},
        assumptions=(
            "APY is the last supply APR of a day as exp(apr) - 1; a day pays its mean supply APR.",
            "Rewards are not in this source and are not counted.",
        ),
    )


def _pools(rows: pd.DataFrame) -> pd.DataFrame:
    first = rows.drop_duplicates("market_id").sort_values("market_id")
    return pd.DataFrame(
        {
            "pool_id": first["market_id"],
            "symbol": first["symbol"],
            "chain": first["chain"],
            "protocol": first["protocol"],
            "tokens": [(token_named(symbol),) for symbol in first["symbol"]],
            "kind": PoolKind.LENDING.value,
        }
    ).reset_index(drop=True)


def _pool_daily(rows: pd.DataFrame) -> pd.DataFrame:
    cash_usd = rows["available_usd"].mask(rows["available_usd"] < 0.0)
    apy_pct = 100.0 * apr_to_apy(rows["supply_apr_last_pct"].to_numpy() / 100.0)
    paid = day_return(apr_to_apy(rows["supply_apr_pct"].to_numpy() / 100.0))
    return pd.DataFrame(
        {
            "pool_id": rows["market_id"],
            "date": rows["date"],
            "apy_pct": apy_pct,
            "tvl_usd": cash_usd,
            "apy_base_pct": apy_pct,
            "apy_reward_pct": np.nan,
            "deposits_usd": rows["supplied_usd"],
            "available_usd": cash_usd,
            "return_1d": paid,
        }
    )


def _lend_borrow_daily(rows: pd.DataFrame) -> pd.DataFrame:
    columns = [*_TEXTS, "date", "supply_apr_pct", "borrow_apr_pct", "supplied_usd", "borrowed_usd"]
    return rows[columns].reset_index(drop=True)
