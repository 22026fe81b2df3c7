"""Importing a market: a layout's tables, completed with prices and gas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from stableyield.errors import MissingDataError, ParameterError
from stableyield.market.assemble import unpriced_tokens
from stableyield.market.contracts import check_frames, check_table
from stableyield.market.files import ReadReport, SourcedFrames
from stableyield.market.frames import MarketFrames
from stableyield.market.layouts.lend_borrow import read_lend_borrow_layout
from stableyield.market.layouts.panel import read_panel_layout
from stableyield.market.layouts.side_data import (
    Prices,
    prices_of,
    read_gas,
    read_stablecoin_prices,
)
from stableyield.market.layouts.tables import LayoutTables
from stableyield.market.layouts.vaults import read_vaults_layout
from stableyield.market.tables import read_table, sha256_of

Layout = Literal["panel", "vaults", "lend-borrow"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
GAS_FILE = "gas_eth_daily.parquet"
PRICES_FILE = "stablecoin_daily.parquet"
HIGHEST_APY_PCT = 1000.0
CASH_TOKEN = "USDC"  # a treasury starts from it, so it is priced even where no pool takes it


def import_market(
    layout: Layout,
    sources: Sequence[Path],
    *,
    gas: Path | None = None,
    prices: Path | None = None,
    assume_par: bool = True,
    highest_apy_pct: float = HIGHEST_APY_PCT,
    confirm_percent: bool = False,
) -> SourcedFrames:
    """A market from files in another layout.

    Parameters
    ----------
    layout : {"panel", "vaults", "lend-borrow"}
    sources : sequence of Path
        Parquet or csv. ``vaults`` takes the daily file and the metadata, in any order; the others
        take one file or several with the same columns.
    gas, prices : Path, optional
        Daily gas and ETH prices, and daily stablecoin prices. When absent,
        ``gas_eth_daily.parquet`` and ``stablecoin_daily.parquet`` beside the sources are taken
        if they are there, and the assumptions name them.
    assume_par : bool
        Take plain dollar coins at 1 USD where no source has prices any more; counted in the
        assumptions. Without it and without prices the market cannot be used.
    highest_apy_pct : float
        A quoted or trailing APY above is not believed and made unknown; what a position really
        earned stays.
    confirm_percent : bool
        Low percent columns really are percent.

    Returns
    -------
    SourcedFrames
        Checked tables, assumptions, sha256 of the sources and a report of what was masked.

    Raises
    ------
    ParameterError
        For an unknown layout.
    MissingDataError
        When a file is missing, or there are no prices and par may not be assumed.
    ContractError
        When a file is not what the layout needs.
    """
    _check_question(layout, sources)
    beside = _side_files(sources, gas, prices, assume_par=assume_par)
    tables, rows_in = _read_sources(layout, sources)
    tables = _believable(tables, highest_apy_pct)
    frames = check_frames(
        _with_side_files(tables, beside, assume_par=assume_par), confirm_percent=confirm_percent
    )
    return SourcedFrames(
        **{item.name: getattr(frames, item.name) for item in fields(MarketFrames)},
        source_sha256={path.name: sha256_of(path) for path in (*sources, *beside.paths)},
        report=ReadReport(
            rows_in=rows_in, masked=tables.masked, unpriced_tokens=unpriced_tokens(frames)
        ),
    )


@dataclass(frozen=True, slots=True)
class _SideFiles:
    """Gas and prices, which no layout carries; None where there is no file."""

    gas: Path | None
    prices: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.gas, self.prices) if path)

    @property
    def sentences(self) -> tuple[str, ...]:
        return (
            f"Gas and ETH prices are from {self.gas.name}."
            if self.gas
            else "Gas prices are unknown.",
            f"Observed token prices are from {self.prices.name}, one source a coin."
            if self.prices
            else "No observed token prices were given.",
        )


def _check_question(layout: Layout, sources: Sequence[Path]) -> None:
    if layout not in LAYOUTS:
        raise ParameterError(
            f"layout {layout!r} is not known", remedy=f"choose one of {', '.join(LAYOUTS)}"
        )
    if not sources:
        raise MissingDataError("no source files", remedy=f"name the files of layout {layout}")


def _side_files(
    sources: Sequence[Path], gas: Path | None, prices: Path | None, *, assume_par: bool
) -> _SideFiles:
    """The named files, else those beside the sources."""
    found = _SideFiles(gas or _beside(sources, GAS_FILE), prices or _beside(sources, PRICES_FILE))
    if found.prices is None and not assume_par:
        raise MissingDataError(
            f"no prices: there is no {PRICES_FILE} beside the sources",
            remedy="name a price file (prices=), or allow par (assume_par=True)",
        )
    return found


def _read_sources(
    layout: Layout, sources: Sequence[Path]
) -> tuple[LayoutTables, Mapping[str, int]]:
    """The layout's tables, and the rows of each file; the files' own rows are let go."""
    raw = {path.name: read_table(path) for path in sources}
    rows_in = {name: len(table) for name, table in raw.items()}
    if layout == "vaults":
        return read_vaults_layout(*_daily_and_metadata(raw)), rows_in
    together = pd.concat(raw.values(), ignore_index=True)
    read = read_panel_layout if layout == "panel" else read_lend_borrow_layout
    return read(together), rows_in


def _with_side_files(tables: LayoutTables, beside: _SideFiles, *, assume_par: bool) -> MarketFrames:
    """The layout's tables with prices and gas, and all that was assumed."""
    observed = None if beside.prices is None else read_stablecoin_prices(read_table(beside.prices))
    filled = _with_prices(tables, observed, assume_par=assume_par)
    dates = tables.pool_daily["date"]
    return MarketFrames(
        pools=tables.pools,
        pool_daily=_in_usd(tables, filled.table),
        prices_daily=filled.table if len(filled.table) else None,
        gas_daily=None if beside.gas is None else _gas_within(beside.gas, dates),
        lend_borrow_daily=tables.lend_borrow_daily,
        assumptions=(
            *tables.assumptions,
            *_masked_sentence(tables.masked),
            *filled.assumptions,
            *beside.sentences,
        ),
    )


def _daily_and_metadata(raw: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two files of the vaults layout, told apart by their columns."""
    daily = [table for table in raw.values() if "share_price" in table]
    metadata = [table for table in raw.values() if "denom" in table]
    for found, what, column in ((daily, "daily", "share_price"), (metadata, "metadata", "denom")):
        if not found:
            raise MissingDataError(
                f"no {what} file (one with a column {column!r}) among {', '.join(raw)}",
                remedy="name both files, vault_daily and vault_meta",
            )
    return pd.concat(daily, ignore_index=True), pd.concat(metadata, ignore_index=True)


def _believable(tables: LayoutTables, highest_apy_pct: float) -> LayoutTables:
    """One checked row a pool and day, without an APY that nobody can believe."""
    apy_pct = tables.pool_daily["apy_pct"]
    beyond = apy_pct > highest_apy_pct
    daily = tables.pool_daily.assign(apy_pct=apy_pct.mask(beyond))
    reasons = {f"APY above {highest_apy_pct:g} %": int(beyond.sum())} if beyond.any() else {}
    return replace(
        tables,
        pool_daily=check_table("pool_daily", daily, confirm_percent=True).frame,
        masked={**tables.masked, **reasons},
    )


def _with_prices(
    tables: LayoutTables, observed: pd.DataFrame | None, *, assume_par: bool
) -> Prices:
    tokens = {token for tokens in tables.pools["tokens"] for token in tokens}
    dates = tables.pool_daily["date"]
    return prices_of(
        sorted(tokens | {CASH_TOKEN}), observed, dates.min(), dates.max(), assume_par=assume_par
    )


def _in_usd(tables: LayoutTables, prices: pd.DataFrame) -> pd.DataFrame:
    """``pool_daily`` with sizes in USD: unknown where the token's price of the day is."""
    if not tables.sizes_in_tokens:
        return tables.pool_daily
    daily = tables.pool_daily
    token_of = {
        pool_id: tokens[0]
        for pool_id, tokens in zip(tables.pools["pool_id"], tables.pools["tokens"], strict=True)
    }
    wanted = pd.MultiIndex.from_arrays([daily["pool_id"].map(token_of), daily["date"]])
    close = prices.set_index(["token", "date"])["close_usd"].reindex(wanted).to_numpy()
    return daily.assign(
        tvl_usd=daily["tvl_usd"].to_numpy() * close,
        deposits_usd=daily["deposits_usd"].to_numpy() * close,
    )


def _gas_within(gas: Path, dates: pd.Series[pd.Timestamp]) -> pd.DataFrame | None:
    table = read_gas(read_table(gas))
    inside = table[table["date"].between(dates.min(), dates.max() + pd.Timedelta(days=1))]
    return inside if len(inside) else None


def _beside(sources: Sequence[Path], name: str) -> Path | None:
    """A file called ``name`` in the directory of one of the sources."""
    candidates = (path.parent / name for path in sources)
    return next((path for path in candidates if path.is_file()), None)


def _masked_sentence(masked: Mapping[str, int]) -> list[str]:
    if not masked:
        return []
    return [f"Made unknown: {', '.join(f'{n} {reason}' for reason, n in masked.items())}."]
