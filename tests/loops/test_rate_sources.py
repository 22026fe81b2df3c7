"""Rates of loops from the database and from providers on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from stableyield.domain.rates import apr_to_apy
from stableyield.errors import ContractError, MissingDataError
from stableyield.loops import (
    LoopCosts,
    LoopSettings,
    rates_from_fetched,
    rates_from_store,
    rates_from_table,
    run_loop_backtest,
)
from stableyield.sources import AaveRates, AaveReserve, Fetched, LendBorrowHistory, PoolKey, Span
from stableyield.store import write_market_table, writing
from support.databases import TESTER, fresh_sqlite, later
from support.provider import KEY, TODAY, House, data, house

N_DAYS = 6
FIRST = TODAY - timedelta(days=N_DAYS)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path / "cache") as found:
        yield found


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with fresh_sqlite(tmp_path) as found:
        yield found


def table(supply_apr_pct: float = 9.0) -> pd.DataFrame:
    days = pd.date_range(FIRST, periods=N_DAYS, freq="D", unit="us")
    parts = [
        pd.DataFrame(
            {
                "market_id": f"m-{symbol}",
                "chain": "Ethereum",
                "protocol": "aave-v3",
                "symbol": symbol,
                "date": days,
                "supply_apr_pct": supply,
                "borrow_apr_pct": borrow,
                "supplied_usd": 1e8,
                "borrowed_usd": 8e7,
                "borrowable": True,
            }
        )
        for symbol, supply, borrow in (("USDC", supply_apr_pct, 12.0), ("USDT", 2.0, 3.0))
    ]
    return pd.concat(parts, ignore_index=True)


def store(engine: Engine, frame: pd.DataFrame, hours: float = 0.0) -> None:
    with writing(engine, TESTER, at=later(hours)) as batch:
        write_market_table(batch, "lend_borrow_daily", frame)


def test_what_goes_into_the_database_comes_out_as_the_same_rates(engine: Engine) -> None:
    store(engine, table())
    (stored,), (own,) = rates_from_store(engine), rates_from_table(table())
    assert (stored.name, stored.assets) == (own.name, own.assets)
    for name in ("supply_apr", "borrow_apr", "available_usd", "is_borrowable", "is_fresh"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(own, name), err_msg=name)


def test_a_backtest_sees_the_rates_as_they_were_known_by_a_moment(engine: Engine) -> None:
    store(engine, table(9.0), 0.0)
    store(engine, table(7.0), 2.0)
    (then,), (now,) = rates_from_store(engine, known_by=later(1.0)), rates_from_store(engine)
    assert then.supply_apr[0, 0] == pytest.approx(0.09)
    assert now.supply_apr[0, 0] == pytest.approx(0.07)


def test_days_choose_rows_and_an_empty_database_is_an_error(engine: Engine) -> None:
    with pytest.raises(MissingDataError, match="no lending rates"):
        rates_from_store(engine)
    store(engine, table())
    (found,) = rates_from_store(engine, first=FIRST + timedelta(days=2))
    assert found.n_days == N_DAYS - 2
    with pytest.raises(MissingDataError, match="of these days"):
        rates_from_store(engine, last=date(2000, 1, 1))


def lend_rows(supply: float, borrow: float) -> list[dict[str, Any]]:
    return [
        {
            "timestamp": f"{FIRST + timedelta(days=n)}T23:00:00Z",
            "totalSupplyUsd": 1e8,
            "totalBorrowUsd": 8e7,
            "debtCeilingUsd": None,
            "apyBase": supply,
            "apyReward": None,
            "apyBaseBorrow": borrow,
            "apyRewardBorrow": None,
        }
        for n in range(N_DAYS)
    ]


def from_defillama(home: House, symbol: str, rows: list[dict[str, Any]]) -> Fetched:
    home.provider.on(f"/{KEY}/yields/chartLendBorrow/{symbol}", data(rows))
    key = PoolKey(symbol, "aave-v3", "Ethereum", symbol)
    source = LendBorrowHistory(home.client, key, SecretStr(KEY), pro_url=home.url)
    return source.fetch(Span(FIRST, TODAY))


def from_aave(home: House, supply: float, borrow: float) -> Fetched:
    def history(apr: float) -> list[dict[str, Any]]:
        value = repr(float(apr_to_apy(apr)))
        return [
            {"date": f"{FIRST + timedelta(days=n)}T23:00:00Z", "avgRate": {"value": value}}
            for n in range(N_DAYS)
        ]

    answer = {"supplyAPYHistory": history(supply), "borrowAPYHistory": history(borrow)}
    home.provider.on("/graphql", {"data": answer})
    key = PoolKey("aave-usdt", "aave-v3", "Ethereum", "USDT")
    reserve = AaveReserve(1, "0xm", "0xt")
    return AaveRates(home.client, key, reserve, f"{home.url}/graphql").fetch(Span(FIRST, TODAY))


def test_two_providers_make_one_market_that_can_be_looped(home: House) -> None:
    answers = [from_defillama(home, "USDC", lend_rows(9.0, 12.0)), from_aave(home, 0.02, 0.03)]
    (market,) = rates_from_fetched(answers)
    assert market.name == "aave-v3 on Ethereum"
    assert market.assets == ("USDC", "USDT")
    np.testing.assert_allclose(market.supply_apr[0], [0.09, 0.02], rtol=1e-12)
    np.testing.assert_allclose(market.borrow_apr[-1], [0.12, 0.03], rtol=1e-12)
    assert np.isnan(market.available_usd[:, 1]).all(), "Aave's interface gives no sizes"
    settings = LoopSettings(costs=LoopCosts(gas_usd=0.0), expected_holding_days=60.0)
    result = run_loop_backtest(market, settings)
    assert result.daily["borrow_asset"].iloc[0] == "USDT"
    assert any("averages, and were converted" in text for text in result.assumptions)
    assert any("cash is unknown and taken as enough" in text for text in result.assumptions)


def test_rows_of_a_day_that_has_not_ended_are_called_provisional(home: House) -> None:
    rows = lend_rows(9.0, 12.0)
    ended = rates_from_fetched([from_defillama(home, "USDC", rows)])[0]
    assert not any("provisional" in text for text in ended.notes)
    today = [*rows, {**rows[-1], "timestamp": f"{TODAY}T11:00:00Z"}]
    open_ = rates_from_fetched([from_defillama(home, "USDT", today)])[0]
    assert any(f"Rates of {TODAY} and later are provisional" in text for text in open_.notes)


def test_the_same_reserve_twice_is_refused_and_nothing_is_an_error(home: House) -> None:
    answer = from_defillama(home, "USDC", lend_rows(9.0, 12.0))
    with pytest.raises(ContractError):
        rates_from_fetched([answer, answer])
    with pytest.raises(MissingDataError, match="no source gave a lending rate"):
        rates_from_fetched([replace(answer, tables={})])


def test_the_key_is_in_no_note_of_the_rates(home: House) -> None:
    (market,) = rates_from_fetched([from_defillama(home, "USDC", lend_rows(9.0, 12.0))])
    assert KEY not in repr((market.source, market.notes))


def test_replaced_readings_gaps_and_unknown_cash_are_said() -> None:
    frame = table()
    noon = frame.iloc[[2]].assign(date=lambda rows: rows["date"] + pd.Timedelta(hours=12))
    few = frame.drop(index=[N_DAYS + 1]).assign(supplied_usd=np.nan)
    (market,) = rates_from_table(pd.concat([few, noon], ignore_index=True))
    settings = LoopSettings(costs=LoopCosts(gas_usd=0.0), own_impact="none")
    said = " ".join(run_loop_backtest(market, settings).assumptions)
    assert "1 readings were replaced by a later one of the same day" in said
    assert "the last reading was carried over for USDT 1 day." in said
    assert "cash is unknown and taken as enough for USDC 5 days, USDT 6 days" in said
