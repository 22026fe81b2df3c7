"""`write_run` and `read_run`: a backtest as files that other programs read.

Every file is replaced atomically, so that a reader never sees half of one. A CSV file holds no
timing: the same run written twice, or resumed, gives the same bytes.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from stableyield.backtest.checkpoint import write_atomic
from stableyield.backtest.result import BacktestResult
from stableyield.errors import InputError
from stableyield.report.document import plain_json, render_report
from stableyield.report.metrics import compute_metrics
from stableyield.report.picture import equity_png
from stableyield.report.run_contract import check_plan, check_run, check_table

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TABLES", "json_bytes", "parquet_bytes", "read_run", "write_atomic", "write_run"]

TABLES = ("daily_log", "positions", "transactions", "benchmarks")
TIMINGS = "timings"
RUN_FILE = "run.json"
PLAN_FILE = "plan.json"
METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
PICTURE_FILE = "equity.png"


def write_run(result: BacktestResult, directory: Path) -> Path:
    """Write a backtest's tables, metrics, last plan, report and picture.

    Parameters
    ----------
    result : BacktestResult
    directory : Path
        Made when it is absent; files of an earlier run are replaced one by one.

    Returns
    -------
    Path
        The report (``report.html``).

    Raises
    ------
    InputError
        When ``directory`` is a file.
    ContractError
        When the tables contradict each other; nothing is written then.
    """
    check_directory(directory)
    metrics = compute_metrics(result)
    page, picture = render_report(result, metrics), equity_png(result, metrics)
    directory.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        write_atomic(directory / f"{name}.csv", _csv(getattr(result, name)))
    for name in (*TABLES, TIMINGS):
        write_atomic(directory / f"{name}.parquet", parquet_bytes(getattr(result, name)))
    documents = {RUN_FILE: result.run, PLAN_FILE: result.last_plan, METRICS_FILE: metrics}
    for name, document in documents.items():
        write_atomic(directory / name, json_bytes(document))
    write_atomic(directory / PICTURE_FILE, picture)
    write_atomic(directory / REPORT_FILE, page.encode())
    return directory / REPORT_FILE


def read_run(directory: Path) -> BacktestResult:
    """Read what `write_run` wrote.

    Raises
    ------
    InputError
        When the directory or one of its files is missing or cannot be read, or lacks what a report
        needs.
    """
    if not directory.is_dir():
        raise InputError(
            "no such directory", where=str(directory), remedy="name the --out of a backtest"
        )
    paths = {name: directory / f"{name}.parquet" for name in (*TABLES, TIMINGS)}
    frames = {name: check_table(name, _read_frame(path), str(path)) for name, path in paths.items()}
    plan, run = directory / PLAN_FILE, directory / RUN_FILE
    return BacktestResult(
        **frames,
        last_plan=check_plan(_read_json(plan), str(plan)),
        run=check_run(_read_json(run), str(run)),
    )


def check_directory(directory: Path) -> None:
    """See that files can be written to ``directory``, which need not exist yet.

    Raises
    ------
    InputError
        When it is a file.
    """
    if directory.exists() and not directory.is_dir():
        raise InputError("is not a directory", where=str(directory), remedy="name another one")


def _csv(frame: pd.DataFrame) -> bytes:
    timings = [column for column in frame.columns if str(column).endswith("_seconds")]
    return frame.drop(columns=timings).to_csv(index=False, lineterminator="\n").encode()


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """The frame as a parquet file."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """The value as a strict JSON file: sorted keys, null for what is unknown."""
    text = json.dumps(
        plain_json(value), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False
    )
    return (text + "\n").encode()


def _read_frame(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(value, dict):
        raise _unreadable(path, "it holds no object")
    return value


_REMEDY = "run the backtest again with --out; the report needs every file it writes"


def _missing(path: Path) -> InputError:
    return InputError(f"{path.name} is missing", where=str(path.parent), remedy=_REMEDY)


def _unreadable(path: Path, error: object) -> InputError:
    reason = str(error).splitlines()[0] if str(error) else "no reason given"
    return InputError(f"{path.name} cannot be read: {reason}", where=str(path), remedy=_REMEDY)
