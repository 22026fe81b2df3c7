"""From day records to the tables of a run."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
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
    from stableyield.backtest.engine import DayRecord
    from stableyield.backtest.settings import BacktestSettings
    from stableyield.market.panel import MarketPanel

LIBRARIES = ("numpy", "pandas", "pyarrow", "highspy", "pydantic")


def build_result(
    panel: MarketPanel,
    settings: BacktestSettings,
    records: Sequence[DayRecord],
    last_plan: Plan | None,
) -> BacktestResult:
    """The tables of a run; the first policy in ``records`` is the strategy."""
    name = records[0].policy
    mine = [record for record in records if record.policy == name]
    others = [record for record in records if record.policy != name]
    return BacktestResult(
        daily_log=_daily_log(mine),
        positions=pd.DataFrame([row for r in mine for row in _positions(r)], columns=_POSITIONS),
        transactions=pd.DataFrame(
            [row for r in mine for row in _transactions(r)], columns=_TRANSACTIONS
        ),
        benchmarks=pd.DataFrame([_benchmark(r) for r in others], columns=_BENCHMARKS),
        timings=pd.DataFrame(
            {
                "exec_date": [r.exec_date.isoformat() for r in mine],
                "solve_seconds": [_plan_number(r, "solve_seconds") for r in mine],
                "day_seconds": [r.seconds for r in mine],
            }
        ),
        last_plan=last_plan.to_document() if last_plan is not None else {},
        run=_run(panel, settings, mine),
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
        before = set(record.decision.settlement.after.positions)
    return pd.DataFrame(rows)


def _log_row(record: DayRecord, before: set[tuple[str, str]]) -> dict[str, Any]:
    money, result = record.decision.settlement, record.result
    held = set(money.after.positions)
    growth = np.float64(result.aum_usd / record.aum_start_usd)
    with np.errstate(over="ignore"):  # a day that multiplies money is infinite over a year
        apy_pct = float(100.0 * (growth**365 - 1.0))
    return {
        "exec_date": record.exec_date.isoformat(),
        "target_date": record.view.day.fromordinal(record.exec_date.toordinal() + 1).isoformat(),
        "status": "held" if record.decision.is_held else "done",
        "aum_start": record.aum_start_usd,
        "aum_after": money.aum_after_usd,
        "aum_end": result.aum_usd,
        "total_fees_usd": money.costs_usd,
        "gas_usd": money.gas_usd,
        "conversion_usd": money.conversion_usd,
        "yield_usd": result.yield_usd,
        "price_usd": result.price_usd,
        "daily_actual_pnl": result.aum_usd - record.aum_start_usd,
        "daily_forecast_pnl": record.forecast_yield_usd - money.costs_usd,
        "realised_apy_pct": apy_pct,
        "n_positions": len({pool_id for pool_id, _ in held}),
        "n_token_changes": len(held ^ before),
        "turnover_usd": money.turnover_usd,
        "allocations_by_token": _json(_by_token(money.after, money.prices_usd)),
        "allocations_by_pool": _json(
            {
                **money.after.positions_usd(money.prices_usd),
                WALLET: money.after.wallet_usd(money.prices_usd),
            }
        ),
        "solver_status": record.decision.status,
        "gap_usd": _plan_number(record, "gap_usd"),
        "flags": _json(list(record.flags)),
    }


def _by_token(book: Book, prices: Any) -> dict[str, float]:
    total: dict[str, float] = {}
    for token, amount in [*book.wallet.items(), *((t, a) for (_, t), a in book.positions.items())]:
        total[token] = total.get(token, 0.0) + amount * prices[token]
    return total


def _positions(record: DayRecord) -> list[dict[str, Any]]:
    money = record.decision.settlement
    rows = []
    for (pool_id, token), amount in money.after.positions.items():
        i = record.view.pool_index.get(pool_id)
        pool = record.view.pools[i] if i is not None else None
        rows.append(
            {
                "exec_date": record.exec_date.isoformat(),
                "pool_id": pool_id,
                "symbol": pool.symbol if pool else pool_id,
                "chain": pool.chain if pool else "",
                "protocol": pool.protocol if pool else "",
                "token": token,
                "amount": amount,
                "amount_usd": amount * money.prices_usd[token],
                "risk_group": record.risk_groups.get(pool_id, 0),
            }
        )
    for token, amount in money.after.wallet.items():
        usd = amount * money.prices_usd[token]
        day = record.exec_date.isoformat()
        values = (day, WALLET, "wallet", "", "", token, amount, usd, 0)
        rows.append(dict(zip(_POSITIONS, values, strict=True)))
    return rows


def _transactions(record: DayRecord) -> list[dict[str, Any]]:
    rows = []
    for step in record.decision.settlement.transactions:
        if step.type is TransactionType.HOLD:
            continue
        row = step.to_dict()
        row["token"] = step.token
        row["to_token"] = step.to_token or ""
        row["to_amount"] = step.to_amount
        row["exec_date"] = record.exec_date.isoformat()
        rows.append({name: row[name] for name in _TRANSACTIONS})
    return rows


def _benchmark(record: DayRecord) -> dict[str, Any]:
    money = record.decision.settlement
    return {
        "policy": record.policy,
        "exec_date": record.exec_date.isoformat(),
        "aum_start": record.aum_start_usd,
        "aum_end": record.result.aum_usd,
        "gas_usd": money.gas_usd,
        "conversion_usd": money.conversion_usd,
        "turnover_usd": money.turnover_usd,
    }


def _plan_number(record: DayRecord, name: str) -> float:
    plan = record.decision.plan
    return float("nan") if plan is None else float(getattr(plan.certificate, name))


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
