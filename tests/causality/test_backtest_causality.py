"""Decisions up to day t are bit-identical whatever happens after t, for every policy.

The sweep is the product's own, `check_causality`: the market after t is replaced in everything, the
backtest is run again, and what was decided up to t must not have changed by a single bit. Policies
that are not causal, the clairvoyant first, show that the check bites.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest

import stableyield.backtest
from stableyield.backtest import BacktestSettings
from stableyield.backtest.benchmarks import Idle
from stableyield.backtest.day import DayInputs, Prepared
from stableyield.backtest.policy import Decision, Policy
from stableyield.backtest.rebalance import rebalance
from stableyield.domain.pool import PoolState
from stableyield.errors import DayOutOfRangeError, IntegrityError, LookAheadError, ParameterError
from stableyield.forecast import (
    FORECASTERS,
    Baseline,
    Forecast,
    Forecaster,
    WatchedForecaster,
    baseline,
    forecaster,
)
from stableyield.market.assemble import panel_of
from stableyield.market.panel import MarketPanel, MarketView
from stableyield.market.synthetic import SyntheticSettings, simulate_market
from stableyield.study.causality import CausalityReport, check_causality
from support.markets import day, lax, synthetic_panel, with_another_future

START, END, CUTS = 36, 43, (37, 39, 41, 43)
SETTINGS = BacktestSettings(
    start=day(START), end=day(END), aum_usd=2e5, forecaster=baseline("last")
)
QUICK_TO_LEARN = [name for name in FORECASTERS if name not in ("learned", "stableyield")]


def market() -> MarketPanel:
    """A synthetic market with foreign forecasts, so that the foreign forecaster has something."""
    panel = synthetic_panel(seed=11)
    view = panel.as_of(panel.last_day)
    series = view.pool_series
    noise = np.random.default_rng(3).lognormal(0.0, 0.2, series.apy_pct.shape)
    by_pool = {name: getattr(series, name) for name in vars(series)}
    for name in by_pool:
        if name.startswith("forecast_"):
            source = series.tvl_usd if "tvl" in name else series.apy_pct
            by_pool[name] = source * noise * (0.7 if "q10" in name else 1.0)
    by_token = {name: getattr(view.token_series, name) for name in vars(view.token_series)}
    return MarketPanel.build(view.days, view.pools, by_pool, view.tokens, by_token, gas=view.gas)


@pytest.fixture(scope="module")
def panel() -> MarketPanel:
    return market()


def shipped_policies() -> dict[str, type]:
    """Every policy class of the backtest, by its name; found, so that none is forgotten."""
    found = {}
    for module in pkgutil.iter_modules(stableyield.backtest.__path__):
        classes = vars(importlib.import_module(f"stableyield.backtest.{module.name}"))
        for name, each in classes.items():
            is_own = inspect.isclass(each) and each.__module__.endswith(f".{module.name}")
            if is_own and hasattr(each, "decide") and not getattr(each, "_is_protocol", False):
                found[name] = each
    return found


POLICIES = shipped_policies()
CAUSAL = sorted(name for name, each in POLICIES.items() if getattr(each, "is_causal", True))
SEEING = sorted(set(POLICIES) - set(CAUSAL))


# --- what is causal -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUICK_TO_LEARN)
def test_the_strategy_does_not_depend_on_the_future_by_any_forecaster(
    panel: MarketPanel, name: str
) -> None:
    report = check_causality(panel, SETTINGS, forecaster=forecaster(name), changes=3)
    report.raise_if_not_causal()
    assert report.forecaster == name
    assert report.n_transactions > 0


@pytest.mark.parametrize("name", CAUSAL)
def test_no_shipped_policy_depends_on_the_future(panel: MarketPanel, name: str) -> None:
    report = check_causality(panel, SETTINGS, POLICIES[name], changes=4)
    report.raise_if_not_causal()
    assert report.is_causal
    assert (report.n_transactions > 0) == (name != "Idle")  # else nothing would be compared


def test_all_the_policies_are_found() -> None:
    expected = {"MilpPolicy", "Idle", "Hold", "BestSingle", "EqualWeight", "TopTrailing"}
    assert expected | {"Threshold"} <= set(CAUSAL)
    assert SEEING == ["Clairvoyant"]


def test_a_watched_forecaster_is_causal_too(panel: MarketPanel) -> None:
    rivals = (baseline("last"), baseline("ewma"))
    watched = WatchedForecaster(baseline("mean7"), rivals)
    check_causality(panel, SETTINGS, Idle, forecaster=watched).raise_if_not_causal()


@pytest.mark.slow
def test_the_learned_forecaster_is_causal_where_it_has_learned() -> None:
    panel = panel_of(simulate_market(SyntheticSettings(seed=11, n_days=120, n_pools=12)))
    start = panel.last_day - timedelta(days=3)
    settings = BacktestSettings(start=start, aum_usd=2e5, parameters=lax(horizon_days=7.0))
    learned = forecaster("learned")
    assert learned.forecast(panel.as_of(start), 7).flags == ()  # else a baseline stands in
    report = check_causality(panel, settings, forecaster=learned, changes=1)
    report.raise_if_not_causal()
    assert report.n_transactions > 0


@pytest.mark.parametrize("mode", ["independent", "compounded"])
def test_every_mode_is_causal(panel: MarketPanel, mode: str) -> None:
    settings = BacktestSettings(start=day(START), end=day(41), aum_usd=2e5, mode=mode)
    check_causality(panel, settings, changes=2).raise_if_not_causal()


# --- the other future -----------------------------------------------------------------------------


@pytest.mark.parametrize("t", CUTS)
def test_the_other_future_is_another_one_in_everything(panel: MarketPanel, t: int) -> None:
    other = with_another_future(panel, t, seed=t)
    assert other.sha256 != panel.sha256
    mine, theirs = panel.as_of(day(t + 1)), other.as_of(day(t + 1))
    n_pools, n_tokens = len(mine.pools), len(mine.tokens)
    for one, two, width in (
        (mine.pool_series, theirs.pool_series, n_pools),
        (mine.token_series, theirs.token_series, n_tokens),
    ):
        for name in vars(one):
            before, after = getattr(one, name)[-1], getattr(two, name)[-1, :width]
            assert not np.array_equal(before, after, equal_nan=True), name
    assert mine.gas.gas_gwei[-1] != theirs.gas.gas_gwei[-1]
    assert mine.gas.eth_usd[-1] != theirs.gas.eth_usd[-1]
    assert "newcomer" in theirs.pool_ids
    assert "NEW" in theirs.tokens
    end, other_end = panel.as_of(panel.last_day), other.as_of(other.last_day)
    listings = {(p.listed_until, p.is_active) for p in end.pools}
    assert listings != {(p.listed_until, p.is_active) for p in other_end.pools}


@pytest.mark.parametrize("t", CUTS)
def test_the_two_markets_look_the_same_up_to_the_cut(panel: MarketPanel, t: int) -> None:
    other = with_another_future(panel, t, seed=t)
    for n in (START, t):
        mine, theirs = panel.as_of(day(n)), other.as_of(day(n))
        assert (mine.pools, mine.tokens, mine.days.tolist()) == (
            theirs.pools,
            theirs.tokens,
            theirs.days.tolist(),
        )
        for one, two in (
            (mine.pool_series, theirs.pool_series),
            (mine.token_series, theirs.token_series),
            (mine.gas, theirs.gas),
        ):
            for name in vars(one):
                assert getattr(one, name).tobytes() == getattr(two, name).tobytes(), name


def test_the_future_of_a_copy_can_be_replaced_again(panel: MarketPanel) -> None:
    twice = with_another_future(with_another_future(panel, 40), 45)
    assert {"newcomer", "newcomer_"} <= set(twice.as_of(twice.last_day).pool_ids)


# --- planted leaks --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEEING)
def test_what_is_not_causal_is_caught(panel: MarketPanel, name: str) -> None:
    report = check_causality(panel, SETTINGS, POLICIES[name], changes=4)
    assert not report.is_causal
    assert len(report.leaks) >= 3
    with pytest.raises(LookAheadError, match="the decision changes with what happens after"):
        report.raise_if_not_causal()


@dataclass
class PeekingPolicy:
    """Puts everything into the open pool that will pay the most tomorrow."""

    panel: MarketPanel
    name: str = "peeking"

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:
        tomorrow = self.panel.as_of(inputs.view.day + timedelta(days=1))
        returns = np.nan_to_num(tomorrow.realised_return, nan=-1.0)
        able = [p for p in prepared.problem.pools if p.state is PoolState.OPEN]
        best = max(able, key=lambda p: returns[tomorrow.pool_index[p.pool_id]])
        return Decision(rebalance(prepared.problem, {best.pool_id: prepared.problem.aum_usd}))


@dataclass
class SubtlyPeekingPolicy:
    """Moves 500 USD in and out of a pool, and a tenth of a cent more for tomorrow's price."""

    panel: MarketPanel
    name: str = "subtle"

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:
        tomorrow = self.panel.as_of(inputs.view.day + timedelta(days=1))
        first = next(p for p in prepared.problem.pools if p.state is PoolState.OPEN)
        target_usd = 1000.0 + 500.0 * (inputs.view.day.day % 2)
        return Decision(
            rebalance(
                prepared.problem,
                {first.pool_id: target_usd + 1e-3 * tomorrow.prices_usd["USDC"]},
            )
        )


@dataclass
class PeekingForecaster:
    """Knows the rates of the day after the decision."""

    panel: MarketPanel
    inside: Forecaster = field(default_factory=lambda: baseline("last"))
    name: str = "peeking"

    def forecast(self, view: MarketView, horizon_days: int) -> Forecast:
        honest = self.inside.forecast(view, horizon_days)
        later = self.panel.as_of(view.day + timedelta(days=1)).pool_series.apy_pct
        values: dict[str, Any] = {name: getattr(honest, name) for name in vars(honest)}
        known = later[-1, : len(view.pools)]
        values["apy_pct"] = np.where(np.isfinite(known), known, honest.apy_pct)
        for name in ("apy_q10_pct", "apy_q50_pct", "apy_q90_pct"):
            values[name] = np.full(len(view.pools), np.nan)
        return Forecast(**values)


@pytest.mark.parametrize("leak", [PeekingPolicy, SubtlyPeekingPolicy])
def test_a_policy_that_peeks_is_found_on_the_day_before_the_change(
    panel: MarketPanel, leak: type
) -> None:
    report = check_causality(panel, SETTINGS, leak)
    assert len(report.leaks) >= 2  # the best pool of another future may be the same
    # it is found where it is: what it knew on earlier days is the same in both markets
    assert all(found.difference.day == found.changed_after for found in report.leaks)
    first = report.first_leak
    assert first is not None
    assert first.difference.pool_id.startswith("synthetic-")
    assert first.difference.what.startswith("position, ")
    with pytest.raises(LookAheadError) as caught:
        report.raise_if_not_causal()
    assert caught.value.exit_code == 1
    for part in (f"day {first.difference.day}", f"pool {first.difference.pool_id}"):
        assert part in caught.value.one_line
    assert caught.value.details == (
        f"as it is: {first.difference.first}",
        f"other future: {first.difference.second}",
    )


@pytest.mark.parametrize("policy", [None, Idle])
def test_a_forecaster_that_peeks_is_found_by_its_pool_whatever_is_done_with_it(
    panel: MarketPanel, policy: type | None
) -> None:
    report = check_causality(panel, SETTINGS, policy, forecaster=PeekingForecaster, changes=2)
    assert report.forecaster == "peeking"
    first = report.first_leak
    assert first is not None
    assert first.difference.day == first.changed_after
    assert "apy_pct" in first.difference.what
    assert first.difference.pool_id.startswith("synthetic-")


@dataclass(frozen=True)
class PeekingShortcut(Baseline):
    """An honest forecast whose short way to the expectation knows tomorrow's rates."""

    panel: MarketPanel | None = None

    def expected(self, view: MarketView, horizon_days: int) -> tuple[np.ndarray, np.ndarray]:
        honest, tvl_usd = super().expected(view, horizon_days)
        assert self.panel is not None
        later = self.panel.as_of(view.day + timedelta(days=1)).pool_series.apy_pct
        known = later[-1, : len(view.pools)]
        return np.where(np.isfinite(known), known, honest), tvl_usd


def test_a_leak_in_the_short_way_to_a_forecast_is_found(panel: MarketPanel) -> None:
    honest = baseline("last")

    def shortcut(panel: MarketPanel) -> PeekingShortcut:
        return PeekingShortcut(honest.name, honest.rule, panel=panel)

    report = check_causality(panel, SETTINGS, forecaster=shortcut, changes=2)
    assert report.first_leak is not None
    assert report.first_leak.difference.what.startswith("expected ")


@dataclass
class Normalising:
    """Compares today with the mean of the whole history, the future included."""

    panel: MarketPanel
    name: str = "normalising"

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:
        whole = self.panel.as_of(self.panel.last_day).pool_series.apy_pct
        first = next(p for p in prepared.problem.pools if p.state is PoolState.OPEN)
        column = inputs.view.pool_index[first.pool_id]
        target_usd = 1e4 * float(np.nanmean(whole[:, column]))
        return Decision(rebalance(prepared.problem, {first.pool_id: target_usd}))


def test_a_leak_from_the_far_future_shows_on_the_first_day(panel: MarketPanel) -> None:
    report = check_causality(panel, SETTINGS, Normalising, changes=1)
    assert report.first_leak is not None
    assert report.first_leak.difference.day == day(START)
    assert report.first_leak.changed_after == day(END)


def whole_behind(array: np.ndarray) -> np.ndarray:
    """The array that a view is a part of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def panel_of_a_caller() -> MarketPanel:
    """The market that some function up the stack was called with."""
    frame = inspect.currentframe()
    while frame is not None:
        if isinstance(found := frame.f_locals.get("panel"), MarketPanel):
            return found
        frame = frame.f_back
    raise AssertionError("no caller has a market")


@dataclass
class Digging:
    """Reads the whole history from behind what it is shown."""

    name: str = "digging"

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:
        first = next(p for p in prepared.problem.pools if p.state is PoolState.OPEN)
        target_usd = 1e4 * self.mean_of_all(inputs.view)
        return Decision(rebalance(prepared.problem, {first.pool_id: target_usd}))

    def mean_of_all(self, view: MarketView) -> float:
        return float(np.nanmean(whole_behind(view.pool_series.apy_pct)))


class Climbing(Digging):
    """Reads it from the callers of the policy."""

    def mean_of_all(self, view: MarketView) -> float:
        panel = panel_of_a_caller()
        return float(np.nanmean(panel.as_of(panel.last_day).pool_series.apy_pct))


@pytest.mark.parametrize("leak", [Digging, Climbing])
def test_what_is_dug_out_of_the_run_is_found(panel: MarketPanel, leak: type) -> None:
    report = check_causality(panel, SETTINGS, leak, changes=2)
    assert len(report.leaks) == 2


@dataclass
class Breaking:
    """Breaks when tomorrow's pools are not those it expects."""

    panel: MarketPanel
    name: str = "breaking"

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:
        if "newcomer" in self.panel.as_of(inputs.view.day + timedelta(days=1)).pool_ids:
            raise KeyError("newcomer")
        return Decision.keep(prepared)


def test_a_policy_that_breaks_with_another_future_has_seen_it(panel: MarketPanel) -> None:
    report = check_causality(panel, SETTINGS, Breaking, changes=2)
    assert [found.difference.day for found in report.leaks] == list(report.changed_after)
    assert report.leaks[0].difference.second == "KeyError: 'newcomer'"


def test_a_policy_that_breaks_on_the_market_as_it_is_breaks_the_check(panel: MarketPanel) -> None:
    def breaking(panel: MarketPanel) -> Breaking:
        return Breaking(with_another_future(panel, START))

    with pytest.raises(KeyError, match="newcomer"):
        check_causality(panel, SETTINGS, breaking)


# --- what only looks like a leak ------------------------------------------------------------------


DICE = itertools.count()


@dataclass
class Dicing:
    """Never does the same twice."""

    name: str = "dicing"

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:
        first = next(p for p in prepared.problem.pools if p.state is PoolState.OPEN)
        return Decision(rebalance(prepared.problem, {first.pool_id: 1e4 + 10.0 * next(DICE)}))


def test_a_policy_that_throws_dice_is_not_accused_of_foresight(panel: MarketPanel) -> None:
    report = check_causality(panel, SETTINGS, Dicing, changes=1)
    assert not report.is_causal
    assert report.leaks == ()
    assert report.unrepeatable is not None
    with pytest.raises(IntegrityError, match="two runs on the same market differ"):
        report.raise_if_not_causal()


@dataclass
class Counting:
    """Buys a little more each day that it has lived; its memory must not outlive a run."""

    name: str = "counting"
    days: int = 0

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:
        self.days += 1
        first = next(p for p in prepared.problem.pools if p.state is PoolState.OPEN)
        return Decision(rebalance(prepared.problem, {first.pool_id: 1e4 + 100.0 * self.days}))


@pytest.mark.parametrize("maker", [Counting, Counting(), partial(Counting, "counting")])
def test_a_policy_with_a_memory_starts_each_run_without_it(
    panel: MarketPanel, maker: Callable[[], Policy] | Policy
) -> None:
    check_causality(panel, SETTINGS, maker, changes=2).raise_if_not_causal()
    assert getattr(maker, "days", 0) == 0


# --- the report and its arguments -----------------------------------------------------------------


def test_the_report_says_what_was_compared_and_is_plain(panel: MarketPanel) -> None:
    seen: list[tuple[int, int]] = []
    report = check_causality(
        panel, SETTINGS, changes=3, seed=5, progress=lambda done, total: seen.append((done, total))
    )
    assert report.changed_after == (day(38), day(41), day(END))
    assert (report.start, report.end) == (day(START), day(END))
    assert 0 < report.n_traded_days <= report.n_transactions
    assert seen == [(n, 4) for n in range(5)]
    document = report.to_document()
    assert document["is_causal"] is True
    assert document["changed_after"][-1] == day(END).isoformat()
    assert (document["seed"], document["leaks"], document["unrepeatable"]) == (5, [], None)


def test_a_leak_is_in_the_document_with_both_values(panel: MarketPanel) -> None:
    report = check_causality(panel, SETTINGS, PeekingPolicy, changes=5)
    (row, *_), first = report.to_document()["leaks"], report.leaks[0]
    assert row == {
        "changed_after": first.changed_after.isoformat(),
        "day": first.difference.day.isoformat(),
        "pool_id": first.difference.pool_id,
        "what": first.difference.what,
        "as_it_is": first.difference.first,
        "other_future": first.difference.second,
    }


def test_without_a_start_the_last_sixty_days_are_checked() -> None:
    report = check_causality(synthetic_panel(seed=11), None, Idle, changes=1)
    assert (report.start, report.end) == (day(9), day(68))


def test_more_changes_than_days_replace_the_future_after_each(panel: MarketPanel) -> None:
    settings = BacktestSettings(start=day(40), end=day(42))
    report = check_causality(panel, settings, Idle, changes=50)
    assert report.changed_after == (day(40), day(41), day(42))


@pytest.mark.parametrize(
    ("policy", "what"),
    [
        (lambda k, days: None, "needs k, days"),
        (lambda *, panel: None, "needs panel"),
        (Breaking.decide, "needs self, prepared, inputs"),
    ],
)
def test_a_maker_that_needs_more_than_a_market_is_refused(
    panel: MarketPanel, policy: Any, what: str
) -> None:
    with pytest.raises(ParameterError, match=what):
        check_causality(panel, SETTINGS, policy)


def test_an_object_that_cannot_be_copied_is_refused(panel: MarketPanel) -> None:
    stuck = Counting()
    stuck.days = (n for n in range(3))  # type: ignore[assignment]
    with pytest.raises(ParameterError, match="Counting cannot be copied"):
        check_causality(panel, SETTINGS, stuck)


@pytest.mark.parametrize("t", [-1, 69])
def test_a_day_without_a_later_one_has_no_other_future(panel: MarketPanel, t: int) -> None:
    with pytest.raises(DayOutOfRangeError, match="no future after"):
        with_another_future(panel, t)


def test_no_change_at_all_is_refused(panel: MarketPanel) -> None:
    with pytest.raises(ParameterError, match="changes is 0"):
        check_causality(panel, SETTINGS, changes=0)


def test_a_causal_report_raises_nothing() -> None:
    report = CausalityReport("a", "b", day(0), day(1), (day(1),), 1, 1)
    report.raise_if_not_causal()
    assert report.first_leak is None
