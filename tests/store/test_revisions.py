"""What is known is not written twice, what changes is kept beside what it was."""

from __future__ import annotations

import tempfile
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from stableyield.errors import ContractError, InputError
from stableyield.store import (
    Written,
    load_panel,
    read_frame,
    read_history,
    write_frame,
    write_market_table,
    writing,
)
from stableyield.store.market import Window
from stableyield.store.tables import REVISED, Kind, RevisedTable
from support.databases import (
    DAY,
    NOW,
    TESTER,
    daily_frame,
    fresh_sqlite,
    later,
    pools_frame,
    rows_of,
)

SOME = {
    "pool": "a",
    "text": 'it\'s "quoted"; DROP TABLE pools; --\n\\.\n../../etc/passwd \u20ac',
    "json": ("x", "y"),
    "number": 1.25,
    "integer": 2,
    "flag": True,
    "day": pd.Timestamp(DAY),
    "horizon": 7,
}
OTHER = {
    **SOME,
    "text": "",
    "number": -0.5,
    "integer": 3,
    "flag": False,
    "json": (),
    "horizon": None,
}


def two_rows(table: RevisedTable) -> pd.DataFrame:
    """A full row, and one of another key with only what is needed."""
    full = {name: SOME[kind] for name, kind in table.kinds.items()}
    bare: dict[str, object] = dict.fromkeys(table.kinds)
    bare |= {name: OTHER[table.kinds[name]] for name in (*table.key, *table.needed)}
    bare |= {name: "b" for name, kind in table.key.items() if kind == "pool"}
    if not any(kind in {"pool", "text"} for kind in table.key.values()):
        bare["date"] = pd.Timestamp(DAY) - pd.Timedelta(days=1)
    frame = pd.DataFrame([full, bare])
    return frame.sort_values(list(table.key), ignore_index=True)


def write(engine: Engine, table: str, frame: pd.DataFrame, hours: float = 0.0) -> Written:
    with writing(engine, TESTER, at=later(hours)) as batch:
        return write_frame(batch, table, frame)


def write_daily(engine: Engine, hours: float, *rows: tuple[str, date, float, float]) -> Written:
    with writing(engine, TESTER, at=later(hours)) as batch:
        return write_frame(batch, "pool_daily", daily_frame(*rows))


@pytest.fixture
def with_pools(engine: Engine) -> Engine:
    with writing(engine, TESTER, at=NOW) as batch:
        write_market_table(batch, "pools", pools_frame("a", "b"))
    return engine


@pytest.mark.parametrize("name", sorted(REVISED))
def test_every_table_gives_back_what_it_was_given(name: str, with_pools: Engine) -> None:
    frame = two_rows(REVISED[name])
    given = write(with_pools, name, frame)
    again = write(with_pools, name, frame, hours=1)
    read = read_frame(with_pools, name)
    assert len(read) == 2
    for row, expected in zip(read.to_dict("records"), frame.to_dict("records"), strict=True):
        for column, value in expected.items():
            found = row[column]
            is_unknown = not isinstance(found, tuple) and pd.isna(found)
            assert (is_unknown and pd.isna(value)) or found == value, column
    assert again == Written(2, 0, 0, given.sha256)


@pytest.mark.parametrize("name", sorted(REVISED))
def test_the_view_of_every_table_can_be_read_by_pandas(name: str, with_pools: Engine) -> None:
    write(with_pools, name, two_rows(REVISED[name]))
    shown = pd.read_sql(f"select * from {name}", with_pools)
    assert list(shown.columns)[-1] == "ingested_at"
    assert set(REVISED[name].kinds) <= set(shown.columns)
    assert len(shown) == (1 if name.startswith(("approved", "blacklisted")) else 2)


def test_views_show_days_moments_and_lists_as_people_write_them(with_pools: Engine) -> None:
    write_daily(with_pools, 0, ("a", DAY, 5.0, 1e6))
    (row,) = rows_of(with_pools, "select date, ingested_at, actual_apy from pool_daily_metrics")
    assert str(row[0]) == "2025-12-31"
    assert str(row[1]).replace(" ", "T").startswith("2026-01-02T03:04:05.678901")
    assert row[2] == 5.0
    assert rows_of(with_pools, "select underlying_tokens from pools limit 1") == [('["USDC"]',)]


def test_pool_daily_metrics_has_the_notebooks_columns(with_pools: Engine) -> None:
    write_daily(with_pools, 0, ("a", DAY, 5.0, 1e6))
    judged = pd.DataFrame(
        {
            "pool_id": ["a", "b"],
            "date": pd.Timestamp(DAY),
            "forecasted_apy": [4.0, 3.0],
            "is_filtered_out": [True, False],
            "filter_reason": ["tvl", None],
            "pool_group": [1, 3],
        }
    )
    write(with_pools, "pool_assessments", judged)
    shown = pd.read_sql("select * from pool_daily_metrics order by pool_id", with_pools)
    assert {
        *("pool_id", "date", "actual_apy", "actual_tvl", "forecasted_apy", "forecasted_tvl"),
        *("is_filtered_out", "filter_reason", "rolling_apy_7d", "rolling_apy_30d"),
        *("stddev_apy_7d", "stddev_apy_30d", "apy_delta_today_yesterday", "pool_group"),
    } <= set(shown.columns)
    assert shown["actual_apy"].fillna(-1).tolist() == [5.0, -1.0]  # b was judged, not observed
    assert shown["forecasted_apy"].tolist() == [4.0, 3.0]
    assert shown["is_filtered_out"].astype(bool).tolist() == [True, False]
    assert rows_of(with_pools, "select pool_id, pool_group from pool_groups order by 1") == [
        ("a", 1),
        ("b", 3),
    ]


def test_changed_content_is_a_new_revision_and_the_old_one_stays(with_pools: Engine) -> None:
    write_daily(with_pools, 1, ("a", DAY, 5.0, 1e6), ("b", DAY, 6.0, 2e6))
    written = write_daily(with_pools, 2, ("a", DAY, 5.5, 1e6), ("b", DAY, 6.0, 2e6))
    assert (written.n_new, written.n_revised) == (0, 1)
    history = read_history(with_pools, "pool_daily")
    assert history["pool_id"].tolist() == ["a", "a", "b"]
    assert history["apy_pct"].tolist() == [5.0, 5.5, 6.0]
    assert history["revision"].tolist() == [0, 1, 0]
    assert history["ingested_at"].tolist() == [later(1), later(2), later(1)]
    assert history["superseded_at"].iloc[0] == later(2)
    assert history["superseded_at"].isna().tolist() == [False, True, True]


def test_as_of_a_moment_the_store_knows_what_it_knew_then(with_pools: Engine) -> None:
    write_daily(with_pools, 1, ("a", DAY, 5.0, 1e6))
    write_daily(with_pools, 2, ("a", DAY, 5.5, 1e6), ("b", DAY, 7.0, 1e6))

    def known(hours: float) -> list[float]:
        frame = read_frame(with_pools, "pool_daily", known_by=later(hours))
        return [float(apy) for apy in frame["apy_pct"]]

    assert [known(h) for h in (0.5, 1, 1.5, 2, 3)] == [[], [5.0], [5.0], [5.5, 7.0], [5.5, 7.0]]


def test_backfilled_days_are_unknown_before_their_ingestion(with_pools: Engine) -> None:
    long_ago = DAY - timedelta(days=300)
    write_daily(with_pools, 1, ("a", DAY, 5.0, 1e6))
    write_daily(with_pools, 9, ("a", long_ago, 4.0, 1e6))
    assert load_panel(with_pools, Window(known_by=later(8))).first_day == DAY
    assert load_panel(with_pools).first_day == long_ago


def test_a_column_that_is_not_given_keeps_what_was_known(with_pools: Engine) -> None:
    full = daily_frame(("a", DAY, 5.0, 1e6)).assign(apy_base_pct=3.0)
    write(with_pools, "pool_daily", full, 1)
    write_daily(with_pools, 2, ("a", DAY, 6.0, 1e6))
    (row,) = read_frame(with_pools, "pool_daily").to_dict("records")
    assert (row["apy_pct"], row["apy_base_pct"]) == (6.0, 3.0)


def test_a_value_that_is_given_as_unknown_becomes_unknown(with_pools: Engine) -> None:
    write_daily(with_pools, 1, ("a", DAY, 5.0, 1e6))
    assert write_daily(with_pools, 2, ("a", DAY, np.nan, 1e6)).n_revised == 1
    assert read_frame(with_pools, "pool_daily")["apy_pct"].isna().all()
    assert write_daily(with_pools, 3, ("a", DAY, np.nan, 1e6)).n_revised == 0


def test_keys_alone_can_be_written(with_pools: Engine) -> None:
    frame = pd.DataFrame({"pool_id": ["a"], "date": [DAY]})
    assert write(with_pools, "pool_daily", frame).n_new == 1
    assert write(with_pools, "pool_daily", frame).n_new == 0


def test_a_clock_that_went_back_is_refused_and_nothing_is_lost(with_pools: Engine) -> None:
    write_daily(with_pools, 2, ("a", DAY, 5.0, 1e6))
    with pytest.raises(InputError, match="the clock went back: pool_daily was last written at"):
        write_daily(with_pools, 1, ("a", DAY, 9.0, 1e6))
    assert read_frame(with_pools, "pool_daily")["apy_pct"].tolist() == [5.0]


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("pool_daily", {"pool_id": "nowhere"}, "pool_id 'nowhere' is not in pools"),
        ("pool_daily", {"pool_id": None}, "'pool_id' holds None: empty"),
        ("pool_daily", {"date": None}, "'date' holds nan: empty"),
        ("pool_daily", {"date": "yesterday"}, "not a date"),
        ("pool_daily", {"apy_pct": np.inf}, "not finite"),
        ("pool_daily", {"apy_pct": "much"}, "not a number"),
        ("pool_daily", {"no_column": 1.0}, "'no_column' is not one of pool_daily"),
        ("pool_assessments", {"pool_group": 1.5}, "not a whole number"),
        ("pool_assessments", {"is_filtered_out": "perhaps"}, "neither true nor false"),
        ("pool_assessments", {"filter_reason": "a\x00b"}, "a NUL"),
        ("pool_assessments", {"filter_reason": "a\ud800"}, "a NUL or half a character"),
        ("pool_assessments", {"filter_reason": 7}, "not a text"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_name(
    table: str, change: dict[str, object], message: str, with_pools: Engine
) -> None:
    frame = pd.DataFrame([{"pool_id": "a", "date": DAY, **change}], dtype=object)
    with pytest.raises(ContractError, match=message):
        write(with_pools, table, frame)
    assert read_frame(with_pools, table).empty


def test_a_key_that_repeats_or_is_absent_is_refused(with_pools: Engine) -> None:
    with pytest.raises(ContractError, match="this key occurs twice"):
        write_daily(with_pools, 0, ("a", DAY, 5.0, 1e6), ("a", DAY, 6.0, 1e6))
    with pytest.raises(ContractError, match="column 'date' is missing"):
        write(with_pools, "pool_daily", pd.DataFrame({"pool_id": ["a"]}))


def test_days_can_be_asked_of_tables_that_have_them(with_pools: Engine) -> None:
    days = [DAY - timedelta(days=n) for n in range(4)]
    write_daily(with_pools, 0, *(("a", day, 5.0, 1e6) for day in days))
    some = read_frame(with_pools, "pool_daily", first=days[2], last=days[1])
    assert some["date"].dt.date.tolist() == [days[2], days[1]]
    with pytest.raises(InputError, match="rows of pools have no day"):
        read_frame(with_pools, "pools", first=DAY)


Rows = dict[tuple[str, int], float | None]
rows_of_a_day: st.SearchStrategy[Rows] = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.integers(0, 2)),
    st.one_of(st.none(), st.floats(0, 100, allow_nan=False)),
    min_size=1,
)


@settings(max_examples=10, deadline=None)
@given(batches=st.lists(rows_of_a_day, min_size=1, max_size=5))
def test_any_history_is_answered_as_it_was_known(batches: list[Rows]) -> None:
    """Against a dictionary that is copied after every batch; each batch is written twice."""
    with tempfile.TemporaryDirectory() as directory, fresh_sqlite(Path(directory)) as engine:
        with writing(engine, TESTER, at=NOW) as batch:
            write_market_table(batch, "pools", pools_frame("a", "b"))
        known: Rows = {}
        states = []
        for hour, rows in enumerate(batches, start=1):
            n_new = len([key for key in rows if key not in known])
            n_changed = len([key for key in rows if key in known and known[key] != rows[key]])
            frame = daily_frame(
                *(
                    (pool, DAY - timedelta(days=day), np.nan if apy is None else apy, 1.0)
                    for (pool, day), apy in rows.items()
                )
            )
            first, again = (write(engine, "pool_daily", frame, h) for h in (hour, hour + 0.5))
            assert (first.n_new, first.n_revised) == (n_new, n_changed)
            assert (again.n_new, again.n_revised) == (0, 0)
            known = {**known, **rows}
            states.append(known)
        for hour, state in enumerate(states, start=1):
            frame = read_frame(engine, "pool_daily", known_by=later(hour + 0.9))
            found = {
                (row["pool_id"], (pd.Timestamp(DAY) - row["date"]).days): row["apy_pct"]
                for row in frame.to_dict("records")
            }
            assert found.keys() == state.keys()
            assert all(found[key] == apy or apy is None for key, apy in state.items())


def test_all_kinds_of_columns_are_covered_by_the_rows_of_these_tests() -> None:
    kinds: set[Kind] = {kind for table in REVISED.values() for kind in table.kinds.values()}
    assert kinds == set(SOME)
