"""A replay gives the plan that was decided, whatever was learned since."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest

from stableyield.errors import InputError, MissingDataError
from stableyield.pipeline import Outcome, replay_run
from stableyield.pipeline.replay import differences
from stableyield.store import Actor, list_runs, set_defaults, set_list, write_market_table, writing
from support.treasury import DAY, Treasury, small_market

ME = Actor("tester", "tests")


def test_a_replay_gives_the_identical_plan(lived: tuple[Treasury, list[Outcome]]) -> None:
    treasury, outcomes = lived
    for outcome in outcomes:
        replay = replay_run(treasury.engine, outcome.run.run_id)
        assert replay.differences == ()
        assert replay.is_identical
        assert replay.recorded["inputs_sha256"] == replay.replayed["inputs_sha256"]
        assert replay.recorded["transactions"] == replay.replayed["transactions"]
        assert replay.other_versions == {}


def test_what_was_learned_since_does_not_change_a_replay(
    decided: tuple[Treasury, Outcome],
) -> None:
    treasury, outcome = decided
    frames = small_market()
    corrected = frames.pool_daily.assign(apy_pct=frames.pool_daily["apy_pct"] * 2.0)
    with writing(treasury.engine, ME, at=treasury.ticking.now()) as batch:
        write_market_table(batch, "pool_daily", corrected)
        set_list(batch, "approved_protocols", ["some-other-protocol"])
        set_defaults(batch, {"horizon_days": 90.0})
    treasury.bring(77_000.0, day=DAY + timedelta(days=1))
    replay = replay_run(treasury.engine, outcome.run.run_id)
    assert replay.differences == ()


@pytest.mark.slow
def test_a_superseded_and_a_dry_run_can_be_replayed_too(treasury: Treasury) -> None:
    dry = treasury.run(is_dry=True).run.run_id
    first = treasury.run().run.run_id
    second = treasury.run(again=True, min_pools=3).run.run_id
    for run_id in (dry, first, second):
        assert replay_run(treasury.engine, run_id).differences == ()


def test_a_plan_that_differs_is_seen(lived: tuple[Treasury, list[Outcome]]) -> None:
    plan = lived[1][0].plan
    steps = [{**step, "amount": step["amount"] + 1e-9} for step in plan["transactions"]]
    assert differences(plan, {**plan, "transactions": steps}) == ("transactions",)
    assert differences(plan, {**plan, "solve_seconds": 99.0}) == ()
    assert differences(plan, {**plan, "inputs_sha256": "0"}) == ("inputs_sha256",)


def test_a_run_without_a_plan_cannot_be_replayed(treasury: Treasury) -> None:
    daily = small_market().pool_daily
    old = daily[daily["date"] < pd.Timestamp(DAY)].reset_index(drop=True)
    treasury.source.frames = replace(small_market(), pool_daily=old)
    with pytest.raises(InputError, match="the newest pool rows are of 2025-11-30"):
        treasury.run()
    with pytest.raises(MissingDataError, match="has no plan"):
        replay_run(treasury.engine, list_runs(treasury.engine)[0].run_id)
    with pytest.raises(MissingDataError, match="there is no run 'nothing'"):
        replay_run(treasury.engine, "nothing")


def test_another_proof_of_the_same_steps_is_the_same_plan(
    decided: tuple[Treasury, Outcome],
) -> None:
    treasury, first = decided
    found = replay_run(treasury.engine, first.run.run_id)
    proven = {**found.replayed, "gap_usd": 0.5}
    other = replace(found, replayed=proven, differences=differences(found.recorded, proven))
    assert other.differences == ("gap_usd",)
    assert other.is_identical
    cheaper = {**proven, "costs": {}}
    other = replace(found, replayed=cheaper, differences=differences(found.recorded, cheaper))
    assert other.differences == ("costs", "gap_usd")
    assert not other.is_identical
