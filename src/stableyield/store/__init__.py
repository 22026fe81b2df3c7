"""The database: what was known, what was decided, what is owned, and who wrote it.

`connect` gives an engine, `migrate` its schema; `writing` opens a batch that is kept whole or not
at all, and everything that writes takes one. What reads takes the engine.
"""

from stableyield.store.books import (
    LedgerLine,
    StoredPlan,
    read_entries,
    read_plan,
    read_steps,
    write_entries,
    write_plan,
)
from stableyield.store.engine import connect, default_url
from stableyield.store.failures import NotAllowedError, StoreError
from stableyield.store.lists import (
    LISTS,
    add_to_list,
    read_defaults,
    read_lists,
    remove_from_list,
    set_defaults,
    set_list,
)
from stableyield.store.locks import BusyError, RunLock, run_lock
from stableyield.store.market import (
    Window,
    load_frames,
    load_panel,
    write_market,
    write_market_table,
)
from stableyield.store.migrate import migrate, pending_migrations
from stableyield.store.payloads import Payload, payloads, read_payload, write_payload
from stableyield.store.reading import read_frame, read_history
from stableyield.store.revisions import write_frame
from stableyield.store.runs import (
    Run,
    Stage,
    finish_run,
    finish_stage,
    list_runs,
    live_run_of,
    read_parameters,
    read_run,
    read_stages,
    start_run,
    start_stage,
    supersede_run,
    write_parameters,
)
from stableyield.store.session import Actor, Batch, Role, Written, reading, writing

__all__ = [
    "LISTS",
    "Actor",
    "Batch",
    "BusyError",
    "LedgerLine",
    "NotAllowedError",
    "Payload",
    "Role",
    "Run",
    "RunLock",
    "Stage",
    "StoreError",
    "StoredPlan",
    "Window",
    "Written",
    "add_to_list",
    "connect",
    "default_url",
    "finish_run",
    "finish_stage",
    "list_runs",
    "live_run_of",
    "load_frames",
    "load_panel",
    "migrate",
    "payloads",
    "pending_migrations",
    "read_defaults",
    "read_entries",
    "read_frame",
    "read_history",
    "read_lists",
    "read_parameters",
    "read_payload",
    "read_plan",
    "read_run",
    "read_stages",
    "read_steps",
    "reading",
    "remove_from_list",
    "run_lock",
    "set_defaults",
    "set_list",
    "start_run",
    "start_stage",
    "supersede_run",
    "write_entries",
    "write_frame",
    "write_market",
    "write_market_table",
    "write_parameters",
    "write_payload",
    "write_plan",
    "writing",
]
