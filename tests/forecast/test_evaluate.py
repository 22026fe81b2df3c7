from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from stableyield.domain.pool import Pool
from stableyield.errors import DayOutOfRangeError, ParameterError
from stableyield.forecast import EvaluationSettings, Forecast, baseline, evaluate
from stableyield.forecast.registry import published
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
    median_pct: np.ndarray | None = None
    tvl_usd: np.ndarray | None = None

    def forecast(self, view: MarketView, horizon_days: int) -> Forecast:
        mean = self.apy_pct[len(view.days) - 1][: len(view.pools)]
        unknown = np.full(len(mean), NAN)
        row, n = len(view.days) - 1, len(view.pools)
        return Forecast(
            exec_day=view.day,
            horizon_days=horizon_days,
            method=self.name,
            pool_ids=view.pool_ids,
            apy_pct=mean,
            apy_q10_pct=mean - self.below_pct,
            apy_q50_pct=unknown if self.median_pct is None else self.median_pct[row, :n],
            apy_q90_pct=mean + self.above_pct,
            tvl_usd=unknown if self.tvl_usd is None else self.tvl_usd[row, :n],
            tvl_q10_usd=unknown,
            cold_start=np.zeros(len(mean), dtype=bool),
        )


def panel_of(apy_pct: np.ndarray, **more: np.ndarray) -> MarketPanel:
    pools = [Pool(f"p{i}", "USDC", "Ethereum", "test", ("USDC",)) for i in range(apy_pct.shape[1])]
    days = np.datetime64("2024-01-01") + np.arange(len(apy_pct))
    return MarketPanel.build(days, pools, {"apy_pct": apy_pct, **more}, [], {})


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
    assert found.scores.columns.tolist()[: len(COLUMNS)] == COLUMNS
    assert found.scores.columns.is_unique
    segments = found.scores["segment"].unique().tolist()
    assert segments[:5] == ["all", "calm", "volatile", "spike", "cold"]
    assert len(found.scores) == 2 * 2 * len(segments)


def test_segments_add_up_to_all() -> None:
    rng = np.random.default_rng(0)
    apy = 5.0 + np.cumsum(rng.normal(0.0, 0.4, (80, 6)), axis=0)
    apy[50:52, 2] = 40.0
    scores = evaluate(panel_of(apy), [baseline("ewma")], horizons=[7]).scores
    rows = scores[scores["method"] == "ewma"].set_index("segment")
    kinds = ["calm", "volatile", "spike", "cold"]
    assert (rows.loc[kinds, "n"] > 0).all()
    assert rows.loc[kinds, "n"].sum() == rows.loc["all", "n"]
    classes = [f"volatility_{name}" for name in ("low", "medium", "high", "insufficient")]
    assert rows.loc[classes, "n"].sum() == rows.loc["all", "n"]


def test_a_pool_paid_mostly_in_rewards_is_in_the_segment_reward() -> None:
    apy = np.random.default_rng(0).uniform(4.0, 6.0, (60, 3))
    rewards = apy * np.array([0.0, 0.4, 0.6])
    panel = panel_of(apy, apy_reward_pct=rewards)
    scores = evaluate(panel, [baseline("ewma")], horizons=[7]).scores
    assert score(scores, "ewma", "reward")["n"] == score(scores, "ewma")["n"] / 3


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


def test_the_median_is_scored_against_the_last_value_itself() -> None:
    apy = np.array([[1.0, 10.0], [2.0, 10.0], [4.0, 14.0], [8.0, 14.0]])
    mean = np.full((4, 2), 20.0)
    median = np.array([[NAN, NAN], [3.0, 13.0], [7.0, 14.0], [0.0, 0.0]])
    row = score(
        evaluate(panel_of(apy), [Told("told", mean, 30.0, 5.0, median)], horizons=[1]).scores,
        "told",
    )
    # targets 4, 14 and 8, 14: q50 is off by 1, 1, 1, 0; the last value by 2, 4, 4, 0
    assert row["mae_q50"] == pytest.approx(0.75)
    assert row["skill_q50_vs_last"] == pytest.approx(1.0 - 3.0 / 10.0)
    assert row["bias"] == pytest.approx(20.0 - 10.0)
    assert row["pinball_q50"] == pytest.approx(0.5 * 0.75)
    assert row["coverage_q50"] == pytest.approx(0.25)  # one outcome is q50 itself
    assert row["pinball_q90"] == pytest.approx(0.1 * (21.0 + 11.0 + 17.0 + 11.0) / 4)


def test_tvl_is_scored_by_pool_and_by_dollar() -> None:
    apy = np.full((3, 2), 5.0)
    tvl = np.array([[1e6, 100.0], [1e6, 100.0], [2e6, 400.0]])
    told = Told("told", apy, tvl_usd=np.array([[NAN, NAN], [2e6, 100.0], [0.0, 0.0]]))
    found = evaluate(panel_of(apy, tvl_usd=tvl), [told], horizons=[1]).tvl_scores
    row = found.set_index("method").loc["told"]
    # one origin: outcomes 2e6 and 400, told 2e6 and 100, the last values 1e6 and 100
    assert row["n"] == 2
    assert row["mae_log"] == pytest.approx(np.log(401.0 / 101.0) / 2, rel=1e-5)
    assert row["wape_pct"] == pytest.approx(100.0 * 300.0 / 2_000_400.0, rel=1e-5)
    assert row["skill_usd_vs_last"] == pytest.approx(1.0 - 300.0 / 1_000_300.0, rel=1e-5)
    expected = 1.0 - np.log(401 / 101) / (np.log(2e6 + 1) - np.log(1e6 + 1) + np.log(401 / 101))
    assert row["skill_log_vs_last"] == pytest.approx(expected, rel=1e-4)


def test_realised_growth_is_the_outcome_where_share_prices_are_known() -> None:
    growth = 1.1 ** (1 / 365) - 1  # 10 % a year
    apy = np.full((30, 2), 5.0)
    returns = np.column_stack([np.full(30, growth), np.full(30, NAN)])
    panel = panel_of(apy, return_1d=returns)
    settings = EvaluationSettings(target="realised")
    found = evaluate(panel, [], horizons=[7], settings=settings)
    misses = found.worst_misses.set_index("pool_id")["actual_apy_pct"]
    assert misses["p0"] == pytest.approx(10.0)
    assert misses["p1"] == pytest.approx(5.0)


def test_a_total_loss_is_an_outcome_of_minus_one_hundred_percent() -> None:
    returns = np.zeros((20, 1))
    returns[10] = -1.0
    panel = panel_of(np.full((20, 1), 5.0), return_1d=returns)
    found = evaluate(panel, [], horizons=[7], settings=EvaluationSettings(target="realised"))
    assert found.worst_misses["actual_apy_pct"].min() == pytest.approx(-100.0)


def test_a_forecaster_that_stole_the_outcome_is_called_too_good() -> None:
    """A planted leak: the forecaster holds the whole panel, and looks at the next row."""
    apy = 5.0 + np.random.default_rng(0).normal(0.0, 1.0, (90, 6))
    outcome = np.vstack([apy[1:], apy[-1:]])
    found = evaluate(panel_of(apy), [Told("thief", outcome), baseline("ewma")], horizons=[1])
    assert score(found.scores, "thief")["skill_vs_last"] == pytest.approx(1.0)
    assert len(found.warnings) == 1
    assert "thief" in found.warnings[0]
    assert "check for a leak" in found.summary()


def test_an_honest_baseline_is_not_called_too_good() -> None:
    apy = 50.0 + np.cumsum(np.random.default_rng(0).normal(0.0, 1.0, (90, 6)), axis=0)
    assert evaluate(panel_of(apy), [baseline("mean30")], horizons=[7]).warnings == ()


def test_the_interval_of_the_skill_contains_it_and_depends_on_the_seed_alone() -> None:
    apy = 5.0 + np.random.default_rng(0).normal(0.0, 1.0, (120, 6))

    def interval(seed: int) -> tuple[float, float, float]:
        settings = EvaluationSettings(seed=seed)
        found = evaluate(panel_of(apy), [baseline("mean7")], horizons=[7], settings=settings)
        row = score(found.scores, "mean7")
        return row["skill_low"], row["skill_vs_last"], row["skill_high"]

    low, skill, high = interval(1)
    assert low < skill < high
    assert interval(1) == (low, skill, high)
    assert interval(2) != (low, skill, high)


def test_too_few_days_have_no_interval() -> None:
    apy = 5.0 + np.random.default_rng(0).normal(0.0, 1.0, (60, 6))
    row = score(evaluate(panel_of(apy), [baseline("mean7")], horizons=[30]).scores, "mean7")
    assert np.isfinite(row["skill_vs_last"])
    assert np.isnan(row["skill_low"])


def test_coverage_is_said_by_volatility_and_by_month() -> None:
    rng = np.random.default_rng(0)
    apy = 5.0 + np.cumsum(rng.normal(0.0, [0.05, 0.05, 2.0], (90, 3)), axis=0)
    found = evaluate(panel_of(apy), [baseline("ewma")], horizons=[1])
    rows = found.coverage[found.coverage["method"] == "ewma"]
    whole = score(found.scores, "ewma")
    overall = rows[rows["by"] == "all"].iloc[0]
    assert overall["coverage_q10"] == whole["coverage_q10"]
    for by in ("volatility", "month"):
        part = rows[rows["by"] == by]
        assert part["n"].sum() == overall["n"]
        hits = (part["n"] * part["coverage_q90"]).sum() / part["n"].sum()
        assert hits == pytest.approx(overall["coverage_q90"])
    assert rows.loc[rows["by"] == "month", "group"].tolist() == ["2024-01", "2024-02", "2024-03"]


def test_the_worst_misses_are_one_row_a_pool_and_the_largest_first() -> None:
    apy = np.full((40, 3), 5.0)
    apy[20:, 1] = 50.0
    apy[10, 2] = 8.0
    found = evaluate(panel_of(apy), [], horizons=[1]).worst_misses
    assert found["pool_id"].tolist() == ["p1", "p2", "p0"]
    worst = found.iloc[0]
    assert worst["exec_date"] == pd.Timestamp("2024-01-20")
    assert (worst["forecast_apy_pct"], worst["actual_apy_pct"]) == (5.0, 50.0)
    assert worst["error_points"] == -45.0


def test_refits_are_timed_apart_where_a_forecaster_says_them() -> None:
    apy = np.random.default_rng(0).uniform(1.0, 9.0, (30, 6))

    class Refitting:
        name = "refitting"

        def __init__(self) -> None:
            self.fit_seconds, self.asked = 0.0, 0

        def forecast(self, view: MarketView, horizon_days: int) -> Forecast:
            self.asked += 1
            self.fit_seconds += 1e-9 if self.asked % 3 == 1 else 0.0
            return baseline("last").forecast(view, horizon_days)

    scores = evaluate(panel_of(apy), [Refitting()], horizons=[1]).scores
    row = score(scores, "refitting")
    assert row["seconds_per_refit"] == pytest.approx(1e-9)
    assert row["seconds_per_predict"] > 0.0
    assert np.isnan(score(scores, "last")["seconds_per_refit"])


def test_a_market_that_knows_few_rates_says_how_many_pools_it_scored() -> None:
    apy = np.full((60, 10), NAN)
    apy[:, :3] = 5.0
    tvl = np.full((60, 10), 1e6)
    found = evaluate(panel_of(apy, tvl_usd=tvl), [baseline("ewma")], horizons=[7])
    assert score(found.scores, "ewma")["n"] > 0
    assert found.notes[0].startswith("7 d: 3 of 10 pools scored")


def test_nothing_to_score_is_said_with_its_reason() -> None:
    found = evaluate(panel_of(np.full((10, 1), 5.0)), [], horizons=[30])
    assert found.n_scored == {30: 0}
    assert "nothing is scored, every outcome ends after the market's last day" in found.notes[0]
    assert np.isnan(score(found.scores, "last")["mae"])
    assert "no decision value" in found.notes[-1]


@pytest.mark.parametrize("horizons", [(), (7, 7), (0,), (400,), (1.5,)])
def test_impossible_horizons_are_refused(horizons: tuple[int, ...]) -> None:
    with pytest.raises(ParameterError):
        evaluate(panel_of(np.full((10, 1), 5.0)), [], horizons=horizons)


def test_a_renamed_method_is_renamed_in_every_table() -> None:
    apy = 5.0 + np.random.default_rng(0).normal(0.0, 1.0, (60, 6))
    found = evaluate(panel_of(apy), [Told("learned", apy), baseline("ewma")], horizons=[7])
    renamed = published(found)
    assert renamed.lead == "stableyield"
    for name in ("scores", "coverage", "tvl_scores", "decision_value", "worst_misses", "drift"):
        methods = set(getattr(renamed, name)["method"])
        assert "stableyield" in methods
        assert "learned" not in methods


def test_a_glitch_of_a_share_price_is_no_outcome() -> None:
    returns = np.zeros((30, 1))
    returns[12], returns[20] = 5.0, -0.02
    panel = panel_of(np.full((30, 1), 5.0), return_1d=returns)
    found = evaluate(panel, [], horizons=[1], settings=EvaluationSettings(target="realised"))
    assert score(found.scores, "last")["n"] == 27  # 28 origins with two rows, less the glitch
    worst = found.worst_misses.iloc[0]
    assert worst["exec_date"] == pd.Timestamp("2024-01-20")
    assert worst["actual_apy_pct"] == pytest.approx(100.0 * (0.98**365 - 1.0))
