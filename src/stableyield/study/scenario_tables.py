"""The tables of scenarios, with the research notebooks' columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from stableyield.domain.portfolio import CENT_USD, TransactionType

if TYPE_CHECKING:
    from stableyield.study.scenarios import ScenarioOutcome

_TEXT, _NUMBER, _COUNT = "str", "float64", "int64"

_RESULTS = {
    "scenario": _TEXT,
    "total_aum": _NUMBER,
    "total_allocated": _NUMBER,
    "total_unallocated": _NUMBER,
    "total_cost": _NUMBER,
    "num_pools": _COUNT,
    "num_transactions": _COUNT,
    "weighted_apy": _NUMBER,
    "allocation_pct": _NUMBER,
    "cost_pct": _NUMBER,
    "solve_time": _NUMBER,
    "status": _TEXT,
    "reason": _TEXT,
}
_ALLOCATIONS = {
    "scenario": _TEXT,
    "pool_id": _TEXT,
    "pool_symbol": _TEXT,
    "token": _TEXT,
    "amount": _NUMBER,
    "amount_usd": _NUMBER,
}
_TRANSACTIONS = {
    "scenario": _TEXT,
    "seq": _COUNT,
    "type": _TEXT,
    "from_location": _TEXT,
    "to_location": _TEXT,
    "token": _TEXT,
    "from_token": _TEXT,
    "to_token": _TEXT,
    "amount": _NUMBER,
    "amount_usd": _NUMBER,
    "to_amount": _NUMBER,
    "gas_cost_usd": _NUMBER,
    "conversion_cost_usd": _NUMBER,
    "total_cost_usd": _NUMBER,
}


def results_table(outcomes: Sequence[ScenarioOutcome]) -> pd.DataFrame:
    """One row a scenario: the book after its plan, what it costs and what it should earn.

    ``total_*`` are USD: AUM before the plan is allocated + unallocated + cost, to the cent.
    ``weighted_apy``, ``allocation_pct`` and ``cost_pct`` are percent, the latter two of AUM;
    ``solve_time`` is seconds. Without a plan the book stays as it is, and the row says so in
    ``status`` and ``reason``.
    """
    return _frame([_result(outcome) for outcome in outcomes], _RESULTS)


def allocations_table(outcome: ScenarioOutcome) -> pd.DataFrame:
    """Positions after the plan, in token units and USD; the wallet is not in it."""
    plan = outcome.plan
    symbols = {pool.pool_id: pool.symbol for pool in plan.problem.pools}
    rows = [
        {
            "scenario": outcome.name,
            "pool_id": pool_id,
            "pool_symbol": symbols[pool_id],
            "token": token,
            "amount": amount,
            "amount_usd": amount * plan.settlement.prices_usd[token],
        }
        for (pool_id, token), amount in plan.settlement.after.positions.items()
    ]
    return _frame(rows, _ALLOCATIONS)


def transactions_table(outcome: ScenarioOutcome) -> pd.DataFrame:
    """Transactions as the plan file names them, in an order in which each can be paid.

    Of a conversion ``from_token`` and ``to_token`` are given, else ``token``. Holds are left out.
    """
    rows = []
    for step in outcome.plan.settlement.transactions:
        if step.type is TransactionType.HOLD:
            continue
        row = {"scenario": outcome.name, "to_amount": math.nan, **step.to_dict()}
        rows.append({name: row.get(name, "") for name in _TRANSACTIONS})
    return _frame(rows, _TRANSACTIONS)


def _result(outcome: ScenarioOutcome) -> dict[str, Any]:
    plan, money = outcome.plan, outcome.plan.settlement
    allocated_usd = math.fsum(outcome.pools_usd.values())
    aum_usd = money.aum_before_usd
    return {
        "scenario": outcome.name,
        "total_aum": aum_usd,
        "total_allocated": allocated_usd,
        "total_unallocated": money.after.wallet_usd(money.prices_usd),
        "total_cost": money.costs_usd,
        "num_pools": sum(usd >= CENT_USD for usd in outcome.pools_usd.values()),
        "num_transactions": plan.n_moves,
        "weighted_apy": plan.expected.weighted_apy_pct,
        "allocation_pct": 100.0 * allocated_usd / aum_usd,
        "cost_pct": 100.0 * money.costs_usd / aum_usd,
        "solve_time": plan.certificate.solve_seconds,
        "status": plan.status,
        "reason": outcome.reason,
    }


def _frame(rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    """The rows with the same columns and types whether there are any or not."""
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)
