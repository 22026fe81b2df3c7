"""The names that users may rely on, and what it costs to import them."""

from __future__ import annotations

import subprocess
import sys

import pytest

import stableyield

PUBLIC = (
    "AllocationOptimizer",
    "AllocationParameters",
    "AllocationProblem",
    "BacktestResult",
    "BacktestSettings",
    "Book",
    "CashFlow",
    "CausalityReport",
    "Forecast",
    "Forecaster",
    "GasCosts",
    "GasPricing",
    "GasTable",
    "LoopMarket",
    "LoopResult",
    "LoopSettings",
    "LoopTarget",
    "MarketPanel",
    "MarketView",
    "Mode",
    "Plan",
    "Pool",
    "PoolInput",
    "PoolState",
    "StableyieldError",
    "SyntheticSettings",
    "Verification",
    "__version__",
    "baseline",
    "build_token_universe",
    "calculate_aum",
    "calculate_gas_fee_usd",
    "calculate_transaction_gas_fees",
    "check_causality",
    "compute_metrics",
    "evaluate",
    "get_db_connection",
    "icebox_from_prices_frame",
    "import_market",
    "mock_instance",
    "panel_of",
    "read_loop_rates",
    "read_market",
    "read_run",
    "render_report",
    "run_backtest",
    "run_day",
    "run_loop_backtest",
    "run_policies",
    "screen",
    "simulate_market",
    "solve",
    "verify",
    "write_market",
    "write_run",
)
HEAVY = ("numpy", "pandas", "pyarrow", "highspy", "pydantic", "typer", "matplotlib", "plotly")


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_public_names_are_these_and_sorted() -> None:
    assert tuple(stableyield.__all__) == PUBLIC
    assert sorted(PUBLIC) == list(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_loads_and_says_what_it_is(name: str) -> None:
    value = getattr(stableyield, name)
    if name != "__version__":
        assert value.__doc__


def test_dir_lists_every_public_name() -> None:
    assert set(PUBLIC) <= set(dir(stableyield))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        stableyield.no_such_name  # noqa: B018 - the access is the test


def test_the_import_alone_loads_nothing_heavy() -> None:
    code = f"import sys, stableyield; print([n for n in {HEAVY!r} if n in sys.modules])"
    assert python(code) == "[]"


def test_a_name_loads_its_room_and_not_the_others() -> None:
    rooms = ("stableyield.backtest", "stableyield.report", "pandas", "highspy")
    code = (
        "import sys, stableyield; stableyield.Book; "
        f"print([n for n in {rooms!r} if n in sys.modules])"
    )
    assert python(code) == "[]"


def test_a_star_import_gives_exactly_the_public_names() -> None:
    code = "from stableyield import *; print(*sorted(n for n in dir() if n[:2] != '__'))"
    assert python(code).split() == [name for name in PUBLIC if name != "__version__"]
