"""From tables to a panel: where each row goes, and that each array is made once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from stableyield.market import assemble as assembling
from stableyield.market.assemble import assemble, panel_of
from stableyield.market.cells import Cells
from stableyield.market.frames import MarketFrames
from stableyield.market.panel import MarketPanel
from stableyield.market.series import PoolSeries

DAYS = np.datetime64("2024-01-01", "D") + np.arange(3)


def table(**changes) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "pool_id": ["b", "a", "b"],
            "date": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"]),
            "apy_pct": [1.0, 2.0, 3.0],
        }
        | changes
    )


def cells(rows: pd.DataFrame) -> Cells:
    return Cells.of(rows, "pool_id", "date", ["a", "b"], DAYS)


def test_each_row_goes_to_its_day_and_name_and_the_rest_is_unknown() -> None:
    array = cells(table()).arrays(["apy_pct"])["apy_pct"]
    assert_array_equal(array, [[np.nan, 1.0], [2.0, np.nan], [np.nan, 3.0]])


def test_rows_of_other_names_and_days_have_no_place() -> None:
    dates = pd.to_datetime(["2023-12-31", "2024-01-02", "2024-01-04"])
    array = cells(table(date=dates, pool_id=["b", "x", "a"])).arrays(["apy_pct"])["apy_pct"]
    assert np.isnan(array).all()


def test_a_column_that_is_not_there_has_no_array() -> None:
    assert list(cells(table()).arrays(["tvl_usd", "apy_pct"])) == ["apy_pct"]


def test_names_in_another_order_take_their_columns_with_them() -> None:
    array = cells(table()).in_order([1, 0]).arrays(["apy_pct"])["apy_pct"]
    assert_array_equal(array, [[1.0, np.nan], [np.nan, 2.0], [3.0, np.nan]])


def test_a_name_is_known_from_its_first_value_in_any_column() -> None:
    rows = table(apy_pct=[np.nan, 2.0, 3.0], tvl_usd=[np.nan, np.nan, 1.0])
    assert cells(rows).first_known(["apy_pct", "tvl_usd"]).tolist() == [1, 2]
    assert cells(rows.iloc[:1]).first_known(["apy_pct"]).tolist() == [3, 3]


def test_arrays_of_a_table_are_read_only() -> None:
    array = cells(table()).arrays(["apy_pct"])["apy_pct"]
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1.0
    assert array.base is not None
    assert not array.base.flags.writeable


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
@pytest.mark.parametrize("layout", ["C", "F"])
def test_a_series_lies_the_same_in_memory_however_it_was_made(order, layout) -> None:
    array = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], order=layout)
    array.setflags(write=False)
    chosen = PoolSeries.build((3, 2), {"apy_pct": array}).columns(np.array(order)).apy_pct
    assert_array_equal(chosen, array[:, order])
    assert chosen.flags.f_contiguous
    assert not chosen.flags.writeable


def test_a_series_that_is_in_order_is_not_copied() -> None:
    array = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], order="F")
    array.setflags(write=False)
    series = PoolSeries.build((3, 2), {"apy_pct": array})
    assert series.columns(np.array([0, 1])).apy_pct is array


def frames(listed_from: list[object], first_rows: list[int], forecasts: bool) -> MarketFrames:
    ids = [f"pool-{i}" for i in range(len(first_rows))]
    rows = [
        (pool, day) for pool, first in zip(ids, first_rows, strict=True) for day in range(first, 6)
    ]
    daily = pd.DataFrame(
        {
            "pool_id": [pool for pool, _ in rows],
            "date": [pd.Timestamp("2024-01-01") + pd.Timedelta(days=day) for _, day in rows],
            "apy_pct": [5.0 + day for _, day in rows],
            "tvl_usd": 1e6,
        }
    )
    foreign = pd.DataFrame(
        {
            "pool_id": ids[::-1],
            "exec_date": pd.Timestamp("2024-01-02"),
            "target_date": pd.Timestamp("2024-01-03"),
            "pred_global_apy": 5.0,
            "pred_global_tvl": 1e6,
        }
    )
    return MarketFrames(
        pools=pd.DataFrame(
            {
                "pool_id": ids,
                "symbol": "USDC",
                "chain": "Ethereum",
                "protocol": "aave-v3",
                "tokens": [("USDC",)] * len(ids),
                "listed_from": pd.Series(listed_from, dtype="datetime64[us]"),
            }
        ),
        pool_daily=daily,
        forecasts=foreign if forecasts else None,
    )


LISTINGS = st.sampled_from([None, pd.Timestamp("2023-06-01"), pd.Timestamp("2024-01-03")])


@settings(max_examples=30, deadline=None)
@given(
    pools=st.lists(st.tuples(LISTINGS, st.integers(0, 5)), min_size=1, max_size=6),
    forecasts=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_panel_does_not_depend_on_the_order_of_pools_and_rows(pools, forecasts, seed) -> None:
    first_rows = [0, *(first for _, first in pools[1:])]
    given_frames = frames([listed for listed, _ in pools], first_rows, forecasts)
    draw = np.random.default_rng(seed)
    mixed = MarketFrames(
        pools=given_frames.pools.iloc[draw.permutation(len(given_frames.pools))],
        pool_daily=given_frames.pool_daily.iloc[draw.permutation(len(given_frames.pool_daily))],
        forecasts=given_frames.forecasts,
    )
    assert panel_of(mixed).sha256 == panel_of(given_frames).sha256


@settings(max_examples=30, deadline=None)
@given(
    pools=st.lists(st.tuples(LISTINGS, st.integers(0, 5)), min_size=1, max_size=6),
    forecasts=st.booleans(),
)
def test_arrays_are_made_in_the_order_of_the_panel(pools, forecasts) -> None:
    """Else the panel copies every one of them, and a wide market takes twice its size."""
    made = frames(
        [listed for listed, _ in pools], [0, *(first for _, first in pools[1:])], forecasts
    )
    given_ids: list[list[str]] = []
    build = MarketPanel.build

    class Watched:
        @staticmethod
        def build(days, pools, *rest, **named):
            given_ids.append([pool.pool_id for pool in pools])
            return build(days, pools, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembling, "MarketPanel", Watched)
        panel = assemble(made)
    view = panel.as_of(panel.last_day)
    assert [list(view.pool_ids)] == given_ids


def foreign(**changes) -> MarketFrames:
    """Two pools, six days, and a forecast of each for 2 January, changed."""
    made = frames([None, None], [0, 0], forecasts=True)
    assert made.forecasts is not None
    return replace(made, forecasts=made.forecasts.assign(**changes))


def said(market: MarketFrames) -> str:
    return " ".join(panel_of(market).provenance.assumptions)


def test_forecasts_that_fit_are_not_spoken_of() -> None:
    assert "forecast rows" not in said(foreign())


def test_forecasts_of_other_days_are_counted_with_both_spans() -> None:
    made = pd.to_datetime(["2024-01-02", "2024-08-02"])
    text = said(foreign(exec_date=made, target_date=made + pd.Timedelta(days=1)))
    assert (
        "1 forecast rows with an exec_date from 2024-08-02 to 2024-08-02, outside the market's "
        "days (2024-01-01 to 2024-01-06), are not used."
    ) in text


def test_a_forecast_row_is_counted_once() -> None:
    made = pd.to_datetime(["2024-08-02", "2024-08-03"])
    later = made + pd.Timedelta(days=1)
    text = said(foreign(exec_date=made, target_date=later, pool_id=["x", "pool-0"]))
    assert "1 forecast rows of 1 pools that are not in the market" in text
    assert "1 forecast rows with an exec_date from 2024-08-03 to 2024-08-03" in text


def test_forecasts_without_an_apy_are_spoken_of() -> None:
    text = said(foreign(pred_global_apy=np.nan))
    assert "2 forecast rows are all without pred_global_apy." in text


@pytest.mark.parametrize(("apy_pct", "is_unlike"), [(750.0, True), (150.0, False), (0.01, False)])
def test_forecasts_far_above_what_was_observed_are_spoken_of(
    apy_pct: float, is_unlike: bool
) -> None:
    market = panel_of(foreign(pred_global_apy=apy_pct), confirm_percent=True)
    text = " ".join(market.provenance.assumptions)
    assert ("Foreign forecasts are 750 % as a rule" in text) == is_unlike
    assert ("may not be in percent" in text) == is_unlike
