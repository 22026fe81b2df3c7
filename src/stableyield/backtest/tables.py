"""From the rows of days to the tables of a run."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray

from stableyield._version import __version__
from stableyield.backtest.result import BacktestResult
from stableyield.backtest.rows import TRANSACTIONS, DayRows, log_columns
from stableyield.config import sha256_of
from stableyield.domain.portfolio import WALLET

if TYPE_CHECKING:
    from stableyield.backtest.record import DayTotals
    from stableyield.backtest.settings import BacktestSettings
    from stableyield.market.panel import MarketPanel, MarketView

LIBRARIES = ("numpy", "pandas", "pyarrow", "highspy", "pydantic")
_BENCHMARKS = (
    "policy",
    "exec_date",
    "aum_start",
    "aum_end",
    "gas_usd",
    "conversion_usd",
    "turnover_usd",
    "flow_usd",
)


def build_result(
    panel: MarketPanel,
    settings: BacktestSettings,
    rows: Sequence[DayRows],
    last_plan: Mapping[str, Any],
    benchmarks: Sequence[DayTotals] = (),
) -> BacktestResult:
    """The tables of a run from the strategy's days and the sums of its benchmarks' days."""
    # the largest first, while there is room; what a pool is called does not change
    positions = _positions(rows, panel.as_of(rows[-1].exec_date))
    return BacktestResult(
        daily_log=pd.DataFrame(log_columns(rows)),
        positions=positions,
        transactions=pd.DataFrame(
            [step for day in rows for step in day.transactions], columns=list(TRANSACTIONS)
        ),
        benchmarks=pd.DataFrame([_benchmark(day) for day in benchmarks], columns=_BENCHMARKS),
        timings=pd.DataFrame(
            {
                "exec_date": [day.log[0] for day in rows],
                "solve_seconds": [day.solve_seconds for day in rows],
                "day_seconds": [day.seconds for day in rows],
            }
        ),
        last_plan=dict(last_plan),
        run=_run(panel, settings, rows),
    )


def _positions(rows: Sequence[DayRows], names: MarketView) -> pd.DataFrame:
    """One row for each day and each thing that is held, made column by column: there are many."""
    lengths = [len(day.held) for day in rows]
    kinds = list(dict.fromkeys(chain.from_iterable(day.held for day in rows)))
    place = {held: n for n, held in enumerate(kinds)}
    codes = np.fromiter(
        map(place.__getitem__, chain.from_iterable(day.held for day in rows)),
        dtype=np.int32,
        count=sum(lengths),
    )
    called = [_called(pool_id, names) for pool_id, _ in kinds]
    days = np.repeat(np.arange(len(rows), dtype=np.int32), lengths)
    columns = {
        "exec_date": _texts([day.log[0] for day in rows], days),
        "pool_id": _texts([pool_id for pool_id, _ in kinds], codes),
        "symbol": _texts([symbol for symbol, _, _ in called], codes),
        "chain": _texts([chain_ for _, chain_, _ in called], codes),
        "protocol": _texts([protocol for _, _, protocol in called], codes),
        "token": _texts([token for _, token in kinds], codes),
        "amount": np.concatenate([day.amounts for day in rows]),
        "amount_usd": np.concatenate([day.amounts_usd for day in rows]),
        "risk_group": np.concatenate([day.risk_groups for day in rows]).astype(np.int64),
    }
    return pd.DataFrame(columns, copy=False)


def _texts(values: Sequence[str], codes: NDArray[np.int32]) -> ExtensionArray:
    """The text of each code."""
    return pd.array(values, dtype="str").take(codes)


def _called(pool_id: str, names: MarketView) -> tuple[str, str, str]:
    """Symbol, chain and protocol of a pool; a pool that the market does not know is its id."""
    if pool_id == WALLET:
        return "wallet", "", ""
    i = names.pool_index.get(pool_id)
    if i is None:
        return pool_id, "", ""
    pool = names.pools[i]
    return pool.symbol, pool.chain, pool.protocol


def _benchmark(day: DayTotals) -> tuple[Any, ...]:
    return (day.policy, day.exec_date.isoformat(), *day.sums)


def _run(panel: MarketPanel, settings: BacktestSettings, rows: Sequence[DayRows]) -> dict[str, Any]:
    parameters = settings.parameters.model_dump(mode="json")
    seconds = sum(day.seconds for day in rows)
    return {
        "policy": rows[-1].policy,
        "mode": settings.mode.value,
        "start": rows[0].exec_date.isoformat(),
        "end": rows[-1].exec_date.isoformat(),
        "n_days": len(rows),
        "aum_start_usd": settings.aum_usd,
        "token": settings.token,
        "cash_flows": [
            [flow.day.isoformat(), flow.token, flow.amount] for flow in sorted(settings.cash_flows)
        ],
        "forecaster": settings.forecaster_version,
        "parameters": parameters,
        "parameters_sha256": sha256_of(parameters),
        "data_sha256": panel.sha256,
        "data_files_sha256": dict(panel.provenance.hashes),
        "code_version": __version__,
        "code_sha256": code_sha256(),
        "python": platform.python_version(),
        "libraries": dict(library_versions()),
        "assumptions": [*panel.provenance.assumptions, *settings.assumptions],
        "seed": None,
        "timings": {"total_seconds": seconds, "days_per_second": len(rows) / seconds},
    }


@cache
def library_versions() -> Mapping[str, str]:
    """Versions of the libraries that results depend on."""
    return MappingProxyType({name: version(name) for name in LIBRARIES})


@cache
def code_sha256() -> str:
    """sha256 over the source of this package."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
