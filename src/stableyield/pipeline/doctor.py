"""What stands between this machine and a run: configuration, database, sources, clock, disk.

Every check looks and changes nothing; no secret is printed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

from sqlalchemy import Engine

from stableyield.config import Settings
from stableyield.errors import StableyieldError
from stableyield.pipeline.carry import last_snapshot
from stableyield.pipeline.daily_run import versions
from stableyield.pipeline.ingest import newest_day
from stableyield.pipeline.moments import check_not_behind
from stableyield.sources.clock import Clock
from stableyield.sources.skew import ClockSkewError
from stableyield.store import list_runs, pending_migrations
from stableyield.store.failures import shown

Verdict = Literal["ok", "warning", "failed"]
LEAST_FREE_BYTES = 2**30
STALE_AFTER = timedelta(days=2)
_KEYS = {
    "defillama_key": "lend/borrow history (DefiLlama pro)",
    "cmc_key": "OHLCV (CoinMarketCap)",
    "etherscan_key": "gas and balances (Etherscan)",
    "slack_webhook": "chat",
    "smtp_host": "mail",
}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Parameters
    ----------
    what : str
    verdict : str
        ``ok``, ``warning`` (a run works without it) or ``failed``.
    detail : str
    """

    what: str
    verdict: Verdict
    detail: str


def examine(
    engine: Engine,
    settings: Settings,
    clock: Clock,
    probes: dict[str, Callable[[], str]] | None = None,
) -> tuple[Check, ...]:
    """Every check, in order.

    Parameters
    ----------
    engine : Engine
    settings : Settings
    clock : Clock
    probes : dict of name to callable, optional
        What asks a source something small, and gives a sentence.
    """
    checks = [*_configuration(settings), *_database(engine), *_clock(engine, clock)]
    for name, probe in (probes or {}).items():
        try:
            checks.append(Check(f"source {name}", "ok", probe()))
        except StableyieldError as error:
            checks.append(Check(f"source {name}", "failed", error.one_line))
    return (*checks, *_disk(engine, settings))


def _configuration(settings: Settings) -> Iterator[Check]:
    found = versions()
    yield Check("program", "ok", ", ".join(f"{name} {found[name]}" for name in found))
    for name, purpose in _KEYS.items():
        is_set = getattr(settings, name) is not None
        variable = f"STABLEYIELD_{name.upper()}"
        yield Check(
            purpose,
            "ok" if is_set else "warning",
            f"{variable} is {'set' if is_set else 'not set'}",
        )


def _database(engine: Engine) -> Iterator[Check]:
    where = shown(engine.url)
    try:
        pending = pending_migrations(engine)
    except StableyieldError as error:
        yield Check("database", "failed", error.one_line)
        return
    if pending:
        yield Check("database", "warning", f"{where}: migrations to run: {len(pending)}")
        return
    yield Check("database", "ok", where)
    runs = list_runs(engine, limit=20)
    for run in runs:
        if run.status == "running":
            yield Check("runs", "warning", f"{run.run_id} of {run.exec_date} is running, or died")
    if (books := last_snapshot(engine, date.max)) is not None:
        yield Check("runs", "ok", f"the last day that was decided is {books.day}")
    else:
        yield Check("runs", "warning", "no day has been decided yet")


def _clock(engine: Engine, clock: Clock) -> Iterator[Check]:
    now = clock.utc_now()
    try:
        check_not_behind(engine, now)
        newest = newest_day(engine, "pool_daily")
    except ClockSkewError as error:
        yield Check("clock", "failed", error.what)
        return
    except StableyieldError:
        newest = None  # the check of the database has said it
    yield Check("clock", "ok", f"{now:%Y-%m-%d %H:%M:%S} UTC")
    if newest is not None and now.date() - newest > STALE_AFTER:
        detail = f"the newest pool rows are of {newest}"
        yield Check("data", "warning", f"{detail}: no run since, or the clock is ahead")


def _disk(engine: Engine, settings: Settings) -> Iterator[Check]:
    places = {"reports": settings.output_dir, "cache": settings.cache_dir}
    if engine.dialect.name == "sqlite" and engine.url.database:
        places["database"] = Path(engine.url.database).parent
    for what, place in places.items():
        existing = next(each for each in (place, *place.absolute().parents) if each.exists())
        free = shutil.disk_usage(existing).free
        verdict: Verdict = "ok" if free >= LEAST_FREE_BYTES else "warning"
        yield Check(f"disk of {what}", verdict, f"{place}: {free / 2**30:.1f} GiB are free")
