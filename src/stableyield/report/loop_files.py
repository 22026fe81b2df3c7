"""`write_loop`: a loop backtest as files that other programs read, and its page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stableyield.loops.as_notebook import notebook_days, notebook_leverage
from stableyield.loops.statistics import (
    chain_table,
    pool_table,
    rebalancing_costs,
    spread_summary,
    spread_table,
)
from stableyield.report.export import check_directory, json_bytes, parquet_bytes, write_atomic
from stableyield.report.loop_metrics import loop_metrics
from stableyield.report.loop_page import (
    NOTEBOOK_CAPITAL_USD,
    NOTEBOOK_GAS_USD,
    page_of,
    render_loop,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from stableyield.loops.rates import LoopRates
    from stableyield.loops.result import LoopResult
    from stableyield.loops.risk_table import RiskTable

REPORT_FILE = "report.html"
METRICS_FILE = "loop.json"


def write_loop(
    result: LoopResult,
    directory: Path,
    facts: Mapping[str, Any] | None = None,
    *,
    risk: RiskTable | None = None,
    as_notebook: bool = False,
) -> Path:
    """Write the tables of a loop run (csv and parquet), its metrics as JSON and its page.

    Parameters
    ----------
    result : LoopResult
    directory : Path
        Made when it is absent; files of an earlier run are replaced one by one.
    facts : mapping, optional
        What a reader must know of the run; on the page and in the JSON.
    risk : RiskTable, optional
        The one of the run, where it was not the shipped one.
    as_notebook : bool
        Write the notebook's own daily arithmetic too (``as_notebook``), wrong as it is.

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
    metrics, page = loop_metrics(result), page_of(result, known, risk)
    html = render_loop(result, metrics, page)
    frames = {
        "daily_log": result.daily,
        "unlevered": result.unlevered,
        "held": result.held,
        "transactions": result.transactions,
        "corrections": page.steps,
        "stress": page.stress,
        **statistic_frames(result.rates),
    }
    if as_notebook:
        frames["as_notebook"] = notebook_frame(result)
    directory.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        write_frame(frame, directory, name)
    document = {**metrics, "settings": asdict(result.settings), "facts": known}
    write_atomic(directory / METRICS_FILE, json_bytes(document))
    write_atomic(directory / REPORT_FILE, html.encode())
    return directory / REPORT_FILE


def statistic_frames(markets: Sequence[LoopRates]) -> dict[str, pd.DataFrame]:
    """The tables of `stableyield.loops.statistics`, by file name."""
    spreads = spread_table(markets)
    return {
        "pool_statistics": pool_table(markets),
        "chain_statistics": chain_table(markets),
        "spreads": spreads,
        "spread_statistics": spread_summary(spreads),
        "rebalancing_costs": rebalancing_costs(NOTEBOOK_GAS_USD, NOTEBOOK_CAPITAL_USD),
    }


def notebook_frame(result: LoopResult) -> pd.DataFrame:
    """`notebook_days` of every market that has a pair, under one another."""
    import pandas as pd  # noqa: PLC0415 - the other tables come ready

    size = notebook_leverage(result.settings.target)
    parts = [
        notebook_days(market, size).assign(market=market.name)
        for market in result.rates
        if len(spread_table([market]))
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def write_frame(frame: pd.DataFrame, directory: Path, name: str) -> None:
    """A table as csv and parquet; one without columns is not written."""
    if not len(frame.columns):
        return
    text = frame.to_csv(index=False, lineterminator="\n", date_format="%Y-%m-%d")
    write_atomic(directory / f"{name}.csv", text.encode())
    write_atomic(directory / f"{name}.parquet", parquet_bytes(frame))
