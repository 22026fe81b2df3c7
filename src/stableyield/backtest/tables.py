"""From day records to the tables of a run."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stableyield._version import __version__
from stableyield.allocation import Plan
from stableyield.backtest.result import BacktestResult
from stableyield.config import sha256_of
from stableyield.domain.portfolio import WALLET, Book, TransactionType

if TYPE_CHECKING:
    from stableyield.backtest.record import DayRecord, DayTotals
    from stableyield.backtest.settings import BacktestSettings
    from stableyield.market.panel import MarketPanel, MarketView

LIBRARIES = ("numpy", "pandas", "pyarrow", "highspy", "pydantic")


def build_result(
    panel: MarketPanel,
    settings: BacktestSettings,
    records: Sequence[DayRecord],
    last_plan: Plan | None,
    benchmarks: Sequence[DayTotals] = (),
) -> BacktestResult:
    """The tables of a run from the strategy's days and the sums of its benchmarks' days."""
    names = panel.as_of(records[-1].exec_date)  # what a pool is called does not change
    return BacktestResult(
        daily_log=_daily_log(records),
        positions=pd.DataFrame(
            [row for r in records for row in _positions(r, names)], columns=_POSITIONS
        ),
        transactions=pd.DataFrame(
            [row for r in records for row in _transactions(r)], columns=_TRANSACTIONS
        ),
        benchmarks=pd.DataFrame([_benchmark(day) for day in benchmarks], columns=_BENCHMARKS),
        timings=pd.DataFrame(
            {
                "exec_date": [r.exec_date.isoformat() for r in records],
                "solve_seconds": [r.solve_seconds for r in records],
                "day_seconds": [r.seconds for r in records],
            }
        ),
        last_plan=last_plan.to_document() if last_plan is not None else {},
        run=_run(panel, settings, records),
    )


_POSITIONS = (
    "exec_date",
    "pool_id",
    "symbol",
    "chain",
    "protocol",
    "token",
    "amount",
    "amount_usd",
    "risk_group",
)
_TRANSACTIONS = (
    "exec_date",
    "seq",
    "type",
    "from_location",
    "to_location",
    "token",
    "to_token",
    "amount",
    "amount_usd",
    "to_amount",
    "gas_cost_usd",
    "conversion_cost_usd",
    "total_cost_usd",
)
_BENCHMARKS = (
    "policy",
    "exec_date",
    "aum_start",
    "aum_end",
    "gas_usd",
    "conversion_usd",
    "turnover_usd",
)


def _daily_log(records: Sequence[DayRecord]) -> pd.DataFrame:
    rows = []
    before: set[tuple[str, str]] = set()
    for record in records:
        rows.append(_log_row(record, before))
        before = set(record.money.after.positions)
    return pd.DataFrame(rows)


def _log_row(record: DayRecord, before: set[tuple[str, str]]) -> dict[str, Any]:
    money, result = record.money, record.result
    held = set(money.after.positions)
    aum_start_usd, aum_after_usd = money.aum_before_usd, money.aum_after_usd
    gas_usd, conversion_usd = money.gas_usd, money.conversion_usd
    positions_usd = money.after.positions_usd(money.prices_usd)
    growth = np.float64(result.aum_usd / aum_start_usd)
    with np.errstate(over="ignore"):  # a day that multiplies money is infinite over a year
        apy_pct = float(100.0 * (growth**365 - 1.0))
    return {
        "exec_date": record.exec_date.isoformat(),
        "target_date": (record.exec_date + timedelta(days=1)).isoformat(),
        "status": "held" if record.is_held else "done",
        "aum_start": aum_start_usd,
        "aum_after": aum_after_usd,
        "aum_end": result.aum_usd,
        "total_fees_usd": gas_usd + conversion_usd,
        "gas_usd": gas_usd,
        "conversion_usd": conversion_usd,
        "yield_usd": result.yield_usd,
        "price_usd": result.price_usd,
        "daily_actual_pnl": result.aum_usd - aum_start_usd,
        "daily_forecast_pnl": record.forecast_yield_usd - (gas_usd + conversion_usd),
        "realised_apy_pct": apy_pct,
        "n_positions": len(positions_usd),
        "n_token_changes": len(held ^ before),
        "turnover_usd": money.turnover_usd,
        "allocations_by_token": _json(_by_token(money.after, money.prices_usd)),
        "allocations_by_pool": _json(
            {
                **positions_usd,
                WALLET: money.after.wallet_usd(money.prices_usd),
            }
        ),
        "solver_status": record.status,
        "gap_usd": record.gap_usd,
        "flags": _json(list(record.flags)),
    }


def _by_token(book: Book, prices: Any) -> dict[str, float]:
    total: dict[str, float] = {}
    for token, amount in [*book.wallet.items(), *((t, a) for (_, t), a in book.positions.items())]:
        total[token] = total.get(token, 0.0) + amount * prices[token]
    return total


def _positions(record: DayRecord, names: MarketView) -> list[tuple[Any, ...]]:
    money, day = record.money, record.exec_date.isoformat()
    rows: list[tuple[Any, ...]] = []
    for (pool_id, token), amount in money.after.positions.items():
        i = names.pool_index.get(pool_id)
        pool = names.pools[i] if i is not None else None
        called = (pool.symbol, pool.chain, pool.protocol) if pool else (pool_id, "", "")
        usd = amount * money.prices_usd[token]
        rows.append((day, pool_id, *called, token, amount, usd, record.risk_groups.get(pool_id, 0)))
    for token, amount in money.after.wallet.items():
        usd = amount * money.prices_usd[token]
        rows.append((day, WALLET, "wallet", "", "", token, amount, usd, 0))
    return rows


def _transactions(record: DayRecord) -> list[dict[str, Any]]:
    rows = []
    for step in record.money.transactions:
        if step.type is TransactionType.HOLD:
            continue
        row = step.to_dict()
        row["token"] = step.token
        row["to_token"] = step.to_token or ""
        row["to_amount"] = step.to_amount
        row["exec_date"] = record.exec_date.isoformat()
        rows.append({name: row[name] for name in _TRANSACTIONS})
    return rows


def _benchmark(day: DayTotals) -> tuple[Any, ...]:
    return (
        day.policy,
        day.exec_date.isoformat(),
        day.aum_start_usd,
        day.aum_end_usd,
        day.gas_usd,
        day.conversion_usd,
        day.turnover_usd,
    )


def _run(
    panel: MarketPanel, settings: BacktestSettings, records: Sequence[DayRecord]
) -> dict[str, Any]:
    parameters = settings.parameters.model_dump(mode="json")
    model = getattr(settings.forecaster, "model_version", "") or settings.forecaster.name
    fixed = settings.gas.fixed
    gas = (
        f"gas: fixed at {fixed.allocation:g} USD a deposit, {fixed.withdrawal:g} a withdrawal, "
        f"{fixed.conversion:g} a conversion"
        if fixed is not None
        else "gas: the day's gas price and ETH price, at Ethereum mainnet's price on every chain"
    )
    return {
        "policy": records[0].policy,
        "start": records[0].exec_date.isoformat(),
        "end": records[-1].exec_date.isoformat(),
        "n_days": len(records),
        "aum_start_usd": settings.aum_usd,
        "token": settings.token,
        "forecaster": model,
        "parameters": parameters,
        "parameters_sha256": sha256_of(parameters),
        "data_sha256": panel.sha256,
        "data_files_sha256": dict(panel.provenance.hashes),
        "code_version": __version__,
        "code_sha256": code_sha256(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "assumptions": [*panel.provenance.assumptions, gas],
        "seed": None,
        "timings": {
            "total_seconds": sum(record.seconds for record in records),
            "days_per_second": len(records) / sum(record.seconds for record in records),
        },
    }


@cache
def code_sha256() -> str:
    """sha256 over the source of this package."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
