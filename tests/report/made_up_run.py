"""A hand-made backtest result: 90 days, ten pools, three benchmarks, books that balance."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stableyield.backtest.result import BacktestResult
from stableyield.config import AllocationParameters, sha256_of

POOLS = (
    ("pool-01", "USDC", "Ethereum", "aave-v3", 4.1),
    ("pool-02", "USDT", "Ethereum", "aave-v3", 4.4),
    ("pool-03", "USDC", "Base", "morpho-blue", 6.3),
    ("pool-04", "SUSDS", "Ethereum", "sky-lending", 4.9),
    ("pool-05", "USDC", "Arbitrum", "compound-v3", 3.7),
    ("pool-06", "DAI", "Ethereum", "spark", 5.2),
    ("pool-07", "USDT", "Arbitrum", "fluid-lending", 6.8),
    ("pool-08", "USDC", "Ethereum", "fluid-lending", 5.9),
    ("pool-09", "USDE", "Ethereum", "ethena", 8.6),
    ("pool-10", "DAI", "Polygon", "aave-v3", 3.4),
)
TOKENS = ("DAI", "SUSDS", "USDC", "USDE", "USDT")
START_USD = 1_000_000.0


@dataclass
class Book:
    """Money of one policy while the run is made up: USD by pool, the wallet last."""

    usd: np.ndarray
    aum: float = START_USD


def make_result(
    n_days: int = 90, *, seed: int = 7, price_noise: float = 3e-4, rebalance_days: int = 6
) -> BacktestResult:
    """A run in which everything is consistent: AUM = start + yield + price - costs, each day."""
    rng = np.random.default_rng(seed)
    days = np.arange(n_days) + np.datetime64("2025-03-03", "D")
    apy = _apys(rng, n_days)
    moves = rng.normal(0.0, price_noise, (n_days, len(POOLS) + 1))
    moves[:, -1] = 0.0
    targets = [_strategy_target(apy, t) if t % rebalance_days == 0 else None for t in range(n_days)]
    log, positions, transactions = _strategy(days, apy, moves, targets, rng)
    n_pools = len(POOLS)
    equal = np.append(np.full(n_pools, 0.99 / n_pools), 0.01)
    single = np.append(np.eye(n_pools)[int(np.argmax(apy[0][:8]))] * 0.99, 0.01)
    idle = np.append(np.zeros(n_pools), 1.0)
    benchmarks = pd.concat(
        [
            _benchmark("best_single", days, apy, moves, {0: single}),
            _benchmark(
                "equal_weight", days, apy, moves, dict.fromkeys(range(0, n_days, 30), equal)
            ),
            _benchmark("idle", days, apy, moves, {0: idle}),
        ],
        ignore_index=True,
    )
    seconds = rng.gamma(4.0, 0.01, n_days)
    timings = pd.DataFrame(
        {"exec_date": log["exec_date"], "solve_seconds": seconds, "day_seconds": seconds + 0.004}
    )
    plan = _plan(positions, transactions)
    return BacktestResult(log, positions, transactions, benchmarks, timings, plan, _run(log))


def _apys(rng: np.random.Generator, n_days: int) -> np.ndarray:
    level = np.array([pool[4] for pool in POOLS])
    steps = rng.normal(0.0, 0.035, (n_days + 1, len(POOLS)))
    wander = np.zeros_like(steps)
    for t in range(1, n_days + 1):
        wander[t] = 0.96 * wander[t - 1] + steps[t]
    result = level * np.exp(wander)
    result[n_days // 2 : n_days // 2 + 3, 6] *= 2.2  # a utilisation spike
    return result


def _strategy_target(apy: np.ndarray, t: int) -> np.ndarray:
    best = np.argsort(-apy[t])[:6]
    shares = np.zeros(len(POOLS) + 1)
    shares[best] = np.array([0.22, 0.2, 0.18, 0.16, 0.12, 0.1])
    shares[-1] = 0.02
    return shares


def _trade(book: Book, target: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Change of the pools in USD, gas and conversion fees of reaching a target."""
    change = target * book.aum - book.usd
    change[np.abs(change) < 500.0] = 0.0
    gas = 0.85 * float(np.count_nonzero(change[:-1]))
    fee = 0.0004 * 0.5 * float(np.abs(change[:-1]).sum())
    return change, gas, fee


def _day(book: Book, apy: np.ndarray, move: np.ndarray) -> tuple[float, float]:
    """Let one day pass: yield and price effect in USD."""
    grown = book.usd * np.append((1.0 + apy / 100.0) ** (1.0 / 365.0) - 1.0, 0.0)
    earned = float(grown.sum())
    book.usd = book.usd + grown
    price = book.usd * move
    book.usd = book.usd + price
    book.aum = float(book.usd.sum())
    return earned, float(price.sum())


def _apply(book: Book, target: np.ndarray | None) -> tuple[np.ndarray, float, float]:
    if target is None:
        return np.zeros(len(POOLS) + 1), 0.0, 0.0
    change, gas, fee = _trade(book, target)
    book.usd = book.usd + change
    book.usd[-1] = book.aum - book.usd[:-1].sum() - gas - fee
    book.aum = float(book.usd.sum())
    return change, gas, fee


def _benchmark(
    policy: str, days: np.ndarray, apy: np.ndarray, moves: np.ndarray, targets: dict[int, Any]
) -> pd.DataFrame:
    book, rows = Book(np.append(np.zeros(len(POOLS)), START_USD)), []
    for t in range(len(days)):
        start = book.aum
        change, gas, fee = _apply(book, targets.get(t))
        _day(book, apy[t + 1], moves[t])
        turnover = float(np.abs(change[:-1]).sum())
        rows.append((policy, days[t], start, book.aum, gas, fee, turnover))
    names = ["policy", "exec_date", "aum_start", "aum_end", "gas_usd", "conversion_usd"]
    return _dated(pd.DataFrame(rows, columns=[*names, "turnover_usd"]))


def _strategy(
    days: np.ndarray,
    apy: np.ndarray,
    moves: np.ndarray,
    targets: list[np.ndarray | None],
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    book = Book(np.append(np.zeros(len(POOLS)), START_USD))
    log, positions, transactions = [], [], []
    for t in range(len(days)):
        start = book.aum
        change, gas, fee = _apply(book, targets[t])
        steps = _transactions(days[t], change, gas, fee)
        transactions.extend(steps)
        positions.extend(_positions(days[t], book))
        after, held = book.aum, book.usd.copy()
        promised = float((held[:-1] * ((1 + apy[t] / 100) ** (1 / 365) - 1)).sum())
        earned, price = _day(book, apy[t + 1], moves[t])
        log.append(
            {
                "exec_date": days[t],
                "target_date": days[t] + 1,
                "status": "held" if t == 40 else "done",
                "aum_start": start,
                "aum_after": after,
                "aum_end": book.aum,
                "total_fees_usd": gas + fee,
                "gas_usd": gas,
                "conversion_usd": fee,
                "yield_usd": earned,
                "price_usd": price,
                "daily_actual_pnl": book.aum - start,
                "daily_forecast_pnl": promised * (1.05 + 0.02 * rng.normal()) - gas - fee,
                "realised_apy_pct": ((book.aum / start) ** 365 - 1) * 100,
                "n_positions": int(np.count_nonzero(held[:-1])),
                "n_token_changes": sum(step["type"] == "CONVERSION" for step in steps),
                "turnover_usd": float(np.abs(change[:-1]).sum()),
                "allocations_by_token": json.dumps({"USDC": round(after, 2)}),
                "allocations_by_pool": json.dumps(_by_pool(held)),
                "solver_status": "infeasible" if t == 40 else "optimal",
                "gap_usd": 0.01,
                "flags": _flags(t),
            }
        )
    return (
        _dated(pd.DataFrame(log)),
        _dated(pd.DataFrame(positions)),
        _dated(pd.DataFrame(transactions)),
    )


def _flags(t: int) -> str:
    notes = {
        17: ["no realised return: pool-07"],
        40: ["no feasible plan: min_pools needs 5, 4 available", "book held"],
    }
    return json.dumps(notes.get(t, []))


def _by_pool(held: np.ndarray) -> dict[str, float]:
    named = {pool[0]: float(usd) for pool, usd in zip(POOLS, held[:-1], strict=True) if usd}
    return {**named, "warm_wallet": float(held[-1])}


def _positions(day: np.datetime64, book: Book) -> list[dict[str, Any]]:
    rows = []
    for (pool_id, token, chain, protocol, _), usd in zip(POOLS, book.usd[:-1], strict=True):
        if usd:
            identity = {"pool_id": pool_id, "symbol": token, "chain": chain, "protocol": protocol}
            rows.append({"exec_date": day, **identity, "token": token, "amount": usd / 0.9998})
            rows[-1] |= {"amount_usd": usd, "risk_group": 1.0}
    identity = {"pool_id": "warm_wallet", "symbol": "", "chain": "", "protocol": ""}
    rows.append({"exec_date": day, **identity, "token": "USDC", "amount": book.usd[-1]})
    rows[-1] |= {"amount_usd": book.usd[-1], "risk_group": np.nan}
    return rows


def _transactions(
    day: np.datetime64, change: np.ndarray, gas: float, fee: float
) -> list[dict[str, Any]]:
    moved = [i for i in np.argsort(change[:-1]) if change[i]]
    sold = sum(change[i] for i in moved if change[i] > 0.0)
    steps = []
    for i in moved:
        pool_id, token = POOLS[i][:2]
        buys = change[i] > 0.0
        if buys and token != "USDC":
            share = change[i] / sold * fee
            steps.append(("CONVERSION", "warm_wallet", "warm_wallet", "USDC", token, i, 0.0, share))
        places = ("warm_wallet", pool_id) if buys else (pool_id, "warm_wallet")
        kind = "ALLOCATION" if buys else "WITHDRAWAL"
        steps.append((kind, *places, token, None, i, gas / len(moved), 0.0))
    return [
        {
            "exec_date": day,
            "seq": seq,
            "type": kind,
            "from_location": source,
            "to_location": target,
            "token": token,
            "to_token": bought,
            "amount": abs(change[i]),
            "amount_usd": abs(change[i]),
            "to_amount": abs(change[i]) - cost if bought else np.nan,
            "gas_cost_usd": gas_usd,
            "conversion_cost_usd": cost,
            "total_cost_usd": gas_usd + cost,
        }
        for seq, (kind, source, target, token, bought, i, gas_usd, cost) in enumerate(steps, 1)
    ]


def _dated(frame: pd.DataFrame) -> pd.DataFrame:
    for name in ("exec_date", "target_date"):
        if name in frame:
            frame[name] = pd.to_datetime(frame[name]).dt.strftime("%Y-%m-%d")
    return frame


def _plan(positions: pd.DataFrame, transactions: pd.DataFrame) -> dict[str, Any]:
    """The last rich day's plan as the plan file has it."""
    steps_a_day = transactions.groupby("exec_date").size()
    day = steps_a_day[steps_a_day >= min(6, steps_a_day.max())].index[-1]
    book = positions[positions["exec_date"] == day]
    steps = []
    for row in transactions[transactions["exec_date"] == day].to_dict("records"):
        del row["exec_date"]
        token, bought, received = row.pop("token"), row.pop("to_token"), row.pop("to_amount")
        if row["type"] == "CONVERSION":
            row |= {"from_token": token, "to_token": bought, "to_amount": received}
        else:
            row["token"] = token
        steps.append(row)
    gas = sum(step["gas_cost_usd"] for step in steps)
    fee = sum(step["conversion_cost_usd"] for step in steps)
    held = book[book["pool_id"] != "warm_wallet"]
    cash = book[book["pool_id"] == "warm_wallet"].iloc[0]
    total = float(book["amount_usd"].sum())
    return {
        "status": "optimal",
        "objective_usd": 4870.11,
        "bound_usd": 4870.12,
        "gap_usd": 0.01,
        "solve_seconds": 0.041,
        "aum_before_usd": total + gas + fee,
        "aum_after_usd": total,
        "costs": {"gas_usd": gas, "conversion_usd": fee, "total_usd": gas + fee},
        "positions": held[["pool_id", "token", "amount", "amount_usd"]].to_dict("records"),
        "wallet": {"USDC": {"amount": cash["amount"], "amount_usd": cash["amount_usd"]}},
        "transactions": steps,
        "expected": {
            "horizon_days": 30.0,
            "yield_usd": 4890.0,
            "net_usd": 4870.11,
            "weighted_apy_pct": 6.12,
        },
        "explanation": {
            "binding": [
                {"limit": "max_alloc_percentage", "pool_id": "pool-09", "usd_per_usd": 0.00214},
                {"limit": "group2_max_pct", "pool_id": None, "usd_per_usd": 0.00052},
            ],
            "relaxed": [],
        },
        "infeasible_because": [],
        "inputs_sha256": sha256_of("inputs"),
        "version": "0.1.0",
    }


def _run(log: pd.DataFrame) -> dict[str, Any]:
    parameters = AllocationParameters(max_alloc_percentage=0.22, risk_aversion=0.3)
    return {
        "policy": "strategy",
        "mode": "portfolio",
        "forecaster": "trend-1",
        "start": log["exec_date"].iloc[0],
        "end": log["exec_date"].iloc[-1],
        "aum_start_usd": START_USD,
        "token": "USDC",
        "seed": 0,
        "parameters": parameters.model_dump(mode="json"),
        "parameters_sha256": sha256_of(parameters),
        "data_sha256": {"pool_daily": sha256_of("pool_daily"), "prices_daily": sha256_of("p")},
        "code_version": "0.1.0",
        "libraries": {"highspy": "1.15.1", "numpy": "2.4.6", "pandas": "3.1.1"},
        "assumptions": ["Gas is fixed: 0.85 USD a transaction, because gas_daily is absent."],
        "timings": {"total_seconds": 6.2, "solve_seconds": 4.4},
    }
