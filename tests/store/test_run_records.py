"""Runs, their parameters, plans, journals, payloads and lists."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from stableyield.config import AllocationParameters
from stableyield.errors import ConservationError, InputError, MissingDataError
from stableyield.store import (
    Actor,
    LedgerLine,
    NotAllowedError,
    Role,
    Run,
    Stage,
    StoreError,
    add_to_list,
    finish_run,
    finish_stage,
    list_runs,
    live_run_of,
    payloads,
    read_defaults,
    read_entries,
    read_lists,
    read_parameters,
    read_payload,
    read_plan,
    read_run,
    read_stages,
    read_steps,
    remove_from_list,
    set_defaults,
    set_list,
    start_run,
    start_stage,
    supersede_run,
    write_entries,
    write_frame,
    write_parameters,
    write_payload,
    write_plan,
    writing,
)
from support.databases import DAY, NOW, TESTER, daily_frame, later, rows_of

RUN = Run("r1", DAY, "live", NOW, NOW, versions={"stableyield": "1.2"})
OPERATOR = Actor("olga", "web", Role.OPERATOR)
STEP = {
    "seq": 1,
    "type": "ALLOCATION",
    "from_location": "warm_wallet",
    "to_location": "a'; DROP TABLE runs; --",
    "token": "USDC",
    "amount": 10.0,
    "amount_usd": 10.0,
    "gas_cost_usd": 1.0,
    "conversion_cost_usd": 0.0,
    "total_cost_usd": 1.0,
    "gas_paid": [{"token": "USDC", "amount": 1.0, "amount_usd": 1.0}],
}
CONVERSION = {
    **{name: value for name, value in STEP.items() if name != "token"},
    "seq": 2,
    "type": "CONVERSION",
    "from_token": "USDC",
    "to_token": "DAI",
    "to_amount": 9.9,
}
PLAN = {
    "status": "optimal",
    "objective_usd": None,
    "aum_before_usd": 100.0,
    "aum_after_usd": 98.0,
    "inputs_sha256": "0" * 64,
    "transactions": [STEP, CONVERSION],
}


@pytest.fixture
def with_run(engine: Engine) -> Engine:
    with writing(engine, TESTER, at=NOW, run_id="r1") as batch:
        start_run(batch, RUN)
    return engine


def test_a_run_is_read_as_it_was_written(with_run: Engine) -> None:
    assert read_run(with_run, "r1") == RUN
    assert live_run_of(with_run, DAY) == RUN
    with writing(with_run, TESTER, at=later(1)) as batch:
        finish_run(batch, "r1", "done", summary={"aum_usd": 5}, inputs_sha256="1" * 64)
    done = dataclasses.replace(
        RUN, status="done", finished_at=later(1), summary={"aum_usd": 5}, inputs_sha256="1" * 64
    )
    assert list_runs(with_run) == (done,)
    assert list_runs(with_run, exec_date=DAY + timedelta(days=1)) == ()
    with pytest.raises(MissingDataError, match="there is no run 'r2'"):
        read_run(with_run, "r2")


def test_a_day_has_one_live_run(with_run: Engine) -> None:
    other = dataclasses.replace(RUN, run_id="r2")
    with (
        pytest.raises(StoreError, match="has the run r1 already, which is running"),
        writing(with_run, TESTER, at=later(1)) as batch,
    ):
        start_run(batch, other)
    with writing(with_run, TESTER, at=later(1)) as batch:
        start_run(batch, dataclasses.replace(other, run_id="r3", kind="dry"))
        finish_run(batch, "r1", "done")
        supersede_run(batch, "r1")
        start_run(batch, other)
    found = live_run_of(with_run, DAY)
    assert found is not None
    assert found.run_id == "r2"


def test_the_database_itself_refuses_a_second_live_run(with_run: Engine) -> None:
    copied = (
        "insert into runs select 'r2', exec_date, kind, status, started_at, known_by, finished_at,"
        " versions, inputs_sha256, parameters_sha256, error, summary from runs"
    )
    with (
        pytest.raises(StoreError, match="the database refused a row"),
        writing(with_run, TESTER, at=NOW) as batch,
    ):
        batch.connection.execute(text(copied))


def test_a_run_ends_once(with_run: Engine) -> None:
    with writing(with_run, TESTER, at=later(1)) as batch:
        finish_run(batch, "r1", "failed", error="no prices")
    with (
        pytest.raises(StoreError, match="there is no run 'r1' that is running"),
        writing(with_run, TESTER, at=later(2)) as batch,
    ):
        finish_run(batch, "r1", "done")
    assert read_run(with_run, "r1").error == "no prices"
    assert live_run_of(with_run, DAY) is None


def test_a_resumed_stage_is_a_further_attempt(with_run: Engine) -> None:
    with writing(with_run, TESTER, at=NOW) as batch:
        assert start_stage(batch, "r1", "ingest") == 1
    with writing(with_run, TESTER, at=later(1)) as batch:
        assert start_stage(batch, "r1", "ingest") == 2
        finish_stage(batch, "r1", "ingest", "done", seconds=1.5, detail={"rows": 3})
    assert read_stages(with_run, "r1") == (
        Stage("ingest", 1, "running", NOW),
        Stage("ingest", 2, "done", later(1), later(1), 1.5, {"rows": 3}),
    )
    with (
        pytest.raises(StoreError, match="stage 'ingest' of run 'r1' is not running"),
        writing(with_run, TESTER, at=later(2)) as batch,
    ):
        finish_stage(batch, "r1", "ingest", "done", seconds=0.0)


def test_parameters_and_lists_of_a_run_are_kept_as_they_were(with_run: Engine) -> None:
    parameters = AllocationParameters().model_dump(mode="json")
    lists = {"approved_tokens": ("USDC",), "blacklisted_tokens": ()}
    for hours in (1, 2):
        with writing(with_run, TESTER, at=later(hours)) as batch:
            written = write_parameters(batch, "r1", parameters, lists)
        assert written.n_new == (len(parameters) + 2) * (hours == 1)
    assert read_parameters(with_run, "r1") == (parameters, lists)
    assert AllocationParameters.from_mapping(read_parameters(with_run, "r1")[0])
    with (
        pytest.raises(InputError, match="run 'r1' has other parameters already"),
        writing(with_run, TESTER, at=later(3)) as batch,
    ):
        write_parameters(batch, "r1", {**parameters, "min_pools": 9}, lists)
    with pytest.raises(MissingDataError, match="has no parameters"):
        read_parameters(with_run, "r2")


def test_a_plan_is_kept_once_with_every_step(with_run: Engine) -> None:
    for hours, n_new in ((1, 2), (2, 0)):
        with writing(with_run, TESTER, at=later(hours)) as batch:
            assert write_plan(batch, "r1", PLAN, {"pools": [1.5]}).n_new == n_new
    plan = read_plan(with_run, "r1")
    assert (plan.document, plan.problem) == (PLAN, {"pools": [1.5]})
    first, second = read_steps(with_run, "r1")
    assert {name: first[name] for name in STEP} == STEP
    assert (second["token"], second["to_token"], second["to_amount"]) == ("USDC", "DAI", 9.9)
    with (
        pytest.raises(StoreError, match="run 'r1' has another plan already"),
        writing(with_run, TESTER, at=later(3)) as batch,
    ):
        write_plan(batch, "r1", {**PLAN, "aum_after_usd": 97.0}, {})
    with pytest.raises(MissingDataError, match="has no plan"):
        read_plan(with_run, "r2")


def test_a_plan_without_moves_has_no_steps(with_run: Engine) -> None:
    with writing(with_run, TESTER, at=NOW) as batch:
        write_plan(batch, "r1", {**PLAN, "transactions": []}, {})
    assert read_steps(with_run, "r1") == []


def test_foreign_keys_bite(engine: Engine) -> None:
    with (
        pytest.raises(StoreError, match="the database refused a row") as caught,
        writing(engine, TESTER, at=NOW) as batch,
    ):
        write_plan(batch, "no such run", PLAN, {})
    assert "foreign key" in " ".join(caught.value.details).lower()
    assert rows_of(engine, "select count(*) from plans") == [(0,)]


def entry(entry_id: str, amount: float = 5.0, back: float = -5.0) -> list[LedgerLine]:
    return [
        LedgerLine(entry_id, 1, DAY, "pool:a", "USDC", amount, "deposit", 1.0, amount),
        LedgerLine(entry_id, 2, DAY, "warm_wallet", "USDC", back, "deposit", 1.0, back),
    ]


def test_journal_entries_balance_and_are_added_once(engine: Engine) -> None:
    for hours, n_new in ((1, 4), (2, 0)):
        with writing(engine, TESTER, at=later(hours)) as batch:
            assert write_entries(batch, [*entry("e1"), *entry("e2")]).n_new == n_new
    assert read_entries(engine) == (*entry("e1"), *entry("e2"))
    assert read_entries(engine, first=DAY + timedelta(days=1)) == ()
    assert read_entries(engine, last=DAY - timedelta(days=1)) == ()
    with (
        pytest.raises(ConservationError, match="journal entry e3: the lines of token USDC add up"),
        writing(engine, TESTER, at=later(3)) as batch,
    ):
        write_entries(batch, entry("e3", back=-4.99))
    with (
        pytest.raises(StoreError, match="journal entry 'e1' is there already, with other lines"),
        writing(engine, TESTER, at=later(3)) as batch,
    ):
        write_entries(batch, entry("e1", 6.0, -6.0))


def test_payloads_are_kept_once_word_for_word(engine: Engine) -> None:
    body = b'{"data": ["\x00", 1e30]}'
    with writing(engine, TESTER, at=NOW) as batch:
        first = write_payload(batch, "defillama", "pools", body)
    with writing(engine, TESTER, at=later(1)) as batch:
        assert write_payload(batch, "defillama", "pools", body) == first
        other = write_payload(batch, "defillama", "chart", body[:-1])
    assert read_payload(engine, first.sha256) == body
    assert payloads(engine, "defillama") == (first, other)
    assert payloads(engine, "defillama", "chart") == (other,)
    with pytest.raises(MissingDataError, match="no answer with sha256 'no'"):
        read_payload(engine, "no")


def test_a_damaged_payload_is_not_served(engine: Engine) -> None:
    with writing(engine, TESTER, at=NOW) as batch:
        batch.connection.execute(
            text(
                "insert into raw_payloads (source, request, sha256, fetched_at, n_bytes, body_zlib)"
                " values ('s', 'r', 'abc', '2026-01-01T00:00:00.000000Z', 1, :body)"
            ),
            {"body": b"not zlib"},
        )
    with pytest.raises(StoreError, match="was damaged"):
        read_payload(engine, "abc")


def test_lists_keep_who_was_on_them_and_when(engine: Engine) -> None:
    def write_list(hours: float, *members: str) -> None:
        with writing(engine, OPERATOR, at=later(hours)) as batch:
            set_list(batch, "approved_tokens", members, reason="committee")

    write_list(1, "USDC", "Base:0xabc", "DAI")
    write_list(2, "USDC", "Base:0xabc", "'; --")
    assert read_lists(engine)["approved_tokens"] == ("'; --", "Base:0xabc", "USDC")
    assert read_lists(engine, known_by=later(1))["approved_tokens"] == ("Base:0xabc", "DAI", "USDC")
    with writing(engine, OPERATOR, at=later(3)) as batch:
        add_to_list(batch, "approved_protocols", ["aave-v3", "aave-v3"])
        add_to_list(batch, "approved_chains", ["Base"])
        remove_from_list(batch, "approved_tokens", ["'; --"])
    assert read_lists(engine) == {
        "approved_tokens": ("Base:0xabc", "USDC"),
        "blacklisted_tokens": (),
        "approved_protocols": ("aave-v3",),
        "approved_chains": ("Base",),
    }


def test_members_that_cannot_be_are_refused(engine: Engine) -> None:
    with writing(engine, OPERATOR, at=NOW) as batch:
        with pytest.raises(InputError, match="'DAI' is not on approved_tokens"):
            remove_from_list(batch, "approved_tokens", ["DAI"])
        with pytest.raises(InputError, match="an empty member"):
            add_to_list(batch, "approved_tokens", [" "])
        with pytest.raises(InputError, match="there is no list 'friends'"):
            add_to_list(batch, "friends", ["x"])


def test_defaults_keep_their_type(engine: Engine) -> None:
    values = {"min_pools": 3, "mode": "fast", "gap_usd": 0.5, "gas_per_leg": False}
    with writing(engine, OPERATOR, at=NOW) as batch:
        set_defaults(batch, values)
    with writing(engine, OPERATOR, at=later(1)) as batch:
        set_defaults(batch, {"min_pools": 4})
    assert read_defaults(engine) == {**values, "min_pools": 4}
    assert read_defaults(engine, known_by=NOW) == values


def test_an_actor_writes_only_what_its_role_allows(engine: Engine) -> None:
    with (
        pytest.raises(NotAllowedError, match=r"olga \(operator\) may not write pool_daily"),
        writing(engine, OPERATOR, at=NOW) as batch,
    ):
        write_frame(batch, "pool_daily", daily_frame(("a", DAY, 5.0, 1.0)))
    with (
        pytest.raises(NotAllowedError, match="may not write runs"),
        writing(engine, Actor("rita", "web", Role.READER), at=NOW) as batch,
    ):
        start_run(batch, RUN)
    with pytest.raises(InputError, match="an actor without name or origin"):
        Actor("", "web")


def test_every_write_leaves_a_line_in_the_audit_log(engine: Engine) -> None:
    with writing(engine, OPERATOR, at=NOW, run_id="r9") as batch:
        written = set_defaults(batch, {"min_pools": 3, "mode": "fast"})
    (line,) = rows_of(
        engine, "select actor, origin, role, action, table_name, run_id, sha256 from audit_log"
    )
    who = ("olga", "web", "operator", "write", "default_allocation_parameters", "r9")
    assert line == (*who, written.sha256)
    assert rows_of(engine, "select n_rows, n_new, n_revised from audit_log") == [(2, 2, 0)]


@pytest.mark.parametrize(
    "statement",
    [
        "delete from audit_log",
        "update audit_log set actor = 'nobody'",
        "delete from default_allocation_parameters_revisions",
        "update default_allocation_parameters_revisions set value = '9'",
        "update default_allocation_parameters_revisions set ingested_at = 0",
    ],
)
def test_history_cannot_be_overwritten_by_hand(statement: str, engine: Engine) -> None:
    with writing(engine, OPERATOR, at=NOW) as batch:
        set_defaults(batch, {"min_pools": 3})
    with (
        pytest.raises(StoreError, match="the database refused a row") as caught,
        writing(engine, TESTER, at=NOW) as batch,
    ):
        batch.connection.execute(text(statement))
    assert "is append-only" in caught.value.details[0]
    assert read_defaults(engine) == {"min_pools": 3}


def test_a_moment_without_time_zone_is_refused(engine: Engine) -> None:
    with (
        pytest.raises(InputError, match="has no time zone"),
        writing(engine, TESTER, at=NOW.replace(tzinfo=None)),
    ):
        pass
