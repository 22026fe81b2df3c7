"""The icebox on a price table: what `icebox --prices FILE` prints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stableyield.errors import ContractError
from stableyield.market.columns import Origin, is_missing, to_numbers, to_timestamps
from stableyield.screening.icebox import icebox_history

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stableyield.config import AllocationParameters
    from stableyield.screening.icebox_machine import IceboxOverride

# the OHLC layout in which users have stablecoin prices -> our names
_OHLC_NAMES = {"symbol": "token", "low": "low_usd", "close": "close_usd", "peg": "peg_usd"}
_PRICES = ("low_usd", "close_usd", "peg_usd")
_EVENT_COLUMNS = ("token", "source", "entered", "left", "by", *_PRICES, "reason")


def icebox_from_prices_frame(
    frame: pd.DataFrame,
    parameters: AllocationParameters,
    overrides: Iterable[IceboxOverride] = (),
    origin: Origin | None = None,
) -> pd.DataFrame:
    """Every stay in the icebox that a table of daily prices implies.

    Parameters
    ----------
    frame : DataFrame
        Either ``prices_daily`` (token, date, close_usd [low_usd, peg_usd]) or the OHLC layout
        (symbol, date, close [low, peg]). With a column ``source`` each (token, source) is judged
        by itself; sources are never mixed. Dates are floored to the UTC day; of several rows of
        one day the last one counts.
    parameters : AllocationParameters
    overrides : iterable of IceboxOverride
    origin : Origin, optional
        File that the frame is from, for messages.

    Returns
    -------
    DataFrame
        token, [source,] entered, left (missing: still inside on the last day), by, low_usd,
        close_usd, peg_usd (values of the day of entry), reason (of an override); sorted by
        token, source and day of entry.

    Raises
    ------
    ContractError
        When a column is missing, there are no rows, a token or a date is empty, or a value is
        not a date or not a number.
    """
    prices = _checked(frame, origin or Origin("icebox prices"))
    has_source = "source" in prices.columns
    events: list[dict[str, object]] = []
    for source, rows in prices.groupby("source", sort=True) if has_source else [("", prices)]:
        days, tokens, arrays = _arrays(rows)
        log = icebox_history(
            days,
            tokens,
            arrays["low_usd"],
            arrays["close_usd"],
            arrays["peg_usd"],
            parameters,
            overrides,
        )
        for event in log.events:
            fields = asdict(event)
            events.append({**fields, "by": fields["rule"], "source": source})
    columns = [name for name in _EVENT_COLUMNS if has_source or name != "source"]
    table = pd.DataFrame(events, columns=columns)
    for name in ("entered", "left"):
        table[name] = pd.to_datetime(table[name])
    by = [name for name in ("token", "source", "entered") if name in columns]
    return table.sort_values(by, kind="stable", ignore_index=True)


def _checked(frame: pd.DataFrame, origin: Origin) -> pd.DataFrame:
    renamed = {
        name: ours
        for name, ours in _OHLC_NAMES.items()
        if name in frame.columns and ours not in frame.columns
    }
    prices = frame.rename(columns=renamed)
    if absent := [name for name in ("token", "date", "close_usd") if name not in prices.columns]:
        raise ContractError(
            f"no column {absent[0]!r}",
            where=origin.file,
            remedy="give token, date, close_usd [low_usd, peg_usd] or symbol, date, close [low]",
            details=(f"found: {', '.join(map(str, frame.columns))}",),
        )
    if prices.empty:
        raise ContractError("no rows", where=origin.file, remedy="fill the file")
    for name in ("token", "date"):
        empty = is_missing(prices[name]).to_numpy()
        if empty.any():
            raise ContractError(
                f"column {name!r} is empty",
                where=f"{origin.file}, {origin.row(int(np.argmax(empty)))}",
                remedy="every price needs a token and a day",
            )
    numbers = {name: to_numbers(prices[name], origin) for name in _PRICES if name in prices}
    days = to_timestamps(prices["date"], origin).dt.floor("D")
    return prices.assign(date=days.dt.tz_localize("UTC"), **numbers)


def _arrays(
    rows: pd.DataFrame,
) -> tuple[NDArray[np.datetime64], tuple[str, ...], dict[str, NDArray[np.float64]]]:
    """Consecutive days, tokens and one (n_days, n_tokens) array a price; NaN where no row."""
    last = rows.drop_duplicates(["token", "date"], keep="last").set_index(["date", "token"])
    tokens = tuple(sorted(rows["token"].unique()))
    days = pd.date_range(rows["date"].min(), rows["date"].max(), freq="D")
    arrays = {}
    for name in _PRICES:
        if name in last.columns:
            wide = last[name].astype("float64").unstack("token")  # noqa: PD010 - keys are unique
            wide = wide.reindex(index=days, columns=list(tokens))
            arrays[name] = wide.to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            arrays[name] = np.full((len(days), len(tokens)), np.nan)
    return days.tz_localize(None).to_numpy().astype("datetime64[D]"), tokens, arrays
