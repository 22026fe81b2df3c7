from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stableyield.config import AllocationParameters
from stableyield.errors import ContractError, InputError
from stableyield.market.pegged import PEGGED_TO_USD
from stableyield.screening import IceboxOverride, IceboxTracker, icebox_history
from stableyield.screening.pegs import TOKENS_WITHOUT_USD_PEG

PARAMETERS = AllocationParameters()
FIRST_DAY = date(2024, 1, 1)
NAN = float("nan")
# one letter a day: what the low and the close do
LOW = {".": 0.999, "L": 0.97, "C": 0.995, "B": 0.97, "n": NAN, "x": NAN, "c": NAN, "o": 0.97}
CLOSE = {".": 1.0, "L": 0.999, "C": 0.985, "B": 0.985, "n": 1.0, "x": NAN, "c": 0.985, "o": NAN}


def day(n: int) -> date:
    return FIRST_DAY + timedelta(days=n)


def run(story: str, *, token="USDC", peg=NAN, overrides=(), parameters=PARAMETERS):
    """`.` calm, `L` low, `C` close, `B` both; `x` no price, `n`, `c` no low, `o` no close."""
    columns = [[[source[letter]] for letter in story] for source in (LOW, CLOSE)]
    low, close = (np.array(column) for column in columns)
    pegs = np.full_like(low, peg)
    days = np.datetime64(FIRST_DAY) + np.arange(len(story))
    return icebox_history(days, (token,), low, close, pegs, parameters, overrides)


def inside(log) -> str:
    return "".join("#" if state else "." for state in log.iceboxed[:, 0])


@pytest.mark.parametrize(
    ("story", "states"),
    [
        ("......", "......"),
        (".C....", ".###.."),  # one close breach enters, the third clean close leaves
        (".L....", "......"),  # one low breach does not enter
        (".LL...", "..##.."),  # two in a row do; two clean lows leave
        (".L.L..", "......"),  # not in a row
        (".C.C....", ".#####.."),  # a breach starts the recovery again
        (".CL....", ".###..."),
        (".C.LL...", ".#####.."),  # both recoveries are needed
        (".C...C..", ".###.###"),
        ("BBBBBB", "######"),
        # gaps: held, and neither lengthening nor breaking a row
        (".Cxxx...", ".######."),
        (".C.xx..", ".#####."),
        (".LxL..", "...##."),
        (".Lx.L..", "......."),
        (".Lnn", "...."),
        (".cn...", ".###.."),
        (".oo.....", "..##...."),
        ("oo.....", "......."),  # nothing is known of a token before its first close
        ("nncnnn", "..###."),  # never a low: judged by its closes alone
    ],
)
def test_a_story_of_breaches_gives_these_states(story, states):
    assert inside(run(story)) == states


def test_days_without_low_do_not_count_towards_recovery_of_a_token_that_has_lows():
    # four clean closes after the breach, but no low until day 7
    assert inside(run("..Bnnnn..")) == "..######."


@pytest.mark.parametrize(
    ("story", "rule", "entered"), [(".C", "close", 1), (".LL", "low", 2), (".LB", "low+close", 2)]
)
def test_an_event_names_the_rule_and_the_values_of_the_day_of_entry(story, rule, entered):
    (event,) = run(story).events
    last = story[-1]
    assert (event.token, event.rule, event.entered, event.left) == (
        "USDC",
        rule,
        day(entered),
        None,
    )
    assert (event.low_usd, event.close_usd, event.peg_usd) == (LOW[last], CLOSE[last], 1.0)


def test_left_is_the_first_day_outside():
    (event,) = run(".C....").events
    assert event.left == day(4)


@pytest.mark.parametrize(
    ("low", "close", "is_in"),
    [(0.98, 0.99, False), (0.98 - 1e-9, 0.99, True), (0.98, 0.99 - 1e-9, True)],
)
def test_a_price_exactly_at_the_threshold_is_no_breach(low, close, is_in):
    days = np.datetime64(FIRST_DAY) + np.arange(2)
    for peg in (1.0, 1.05, 1.1, 1.37):
        arrays = [np.full((2, 1), value) for value in (low * peg, close * peg, peg)]
        assert bool(icebox_history(days, ("T",), *arrays, PARAMETERS).iceboxed[-1, 0]) is is_in


@pytest.mark.parametrize(("peg", "close"), [(1.07, 1.0593), (1.08, 1.0692), (1.29, 1.2771)])
def test_a_decimal_price_at_the_threshold_is_no_breach_whatever_binary_makes_of_it(peg, close):
    assert close < peg * (1.0 - 0.01)  # by one unit in the last place
    one = np.ones((1, 1))
    days = np.array([FIRST_DAY], dtype="datetime64[D]")
    log = icebox_history(days, ("T",), close * one, close * one, peg * one, PARAMETERS)
    assert inside(log) == "."


def test_the_parameters_set_thresholds_and_days():
    parameters = AllocationParameters(
        icebox_ohlc_l_days_threshold=1,
        icebox_ohlc_c_days_threshold=2,
        icebox_recovery_l_days_threshold=1,
        icebox_recovery_c_days_threshold=1,
    )
    assert inside(run(".C.CC.L.", parameters=parameters)) == "....#.#."
    deep = AllocationParameters(icebox_ohlc_l_threshold_pct=0.05, icebox_ohlc_c_threshold_pct=0.05)
    assert inside(run("BBBB", parameters=deep)) == "...."


# --- the peg ----------------------------------------------------------------------------------


def test_a_share_price_is_the_peg_of_a_yield_bearing_token():
    assert inside(run("....", token="sDAI", peg=1.0)) == "...."
    assert inside(run("....", token="sDAI", peg=1.05)) == "####"  # 1.00 is 5 % below 1.05


@pytest.mark.parametrize("token", ["sDAI", "EURC", "sUSDe"])
def test_an_unknown_peg_is_flagged_and_never_taken_as_one(token):
    log = run("BBBB", token=token)
    assert inside(log) == "...."
    assert log.gaps[0].days_with_unknown_peg == 4


@pytest.mark.parametrize("token", ["SDAI", "USDe", "sUSD", "eurc"])
def test_symbols_are_case_exact(token):
    assert inside(run("BBBB", token=token)) == "####"


def test_no_token_is_both_taken_at_par_and_known_to_have_another_peg():
    assert not TOKENS_WITHOUT_USD_PEG & PEGGED_TO_USD


def test_a_token_that_had_a_published_peg_is_not_taken_at_one_on_a_day_without_it():
    days = np.datetime64(FIRST_DAY) + np.arange(4)
    prices = np.array([[1.2], [0.9], [0.9], [0.9]])
    peg = np.array([[1.2], [NAN], [NAN], [0.9]])
    log = icebox_history(days, ("vault",), prices, prices, peg, PARAMETERS)
    assert inside(log) == "...."
    assert (log.gaps[0].token, log.gaps[0].days_with_unknown_peg) == ("vault", 2)


@pytest.mark.parametrize("price", [0.0, -1.0, NAN, np.inf])
def test_a_price_that_is_not_a_price_counts_neither_way(price):
    days = np.datetime64(FIRST_DAY) + np.arange(3)
    prices = np.array([[1.0], [price], [1.0]])
    log = icebox_history(days, ("T",), prices, prices, np.full((3, 1), NAN), PARAMETERS)
    assert inside(log) == "..."
    assert (log.gaps[0].days_without_low, log.gaps[0].days_without_close) == (1, 1)


def test_days_before_the_first_close_are_no_gaps():
    assert run("xxx...").gaps == ()


def test_nothing_counts_before_the_first_close_even_where_low_and_peg_are_known():
    log = run("oo.....", peg=1.0)
    assert inside(log) == "......."
    assert log.gaps == ()


# --- overrides --------------------------------------------------------------------------------


def override(iceboxed: bool, first: int, last: int, token="USDC", reason="depeg rumour"):
    return IceboxOverride(token, iceboxed, reason, expires=day(last), set_on=day(first))


def test_an_override_holds_from_the_day_it_is_set_to_the_day_it_expires():
    log = run("........", overrides=[override(True, 2, 4)])
    assert inside(log) == "..###..."
    (event,) = log.events
    assert (event.rule, event.entered, event.left) == ("override", day(2), day(5))
    assert (event.reason, event.iceboxed) == ("depeg rumour", True)


def test_an_override_takes_a_token_out_while_the_rule_keeps_its_own_book():
    log = run(".BBBBBB.", overrides=[override(False, 3, 4, reason="bad feed")])
    assert inside(log) == ".##..###"
    assert [(e.rule, e.iceboxed) for e in log.events] == [("close", True), ("override", False)]
    assert log.events[0].left is None


def test_of_two_overrides_the_one_set_later_holds():
    log = run("........", overrides=[override(False, 3, 4), override(True, 1, 6)])
    assert inside(log) == ".##..##."
    assert [(e.entered, e.left) for e in log.events] == [
        (day(1), day(3)),
        (day(3), day(5)),
        (day(5), day(7)),
    ]


def test_an_override_may_name_a_token_without_any_price(market, today):
    tracker = IceboxTracker(PARAMETERS, [override(True, 0, 99, token="NEW")])
    assert tracker.advance(today(market(n_days=3))) == {"NEW"}
    assert np.isnan(tracker.events[0].close_usd)


def test_an_override_before_the_first_close_records_no_values():
    (event,) = run("xx..", overrides=[override(True, 0, 1)]).events
    assert np.isnan([event.low_usd, event.close_usd, event.peg_usd]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"reason": " "}, "reason"), ({"first": 5, "last": 4}, "before it starts")],
)
def test_an_override_needs_a_reason_and_a_sensible_expiry(changes, message):
    fields = {"first": 1, "last": 4, "reason": "why", **changes}
    with pytest.raises(InputError, match=message):
        override(True, **fields)


# --- the tracker ------------------------------------------------------------------------------

letters = st.sampled_from(list(LOW))
stories = st.lists(st.text(letters, min_size=12, max_size=12), min_size=1, max_size=4)
days_thresholds = st.builds(
    lambda a, b, c, d: AllocationParameters(
        icebox_ohlc_l_days_threshold=a,
        icebox_ohlc_c_days_threshold=b,
        icebox_recovery_l_days_threshold=c,
        icebox_recovery_c_days_threshold=d,
    ),
    *[st.integers(1, 4)] * 4,
)
overrides_lists = st.lists(
    st.builds(
        lambda token, iceboxed, first, length: override(iceboxed, first, first + length, token),
        st.sampled_from(["T0", "T1", "elsewhere"]),
        st.booleans(),
        st.integers(0, 11),
        st.integers(0, 5),
    ),
    max_size=3,
)


def arrays_of(stories_):
    return {
        name: np.array([[source[letter] for letter in story] for story in stories_]).T
        for name, source in (("low_usd", LOW), ("close_usd", CLOSE))
    }


@settings(max_examples=60)
@given(stories=stories, p=days_thresholds, overrides=overrides_lists, start=st.integers(0, 11))
def test_day_by_day_gives_the_same_as_the_full_recompute(market, stories, p, overrides, start):
    arrays = arrays_of(stories)
    tokens = [f"T{j}" for j in range(len(stories))]
    panel = market(n_days=12, tokens=tokens, token_arrays=arrays)
    pegs = np.full_like(arrays["low_usd"], NAN)
    days = np.datetime64(FIRST_DAY) + np.arange(12)
    full = icebox_history(days, tokens, arrays["low_usd"], arrays["close_usd"], pegs, p, overrides)
    tracker = IceboxTracker(p, overrides)
    for t in range(start, 12):  # the first advance catches up
        found = tracker.advance(panel.as_of(day(t)))
        expected = {token for token, state in zip(tokens, full.iceboxed[t], strict=True) if state}
        assert found & set(tokens) == expected
    assert list(map(str, tracker.events)) == list(map(str, full.events))  # as text: NaN equals NaN
    assert set(tracker.gaps) == set(full.gaps)


def by_definition(story: str, p: AllocationParameters) -> str:
    """The rule, read aloud: what the last observed days say, whatever lies between them."""
    states, is_in = "", False
    first_close = next((t for t in range(len(story)) if story[t] not in "xo"), len(story))
    seen = [t for t in range(first_close, len(story)) if story[t] != "x"]
    for t in range(len(story)):
        known = [story[u] for u in seen if u <= t]
        lows = [letter in "LBo" for letter in known if letter not in "nc"]
        closes = [letter in "CBc" for letter in known if letter != "o"]
        l_days, c_days = p.icebox_ohlc_l_days_threshold, p.icebox_ohlc_c_days_threshold
        l_calm, c_calm = p.icebox_recovery_l_days_threshold, p.icebox_recovery_c_days_threshold
        if not is_in:
            is_in = lows[-l_days:] == [True] * l_days or closes[-c_days:] == [True] * c_days
        else:
            calm_low = not lows or lows[-l_calm:] == [False] * l_calm
            is_in = not (calm_low and closes[-c_calm:] == [False] * c_calm)
        states += "#" if is_in else "."
    return states


@given(story=st.text(letters, min_size=1, max_size=25), p=days_thresholds)
def test_the_machine_does_what_the_definition_says(story, p):
    assert inside(run(story, parameters=p)) == by_definition(story, p)


@given(story=st.text(letters, min_size=1, max_size=20), days=st.integers(1, 3))
def test_a_shorter_fuse_enters_no_later(story, days):
    def first(n: int) -> int:
        p = AllocationParameters(icebox_ohlc_l_days_threshold=n, icebox_ohlc_c_days_threshold=n)
        return (inside(run(story, parameters=p)) + "#").index("#")

    assert first(days) <= first(days + 1)


def test_advancing_twice_on_one_day_changes_nothing(market, today):
    tracker = IceboxTracker(PARAMETERS)
    view = today(market(n_days=5, token_arrays={"close_usd": 0.9}))
    assert tracker.advance(view) == tracker.advance(view) == tracker.iceboxed == {"USDC"}
    assert len(tracker.events) == 1


def test_a_token_that_could_not_be_judged_today_is_named(market, today, pool):
    close = np.ones((5, 3))
    close[-1, 0] = NAN
    panel = market(n_days=5, tokens=["DAI", "USDC", "sDAI"], token_arrays={"close_usd": close})
    tracker = IceboxTracker(PARAMETERS)
    tracker.advance(today(panel))
    assert tracker.unjudged == {"DAI", "sDAI"}
    assert [gap.token for gap in tracker.gaps] == ["DAI", "sDAI"]


def test_the_tracker_never_goes_back(market):
    panel = market(n_days=5)
    tracker = IceboxTracker(PARAMETERS)
    tracker.advance(panel.as_of(day(3)))
    with pytest.raises(InputError, match="cannot go back"):
        tracker.advance(panel.as_of(day(2)))


def test_the_tracker_refuses_another_market(market, today):
    tracker = IceboxTracker(PARAMETERS)
    tracker.advance(market(n_days=5).as_of(day(3)))
    with pytest.raises(InputError, match="one IceboxTracker per market"):
        tracker.advance(today(market(n_days=5, tokens=["DAI"])))


def test_the_tracker_refuses_a_view_that_leaves_days_out(market, today):
    tracker = IceboxTracker(PARAMETERS)
    tracker.advance(market(n_days=5).as_of(day(0)))
    view = today(market(n_days=5))
    late = type(view)(
        view.day,
        view.days[3:],
        view.pools,
        view.pool_series,
        view.tokens,
        view.token_series,
        view.gas,
    )
    with pytest.raises(InputError, match="reaches back"):
        tracker.advance(late)


def test_a_history_with_a_hole_in_its_days_is_refused():
    one = np.ones((2, 1))
    days = np.array(["2024-01-01", "2024-01-03"], dtype="datetime64[D]")
    with pytest.raises(ContractError, match="not consecutive"):
        icebox_history(days, ("T",), one, one, one, PARAMETERS)


def test_arrays_of_another_shape_are_refused():
    days = np.datetime64(FIRST_DAY) + np.arange(2)
    one = np.ones((2, 1))
    with pytest.raises(ContractError, match="close_usd"):
        icebox_history(days, ("T",), one, np.ones((3, 1)), one, PARAMETERS)
