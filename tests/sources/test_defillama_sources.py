from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stableyield.domain.rates import apr_to_apy
from stableyield.errors import MissingDataError
from stableyield.sources import (
    Fetched,
    PayloadError,
    PaymentRequiredError,
    PoolHistory,
    PoolKey,
    PoolUniverse,
    ProviderError,
    RejectedFeedError,
    Span,
)
from stableyield.sources.lend_borrow import LendBorrowHistory, LendBorrowSnapshot
from support.provider import NOON, TODAY, House, as_json, chart_row, data, pool_row

KEY = PoolKey("p1", "morpho-blue", "Ethereum", "USDC")
NAN = float("nan")


def universe(home: House, rows: Sequence[Any], **options: Any) -> Fetched:
    home.provider.on("/pools", data(rows))
    return PoolUniverse(home.client, home.url, **options).fetch(Span.of(TODAY))


def day_of(home: House, row: dict[str, Any]) -> pd.Series[Any]:
    return universe(home, [row]).tables["pool_daily"].iloc[0]


def history(
    home: House, rows: Sequence[Any], key: PoolKey = KEY, first: date = date(2024, 3, 1)
) -> Fetched:
    home.provider.on("/chart/p1", data(rows))
    return PoolHistory(home.client, key, home.url).fetch(Span(first, TODAY))


def test_a_universe_is_pools_and_their_day_with_where_it_came_from(home: House) -> None:
    rows = [pool_row("p2", poolMeta="30 days"), pool_row("p1", symbol="USDC-USDT")]
    rows[1]["underlyingTokens"] = ["0xa0b8", "0xdac1"]
    fetched = universe(home, rows)
    pools = fetched.tables["pools"].set_index("pool_id")
    assert pools.loc["p1", "tokens"] == ("USDC", "USDT")
    assert pools.loc["p1", "token_addresses"] == ("0xa0b8", "0xdac1")
    assert pools.loc["p2", "pool_meta"] == "30 days"
    assert pools["is_active"].all()
    daily = fetched.tables["pool_daily"]
    assert list(daily["pool_id"]) == ["p1", "p2"]
    assert set(daily["date"]) == {pd.Timestamp(TODAY)}
    (provenance,) = fetched.provenance
    assert provenance.url == f"{home.url}/pools"
    assert (provenance.source, provenance.endpoint, provenance.n_rows) == ("defillama", "pools", 2)
    assert provenance.fetched_at == NOON
    assert len(provenance.sha256) == 64
    assert fetched.provisional_from == TODAY


def test_an_apr_becomes_an_apy_where_the_project_quotes_one(home: House) -> None:
    apr = day_of(home, pool_row(project="aave-v3", apy=13.62373, apyBase=13.62373))
    assert apr["apy_pct"] == pytest.approx(14.595, abs=5e-4)
    home.use(cached=False)
    apy = day_of(home, pool_row(project="morpho-blue", apy=13.62373, apyBase=13.62373))
    assert apy["apy_pct"] == 13.62373


def test_a_convention_that_is_not_known_is_said(home: House) -> None:
    fetched = universe(home, [pool_row(project="who-knows"), pool_row("p2")])
    assert "1 projects (1 pools) is APR or APY is not known" in fetched.assumptions[0]


@pytest.mark.parametrize(
    ("apy", "base", "reward", "expected"),
    [
        (4.0, 4.0, None, 0.0),
        (5.0, 4.0, None, NAN),
        (5.0, 4.0, 1.0, 1.0),
        (4.0, None, None, NAN),
    ],
)
def test_a_missing_reward_is_zero_only_if_the_total_is_the_base(
    home: House, apy: float, base: float | None, reward: float | None, expected: float
) -> None:
    row = day_of(home, pool_row(apy=apy, apyBase=base, apyReward=reward))
    assert row["apy_reward_pct"] == pytest.approx(expected, nan_ok=True)
    assert row["apy_pct"] == apy


def test_the_tvl_of_a_lending_pool_is_cash_and_of_a_vault_deposits(home: House) -> None:
    rows = [pool_row("cash", project="aave-v3"), pool_row("vault", project="morpho-blue")]
    daily = universe(home, rows).tables["pool_daily"].set_index("pool_id")
    assert daily.loc["cash", "available_usd"] == 1e6
    assert np.isnan(daily.loc["cash", "deposits_usd"])
    assert daily.loc["vault", "deposits_usd"] == 1e6
    assert np.isnan(daily.loc["vault", "available_usd"])


@pytest.mark.parametrize("wrong", [1e30, -1.0, NAN, float("inf"), 10**400])
def test_an_impossible_number_is_unknown_and_counted_with_its_row(
    home: House, wrong: float
) -> None:
    fetched = universe(home, [pool_row("p1"), pool_row("p2", tvlUsd=wrong)])
    daily = fetched.tables["pool_daily"].set_index("pool_id")
    assert np.isnan(daily.loc["p2", "tvl_usd"])
    assert daily.loc["p1", "tvl_usd"] == 1e6
    assert fetched.masked == {"impossible tvlUsd": 1}
    assert fetched.examples[0].startswith("defillama pools, row 2: tvlUsd is ")


def test_a_null_is_unknown_and_no_fault(home: House) -> None:
    row = day_of(home, pool_row(apy=None, apyBase=None, tvlUsd=None))
    assert np.isnan(row["apy_pct"])
    assert np.isnan(row["tvl_usd"])


@pytest.mark.parametrize("field", ["pool", "project", "tvlUsd", "apy", "apyBase", "apyReward"])
def test_a_missing_field_is_named_with_its_row(home: House, field: str) -> None:
    broken = pool_row("p2")
    del broken[field]
    with pytest.raises(PayloadError, match=rf"pools, row 2: field '{field}' is missing"):
        universe(home, [pool_row(), broken])


@pytest.mark.parametrize(
    ("field", "value"),
    [("tvlUsd", "many"), ("apy", True), ("symbol", 7), ("pool", ["p"]), ("apy", {})],
)
def test_a_value_of_another_type_is_named_with_its_row(
    home: House, field: str, value: object
) -> None:
    with pytest.raises(PayloadError, match=rf"row 2: {field} is "):
        universe(home, [pool_row(), {**pool_row("p2"), field: value}])


@pytest.mark.parametrize("document", [{}, [], "x", None, {"data": {}}, {"data": [1]}])
def test_another_shape_is_refused(home: House, document: object) -> None:
    home.provider.on("/pools", document)
    with pytest.raises(PayloadError):
        PoolUniverse(home.client, home.url).fetch(Span.of(TODAY))


def test_a_refused_feed_is_asked_for_again_the_next_time(home: House) -> None:
    with pytest.raises(RejectedFeedError, match="list is empty"):
        universe(home, [])
    assert len(universe(home, [pool_row()]).tables["pools"]) == 1


@pytest.mark.parametrize(("before", "is_rejected"), [(20, False), (21, True), (None, False)])
def test_a_universe_below_half_of_yesterdays_is_rejected(
    home: House, before: int | None, is_rejected: bool
) -> None:
    rows = [pool_row(f"p{i}") for i in range(10)]
    if not is_rejected:
        assert len(universe(home, rows, previous_n_pools=before).tables["pools"]) == 10
        return
    with pytest.raises(RejectedFeedError, match="10 pools came, 21 were there before"):
        universe(home, rows, previous_n_pools=before)


def test_repeated_pools_count_once_and_do_not_hide_a_halved_universe(home: House) -> None:
    rows = [pool_row("p1", apy=1.0), pool_row("p1", apy=2.0)]
    fetched = universe(home, rows)
    assert fetched.masked == {"repeated pools": 1}
    assert list(fetched.tables["pool_daily"]["apy_pct"]) == [2.0]
    home.use(cached=False)
    with pytest.raises(RejectedFeedError, match="1 pools came, 3"):
        universe(home, rows, previous_n_pools=3)


def test_a_few_rows_without_identity_are_left_out_and_many_are_a_fault(home: House) -> None:
    rows = [pool_row(f"p{i}") for i in range(200)]
    rows[3]["symbol"] = " "
    fetched = universe(home, rows)
    assert fetched.masked == {"rows without pool, project, chain or symbol": 1}
    home.use(cached=False)
    for row in rows[:3]:
        row["project"] = None
    with pytest.raises(PayloadError, match="row 1: project is null, as in 4 of 200 rows"):
        universe(home, rows)


def test_a_universe_in_fractions_is_refused(home: House) -> None:
    rows = [pool_row(f"p{i}", apy=0.04, apyBase=0.04) for i in range(100)]
    with pytest.raises(PayloadError, match="looks like fractions"):
        universe(home, rows)
    assert len(universe(home, rows, confirm_percent=True).tables["pools"]) == 100


@pytest.mark.parametrize(
    ("now", "asked", "is_served"),
    [
        (datetime(2024, 3, 10, 23, 59, tzinfo=UTC), date(2024, 3, 10), True),
        (datetime(2024, 3, 11, 0, 30, tzinfo=UTC), date(2024, 3, 10), True),
        (datetime(2024, 3, 11, 0, 30, tzinfo=UTC), date(2024, 3, 11), True),
        (datetime(2024, 3, 11, 1, 30, tzinfo=UTC), date(2024, 3, 10), False),
        (datetime(2024, 3, 10, 12, 0, tzinfo=UTC), date(2024, 3, 11), False),
    ],
)
def test_a_snapshot_is_stamped_with_the_day_that_it_describes_and_no_other(
    home: House, now: datetime, asked: date, is_served: bool
) -> None:
    home.time.start = now
    home.provider.on("/pools", data([pool_row()]))
    source = PoolUniverse(home.client, home.url)
    if not is_served:
        with pytest.raises(MissingDataError, match="only serves what is now"):
            source.fetch(Span.of(asked))
        assert not home.provider.calls
        return
    fetched = source.fetch(Span.of(asked))
    assert set(fetched.tables["pool_daily"]["date"]) == {pd.Timestamp(asked)}
    is_provisional = fetched.provisional_from is not None and fetched.provisional_from <= asked
    assert is_provisional == (now.date() == asked)


def test_texts_of_the_provider_stay_texts(home: House) -> None:
    evil = "'; DROP TABLE pools; --"
    pools = universe(home, [pool_row("../../etc/passwd", symbol=evil)]).tables["pools"]
    assert list(pools["symbol"]) == [evil]
    assert list(pools["pool_id"]) == ["../../etc/passwd"]


def test_a_history_has_one_row_a_day_the_last_reading(home: House) -> None:
    rows = [
        chart_row("2024-03-09", 5.0),
        chart_row("2024-03-08", 9.0, timestamp="2024-03-08T23:59:59.999Z"),
        chart_row("2024-03-08", 3.0),
        chart_row("2024-02-01", 7.0),
    ]
    fetched = history(home, rows)
    daily = fetched.tables["pool_daily"]
    assert [f"{day:%m-%d}" for day in daily["date"]] == ["03-08", "03-09"]
    assert list(daily["apy_pct"]) == [9.0, 5.0]
    assert fetched.masked == {"earlier readings of the same day": 1}
    assert fetched.provenance[0].n_rows == 4


def test_todays_row_of_a_history_is_provisional_and_tomorrows_is_left_out(home: House) -> None:
    rows = [chart_row(str(TODAY + timedelta(days=n))) for n in (-1, 0, 1)]
    home.provider.on("/chart/p1", data(rows))
    fetched = PoolHistory(home.client, KEY, home.url).fetch(Span(TODAY, TODAY + timedelta(days=5)))
    assert list(fetched.tables["pool_daily"]["date"]) == [pd.Timestamp(TODAY)]
    assert fetched.provisional_from == TODAY
    assert fetched.masked == {"rows dated after the day they came": 1}


def test_a_history_without_rows_in_the_days_asked_for_has_no_table(home: House) -> None:
    assert history(home, [chart_row("2020-01-01")]).tables == {}


def test_a_row_that_says_nothing_is_left_out(home: House) -> None:
    fetched = history(home, [chart_row("2024-03-08", None, tvlUsd=None), chart_row("2024-03-09")])
    assert len(fetched.tables["pool_daily"]) == 1
    assert fetched.masked == {"rows without APY and TVL": 1}


@pytest.mark.parametrize("moment", [None, "soon", 17, "1969-01-01T00:00:00Z", "2024-13-01"])
def test_a_row_without_a_day_is_refused(home: House, moment: object) -> None:
    rows = [chart_row("2024-03-08"), chart_row("2024-03-09", timestamp=moment)]
    with pytest.raises(PayloadError, match="row 2"):
        history(home, rows)


def lend_row(day: str, **changes: Any) -> dict[str, Any]:
    row = {
        "timestamp": f"{day}T23:00:00Z",
        "totalSupplyUsd": 100.0,
        "totalBorrowUsd": 80.0,
        "debtCeilingUsd": None,
        "apyBase": 4.0,
        "apyReward": 0.5,
        "apyBaseBorrow": 6.0,
        "apyRewardBorrow": None,
    }
    return {**row, **changes}


@pytest.mark.parametrize(
    ("protocol", "supply_is_apr", "borrow_is_apr"),
    [("aave-v3", True, True), ("morpho-blue", False, False), ("who-knows", False, True)],
)
def test_lending_rates_are_apr_and_an_unknown_convention_flatters_nobody(
    home: House, protocol: str, supply_is_apr: bool, borrow_is_apr: bool
) -> None:
    home.provider.on("/chartLendBorrow/p1", data([lend_row("2024-03-09")]))
    market = PoolKey("p1", protocol, "Ethereum", "USDC")
    fetched = LendBorrowHistory(home.client, market, None, keyless_url=home.url).fetch(
        Span(date(2024, 3, 1), TODAY)
    )
    row = fetched.tables["lend_borrow_daily"].iloc[0]
    for name, quoted, is_apr in (
        ("supply_apr_pct", 4.0, supply_is_apr),
        ("borrow_apr_pct", 6.0, borrow_is_apr),
    ):
        as_quoted = row[name] if is_apr else 100.0 * apr_to_apy(row[name] / 100.0)
        assert as_quoted == pytest.approx(quoted)
    assert (row["supplied_usd"], row["borrowed_usd"]) == (100.0, 80.0)
    assert bool(fetched.assumptions) == (protocol == "who-knows")


def test_an_unpaid_history_names_the_alternatives(home: House) -> None:
    home.provider.on("/chartLendBorrow/p1", as_json({}, 402))
    with pytest.raises(PaymentRequiredError) as caught:
        LendBorrowHistory(home.client, KEY, None, keyless_url=home.url).fetch(Span.of(TODAY))
    for wanted in ("STABLEYIELD_DEFILLAMA_KEY", "snapshot", "Aave", "file"):
        assert wanted in caught.value.remedy
    assert caught.value.status == 402
    assert len(home.provider.calls) == 1


def test_a_lending_snapshot_takes_identity_and_supply_rate_from_the_universe(home: House) -> None:
    pools = [pool_row("p1", project="aave-v3", apyBase=4.0, apyReward=1.0, apy=5.0), pool_row("p2")]
    found = universe(home, pools)
    market = {
        "pool": "p1",
        "apyBaseBorrow": 6.0,
        "apyRewardBorrow": None,
        "totalSupplyUsd": 100.0,
        "totalBorrowUsd": 80.0,
        "debtCeilingUsd": None,
        "ltv": 0.75,
        "borrowable": True,
    }
    rows = [{**market, "ltv": 75.0}, market, {**market, "pool": "stranger"}]
    home.provider.on("/lendBorrow", rows)
    fetched = LendBorrowSnapshot(home.client, found, home.url).fetch(Span.of(TODAY))
    (row,) = fetched.tables["lend_borrow_daily"].to_dict("records")
    assert row["supply_apr_pct"] == pytest.approx(4.0)
    assert (row["borrow_apr_pct"], row["supply_reward_apr_pct"], row["ltv"]) == (6.0, 1.0, 0.75)
    assert (row["protocol"], row["date"]) == ("aave-v3", pd.Timestamp(TODAY))
    assert fetched.masked == {
        "impossible ltv": 1,
        "repeated markets": 1,
        "markets not in the universe": 1,
    }


def test_every_failure_of_a_source_exits_with_4(home: House) -> None:
    for kind in (PayloadError, PaymentRequiredError, RejectedFeedError, ProviderError):
        assert kind("x", source="s").exit_code == 4
