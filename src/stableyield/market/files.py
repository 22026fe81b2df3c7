"""A market directory: read it, checked, and write it, whole or not at all.

The tables and their columns are described in docs/formats.md. ``market.json`` beside them holds
what the maker of the market had to assume and the sha256 of what it was made from.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from stableyield.errors import ContractError, MissingDataError
from stableyield.market.assemble import assemble, unpriced_tokens
from stableyield.market.contracts import (
    CheckedTable,
    check_frames,
    check_pool_ids,
    check_table,
)
from stableyield.market.frames import MarketFrames
from stableyield.market.panel import MarketPanel
from stableyield.market.pegged import PAR_USD, may_be_taken_at_par
from stableyield.market.table_contracts import CONTRACTS, REQUIRED_TABLES
from stableyield.market.tables import (
    FILE_FORMATS,
    FileFormat,
    origin_of_file,
    read_table,
    sha256_of,
    write_table,
)

ABOUT_FILE = "market.json"
_SOURCE = "source: "  # before the name of a file that the tables were made from


@dataclass(frozen=True)
class ReadReport:
    """What reading or importing found, beside the data.

    Parameters
    ----------
    rows_in : mapping of str to int
        Rows of each table or source as it was found.
    masked : mapping of str to int
        Rows or values that were left out or made unknown, by reason.
    ignored_columns : mapping of str to tuple of str
        Columns that are not part of the format, by table.
    unpriced_tokens : tuple of str
        Tokens of pools without any price: their pools cannot be used.
    """

    rows_in: Mapping[str, int] = field(default_factory=dict)
    masked: Mapping[str, int] = field(default_factory=dict)
    ignored_columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unpriced_tokens: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class SourcedFrames(MarketFrames):
    """Market tables that know where they came from.

    Parameters
    ----------
    source_sha256 : mapping of str to str
        sha256 of each file that they were made from, by its name.
    report : ReadReport
    """

    source_sha256: Mapping[str, str] = field(default_factory=dict)
    report: ReadReport = field(default_factory=ReadReport)


def read_market(
    directory: Path, *, assume_par: bool = False, confirm_percent: bool = False
) -> MarketPanel:
    """The market in ``directory``, ready for decisions.

    Parameters
    ----------
    directory : Path
        With the tables of docs/formats.md, each as parquet or csv.
    assume_par : bool
        Take plain dollar coins (`stableyield.market.pegged`) that have no price row at all at
        1 USD, and say so in the panel's assumptions. No other token gets a price.
    confirm_percent : bool
        Low percent columns really are percent.

    Raises
    ------
    MissingDataError
        When the directory, a required table, or ``prices_daily`` (without ``assume_par``) is
        missing.
    ContractError
        When a table breaks its contract, or is there both as parquet and as csv.
    """
    frames = read_frames(directory, confirm_percent=confirm_percent)
    if assume_par:
        frames = with_par_prices(frames)
    elif frames.prices_daily is None:
        raise MissingDataError(
            "there is no prices_daily table",
            where=str(directory),
            remedy="add prices_daily.parquet or .csv, or pass --assume-par (assume_par=True) to "
            "take plain dollar coins at 1 USD, which is then printed in every report",
        )
    missing = unpriced_tokens(frames)
    report = replace(frames.report, unpriced_tokens=missing)
    notices = (f"No price is known for: {', '.join(missing)}; pools with them cannot be used.",)
    frames = replace(
        frames, report=report, assumptions=frames.assumptions + (notices if missing else ())
    )
    return assemble(frames, hashes=frames.source_sha256)


def read_frames(directory: Path, *, confirm_percent: bool = False) -> SourcedFrames:
    """The tables in ``directory``, checked and typed; absent optional tables stay absent.

    Raises
    ------
    MissingDataError
        When the directory or a required table is missing.
    ContractError
        When a table breaks its contract, or is there both as parquet and as csv.
    """
    if not directory.is_dir():
        raise MissingDataError(
            "no such directory", where=str(directory), remedy="give a market directory"
        )
    paths = {name: path for name in CONTRACTS if (path := _file_of(directory, name))}
    for name in REQUIRED_TABLES:
        if name not in paths:
            raise MissingDataError(
                f"there is no {name} table",
                where=str(directory),
                remedy=f"add {name}.parquet or {name}.csv (see docs/formats.md)",
            )
    checked = {
        name: check_table(
            name, read_table(path), origin_of_file(path), confirm_percent=confirm_percent
        )
        for name, path in paths.items()
    }
    tables: dict[str, Any] = {name: table.frame for name, table in checked.items()}
    check_pool_ids(tables["pools"], tables["pool_daily"], origin_of_file(paths["pool_daily"]))
    assumptions, hashes = _read_about(directory / ABOUT_FILE)
    return SourcedFrames(
        **tables,
        assumptions=tuple(dict.fromkeys((*assumptions, *_dropped_notices(checked)))),
        source_sha256={
            **{path.name: sha256_of(path) for path in paths.values()},
            **{_SOURCE + name.removeprefix(_SOURCE): value for name, value in hashes.items()},
        },
        report=ReadReport(
            rows_in={name: table.n_rows_in for name, table in checked.items()},
            masked={name: table.n_dropped for name, table in checked.items() if table.n_dropped},
            ignored_columns={
                name: table.ignored_columns
                for name, table in checked.items()
                if table.ignored_columns
            },
        ),
    )


def with_par_prices(frames: SourcedFrames) -> SourcedFrames:
    """The frames with plain dollar coins that have no price row at all at 1 USD on every day.

    The assumption is added to the frames' assumptions and names the tokens.
    """
    at_par = [token for token in unpriced_tokens(frames) if may_be_taken_at_par(token)]
    if not at_par:
        return frames
    days = pd.date_range(
        frames.pool_daily["date"].min(), frames.pool_daily["date"].max(), freq="D", unit="us"
    )
    rows = pd.MultiIndex.from_product([at_par, days], names=["token", "date"])
    filled = rows.to_frame(index=False).assign(close_usd=PAR_USD)
    observed = frames.prices_daily
    prices = filled if observed is None else pd.concat([observed, filled], ignore_index=True)
    sentence = (
        f"Par is assumed: {', '.join(at_par)} have no observed price and are taken at "
        f"{PAR_USD:.2f} USD on all {len(days)} days."
    )
    return replace(frames, prices_daily=prices, assumptions=(*frames.assumptions, sentence))


def write_market(
    frames: MarketFrames, directory: Path, *, file_format: FileFormat = "parquet"
) -> None:
    """Write a market directory that `read_market` reads.

    All tables are written beside the target first and then moved into place: a failure leaves the
    target as it was. Other files in an existing directory stay; tables of an earlier market in it
    (in either format) are replaced or removed.

    Raises
    ------
    ContractError
        When a table breaks its contract; nothing is written then.
    """
    checked = check_frames(frames, confirm_percent=True)
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        for name in CONTRACTS:
            if (table := getattr(checked, name)) is not None:
                write_table(table, temporary / f"{name}.{file_format}")
        sources = frames.source_sha256 if isinstance(frames, SourcedFrames) else {}
        about = {"assumptions": list(frames.assumptions), "source_sha256": dict(sources)}
        text = json.dumps(about, indent=2, sort_keys=True, ensure_ascii=False)
        (temporary / ABOUT_FILE).write_text(text + "\n", encoding="utf-8")
        _move_into_place(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move_into_place(temporary: Path, directory: Path) -> None:
    temporary.chmod(0o755)  # a temporary directory is private
    if not directory.exists():
        temporary.replace(directory)
        return
    written = sorted(path.name for path in temporary.iterdir())
    for name in written:
        (temporary / name).replace(directory / name)
    for table in CONTRACTS:
        for ending in FILE_FORMATS:
            if f"{table}.{ending}" not in written:
                (directory / f"{table}.{ending}").unlink(missing_ok=True)


def _file_of(directory: Path, table: str) -> Path | None:
    found = [path for ending in FILE_FORMATS if (path := directory / f"{table}.{ending}").is_file()]
    if len(found) > 1:
        raise ContractError(
            f"{table} is there twice, as {' and '.join(path.name for path in found)}",
            where=str(directory),
            remedy="remove one of them",
        )
    return found[0] if found else None


def _read_about(path: Path) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Assumptions and source hashes of ``market.json``; none when there is no such file."""
    if not path.is_file():
        return (), {}
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ContractError(
            f"not JSON: {error}", where=path.name, remedy="repair or remove the file"
        ) from error
    assumptions = about.get("assumptions", []) if isinstance(about, dict) else None
    hashes = about.get("source_sha256", {}) if isinstance(about, dict) else None
    if not (isinstance(assumptions, list) and all(isinstance(a, str) for a in assumptions)):
        raise ContractError("'assumptions' is not a list of texts", where=path.name)
    if not (isinstance(hashes, dict) and all(isinstance(h, str) for h in hashes.values())):
        raise ContractError("'source_sha256' is not an object of texts", where=path.name)
    return tuple(assumptions), hashes


def _dropped_notices(checked: Mapping[str, CheckedTable]) -> list[str]:
    return [
        f"{table.n_dropped} rows of {name} were replaced by a later row of the same "
        f"{' and '.join(CONTRACTS[name].key)}."
        for name, table in checked.items()
        if table.n_dropped
    ]
