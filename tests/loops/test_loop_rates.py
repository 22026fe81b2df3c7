from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stableyield.errors import ContractError, DayOutOfRangeError, MissingDataError, ParameterError
from stableyield.loops.rate_files import (
    CARRY_DAYS,
    rates_from_table,
    rates_from_wide,
    read_loop_rates,
)
from stableyield.loops.rates import LoopRates, choose_markets

DAY = date(2024, 1, 1)


def table(**changes: object) -> pd.DataFrame:
    """Three days of USDC and USDT on Aave v3."""
    rows = pd.DataFrame(
        {
            "market_id": ["usdc"] * 3 + ["usdt"] * 3,
            "chain": "Ethereum",
            "protocol": "aave-v3",
            "symbol": ["USDC"] * 3 + ["USDT"] * 3,
            "date": ["2024-01-01", "2024-01-02", "2024-01-03"] * 2,
            "supply_apr_pct": [4.0, 5.0, 6.0, 3.0, 3.5, 4.0],
            "borrow_apr_pct": [6.0, 7.0, 8.0, 5.0, 5.5, 6.0],
            "supplied_usd": 100e6,
            "borrowed_usd": [80e6, 85e6, 90e6, 70e6, 75e6, 80e6],
        }
    )
    return rows.assign(**changes)


def only(frame: pd.DataFrame) -> LoopRates:
    (market,) = rates_from_table(frame)
    return market


def one_asset(days: list[str], **columns: list[float]) -> pd.DataFrame:
    n = len(days)
    return pd.DataFrame(
        {
            "market_id": ["usdc"] * n,
            "chain": ["Ethereum"] * n,
            "protocol": ["aave-v3"] * n,
            "symbol": ["USDC"] * n,
            "date": days,
            "supply_apr_pct": [float(i + 1) for i in range(n)],
            "borrow_apr_pct": [float(i + 2) for i in range(n)],
            **columns,
        }
    )


def test_a_table_becomes_one_market_of_fractions_by_day_and_asset() -> None:
    market = only(table())
    assert market.name == "aave-v3 on Ethereum"
    assert market.assets == ("USDC", "USDT")
    assert market.supply_apr == pytest.approx(np.array([[0.04, 0.03], [0.05, 0.035], [0.06, 0.04]]))
    assert market.borrow_apr[1, 0] == pytest.approx(0.07)
    assert market.utilisation[2] == pytest.approx([0.9, 0.8])
    assert market.available_usd[0] == pytest.approx([20e6, 30e6])
    assert market.is_fresh.all()
    assert market.is_borrowable.all()
    assert (market.quoted_supply_apr == market.supply_apr).all()


def test_markets_are_split_by_chain_and_protocol_in_their_order() -> None:
    both = pd.concat([table(), table(chain="Arbitrum", market_id=["c"] * 3 + ["t"] * 3)])
    assert [m.name for m in rates_from_table(both)] == [
        "aave-v3 on Arbitrum",
        "aave-v3 on Ethereum",
    ]


def test_a_row_without_a_fresh_reading_is_carried_over_and_flagged() -> None:
    frame = one_asset(["2024-01-01", "2024-01-02", "2024-01-03"], n_fresh=[5.0, 0.0, 4.0])
    market = only(frame)
    assert market.supply_apr[:, 0] == pytest.approx([0.01, 0.01, 0.03])
    assert market.is_fresh[:, 0].tolist() == [True, False, True]


def test_a_gap_is_bridged_for_two_days_and_unknown_after() -> None:
    market = only(one_asset(["2024-01-01", "2024-01-06"]))
    assert market.n_days == 6
    assert market.supply_apr[:3, 0] == pytest.approx([0.01] * 3)
    assert np.isnan(market.supply_apr[3:5, 0]).all()
    assert market.is_fresh[:, 0].tolist() == [True] + [False] * 4 + [True]
    assert (market.supply_reward_apr == 0.0).all()
    assert market.is_borrowable.all()


@settings(max_examples=30, deadline=None)
@given(present=st.lists(st.booleans(), min_size=1, max_size=20).filter(any))
def test_every_value_is_of_the_day_or_of_at_most_two_days_before(present: list[bool]) -> None:
    days = [pd.Timestamp(DAY) + pd.Timedelta(days=i) for i, there in enumerate(present) if there]
    numbers = [float(i + 1) for i, there in enumerate(present) if there]
    frame = one_asset([str(d.date()) for d in days], supply_apr_pct=numbers, borrow_apr_pct=numbers)
    market = only(frame)
    offset = present.index(True)
    for row in range(market.n_days):
        ages = [age for age in range(CARRY_DAYS + 1) if row >= age and present[offset + row - age]]
        value = market.supply_apr[row, 0] * 100.0
        if ages:
            assert value == pytest.approx(offset + row - ages[0] + 1)
            assert market.is_fresh[row, 0] == (ages[0] == 0)
        else:
            assert np.isnan(value)
            assert not market.is_fresh[row, 0]


def test_of_several_readings_within_a_day_the_last_one_counts() -> None:
    market = only(one_asset(["2024-01-01T08:00:00", "2024-01-01T23:01:17"]))
    assert market.n_days == 1
    assert market.supply_apr[0, 0] == pytest.approx(0.02)


def test_the_same_moment_twice_is_refused() -> None:
    with pytest.raises(ContractError, match="occurs twice"):
        only(one_asset(["2024-01-01", "2024-01-01"]))


def test_the_layouts_last_readings_are_what_a_decision_sees() -> None:
    frame = table(
        supply_apr_last_pct=[9.0, np.nan, 9.0] * 2,
        borrow_apr_last_pct=12.0,
        available_usd=[-5.0, 1e6, 2e6] * 2,
        n_fresh=3.0,
    )
    market = only(frame.sample(frac=1.0, random_state=3))
    assert market.quoted_supply_apr[:, 0] == pytest.approx([0.09, 0.05, 0.09])
    assert market.quoted_borrow_apr[:, 1] == pytest.approx([0.12] * 3)
    assert np.isnan(market.available_usd[0, 0])
    assert market.available_usd[2, 1] == 2e6


def test_rewards_and_borrowable_flags_are_read_and_unknown_rewards_count_nothing() -> None:
    market = only(
        table(
            supply_reward_apr_pct=[1.0, np.nan, 1.0] * 2,
            borrow_reward_apr_pct=0.5,
            borrowable=["true", "false", ""] * 2,
        )
    )
    assert market.supply_reward_apr[:, 0] == pytest.approx([0.01, 0.0, 0.01])
    assert market.borrow_reward_apr[2, 1] == pytest.approx(0.005)
    assert market.is_borrowable[:, 0].tolist() == [True, False, True]


def test_a_missing_borrow_rate_stays_unknown() -> None:
    market = only(table(borrow_apr_pct=[np.nan] * 3 + [5.0] * 3))
    assert np.isnan(market.borrow_apr[:, 0]).all()
    assert np.isfinite(market.supply_apr).all()


def test_rates_that_look_like_fractions_are_refused_unless_confirmed() -> None:
    frame = table(supply_apr_pct=0.04, borrow_apr_pct=0.06)
    with pytest.raises(ContractError, match="looks like fractions"):
        rates_from_table(frame)
    (market,) = rates_from_table(frame, confirm_percent=True)
    assert market.supply_apr[0, 0] == pytest.approx(0.0004)


def test_two_reserves_of_one_token_are_told_to_be_named_apart() -> None:
    with pytest.raises(ContractError, match="usdc and usdt are both USDC"):
        only(table(symbol="USDC"))


def test_until_shows_no_later_day_and_does_not_depend_on_it() -> None:
    full = only(table())
    early = full.until(date(2024, 1, 2))
    cut = only(table().query("date != '2024-01-03'"))
    assert early.n_days == 2
    for name in ("supply_apr", "borrow_apr", "utilisation", "is_fresh"):
        assert (getattr(early, name) == getattr(cut, name)).all()


def test_arrays_cannot_be_written_to() -> None:
    market = only(table())
    with pytest.raises(ValueError, match="read-only"):
        market.supply_apr[0, 0] = 1.0


def test_days_and_assets_outside_the_rates_are_refused_by_name() -> None:
    market = only(table())
    with pytest.raises(DayOutOfRangeError, match="2024-01-04"):
        market.until(date(2024, 1, 4))
    with pytest.raises(ParameterError, match="'DAI'"):
        market.of_assets(["DAI"])
    with pytest.raises(ParameterError, match="before start"):
        market.between(date(2024, 1, 2), date(2024, 1, 1))
    assert market.between(date(2024, 1, 2), date(2024, 1, 3)).n_days == 2
    assert market.of_assets(["USDT"]).supply_apr[0, 0] == pytest.approx(0.03)


def test_rates_of_other_shapes_or_with_a_day_missing_are_no_rates() -> None:
    market = only(table())
    values = {name: getattr(market, name) for name in LoopRates.__dataclass_fields__}
    with pytest.raises(ContractError, match="shape"):
        LoopRates(**{**values, "supply_apr": np.zeros((1, 1))})
    with pytest.raises(ContractError, match="consecutive"):
        LoopRates(**{**values, "days": market.days[[0, 1, 1]]})
    with pytest.raises(ContractError, match="no days"):
        LoopRates(**{**values, "days": market.days[:0]})


def wide(**changes: object) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "timestamp": ["2024-01-01T23:01:00Z", "2024-01-02T23:02:00Z"],
            "arb_usdc_apyBase": [4.0, 5.0],
            "arb_usdc_apyBaseBorrow": [6.0, 7.0],
            "arb_usdce_apyBase": [3.0, np.nan],
            "pol_dai_apyBase": [2.0, 2.5],
            "pol_dai_apyBaseBorrow": [3.0, 3.5],
            "pol_dai_totalSupplyUsd": [1e6, 2e6],
            "pol_dai_totalBorrowUsd": [5e5, 8e5],
        }
    ).assign(**changes)


def test_a_wide_frame_becomes_one_market_a_chain() -> None:
    arbitrum, polygon = rates_from_wide(wide())
    assert (arbitrum.name, arbitrum.assets) == ("aave-v3 on Arbitrum", ("USDC", "USDC.e"))
    assert arbitrum.borrow_apr[:, 0] == pytest.approx([0.06, 0.07])
    assert np.isnan(arbitrum.borrow_apr[:, 1]).all()
    assert arbitrum.is_fresh[:, 1].tolist() == [True, False]
    assert polygon.utilisation[:, 0] == pytest.approx([0.5, 0.4])


def test_the_days_of_a_wide_frame_may_be_its_index() -> None:
    frame = wide().set_index(pd.to_datetime(["2024-01-01", "2024-01-02"])).drop(columns="timestamp")
    assert rates_from_wide(frame)[0].days.tolist() == [date(2024, 1, 1), date(2024, 1, 2)]
    with pytest.raises(ContractError, match="no column timestamp or date"):
        rates_from_wide(frame.reset_index(drop=True))


def test_a_wide_frame_without_any_borrow_rate_has_supply_only() -> None:
    names = [name for name in wide() if str(name).endswith("apyBaseBorrow")]
    for market in rates_from_wide(wide().drop(columns=names)):
        assert np.isnan(market.borrow_apr).all()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_and_a_market_directory_read_alike(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"lend_borrow_daily.{ending}"
    (table().to_csv if ending == "csv" else table().to_parquet)(path, index=False)
    (of_file,), (of_directory,) = read_loop_rates(path), read_loop_rates(tmp_path)
    assert (of_file.supply_apr == of_directory.supply_apr).all()
    assert of_file.source == path.name


def test_a_wide_file_is_recognised_by_its_columns(tmp_path: Path) -> None:
    wide().to_csv(tmp_path / "rates.csv", index=False)
    markets = read_loop_rates(tmp_path / "rates.csv", protocol="spark")
    assert [m.name for m in markets] == ["spark on Arbitrum", "spark on Polygon"]


def test_a_directory_without_the_table_or_with_it_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no lend_borrow_daily"):
        read_loop_rates(tmp_path)
    table().to_csv(tmp_path / "lend_borrow_daily.csv", index=False)
    table().to_parquet(tmp_path / "lend_borrow_daily.parquet", index=False)
    with pytest.raises(MissingDataError, match="2 lend_borrow_daily"):
        read_loop_rates(tmp_path)


def test_a_missing_column_is_named_with_the_file(tmp_path: Path) -> None:
    table().drop(columns="borrow_apr_pct").to_csv(tmp_path / "rates.csv", index=False)
    with pytest.raises(ContractError, match=r"rates\.csv: column 'borrow_apr_pct' is missing"):
        read_loop_rates(tmp_path / "rates.csv")


def test_markets_are_chosen_by_chain_protocol_and_asset() -> None:
    markets = rates_from_wide(wide())
    chosen = choose_markets(markets, chains=["arbitrum"], protocols=["Aave-V3"], assets=["USDC"])
    assert [(m.chain, m.assets) for m in chosen] == [("Arbitrum", ("USDC",))]
    assert choose_markets(markets) == markets


@pytest.mark.parametrize(
    ("choice", "match"),
    [
        ({"chains": ["Base"]}, "chain 'base'"),
        ({"protocols": ["spark"]}, "protocol 'spark'"),
        ({"assets": ["usdc"]}, "asset 'usdc'"),
        ({"chains": ["Polygon"], "assets": ["USDC"]}, "together"),
    ],
)
def test_an_unknown_choice_of_markets_is_named(choice: dict[str, list[str]], match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        choose_markets(rates_from_wide(wide()), **choice)
