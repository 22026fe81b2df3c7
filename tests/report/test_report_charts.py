from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stableyield.report import compute_metrics
from stableyield.report.chart import spread, usd_ticks
from stableyield.report.figures import TOP_POOLS, allocation_chart, build_charts
from stableyield.report.holdings import Shares, pool_labels
from stableyield.report.theme import in_reading_order, policy_style


@pytest.fixture(scope="module")
def charts(result):
    return build_charts(result, compute_metrics(result))


def names(chart):
    return [trace.name for trace in chart.figure.data]


def test_all_figures_are_there_with_a_title_and_an_explanation(charts):
    assert list(charts) == [
        *("equity", "drawdown", "allocation", "tokens", "costs", "monthly", "forecast")
    ]
    assert all(chart.title and chart.caption for chart in charts.values())


def test_a_policy_has_one_colour_in_every_figure(charts):
    found = {}
    for name in ("equity", "drawdown", "costs"):
        for trace in charts[name].figure.data:
            if trace.stackgroup is None:
                found.setdefault(trace.name, set()).add(trace.line.color)
    for trace in charts["monthly"].figure.data:
        found[trace.name].add(trace.marker.color)
    assert {name: len(colours) for name, colours in found.items()} == dict.fromkeys(found, 1)
    assert found["Strategy"] == {policy_style("strategy").colour}


def test_the_legend_switches_the_trace_that_it_names(charts):
    for chart in charts.values():
        for entry in chart.legend:
            assert [names(chart)[i] for i in entry.traces] == [entry.label]


def test_the_strategy_is_drawn_last_and_read_first(charts):
    assert names(charts["equity"])[-1] == "Strategy"
    assert charts["equity"].legend[0].label == "Strategy"


def test_drawdowns_are_drawn_in_negative_percent(charts):
    for trace in charts["drawdown"].figure.data:
        assert max(trace.y) == 0.0
        assert min(trace.y) <= 0.0
    assert charts["drawdown"].figure.layout.yaxis.ticksuffix == " %"


def test_end_labels_carry_the_net_apy_and_do_not_overlap(charts):
    labels = charts["equity"].figure.layout.annotations
    low, high = charts["equity"].figure.layout.yaxis.range
    places = sorted(label.y for label in labels)
    assert len(labels) == 4
    assert min(np.diff(places)) >= (high - low) * 16 / charts["equity"].height
    assert "%" in labels[0].text


def test_allocation_adds_up_to_the_whole_book_on_every_day(charts):
    for name in ("allocation", "tokens"):
        total = np.sum([trace.y for trace in charts[name].figure.data], axis=0)
        np.testing.assert_allclose(total, 100.0)


def test_pools_beyond_the_largest_are_drawn_together():
    n = TOP_POOLS + 3
    keys = tuple(f"p{i:02}" for i in range(n))
    days = np.array(["2025-01-01", "2025-01-02"], dtype="datetime64[D]")
    shares = Shares(days, (*keys, "warm_wallet"), np.full((2, n + 1), 1.0 / (n + 1)))
    labels = {**{key: key for key in keys}, "warm_wallet": "Wallet"}
    drawn = names(allocation_chart(shares, labels))
    assert drawn[-2:] == ["3 other pools", "Wallet"]
    assert len(drawn) == TOP_POOLS + 2


def test_pools_are_named_by_symbol_protocol_and_chain(result):
    assert pool_labels(result.positions)["pool-03"] == "USDC · morpho-blue · Base"


def test_pools_of_the_same_name_keep_apart_by_their_id(result):
    same = result.positions.assign(symbol="USDC", protocol="aave-v3", chain="Ethereum")
    labels = pool_labels(same)
    assert labels["pool-03"] == "USDC · aave-v3 · Ethereum · #pool-03"
    assert len(set(labels.values())) == len(labels)
    longer = same.assign(pool_id="0123456789-" + same["pool_id"])
    whole = pool_labels(longer)
    assert whole["0123456789-pool-03"] == "USDC · aave-v3 · Ethereum · #0123456789-pool-03"
    assert len(set(whole.values())) == len(whole)


def test_a_pool_without_a_name_is_called_by_its_id(result):
    bare = result.positions.assign(symbol=None, protocol=None, chain=None)
    assert pool_labels(bare)["pool-03"] == "pool-03"


def test_chart_data_cannot_leave_its_script_element(result):
    evil = result.positions.assign(symbol="</script><script>alert(1)</script>")
    hostile = type(result)(**{**vars(result), "positions": evil})
    for chart in build_charts(hostile, compute_metrics(hostile)).values():
        text = chart.to_json()
        assert "<" not in text
        assert set(json.loads(text)) == {"data", "layout", "narrow"}


def test_a_month_that_is_too_short_has_no_bar(charts):
    strategy = charts["monthly"].figure.data[0]
    assert strategy.y[-1] is None
    assert all(value is not None for value in strategy.y[:-1])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8), st.floats(0.1, 1e4))
def test_spread_labels_keep_their_order_and_their_distance(values, gap):
    places = spread(values, gap)
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(np.array(places)[order]) >= gap * (1 - 1e-6) - 1e-6)
    assert np.mean(places) == pytest.approx(np.mean(values), abs=1e-6 * (1e6 + gap))


def test_labels_that_do_not_touch_stay_where_they_are():
    assert spread([5.0, 1.0, 9.0], 2.0) == [5.0, 1.0, 9.0]


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0.0, 16_000.0, ["$0", "$2.5k", "$5.0k", "$7.5k", "$10.0k", "$12.5k", "$15.0k"]),
        (999_000.0, 1_017_000.0, ["$1.000M", "$1.005M", "$1.010M", "$1.015M"]),
        (0.0, 620.0, ["$0", "$100", "$200", "$300", "$400", "$500", "$600"]),
    ],
)
def test_dollar_ticks_are_round_and_of_one_precision(low, high, texts):
    assert usd_ticks(low, high)[1] == texts


@given(st.floats(-1e9, 1e9), st.floats(1.0, 1e9))
def test_dollar_ticks_lie_inside_and_say_what_they_are(low, span):
    places, texts = usd_ticks(low, low + span)
    assert 2 <= len(places) <= 9
    assert len(set(texts)) == len(places)


def test_unknown_policies_come_last_with_a_readable_name():
    assert in_reading_order(["my_own", "idle", "strategy"]) == ["strategy", "idle", "my_own"]
    assert policy_style("my_own").label == "My own"
    assert policy_style("my_own") == policy_style("my_own")
