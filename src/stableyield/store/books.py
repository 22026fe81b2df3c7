"""Plans with every step, and the journal of the ledger: written once, never changed.

Balances and daily results may be corrected and are revised tables: write them with `write_frame`
(``daily_balances``, ``daily_ledger``, ``daily_nav``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from sqlalchemy import Engine, Table, insert, select

from stableyield.config import canonical_json, sha256_of
from stableyield.errors import ConservationError, MissingDataError
from stableyield.store.failures import StoreError, shown
from stableyield.store.schema import ASSET_ALLOCATIONS, LEDGER_ENTRIES, PLANS
from stableyield.store.session import Batch, Written, reading

AMOUNT_ROUNDING = 1e-9  # of the largest line of an entry: what floats lose


@dataclass(frozen=True)
class StoredPlan:
    """A plan as it was recorded.

    Parameters
    ----------
    run_id : str
    document : dict
        Content of the plan file (see docs/formats.md).
    problem : dict
        Content of the problem file that it solves.
    """

    run_id: str
    document: dict[str, Any]
    problem: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One line of a journal entry.

    Parameters
    ----------
    entry_id : str
    line : int
        Place in the entry.
    date : date
    account, token : str
    amount : float
        In token units; what the account receives is positive.
    memo : str
    price_usd, amount_usd : float, optional
    run_id : str, optional
    """

    entry_id: str
    line: int
    date: date
    account: str
    token: str
    amount: float
    memo: str = ""
    price_usd: float | None = None
    amount_usd: float | None = None
    run_id: str | None = None


def write_plan(
    batch: Batch, run_id: str, document: Mapping[str, Any], problem: Mapping[str, Any]
) -> Written:
    """Keep a plan, the problem it solves and each of its steps.

    The same plan again changes nothing.

    Raises
    ------
    StoreError
        When the run has another plan already: a run decides once.
    """
    batch.begin_table(PLANS.name)
    batch.begin_table(ASSET_ALLOCATIONS.name)
    text = canonical_json(document)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    known = batch.connection.scalar(select(PLANS.c.document_sha256).where(PLANS.c.run_id == run_id))
    if known is not None and known != sha256:
        raise StoreError(
            f"run {run_id!r} has another plan already",
            where=shown(batch.connection.engine.url),
            remedy="a run decides once; supersede it and run the day again",
        )
    steps = [_step(run_id, step) for step in document["transactions"]]
    if known is None:
        batch.connection.execute(
            insert(PLANS).values(
                run_id=run_id,
                status=document["status"],
                objective_usd=document["objective_usd"],
                aum_before_usd=document["aum_before_usd"],
                aum_after_usd=document["aum_after_usd"],
                inputs_sha256=document["inputs_sha256"],
                document_sha256=sha256,
                document=text,
                problem=canonical_json(problem),
            )
        )
        if steps:
            batch.connection.execute(insert(ASSET_ALLOCATIONS), steps)
    is_new = int(known is None)
    batch.audit(PLANS.name, Written(1, is_new, 0, sha256))
    written = Written(len(steps), len(steps) * is_new, 0, sha256_of(steps))
    batch.audit(ASSET_ALLOCATIONS.name, written)
    return written


def read_plan(engine: Engine, run_id: str) -> StoredPlan:
    """The plan of a run.

    Raises
    ------
    MissingDataError
        When the run has none.
    """
    query = select(PLANS.c.document, PLANS.c.problem).where(PLANS.c.run_id == run_id)
    with reading(engine, "a plan") as connection:
        found = connection.execute(query).first()
    if found is None:
        raise MissingDataError(
            f"run {run_id!r} has no plan", where=shown(engine.url), remedy="list the runs"
        )
    return StoredPlan(run_id, json.loads(found.document), json.loads(found.problem))


def read_steps(engine: Engine, run_id: str) -> list[dict[str, Any]]:
    """Rows of ``asset_allocations`` of a run, in order."""
    table = ASSET_ALLOCATIONS
    return _rows(engine, table, select(table).where(table.c.run_id == run_id).order_by("seq"))


def write_entries(batch: Batch, lines: Sequence[LedgerLine]) -> Written:
    """Add journal entries; an entry that is there already, line by line, is not added twice.

    Raises
    ------
    ConservationError
        When the lines of an entry do not add up to zero in each token.
    StoreError
        When an entry with that id is there with other lines.
    """
    batch.begin_table(LEDGER_ENTRIES.name)
    rows = [asdict(line) for line in lines]
    _check_balanced(rows)
    table = LEDGER_ENTRIES
    known: dict[str, list[dict[str, Any]]] = {}
    ids = sorted({line.entry_id for line in lines})
    for found in batch.connection.execute(
        select(table).where(table.c.entry_id.in_(ids)).order_by("entry_id", "line")
    ).mappings():
        known.setdefault(found["entry_id"], []).append(dict(found))
    for entry_id, there in known.items():
        given = sorted((r for r in rows if r["entry_id"] == entry_id), key=lambda r: int(r["line"]))
        if given != there:
            raise StoreError(
                f"journal entry {entry_id!r} is there already, with other lines",
                where=shown(batch.connection.engine.url),
                remedy="correct an entry by a new one; entries are never changed",
            )
    new = [row for row in rows if row["entry_id"] not in known]
    if new:
        batch.connection.execute(insert(table), new)
    written = Written(len(rows), len(new), 0, sha256_of(rows))
    batch.audit(table.name, written)
    return written


def read_entries(
    engine: Engine, first: date | None = None, last: date | None = None
) -> tuple[LedgerLine, ...]:
    """Journal lines by day and entry; from ``first`` to ``last``, both included."""
    table = LEDGER_ENTRIES
    query = select(table).order_by("date", "entry_id", "line")
    if first is not None:
        query = query.where(table.c.date >= first)
    if last is not None:
        query = query.where(table.c.date <= last)
    return tuple(LedgerLine(**row) for row in _rows(engine, table, query))


def _check_balanced(rows: Sequence[Mapping[str, Any]]) -> None:
    totals: dict[tuple[str, str], tuple[float, float]] = {}
    for row in rows:
        key = (row["entry_id"], row["token"])
        total, largest = totals.get(key, (0.0, 0.0))
        totals[key] = total + row["amount"], max(largest, abs(row["amount"]))
    for (entry_id, token), (total, largest) in totals.items():
        if not abs(total) <= AMOUNT_ROUNDING * largest:
            raise ConservationError(
                f"the lines of token {token} add up to {total}, not to zero",
                where=f"journal entry {entry_id}",
                remedy="book what one account gives as what another one receives",
            )


def _step(run_id: str, step: Mapping[str, Any]) -> dict[str, Any]:
    """A row of ``asset_allocations`` from a transaction of the plan file."""
    same = ("seq", "type", "from_location", "to_location", "amount", "amount_usd")
    costs = ("gas_cost_usd", "conversion_cost_usd", "total_cost_usd")
    return {
        "run_id": run_id,
        **{name: step[name] for name in (*same, *costs)},
        "token": step["from_token"] if "from_token" in step else step["token"],
        "to_token": step.get("to_token"),
        "to_amount": step.get("to_amount"),
        "gas_paid": list(step.get("gas_paid", ())),
    }


def _rows(engine: Engine, table: Table, query: Any) -> list[dict[str, Any]]:
    with reading(engine, table.name) as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
