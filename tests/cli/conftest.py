"""The command line as its users start it, and files to start it on."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stableyield.cli.app import main
from stableyield.market.files import write_market
from stableyield.market.synthetic import SyntheticSettings, UniverseModel, simulate_market

N_DAYS, N_POOLS = 24, 6


@dataclass(frozen=True)
class Outcome:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def first_line(self) -> str:
        """The first line on standard error."""
        return self.err.splitlines()[0] if self.err else ""

    @property
    def document(self) -> Any:
        """Standard output as one strict JSON document."""
        return json.loads(self.out, parse_constant=_refuse)


def _refuse(name: str) -> float:
    raise AssertionError(f"{name} is not JSON")


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Run ``stableyield`` with arguments in this process."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["stableyield", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "80")
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return Outcome(int(stop.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def made_market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic market as csv; never written to by tests."""
    universe = UniverseModel(late_share=0.0, delisting_hazard=0.0, missing_day_share=0.0)
    settings = SyntheticSettings(seed=3, n_days=N_DAYS, n_pools=N_POOLS, universe=universe)
    directory = tmp_path_factory.mktemp("made") / "market"
    write_market(simulate_market(settings), directory, file_format="csv")
    return directory


@pytest.fixture
def market(made_market: Path, tmp_path: Path) -> Path:
    """A copy of the market that a test may spoil."""
    return Path(shutil.copytree(made_market, tmp_path / "market"))


@pytest.fixture
def problem() -> dict[str, Any]:
    """The content of a problem file: six lending pools and 100,000 USDC."""
    pools = [
        {
            "pool_id": f"pool-{n}",
            "symbol": "USDC",
            "chain": "Ethereum",
            "protocol": "aave-v3",
            "tokens": ["USDC"],
            "forecast_apy_pct": 4.0 + n,
            "forecast_tvl_usd": 5e7,
        }
        for n in range(6)
    ]
    return {
        "token_prices_usd": {"USDC": 1.0},
        "gas_usd": {"allocation": 2.0, "withdrawal": 2.0, "conversion": 3.0},
        "wallet": {"USDC": 100_000.0},
        "pools": pools,
    }


@pytest.fixture
def problem_file(problem: dict[str, Any], tmp_path: Path) -> Path:
    """The problem as a file."""
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(problem), encoding="utf-8")
    return path
