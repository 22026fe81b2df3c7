from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import replace

import matplotlib.image
import pandas as pd
import pytest
from matplotlib.figure import Figure

from stableyield.errors import InputError, ParameterError
from stableyield.report import scenario_figures
from stableyield.report.picture_parts import fitted, text_width
from stableyield.report.scenario_book import Holding, held_pools, tokens, wallet, with_rest
from stableyield.report.scenario_figures import comparison_png, plan_png
from stableyield.report.scenario_files import write_scenarios
from stableyield.study import MockMarket, Scenario, ScenarioResults, run_scenarios

MARKET = MockMarket(gas_of=15)
YEAR = {"horizon_days": 365}
LONG = "A $name with two $signs_ " + "W" * 50


@pytest.fixture(scope="module")
def results() -> ScenarioResults:
    return run_scenarios(
        [
            Scenario("Baseline", MARKET, YEAR),
            Scenario("impossible", MARKET, {"min_pools": 16}),
            Scenario(LONG, MARKET, {**YEAR, "min_pools": 15}),
        ]
    )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Figure]:
    """The figure itself, laid out, instead of its PNG."""

    def keep(figure: Figure) -> Figure:
        figure.canvas.draw()
        return figure

    monkeypatch.setattr(scenario_figures, "png_bytes", keep)
    return lambda draw, what: draw(what)


def texts(figure: Figure) -> list[str]:
    """Everything that is written in a figure."""
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts]
        found += [label.get_text() for label in axes.get_yticklabels() if axes.axison]
    return found


def assert_all_text_is_inside(figure: Figure) -> None:
    width, height = figure.canvas.get_width_height()
    for axes in figure.axes:
        labels = [*axes.get_yticklabels(), *axes.get_xticklabels()] if axes.axison else []
        for text in [*figure.texts, *axes.texts, *labels]:
            box = text.get_window_extent()
            assert box.x0 >= 0.0, text.get_text()
            assert box.x1 <= width, text.get_text()
            assert box.y0 >= 0.0, text.get_text()
            assert box.y1 <= height, text.get_text()


def assert_bar_labels_do_not_overlap(figure: Figure) -> None:
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
        for i, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_the_comparison_has_a_panel_for_each_of_the_four_measures(results, drawn):
    figure = drawn(comparison_png, results)
    assert len(figure.axes) == 4
    written = texts(figure)
    for title in ("Allocated", "Weighted APY", "Cost of the plan", "Solve time"):
        assert title in written
    assert written.count("% of AUM") == 2


def test_an_infeasible_scenario_is_named_instead_of_drawn(results, drawn):
    figure = drawn(comparison_png, results)
    assert texts(figure).count("infeasible") == 3  # its solve time is known
    share = figure.axes[0]
    assert [bar.get_width() > 0.0 for bar in share.patches] == [True, False, True]
    assert "2 of 3 have a plan; without one the book stays as it is" in texts(figure)


def test_numbers_stand_beside_their_bars(results, drawn):
    figure = drawn(comparison_png, results)
    row = results.table().iloc[0]
    written = [text.replace("\N{NO-BREAK SPACE}", " ") for text in texts(figure)]
    assert f"{row['weighted_apy']:.2f} %" in written
    assert f"{row['cost_pct']:.3f} %" in written


@pytest.mark.parametrize("place", [0, 1, 2])
def test_no_text_of_a_plan_leaves_the_picture_or_hides_another(results, drawn, place):
    figure = drawn(plan_png, results.outcomes[place])
    assert_all_text_is_inside(figure)
    assert_bar_labels_do_not_overlap(figure)


def test_no_text_of_the_comparison_leaves_the_picture_or_hides_another(results, drawn):
    figure = drawn(comparison_png, results)
    assert_all_text_is_inside(figure)
    assert_bar_labels_do_not_overlap(figure)


def test_a_plan_without_transactions_says_so_and_why(results, drawn):
    written = texts(drawn(plan_png, results.outcomes[1]))
    assert "no transaction" in written
    assert any(text.startswith("Infeasible; the book stays as it is") for text in written)


def test_pools_beyond_the_twelfth_are_drawn_as_one(results, drawn):
    outcome = results.outcomes[2]
    assert len(held_pools(outcome)) == 15
    written = texts(drawn(plan_png, outcome))
    assert "4 smaller pools" in written


def test_nothing_held_and_nothing_forecast_can_be_drawn(results, drawn):
    problem = results.outcomes[0].plan.problem
    blind = replace(
        problem,
        pools=[
            replace(pool, apy_pct=math.nan, tvl_usd=math.nan, state="frozen")
            for pool in problem.pools
        ],
    )
    outcome = results.outcomes[1]
    figure = drawn(plan_png, replace(outcome, plan=replace(outcome.plan, problem=blind)))
    assert "no forecast is known" in texts(figure)


def test_of_too_many_scenarios_the_first_are_drawn(results, drawn, monkeypatch):
    monkeypatch.setattr(scenario_figures, "_MOST_SCENARIOS", 2)
    figure = drawn(comparison_png, results)
    assert len(figure.axes[0].patches) == 2
    assert any("the first 2 are drawn" in text for text in texts(figure))


def test_holdings_add_up_to_the_aum_after_the_plan(results):
    for outcome in results.outcomes:
        after_usd = outcome.plan.settlement.aum_after_usd
        pools = math.fsum(row.usd for row in held_pools(outcome))
        assert pools + wallet(outcome).usd == pytest.approx(after_usd, abs=0.1)
        rows = tokens(outcome)
        assert math.fsum(row.usd for row in rows) == pytest.approx(after_usd, abs=0.1)
        assert math.fsum(row.wallet_usd for row in rows) == pytest.approx(
            wallet(outcome).usd, abs=0.1
        )
        assert math.fsum(row.share_pct for row in rows) == pytest.approx(100.0)


def test_the_rest_keeps_what_it_adds_up():
    rows = [Holding(str(n), 10.0 - n, 1.0, wallet_usd=0.5) for n in range(5)]
    assert with_rest(rows, 5, "tokens") == rows
    short = with_rest(rows, 3, "tokens")
    assert short[:2] == rows[:2]
    assert short[2] == Holding("3 smaller tokens", 8.0 + 7.0 + 6.0, 3.0, wallet_usd=1.5)


@pytest.mark.parametrize("text", ["short", "W" * 80, "i" * 300, "ab $cd$ e_f " * 9, ""])
def test_a_fitted_text_fits_and_keeps_its_ends(text):
    shown = fitted(text, 2.0)
    assert text_width(shown) <= 2.0
    if shown != text:
        assert text_width(text) > 2.0
        head, tail = shown.split("…")
        assert text.startswith(head)
        assert text.endswith(tail)
        assert tail


def test_the_same_results_give_the_same_picture(results):
    picture = plan_png(results.outcomes[0])
    assert picture == plan_png(results.outcomes[0])
    pixels = matplotlib.image.imread(io.BytesIO(picture))
    assert pixels.shape[:2] == (1350, 1950)
    assert pixels[..., :3].std() > 0.05  # an empty page has 0


# --- files ----------------------------------------------------------------------------------------


def test_the_files_are_the_promised_ones_and_read_back(results, tmp_path):
    out = tmp_path / "new" / "study"
    written = write_scenarios(results, out)
    slugs = [outcome.scenario.slug for outcome in results.outcomes]
    stems = ["backtesting_results"] + [
        f"{kind}_{slug}" for slug in slugs for kind in ("allocations", "transactions")
    ]
    expected = {f"{stem}.{kind}" for stem in stems for kind in ("csv", "parquet")}
    expected |= {"comparison.png", *(f"plan_{slug}.png" for slug in slugs)}
    assert {path.name for path in out.iterdir()} == expected
    assert {path.name for path in written} == expected
    pd.testing.assert_frame_equal(
        pd.read_parquet(out / "backtesting_results.parquet"), results.table()
    )
    table = pd.read_csv(out / "backtesting_results.csv", keep_default_na=False)
    assert table["total_cost"].tolist() == results.table()["total_cost"].tolist()
    assert table["reason"].tolist() == results.table()["reason"].tolist()


def test_only_the_wanted_plans_are_drawn(results, tmp_path):
    write_scenarios(results, tmp_path, figures=["Baseline"])
    assert [path.name for path in tmp_path.glob("plan_*.png")] == ["plan_Baseline.png"]
    assert (tmp_path / "comparison.png").exists()


def test_an_unknown_figure_writes_nothing(results, tmp_path):
    with pytest.raises(ParameterError, match="no scenario is called 'basline'"):
        write_scenarios(results, tmp_path / "out", figures=["basline"])
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_directory_is_an_input_error(results, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="is not a directory"):
        write_scenarios(results, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"
