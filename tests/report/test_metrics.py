from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from stableyield.errors import ContractError, ParameterError
from stableyield.report import MetricOptions, compute_metrics, render_report
from stableyield.report.books import read_flags
from stableyield.report.definitions import DEFINITIONS


def with_column(result, **columns):
    return replace(result, daily_log=result.daily_log.assign(**columns))


def benchmark_like(result, policy, growth):
    """A benchmark row set that grows by the given factor each day."""
    days = result.daily_log["exec_date"]
    curve = 1e6 * growth ** np.arange(len(days) + 1)
    return pd.DataFrame(
        {
            "policy": policy,
            "exec_date": days,
            "aum_start": curve[:-1],
            "aum_end": curve[1:],
            "gas_usd": 0.0,
            "conversion_usd": 0.0,
            "turnover_usd": 0.0,
        }
    )


def plus_benchmark(result, policy, growth):
    rows = [result.benchmarks, benchmark_like(result, policy, growth)]
    return replace(result, benchmarks=pd.concat(rows, ignore_index=True))


def test_metrics_are_strict_json_and_the_same_twice(result):
    first = json.dumps(compute_metrics(result), allow_nan=False)
    assert first == json.dumps(compute_metrics(result), allow_nan=False)


def test_days_may_be_text_dates_or_timestamps(result):
    def dated(frame):
        return frame.assign(exec_date=pd.to_datetime(frame["exec_date"]).astype("datetime64[us]"))

    stamped = replace(
        result,
        daily_log=dated(result.daily_log),
        positions=dated(result.positions),
        benchmarks=dated(result.benchmarks),
    )
    assert compute_metrics(stamped) == compute_metrics(result)


def test_every_defined_metric_exists_for_the_strategy_and_each_benchmark(result):
    metrics = compute_metrics(result)
    for policy in (metrics["strategy"], *metrics["benchmarks"].values()):
        assert {item.key for item in DEFINITIONS} <= set(policy)


def test_a_metric_without_a_value_has_a_reason(result):
    metrics = compute_metrics(result)
    assert metrics["benchmarks"]["idle"]["sharpe"] is None
    assert metrics["undefined"]["benchmarks.idle.sharpe"].startswith("no volatility")


def test_net_apy_is_the_growth_of_the_book_over_365_days(result):
    metrics, log = compute_metrics(result), result.daily_log
    factor = log["aum_end"].iloc[-1] / log["aum_start"].iloc[0]
    assert metrics["strategy"]["net_apy_pct"] == pytest.approx(100 * (factor ** (365 / 90) - 1))
    assert metrics["strategy"]["gross_apy_pct"] > metrics["strategy"]["net_apy_pct"]


def test_the_parts_of_the_profit_add_up_to_the_change_of_the_book(result):
    metrics = compute_metrics(result)
    assert metrics["pnl"]["net_usd"] == pytest.approx(metrics["strategy"]["profit_usd"], abs=0.01)
    assert metrics["costs"]["total_usd"] == pytest.approx(result.daily_log["total_fees_usd"].sum())


def test_the_excess_over_a_benchmark_is_in_points_and_in_dollars(result):
    metrics = compute_metrics(result)
    own, equal = metrics["strategy"], metrics["benchmarks"]["equal_weight"]
    excess = metrics["excess"]["equal_weight"]
    assert excess["net_apy_points"] == pytest.approx(own["net_apy_pct"] - equal["net_apy_pct"])
    assert excess["profit_usd"] == pytest.approx(own["aum_end_usd"] - equal["aum_end_usd"])


def test_months_follow_the_day_on_which_the_money_was_earned(result):
    months = compute_metrics(result)["monthly"]
    assert [(row["month"], row["n_days"]) for row in months] == [
        ("2025-03", 28),
        ("2025-04", 30),
        ("2025-05", 31),
        ("2025-06", 1),
    ]
    assert math.fsum(row["profit_usd"] for row in months) == pytest.approx(
        compute_metrics(result)["strategy"]["profit_usd"], abs=0.01
    )


def test_a_month_of_a_few_days_is_not_scaled_to_a_year(result):
    june = compute_metrics(result)["monthly"][-1]
    assert june["net_apy_pct"] == dict.fromkeys(june["net_apy_pct"])
    assert june["return_pct"] != 0.0


def test_exposure_counts_the_wallet_as_not_invested(result):
    exposure = compute_metrics(result)["exposure"]
    assert exposure["invested_pct"] == pytest.approx(98.0, abs=0.2)
    assert 1.0 / 6.0 < exposure["hhi"] < 0.25
    assert exposure["effective_pools"] == pytest.approx(1.0 / exposure["hhi"])


def test_forecasts_are_judged_on_days_on_which_both_sides_are_known(result):
    forecast = result.daily_log["daily_forecast_pnl"].to_numpy(copy=True)
    forecast[:10] = np.nan
    judged = compute_metrics(with_column(result, daily_forecast_pnl=forecast))["forecast"]
    assert judged["n_days"] == 80
    assert judged["forecast_usd"] == pytest.approx(forecast[10:].sum())
    log = result.daily_log[10:]
    came = (log["daily_actual_pnl"] - log["price_usd"]).sum()
    assert judged["actual_usd"] == pytest.approx(log["daily_actual_pnl"].sum())
    assert judged["actual_before_prices_usd"] == pytest.approx(came)
    assert judged["realised_pct"] == pytest.approx(100.0 * came / judged["forecast_usd"])
    assert judged["error_usd"] < 0.0


def test_a_run_without_any_forecast_says_so(result):
    metrics = compute_metrics(with_column(result, daily_forecast_pnl=np.nan))
    assert metrics["forecast"]["forecast_usd"] is None
    assert "no day" in metrics["undefined"]["forecast.forecast_usd"]


def test_captured_is_the_share_of_the_clairvoyants_lead(result):
    metrics = compute_metrics(plus_benchmark(result, "clairvoyant", 1.0 + 2.2e-4))
    lead = metrics["benchmarks"]["clairvoyant"]["aum_end_usd"]
    equal = metrics["benchmarks"]["equal_weight"]["aum_end_usd"]
    own = metrics["strategy"]["aum_end_usd"]
    assert metrics["captured_pct"] == pytest.approx(100.0 * (own - equal) / (lead - equal))


def test_captured_is_undefined_when_foresight_did_not_help(result):
    metrics = compute_metrics(plus_benchmark(result, "clairvoyant", 1.0))
    assert metrics["captured_pct"] is None
    assert "not ahead" in metrics["undefined"]["captured_pct"]


def test_without_benchmarks_only_the_comparisons_are_missing(result):
    metrics = compute_metrics(replace(result, benchmarks=result.benchmarks.iloc[:0]))
    assert metrics["benchmarks"] == {}
    assert metrics["break_even_cost_multiple"] is None
    assert metrics["strategy"]["net_apy_pct"] is not None


def test_the_drawdown_is_dated_from_its_high_to_its_recovery(result):
    log = result.daily_log.copy()
    n, start = len(log), 1e6
    growth = np.full(n, 1.0 + 1e-4)
    growth[9], growth[10] = 0.99, 1.005
    curve = start * np.concatenate(([1.0], np.cumprod(growth)))
    log = log.assign(aum_start=curve[:-1], aum_end=curve[1:], gas_usd=0.0, conversion_usd=0.0)
    metrics = compute_metrics(replace(result, daily_log=log))
    assert metrics["strategy"]["max_drawdown_pct"] == pytest.approx(-1.0)
    assert metrics["drawdown"]["peak"] == "2025-03-12"
    assert metrics["drawdown"]["trough"] == "2025-03-13"
    assert metrics["drawdown"]["recovered"] > "2025-04-01"


def test_a_short_run_a_huge_sharpe_and_no_drawdown_are_warned_of(make_result):
    short = make_result(20, price_noise=0.0)
    log = short.daily_log
    curve = 1e6 * (1.0 + 1e-4 + 1e-6 * np.cos(np.arange(20))).cumprod()
    start = np.concatenate(([1e6], curve[:-1]))
    warnings = " ".join(
        compute_metrics(replace(short, daily_log=log.assign(aum_start=start, aum_end=curve)))[
            "warnings"
        ]
    )
    assert "Only 20 days" in warnings
    assert "Sharpe" in warnings
    assert "drawdown is exactly 0" in warnings


def test_a_long_run_with_losses_is_not_warned_of_its_drawdown(result):
    warnings = " ".join(compute_metrics(result)["warnings"])
    assert "Only" not in warnings
    assert "drawdown" not in warnings
    assert "1 of 90 days did not follow a fresh plan" in warnings


def test_days_that_do_not_carry_over_are_warned_of(result):
    growth = (result.daily_log["aum_end"] / result.daily_log["aum_start"]).to_numpy()
    independent = with_column(result, aum_start=1e6, aum_end=1e6 * growth)
    metrics = compute_metrics(independent)
    assert not metrics["carries_over"]
    assert any("do not carry over" in warning for warning in metrics["warnings"])
    assert metrics["strategy"]["net_apy_pct"] == pytest.approx(
        compute_metrics(result)["strategy"]["net_apy_pct"]
    )


def test_price_moves_larger_than_the_yield_are_warned_of(result):
    metrics = compute_metrics(with_column(result, price_usd=-400.0))
    assert any("prices moved the result" in warning for warning in metrics["warnings"])


def test_idle_money_is_warned_of(result):
    bare = result.positions["pool_id"] == "warm_wallet"
    usd = result.positions["amount_usd"].where(~bare, 1e6)
    metrics = compute_metrics(replace(result, positions=result.positions.assign(amount_usd=usd)))
    assert any("of AUM lay idle" in warning for warning in metrics["warnings"])
    assert not any("idle" in warning for warning in compute_metrics(result)["warnings"])


def test_the_stated_rate_and_the_bootstrap_are_recorded(result):
    options = MetricOptions(risk_free_apy=0.04, block_days=7, draws=200, seed=9)
    metrics = compute_metrics(result, options)
    assert metrics["options"] == {
        "risk_free_apy": 0.04,
        "block_days": 7,
        "draws": 200,
        "seed": 9,
        "n_trials": 1,
        "trials_deviation": None,
    }
    assert metrics["strategy"]["sharpe"] < compute_metrics(result)["strategy"]["sharpe"]


def test_the_owners_money_is_in_no_growth_and_no_profit(result):
    """Half of the AUM comes on day 30 and goes on day 60: everything else stays what it was."""
    log, days = result.daily_log, np.arange(90)
    growth = (log["aum_end"] / log["aum_start"]).to_numpy()
    factor = np.where((days >= 30) & (days < 60), 1.5, 1.0)
    start = log["aum_start"].to_numpy() * factor
    before = np.concatenate((start[:1], (start * growth)[:-1]))
    flowing = with_column(
        result, aum_start=start, aum_end=start * growth, flow_usd=np.round(start - before, 9)
    )
    metrics, still = compute_metrics(flowing), compute_metrics(result)
    own, expected = metrics["strategy"], still["strategy"]
    for key in ("net_apy_pct", "sharpe", "max_drawdown_pct", "hit_rate_pct", "net_apy_low_pct"):
        assert own[key] == pytest.approx(expected[key]), key
    assert metrics["carries_over"]
    assert own["brought_usd"] == pytest.approx(0.5 * log["aum_start"].iloc[30])
    assert own["taken_usd"] == pytest.approx(log["aum_start"].iloc[60] / 2, rel=1e-3)
    assert own["profit_usd"] == pytest.approx(
        own["aum_end_usd"] - own["aum_start_usd"] - own["brought_usd"] + own["taken_usd"]
    )
    assert metrics["monthly"][0]["return_pct"] == pytest.approx(still["monthly"][0]["return_pct"])
    assert any("The owner brought 50" in text for text in metrics["warnings"])
    assert not any("owner" in text for text in still["warnings"])


def test_a_log_without_flows_and_one_with_none_are_the_same(result):
    assert compute_metrics(with_column(result, flow_usd=0.0)) == compute_metrics(result)


def test_months_without_money_have_no_apy(result):
    """Everything is taken out in the second week of May and nothing comes back."""
    log, n = result.daily_log, 70
    columns = {name: log[name].to_numpy(copy=True) for name in ("aum_start", "aum_end")}
    for name in ("aum_start", "aum_end", "gas_usd", "conversion_usd"):
        columns[name] = np.where(np.arange(90) < n, log[name], 0.0)
    flows = np.where(np.arange(90) == n, -log["aum_end"].iloc[n - 1], 0.0)
    metrics = compute_metrics(with_column(result, **columns, flow_usd=flows))
    assert metrics["monthly"][-1]["net_apy_pct"]["strategy"] is None
    growth = log["aum_end"].iloc[n - 1] / log["aum_start"].iloc[0]
    assert metrics["strategy"]["net_apy_pct"] == pytest.approx(100 * (growth ** (365 / n) - 1))
    assert metrics["strategy"]["aum_end_usd"] == 0.0


def test_regimes_tell_days_apart_by_equal_weight_and_measure_every_policy(result):
    metrics = compute_metrics(result)
    rows = {row["regime"]: row for row in metrics["regimes"]}
    assert list(rows) == ["calm", "volatile", "low_yield", "high_yield"]
    assert rows["calm"]["n_days"] + rows["volatile"]["n_days"] == 90 - 13
    assert set(rows["calm"]["net_apy_pct"]) == {"strategy", *metrics["benchmarks"]}


def test_without_equal_weight_the_regimes_are_undefined_with_a_reason(result):
    others = result.benchmarks[result.benchmarks["policy"] != "equal_weight"]
    metrics = compute_metrics(replace(result, benchmarks=others))
    assert metrics["regimes"] is None
    assert "equal weight" in metrics["undefined"]["regimes"]


def test_the_number_of_trials_deflates_the_sharpe_ratio_and_warns(make_result):
    noisy = make_result(90, price_noise=0.008)
    one = compute_metrics(noisy)["strategy"]
    assert one["sharpe"] > 0.0
    many = compute_metrics(noisy, MetricOptions(n_trials=500))
    assert many["strategy"]["deflated_sharpe_pct"] < one["deflated_sharpe_pct"]
    assert any("the best of 500 that were tried" in text for text in many["warnings"])


def test_a_missing_day_is_refused_by_its_date(result):
    holed = replace(result, daily_log=result.daily_log.drop(index=4))
    with pytest.raises(ContractError, match="the day after 2025-03-06 is missing"):
        compute_metrics(holed)


def test_a_benchmark_over_other_days_is_refused_by_its_name(result):
    with pytest.raises(ContractError, match="policy best_single"):
        compute_metrics(replace(result, benchmarks=result.benchmarks.iloc[1:]))


def test_a_day_without_a_position_row_is_refused(result):
    later = result.positions[result.positions["exec_date"] > "2025-03-03"]
    with pytest.raises(ContractError, match="no position on 2025-03-03"):
        compute_metrics(replace(result, positions=later))


def test_a_missing_column_is_refused_by_table_and_name(result):
    with pytest.raises(ContractError, match="daily_log: column gas_usd is missing"):
        compute_metrics(replace(result, daily_log=result.daily_log.drop(columns="gas_usd")))


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ('["a", "b"]', ["a", "b"]),
        ("[]", []),
        ("", []),
        (None, []),
        ("not json", ["not json"]),
        ('{"a": 1}', ["{'a': 1}"]),
    ],
)
def test_flags_are_read_from_their_text(text, flags):
    assert read_flags(text) == flags


# --- options, unknown amounts, days that do not carry over ---


@pytest.mark.parametrize(
    "change",
    [
        {"block_days": 0},
        {"draws": 0},
        {"seed": -1},
        {"n_trials": 0},
        {"risk_free_apy": -1.0},
        {"risk_free_apy": math.nan},
        {"risk_free_apy": math.inf},
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(change):
    (name, value), *_ = change.items()
    with pytest.raises(ParameterError, match=f"{name} is {value}"):
        MetricOptions(**change)


def test_the_least_options_make_sense(result):
    options = MetricOptions(risk_free_apy=-0.5, block_days=1, draws=1, seed=0, n_trials=1)
    own = compute_metrics(result, options)["strategy"]
    assert own["net_apy_low_pct"] == own["net_apy_high_pct"]


def test_where_the_apy_has_no_meaning_its_interval_has_none_either(result):
    days = len(result.daily_log)
    curve = 1e6 * 2.0 ** np.arange(days + 1)
    metrics = compute_metrics(with_column(result, aum_start=curve[:-1], aum_end=curve[1:]))
    for name in ("net_apy_pct", "net_apy_low_pct", "net_apy_high_pct"):
        assert metrics["strategy"][name] is None
        assert "no meaningful APY" in metrics["undefined"][f"strategy.{name}"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("column", ["yield_usd", "price_usd"])
def test_an_unknown_amount_of_the_log_is_refused_with_its_day(result, column, value):
    amounts = result.daily_log[column].to_numpy(dtype=float).copy()
    amounts[7] = value
    with pytest.raises(ContractError, match=f"{column} is {value}") as caught:
        compute_metrics(with_column(result, **{column: amounts}))
    assert (
        caught.value.where == f"daily_log, row 7, day {str(result.daily_log['exec_date'][7])[:10]}"
    )


def test_an_unknown_position_is_refused_with_its_day_and_pool(result):
    usd = result.positions["amount_usd"].to_numpy(dtype=float).copy()
    usd[25] = math.nan
    row = result.positions.iloc[25]
    with pytest.raises(ContractError, match="amount_usd is nan") as caught:
        compute_metrics(replace(result, positions=result.positions.assign(amount_usd=usd)))
    day = str(row["exec_date"])[:10]
    assert caught.value.where == f"positions, row 25, day {day}, pool {row['pool_id']}"


def test_where_days_carry_over_months_and_parts_add_up_to_the_profit(result):
    metrics = compute_metrics(result)
    profit_usd = pytest.approx(metrics["strategy"]["profit_usd"], abs=0.01)
    assert metrics["pnl"]["net_usd"] == profit_usd
    assert math.fsum(month["profit_usd"] for month in metrics["monthly"]) == profit_usd


def test_where_days_do_not_carry_over_they_are_sums_of_days_and_the_page_says_so(result):
    log = result.daily_log
    start = np.full(len(log), 1e6)
    change = (log["aum_end"] - log["aum_start"]).to_numpy(dtype=float)
    alone = with_column(result, aum_start=start, aum_end=start + change)
    metrics = compute_metrics(alone)
    months_usd = math.fsum(month["profit_usd"] for month in metrics["monthly"])
    assert metrics["pnl"]["net_usd"] == pytest.approx(months_usd, abs=0.01)
    assert abs(metrics["strategy"]["profit_usd"] - months_usd) > 1.0
    said = "the sum of days that each began with their own AUM"
    assert said in render_report(alone, metrics)
    assert said not in render_report(result, compute_metrics(result))
