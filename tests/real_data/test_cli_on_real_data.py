"""The commands of the documentation, on real data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stableyield.cli.app import run

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
DATA, GOLDEN = SHARED / "data", SHARED / "golden"

pytestmark = pytest.mark.skipif(
    not (DATA / "vault_daily.parquet").is_file(), reason=f"needs the real data in {DATA}"
)
LAYOUTS = {
    "vaults": ("vault_daily.parquet", "vault_meta.parquet"),
    "panel": ("lending_panel.parquet",),
    "lend-borrow": ("lend_borrow_daily.parquet",),
}


def spoken(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """What a command that succeeds says with --json."""
    capsys.readouterr()
    assert run([*map(str, arguments), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out, parse_constant=pytest.fail)


@pytest.fixture(scope="module")
def vaults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vaults") / "m"
    files = [str(DATA / name) for name in LAYOUTS["vaults"]]
    assert run(["market", "import", "--layout", "vaults", *files, "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_imported_and_can_be_screened(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, layout: str
) -> None:
    files = [DATA / name for name in LAYOUTS[layout]]
    out = tmp_path / "m"
    made = spoken(capsys, "market", "import", "--layout", layout, *files, "--out", out)
    assert (made["has_gas"], made["has_prices"]) == (True, True)
    screened = spoken(capsys, "screen", "--market", out, "--day", "2024-06-25")
    assert any(pool["state"] == "open" for pool in screened["pools"])


def test_a_backtest_over_vaults_accounts_for_all_money(
    capsys: pytest.CaptureFixture[str], vaults: Path, tmp_path: Path
) -> None:
    days = ("--start", "2024-05-01", "--end", "2024-05-05", "--aum", "1000000")
    metrics = spoken(capsys, "backtest", "--market", vaults, *days, "--out", tmp_path / "run")
    strategy = metrics["strategy"]
    assert strategy["aum_start_usd"] == pytest.approx(1e6, abs=0.01)
    assert strategy["costs_usd"] > 0.0
    assert strategy["aum_end_usd"] - 1e6 == pytest.approx(strategy["profit_usd"], abs=0.01)
    assert Path(metrics["report"]).is_file()


def test_the_golden_instance_reaches_its_optimum(capsys: pytest.CaptureFixture[str]) -> None:
    problem = GOLDEN / "seed_mock_15.json"
    for horizon_days, net_usd in ((1, 232.0177), (30, 8839.2216), (365, 114801.8406)):
        plan = spoken(capsys, "allocate", problem, "--set", f"horizon_days={horizon_days}")
        assert plan["expected"]["net_usd"] == pytest.approx(net_usd, abs=0.05)


def test_only_ust_is_still_in_the_icebox(
    capsys: pytest.CaptureFixture[str],
) -> None:
    prices = DATA / "stablecoin_daily.parquet"
    stays = spoken(capsys, "icebox", "--prices", prices, "--token", "UST", "--token", "USDT")
    assert {stay["token"] for stay in stays} == {"UST", "USDT"}
    inside = [stay for stay in stays if stay["left"] is None]
    assert {stay["token"] for stay in inside} == {"UST"}
    assert {stay["entered"] for stay in inside} == {"2022-05-08", "2022-05-09"}
