"""One table in one file: parquet or csv, by the ending of its name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

import pandas as pd
from pyarrow.lib import ArrowException

from stableyield.errors import ContractError, MissingDataError
from stableyield.market.columns import Origin

FileFormat = Literal["parquet", "csv"]
FILE_FORMATS: tuple[FileFormat, ...] = ("parquet", "csv")

# Text columns are read as text: a pool named "1e5" or a token named "NA" stays what it is.
_TEXT_COLUMNS = (
    *("pool_id", "market_id", "symbol", "chain", "chain_name", "protocol", "project", "series"),
    *("token", "tokens", "token_shares", "token_addresses", "kind", "address", "denom", "source"),
    *("denom_addr", "date", "exec_date", "target_date", "listed_from", "listed_until"),
)


def read_table(path: Path) -> pd.DataFrame:
    """The table in ``path``, as it is.

    Raises
    ------
    MissingDataError
        When there is no such file.
    ContractError
        When it is empty, unreadable or neither parquet nor csv.
    """
    if not path.is_file():
        raise MissingDataError(
            "no such file", where=str(path), remedy="check the path, or fetch the file first"
        )
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.suffix == ".csv":
            return _read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ArrowException, ValueError) as e:
        what = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise ContractError(
            f"cannot be read as {path.suffix[1:]}: {what}",
            where=str(path),
            remedy="write it again; an empty or truncated file is not a table",
        ) from e
    raise ContractError(
        f"files ending in {path.suffix!r} are not read",
        where=str(path),
        remedy="give .parquet or .csv",
    )


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write ``frame`` to ``path`` as its ending says; lists become JSON texts."""
    flat = frame.assign(
        **{
            str(name): [json.dumps(list(value)) for value in frame[name]]
            for name in frame
            if len(frame) and isinstance(frame[name].iloc[0], (tuple, list))
        }
    )
    if path.suffix == ".parquet":
        flat.to_parquet(path, index=False)
    else:  # repr of a float is the shortest text that reads back as the same float
        flat.to_csv(path, index=False, date_format="%Y-%m-%d", lineterminator="\n")


def origin_of_file(path: Path) -> Origin:
    """How messages name the rows of ``path``."""
    return Origin(path.name, is_csv=path.suffix == ".csv")


def sha256_of(path: Path) -> str:
    """sha256 of the bytes of ``path``, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_csv(path: Path) -> pd.DataFrame:
    table = pd.read_csv(
        path,
        dtype=dict.fromkeys(_TEXT_COLUMNS, "str"),
        keep_default_na=False,
        na_values=[""],
        skip_blank_lines=False,  # so that a row's number is its line
        low_memory=False,
    )
    header = str(table.columns[0])
    for separator in (";", "\t", "|"):
        if len(table.columns) == 1 and separator in header:
            raise ContractError(
                f"the columns are separated by {separator!r}",
                where=str(path),
                remedy="separate them by commas, with a point in decimals",
            )
    return table
