"""Decisions up to day t are bit-identical whatever happens after t, for every policy.

The market after t is replaced in everything (see `support.markets.with_another_future`); the whole
backtest is run again, and what was decided up to t must not have changed by a single bit. The last
tests plant a leak and demand that the sweep finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from stableyield.backtest import BacktestSettings, engine, run_backtest
from stableyield.backtest.day import DayInputs, Prepared
from stableyield.backtest.policy import Decision, Idle, Optimised, Policy, benchmarks
from stableyield.backtest.rebalance import rebalance
from stableyield.config import canonical_json
from stableyield.domain.pool import PoolState
from stableyield.forecast import (
    BASELINES,
    Baseline,
    Forecast,
    Forecaster,
    ForeignForecaster,
    baseline,
)
from stableyield.market.panel import MarketPanel, MarketView
from support.markets import day, synthetic_panel, with_another_future

START, CUTS = 36, (37, 40, 43, 46, 49)
POLICIES = ("strategy", "idle", "best_single", "equal_weight")
PolicyOf = Callable[[MarketPanel], Policy]
ForecasterOf = Callable[[MarketPanel], Forecaster]


def market() -> MarketPanel:
    """A synthetic market with foreign forecasts, so that the foreign forecaster has something."""
    panel = synthetic_panel(seed=11)
    view = panel.as_of(panel.last_day)
    series = view.pool_series
    noise = np.random.default_rng(3).lognormal(0.0, 0.2, series.apy_pct.shape)
    by_pool = {name: getattr(series, name) for name in vars(series)}
    by_pool |= {
        "forecast_apy_pct": series.apy_pct * noise,
        "forecast_apy_q10_pct": series.apy_pct * noise * 0.7,
        "forecast_tvl_usd": series.tvl_usd * noise,
    }
    by_token = {name: getattr(view.token_series, name) for name in vars(view.token_series)}
    return MarketPanel.build(view.days, view.pools, by_pool, view.tokens, by_token, gas=view.gas)


@dataclass
class Recorder:
    """A policy that notes what the one inside decides, to the last bit."""

    inside: Policy
    notes: list[tuple[str, str, str]]
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.inside.name

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:
        decision = self.inside.decide(prepared, inputs)
        self.notes.append((inputs.view.day.isoformat(), self.name, _text(prepared, decision)))
        return decision


def _text(prepared: Prepared, decision: Decision) -> str:
    money = decision.settlement
    plan = None if decision.plan is None else decision.plan.to_document()
    if plan is not None:
        del plan["solve_seconds"]
    return canonical_json(
        {
            "before": sorted(map(list, money.before.positions.items())),
            "wallet": dict(money.before.wallet),
            "transactions": [step.to_dict() for step in money.transactions],
            "after": sorted(map(list, money.after.positions.items())),
            "prices": dict(money.prices_usd),
            "flags": prepared.flags,
            "states": [state.value for state in prepared.screening.states],
            "plan": plan,
        }
    )


def decisions(
    panel: MarketPanel,
    last: int,
    forecaster: Forecaster,
    policy: Policy | None = None,
) -> dict[tuple[str, str], str]:
    """What every policy decides on every day up to ``last``: by day and name."""
    notes: list[tuple[str, str, str]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "benchmarks", lambda: [Recorder(p, notes) for p in benchmarks()])
        settings = BacktestSettings(
            start=day(START), end=day(last), forecaster=forecaster, aum_usd=2e5
        )
        run_backtest(panel, settings, policy=Recorder(policy or Optimised(), notes))
    return {(on, name): text for on, name, text in notes}


def differences(
    panel: MarketPanel,
    cuts: tuple[int, ...],
    forecaster_of: ForecasterOf,
    policy_of: PolicyOf | None = None,
) -> Iterator[tuple[int, str, str]]:
    """Decisions that change with the future: the cut, the day and the policy of each."""

    def decided(of: MarketPanel, last: int) -> dict[tuple[str, str], str]:
        policy = None if policy_of is None else policy_of(of)
        return decisions(of, last, forecaster_of(of), policy)

    expected = decided(panel, max(cuts))
    for t in cuts:
        found = decided(with_another_future(panel, t, seed=t), t)
        names = {name for _, name in found}
        assert len(found) == len(names) * (t - START + 1)
        yield from ((t, *key) for key, text in found.items() if text != expected[key])


FORECASTERS = {name: baseline(name) for name in BASELINES} | {"foreign": ForeignForecaster()}


@pytest.fixture(scope="module")
def panel() -> MarketPanel:
    return market()


@pytest.mark.parametrize("name", FORECASTERS)
def test_no_decision_depends_on_the_future(panel: MarketPanel, name: str) -> None:
    assert list(differences(panel, CUTS, lambda of: FORECASTERS[name])) == []


def test_the_sweep_compares_decisions_that_move_money(panel: MarketPanel) -> None:
    made = decisions(panel, CUTS[2], FORECASTERS["ewma"])
    assert {name for _, name in made} == set(POLICIES)
    moving = {name for (_, name), text in made.items() if '"type":"ALLOCATION"' in text}
    assert moving == set(POLICIES) - {"idle"}
    strategy = [text for (_, name), text in made.items() if name == "strategy"]
    assert sum('"type":"ALLOCATION"' in text for text in strategy) >= 3
    assert all('"status":"optimal"' in text for text in strategy)


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


# --- planted leaks --------------------------------------------------------------------------------


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
    """Knows the rates of the day after tomorrow's decision."""

    panel: MarketPanel
    inside: Forecaster
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
    panel: MarketPanel, leak: PolicyOf
) -> None:
    found = list(differences(panel, CUTS, lambda of: FORECASTERS["last"], leak))
    assert len({t for t, _, _ in found}) >= 2  # the best pool of another future may be the same
    # it is found where it is: what it knew on earlier days is the same in both markets
    assert all(on == day(t).isoformat() and name == leak(panel).name for t, on, name in found)


def test_a_forecaster_that_peeks_is_found(panel: MarketPanel) -> None:
    def leak(of: MarketPanel) -> Forecaster:
        return PeekingForecaster(of, FORECASTERS["last"])

    found = list(differences(panel, CUTS, leak))
    assert {name for _, _, name in found} >= {"strategy"}
    assert all(on == day(t).isoformat() for t, on, _ in found)


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
    leaks = differences(
        panel,
        CUTS[:2],
        lambda of: PeekingShortcut(honest.name, honest.rule, panel=of),
    )
    assert next(leaks, None) is not None


def test_an_honest_policy_in_the_place_of_the_leak_is_not_accused(panel: MarketPanel) -> None:
    assert (
        list(differences(panel, CUTS[:1], lambda of: FORECASTERS["last"], lambda of: Idle())) == []
    )
