"""Does the synthetic market look like a real one? Three statistics of the APY, side by side.

Usage::

    python benchmarks/synthetic_calibration.py PATH_TO_PANEL --out docs/images/...png

PATH_TO_PANEL is a parquet file with the columns series, date and apy (percent per year): one row
per pool and day. Prints the tables of benchmarks/README.md and draws their figure.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.market.synthetic import SyntheticSettings, simulate_market

Floats = NDArray[np.float64]

QUANTILES = (0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99)
STATISTICS = {
    "level": "APY (% per year)",
    "change": "one-day change of the APY, absolute (points)",
    "deviation": "30-day standard deviation of the APY (points)",
}
NEAR_ZERO_POINTS = 0.01
PAYS_PCT = 0.05  # a log rate needs a rate
MIN_DAYS = 100


def read_panel(path: Path) -> pd.DataFrame:
    """APY in percent, one column per pool and one row per calendar day."""
    rows = pd.read_parquet(path, columns=["series", "date", "apy"])
    return _by_day(rows, "series", "apy")


def synthetic_panel(n_days: int, seed: int, n_pools: int = 250) -> pd.DataFrame:
    """APY of a synthetic market in the same shape."""
    settings = SyntheticSettings(seed=seed, n_days=n_days, n_pools=n_pools)
    rows = simulate_market(settings).pool_daily
    return _by_day(rows, "pool_id", "apy_pct")


def _by_day(rows: pd.DataFrame, pool: str, apy: str) -> pd.DataFrame:
    return rows.pivot_table(index="date", columns=pool, values=apy, aggfunc="last").asfreq("D")


def statistics(apy_pct: pd.DataFrame) -> dict[str, Floats]:
    """The three cross-sections, each over all pools and days on which it is known."""
    values = apy_pct.to_numpy(dtype=np.float64)
    parts = {
        "level": values,
        "change": np.abs(np.diff(values, axis=0)),
        "deviation": apy_pct.rolling(30, min_periods=30).std().to_numpy(dtype=np.float64),
    }
    return {name: part[np.isfinite(part)] for name, part in parts.items()}


def dynamics(apy_pct: pd.DataFrame) -> dict[str, float]:
    """How the APY moves in time: shares of all rows, medians over pools of the log rate."""
    parts = statistics(apy_pct)
    rate = apy_pct.where(apy_pct > PAYS_PCT)
    log_rate = pd.DataFrame(np.log(rate.to_numpy()), rate.index, rate.columns)
    log_rate = log_rate.loc[:, log_rate.notna().sum() > MIN_DAYS]
    result = {
        f"rows that pay less than {PAYS_PCT} %": float(np.mean(parts["level"] < PAYS_PCT)),
        f"changes below {NEAR_ZERO_POINTS} points": float(
            np.mean(parts["change"] < NEAR_ZERO_POINTS)
        ),
        "log rate: standard deviation": float(log_rate.std().median()),
        "log rate: standard deviation of the daily change": float(log_rate.diff().std().median()),
        "log rate: kurtosis of the daily change": float(log_rate.diff().kurt().median()),
    }
    for lag in (1, 5, 10, 20):
        each = [log_rate[pool].autocorr(lag) for pool in log_rate]
        result[f"log rate: autocorrelation, {lag} d"] = float(np.nanmedian(each))
    return result


def quantile_table(real: Mapping[str, Floats], synthetic: Mapping[str, Floats]) -> str:
    """Quantiles of the three statistics as a markdown table."""
    head = "".join(f" {q:.0%} |" for q in QUANTILES)
    lines = [f"| statistic | market |{head}", "|---|---|" + "---:|" * len(QUANTILES)]
    for name, title in STATISTICS.items():
        both = (("real", real[name]), ("synthetic", synthetic[name]))
        for market, values in both:
            cells = "".join(f" {x:.3g} |" for x in np.quantile(values, QUANTILES))
            lines.append(f"| {title} | {market} |{cells}")
    return "\n".join(lines)


def dynamics_table(real: Mapping[str, float], synthetic: Mapping[str, float]) -> str:
    """The movement in time as a markdown table."""
    lines = ["| movement | real | synthetic |", "|---|---:|---:|"]
    lines += [f"| {name} | {real[name]:.3g} | {synthetic[name]:.3g} |" for name in real]
    return "\n".join(lines)


def draw(
    real: Mapping[str, Floats], markets: Sequence[Mapping[str, Floats]], n_pools: int, out: Path
) -> None:
    """Distribution functions on log axes: real as a line, synthetic as a line and a band."""
    import matplotlib as mpl  # noqa: PLC0415 - the tests use the statistics without a figure

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    shares = np.linspace(0.005, 0.999, 400)
    limits = {"level": (0.1, 200.0), "change": (0.003, 100.0), "deviation": (0.03, 200.0)}
    figure, axes = plt.subplots(1, 3, figsize=(13.5, 4.9), sharey=True, layout="constrained")
    for axis, (name, title) in zip(axes, STATISTICS.items(), strict=True):
        lowest = limits[name][0] / 10.0  # a log axis has no place for zero
        curves = np.array([np.quantile(market[name], shares) for market in markets])
        curves = np.maximum(curves, lowest)
        axis.fill_betweenx(
            100.0 * shares,
            curves.min(axis=0),
            curves.max(axis=0),
            color="#e07b39",
            alpha=0.25,
            linewidth=0,
            label=f"synthetic, range of {len(markets)} seeds",
        )
        axis.plot(
            np.median(curves, axis=0),
            100.0 * shares,
            color="#e07b39",
            linewidth=2.0,
            label="synthetic, median seed",
        )
        axis.plot(
            np.maximum(np.quantile(real[name], shares), lowest),
            100.0 * shares,
            color="#1f3b57",
            linewidth=2.0,
            linestyle=(0, (4, 1.5)),
            label=f"real, {n_pools} lending pools and vaults",
        )
        axis.set_xscale("log")
        axis.set_xlim(*limits[name])
        axis.set_ylim(0.0, 100.0)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_xlabel(title)
        axis.grid(visible=True, which="major", color="#d9d9d9", linewidth=0.7)
        axis.spines[["top", "right"]].set_visible(False)
    for axis, name in zip(
        axes, ("Level", "One-day change", "30-day standard deviation"), strict=True
    ):
        axis.set_title(name, fontweight="bold", loc="left")
    axes[0].set_ylabel("share of pool-days at or below (%)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=130)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("panel", type=Path, help="parquet with series, date, apy (percent)")
    parser.add_argument("--out", type=Path, help="figure to draw (png)")
    parser.add_argument("--seeds", type=int, default=10, help="synthetic markets to draw")
    arguments = parser.parse_args()

    real = read_panel(arguments.panel)
    panels = [synthetic_panel(len(real), seed) for seed in range(1, arguments.seeds + 1)]
    markets = [statistics(panel) for panel in panels]
    pooled = {name: np.concatenate([market[name] for market in markets]) for name in STATISTICS}
    moves = [dynamics(panel) for panel in panels]
    mean_moves = {name: float(np.mean([move[name] for move in moves])) for name in moves[0]}
    print(quantile_table(statistics(real), pooled), end="\n\n")
    print(dynamics_table(dynamics(real), mean_moves), end="\n\n")
    begin = time.perf_counter()
    simulate_market(SyntheticSettings())
    print(f"365 days x 250 pools: {time.perf_counter() - begin:.2f} s")
    if arguments.out:
        draw(statistics(real), markets, real.shape[1], arguments.out)


if __name__ == "__main__":
    main()
