"""The made-up run that the report's tests read."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stableyield.backtest.result import BacktestResult


@pytest.fixture(scope="session")
def make_result() -> Callable[..., BacktestResult]:
    """The factory of made_up_run.py: days, seed and price noise are its arguments."""
    path = Path(__file__).with_name("made_up_run.py")
    spec = importlib.util.spec_from_file_location("made_up_run", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["made_up_run"] = module
    spec.loader.exec_module(module)
    return module.make_result


@pytest.fixture(scope="session")
def result(make_result: Callable[..., BacktestResult]) -> BacktestResult:
    """The 90-day run; read it, do not change it."""
    return make_result()
