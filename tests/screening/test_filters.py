from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from stableyield.config import AllocationParameters
from stableyield.domain.pool import PoolState
from stableyield.errors import InputError
from stableyield.screening import Flag, PoolForecasts, Rule, final_filter, prefilter, screen

PARAMETERS = AllocationParameters()
NAN = float("nan")


def forecasts(view, apy_pct=5.0, tvl_usd=1e7) -> PoolForecasts:
    shape = (len(view.pools),)
    return PoolForecasts(
        *(np.array(np.broadcast_to(x, shape), dtype=np.float64) for x in (apy_pct, tvl_usd))
    )


def rules(screening, pool_id="p") -> list[str]:
    return [reason.rule for reason in screening.reasons[screening.pool_ids.index(pool_id)]]


def last_row(value, otherwise, n_days=40) -> np.ndarray:
    column = np.full((n_days, 1), otherwise)
    column[-1] = value
    return column


def test_a_calm_pool_passes_every_rule(market, today):
    view = today(market())
    screening = screen(view, PARAMETERS, forecasts=forecasts(view))
    assert screening.is_final
    assert screening.states == (PoolState.OPEN,)
    assert rules(screening) == []
    assert screening.counts == {}
    assert screening.allowed.tolist() == [True]


# --- the rules, one by one --------------------------------------------------------------------

POOL_CASES = [
    ({}, {}, {}, None),
    ({"is_active": False}, {}, {}, Rule.LISTED),
    ({"listed_until": date(2024, 2, 8)}, {}, {}, Rule.LISTED),  # yesterday
    ({"listed_until": date(2024, 2, 9)}, {}, {}, None),  # today is its last day
    ({"listed_from": date(2024, 2, 10)}, {}, {}, Rule.LISTED),
    ({"chain": "Base"}, {"approved_chains": ("Ethereum",)}, {}, Rule.CHAIN),
    ({"chain": "ethereum"}, {"approved_chains": ("Ethereum",)}, {}, None),
    ({"protocol": "curve"}, {"approved_protocols": ("aave-v3",)}, {}, Rule.PROTOCOL),
    ({"protocol": "Aave-V3"}, {"approved_protocols": ("aave-v3",)}, {}, None),
    ({}, {"approved_tokens": ("DAI",)}, {}, Rule.TOKEN),
    ({"tokens": ("USDC", "DAI")}, {"approved_tokens": ("DAI",)}, {}, Rule.TOKEN),
    ({"tokens": ("USDC", "DAI")}, {"approved_tokens": ("DAI", "USDC")}, {}, None),
    ({"tokens": ("SDAI",)}, {"approved_tokens": ("sDAI",)}, {}, Rule.TOKEN),  # case-exact
    ({"token_addresses": ("0xAb",)}, {"approved_tokens": ("ethereum:0xaB",)}, {}, None),
    ({"token_addresses": ("0xAb",)}, {"approved_tokens": ("Base:0xAb",)}, {}, Rule.TOKEN),
    ({}, {"approved_tokens": ("Ethereum:0xAb",)}, {}, Rule.TOKEN),  # its address is unknown
    ({}, {"blacklisted_tokens": ("USDC",)}, {}, Rule.BLACKLIST),
    ({}, {"blacklisted_tokens": ("usdc",)}, {}, None),
    (
        {"token_addresses": ("0xAb",)},
        {"blacklisted_tokens": ("Ethereum:0xab",)},
        {},
        Rule.BLACKLIST,
    ),
    ({}, {}, {"market_cap_usd": 9.9e8}, Rule.MARKET_CAP),
    ({}, {}, {"market_cap_usd": 1e9}, None),
    ({}, {}, {"market_cap_usd": NAN}, None),
    ({}, {"unknown_market_cap": "reject"}, {"market_cap_usd": NAN}, Rule.MARKET_CAP),
    ({}, {"unknown_market_cap": "reject", "token_marketcap_limit": 0.0}, {}, None),
    ({"tokens": ("A", "B"), "token_shares": (0.29, 0.71)}, {}, {}, Rule.PAIR_RATIO),
    ({"tokens": ("A", "B"), "token_shares": (0.7, 0.3)}, {}, {}, None),
    ({"tokens": ("A", "B"), "token_shares": (0.5, 0.5)}, {}, {}, None),
    ({"tokens": ("A", "B", "C")}, {}, {}, None),  # equal thirds: 0.5 once scaled by 2/3
    ({"tokens": ("A", "B", "C"), "token_shares": (0.2, 0.4, 0.4)}, {}, {}, None),
    ({"tokens": ("A", "B", "C"), "token_shares": (0.19, 0.41, 0.4)}, {}, {}, Rule.PAIR_RATIO),
    ({"tokens": ("A", "B")}, {"pool_pair_tvl_ratio_max": 0.45}, {}, Rule.PAIR_RATIO),
    ({}, {"pool_pair_tvl_ratio_max": 0.45}, {}, None),  # a single token has no ratio
    ({}, {}, {"close_usd": NAN}, Rule.PRICE),
    ({}, {}, {"close_usd": 0.0}, Rule.PRICE),
    ({}, {}, {"close_usd": -1.0}, Rule.PRICE),
]


@pytest.mark.parametrize(("changes", "parameters", "token_today", "rule"), POOL_CASES)
def test_what_is_known_of_a_pool_and_its_tokens(
    market, today, pool, changes, parameters, token_today, rule
):
    arrays = {k: last_row(v, {"close_usd": 1.0}.get(k, v)) for k, v in token_today.items()}
    view = today(market([pool("p", **changes), "other"], token_arrays=arrays))
    screening = prefilter(view, AllocationParameters(**parameters))
    assert rules(screening) == ([] if rule is None else [rule])
    assert screening.counts.get(rule, 0) >= (rule is not None)


@pytest.mark.parametrize(
    ("array", "value", "rule"),
    [
        ("is_filtered_out", 1.0, Rule.FILTERED_OUT),
        ("is_filtered_out", 0.0, None),
        ("apy_pct", -100.1, Rule.IMPOSSIBLE),
        ("apy_pct", -100.0, None),
        ("apy_pct", 1.1e6, Rule.IMPOSSIBLE),
        ("apy_pct", np.inf, Rule.IMPOSSIBLE),
        ("tvl_usd", -1.0, Rule.IMPOSSIBLE),
        ("tvl_usd", np.inf, Rule.IMPOSSIBLE),
    ],
)
def test_what_todays_row_says(market, today, array, value, rule):
    usual = {"is_filtered_out": 0.0, "apy_pct": 5.0, "tvl_usd": 1e7}
    view = today(market(pool_arrays={array: last_row(value, usual[array])}))
    assert rules(prefilter(view, PARAMETERS)) == ([] if rule is None else [rule])


def test_the_sources_flag_of_another_day_does_not_count(market, today):
    flag = np.ones((40, 1))
    flag[-1] = NAN
    assert rules(prefilter(today(market(pool_arrays={"is_filtered_out": flag})), PARAMETERS)) == []


@pytest.mark.parametrize(("days_ago", "expected"), [(0, []), (1, [Rule.STALE]), (6, [Rule.STALE])])
def test_a_pool_without_a_row_today_is_stale(market, today, days_ago, expected):
    rows = np.full((40, 1), 5.0)
    rows[40 - days_ago :] = NAN
    view = today(market(pool_arrays={"apy_pct": rows, "tvl_usd": rows * 1e6}))
    assert rules(prefilter(view, PARAMETERS)) == expected


def test_a_pool_without_a_row_for_a_week_is_off_the_list(market, today):
    rows = np.full((40, 1), 5.0)
    rows[-7:] = NAN
    view = today(market(pool_arrays={"apy_pct": rows, "tvl_usd": rows}))
    screening = prefilter(view, PARAMETERS)
    assert rules(screening) == [Rule.LISTED, Rule.STALE]
    assert "7 days" in screening.explain("p")


@pytest.mark.parametrize(
    ("known", "needed", "expected"),
    [
        (7, 7, []),
        (6, 7, [Rule.HISTORY]),
        (20, 20, []),
        (19, 20, [Rule.HISTORY]),
    ],
)
def test_a_pool_needs_enough_days_with_an_apy(market, today, known, needed, expected):
    rows = np.full((40, 1), NAN)
    rows[-known:] = 5.0
    view = today(market(pool_arrays={"apy_pct": rows}))
    p = AllocationParameters(min_history_days=needed)
    assert rules(prefilter(view, p)) == expected


def test_history_older_than_the_window_does_not_count(market, today):
    rows = np.full((80, 1), 5.0)
    rows[-30:-6] = NAN
    view = today(market(n_days=80, pool_arrays={"apy_pct": rows}))
    assert rules(prefilter(view, PARAMETERS)) == [Rule.HISTORY]


def test_history_may_have_gaps(market, today):
    rows = np.full((80, 1), NAN)
    rows[1::2] = 5.0  # every other day, today included
    view = today(market(n_days=80, pool_arrays={"apy_pct": rows}))
    assert rules(prefilter(view, AllocationParameters(min_history_days=40))) == []


@pytest.mark.parametrize(
    ("apy_pct", "tvl_usd", "expected"),
    [
        (5.0, 1e7, []),
        (1.0, 1e7, []),  # pool_apy_limit 0.01 is 1 %
        (0.99, 1e7, [Rule.APY]),
        (5.0, 1e5, []),
        (5.0, 99_999.0, [Rule.TVL]),
        (5.0, 5e7, []),  # five times the last actual is still believed
        (5.0, 5.1e7, [Rule.TVL_SANITY]),
        (NAN, 1e7, [Rule.FORECAST]),
        (5.0, NAN, [Rule.FORECAST]),
        (0.5, 5e4, [Rule.APY, Rule.TVL]),
    ],
)
def test_what_the_forecast_says(market, today, apy_pct, tvl_usd, expected):
    view = today(market())
    screening = screen(view, PARAMETERS, forecasts=forecasts(view, apy_pct, tvl_usd))
    assert rules(screening) == expected


@pytest.mark.parametrize("limit", [0.0055, 0.007, 0.011, 0.057, 0.123])
def test_an_apy_written_as_the_limit_itself_passes(market, today, limit):
    view = today(market())
    p = AllocationParameters(pool_apy_limit=limit)
    at, below = float(f"{limit * 100:.6g}"), float(f"{limit * 100 - 0.001:.6g}")
    assert rules(screen(view, p, forecasts=forecasts(view, at))) == []
    assert rules(screen(view, p, forecasts=forecasts(view, below))) == [Rule.APY]


def test_the_last_actual_tvl_may_be_some_days_old(market, today):
    tvl = np.full((40, 1), 1e6)
    tvl[-4:] = NAN
    view = today(market(pool_arrays={"tvl_usd": tvl}))
    assert rules(screen(view, PARAMETERS, forecasts=forecasts(view, 5.0, 5e6))) == []
    assert rules(screen(view, PARAMETERS, forecasts=forecasts(view, 5.0, 6e6))) == [Rule.TVL_SANITY]


def test_a_forecast_out_of_an_empty_pool_is_not_believed(market, today):
    view = today(market(pool_arrays={"tvl_usd": last_row(0.0, 1e7)}))
    assert rules(screen(view, PARAMETERS, forecasts=forecasts(view))) == [Rule.TVL_SANITY]


def test_a_tvl_forecast_that_nothing_can_be_compared_with_is_flagged(market, today):
    view = today(market(pool_arrays={"tvl_usd": NAN}))
    screening = screen(view, PARAMETERS, forecasts=forecasts(view))
    assert rules(screening) == []
    assert Flag.TVL_UNCHECKED in [flag.rule for flag in screening.flag_reasons[0]]


def test_a_pool_with_an_iceboxed_token_is_not_bought_and_names_it(market, today, pool):
    view = today(market([pool("p", tokens=("DAI", "USDC", "UST")), pool("q")]))
    screening = screen(
        view, PARAMETERS, forecasts=forecasts(view), iceboxed={"UST", "DAI"}, unjudged={"USDC"}
    )
    assert rules(screening) == [Rule.ICEBOX]
    assert screening.reasons[0][0].detail == "DAI, UST is in the icebox"
    assert screening.allowed.tolist() == [False, True]
    assert Flag.ICEBOX_UNJUDGED in [flag.rule for flag in screening.flag_reasons[1]]


# --- market cap ------------------------------------------------------------------------------


def test_an_accepted_unknown_market_cap_is_flagged(market, today):
    screening = prefilter(today(market()), PARAMETERS)
    assert [flag.rule for flag in screening.flag_reasons[0]] == [Flag.MARKET_CAP_UNKNOWN]


def test_a_token_without_any_series_has_no_price_and_no_market_cap(market, today):
    view = today(market(tokens=["DAI"]))
    p = AllocationParameters(unknown_market_cap="reject")
    assert rules(prefilter(view, p)) == [Rule.MARKET_CAP, Rule.PRICE]


# --- the two stages ---------------------------------------------------------------------------


def test_an_excluded_pool_needs_no_forecast_and_is_not_blamed_for_having_none(market, today, pool):
    view = today(market([pool("bad", chain="Base"), pool("good"), pool("held", chain="Base")]))
    p = AllocationParameters(approved_chains=("Ethereum",))
    pre = prefilter(view, p, held=["held"])
    assert dict(zip(pre.pool_ids, pre.needs_forecast.tolist(), strict=True)) == {
        "bad": False,
        "good": True,
        "held": True,
    }
    final = final_filter(view, p, pre, forecasts(view, NAN))
    assert rules(final, "bad") == [Rule.CHAIN]
    assert rules(final, "good") == [Rule.FORECAST]


def test_screen_is_the_two_filters_one_after_the_other(market, today):
    view = today(market(["a", "b"]))
    expected = forecasts(view, [5.0, 0.1])
    both = screen(view, PARAMETERS, held=["b"], forecasts=expected, iceboxed={"DAI"})
    pre = prefilter(view, PARAMETERS, held=["b"])
    assert both.states == final_filter(view, PARAMETERS, pre, expected, {"DAI"}).states
    assert not screen(view, PARAMETERS).is_final


def test_what_does_not_belong_together_is_refused(market):
    panel = market(["a", "b"])
    view, earlier = panel.as_of(panel.last_day), panel.as_of(panel.last_day - timedelta(days=1))
    pre = prefilter(view, PARAMETERS)
    with pytest.raises(InputError, match="prefilter the same view"):
        final_filter(view, PARAMETERS, prefilter(earlier, PARAMETERS), forecasts(view))
    with pytest.raises(InputError, match="tvl_usd has shape"):
        final_filter(view, PARAMETERS, pre, PoolForecasts(np.ones(2), np.ones(3)))
    final = final_filter(view, PARAMETERS, pre, forecasts(view))
    with pytest.raises(InputError, match="final already"):
        final_filter(view, PARAMETERS, final, forecasts(view))


# --- what a screening says --------------------------------------------------------------------


def test_every_pool_can_be_asked_why(market, today, pool):
    view = today(market([pool("bad", chain="Base"), pool("good")]))
    p = AllocationParameters(approved_chains=("Ethereum",), token_marketcap_limit=0.0)
    screening = screen(view, p, held=["lost"], forecasts=forecasts(view, 0.2))
    assert screening.explain("bad").splitlines() == [
        "bad on 2024-02-09: excluded",
        "  approved_chains: Base is not in approved_chains",
        "  pool_apy_limit: forecast APY 0.2 % is below 1 %",
    ]
    assert "gone" in screening.explain("lost")
    assert dict(screening.counts) == {Rule.CHAIN: 1, Rule.APY: 2}
    with pytest.raises(InputError, match="'nobody' is not in the market"):
        screening.explain("nobody")


def test_the_frame_has_a_row_for_every_pool_and_for_those_that_are_gone(market, today):
    view = today(market(["a", "b"]))
    frame = screen(
        view, PARAMETERS, held=["lost"], forecasts=forecasts(view, [5.0, 0.5])
    ).to_frame()
    assert frame["pool_id"].tolist() == ["a", "b", "lost"]
    assert frame["state"].tolist() == ["open", "excluded", "exit"]
    assert frame["rules"].tolist() == ["", "pool_apy_limit", "gone"]
    assert frame["risk_group"].tolist() == [1, 1, 0]
    assert frame["reasons"].tolist()[1] == "forecast APY 0.5 % is below 1 %"


def test_a_market_without_pools_is_screened(market, today):
    view = today(market([]))
    screening = screen(view, PARAMETERS, held=["lost"], forecasts=forecasts(view))
    assert (screening.states, screening.gone) == ((), ("lost",))
    assert len(screening.to_frame()) == 1
