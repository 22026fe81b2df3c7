from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stableyield.errors import ContractError, MissingDataError
from stableyield.loops.risk_table import (
    SHIPPED_TABLE,
    read_risk_table,
    risk_on,
    risk_table_of,
    shipped_risk_table,
)


def rows(**changes: object) -> pd.DataFrame:
    """USDC and DAI of a market; both join an e-mode in February, it is emptied in March."""
    frame = pd.DataFrame(
        [
            ("USDC", "", "2024-01-01", 0.80, 0.85, 0.05, True, True, 1000.0),
            ("USDC", "Dollars", "2024-02-01", 0.93, 0.95, 0.01, True, True, np.nan),
            ("USDC", "Dollars", "2024-03-01", 0.93, 0.95, 0.01, True, False, np.nan),
            ("DAI", "", "2024-01-01", 0.0, 0.0, 0.0, False, True, np.nan),
            ("DAI", "", "2024-01-15", 0.75, 0.80, 0.05, True, True, np.nan),
            ("DAI", "Dollars", "2024-02-01", 0.93, 0.95, 0.01, True, True, np.nan),
            ("DAI", "Dollars", "2024-03-01", 0.93, 0.95, 0.01, True, False, np.nan),
        ],
        columns=[
            *("asset", "emode", "effective_from", "ltv", "liquidation_threshold"),
            *("liquidation_bonus", "is_collateral", "is_borrowable", "supply_cap"),
        ],
    )
    return frame.assign(chain="Base", protocol="aave-v3", **changes)


def on(day: str, asset: str = "USDC", debt: str = "DAI", **options: Any) -> Any:
    table = risk_table_of(rows())
    return table.risk_on(date.fromisoformat(day), "base", "Aave-v3", asset, debt, **options)


def test_a_row_holds_from_its_day_until_the_next() -> None:
    assert on("2024-01-14", "DAI", "USDC").can_open is False
    assert on("2024-01-14", "DAI", "USDC").liquidation_threshold == 0.0
    assert on("2024-01-15", "DAI", "USDC").ltv == 0.75


def test_two_assets_of_an_emode_have_its_parameters_while_it_lasts() -> None:
    assert (on("2024-01-31").ltv, on("2024-01-31").emode) == (0.80, "")
    inside = on("2024-02-01")
    assert (inside.ltv, inside.liquidation_threshold, inside.emode) == (0.93, 0.95, "Dollars")
    assert inside.supply_cap == 1000.0


def test_an_emptied_emode_opens_nothing_but_keeps_its_threshold_for_what_is_open() -> None:
    opened = on("2024-03-01")
    assert (opened.ltv, opened.liquidation_threshold, opened.emode) == (0.80, 0.85, "")
    held = on("2024-03-01", is_open=True)
    assert (held.liquidation_threshold, held.emode, held.can_open) == (0.95, "Dollars", False)


def test_a_position_opened_after_an_emode_was_emptied_never_was_in_it() -> None:
    before, after = date(2024, 2, 10), date(2024, 3, 5)
    assert on("2024-03-20", is_open=True, opened_on=before).liquidation_threshold == 0.95
    assert on("2024-03-20", is_open=True, opened_on=after).liquidation_threshold == 0.85


def test_a_day_or_asset_without_rows_is_an_error_that_says_when_they_begin() -> None:
    with pytest.raises(MissingDataError, match=r"first are of 2024-01-01"):
        on("2023-12-31")
    with pytest.raises(MissingDataError, match="no risk parameters of USDT"):
        on("2024-01-31", "USDT")


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("ltv", 80.0, "fraction"),
        ("ltv", 0.99, "above the liquidation threshold"),
        ("ltv", np.nan, "empty"),
        ("liquidation_bonus", 0.9, "exceeds the collateral"),
        ("supply_cap", -1.0, "not negative"),
        ("effective_from", "soon", "not a date"),
        ("is_borrowable", "perhaps", "neither true nor false"),
        ("chain", "", "empty"),
    ],
)
def test_a_bad_value_is_named_by_row_and_column(
    tmp_path: Path, column: str, value: object, match: str
) -> None:
    frame = rows().astype({column: object})
    frame.loc[1, column] = value
    path = tmp_path / "risk.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(ContractError, match=rf"risk\.csv, line 3.*{column}.*{match}"):
        read_risk_table(path)


def test_collateral_without_a_threshold_is_refused() -> None:
    frame = rows()
    frame.loc[3, "is_collateral"] = True
    with pytest.raises(ContractError, match="needs a threshold above 0"):
        risk_table_of(frame)


def test_a_missing_column_a_repeated_key_and_an_emode_without_base_are_refused() -> None:
    with pytest.raises(ContractError, match="column 'ltv' is missing"):
        risk_table_of(rows().drop(columns="ltv"))
    with pytest.raises(ContractError, match="occurs twice"):
        risk_table_of(pd.concat([rows(), rows().iloc[:1].assign(chain="BASE")]))
    with pytest.raises(ContractError, match="USDC has rows of an e-mode only"):
        risk_table_of(rows().iloc[1:])


def test_a_users_file_takes_the_place_of_all_rows_of_its_reserves(tmp_path: Path) -> None:
    path = tmp_path / "risk.csv"
    own = rows().iloc[:1].assign(chain="Arbitrum", effective_from="2020-01-01")
    own.to_csv(path, index=False)
    table, day = read_risk_table(path), date(2022, 8, 8)
    assert table.risk_on(day, "Arbitrum", "aave-v3", "USDC", "DAI").ltv == 0.80
    assert table.risk_on(day, "Arbitrum", "aave-v3", "DAI", "USDT").emode == "Stablecoins"
    assert risk_on(day, "Arbitrum", "aave-v3", "USDC", "DAI", table).supply_cap == 1000.0


@pytest.mark.parametrize("chain", ["Arbitrum", "Polygon"])
def test_the_stablecoin_emode_of_both_chains_has_its_terms_by_date(chain: str) -> None:
    assert risk_on(date(2022, 8, 8), chain, "aave-v3", "DAI", "USDT").ltv == 0.97
    later = risk_on(date(2024, 6, 6), chain, "aave-v3", "USDC", "USDT")
    assert (later.ltv, later.liquidation_threshold, later.liquidation_bonus) == (0.93, 0.95, 0.01)


@pytest.mark.parametrize(
    ("chain", "emptied"), [("Polygon", date(2025, 2, 28)), ("Arbitrum", date(2025, 5, 19))]
)
def test_a_loop_at_090_cannot_be_opened_once_the_emode_is_emptied(
    chain: str, emptied: date
) -> None:
    before = risk_on(emptied - timedelta(days=1), chain, "aave-v3", "USDC", "USDT")
    after = risk_on(emptied, chain, "aave-v3", "USDC", "USDT")
    assert before.ltv >= 0.9 > after.ltv
    assert after.can_open


def test_usdt_is_no_collateral_on_aave_v2() -> None:
    day = date(2021, 6, 1)
    assert not risk_on(day, "Ethereum", "aave-v2", "USDT", "USDC").can_open
    usdc = risk_on(day, "Ethereum", "aave-v2", "USDC", "USDT")
    assert (usdc.ltv, usdc.liquidation_threshold) == (0.80, 0.85)
    dai = risk_on(day, "Ethereum", "aave-v2", "DAI", "USDC")
    assert (dai.ltv, dai.liquidation_threshold) == (0.75, 0.80)


def test_every_shipped_row_has_a_source_and_says_whether_it_is_assumed() -> None:
    shipped = pd.read_csv(SHIPPED_TABLE)
    assert shipped["source"].str.len().gt(10).all()
    assert shipped["is_assumed"].isin([True, False]).all()
    base = shipped[shipped["emode"].isna() & shipped["is_collateral"] & (shipped["ltv"] > 0.0)]
    assert base["ltv"].between(0.63, 0.80).all()
    assert base["liquidation_threshold"].between(0.76, 0.85).all()
    assert shipped_risk_table() is shipped_risk_table()
