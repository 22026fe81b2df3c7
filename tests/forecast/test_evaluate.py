from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from stableyield.domain.pool import Pool
from stableyield.errors import DayOutOfRangeError, ParameterError
from stableyield.forecast import Forecast, baseline, evaluate
from stableyield.market.panel import MarketPanel, MarketView

NAN = np.nan
COLUMNS = [
    "horizon_days",
    "method",
    "segment",
    "n",
    "mae",
    "median_ae",
    "rmse",
    "skill_vs_last",
    "skill_vs_best_baseline",
    "rank_corr",
    "pinball_q10",
    "coverage_q10",
    "coverage_q90",
    "seconds",
]


@dataclass(frozen=True)
class Told:
    """A forecaster that says ``apy_pct`` (n_days, n_pools) of the day, with given quantiles."""

    name: str
    apy_pct: np.ndarray
    below_pct: float = NAN
    above_pct: float = NAN

    def forecast(self, view: MarketView, horizon_days: int) -> Forecast:
        mean = self.apy_pct[len(view.days) - 1][: len(view.pools)]
        unknown = np.full(len(mean), NAN)
        return Forecast(
            exec_day=view.day,
            horizon_days=horizon_days,
            method=self.name,
            pool_ids=view.pool_ids,
            apy_pct=mean,
            apy_q10_pct=mean - self.below_pct,
            apy_q50_pct=unknown,
            apy_q90_pct=mean + self.above_pct,
            tvl_usd=unknown,
            tvl_q10_usd=unknown,
            cold_start=np.zeros(len(mean), dtype=bool),
        )


def panel_of(apy_pct: np.ndarray) -> MarketPanel:
    pools = [Pool(f"p{i}", "USDC", "Ethereum", "test", ("USDC",)) for i in range(apy_pct.shape[1])]
    days = np.datetime64("2024-01-01") + np.arange(len(apy_pct))
    return MarketPanel.build(days, pools, {"apy_pct": apy_pct}, [], {})


def score(scores: pd.DataFrame, method: str, segment: str = "all") -> pd.Series:
    rows = scores[(scores["method"] == method) & (scores["segment"] == segment)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_scores_agree_with_a_hand_computation() -> None:
    apy = np.array([[1.0, 10.0], [2.0, 10.0], [4.0, 14.0], [8.0, 14.0]])
    told = np.array([[NAN, NAN], [3.0, 12.0], [7.0, 14.5], [0.0, 0.0]])
    found = evaluate(panel_of(apy), [Told("told", told, 1.5, 1.0)], horizons=[1])
    # origins 1 and 2 count: targets 4, 14 and 8, 14; errors 1, 2, 1, 0.5
    row = score(found.scores, "told")
    assert row["n"] == 4
    assert row["mae"] == pytest.approx(4.5 / 4)
    assert row["median_ae"] == pytest.approx(1.0)
    assert row["rmse"] == pytest.approx(np.sqrt(6.25 / 4))
    # last says 2, 10 and 4, 14: errors 2, 4, 4, 0
    assert score(found.scores, "last")["mae"] == pytest.approx(2.5)
    assert row["skill_vs_last"] == pytest.approx(1.0 - 4.5 / 10.0)
    assert row["skill_vs_best_baseline"] == pytest.approx(1.0 - 4.5 / 10.0)
    # outcomes above q10 by 2.5, 3.5, 2.5, 1.0; q90 is 4, 13, 8, 15.5
    assert row["coverage_q10"] == 0.0
    assert row["pinball_q10"] == pytest.approx(0.1 * 9.5 / 4)
    assert row["coverage_q90"] == pytest.approx(0.75)
    assert np.isnan(row["rank_corr"])  # two pools are no ranking


def test_an_outcome_below_q10_costs_nine_times_as_much() -> None:
    apy = np.array([[5.0], [5.0], [2.0]])
    found = evaluate(panel_of(apy), [Told("told", np.full((3, 1), 5.0), 1.0)], horizons=[1])
    row = score(found.scores, "told")
    # origin 0: last is unknown with one row; origin 1: q10 is 4, the outcome 2
    assert row["n"] == 1
    assert row["coverage_q10"] == 1.0
    assert row["pinball_q10"] == pytest.approx(0.9 * 2.0)
    assert np.isnan(row["coverage_q90"])


def test_the_table_has_the_columns_of_the_scores_file() -> None:
    apy = np.random.default_rng(0).uniform(1.0, 9.0, (60, 6))
    found = evaluate(panel_of(apy), [baseline("ewma")], horizons=[1, 7])
    assert found.scores.columns.tolist() == COLUMNS
    assert len(found.scores) == 2 * 2 * 5
    assert found.scores["segment"].unique().tolist() == ["all", "calm", "volatile", "spike", "cold"]


def test_segments_add_up_to_all() -> None:
    rng = np.random.default_rng(0)
    apy = 5.0 + np.cumsum(rng.normal(0.0, 0.4, (80, 6)), axis=0)
    apy[50:52, 2] = 40.0
    scores = evaluate(panel_of(apy), [baseline("ewma")], horizons=[7]).scores
    rows = scores[scores["method"] == "ewma"].set_index("segment")
    assert rows["n"].drop("all").sum() == rows.loc["all", "n"]
    assert (rows["n"] > 0).all()


def test_every_method_is_scored_on_the_same_rows() -> None:
    apy = np.random.default_rng(0).uniform(1.0, 9.0, (60, 6))
    told = apy.copy()
    told[:, 3:] = NAN
    alone = evaluate(panel_of(apy), [], horizons=[1]).scores
    beside = evaluate(panel_of(apy), [Told("told", told)], horizons=[1]).scores
    assert score(beside, "last")["n"] == score(beside, "told")["n"]
    assert score(beside, "last")["n"] == score(alone, "last")["n"] // 2


def test_a_method_without_quantiles_does_not_take_them_from_the_others() -> None:
    apy = np.random.default_rng(0).uniform(1.0, 9.0, (60, 6))
    scores = evaluate(panel_of(apy), [Told("told", apy)], horizons=[1]).scores
    assert np.isnan(score(scores, "told")["coverage_q10"])
    assert np.isfinite(score(scores, "last")["coverage_q10"])


def test_the_ranking_is_compared_by_day() -> None:
    rng = np.random.default_rng(0)
    apy = rng.uniform(1.0, 9.0, (12, 6))
    tomorrow = np.vstack([apy[1:], apy[-1:]])
    scores = evaluate(
        panel_of(apy),
        [Told("right", tomorrow**3), Told("reversed", -tomorrow), Told("flat", 0.0 * apy)],
        horizons=[1],
    ).scores
    assert score(scores, "right")["rank_corr"] == pytest.approx(1.0)
    assert score(scores, "reversed")["rank_corr"] == pytest.approx(-1.0)
    assert np.isnan(score(scores, "flat")["rank_corr"])


def test_rank_correlation_agrees_with_pandas_when_there_are_ties() -> None:
    rng = np.random.default_rng(3)
    apy = rng.integers(1, 4, (10, 8)).astype(float)
    told = rng.integers(1, 4, (10, 8)).astype(float)
    found = score(evaluate(panel_of(apy), [Told("told", told)], horizons=[1]).scores, "told")
    by_day = [
        pd.Series(told[t]).corr(pd.Series(apy[t + 1]), method="spearman") for t in range(1, 9)
    ]
    assert found["rank_corr"] == pytest.approx(np.mean(by_day))


def test_the_future_of_an_origin_is_never_shown_to_a_forecaster() -> None:
    apy = np.random.default_rng(0).uniform(1.0, 9.0, (30, 2))
    seen: list[tuple[date, date]] = []

    @dataclass(frozen=True)
    class Witness(Told):
        def forecast(self, view: MarketView, horizon_days: int) -> Forecast:
            seen.append((view.day, view.days[-1].astype(date)))
            return super().forecast(view, horizon_days)

    start, end = date(2024, 1, 5), date(2024, 1, 20)
    found = evaluate(
        panel_of(apy), [Witness("w", apy)], horizons=[1], start=start, end=end, step_days=5
    )
    assert seen == [(day, day) for day in (start + timedelta(days=5 * i) for i in range(4))]
    assert (found.start, found.end) == (start, end)


def test_origins_whose_horizon_is_not_over_are_not_scored() -> None:
    apy = np.random.default_rng(0).uniform(1.0, 9.0, (20, 1))
    scores = evaluate(panel_of(apy), [], horizons=[7, 30]).scores
    rows = scores[scores["segment"] == "all"].set_index("horizon_days")
    assert rows.loc[7, "n"] == 20 - 7 - 1  # the first origin has one row only
    assert rows.loc[30, "n"] == 0
    assert np.isnan(rows.loc[30, "mae"])


def test_the_best_baseline_has_no_skill_over_itself() -> None:
    apy = 5.0 + np.random.default_rng(0).normal(0.0, 1.0, (90, 6))
    scores = evaluate(panel_of(apy), [baseline("mean30"), baseline("ewma")], horizons=[7]).scores
    everything = scores[scores["segment"] == "all"].set_index("method")
    assert everything.loc["mean30", "skill_vs_best_baseline"] == 0.0
    assert everything.loc["mean30", "skill_vs_last"] > 0.0
    assert everything.loc["ewma", "skill_vs_best_baseline"] < 0.0


def test_the_summary_lists_methods_best_first() -> None:
    apy = 5.0 + np.random.default_rng(0).normal(0.0, 1.0, (90, 6))
    text = evaluate(panel_of(apy), [baseline("mean30")], horizons=[7]).summary()
    assert "### 7 d ahead" in text
    assert text.index("| mean30 |") < text.index("| last |")
    assert "nan" not in text


def test_two_forecasters_of_one_name_are_refused() -> None:
    panel = panel_of(np.full((10, 1), 5.0))
    with pytest.raises(ParameterError, match="two forecasters are called 'ewma'"):
        evaluate(panel, [baseline("ewma"), baseline("ewma", half_life_days=9)])


@pytest.mark.parametrize(
    ("start", "end", "step_days"),
    [(date(2024, 1, 5), date(2024, 1, 4), 1), (date(2024, 1, 1), date(2024, 1, 4), 0)],
)
def test_an_evaluation_needs_an_origin(start: date, end: date, step_days: int) -> None:
    panel = panel_of(np.full((10, 1), 5.0))
    with pytest.raises(ParameterError, match="no origin"):
        evaluate(panel, [], start=start, end=end, step_days=step_days)


def test_an_origin_outside_the_history_is_refused() -> None:
    with pytest.raises(DayOutOfRangeError):
        evaluate(panel_of(np.full((10, 1), 5.0)), [], end=date(2024, 2, 1))
