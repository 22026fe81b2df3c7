"""A market goes into the store and comes out as the same panel."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import Engine

from stableyield.errors import ContractError, MissingDataError
from stableyield.market.assemble import panel_of
from stableyield.market.frames import MarketFrames
from stableyield.store import (
    Window,
    load_frames,
    load_panel,
    write_market,
    write_market_table,
    writing,
)
from support.databases import DAY, NOW, TESTER, daily_frame, later, market_frames, pools_frame


def store(engine: Engine, frames: MarketFrames, hours: float = 0.0) -> None:
    with writing(engine, TESTER, at=later(hours)) as batch:
        write_market(batch, frames)


def without_forecasts(frames: MarketFrames) -> MarketFrames:
    return replace(frames, forecasts=None)


def test_the_panel_of_the_store_is_the_panel_of_the_frames(engine: Engine) -> None:
    frames = market_frames()
    store(engine, frames)
    assert load_panel(engine).sha256 == panel_of(without_forecasts(frames)).sha256
    assert panel_of(load_frames(engine)).sha256 == panel_of(without_forecasts(frames)).sha256


def test_forecasts_come_with_their_method_only(engine: Engine) -> None:
    frames = market_frames()
    store(engine, frames)
    window = Window(forecast_method="foreign")
    assert load_panel(engine, window).sha256 == panel_of(frames).sha256
    assert panel_of(load_frames(engine, window)).sha256 == panel_of(frames).sha256
    other = Window(forecast_method="ours")
    assert load_panel(engine, other).sha256 == load_panel(engine).sha256
    assert load_frames(engine, other).forecasts is None


def test_risk_adjusted_forecasts_come_back_too(engine: Engine) -> None:
    frames = market_frames()
    assert frames.forecasts is not None
    told = frames.forecasts.assign(pred_global_apy_risk_adj=3.0, pred_global_tvl_risk_adj=1e6)
    frames = replace(frames, forecasts=told)
    store(engine, frames)
    panel = load_panel(engine, Window(forecast_method="foreign"))
    assert panel.sha256 == panel_of(frames).sha256


def test_what_was_known_by_a_moment_does_not_change_any_more(engine: Engine) -> None:
    before = market_frames(apy_pct=5.0)
    store(engine, before, 1)
    store(engine, market_frames(n_days=5, apy_pct=7.0), 2)
    known = load_panel(engine, Window(known_by=later(1.5)))
    assert known.sha256 == panel_of(without_forecasts(before)).sha256
    assert load_panel(engine).as_of(DAY).pool_series.apy_pct[-1].tolist() == [7.0, 7.0]


def test_storing_a_market_again_writes_no_row(engine: Engine) -> None:
    store(engine, market_frames())
    with writing(engine, TESTER, at=later(1)) as batch:
        written = write_market(batch, market_frames())
    assert len(written) == 6
    assert all(w.n_new == w.n_revised == 0 for w in written.values())


def test_a_window_cuts_days_and_pools(engine: Engine) -> None:
    store(engine, market_frames(n_days=5))
    first, last = DAY - timedelta(days=3), DAY - timedelta(days=1)
    panel = load_panel(engine, Window(first=first, last=last, pool_ids=("b",)))
    assert (panel.first_day, panel.last_day) == (first, last)
    view = panel.as_of(last)
    assert view.pool_ids == ("b",)
    assert np.isfinite(view.pool_series.apy_pct).all()
    frames = load_frames(engine, Window(pool_ids=("b",), forecast_method="foreign"))
    assert frames.pool_daily["pool_id"].unique().tolist() == ["b"]
    assert frames.forecasts is None


def test_unpriced_tokens_are_named(engine: Engine) -> None:
    frames = replace(market_frames(), prices_daily=None, gas_daily=None, lend_borrow_daily=None)
    store(engine, frames)
    panel = load_panel(engine)
    assert panel.provenance.assumptions == (
        "No price is known for: DAI, USDC; pools with them cannot be used.",
    )
    assert panel.as_of(DAY).prices_usd == {}
    assert np.isnan(panel.as_of(DAY).gas.eth_usd).all()


def test_a_market_that_is_not_there_is_an_error(engine: Engine) -> None:
    with pytest.raises(MissingDataError, match="no pool has a row from the start to now"):
        load_panel(engine)
    store(engine, market_frames())
    with pytest.raises(MissingDataError, match="known by 2026-01-02T02"):
        load_panel(engine, Window(known_by=later(-1)))
    with pytest.raises(MissingDataError, match="pool 'c' is not in the store"):
        load_panel(engine, Window(pool_ids=("a", "c")))


def test_a_table_that_breaks_its_contract_is_refused(engine: Engine) -> None:
    with (
        pytest.raises(ContractError, match=r"'tvl_usd' holds -1\.0: below 0"),
        writing(engine, TESTER, at=NOW) as batch,
    ):
        write_market(batch, MarketFrames(pools_frame("a"), daily_frame(("a", DAY, 5.0, -1.0))))
    with pytest.raises(MissingDataError):
        load_panel(engine)


def test_low_rates_are_taken_once_confirmed(engine: Engine) -> None:
    with writing(engine, TESTER, at=NOW) as batch:
        write_market_table(batch, "pools", pools_frame("a"))
        write_market_table(
            batch, "pool_daily", daily_frame(("a", DAY, 0.1, 1.0)), confirm_percent=True
        )
    assert load_panel(engine).as_of(DAY).pool_series.apy_pct.tolist() == [[0.1]]
