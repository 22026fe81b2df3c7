from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stableyield.errors import DataQualityError
from stableyield.market.panel import GasSeries
from stableyield.screening import Finding, QualityReport, Severity, assess, critical_findings
from stableyield.screening.quality import _median

NAN = float("nan")
TEN = [f"p{i}" for i in range(10)]


def found(report, check) -> Finding:
    return next(finding for finding in report.findings if finding.check == check)


def checks(report) -> list[str]:
    return [finding.check for finding in report.findings]


def rows(value, *, columns, last=1, n_days=40, n_pools=10, usual=5.0):
    array = np.full((n_days, n_pools), usual)
    array[n_days - last :, columns] = value
    return array


def test_a_clean_day_scores_100(market, today):
    report = assess(today(market(TEN)), held=["p1"], forecast_apy_pct=np.full(10, 5.0))
    assert report.findings == ()
    assert report.score == 100.0
    assert report.age_days == {"pools": 0, "prices": 0, "gas": 0}
    report.raise_if_critical()


# --- freshness and universe -------------------------------------------------------------------


def test_pools_without_a_row_are_named_and_held_ones_apart(market, today):
    missing = rows(NAN, columns=[0, 1, 2])
    view = today(market(TEN, pool_arrays={"apy_pct": missing, "tvl_usd": missing * 1e6}))
    report = assess(view, held=["p1"])
    stale, held = found(report, "freshness"), found(report, "held_freshness")
    assert (stale.severity, stale.count, stale.examples) == (Severity.WARNING, 2, ("p0", "p2"))
    assert (held.count, held.checked, held.examples) == (1, 1, ("p1",))
    assert "frozen" in held.action


def test_pools_that_left_the_list_are_not_stale(market, today):
    missing = rows(NAN, columns=[0, 1], last=8)
    view = today(market(TEN, pool_arrays={"apy_pct": missing, "tvl_usd": missing}))
    assert checks(assess(view)) == []


def test_a_day_without_any_row_is_critical(market, today):
    missing = rows(NAN, columns=range(10))
    view = today(market(TEN, pool_arrays={"apy_pct": missing, "tvl_usd": missing}))
    report = assess(view)
    assert found(report, "freshness").severity is Severity.CRITICAL
    assert report.age_days["pools"] == 1
    with pytest.raises(DataQualityError, match=r"2024-02-09.*fetch the day's pool rows") as caught:
        report.raise_if_critical()
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(("n_missing", "is_rejected"), [(5, False), (6, True)])
def test_a_feed_below_half_of_yesterdays_is_rejected(market, today, n_missing, is_rejected):
    missing = rows(NAN, columns=range(n_missing))
    panel = market(TEN, pool_arrays={"apy_pct": missing, "tvl_usd": missing * 1e6})
    view, previous = today(panel), panel.as_of(panel.last_day - timedelta(days=1))
    for report in (assess(view), assess(view, previous=previous)):
        assert ("universe" in checks(report)) is is_rejected
        assert bool(report.critical) is is_rejected


def test_yesterdays_view_counts_as_it_was_then(market, today):
    """Rows of yesterday that were added later do not make today look small."""
    held_back = rows(NAN, columns=range(6))
    view = today(market(TEN, pool_arrays={"apy_pct": held_back, "tvl_usd": held_back}))
    thin = rows(NAN, columns=range(6), last=40)
    then = market(TEN, pool_arrays={"apy_pct": thin, "tvl_usd": thin})
    previous = then.as_of(then.last_day - timedelta(days=1))
    assert "universe" not in checks(assess(view, previous=previous))


def test_the_first_day_of_a_history_has_no_yesterday(market):
    panel = market(TEN)
    assert checks(assess(panel.as_of(panel.first_day))) == []


# --- gaps, duplicates, outliers -----------------------------------------------------------------


def test_gaps_are_counted_from_a_pools_first_row_on(market, today):
    array = rows(NAN, columns=[0], last=40)
    array[-10:, 0] = 5.0
    array[-5:-3, 0] = NAN
    report = assess(today(market(TEN, pool_arrays={"apy_pct": array})))
    gap = found(report, "gaps")
    assert (gap.severity, gap.count, gap.checked) == (Severity.INFO, 2, 9 * 30 + 9)
    assert report.score == 100.0


def test_many_gaps_are_a_warning(market, today):
    array = np.full((40, 10), 5.0)
    array[-20:-2:2] = NAN
    report = assess(today(market(TEN, pool_arrays={"apy_pct": array})))
    assert found(report, "gaps").severity is Severity.WARNING


def test_duplicates_are_reported_without_a_cost(market, today):
    report = assess(today(market(TEN)), duplicates=3)
    assert found(report, "duplicates").count == 3
    assert report.score == 100.0


@pytest.mark.parametrize(("apy_pct", "is_outlier"), [(25.0, False), (25.1, True), (-40.0, False)])
def test_an_apy_above_five_times_its_median_is_an_outlier(market, today, apy_pct, is_outlier):
    report = assess(today(market(TEN, pool_arrays={"apy_pct": rows(apy_pct, columns=[3])})))
    assert ("apy_outlier" in checks(report)) is is_outlier
    if is_outlier:
        assert found(report, "apy_outlier").examples == ("p3",)


def test_a_new_pool_has_no_median_to_compare_with(market, today):
    array = rows(NAN, columns=[0], last=40)
    array[-6:, 0] = 5.0
    array[-1, 0] = 500.0
    assert "apy_outlier" not in checks(assess(today(market(TEN, pool_arrays={"apy_pct": array}))))


@pytest.mark.parametrize(
    ("tvl_usd", "jumped"), [(5e7, False), (5.1e7, True), (2e6, False), (1.9e6, True), (NAN, False)]
)
def test_a_tvl_that_moves_by_more_than_a_factor_of_five_is_reported(market, today, tvl_usd, jumped):
    array = rows(tvl_usd, columns=[4], usual=1e7)
    assert ("tvl_jump" in checks(assess(today(market(TEN, pool_arrays={"tvl_usd": array}))))) is (
        jumped
    )


@pytest.mark.parametrize(
    ("array", "value"), [("apy_pct", -101.0), ("apy_pct", 2e6), ("tvl_usd", -1.0)]
)
def test_impossible_values_are_reported(market, today, array, value):
    usual = {"apy_pct": 5.0, "tvl_usd": 1e7}[array]
    view = today(market(TEN, pool_arrays={array: rows(value, columns=[7], usual=usual)}))
    finding = found(assess(view), "impossible_value")
    assert (finding.severity, finding.examples) == (Severity.WARNING, ("p7",))


# --- prices, gas, forecasts ---------------------------------------------------------------------


def test_missing_prices_are_named_and_what_becomes_of_held_pools(market, today, pool):
    pools = [pool("a", tokens=("DAI", "USDC")), pool("b")]
    close = np.ones((40, 2))
    close[-1, 0] = NAN
    view = today(market(pools, token_arrays={"close_usd": close}))
    finding = found(assess(view), "prices")
    assert (finding.severity, finding.count, finding.checked) == (Severity.WARNING, 1, 2)
    assert finding.examples == ("DAI",)
    assert "frozen" not in finding.action
    assert "frozen" in found(assess(view, held=["a"]), "prices").action


def test_prices_of_tokens_that_no_pool_uses_do_not_matter(market, today):
    close = np.ones((40, 2))
    close[-1, 1] = NAN
    view = today(market(["a"], tokens=["USDC", "WBTC"], token_arrays={"close_usd": close}))
    assert checks(assess(view)) == []


def test_a_day_without_any_price_is_critical(market, today):
    close = np.ones((40, 1))
    close[-2:] = NAN
    report = assess(today(market(TEN, token_arrays={"close_usd": close})))
    assert found(report, "prices").severity is Severity.CRITICAL
    assert report.age_days["prices"] == 2


@pytest.mark.parametrize(
    "prices",
    [
        {"close_usd": 0.0},
        {"low_usd": 1.1},
        {"low_usd": -0.1},
        {"high_usd": 0.9},
    ],
)
def test_prices_that_cannot_be_true_are_reported(market, today, prices):
    arrays = {"close_usd": 1.0, "low_usd": 0.99, "high_usd": 1.01, **prices}
    view = today(market(TEN, tokens=["USDC", "X"], token_arrays=arrays))
    assert found(assess(view), "impossible_price").examples == ("USDC", "X")


def test_gas_that_stops_is_a_warning_and_gas_that_never_was_an_information(market, today):
    gwei = np.full(40, 10.0)
    gwei[-3:] = NAN
    stopped = assess(today(market(TEN, gas=GasSeries(gwei, np.full(40, 3000.0)))))
    assert found(stopped, "gas").severity is Severity.WARNING
    assert stopped.age_days["gas"] == 3
    never = assess(today(market(TEN, gas=GasSeries(np.full(40, NAN), np.full(40, 3000.0)))))
    assert found(never, "gas").severity is Severity.INFO
    assert never.age_days["gas"] is None


def test_missing_forecasts_are_counted_and_none_at_all_is_critical(market, today):
    view = today(market(TEN))
    some = np.full(10, 5.0)
    some[:2] = NAN
    finding = found(assess(view, forecast_apy_pct=some), "forecasts")
    assert (finding.severity, finding.count) == (Severity.WARNING, 2)
    none = assess(view, forecast_apy_pct=np.full(10, NAN))
    assert found(none, "forecasts").severity is Severity.CRITICAL


# --- the report -----------------------------------------------------------------------------------


def finding(severity=Severity.WARNING, count=1, checked=10, check="gaps") -> Finding:
    return Finding(check, severity, count, checked, "something", "nothing", ("p1",))


@pytest.mark.parametrize(
    ("findings", "score"),
    [
        ([], 100.0),
        ([finding(Severity.INFO)], 100.0),
        ([finding(count=1)], 96.2),
        ([finding(count=10)], 80.0),
        ([finding(count=10, checked=0)], 80.0),
        ([finding(Severity.CRITICAL)], 50.0),
        ([finding(Severity.CRITICAL)] * 3, 0.0),
    ],
)
def test_the_score_is_what_the_findings_leave(market, findings, score):
    day = market().last_day
    assert QualityReport(day, tuple(findings)).score == pytest.approx(score)


def test_the_stop_names_every_critical_finding_and_what_to_do(market):
    both = (finding(Severity.CRITICAL), finding(Severity.CRITICAL, check="prices"), finding())
    with pytest.raises(DataQualityError, match="gaps: something") as caught:
        QualityReport(market().last_day, both).raise_if_critical()
    assert caught.value.remedy == "nothing"
    assert caught.value.details == ("critical prices: something (p1); nothing",)


def test_the_report_as_a_frame(market, today):
    view = today(market(TEN, pool_arrays={"apy_pct": rows(500.0, columns=[3, 4])}))
    frame = assess(view, duplicates=1).to_frame()
    assert frame["check"].tolist() == ["apy_outlier", "duplicates"]  # the worst first
    assert frame["severity"].tolist() == ["warning", "info"]
    assert frame["examples"].tolist() == ["p3, p4", ""]
    assert assess(today(market(TEN))).to_frame().empty


@given(
    st.lists(
        st.lists(st.one_of(st.just(NAN), st.floats(-50, 500)), min_size=9, max_size=9),
        min_size=1,
        max_size=31,
    )
)
def test_the_median_leaves_unknown_days_out(values):
    array = np.array(values)
    expected = [
        np.median(column[np.isfinite(column)]) if np.isfinite(column).sum() >= 7 else NAN
        for column in array.T
    ]
    np.testing.assert_allclose(_median(array), expected)


# --- what stops a backtest ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"pool_arrays": {"apy_pct": rows(NAN, columns=slice(None)), "tvl_usd": NAN}},
        {"pool_arrays": {"apy_pct": rows(NAN, columns=slice(7)), "tvl_usd": NAN}},
        {"pool_arrays": {"apy_pct": rows(NAN, columns=[0]), "tvl_usd": NAN}},
        {"token_arrays": {"close_usd": rows(NAN, columns=[0], n_pools=1, usual=1.0)}},
        {"gas": GasSeries(np.full(40, NAN), np.full(40, NAN))},
    ],
    ids=["clean", "no row", "few rows", "a row is missing", "no price", "no gas"],
)
def test_critical_findings_are_those_of_the_whole_assessment(market, today, arrays):
    view = today(market(TEN, **arrays))
    assert critical_findings(view) == assess(view).critical


def test_some_of_those_markets_stop_the_day(market, today):
    view = today(market(TEN, pool_arrays={"apy_pct": rows(NAN, columns=slice(7)), "tvl_usd": NAN}))
    assert [finding.check for finding in critical_findings(view)] == ["universe"]
