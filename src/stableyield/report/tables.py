"""The rows of the report's tables, from the result and its metrics."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from stableyield.config import AllocationParameters
from stableyield.domain.portfolio import TransactionType
from stableyield.report import text, theme
from stableyield.report.books import STRATEGY, is_unusual, read_flags
from stableyield.report.definitions import DEFINITIONS

Row = dict[str, Any]

MOST_DAYS = 100
_KNOWN_FACTS = ("parameters", "assumptions")
_ACTIONS = {
    TransactionType.WITHDRAWAL.value: "Withdraw",
    TransactionType.CONVERSION.value: "Convert",
    TransactionType.ALLOCATION.value: "Deposit",
}
_WORDS = {
    "captured_pct": "Share of the clairvoyant's lead",
    "break_even_cost_multiple": "Break-even cost",
    "hhi": "Concentration",
    "regimes": "Kinds of days",
    "effective_pools": "Pools that weigh alike",
    "realised_pct": "Realised share of the forecast",
    "binding": "Limits that hold the gain down",
    "relaxed": "Limits that were given up",
    "usd_per_usd": "Gain per extra dollar of limit, USD",
    "pool_id": "Pool",
    "n_days": "Days",
    "aum_start_usd": "AUM at the start, USD",
    "data_sha256": "Data, sha256",
    "data_files_sha256": "Data file, sha256",
    "code_sha256": "Code, sha256",
    "parameters_sha256": "Parameters, sha256",
}


def metric_table(metrics: Mapping[str, Any]) -> Row:
    """One row a metric, one column a policy, the strategy first."""
    policies = theme.in_reading_order([STRATEGY, *metrics["benchmarks"]])
    values = {STRATEGY: metrics[STRATEGY], **metrics["benchmarks"]}
    rows = [
        {
            "label": item.label,
            "text": item.text,
            "cells": [text.by_unit(values[p][item.key], item.unit) for p in policies],
        }
        for item in DEFINITIONS
    ]
    return {"policies": [theme.policy_style(p) for p in policies], "rows": rows}


def undefined_rows(metrics: Mapping[str, Any]) -> list[Row]:
    """Why a metric has no value: one row a metric and reason, with the policies it concerns."""
    labels = {item.key: item.label for item in DEFINITIONS} | _WORDS
    found: dict[tuple[str, str], list[str]] = {}
    for path, reason in metrics["undefined"].items():
        *group, key = path.split(".")
        policy = theme.policy_style(group[-1]).label if group else ""
        label = labels.get(key, key.replace("_", " "))
        found.setdefault((label, reason), []).append(policy)
    return [
        {"metric": label, "reason": reason, "policies": ", ".join(filter(None, policies))}
        for (label, reason), policies in found.items()
    ]


def monthly_rows(metrics: Mapping[str, Any]) -> Row:
    """The months, with the net APY of every policy."""
    policies = theme.in_reading_order([STRATEGY, *metrics["benchmarks"]])
    months = pd.to_datetime([row["month"] for row in metrics["monthly"]], format="%Y-%m")
    rows = [
        {
            **row,
            "name": f"{month:%b %Y}",
            "apys": [text.pct(row["net_apy_pct"][policy]) for policy in policies],
        }
        for month, row in zip(months, metrics["monthly"], strict=True)
    ]
    return {"policies": [theme.policy_style(policy) for policy in policies], "rows": rows}


def regime_rows(metrics: Mapping[str, Any]) -> Row:
    """The kinds of days, with the net APY of every policy; no row where there are none."""
    policies = theme.in_reading_order([STRATEGY, *metrics["benchmarks"]])
    rows = [
        {
            **row,
            "name": _words(row["regime"]),
            "apys": [text.pct(row["net_apy_pct"][policy]) for policy in policies],
        }
        for row in metrics["regimes"] or ()
    ]
    return {"policies": [theme.policy_style(policy) for policy in policies], "rows": rows}


def plan_table(plan: Mapping[str, Any], labels: Mapping[str, str]) -> Row:
    """The last plan as a treasurer carries it out: moves in order, and the book they lead to."""
    steps = plan.get("transactions", [])
    moves = [_move(step, labels) for step in steps if step.get("type") in _ACTIONS]
    held = [
        {
            "place": labels.get(row["pool_id"], row["pool_id"]),
            "token": row["token"],
            "amount": row.get("amount"),
            "usd": row.get("amount_usd"),
        }
        for row in plan.get("positions", [])
    ]
    wallet = plan.get("wallet", {})
    held.extend(
        {
            "place": "Wallet",
            "token": token,
            "amount": wallet[token].get("amount"),
            "usd": wallet[token].get("amount_usd"),
        }
        for token in sorted(wallet)
    )
    total = sum(row["usd"] or 0.0 for row in held)
    for row in held:
        row["share_pct"] = 100.0 * (row["usd"] or 0.0) / total if total else None
    held.sort(key=lambda row: (row["place"] == "Wallet", -(row["usd"] or 0.0), row["place"]))
    return {
        "status": str(plan.get("status", "unknown")).replace("_", " "),
        "moves": moves,
        "moved_usd": sum(row["usd"] or 0.0 for row in moves),
        "book": held,
        "book_usd": total,
        "costs": plan.get("costs") or {},
        "expected": plan.get("expected") or {},
        "gap_usd": plan.get("gap_usd"),
        "refusals": [
            {"detail": "", "needed": None, "available": None, **row}
            for row in plan.get("infeasible_because") or []
        ],
        "explanation": explanation_tables(plan.get("explanation"), labels),
    }


def _move(step: Mapping[str, Any], labels: Mapping[str, str]) -> Row:
    sold = step.get("from_token") or step.get("token")
    bought = step.get("to_token")
    return {
        "seq": step.get("seq"),
        "action": _ACTIONS[step["type"]],
        "source": labels.get(step["from_location"], step["from_location"]),
        "target": labels.get(step["to_location"], step["to_location"]),
        "token": f"{sold} → {bought}" if bought else sold,
        "amount": step.get("amount"),
        "usd": step.get("amount_usd"),
        "gas_usd": step.get("gas_cost_usd"),
        "fee_usd": step.get("conversion_cost_usd"),
        "total_usd": step.get("total_cost_usd"),
    }


def explanation_tables(explanation: object, labels: Mapping[str, str]) -> list[Row]:
    """The lists inside an explanation, each as a table; records have their own columns."""
    if not isinstance(explanation, Mapping):
        return []
    tables = []
    for name in sorted(explanation):
        rows = explanation[name]
        if not isinstance(rows, list) or not rows:
            continue
        records = [row if isinstance(row, Mapping) else {"what": row} for row in rows]
        columns = list(dict.fromkeys(key for row in records for key in row))
        tables.append(
            {
                "title": _words(name),
                "columns": [_words(column) for column in columns],
                "rows": [[_cell(row.get(c), c, labels) for c in columns] for row in records],
            }
        )
    return tables


def _words(name: str) -> str:
    if name in _WORDS:
        return _WORDS[name]
    plain = name.removesuffix("_usd").removesuffix("_pct").replace("_", " ")
    suffix = ", USD" if name.endswith("_usd") else ", %" if name.endswith("_pct") else ""
    return plain[:1].upper() + plain[1:] + suffix


def _cell(value: object, column: str, labels: Mapping[str, str]) -> str:
    if value is None:
        return text.DASH
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        digits = 2 if abs(value) >= 100 or column != "usd_per_usd" else 5
        return text.number(value, 0 if isinstance(value, int) else digits)
    if isinstance(value, str):
        return labels.get(value, value)
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def day_rows(log: pd.DataFrame, labels: Mapping[str, str]) -> list[Row]:
    """The days that need a look: an unusual status or a flag, with the pool's name in it."""
    names = ["exec_date", "status", "solver_status", "aum_end", "flags"]
    rows = []
    for when, status, solver, aum_end, flags in log[names].astype("object").itertuples(index=False):
        notes = read_flags(flags)
        state = status if isinstance(status, str) else ""
        solved = solver if isinstance(solver, str) else ""
        if notes or is_unusual(state) or is_unusual(solved):
            rows.append(
                {
                    "day": text.day(str(when)[:10]),
                    "status": state.replace("_", " "),
                    "solver": solved.replace("_", " "),
                    "aum_end": aum_end,
                    "flags": [_named(note, labels) for note in notes],
                }
            )
    return rows


def _named(flag: str, labels: Mapping[str, str]) -> str:
    """The flag with the pool id at its end replaced by the pool's name."""
    what, colon, pool_id = flag.rpartition(": ")
    return f"{what}{colon}{labels[pool_id]}" if pool_id in labels else flag


def parameter_rows(run: Mapping[str, Any]) -> list[Row]:
    """Every parameter with its value, and whether it differs from the default."""
    defaults = AllocationParameters().model_dump(mode="json")
    values = run.get("parameters") or {}
    return [
        {
            "name": name,
            "value": _plain(values[name]),
            "default": _plain(defaults[name]) if name in defaults else "",
            "changed": name in defaults and values[name] != defaults[name],
        }
        for name in sorted(values)
    ]


def fact_rows(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What else is known of the run, flat: hashes, versions, seed, timings."""
    rows: list[tuple[str, str]] = []
    for name in sorted(set(run) - set(_KNOWN_FACTS)):
        value = run[name]
        if isinstance(value, Mapping):
            rows.extend((f"{_words(name)}: {key}", _fact(value[key])) for key in sorted(value))
        elif value is not None:
            rows.append((_words(name), _fact(value)))
    return rows


def _fact(value: object) -> str:
    return text.number(value) if isinstance(value, float) else _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value) or "(none)"
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def pnl_rows(metrics: Mapping[str, Any]) -> list[tuple[str, float, str]]:
    """Where the profit came from, line by line; the last is the sum."""
    pnl = metrics["pnl"]
    return [
        ("Yield earned", pnl["yield_usd"], "What the pools paid."),
        ("Token prices", pnl["price_usd"], "Change of the tokens' US dollar prices."),
        ("Gas", pnl["gas_usd"], "Of deposits, withdrawals and conversions."),
        ("Conversion fees", pnl["conversion_usd"], "Of tokens sold for others."),
        ("Profit", pnl["net_usd"], "The sum."),
    ]
