from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stableyield.errors import ContractError, MissingDataError, ParameterError
from stableyield.loops.wide import LoopPair, best_pair, read_wide_column

# Two days of two chains, percent APR: supply and borrow of each pool.
RATES = {
    "arb_usdc_apyBase": (11.0, 14.0),
    "arb_usdc_apyBaseBorrow": (13.5, 16.5),
    "arb_usdt_apyBase": (10.5, 7.0),
    "arb_usdt_apyBaseBorrow": (13.25, 9.0),
    "arb_usdce_apyBase": (8.0, 7.5),
    "arb_usdce_apyBaseBorrow": (16.0, 15.0),
    "pol_dai_apyBase": (10.0, 25.5),
    "pol_dai_apyBaseBorrow": (15.0, 37.0),
    "pol_usdt_apyBase": (7.0, 7.25),
    "pol_usdt_apyBaseBorrow": (9.0, 9.25),
}


def frame() -> pd.DataFrame:
    return pd.DataFrame(RATES).assign(timestamp=["2024-06-03", "2024-06-06"])


def row(**values: float) -> pd.DataFrame:
    return pd.DataFrame([values])


@pytest.mark.parametrize(
    ("position", "chain", "supply", "borrow", "spread"),
    [
        (0, "arb", "arb_usdc", "arb_usdt", -2.25),
        (1, "arb", "arb_usdc", "arb_usdt", 5.0),
        (0, "pol", "pol_dai", "pol_usdt", 1.0),
        (1, "pol", "pol_dai", "pol_usdt", 16.25),
    ],
)
def test_the_pair_is_the_best_supply_and_the_cheapest_borrow_of_the_chain(
    position: int, chain: str, supply: str, borrow: str, spread: float
) -> None:
    pair = best_pair(frame().iloc[[position]], chain)
    assert (pair.supply, pair.borrow) == (supply, borrow)
    assert pair.spread_pct == pytest.approx(spread)


def test_the_pair_names_both_pools_their_chain_and_their_rates() -> None:
    pair = best_pair(frame().iloc[[1]], "Arbitrum")
    assert pair == LoopPair("Arbitrum", "arb_usdc", "arb_usdt", 14.0, 9.0)


def test_without_a_chain_the_best_of_all_chains_is_taken_and_both_legs_are_on_it() -> None:
    pair = best_pair(frame().iloc[1])
    assert (pair.chain, pair.supply, pair.borrow) == ("Polygon", "pol_dai", "pol_usdt")


def test_the_second_best_leg_is_taken_where_the_best_of_both_sides_is_one_asset() -> None:
    pair = best_pair(
        row(
            arb_usdc_apyBase=9.0,
            arb_usdc_apyBaseBorrow=4.0,
            arb_usdt_apyBase=8.0,
            arb_usdt_apyBaseBorrow=6.0,
        )
    )
    assert (pair.supply, pair.borrow) == ("arb_usdt", "arb_usdc")


def test_a_borrow_rate_is_never_taken_for_a_supply_rate() -> None:
    pair = best_pair(
        row(
            arb_usdc_apyBase=2.0,
            arb_usdc_apyBaseBorrow=50.0,
            arb_usdt_apyBase=3.0,
            arb_usdt_apyBaseBorrow=4.0,
        )
    )
    assert pair.supply_apr_pct == 2.0
    assert pair.spread_pct == pytest.approx(-2.0)  # a spread may be negative


def test_a_missing_rate_never_wins() -> None:
    pair = best_pair(
        row(
            arb_usdc_apyBase=np.nan,
            arb_usdc_apyBaseBorrow=np.nan,
            arb_usdt_apyBase=3.0,
            arb_usdt_apyBaseBorrow=np.inf,
            arb_dai_apyBase=1.0,
            arb_dai_apyBaseBorrow=5.0,
        )
    )
    assert (pair.supply, pair.borrow) == ("arb_usdt", "arb_dai")


def test_the_same_asset_is_on_both_sides_only_where_rewards_pay_for_it() -> None:
    rates = {
        "arb_usdc_apyBase": 9.0,
        "arb_usdc_apyBaseBorrow": 10.0,
        "arb_usdt_apyBase": 1.0,
        "arb_usdt_apyBaseBorrow": 20.0,
    }
    assert best_pair(row(**rates)).supply != best_pair(row(**rates)).borrow
    paid = best_pair(row(**rates, arb_usdc_apyReward=1.0, arb_usdc_apyRewardBorrow=2.0))
    assert (paid.supply, paid.borrow) == ("arb_usdc", "arb_usdc")
    assert paid.spread_pct == pytest.approx(2.0)
    too_little = best_pair(row(**rates, arb_usdc_apyReward=0.5))
    assert too_little.supply != too_little.borrow


def test_bridged_and_native_dollars_are_two_assets() -> None:
    found = read_wide_column("pol_usdce_apyBase")
    assert found is not None
    assert (found.pool, found.chain, found.asset) == ("pol_usdce", "Polygon", "USDC.e")


@pytest.mark.parametrize(
    "name", ["apyBase", "usdc_apyBase", "arb_usdc_apyBaseBorrow7d", "arb_usdc_apybase", "timestamp"]
)
def test_a_column_is_read_by_its_exact_name_or_not_at_all(name: str) -> None:
    assert read_wide_column(name) is None


def test_a_chain_without_a_short_name_keeps_its_prefix() -> None:
    found = read_wide_column("zzz_usde_apyBase")
    assert found is not None
    assert (found.chain, found.asset) == ("zzz", "USDe")


def test_a_day_without_a_borrow_side_is_said_to_have_no_pair() -> None:
    with pytest.raises(MissingDataError, match="no pair to loop"):
        best_pair(row(arb_usdc_apyBase=1.0, arb_usdt_apyBase=2.0))


def test_several_days_at_once_are_refused() -> None:
    with pytest.raises(ParameterError, match="2 rows"):
        best_pair(frame())


def test_an_unknown_chain_is_named_with_those_there_are() -> None:
    with pytest.raises(ParameterError, match=r"'eth'.*Arbitrum, Polygon"):
        best_pair(frame().iloc[[0]], "eth")


def test_a_frame_without_supply_rates_or_with_a_column_twice_is_refused() -> None:
    with pytest.raises(ContractError, match="no column <chain>_<asset>_apyBase"):
        best_pair(row(arb_usdc_apyBaseBorrow=1.0))
    twice = frame().iloc[[0]]
    with pytest.raises(ContractError, match="occurs twice"):
        best_pair(pd.concat([twice, twice["arb_usdc_apyBase"]], axis=1))


def test_a_text_in_place_of_a_rate_is_named_by_its_column() -> None:
    bad = frame().iloc[[0]].astype({"arb_usdt_apyBase": object})
    bad.loc[0, "arb_usdt_apyBase"] = "high"
    with pytest.raises(ContractError, match="arb_usdt_apyBase"):
        best_pair(bad)
