"""How fast a backtest is without a solver, what its books and checkpoints cost, and its memory.

python benchmarks/backtest.py            # two minutes; prints the tables of benchmarks/README.md
python benchmarks/backtest.py --quick    # fewer repeats, no memory
"""

from __future__ import annotations

import argparse
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np

from peak_memory import peak_mb
from stableyield.backtest import BacktestSettings, run_backtest
from stableyield.backtest.benchmarks import BestSingle, EqualWeight, Hold, Idle
from stableyield.backtest.day import prices_of
from stableyield.backtest.ledger import next_day
from stableyield.backtest.places import Places
from stableyield.backtest.policy import Policy
from stableyield.backtest.realised import realised
from stableyield.backtest.threshold import Threshold
from stableyield.backtest.trailing import TopTrailing
from stableyield.domain.portfolio import Book
from stableyield.market.assemble import panel_of
from stableyield.market.panel import MarketPanel
from stableyield.market.synthetic import SyntheticSettings, simulate_market

FIRST_DAY, HISTORY_DAYS, N_DAYS = date(2024, 1, 1), 60, 365
TARGET_DAYS_PER_SECOND, TARGET_ACCOUNTING_MS = 5_000, 0.2
TARGET_CHECKPOINT_PCT, TARGET_MEMORY_MB = 3.0, 600
POLICIES: dict[str, Callable[[], Policy]] = {
    "idle": Idle,
    "hold (of equal weight)": lambda: Hold(EqualWeight()),
    "best single pool": BestSingle,
    "equal weight, monthly": EqualWeight,
    "top trailing, weekly": TopTrailing,
    "threshold": Threshold,
}


@dataclass(frozen=True)
class Speed:
    """CPU seconds of each repeat, and the least time that each day took in any of them."""

    policy: str
    n_pools: int
    n_positions: float
    cpu_seconds: Sequence[float]
    least_seconds: float

    @property
    def row(self) -> str:
        median = N_DAYS / float(np.median(self.cpu_seconds))
        least = N_DAYS / self.least_seconds
        reached = "" if self.n_pools > 30 else ("yes" if median >= TARGET_DAYS_PER_SECOND else "no")
        return (
            f"| {self.policy} | {self.n_pools} | {self.n_positions:.0f} | {median:,.0f} "
            f"| {least:,.0f} | {1e6 / least:,.0f} | {reached} |"
        )


def market(n_pools: int, n_days: int) -> MarketPanel:
    settings = SyntheticSettings(seed=1, n_pools=n_pools, n_days=n_days, first_day=FIRST_DAY)
    return panel_of(simulate_market(settings))


def settings() -> BacktestSettings:
    start = FIRST_DAY + timedelta(days=HISTORY_DAYS)
    return BacktestSettings(
        start=start, end=start + timedelta(days=N_DAYS - 1), with_benchmarks=False
    )


def speeds(n_pools: int, n_repeats: int) -> list[Speed]:
    """Each policy on the same market, one after the other, again and again."""
    panel = market(n_pools, HISTORY_DAYS + N_DAYS + 1)
    cpu: dict[str, list[float]] = {name: [] for name in POLICIES}
    least: dict[str, np.ndarray] = {}
    held: dict[str, float] = {}
    for _ in range(n_repeats):
        for name, policy in POLICIES.items():
            moments, cpus = [], []

            def note(*_: int, moments=moments, cpus=cpus) -> None:
                moments.append(time.perf_counter())
                cpus.append(time.process_time())

            result = run_backtest(panel, settings(), policy=policy(), progress=note)
            days = np.diff(moments)
            least[name] = np.minimum(least.get(name, days), days)
            cpu[name].append((cpus[-1] - cpus[0]) * N_DAYS / (N_DAYS - 1))
            held[name] = float(result.daily_log["n_positions"].mean())
    return [
        Speed(name, n_pools, held[name], cpu[name], float(least[name].mean()) * N_DAYS)
        for name in POLICIES
    ]


def accounting_ms(n_pools: int, n_repeats: int) -> tuple[float, int]:
    """Milliseconds to carry equal weight's book over a day, and its positions."""
    panel, run = market(n_pools, HISTORY_DAYS + N_DAYS + 1), settings()
    rows = run_backtest(panel, run, policy=EqualWeight()).positions
    last = rows[(rows["exec_date"] == rows["exec_date"].iloc[-1]) & (rows["symbol"] != "wallet")]
    keys = zip(last["pool_id"], last["token"], strict=True)
    book = Book({}, dict(zip(keys, last["amount"].tolist(), strict=True)))
    first = run.start + timedelta(days=N_DAYS - 60)
    views = list(panel.walk([first + timedelta(days=n) for n in range(60)]))
    parameters = run.parameters.model_copy(update={"missing_price": "last"})
    seconds = np.full(len(views) - 1, np.inf)
    for _ in range(n_repeats):
        held, places = book, Places(book.layout, views[0].directory)
        for n, (today, tomorrow) in enumerate(pairwise(views)):
            if (held.layout, tomorrow.directory) != (places.layout, places.directory):
                places = Places(held.layout, tomorrow.directory)
            began = time.perf_counter()
            before, _ = prices_of(today, held, parameters)
            after, _ = prices_of(tomorrow, held, parameters)
            pools = realised(tomorrow, held, parameters, today, places)
            held = next_day(held, before, after, pools).book
            seconds[n] = min(seconds[n], time.perf_counter() - began)
    return 1e3 * float(np.median(seconds)), len(book.positions)


def checkpoint_pct(policy: Callable[[], Policy], n_repeats: int) -> tuple[float, float]:
    """What saving adds to a run, in percent of its wall time and of its CPU time."""
    panel = market(30, HISTORY_DAYS + N_DAYS + 1)
    panel.sha256  # noqa: B018 - both ways need it, and keep it
    spent = np.zeros((n_repeats, 2, 2))
    for n in range(n_repeats):
        for saved in (0, 1):
            with tempfile.TemporaryDirectory() as directory:
                where = Path(directory) / "saved" if saved else None
                wall, cpu = time.perf_counter(), time.process_time()
                run_backtest(panel, settings(), policy=policy(), checkpoint=where)
                spent[n, saved] = time.perf_counter() - wall, time.process_time() - cpu
    wall, cpu = 100.0 * (np.median(spent[:, 1] / spent[:, 0], axis=0) - 1.0)
    return float(wall), float(cpu)


def memory_mb() -> tuple[int, int]:
    """Peak of a process that runs 4,000 pools by 365 days, and what it has before the run."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "market.pickle"
        path.write_bytes(pickle.dumps(_parts(market(4_000, N_DAYS + 1))))
        command = [sys.executable, __file__, "--memory-of", str(path)]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
    peak, before = found.stdout.split()
    return int(peak), int(before)


def _parts(panel: MarketPanel) -> tuple[object, ...]:
    """What a panel is built from, without the arrays that are unknown throughout."""
    view = panel.as_of(panel.last_day)
    pools, tokens = (
        {name: values for name, values in vars(series).items() if np.isfinite(values).any()}
        for series in (view.pool_series, view.token_series)
    )
    return view.days, view.pools, pools, view.tokens, tokens, view.gas


def run_for_memory(path: Path) -> None:
    """Run equal weight on a market, and print the peak memory and that before the run, MB."""
    days, pools, pool_arrays, tokens, token_arrays, gas = pickle.loads(path.read_bytes())
    panel = MarketPanel.build(days, pools, pool_arrays, tokens, token_arrays, gas=gas)
    del pool_arrays, token_arrays
    before = peak_mb()
    run_backtest(panel, policy=EqualWeight(), with_benchmarks=False)
    print(f"{peak_mb():.0f} {before:.0f}")


def report(lines: Iterable[str]) -> None:
    print("\n".join(lines), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of is not None:
        run_for_memory(options.memory_of)
        return
    n_repeats = 3 if options.quick else 9
    report(
        [
            "| policy | pools | positions | days/s, median | days/s, undisturbed | µs a day "
            "| >= 5,000 |",
            "|---|---:|---:|---:|---:|---:|---|",
        ]
    )
    for n_pools in (30, 250):
        report(speed.row for speed in speeds(n_pools, n_repeats))
    ms, n_positions = accounting_ms(250, n_repeats)
    report(["", "| what | measured | target |", "|---|---:|---:|"])
    report(
        [f"| books of a day, {n_positions} positions | {ms:.3f} ms | {TARGET_ACCOUNTING_MS} ms |"]
    )
    for name in ("idle", "equal weight, monthly"):
        wall, cpu = checkpoint_pct(POLICIES[name], 3 * n_repeats)
        report(
            [
                f"| checkpoint, {name}, {N_DAYS} days | {wall:.1f} % of the time, {cpu:.1f} % CPU "
                f"| {TARGET_CHECKPOINT_PCT:g} % |"
            ]
        )
    if not options.quick:
        peak, before = memory_mb()
        report(
            [
                f"| peak memory, 4,000 x {N_DAYS}, equal weight | {peak} MB, {before} MB of them "
                f"before the run | {TARGET_MEMORY_MB} MB |"
            ]
        )


if __name__ == "__main__":
    main()
