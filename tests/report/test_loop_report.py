"""The loop report: metrics with their warnings, tables, and the page for all that can happen."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stableyield.errors import InputError
from stableyield.loops import (
    LoopCosts,
    LoopMarket,
    LoopRates,
    LoopResult,
    LoopSettings,
    LoopTarget,
    run_loop_backtest,
)
from stableyield.report.loop_files import write_loop
from stableyield.report.loop_metrics import loop_metrics
from stableyield.report.loop_page import headline, page_of, render_loop, verdict
from support.loop_markets import make_prices, make_rates, make_risk

NAME = "aave-v3 on Testchain"
FREE = LoopCosts(gas_usd=0.0, swap=0.0, flash_premium=0.0)


def run(rates: LoopRates | None = None, prices: Any = None, **changes: Any) -> LoopResult:
    values = {"target": LoopTarget(leverage=3.0), "costs": FREE, "own_impact": "none", **changes}
    market = LoopMarket(prices=prices, risk=make_risk())
    return run_loop_backtest(rates or make_rates(20), LoopSettings(**values), market)


def page(result: LoopResult) -> str:
    metrics = loop_metrics(result)
    return render_loop(result, metrics, page_of(result, {"rates": "x"}, make_risk()))


def words(html: str) -> str:
    """What a reader sees of the page, without its scripts."""
    plain = re.sub(r"<(script|style).*?</\1>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", plain))


def test_net_apy_and_the_lead_are_those_of_the_books() -> None:
    result = run()
    row = loop_metrics(result)["markets"][NAME]
    factor = result.daily["equity_usd"].iloc[-1] / 1e6
    assert row["loop"]["net_apy_pct"] == pytest.approx(100.0 * (factor ** (365 / 19) - 1.0))
    lead = row["loop"]["net_apy_pct"] - row["unlevered"]["net_apy_pct"]
    assert row["excess_apy_points"] == pytest.approx(lead)
    assert lead > 5.0


def test_a_run_without_a_loss_or_volatility_is_warned_of() -> None:
    rng = np.random.default_rng(1)
    supply = np.array([0.03, 0.09, 0.04]) + 0.001 * rng.random((80, 3))
    metrics = loop_metrics(run(make_rates(80, supply_apr=supply)))
    said = " ".join(metrics["warnings"])
    assert "a drawdown of exactly 0" in said
    assert "is not a measure of safety: carry does not price jumps" in said
    assert "only" not in said
    assert "only 19 days" in " ".join(loop_metrics(run())["warnings"])


def test_a_sharpe_that_does_not_exist_says_why() -> None:
    metrics = loop_metrics(run(make_rates(20, supply_apr=0.01)))
    assert metrics["markets"][NAME]["sharpe_vs_unlevered"] is None
    assert "did what plain supply did" in metrics["undefined"][f"{NAME}.sharpe_vs_unlevered"]


def test_liquidation_and_bad_debt_are_warned_of_and_the_page_still_reads() -> None:
    usdc = np.ones(20)
    usdc[5:] = 0.3
    result = run(prices=make_prices(20, USDC=usdc))
    metrics = loop_metrics(result)
    said = " ".join(metrics["warnings"])
    assert "were not covered by any collateral" in said
    assert "liquidated on 1 days" in said
    assert "the equity was gone" in words(page(result))


def test_days_that_it_could_not_leave_are_warned_of() -> None:
    borrow = np.tile([0.30, 0.30, 0.05], (20, 1))
    borrow[3:, 2] = 0.30
    cash = np.full((20, 3), 2e8)
    cash[3:] = 0.0
    result = run(make_rates(20, borrow_apr=borrow, available_usd=cash), signal_days=1)
    assert "could not leave on" in " ".join(loop_metrics(result)["warnings"])


def test_the_page_says_why_the_notebooks_number_was_never_there() -> None:
    text = words(page(run()))
    assert "Why 19.8 % was never there" in text
    assert "they contain it too" in text
    assert "As the notebook: “supply” at 11.000 % (USDC borrow: what borrowers pay)" in text
    # 3 x 11 - 2 x 5 against 3 x 9 - 2 x 5
    assert re.search(r"3\.000 × 11\.000 − 2\.000 × 5\.000 = 23\.00\s%", text)
    assert re.search(r"3\.000 × 9\.000 − 2\.000 × 5\.000 = 17\.00\s%", text)


@pytest.mark.parametrize("chain", ["Testchain", "Arbitrum"])
def test_the_page_says_that_the_notebooks_own_rates_were_of_other_chains(chain: str) -> None:
    seen = words(page(run(LoopRates(**{**vars(make_rates(20)), "chain": chain}))))
    assert "It ran on Aave v3 of Arbitrum and Polygon" in seen
    assert ("which are not in this report" in seen) == (chain == "Testchain")
    assert "25.41, 30.91, 44.03 and 35.40 %" in seen


def test_the_best_without_leverage_is_among_the_numbers() -> None:
    assert "Best without leverage, in hindsight" in words(page(run()))


def test_the_page_is_self_contained_and_the_same_twice() -> None:
    first, second = page(run()), page(run())
    assert first == second
    assert "default-src 'none'" in first
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", first)


def test_names_from_data_are_escaped() -> None:
    rates = make_rates(20)
    evil = LoopRates(**{**vars(rates), "chain": "<b onclick=x>"})
    html = page(run(evil))
    assert "<b onclick" not in html


def test_without_a_pair_there_is_no_notebook_to_compare() -> None:
    rates = make_rates(20, borrow_apr=(np.nan, 0.11, np.nan), supply_apr=(np.nan, 0.09, np.nan))
    text = words(page(run(rates)))
    assert "Why 19.8 % was never there" not in text
    assert "looping never paid" in text


@pytest.mark.parametrize(
    ("leads", "looped", "expected"),
    [
        ([1.0], 5, "5.00\N{NO-BREAK SPACE}% net APY, 1.00 points more than without leverage"),
        ([-1.0], 5, "5.00\N{NO-BREAK SPACE}% net APY, 1.00 points less than without leverage"),
        ([0.0], 0, "5.00\N{NO-BREAK SPACE}% net APY: looping never paid, so it was never done"),
        ([None], 5, "5.00\N{NO-BREAK SPACE}% net APY with the loop"),
        ([1.0, -1.0], 5, "Looping paid more than plain supply in 1 of 2 markets"),
        ([-1.0, 0.0], 5, "Looping paid no more than plain supply in any of 2 markets"),
    ],
)
def test_the_headline_says_where_looping_paid(
    leads: list[float | None], looped: int, expected: str
) -> None:
    rows = {
        f"m{n}": {"excess_apy_points": x, "loop": {"net_apy_pct": 5.0}, "days_looped": looped}
        for n, x in enumerate(leads)
    }
    assert headline({"markets": rows}) == expected


def test_the_verdict_has_a_sentence_a_market() -> None:
    text = verdict(loop_metrics(run()))
    assert text.startswith(f"{NAME}: ")
    assert "looped on 19 of 19 days" in text


def test_what_is_written_is_strict_json_and_a_file_is_no_directory(tmp_path: Path) -> None:
    write_loop(run(), tmp_path / "out", risk=make_risk())
    text = (tmp_path / "out" / "loop.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    assert json.loads(text)["settings"]["target"]["leverage"] == 3.0
    assert not (tmp_path / "out" / "as_notebook.csv").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is not a directory"):
        write_loop(run(), tmp_path / "file")
