"""`write_evaluation` and `write_forecast`: forecasts and their scores as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stableyield.errors import InputError
from stableyield.report.export import check_directory, json_bytes, parquet_bytes, write_atomic
from stableyield.report.forecast_page import render_evaluation

if TYPE_CHECKING:
    import pandas as pd

    from stableyield.forecast import Evaluation

EVALUATION_FILE = "evaluation.json"
REPORT_FILE = "report.html"
TABLES = (
    *("scores", "coverage", "tvl_scores", "decision_value", "decision_weeks"),
    *("worst_misses", "drift", "gas_scores"),
)


def write_evaluation(
    evaluation: Evaluation, directory: Path, facts: Mapping[str, Any] | None = None
) -> Path:
    """Write the tables of an evaluation (csv and parquet), its JSON and its page.

    Parameters
    ----------
    evaluation : Evaluation
    directory : Path
        Made when it is absent; files of an earlier evaluation are replaced one by one.
    facts : mapping, optional
        What a reader must know of the run; printed on the page and kept in the JSON.

    Returns
    -------
    Path
        The page (``report.html``).

    Raises
    ------
    InputError
        When ``directory`` is a file.
    """
    check_directory(directory)
    known = dict(facts or {})
    page = render_evaluation(evaluation, known)
    directory.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        frame = getattr(evaluation, name)
        write_atomic(directory / f"{name}.csv", table_bytes(frame, ".csv"))
        write_atomic(directory / f"{name}.parquet", table_bytes(frame, ".parquet"))
    write_atomic(directory / EVALUATION_FILE, json_bytes(evaluation_document(evaluation, known)))
    write_atomic(directory / REPORT_FILE, page.encode())
    return directory / REPORT_FILE


def evaluation_document(evaluation: Evaluation, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What was found, for programs: everything but the rows by month, week and day."""
    coverage = evaluation.coverage
    return {
        "start": evaluation.start,
        "end": evaluation.end,
        "step_days": evaluation.step_days,
        "n_origins": evaluation.n_origins,
        "target": evaluation.target,
        "methods": evaluation.methods,
        "horizons": evaluation.horizons,
        "warnings": evaluation.warnings,
        "notes": evaluation.notes,
        "run": facts,
        "scores": records(evaluation.scores),
        "coverage": records(coverage[coverage["by"] != "month"]),
        "tvl_scores": records(evaluation.tvl_scores),
        "decision_value": records(evaluation.decision_value),
        "gas_scores": records(evaluation.gas_scores),
    }


def write_forecast(frame: pd.DataFrame, provenance: Mapping[str, Any], path: Path) -> Path:
    """Write a forecast (csv or parquet, by the ending) and its provenance beside it.

    Returns
    -------
    Path
        The provenance: ``NAME.json`` for ``NAME.csv``. It is written last, so that it never
        speaks of a forecast that is not there.

    Raises
    ------
    InputError
        When the ending is neither ``.csv`` nor ``.parquet``.
    """
    beside = path.with_suffix(".json")
    write_atomic(path, table_bytes(frame, path.suffix))
    write_atomic(beside, json_bytes(provenance))
    return beside


def table_bytes(frame: pd.DataFrame, suffix: str) -> bytes:
    """A table as csv or parquet.

    Raises
    ------
    InputError
        For another ending.
    """
    if suffix == ".parquet":
        return parquet_bytes(frame)
    if suffix != ".csv":
        raise InputError(f"no table ends in {suffix!r}", remedy="name it .csv or .parquet")
    text = frame.to_csv(index=False, lineterminator="\n", date_format="%Y-%m-%d")
    return text.encode()


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as objects."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
