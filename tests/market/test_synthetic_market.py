from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from stableyield.errors import ParameterError
from stableyield.market.assemble import panel_of
from stableyield.market.synthetic import (
    PriceModel,
    RateModel,
    RewardModel,
    SizeModel,
    SyntheticSettings,
    UniverseModel,
    simulate_market,
)

SETTINGS = SyntheticSettings(seed=7, n_days=200, n_pools=120)
TABLES = ("pools", "pool_daily", "prices_daily", "gas_daily")


@pytest.fixture(scope="module")
def market():
    return simulate_market(SETTINGS)


@pytest.fixture(scope="module")
def wide(market):
    """Columns of pool_daily as (day, pool) tables."""
    names = [name for name in market.pool_daily if name not in ("pool_id", "date")]
    return market.pool_daily.set_index(["date", "pool_id"])[names].unstack()  # noqa: PD010


def test_the_same_settings_give_identical_frames(market):
    again = simulate_market(replace(SETTINGS))
    for table in TABLES:
        pd.testing.assert_frame_equal(getattr(market, table), getattr(again, table))


def test_another_seed_changes_every_table(market):
    other = simulate_market(replace(SETTINGS, seed=8))
    for table in TABLES:
        assert not getattr(market, table).equals(getattr(other, table))


@pytest.mark.parametrize("n_days", [1, 45, 120])
def test_a_longer_market_begins_with_the_shorter_one(market, n_days):
    short = simulate_market(replace(SETTINGS, n_days=n_days))
    last_day = short.gas_daily["date"].max()
    for table in ("pool_daily", "prices_daily", "gas_daily"):
        full = getattr(market, table)
        past = full[full["date"] <= last_day].reset_index(drop=True)
        pd.testing.assert_frame_equal(getattr(short, table), past)


def test_the_pools_table_knows_nothing_of_later_days(market):
    short = simulate_market(replace(SETTINGS, n_days=60))
    last_day = short.gas_daily["date"].max()
    assert (short.pools["listed_from"] <= last_day).all()
    assert (short.pools["listed_until"].dropna() < last_day).all()
    later = market.pools.set_index("pool_id").loc[short.pools["pool_id"]].reset_index()
    fixed = ["pool_id", "symbol", "chain", "protocol", "tokens", "token_shares", "listed_from"]
    pd.testing.assert_frame_equal(short.pools[fixed], later[fixed])
    assert later["listed_until"].notna().sum() > short.pools["listed_until"].notna().sum()


def test_a_larger_market_contains_the_smaller_one(market):
    small = simulate_market(replace(SETTINGS, n_pools=30))
    members = market.pool_daily["pool_id"].isin(small.pools["pool_id"])
    pd.testing.assert_frame_equal(
        small.pool_daily, market.pool_daily[members].reset_index(drop=True)
    )
    pd.testing.assert_frame_equal(small.prices_daily, market.prices_daily)
    pd.testing.assert_frame_equal(small.gas_daily, market.gas_daily)


def test_a_change_of_one_component_leaves_the_others_alone(market):
    other = simulate_market(replace(SETTINGS, prices=PriceModel(depeg_hazard=0.05, eth_log_sd=0.1)))
    pd.testing.assert_frame_equal(market.pool_daily, other.pool_daily)
    pd.testing.assert_series_equal(market.gas_daily["gas_gwei"], other.gas_daily["gas_gwei"])
    assert not market.prices_daily.equals(other.prices_daily)


def test_the_frames_keep_the_contracts_of_a_market(market):
    panel = panel_of(market)
    assert panel.first_day == SETTINGS.first_day
    assert panel.provenance.assumptions[0].startswith("synthetic market, seed 7")
    view = panel.as_of(date(2024, 3, 1))
    listed = market.pools["listed_from"] <= pd.Timestamp(2024, 3, 1)
    assert set(view.pool_ids) == set(market.pools.loc[listed, "pool_id"])


@pytest.mark.parametrize("seed", range(5))
def test_the_smallest_market_is_a_market(seed):
    frames = simulate_market(SyntheticSettings(seed=seed, n_days=1, n_pools=1))
    view = panel_of(frames).as_of(date(2024, 1, 1))
    assert len(view.pools) == 1
    assert np.isfinite(view.pool_series.apy_pct).all()


def test_pools_have_one_two_or_three_tokens_in_the_stated_shares():
    pools = simulate_market(SyntheticSettings(n_days=1, n_pools=1500)).pools
    n_tokens = pools["tokens"].map(lambda text: len(json.loads(text)))
    share = n_tokens.value_counts(normalize=True)
    assert share[1] == pytest.approx(0.70, abs=0.05)
    assert share[2] == pytest.approx(0.22, abs=0.05)
    assert share[3] == pytest.approx(0.08, abs=0.03)
    assert ((pools["kind"] == "amm") == (n_tokens > 1)).all()


def test_popular_tokens_are_in_more_pools():
    pools = simulate_market(SyntheticSettings(n_days=1, n_pools=1500)).pools
    count = pools["tokens"].map(json.loads).explode().value_counts()
    assert list(count.index[:3]) == ["USDC", "USDT", "DAI"]
    assert count["USDC"] > 3 * count["GHO"] > 0


def test_rows_exist_only_while_a_pool_is_listed(market):
    rows = market.pool_daily.merge(market.pools, on="pool_id")
    assert (rows["date"] >= rows["listed_from"]).all()
    assert ((rows["date"] <= rows["listed_until"]) | rows["listed_until"].isna()).all()
    assert market.pools["listed_until"].notna().sum() >= 3
    assert (market.pools["listed_from"] > pd.Timestamp(SETTINGS.first_day)).sum() >= 10
    assert (market.pools["is_active"] == market.pools["listed_until"].isna()).all()


def test_a_few_days_are_missing_and_never_the_first(market):
    days = market.pool_daily.groupby("pool_id")["date"].agg(["min", "max", "count"])
    span = (days["max"] - days["min"]).dt.days + 1
    missing = 1.0 - days["count"].sum() / span.sum()
    assert 0.003 < missing < 0.02
    first = market.pools.set_index("pool_id")["listed_from"]
    assert (days["min"] == first.loc[days.index]).all()


def test_the_apy_is_base_plus_reward_and_never_negative(market):
    rows = market.pool_daily
    both = rows["apy_base_pct"] + rows["apy_reward_pct"]
    np.testing.assert_allclose(rows["apy_pct"], both, rtol=0, atol=1e-12)
    assert (rows[["apy_base_pct", "apy_reward_pct"]] >= 0.0).all(axis=None)
    assert (rows["apy_pct"] <= 2 * RateModel().apy_max_pct).all()


def test_some_pools_pay_nothing_and_some_rows_repeat(market, wide):
    apy = wide["apy_pct"]
    assert 0.01 < (apy == 0.0).sum().sum() / apy.notna().sum().sum() < 0.2
    paying = apy.where(apy > 1.0)
    repeated = (paying.diff() == 0.0).sum().sum() / paying.diff().notna().sum().sum()
    assert repeated == pytest.approx(RateModel().stale_share, abs=0.004)


def test_reward_programmes_start_and_end_on_a_date(wide):
    reward = wide["apy_reward_pct"]
    paying = (reward > 0.0).where(reward.notna())
    starts = ((paying == 1.0) & (paying.shift() == 0.0)).sum().sum()
    ends = ((paying == 0.0) & (paying.shift() == 1.0)).sum().sum()
    assert starts >= 20
    assert ends >= 20
    # an end is a step to zero, not a fade
    last = reward.shift()[(reward == 0.0) & (reward.shift() > 0.0)].stack().dropna()  # noqa: PD013
    assert last.median() > 0.5


def test_a_market_without_programmes_has_no_rewards():
    frames = simulate_market(replace(SETTINGS, n_pools=20, rewards=RewardModel(start_hazard=0.0)))
    assert (frames.pool_daily["apy_reward_pct"] == 0.0).all()


def test_the_realised_return_follows_the_apy_of_the_day(market):
    rows = market.pool_daily
    # stale rows and losses apart, one day's return is the day's share of the APY, to the noise
    quoted = (1.0 + rows["apy_pct"] / 100.0) ** (1.0 / 365.0) - 1.0
    paying = rows["apy_pct"] > 1.0
    ratio = rows.loc[paying, "return_1d"] / quoted[paying]
    assert ratio.median() == pytest.approx(1.0, abs=0.005)
    assert ratio.quantile(0.01) > 0.7
    assert ratio.quantile(0.99) < 1.4
    assert ratio.std() > 0.0


def test_losses_hit_vaults_only_and_drive_depositors_out():
    sizes = SizeModel(loss_hazard=0.002, noise=0.0001, burst_log_sd=0.0)
    frames = simulate_market(replace(SETTINGS, sizes=sizes))
    rows = frames.pool_daily.merge(frames.pools[["pool_id", "kind"]], on="pool_id")
    lost = rows[rows["return_1d"] < -0.001]
    assert len(lost) >= 5
    assert set(lost["kind"]) == {"vault"}
    assert 0.005 < -lost["return_1d"].mean() < 0.05
    later = rows.groupby("pool_id")["tvl_usd"].shift(-5)
    assert (later[lost.index] / lost["tvl_usd"]).median() < 0.9
    calm = simulate_market(replace(SETTINGS, sizes=replace(sizes, loss_hazard=0.0)))
    assert (calm.pool_daily["return_1d"] >= 0.0).all()


def test_money_flows_to_pools_that_paid_more_with_a_lag():
    quiet = SizeModel(noise=0.001, burst_log_sd=0.0, pull=0.0)
    frames = simulate_market(replace(SETTINGS, sizes=quiet, rewards=RewardModel(start_hazard=0.0)))
    rows = frames.pool_daily
    apy = rows.pivot_table(index="date", columns="pool_id", values="apy_pct")
    tvl = rows.pivot_table(index="date", columns="pool_id", values="tvl_usd")
    growth = np.log(tvl.iloc[-1] / tvl.iloc[0])
    high, low = apy.mean() > 9.0, apy.mean() < 3.0
    assert growth[high].mean() > 0.0 > growth[low].mean()


def test_tvl_is_cash_in_a_lending_pool_and_deposits_elsewhere(market):
    rows = market.pool_daily.merge(market.pools[["pool_id", "kind"]], on="pool_id")
    lending = rows["kind"] == "lending"
    assert (rows["available_usd"] == rows["tvl_usd"]).all()
    assert (rows.loc[~lending, "deposits_usd"] == rows.loc[~lending, "tvl_usd"]).all()
    used = 1.0 - rows.loc[lending, "tvl_usd"] / rows.loc[lending, "deposits_usd"]
    assert used.between(0.0, 0.98 + 1e-3).all()
    assert 0.6 < used.median() < 0.95


def test_prices_stay_within_basis_points_of_the_peg_without_depegs():
    frames = simulate_market(replace(SETTINGS, n_pools=1, prices=PriceModel(depeg_hazard=0.0)))
    prices = frames.prices_daily
    assert (prices[["open_usd", "close_usd"]] - 1.0).abs().max(axis=None) < 0.005
    by_token = (prices["close_usd"] - 1.0).abs().groupby(prices["token"]).median()
    assert by_token["USDC"] < 0.0005
    assert by_token["USDC"] < by_token["GHO"]
    assert (prices["peg_usd"] == 1.0).all()


def test_candles_contain_their_open_and_close(market):
    prices = market.prices_daily
    assert (prices["low_usd"] <= prices[["open_usd", "close_usd"]].min(axis=1)).all()
    assert (prices["high_usd"] >= prices[["open_usd", "close_usd"]].max(axis=1)).all()
    before = prices.groupby("token")["close_usd"].shift()
    assert (prices["open_usd"] == before)[before.notna()].all()


def test_depegs_are_deep_and_recover_over_days():
    prices = simulate_market(
        replace(SETTINGS, n_pools=1, n_days=2000, prices=PriceModel(depeg_hazard=0.005))
    ).prices_daily
    close = prices.pivot_table(index="date", columns="token", values="close_usd")
    gap = 1.0 - close
    begins = (gap > 0.01) & (gap.shift() < 0.004)
    assert begins.sum().sum() >= 30
    assert 0.08 < gap.max(axis=None) < 0.13
    after_ten_days = gap.shift(-10)[begins].stack().dropna()  # noqa: PD013
    assert (after_ten_days < 0.01).mean() > 0.8
    next_day = gap.shift(-1)[begins].stack().dropna()  # noqa: PD013
    assert (next_day > 0.002).mean() > 0.9


def test_market_caps_fall_with_popularity(market):
    caps = market.prices_daily.groupby("token")["market_cap_usd"].mean()
    assert caps["USDC"] > 5e10
    assert caps["GHO"] < 1e9  # so that the smallest capitalisation of a token is a limit that bites


def test_gas_stays_in_its_bounds_and_moves_between_regimes():
    gas = simulate_market(SyntheticSettings(n_days=2000, n_pools=1)).gas_daily
    assert gas["gas_gwei"].between(1.0, 60.0).all()
    assert gas["gas_gwei"].quantile(0.05) < 4.0
    assert gas["gas_gwei"].quantile(0.95) > 20.0
    log_gas = np.log(gas["gas_gwei"])
    assert log_gas.autocorr(1) > 0.9
    returns = np.log(gas["eth_usd"]).diff()
    assert returns.std() == pytest.approx(PriceModel().eth_log_sd, rel=0.1)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"seed": -1}, "seed"),
        ({"n_days": 0}, "n_days"),
        ({"n_pools": 0}, "n_pools"),
        ({"tokens": ("USDC", "USDT")}, "tokens"),
        ({"tokens": ("USDC", "USDT", "USDC")}, "tokens"),
        ({"rates": RateModel(persistence=1.5)}, "rates.persistence"),
        ({"rates": RateModel(idle_days=0.5)}, "rates.idle_days"),
        ({"sizes": SizeModel(noise=float("nan"))}, "sizes.noise"),
        ({"prices": PriceModel(depeg_min=-0.1)}, "prices.depeg_min"),
        ({"prices": PriceModel(depeg_min=0.2)}, "prices.depeg_min"),
        ({"prices": PriceModel(depeg_max=1.0)}, "prices.depeg_max"),
        ({"prices": PriceModel(gas_min_gwei=0.0)}, "prices.gas_min_gwei"),
        ({"universe": UniverseModel(pair_share=0.7, triple_share=0.4)}, "pair_share"),
    ],
)
def test_a_setting_out_of_bounds_is_named(changes, name):
    with pytest.raises(ParameterError, match=name):
        SyntheticSettings(**changes)
