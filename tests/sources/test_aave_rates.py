from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import pandas as pd
import pytest

from stableyield.domain.rates import apr_to_apy
from stableyield.errors import MissingDataError
from stableyield.sources import (
    AaveRates,
    AaveReserve,
    Fetched,
    PayloadError,
    PoolKey,
    ProviderError,
    Span,
)
from support.provider import TODAY, House

MARKET = PoolKey("p1", "aave-v3", "Ethereum", "USDC")


def point(moment: str, apy: object) -> dict[str, Any]:
    return {"date": moment, "avgRate": {"value": apy}}


def rates(home: House, document: Any, first: date = TODAY - timedelta(days=5)) -> Fetched:
    home.provider.on("/graphql", document)
    source = AaveRates(home.client, MARKET, AaveReserve(1, "0xm", "0xt"), f"{home.url}/graphql")
    return source.fetch(Span(first, TODAY))


def histories(supply: list[Any], borrow: list[Any]) -> dict[str, Any]:
    return {"data": {"supplyAPYHistory": supply, "borrowAPYHistory": borrow}}


def test_averages_in_apy_become_apr_in_percent_the_last_of_each_day(home: House) -> None:
    supply = [
        point("2024-03-09T23:00:00.123Z", "0.04"),
        point("2024-03-09T01:00:00Z", "0.01"),
        point("2024-03-08T23:00:00Z", "0.05"),
    ]
    fetched = rates(home, histories(supply, [point("2024-03-09T23:00:00Z", "0.06")]))
    table = fetched.tables["lend_borrow_daily"].set_index("date")
    assert list(table.index) == [pd.Timestamp("2024-03-08"), pd.Timestamp("2024-03-09")]
    assert apr_to_apy(table["supply_apr_pct"].iloc[1] / 100.0) == pytest.approx(0.04)
    assert apr_to_apy(table["borrow_apr_pct"].iloc[1] / 100.0) == pytest.approx(0.06)
    assert table["borrow_apr_pct"].isna().iloc[0]
    assert fetched.masked == {"earlier readings of the same day": 1}


@pytest.mark.parametrize(
    ("age_days", "window"),
    [(5, "LAST_WEEK"), (20, "LAST_MONTH"), (100, "LAST_SIX_MONTHS"), (364, "LAST_YEAR")],
)
def test_the_smallest_window_that_holds_the_days_is_asked_for(
    home: House, age_days: int, window: str
) -> None:
    one = [point("2024-03-09T23:00:00Z", "0.04")]
    rates(home, histories(one, one), TODAY - timedelta(days=age_days))
    (call,) = home.provider.calls
    asked = json.loads(call.body)["variables"]
    assert asked["supply"] == asked["borrow"]
    assert asked["supply"]["window"] == window
    assert call.method == "POST"


def test_days_before_the_last_year_are_not_served(home: House) -> None:
    with pytest.raises(MissingDataError, match="last 365 days"):
        rates(home, {}, TODAY - timedelta(days=365))


def test_errors_in_an_http_200_are_errors(home: House) -> None:
    with pytest.raises(ProviderError, match="no such market"):
        rates(home, {"errors": [{"message": "no such market"}], "data": None})


@pytest.mark.parametrize("value", [None, {}, "0.04 %", True])
def test_a_rate_of_another_shape_is_no_rate(home: House, value: object) -> None:
    one = [point("2024-03-09T23:00:00Z", "0.04")]
    document = histories([point("2024-03-09T23:00:00Z", value)], one)
    if value is None:
        table = rates(home, document).tables["lend_borrow_daily"]
        assert table["supply_apr_pct"].isna().all()
        return
    with pytest.raises(PayloadError, match="value is"):
        rates(home, document)
