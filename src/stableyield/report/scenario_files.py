"""`write_scenarios`: what scenarios led to, as tables and pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stableyield.report.export import check_directory, write_atomic
from stableyield.report.scenario_figures import comparison_png, plan_png

if TYPE_CHECKING:
    import pandas as pd

    from stableyield.study import ScenarioResults

RESULTS_TABLE = "backtesting_results"  # the name that the research notebooks gave it
COMPARISON_FILE = "comparison.png"


def write_scenarios(
    results: ScenarioResults, directory: Path, figures: Sequence[str] | None = None
) -> list[Path]:
    """Write tables (csv and parquet) and pictures of scenarios.

    Parameters
    ----------
    results : ScenarioResults
    directory : Path
        Made when it is absent; files of an earlier run are replaced one by one.
    figures : sequence of str, optional
        Names of the scenarios whose plan is drawn; absent: all.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    InputError
        When ``directory`` is a file.
    ParameterError
        When ``figures`` names no scenario; nothing is written then.
    """
    check_directory(directory)
    drawn = [results.outcome(name) for name in (results.names if figures is None else figures)]
    files = {
        **dict(_tables(results)),
        COMPARISON_FILE: comparison_png(results),
        **{f"plan_{outcome.scenario.slug}.png": plan_png(outcome) for outcome in drawn},
    }
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_atomic(directory / name, content)
    return [directory / name for name in files]


def _tables(results: ScenarioResults) -> Iterator[tuple[str, bytes]]:
    yield from _both(RESULTS_TABLE, results.table())
    for outcome in results.outcomes:
        slug = outcome.scenario.slug
        yield from _both(f"allocations_{slug}", results.allocations(outcome.name))
        yield from _both(f"transactions_{slug}", results.transactions(outcome.name))


def _both(name: str, frame: pd.DataFrame) -> Iterator[tuple[str, bytes]]:
    yield f"{name}.csv", frame.to_csv(index=False, lineterminator="\n").encode()
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    yield f"{name}.parquet", buffer.getvalue()
