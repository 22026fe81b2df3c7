"""The page of a forecast evaluation, and its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stableyield.domain.pool import Pool
from stableyield.errors import InputError
from stableyield.forecast import Evaluation, baseline, evaluate
from stableyield.market.panel import MarketPanel
from stableyield.report.forecast_figures import forecast_charts
from stableyield.report.forecast_files import table_bytes, write_evaluation
from stableyield.report.forecast_page import headline, render_evaluation, verdict


def evaluation(
    n_days: int = 90, horizons: tuple[int, ...] = (1, 7), n_pools: int = 6
) -> Evaluation:
    rng = np.random.default_rng(0)
    apy = 20.0 + np.cumsum(rng.normal(0.0, 0.5, (n_days, n_pools)), axis=0)
    pools = [Pool(f"p{i}", "<b>USDC</b>", "Ethereum", "a & b", ("USDC",)) for i in range(n_pools)]
    days = np.datetime64("2024-01-01") + np.arange(n_days)
    panel = MarketPanel.build(days, pools, {"apy_pct": apy}, [], {})
    return evaluate(panel, [baseline("mean7"), baseline("ewma")], horizons=horizons)


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return evaluation()


def test_the_page_says_the_skill_of_the_lead_first(found: Evaluation) -> None:
    own = found.scores.set_index(["method", "segment", "horizon_days"])["skill_vs_last"]
    skill = own["mean7", "all", 7]
    side = "better" if skill > 0 else "worse"
    assert headline(found).startswith("mean7 is ")
    assert f"{abs(100 * skill):.1f}" in headline(found)
    assert f"{side} than the last value at 7 d" in headline(found)
    assert "the best baseline" in verdict(found)
    assert headline(found) in render_evaluation(found, {})


def test_the_same_evaluation_is_the_same_page(found: Evaluation) -> None:
    assert render_evaluation(found, {"market": "m"}) == render_evaluation(found, {"market": "m"})


def test_names_from_data_are_escaped(found: Evaluation) -> None:
    page = render_evaluation(found, {"market": "<script>alert(1)</script>"})
    assert "<b>USDC</b>" not in page
    assert "&lt;b&gt;USDC&lt;/b&gt;" in page
    assert "<script>alert" not in page


def test_a_page_without_decisions_or_scores_says_so() -> None:
    short = evaluation(n_days=20, horizons=(30,))
    page = render_evaluation(short, {})
    assert "nothing was scored at 30 d" in page
    assert "Not measured: it needs the horizon of 7 days" in page
    assert "None: nothing was scored." in page
    assert "decision" not in forecast_charts(short)


def test_a_lone_last_value_has_a_page() -> None:
    whole = evaluation()
    days = np.datetime64("2024-01-01") + np.arange(40)
    pools = [Pool("p", "USDC", "Ethereum", "test", ("USDC",))]
    panel = MarketPanel.build(days, pools, {"apy_pct": np.full((40, 1), 5.0)}, [], {})
    page = render_evaluation(evaluate(panel, [], horizons=[1]), {})
    assert "no skill to speak of" in page  # it is always right: nothing to compare with
    assert whole.lead == "mean7"


def test_a_file_is_no_directory_for_an_evaluation(found: Evaluation, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("kept")
    with pytest.raises(InputError, match="is not a directory"):
        write_evaluation(found, path)
    assert path.read_text() == "kept"


def test_a_table_is_csv_or_parquet(found: Evaluation) -> None:
    with pytest.raises(InputError, match="no table ends in"):
        table_bytes(found.scores, ".xlsx")
