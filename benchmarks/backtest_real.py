"""The strategy against its benchmarks on observed markets: vaults 2023-24, lending pools 2024-25.

    python benchmarks/backtest_real.py --data DATA --out study.json
    python benchmarks/backtest_real.py --data ... --days 30 --aum 1e6 --market panel   # quick
    python benchmarks/backtest_real_report.py study.json --out docs/backtest_study

Runs are written as they are done, and a run that is in ``--out`` already is not repeated. How long
it takes: a backtest of a year is 10-20 CPU seconds; the whole study is about 100 of them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stableyield.backtest import BacktestSettings, run_backtest
from stableyield.backtest.benchmarks import EqualWeight, Hold, all_benchmarks
from stableyield.backtest.choice import keep_what_may_be_kept
from stableyield.backtest.policy import Decision, MilpPolicy, Policy
from stableyield.config import AllocationParameters
from stableyield.forecast import Forecast, Forecaster
from stableyield.forecast.registry import forecaster as forecaster_of
from stableyield.market.assemble import assemble
from stableyield.market.layouts import import_market
from stableyield.market.panel import MarketPanel, MarketView
from stableyield.report.performance import bootstrap_apy
from stableyield.study.break_even import break_even_cost
from stableyield.study.outcome import Outcome
from stableyield.study.regret import Rung, ladder

MARKETS: dict[str, tuple[tuple[str, ...], date, date]] = {
    "vaults": (("vault_daily", "vault_meta"), date(2023, 7, 1), date(2024, 9, 29)),
    "panel": (("lending_panel",), date(2024, 7, 1), date(2025, 2, 27)),
}
AUM_USD = (1e6, 1e5, 2e7)
BREAK_EVEN_USD = 1e6
CAPACITY_USD = (1e4, 1e7, 1e8, 1e9)
NO_GROUPS = {"group1_max_pct": 1.0, "group2_max_pct": 1.0, "group3_max_pct": 1.0}
WEEK = {"horizon_days": 7}
CALM = {**NO_GROUPS, **WEEK}
RUNGS = ("clairvoyant", "no_limits", "no_costs", "no_dilution")
LARGE = {"pool_tvl_limit": 1e6, "min_history_days": 30}


@dataclass(frozen=True)
class EveryNth:
    """The strategy on every ``step``-th day; on the others it keeps what may be kept."""

    start: date
    step: int
    name: str = "strategy"
    inside: Policy = field(default_factory=MilpPolicy)

    def decide(self, prepared, inputs) -> Decision:
        if (inputs.view.day - self.start).days % self.step == 0:
            return self.inside.decide(prepared, inputs)
        return keep_what_may_be_kept(prepared)


@dataclass(frozen=True, eq=False)
class Floored:
    """A forecaster whose quantiles say that no more can be lost than everything."""

    inside: Forecaster

    @property
    def name(self) -> str:
        return self.inside.name

    def forecast(self, view: MarketView, horizon_days: int) -> Forecast:
        found = self.inside.forecast(view, horizon_days)
        return replace(
            found,
            apy_pct=np.maximum(found.apy_pct, -100.0),
            apy_q10_pct=np.maximum(found.apy_q10_pct, -100.0),
            apy_q50_pct=np.maximum(found.apy_q50_pct, -100.0),
            apy_q90_pct=np.maximum(found.apy_q90_pct, -100.0),
        )


@dataclass(frozen=True, eq=False)
class Run:
    """One backtest of the study: its place in the tables, and what to run."""

    group: str
    name: str
    settings: BacktestSettings
    policy: Callable[[], Policy]


def main() -> None:
    options = _options()
    done: dict[str, dict[str, Any]] = {}
    if options.out.is_file():
        done = json.loads(options.out.read_text(encoding="utf-8"))
    for market in options.market or MARKETS:
        files, start, end = MARKETS[market]
        panel = assemble(import_market(market, [options.data / f"{n}.parquet" for n in files]))
        if options.days:
            end = min(end, start + timedelta(days=options.days - 1))
        settings = BacktestSettings(
            start=start,
            end=end,
            forecaster=forecaster_of(options.forecaster),
            with_benchmarks=False,
        )
        for run in _runs(panel, settings, options):
            key = f"{market}|{run.settings.aum_usd:g}|{run.group}|{run.name}"
            if key in done:
                continue
            began = time.process_time()
            row = _row(panel, run)
            done[key] = {"market": market, **row, "cpu_seconds": time.process_time() - began}
            print(_line(key, done[key]), flush=True)
            options.out.write_text(json.dumps(done, indent=1), encoding="utf-8")
        if options.variants:
            for group, changes in (("default", {}), ("calm", CALM)):
                key = f"{market}|break_even|{group}"
                if key not in done:
                    done[key] = {"market": market, **_break_even(panel, settings, group, changes)}
                    print(key, done[key], flush=True)
            options.out.write_text(json.dumps(done, indent=1), encoding="utf-8")


def _break_even(
    panel: MarketPanel, settings: BacktestSettings, group: str, changes: dict[str, object]
) -> dict[str, Any]:
    """The multiple of all costs at which equal weight earns as much, AUM 1e6."""
    settings = _changed(replace(settings, aum_usd=BREAK_EVEN_USD), changes)
    found = break_even_cost(panel, settings, highest=8.0, accuracy=0.2)
    return {"group": group, "name": "break_even", "aum_usd": BREAK_EVEN_USD, **asdict(found)}


def _runs(panel: MarketPanel, base: BacktestSettings, options: Any) -> Iterator[Run]:
    step = options.step
    for aum in options.aum or AUM_USD:
        settings = replace(base, aum_usd=aum)
        yield from _main_runs(panel, settings, step)
        if options.variants and aum < 1e7:
            yield from _variants(settings, step)
    if options.variants:
        for aum in CAPACITY_USD:
            for group, changes in (("default", {}), ("calm", CALM)):
                settings = _changed(replace(base, aum_usd=aum), changes)
                yield Run(group, "strategy", settings, _strategy(settings, step))


def _main_runs(panel: MarketPanel, settings: BacktestSettings, step: int) -> Iterator[Run]:
    """The strategy with the given defaults and with calmer ones, and all that is beside them."""
    yield Run("default", "strategy", settings, _strategy(settings, step))
    for n, policy in enumerate(all_benchmarks()):
        yield Run("default", policy.name, settings, lambda n=n: all_benchmarks()[n])
    calm = _changed(settings, CALM)
    yield Run("calm", "strategy", calm, _strategy(calm, step))
    yield Run("calm", "hold", calm, Hold)
    yield from _clairvoyants("calm", ladder(panel, calm)[1:2])
    yield from _clairvoyants("default", ladder(panel, settings)[1:])


def _clairvoyants(group: str, rungs: tuple[Rung, ...]) -> Iterator[Run]:
    for name, rung in zip(RUNGS, rungs, strict=False):
        for n, policy in enumerate(rung.policies):
            yield Run(group, f"{name}#{n}", rung.settings, lambda policy=policy: policy)


def _variants(settings: BacktestSettings, step: int) -> Iterator[Run]:
    """Other parameters than the given defaults."""
    calm = _changed(settings, CALM)
    for name, changes in (("no_groups", NO_GROUPS), ("week", WEEK)):
        other = _changed(settings, changes)
        yield Run(name, "strategy", other, _strategy(other, step))
    yield Run("weekly", "strategy", settings, _strategy(settings, 7))
    yield Run("calm_weekly", "strategy", calm, _strategy(calm, 7))
    learned = replace(calm, forecaster=Floored(forecaster_of("learned")))
    yield Run("calm_learned", "strategy", learned, _strategy(learned, step))
    large = _changed(settings, LARGE)
    calm = _changed(large, CALM)
    yield Run("large", "strategy", large, _strategy(large, step))
    yield Run("large", "equal_weight", large, EqualWeight)
    yield Run("large", "hold", calm, Hold)
    yield Run("large_calm", "strategy", calm, _strategy(calm, step))


def _strategy(settings: BacktestSettings, step: int) -> Callable[[], Policy]:
    if step == 1 or settings.start is None:
        return MilpPolicy
    start = settings.start
    return lambda: EveryNth(start, step)


def _changed(settings: BacktestSettings, changes: dict[str, object]) -> BacktestSettings:
    parameters: AllocationParameters = settings.parameters.with_overrides(changes)
    return replace(settings, parameters=parameters)


def _row(panel: MarketPanel, run: Run) -> dict[str, Any]:
    result = run_backtest(panel, run.settings, policy=run.policy())
    log, outcome = result.daily_log, Outcome.of(result)
    growth = (log["aum_end"] / log["aum_start"]).to_numpy()
    interval = bootstrap_apy(growth)
    month = pd.to_datetime(log["target_date"]).dt.strftime("%Y-%m")
    return {
        "group": run.group,
        "name": run.name,
        "aum_usd": run.settings.aum_usd,
        "forecaster": run.settings.forecaster.name,
        **asdict(outcome),
        "net_apy_pct": outcome.net_apy_pct,
        "gross_apy_pct": outcome.gross_apy_pct,
        "profit_usd": outcome.profit_usd,
        "costs_usd": outcome.costs_usd,
        "interval_pct": [100.0 * x for x in interval] if isinstance(interval, tuple) else None,
        "n_positions": float(log["n_positions"].mean()),
        "traded_days": int((log["turnover_usd"] > 0.0).sum()),
        "held_days": int(log["status"].eq("held").sum()),
        "worst_day_pct": float(100.0 * (growth.min() - 1.0)),
        "monthly": {
            name: [float(np.prod(days)), len(days)] for name, days in growth_by(month, growth)
        },
        "growth": [round(float(g), 9) for g in growth],
        "days": [str(log["exec_date"].iloc[0]), str(log["target_date"].iloc[-1])],
    }


def growth_by(month: pd.Series, growth: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [(str(name), growth[rows]) for name, rows in month.groupby(month).indices.items()]


def _line(key: str, row: dict[str, Any]) -> str:
    return (
        f"{key:45s} net {row['net_apy_pct']:8.2f} %  gross {row['gross_apy_pct']:8.2f} %  "
        f"costs {row['costs_usd']:10.0f}  invested {row['invested_share']:.2f}  "
        f"{row['cpu_seconds']:.1f} s"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the parquet files")
    parser.add_argument("--out", type=Path, default=Path("study.json"))
    parser.add_argument("--market", action="append", choices=list(MARKETS))
    parser.add_argument("--aum", action="append", type=float, help="USD; may be repeated")
    parser.add_argument("--days", type=int, help="only the first days")
    parser.add_argument("--step", type=int, default=1, help="the strategy trades every n-th day")
    parser.add_argument("--forecaster", default="ewma")
    parser.add_argument("--variants", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
