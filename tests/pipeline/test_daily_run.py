"""The daily job from end to end, on both databases."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest

from stableyield.backtest import run_backtest
from stableyield.config import AllocationParameters
from stableyield.errors import (
    DataQualityError,
    InputError,
    MissingDataError,
    ParameterError,
    SourceError,
)
from stableyield.pipeline import Outcome
from stableyield.pipeline.carry import last_snapshot
from stableyield.pipeline.journal import balances_of, balances_of_book
from stableyield.pipeline.stages import DECISION
from stableyield.store import (
    Actor,
    add_to_list,
    list_runs,
    read_entries,
    read_frame,
    read_plan,
    read_stages,
    remove_from_list,
    set_list,
    write_frame,
    writing,
)
from support.treasury import DAY, LAX, Treasury, count_of, small_market, small_panel

ME = Actor("tester", "tests")
Lived = tuple[Treasury, list[Outcome]]
Decided = tuple[Treasury, Outcome]


def days(n: int) -> list[date]:
    return [DAY + timedelta(days=k) for k in range(n)]


def test_a_day_is_decided_recorded_reported_and_told(decided: Decided) -> None:
    treasury, outcome = decided
    assert outcome.run.status == "done"
    assert outcome.plan["status"] == "optimal"
    assert read_plan(treasury.engine, outcome.run.run_id).document == outcome.plan
    assert outcome.run.inputs_sha256 == outcome.plan["inputs_sha256"]
    assert outcome.run.parameters_sha256
    done = [each.stage for each in read_stages(treasury.engine, outcome.run.run_id)]
    names = [each.name for each in DECISION]
    assert sorted(done) == sorted(["migrate", "ingest", *names, "report", "notify"])
    written = {path.name for path in outcome.directory.iterdir()}
    assert written == {"plan.json", "problem.json", "report.html", "summary.txt"}
    assert json.loads((outcome.directory / "plan.json").read_text())["status"] == "optimal"
    ((subject, text),) = treasury.listener.heard
    assert str(DAY) in subject
    assert outcome.run.run_id in text
    assert "AUM" in text


def test_the_second_run_of_a_day_changes_nothing(decided: Decided) -> None:
    treasury, first = decided
    counts, asked = treasury.counts(), treasury.source.asked
    second = treasury.run()
    assert second.was_done
    assert second.run == first.run
    assert second.plan == first.plan
    assert treasury.counts() == counts
    assert treasury.source.asked == asked
    assert len(treasury.listener.heard) == 1


def test_the_live_job_does_what_the_backtest_does(lived: Lived) -> None:
    treasury, outcomes = lived
    panel = small_panel()
    price = panel.as_of(DAY).prices_usd["USDC"]
    log = run_backtest(
        panel,
        start=DAY,
        end=days(3)[-1],
        aum_usd=100_000.0 * price,
        parameters=AllocationParameters.from_mapping(LAX),
        with_benchmarks=False,
    ).daily_log
    for column, key in (("aum_start", "aum_before_usd"), ("aum_after", "aum_after_usd")):
        lived = [outcome.plan[key] for outcome in outcomes]
        assert lived == pytest.approx(log[column].tolist(), rel=1e-12)
    nav = read_frame(treasury.engine, "daily_nav")
    assert nav["assets_next_usd"].tolist()[:2] == pytest.approx(log["aum_end"].tolist()[:2])


def test_the_journal_adds_up_to_the_book(lived: Lived) -> None:
    treasury, outcomes = lived
    book = last_snapshot(treasury.engine, DAY + timedelta(days=3)).book
    journal = balances_of(read_entries(treasury.engine))
    owned = balances_of_book(book)
    for key in {*journal, *owned}:
        assert journal.get(key, 0.0) == pytest.approx(owned.get(key, 0.0), abs=1e-6)
    usd = book.aum_usd(small_panel().as_of(DAY + timedelta(days=2)).prices_usd)
    assert usd == pytest.approx(outcomes[-1].plan["aum_after_usd"], abs=0.01)


def test_the_ledger_of_each_token_is_continuous_and_balances(lived: Lived) -> None:
    treasury, _ = lived
    ledger = read_frame(treasury.engine, "daily_ledger")
    moved = (
        ledger["deposits_amount"]
        - ledger["withdrawals_amount"]
        + ledger["conversions_amount"]
        - ledger["costs_amount"]
        + ledger["yield_amount"]
    )
    gap = ledger["opening_amount"] + moved - ledger["closing_amount"]
    assert gap.abs().max() < 1e-6
    for _, rows in ledger.groupby("token"):
        opening = rows["opening_amount"].tolist()[1:]
        assert opening == pytest.approx(rows["closing_amount"].tolist()[:-1], abs=1e-6)
        ytd = rows["realised_yield_usd"].cumsum().tolist()
        assert rows["realised_yield_ytd_usd"].tolist() == pytest.approx(ytd)
    nav = read_frame(treasury.engine, "daily_nav")
    by_day = ledger.groupby("date")["nav_usd"].sum().tolist()
    assert by_day == pytest.approx((nav["assets_before_usd"] - nav["costs_usd"]).tolist())


def test_days_without_a_run_earn_too(decided: Decided) -> None:
    treasury, _ = decided
    treasury.run(DAY + timedelta(days=3))
    nav = read_frame(treasury.engine, "daily_nav")
    assert nav["date"].dt.date.tolist() == days(4)
    linked = (1.0 + nav["yield_day"].iloc[:3]).prod() - 1.0
    assert nav["yield_ytd"].iloc[2] == pytest.approx(linked)
    assert nav["yield_day"].iloc[:3].notna().all()
    assert math.isnan(nav["yield_day"].iloc[3])


@pytest.mark.slow
def test_what_is_brought_is_no_yield(treasury: Treasury) -> None:
    treasury.run()
    treasury.bring(50_000.0, day=DAY + timedelta(days=1))
    treasury.run(DAY + timedelta(days=1))
    row = read_frame(treasury.engine, "daily_nav").iloc[0]
    assert row["deposits_usd"] == pytest.approx(50_000.0, rel=0.01)
    assert abs(row["yield_day"]) < 0.01
    earned = row["assets_next_usd"] - row["assets_before_usd"] - row["deposits_usd"]
    assert row["yield_day"] == pytest.approx(earned / row["assets_before_usd"])


def test_more_than_the_wallet_has_cannot_be_taken(treasury: Treasury) -> None:
    with pytest.raises(InputError, match="the wallet has 100000"):
        treasury.bring(-100_001.0)
    treasury.bring(-40_000.0)
    assert balances_of(read_entries(treasury.engine))["warm_wallet", "USDC"] == 60_000.0


def test_a_flow_into_closed_books_is_refused(decided: Decided) -> None:
    treasury, _ = decided
    with pytest.raises(InputError, match="the books of 2025-12-01 are closed"):
        treasury.bring(1.0)


def test_a_dry_run_moves_no_book_and_tells_nobody(treasury: Treasury) -> None:
    outcome = treasury.run(is_dry=True)
    assert outcome.run.kind == "dry"
    assert outcome.plan["transactions"]
    assert treasury.listener.heard == []
    assert (outcome.directory / "report.html").is_file()
    for table in ("daily_nav", "daily_ledger", "forecasts", "pool_assessments"):
        assert read_frame(treasury.engine, table).empty, table
    assert read_frame(treasury.engine, "daily_balances").empty


@pytest.mark.slow
def test_a_run_after_a_dry_run_decides_the_same(treasury: Treasury) -> None:
    looked_at = treasury.run(is_dry=True).plan["transactions"]
    assert treasury.run().plan["transactions"] == looked_at


def test_again_reverses_the_bookings_and_decides_anew(decided: Decided) -> None:
    treasury, first = decided
    second = treasury.run(again=True, min_pools=3)
    assert second.run.run_id != first.run.run_id
    statuses = {run.run_id: run.status for run in list_runs(treasury.engine)}
    assert statuses == {first.run.run_id: "superseded", second.run.run_id: "done"}
    book = last_snapshot(treasury.engine, DAY + timedelta(days=1)).book
    journal = balances_of(read_entries(treasury.engine))
    for key, amount in balances_of_book(book).items():
        assert journal[key] == pytest.approx(amount, abs=1e-6)


@pytest.mark.slow
def test_the_day_after_a_day_that_was_decided_again_begins_with_its_book(decided: Decided) -> None:
    treasury, _ = decided
    second = treasury.run(again=True, min_pools=3)
    third = treasury.run(DAY + timedelta(days=1))
    assert third.plan["aum_before_usd"] == pytest.approx(second.plan["aum_after_usd"], rel=1e-2)


@pytest.mark.slow
def test_a_day_before_the_books_cannot_be_decided(treasury: Treasury) -> None:
    treasury.run(DAY + timedelta(days=1))
    with pytest.raises(InputError, match="cannot be decided any more: the books are at 2025-12-02"):
        treasury.run()
    assert "FAILED in stage start" in treasury.listener.heard[-1][1]
    assert treasury.run(is_dry=True).run.kind == "dry"


def test_an_empty_treasury_says_how_to_begin(empty: Treasury) -> None:
    with pytest.raises(InputError, match=r"the treasury is empty \(book what it begins with"):
        empty.run()
    ((subject, text),) = empty.listener.heard
    assert "FAILED" in subject
    assert "stage books" in text
    (run,) = list_runs(empty.engine)
    assert (run.status, run.kind) == ("failed", "live")


@pytest.mark.slow
def test_a_treasury_that_was_empty_begins_on_the_day_that_it_gets_something(
    empty: Treasury,
) -> None:
    with pytest.raises(InputError, match="the treasury is empty"):
        empty.run()
    empty.bring()
    assert empty.run().run.status == "done"


def test_a_day_to_come_is_refused(treasury: Treasury) -> None:
    with pytest.raises(InputError, match="2030-01-01 is still to come"):
        treasury.run(date(2030, 1, 1))


def halve_the_feed(treasury: Treasury) -> None:
    frames = small_market()
    daily = frames.pool_daily
    few = daily["pool_id"].isin(daily["pool_id"].unique()[:2])
    treasury.source.frames = replace(
        frames, pool_daily=daily[few | (daily["date"] < pd.Timestamp(DAY))]
    )


def test_data_that_must_not_be_traded_on_stop_the_run(treasury: Treasury) -> None:
    halve_the_feed(treasury)
    with pytest.raises(DataQualityError, match="2 pools have a row today, 10 had one yesterday"):
        treasury.run()
    assert count_of(treasury.engine, "plans") == 0
    assert list_runs(treasury.engine)[0].status == "failed"


def test_pools_without_any_price_are_not_called_stale(treasury: Treasury) -> None:
    frames = small_market()
    old = frames.prices_daily["date"] < pd.Timestamp(DAY - timedelta(days=10))
    treasury.source.frames = replace(frames, prices_daily=frames.prices_daily[old])
    with pytest.raises(MissingDataError, match="no token has a price of the last 7 days"):
        treasury.run()
    assert list_runs(treasury.engine)[0].status == "failed"


@pytest.mark.slow
def test_a_feed_that_is_whole_again_is_decided_on(treasury: Treasury) -> None:
    halve_the_feed(treasury)
    with pytest.raises(DataQualityError):
        treasury.run()
    treasury.source.frames = small_market()
    assert treasury.run().run.status == "done"


def test_limits_that_no_plan_meets_hold_the_book_and_are_told(treasury: Treasury) -> None:
    outcome = treasury.run(min_pools=9, max_alloc_percentage=0.01, min_invested_pct=0.9)
    assert outcome.plan["status"] == "infeasible"
    assert outcome.plan["infeasible_because"]
    assert outcome.run.status == "done"
    assert outcome.plan["aum_after_usd"] == outcome.plan["aum_before_usd"]
    assert "Hold: there is no plan" in treasury.listener.heard[0][1]


def test_a_protocol_that_lost_its_approval_is_left_by_force(decided: Decided) -> None:
    treasury, first = decided
    protocols = sorted(set(small_market().pools["protocol"]))
    with writing(treasury.engine, ME, at=treasury.ticking.now()) as batch:
        set_list(batch, "approved_protocols", protocols)
    pools = small_market().pools.set_index("pool_id")
    lost = pools.loc[first.plan["positions"][0]["pool_id"], "protocol"]
    with writing(treasury.engine, ME, at=treasury.ticking.now()) as batch:
        remove_from_list(batch, "approved_protocols", [lost], reason="audit withdrawn")
    second = treasury.run(DAY + timedelta(days=1), min_gain_usd=1e9, min_pools=0)
    held = {pools.loc[row["pool_id"], "protocol"] for row in second.plan["positions"]}
    assert lost not in held
    assert second.run.summary["exits"]
    assert "may not be held any more" in second.run.summary["decision"]
    assert "left by force" in treasury.listener.heard[-1][1]


@pytest.mark.slow
def test_small_gains_are_not_worth_a_move(treasury: Treasury) -> None:
    treasury.run()
    moved = treasury.run(DAY + timedelta(days=1), is_dry=True)
    held = treasury.run(DAY + timedelta(days=1), min_gain_usd=1e9)
    rule = moved.plan["explanation"]["move_rule"]
    if not rule["forced"]:
        assert held.plan["aum_after_usd"] == held.plan["aum_before_usd"]
        assert held.run.summary["is_held"]


@pytest.mark.slow
def test_an_approved_list_that_lost_its_last_member_approves_nothing(treasury: Treasury) -> None:
    with writing(treasury.engine, ME, at=treasury.ticking.now()) as batch:
        add_to_list(batch, "approved_chains", ["Ethereum"])
    with writing(treasury.engine, ME, at=treasury.ticking.now()) as batch:
        remove_from_list(batch, "approved_chains", ["Ethereum"])
    with pytest.raises(ParameterError, match="approved_chains has become empty"):
        treasury.run()
    assert treasury.run(approved_chains="").run.status == "done"


@pytest.mark.slow
def test_a_source_that_fails_is_an_exit_of_4_and_a_failed_run(treasury: Treasury) -> None:
    treasury.source.error = SourceError("defillama answered 500")
    with pytest.raises(SourceError, match="answered 500") as raised:
        treasury.run()
    assert raised.value.exit_code == 4
    (run,) = list_runs(treasury.engine)
    assert run.status == "failed"
    assert run.error == "defillama answered 500"
    (stage,) = read_stages(treasury.engine, run.run_id)
    assert (stage.stage, stage.status) == ("ingest", "failed")
    assert "FAILED in stage ingest" in treasury.listener.heard[0][1]
    treasury.source.error = None
    assert treasury.run().run.status == "done"


@pytest.mark.slow
def test_a_message_that_is_not_delivered_is_a_warning_of_the_run(treasury: Treasury) -> None:
    treasury.listener.fails = True
    outcome = treasury.run()
    assert outcome.run.status == "done"
    assert "listener: nobody is there" in outcome.warnings
    assert (outcome.directory / "summary.txt").is_file()


@pytest.mark.slow
def test_a_report_that_cannot_be_written_does_not_undo_the_plan(
    treasury: Treasury, tmp_path: Path
) -> None:
    (tmp_path / "runs").write_text("a file stands where the directory should be")
    outcome = treasury.run()
    assert outcome.run.status == "done"
    assert any(warning.startswith("report failed") for warning in outcome.warnings)
    assert any("report failed" in text for _, text in treasury.listener.heard)
    assert treasury.run().was_done


def balances(*rows: tuple[str, str, float]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["location", "token", "amount"])


@pytest.mark.slow
def test_the_books_begin_with_what_is_observed(empty: Treasury) -> None:
    empty.source.balances = balances(("wallet", "USDC", 30_000.0), ("wallet", "DAI", 20_000.0))
    outcome = empty.run()
    assert outcome.plan["aum_before_usd"] == pytest.approx(50_000.0, rel=0.02)
    accounts = {line.account for line in read_entries(empty.engine)}
    assert "equity:deposits" in accounts
    assert "equity:differences" not in accounts


def test_small_differences_are_booked_reported_and_part_of_the_yield(decided: Decided) -> None:
    treasury, first = decided
    ((token, row),) = list(first.plan["wallet"].items())[:1] or [("USDC", {"amount": 0.0})]
    day = DAY + timedelta(days=1)
    treasury.source.balances = balances(("wallet", token, row["amount"] + 25.0))
    second = treasury.run(day)
    (difference,) = [each for each in second.warnings if each.startswith("difference: ")]
    assert f"{token} in warm_wallet" in difference
    stage = next(s for s in read_stages(treasury.engine, second.run.run_id) if s.stage == "books")
    assert stage.detail["reconciliation"]["total_usd"] == pytest.approx(25.0, rel=0.02)
    book = last_snapshot(treasury.engine, day + timedelta(days=1)).book
    journal = balances_of(read_entries(treasury.engine))
    for key, amount in balances_of_book(book).items():
        assert journal[key] == pytest.approx(amount, abs=1e-6)


@pytest.mark.slow
def test_large_differences_stop_the_run_before_it_decides(treasury: Treasury) -> None:
    treasury.source.balances = balances(("wallet", "USDC", 90_000.0))
    with pytest.raises(DataQualityError, match="observed balances differ"):
        treasury.run()
    assert count_of(treasury.engine, "plans") == 0
    allowed = treasury.run(options={"max_difference_pct": 0.2})
    assert allowed.plan["aum_before_usd"] == pytest.approx(90_000.0, rel=0.01)


@pytest.mark.slow
def test_a_token_of_strangers_is_left_out_and_said(treasury: Treasury) -> None:
    treasury.source.balances = balances(
        ("wallet", "USDC", 100_000.0), ("wallet", "FREE-MONEY.example", 1e9)
    )
    outcome = treasury.run()
    assert outcome.plan["aum_before_usd"] == pytest.approx(100_000.0, rel=0.01)
    assert "observed FREE-MONEY.example has no price and is left out" in outcome.warnings


@pytest.mark.slow
def test_an_icebox_override_keeps_a_token_out(treasury: Treasury) -> None:
    bought = {row["token"] for row in treasury.run(is_dry=True).plan["positions"]}
    token = min(bought)
    override = pd.DataFrame(
        {
            "token": [token],
            "set_on": [pd.Timestamp(DAY)],
            "iceboxed": [True],
            "reason": ["rumours"],
            "expires": [pd.Timestamp(DAY + timedelta(days=5))],
            "is_withdrawn": [False],
        }
    )
    with writing(treasury.engine, ME, at=treasury.ticking.now()) as batch:
        write_frame(batch, "icebox_overrides", override)
    outcome = treasury.run(min_pools=0)
    assert token not in {row["token"] for row in outcome.plan["positions"]}
    events = read_frame(treasury.engine, "icebox_tokens")
    assert "rumours" in set(events["reason"])


def test_the_notebooks_tables_are_filled(lived: Lived) -> None:
    treasury, _ = lived
    metrics = pd.read_sql("select * from pool_daily_metrics", treasury.engine)
    today = metrics[metrics["date"].astype(str) == str(DAY)]
    assert len(today) == 10
    for column in ("actual_apy", "forecasted_apy", "rolling_apy_7d", "stddev_apy_30d"):
        assert today[column].notna().all(), column
    assert set(today["pool_group"]) <= {1, 2, 3}
    pools = pd.read_sql("select * from pools", treasury.engine)
    assert len(pools) == 10
