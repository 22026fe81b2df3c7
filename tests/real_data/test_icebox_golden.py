"""The icebox on recorded prices: the days on which it must enter and leave."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from stableyield.config import AllocationParameters
from stableyield.screening import icebox_from_prices_frame

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
PRICES = SHARED / "data" / "stablecoin_daily.parquet"
GOLDEN = SHARED / "golden" / "icebox_events.csv"
# the recorded answers cover the last two years of the prices
COVERED_FROM = pd.Timestamp("2022-01-01")

pytestmark = pytest.mark.skipif(
    not (PRICES.exists() and GOLDEN.exists()), reason="no ../shared data beside the repository"
)


@pytest.fixture(scope="module")
def events() -> pd.DataFrame:
    found = icebox_from_prices_frame(pd.read_parquet(PRICES), AllocationParameters())
    return found[found["entered"] >= COVERED_FROM]


@pytest.fixture(scope="module")
def golden() -> pd.DataFrame:
    return pd.read_csv(GOLDEN, parse_dates=["entered_on_row", "left_on_row"])


def test_every_recorded_event_is_found_and_no_other(events, golden):
    named = golden[["symbol", "source"]].drop_duplicates()
    found = events.merge(named, left_on=["token", "source"], right_on=["symbol", "source"])

    def rows(frame, columns):
        return sorted(map(str, frame[columns].itertuples(index=False, name=None)))

    assert rows(found, ["token", "source", "entered", "left", "by"]) == rows(
        golden, ["symbol", "source", "entered_on_row", "left_on_row", "by"]
    )


def test_usdt_never_enters(events):
    usdt = events[(events["token"] == "USDT") & (events["source"] == "MuLancer-CMC")]
    assert usdt.empty


def test_ust_is_still_inside_at_the_end(events):
    ust = events[(events["token"] == "UST") & (events["source"] == "MuLancer-CMC")]
    assert ust["left"].isna().tolist() == [True]
