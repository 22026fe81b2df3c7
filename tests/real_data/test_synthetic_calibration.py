from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PANEL = ROOT.parent / "shared" / "data" / "lending_panel.parquet"
SEEDS = (1, 2, 3, 4)
CENTRAL = (0.25, 0.50, 0.75, 0.90, 0.95)
# how far a quantile may be off: the larger of a share of it and an amount of points
RELATIVE, ABSOLUTE_POINTS = 0.35, 0.05


@pytest.fixture(scope="module")
def benchmark():
    path = ROOT / "benchmarks" / "synthetic_calibration.py"
    spec = importlib.util.spec_from_file_location("synthetic_calibration", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def real(benchmark):
    if not PANEL.exists():
        pytest.skip(f"{PANEL.name} is not beside this repository")
    return benchmark.read_panel(PANEL)


@pytest.fixture(scope="module")
def synthetic(benchmark, real):
    return [benchmark.synthetic_panel(len(real), seed) for seed in SEEDS]


@pytest.mark.parametrize("name", ["level", "change", "deviation"])
def test_the_central_quantiles_are_those_of_real_pools(benchmark, real, synthetic, name):
    pooled = np.concatenate([benchmark.statistics(panel)[name] for panel in synthetic])
    want = np.quantile(benchmark.statistics(real)[name], CENTRAL)
    np.testing.assert_allclose(
        np.quantile(pooled, CENTRAL), want, rtol=RELATIVE, atol=ABSOLUTE_POINTS
    )


@pytest.mark.parametrize("name", ["level", "change", "deviation"])
def test_the_largest_values_are_as_wild_as_real_ones(benchmark, real, synthetic, name):
    pooled = np.concatenate([benchmark.statistics(panel)[name] for panel in synthetic])
    ratio = np.quantile(pooled, 0.99) / np.quantile(benchmark.statistics(real)[name], 0.99)
    assert 0.6 < ratio < 1.6


def test_quiet_rows_are_as_frequent_as_in_real_pools(benchmark, real, synthetic):
    want = benchmark.dynamics(real)
    have = benchmark.dynamics(synthetic[0])
    for name in ("rows that pay less than 0.05 %", "changes below 0.01 points"):
        assert have[name] == pytest.approx(want[name], abs=0.08)


def test_rates_remember_as_long_as_real_ones(benchmark, real, synthetic):
    # without this a forecaster that is right here would be wrong outside
    want = benchmark.dynamics(real)
    have = benchmark.dynamics(synthetic[0])
    for lag in (1, 5, 10):
        name = f"log rate: autocorrelation, {lag} d"
        assert have[name] == pytest.approx(want[name], abs=0.15)
    name = "log rate: standard deviation of the daily change"
    assert have[name] == pytest.approx(want[name], rel=0.25)
