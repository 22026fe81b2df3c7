"""What the better forecast earns: the same backtests with learned forecasts and with persistence.

    python benchmarks/forecast_value.py --data ../shared/data --out docs/forecast_study
    python benchmarks/forecast_value.py --data ... --out ... --only panel --days 30   # quick

Everything but the forecaster is the same. Reported is the difference in net APY, with a 90 %
interval of a paired circular block bootstrap: blocks of the days' log growth of both runs are drawn
together. Runs are kept in ``--store`` and not repeated. About eight CPU minutes.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from forecast_study import saved, titled
from stableyield.backtest import BacktestSettings, run_backtest
from stableyield.config import AllocationParameters
from stableyield.forecast.registry import judged_forecaster
from stableyield.market.assemble import assemble
from stableyield.market.layouts import import_market
from stableyield.market.panel import MarketPanel

mpl.use("Agg")
from matplotlib import pyplot as plt

AUM_USD = 1e6
HORIZONS = (7, 30)
REFIT_DAYS = 28
BLOCK_DAYS, N_DRAWS, SEED = 14, 4000, 0
REFERENCE = "last"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A market, the days of the backtest, and what forecasts beside the last value."""

    layout: str
    files: tuple[str, ...]
    start: date
    end: date
    methods: tuple[tuple[str, str], ...]


LEARNED, REALISED, EWMA = ("learned", "quoted"), ("learned", "realised"), ("ewma", "quoted")
CASES = {
    "panel": Case(
        "panel",
        ("lending_panel",),
        date(2024, 10, 1),
        date(2025, 2, 27),
        (LEARNED, EWMA),
    ),
    "vaults": Case(
        "vaults",
        ("vault_daily", "vault_meta"),
        date(2024, 6, 1),
        date(2024, 9, 28),
        (REALISED, LEARNED, EWMA),
    ),
}


def main() -> None:
    options = _options()
    done: dict[str, dict[str, Any]] = {}
    if options.store.is_file():
        done = json.loads(options.store.read_text(encoding="utf-8"))
    for name in options.only:
        case = CASES[name]
        files = [options.data / f"{file}.parquet" for file in case.files]
        panel = assemble(import_market(case.layout, files))
        for horizon in HORIZONS:
            for method, target in ((REFERENCE, "quoted"), *case.methods):
                key = f"{name}|{horizon}|{method}|{target}"
                if key in done:
                    continue
                done[key] = _backtest(panel, case, (method, target, horizon), options.days)
                print(key, f"{done[key]['cpu_seconds']:.0f} s", flush=True)
                options.store.write_text(json.dumps(done), encoding="utf-8")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "value.md").write_text(_page(done), encoding="utf-8")
    _figure(done, options.out / "value.png")


def _backtest(
    panel: MarketPanel, case: Case, what: tuple[str, str, int], days: int | None
) -> dict[str, Any]:
    """One run: the logarithm of each day's growth, and what it paid."""
    method, target, horizon = what
    refit = REFIT_DAYS if method == "learned" else None
    end = case.end if days is None else min(case.end, case.start + timedelta(days=days - 1))
    settings = BacktestSettings(
        start=case.start,
        end=end,
        aum_usd=AUM_USD,
        parameters=AllocationParameters().with_overrides({"horizon_days": horizon}),
        forecaster=judged_forecaster(method, target=target, refit_every_days=refit),
        with_benchmarks=False,
    )
    began = time.process_time()
    log = run_backtest(panel, settings).daily_log
    return {
        "log_growth": np.log(log["growth_factor"].to_numpy()).tolist(),
        "days": [str(day)[:10] for day in log["exec_date"]],
        "costs_usd": float(log["total_fees_usd"].sum()),
        "turnover": float(log["turnover_usd"].sum() / AUM_USD),
        "forecast_usd": float(log["daily_forecast_pnl"].sum()),
        "yield_usd": float(log["yield_usd"].sum()),
        "cpu_seconds": time.process_time() - began,
    }


def annual_pct(log_growth: Floats) -> Floats:
    """Net APY in percent of days along the last axis."""
    return 100.0 * np.expm1(365.0 * log_growth.mean(axis=-1))


def difference(own: Floats, other: Floats) -> tuple[float, float, float]:
    """Difference in net APY, points, and its 5 % and 95 % bounds."""
    n = len(own)
    rng = np.random.default_rng(SEED)
    starts = rng.integers(0, n, (N_DRAWS, -(-n // BLOCK_DAYS)))
    drawn = (starts[:, :, None] + np.arange(BLOCK_DAYS)).reshape(N_DRAWS, -1)[:, :n] % n
    gains = annual_pct(own[drawn]) - annual_pct(other[drawn])
    low, high = np.quantile(gains, [0.05, 0.95])
    return float(annual_pct(own) - annual_pct(other)), float(low), float(high)


def _page(done: dict[str, dict[str, Any]]) -> str:
    heads = (
        *("market", "days", "horizon", "forecaster", "net APY %", "against last, points", "90 %"),
        *("costs USD", "turnover", "promised / came"),
    )
    lines = ["| " + " | ".join(heads) + " |", "|---" * 4 + "|---:" * (len(heads) - 4) + "|"]
    for key, run in done.items():
        name, horizon, method, target = key.split("|")
        own = np.array(run["log_growth"])
        gain, low, high = difference(own, np.array(_reference(done, key)["log_growth"]))
        is_reference = method == REFERENCE
        cells = (
            *(name, f"{run['days'][0]} .. {run['days'][-1]}", f"{horizon} d"),
            method if target == "quoted" else f"{method}, {target}",
            f"{annual_pct(own):.2f}",
            "" if is_reference else f"{gain:+.2f}",
            "" if is_reference else f"{low:+.2f} .. {high:+.2f}",
            *(f"{run['costs_usd']:,.0f}", f"{run['turnover']:.1f}"),
            f"{run['forecast_usd'] / run['yield_usd']:.2f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return (
        "# What the better forecast earns\n\n"
        "Made by `python benchmarks/forecast_value.py --data ../shared/data --out "
        "docs/forecast_study`: daily backtests with 1 million USD and the default parameters, the "
        "same but for the forecaster and the horizon. The interval is of a paired circular block "
        f"bootstrap ({BLOCK_DAYS}-day blocks of daily log growth, {N_DRAWS} draws); turnover in "
        f"multiples of the start money; learned models are refitted every {REFIT_DAYS} days.\n\n"
        + "\n".join(lines)
        + "\n\n![Lead over persistence](value.png)\n"
    )


def _reference(done: dict[str, dict[str, Any]], key: str) -> dict[str, Any]:
    name, horizon, _, _ = key.split("|")
    return done[f"{name}|{horizon}|{REFERENCE}|quoted"]


def _figure(done: dict[str, dict[str, Any]], path: Path) -> None:
    """The lead of each run over persistence, in basis points of the start money, by day."""
    names = sorted({key.split("|")[0] for key in done})
    figure, axes = plt.subplots(1, len(names), figsize=(5 * len(names), 3.6), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        for key, run in done.items():
            market, horizon, method, target = key.split("|")
            if market != name or method == REFERENCE:
                continue
            lead = np.cumsum(run["log_growth"]) - np.cumsum(_reference(done, key)["log_growth"])
            days = np.array(run["days"], dtype="datetime64[D]")
            label = f"{method}{'' if target == 'quoted' else ', realised'}, {horizon} d"
            axis.plot(days, 1e4 * lead, label=label)
        axis.axhline(0.0, color="black", linewidth=0.8)
        axis.tick_params(axis="x", rotation=45, labelsize=7)
        titled(axis, name)
        axis.legend(fontsize=7, frameon=False)
    axes[0][0].set_ylabel("lead over the last value, basis points", fontsize=9)
    figure.tight_layout()
    saved(figure, path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--store", type=Path, default=Path("forecast_value.json"))
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--days", type=int, help="only so many days of each run")
    return parser.parse_args()


if __name__ == "__main__":
    main()
