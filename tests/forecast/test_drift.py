"""The drift watch: hand-made scores, falling back and coming back, and its causality."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stableyield.errors import ContractError, ParameterError
from stableyield.forecast import BASELINES, Forecast, WatchedForecaster, baseline
from stableyield.forecast.drift import (
    DRIFT_COLUMNS,
    DayScore,
    DriftRules,
    drift_frame,
    judge,
    latest_scored,
)
from stableyield.forecast.past import past_of
from stableyield.forecast.watched import drift_record, point_of
from stableyield.forecast.watched_stored import Past, StoredWatch, verdict_on_stored
from stableyield.market.panel import MarketPanel, MarketView
from support.markets import FIRST_DAY, day, hand_made, pool, synthetic_panel, with_another_future

RULES = DriftRules(window_days=5, min_scored_days=3)


@dataclass(frozen=True)
class Moody:
    """As good as the last value, but ``off_pct`` points too high on some days of the market."""

    bad_days: frozenset[int]
    off_pct: float = 2.0
    name: str = "moody"
    asked: list[date] = field(default_factory=list)

    def forecast(self, view: MarketView, horizon_days: int) -> Forecast:
        self.asked.append(view.day)
        said = baseline("last").forecast(view, horizon_days)
        is_bad = (view.day - FIRST_DAY).days in self.bad_days
        apy = said.apy_pct + (self.off_pct if is_bad else -0.001)
        return Forecast(
            **{
                **{each.name: getattr(said, each.name) for each in fields(Forecast)},
                "method": self.name,
                "apy_pct": apy,
                "apy_q10_pct": apy - 1.0,
                "apy_q50_pct": apy,
                "apy_q90_pct": apy + 1.0,
            }
        )


def rising(n_days: int = 60, n_pools: int = 3) -> MarketPanel:
    """Every pool loses 0.01 points a day: a forecast a little below the last value is better."""
    apy = 9.0 - 0.01 * np.arange(n_days)[:, None] + np.arange(n_pools)
    return hand_made([pool(f"p{i}") for i in range(n_pools)], n_days, {"apy_pct": apy})


def watched(bad_days: range | tuple[int, ...] = ()) -> WatchedForecaster:
    return WatchedForecaster(Moody(frozenset(bad_days)), (baseline("last"),), RULES)


def test_the_glitch_of_one_pool_does_not_decide_who_serves() -> None:
    apy = np.array(rising().as_of(day(59)).pool_series.apy_pct)
    apy[40, 0] = 1e6  # where Moody is a hair worse, by 0.001 of a point
    panel = hand_made([pool(f"p{i}") for i in range(3)], 60, {"apy_pct": apy})
    found = watched().verdict(panel.as_of(day(42)), 1)
    assert not found.is_fallback
    assert found.mae < 100.0


def test_a_verdict_agrees_with_a_hand_computation() -> None:
    scores = [
        DayScore(day(0), 2, (3.0, 1.0, 2.0), 2, 1, 2),
        DayScore(day(1), 3, (2.0, 4.0, 1.0), 2, 0, 1),
    ]
    found = judge(day(9), ("m", "a", "b"), scores, 7, DriftRules(2, 2))
    assert (found.n_days, found.n) == (2, 5)
    assert found.mae == pytest.approx(1.0)
    assert (found.baseline, found.mae_baseline) == ("b", pytest.approx(0.6))
    assert found.coverage_q10 == pytest.approx(0.25)
    assert found.coverage_q90 == pytest.approx(0.75)
    assert found.is_fallback


@pytest.mark.parametrize(
    ("rules", "falls_back"),
    [(DriftRules(2, 2), True), (DriftRules(2, 2, tolerance=1.0), False), (DriftRules(3, 3), False)],
)
def test_tolerance_and_too_few_days_keep_the_model(rules: DriftRules, falls_back: bool) -> None:
    scores = [DayScore(day(i), 1, (1.5, 1.0)) for i in range(2)]
    assert judge(day(9), ("m", "a"), scores, 7, rules).is_fallback is falls_back


def test_without_a_scored_day_nothing_is_known_and_the_model_serves() -> None:
    found = judge(day(0), ("m", "a"), [], 7, RULES)
    assert not found.is_fallback
    assert np.isnan([found.mae, found.mae_baseline, found.coverage_q10]).all()
    assert found.baseline == ""


def test_days_without_a_score_do_not_count_and_the_look_back_ends() -> None:
    asked: list[date] = []

    def score_of(origin: date) -> DayScore:
        asked.append(origin)
        return DayScore(origin, (origin - FIRST_DAY).days % 2, (0.0, 0.0))

    found = latest_scored(score_of, day(0), day(30), DriftRules(3, 1))
    assert [score.origin for score in found] == [day(29), day(27), day(25)]
    asked.clear()
    latest_scored(
        lambda origin: (asked.append(origin), DayScore(origin, 0, ()))[1],
        day(0),
        day(30),
        DriftRules(3, 1),
    )
    assert len(asked) == 6


def test_the_watch_falls_back_while_the_model_is_worse_and_comes_back() -> None:
    panel, horizon = rising(), 2
    watch = watched(range(20, 25))
    served = {n: watch.forecast(panel.as_of(day(n)), horizon).method for n in range(10, 50)}
    assert served[21] == "moody"  # bad since day 20, which is scored on day 22
    assert served[22] == "last"
    assert {served[n] for n in range(22, 31)} == {"last"}
    # the window of five scored days has no bad one from day 31 on: origins 25 .. 29
    assert served[31] == "moody"
    assert {served[n] for n in range(31, 50)} == {"moody"}


def test_a_fallback_is_the_baseline_and_says_why() -> None:
    panel = rising()
    view = panel.as_of(day(26))
    found = watched(range(20, 25)).forecast(view, 2)
    expected = baseline("last").forecast(view, 2)
    assert found.apy_pct.tobytes() == expected.apy_pct.tobytes()
    assert found.flags[-1].startswith("fallback: last serves, because the MAE of moody")


def test_a_model_that_may_not_be_replaced_is_measured_all_the_same() -> None:
    watch = WatchedForecaster(
        Moody(frozenset(range(60))), (baseline("last"),), RULES, may_replace=False
    )
    view = rising().as_of(day(40))
    assert watch.forecast(view, 2).method == "moody"
    assert watch.verdict(view, 2).mae > watch.verdict(view, 2).mae_baseline


def test_going_through_the_days_asks_the_model_once_a_day() -> None:
    panel, watch = rising(), watched()
    for n in range(10, 40):
        watch.forecast(panel.as_of(day(n)), 2)
    asked = watch.model.asked  # type: ignore[attr-defined]
    assert len(asked) == len(set(asked))
    assert max(asked) == day(39)


def test_what_is_kept_never_changes_an_answer() -> None:
    panel, watch = synthetic_panel(), watched(range(20, 25))
    for n in (40, 20, 41, 60, 25):
        warm = watch.forecast(panel.as_of(day(n)), 7)
        cold = watched(range(20, 25)).forecast(panel.as_of(day(n)), 7)
        assert warm.flags == cold.flags
        assert warm.apy_pct.tobytes() == cold.apy_pct.tobytes()


def test_another_market_is_another_memory() -> None:
    watch = watched()
    watch.verdict(synthetic_panel(7).as_of(day(60)), 7)
    found = watch.verdict(synthetic_panel(8).as_of(day(60)), 7)
    assert found == watched().verdict(synthetic_panel(8).as_of(day(60)), 7)


@pytest.mark.parametrize("horizon", [1, 7])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_future_cannot_change_a_verdict_or_a_watched_forecast(horizon: int, seed: int) -> None:
    t = 50
    panel = synthetic_panel()
    other = with_another_future(panel, t, seed)
    model = baseline("mean7")
    rivals = tuple(baseline(name) for name in ("last", "ewma"))
    found, expected = (
        WatchedForecaster(model, rivals).verdict(each.as_of(day(t)), horizon)
        for each in (other, panel)
    )
    assert expected.n > 0  # else the test would compare nothing
    assert found == expected
    one, two = (
        WatchedForecaster(model, rivals).forecast(each.as_of(day(t)), horizon)
        for each in (other, panel)
    )
    assert one.apy_pct.tobytes() == two.apy_pct.tobytes()
    assert (one.method, one.flags) == (two.method, two.flags)


def test_a_forecast_is_scored_from_the_day_on_which_its_outcome_is_known() -> None:
    panel, horizon = rising(n_days=20), 7
    for n, expected in ((7, 0), (8, 1), (9, 2), (19, 5)):  # day 0 has one row: no forecast
        assert watched().verdict(panel.as_of(day(n)), horizon).n_days == expected


@pytest.mark.parametrize("seed", [7, 8])
def test_the_past_of_a_view_is_what_was_shown_then(seed: int) -> None:
    panel = synthetic_panel(seed)
    past = past_of(panel.as_of(panel.last_day))
    for n in (0, 1, 13, 30, 52, 69):
        found, expected = past.as_of(day(n)), panel.as_of(day(n))
        assert found.pools == expected.pools
        assert found.tokens == expected.tokens
        assert found.is_listed.tolist() == expected.is_listed.tolist()
        for name in ("pool_series", "token_series", "gas"):
            one, other = getattr(found, name), getattr(expected, name)
            for item in fields(other):
                assert getattr(one, item.name).tobytes() == getattr(other, item.name).tobytes()


def test_the_past_of_a_view_knows_nothing_of_pools_that_came_later() -> None:
    panel = synthetic_panel()
    first, last = panel.as_of(day(5)), panel.as_of(day(60))
    assert len(first.pools) < len(last.pools)
    assert past_of(last).as_of(day(5)).pool_ids == first.pool_ids


def stored_forecasts(panel: MarketPanel, model: Moody, days: range, horizon: int) -> pd.DataFrame:
    frames = [model.forecast(panel.as_of(day(n)), horizon).to_frame() for n in days]
    return pd.concat(frames, ignore_index=True).assign(method=model.name)


def test_stored_forecasts_get_the_verdict_of_those_made_again() -> None:
    panel, horizon = synthetic_panel(), 3
    model = Moody(frozenset(range(35, 40)))
    stored = stored_forecasts(panel, model, range(60), horizon)
    for n in (20, 41, 47):
        view = panel.as_of(day(n))
        expected = WatchedForecaster(model, (baseline("last"),), RULES).verdict(view, horizon)
        assert verdict_on_stored(stored, view, horizon, (baseline("last"),), RULES) == expected


def test_days_that_were_not_stored_are_not_scored() -> None:
    panel = rising()
    stored = stored_forecasts(panel, Moody(frozenset()), range(30, 33), 2)
    found = verdict_on_stored(stored, panel.as_of(day(36)), 2, (baseline("last"),), RULES)
    assert (found.n_days, found.n) == (3, 9)


def test_stored_forecasts_of_two_methods_are_refused() -> None:
    panel = rising()
    stored = stored_forecasts(panel, Moody(frozenset()), range(30, 32), 2)
    stored.loc[0, "method"] = "other"
    with pytest.raises(ContractError, match="2 methods"):
        verdict_on_stored(stored, panel.as_of(day(36)), 2, (baseline("last"),), RULES)


def shelf(panel: MarketPanel, stored: pd.DataFrame, on: date) -> StoredWatch:
    """A watch on what is stored, as it is seen on a day."""

    def archive(first: date, last: date, horizon: int) -> Past | None:
        days = stored["exec_date"].between(pd.Timestamp(first), pd.Timestamp(last))
        found = stored[days & (stored["horizon_days"] == horizon)]
        return Past(found, panel.as_of(on)) if len(found) else None

    return StoredWatch(watched(), archive)


def test_stored_forecasts_decide_who_serves() -> None:
    panel, horizon = rising(), 2
    stored = stored_forecasts(panel, Moody(frozenset(range(20, 25))), range(10, 50), horizon)
    served = {}
    for n in range(10, 50):
        watch = shelf(panel, stored, day(n))
        served[n] = watch.forecast(panel.as_of(day(n)), horizon)
    assert {n for n, each in served.items() if each.method == "last"} == set(range(22, 31))
    assert served[22].flags[-1].startswith("fallback: last serves, because the MAE of moody")
    assert served[31].flags == ()


def test_nothing_stored_is_not_judged_yet_and_the_model_serves() -> None:
    panel = rising()
    watch = shelf(panel, stored_forecasts(panel, Moody(frozenset()), range(10, 11), 2), day(40))
    verdict = watch.verdict(panel.as_of(day(40)), 7)
    assert (verdict.n_days, verdict.is_judged, verdict.server) == (0, False, "moody")
    assert watch.forecast(panel.as_of(day(40)), 7).method == watch.name == "moody"


def test_a_stored_watch_asks_its_archive_once_for_what_can_be_scored() -> None:
    panel, asked = rising(), []

    def archive(*span: Any) -> None:
        asked.append(span)

    watch = StoredWatch(watched(), archive)
    for _ in range(2):
        watch.verdict(panel.as_of(day(40)), 7)
    # the last day with a known outcome, and two windows of five days
    assert asked == [(day(24), day(33), 7)]


def test_a_measured_model_serves_whatever_was_stored() -> None:
    panel = rising()
    stored = stored_forecasts(panel, Moody(frozenset(range(60))), range(10, 38), 2)
    found = shelf(panel, stored, day(40))
    measured = replace(found, watch=replace(found.watch, may_replace=False))
    assert found.verdict(panel.as_of(day(40)), 2).is_fallback
    assert not measured.verdict(panel.as_of(day(40)), 2).is_fallback
    assert measured.forecast(panel.as_of(day(40)), 2).method == "moody"


def test_a_verdict_says_in_a_sentence_how_it_stands() -> None:
    scores = [DayScore(day(i), 1, (1.5, 1.0)) for i in range(3)]
    rules = DriftRules(5, 3)
    early = judge(day(9), ("m", "a"), scores[:2], 7, rules)
    assert early.account.startswith("m is not judged yet: 2 of the 3 scored days that it takes")
    bad = judge(day(9), ("m", "a"), scores, 7, rules)
    assert bad.account == bad.sentence
    assert (bad.server, bad.is_judged) == ("a", True)
    good = judge(day(9), ("m", "a"), scores, 7, DriftRules(5, 3, tolerance=1.0))
    assert good.account == (
        "m serves: its MAE over the last 3 scored days is 1.5 points, that of the best baseline, "
        "a, 1"
    )
    assert (good.server, good.sentence) == ("m", "")


@pytest.mark.parametrize("name", list(BASELINES))
def test_the_point_of_a_forecast_is_that_of_the_whole_forecast(name: str) -> None:
    view = synthetic_panel().as_of(day(50))
    expected = baseline(name).forecast(view, 7).apy_pct
    assert point_of(baseline(name), view, 7).tobytes() == expected.tobytes()
    whole = point_of(Moody(frozenset()), view, 7)
    assert whole.tobytes() == (baseline("last").forecast(view, 7).apy_pct - 0.001).tobytes()


def test_the_record_of_a_run_is_a_row_a_day() -> None:
    panel = rising()
    days = [day(n) for n in range(20, 30)]
    frame = drift_frame(drift_record(panel, watched(range(20, 25)), 2, days))
    assert frame.columns.tolist() == list(DRIFT_COLUMNS)
    assert frame["date"].tolist() == [pd.Timestamp(each) for each in days]
    assert frame["is_fallback"].tolist() == [False, False] + [True] * 8


@pytest.mark.parametrize(
    "values",
    [
        {"window_days": 0},
        {"min_scored_days": 31},
        {"min_scored_days": 0},
        {"tolerance": -0.1},
        {"window_days": 400},
    ],
)
def test_impossible_rules_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ParameterError):
        DriftRules(**values)  # type: ignore[arg-type]


def test_a_model_is_not_watched_by_itself_or_by_nobody() -> None:
    for fallbacks in ((), (baseline("ewma"),)):
        with pytest.raises(ParameterError, match="'ewma' cannot be watched"):
            WatchedForecaster(baseline("ewma"), fallbacks)


def test_all_baselines_watch_unless_told_otherwise() -> None:
    watch = WatchedForecaster(Moody(frozenset()))
    assert watch.methods == ("moody", *BASELINES)
    assert (watch.fit_seconds, watch.training_info) == (0.0, None)


def test_a_horizon_that_is_none_is_refused() -> None:
    with pytest.raises(ParameterError, match="horizon_days is 0"):
        watched().forecast(rising().as_of(day(30)), 0)


def test_the_day_on_which_a_market_starts_has_no_past_to_score() -> None:
    found = watched().verdict(rising().as_of(FIRST_DAY + timedelta(days=1)), 30)
    assert (found.n_days, found.is_fallback) == (0, False)
