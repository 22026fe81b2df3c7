from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stableyield.errors import ContractError, MissingDataError, ParameterError
from stableyield.loops.calibration import Calibration, calibrate, calibrate_daily
from stableyield.loops.curve_fit import Observations, fit_curve
from stableyield.loops.rate_curve import RateCurve, diluted_borrow_apr, diluted_supply_apr
from stableyield.loops.rates import LoopRates

DAY = date(2024, 1, 1)
AAVE = RateCurve(0.0, 0.04, 0.60, 0.90, 0.10)
Floats = np.ndarray


def market(
    *parts: tuple[RateCurve, Floats], assets: tuple[str, ...] = ("USDC",), **changes: object
) -> LoopRates:
    """A market that follows the curves of ``parts`` one after the other at their utilisations."""
    used = np.concatenate([np.asarray(use, dtype=np.float64) for _, use in parts])
    borrow = np.concatenate([curve.borrow_apr(np.asarray(use)) for curve, use in parts])
    supply = np.concatenate([curve.supply_apr(np.asarray(use)) for curve, use in parts])
    shape = (len(used), len(assets))

    def grid(values: Floats) -> Floats:
        return np.repeat(np.asarray(values, dtype=np.float64)[:, None], len(assets), axis=1)

    values: dict[str, object] = {
        "chain": "Ethereum",
        "protocol": "aave-v3",
        "days": np.datetime64(DAY, "D") + np.arange(len(used)),
        "assets": assets,
        "supply_apr": grid(supply),
        "borrow_apr": grid(borrow),
        "quoted_supply_apr": grid(supply),
        "quoted_borrow_apr": grid(borrow),
        "supply_reward_apr": np.zeros(shape),
        "borrow_reward_apr": np.zeros(shape),
        "supplied_usd": np.full(shape, 1e8),
        "borrowed_usd": grid(used * 1e8),
        "available_usd": grid((1.0 - used) * 1e8),
        "utilisation": grid(used),
        "is_borrowable": np.ones(shape, dtype=bool),
        "is_fresh": np.ones(shape, dtype=bool),
        "source": "by hand",
    }
    return LoopRates(**{**values, **changes})  # type: ignore[arg-type]


def use(n: int, low: float = 0.6, high: float = 0.98, seed: int = 1) -> Floats:
    return np.random.default_rng(seed).uniform(low, high, n)


@settings(max_examples=25, deadline=None)
@given(
    base=st.sampled_from([0.0, 0.005, 0.02]),
    slope1=st.floats(0.02, 0.15),
    slope2=st.floats(0.3, 2.0),
    kink=st.sampled_from([0.45, 0.8, 0.9, 0.92, 0.925]),
    share=st.floats(0.0, 0.5),
    seed=st.integers(0, 99),
)
def test_a_curve_that_was_seen_on_both_sides_is_recovered(
    base: float, slope1: float, slope2: float, kink: float, share: float, seed: int
) -> None:
    curve = RateCurve(base, slope1, slope2, kink, share)
    rates = market((curve, use(60, kink - 0.4, min(kink + 0.3, 0.99), seed)))
    (period,) = calibrate(rates).periods["USDC"]
    found = period.curve
    assert period.kink_basis == "seen"
    assert found.optimal_utilisation == pytest.approx(kink, abs=0.003)
    assert found.base_apr == pytest.approx(base, abs=0.002)
    assert found.slope1 + found.base_apr == pytest.approx(slope1 + base, abs=0.002)
    assert found.slope2 == pytest.approx(slope2, rel=0.05)
    assert found.reserve_factor == pytest.approx(share, abs=1e-6)
    assert period.max_residual_apr < 2e-3


def test_a_new_slope_is_found_on_its_day() -> None:
    later = replace(AAVE, slope1=0.055)
    rates = market((AAVE, use(40, high=0.89)), (later, use(40, high=0.97, seed=2)))
    first, second = calibrate(rates).periods["USDC"]
    assert second.first_day == DAY + timedelta(days=40)
    assert first.last_day == DAY + timedelta(days=39)
    assert first.curve.slope_per_utilisation == pytest.approx(0.04 / 0.9, abs=1e-4)
    assert second.curve.slope1 == pytest.approx(0.055, abs=1e-3)
    assert (first.n_days, second.n_days) == (40, 40)


def test_a_new_kink_alone_is_found_too() -> None:
    later = RateCurve(0.0, 0.05, 0.60, 0.80, 0.10)
    rates = market((AAVE, use(60, 0.7)), (later, use(60, 0.7, seed=5)))
    periods = calibrate(rates).periods["USDC"]
    assert [round(p.curve.optimal_utilisation, 2) for p in periods] == [0.90, 0.80]


def test_a_first_reading_above_the_old_kink_belongs_to_the_new_curve() -> None:
    later = replace(AAVE, slope1=0.09)
    climb = np.concatenate([[0.899], use(20, 0.5, 0.85, seed=3)])
    rates = market((AAVE, use(30, 0.6, 0.8)), (later, climb))
    assert calibrate(rates).periods["USDC"][1].first_day == DAY + timedelta(days=30)


def test_a_step_of_the_reserve_factor_begins_a_period_of_the_same_curve() -> None:
    later = replace(AAVE, reserve_factor=0.25)
    rates = market((AAVE, use(40)), (later, use(40, seed=2)))
    first, second = calibrate(rates).periods["USDC"]
    assert second.first_day == DAY + timedelta(days=40)
    assert first.curve.reserve_factor == pytest.approx(0.10)
    assert second.curve.reserve_factor == pytest.approx(0.25)
    assert second.curve.slope1 == pytest.approx(first.curve.slope1)


def test_a_reserve_factor_that_cannot_be_one_is_assumed_and_said_so() -> None:
    rates = market((AAVE, use(30)))
    noise = np.random.default_rng(4).uniform(0.3, 2.0, rates.quoted_supply_apr.shape)
    noisy = replace(rates, quoted_supply_apr=rates.quoted_supply_apr * noise)
    (period,) = calibrate(noisy).periods["USDC"]
    assert period.reserve_factor_basis == "assumed"
    assert period.curve.reserve_factor == 0.10


def test_glitches_are_outliers_and_no_period() -> None:
    rates = market((AAVE, use(80)))
    borrow = rates.quoted_borrow_apr.copy()
    borrow[[20, 41, 60]] += [[0.05], [0.11], [0.23]]
    (period,) = calibrate(replace(rates, quoted_borrow_apr=borrow)).periods["USDC"]
    assert (period.n_days, period.n_outliers) == (77, 3)


def test_a_kink_that_was_not_seen_is_assumed_first_and_carried_later() -> None:
    below = use(20, high=0.75)
    (assumed,) = calibrate(market((AAVE, below))).periods["USDC"]
    assert (assumed.kink_basis, assumed.curve.optimal_utilisation) == ("assumed", 0.80)
    assert assumed.curve.slope_per_utilisation == pytest.approx(0.04 / 0.9)
    later = replace(AAVE, slope1=0.06)
    rates = market((AAVE, use(40)), (later, use(20, high=0.85, seed=2)))
    carried = calibrate(rates).periods["USDC"][1]
    assert (carried.kink_basis, round(carried.curve.optimal_utilisation, 3)) == ("carried", 0.9)
    assert carried.curve.slope1 == pytest.approx(0.06, abs=1e-4)


def test_a_kink_seen_after_the_first_days_joins_the_period_it_belongs_to() -> None:
    rates = market((AAVE, np.concatenate([use(4, 0.6, 0.7), use(40, 0.91, 0.97), use(9)])))
    (period,) = calibrate(rates).periods["USDC"]
    assert period.kink_basis == "seen"
    assert period.first_day == DAY
    assert period.n_days == 53


def test_days_that_are_carried_over_or_unknown_teach_nothing() -> None:
    rates = market((AAVE, use(30)))
    fresh = rates.is_fresh.copy()
    fresh[10:20] = False
    wrong = rates.quoted_borrow_apr.copy()
    wrong[10:20] = 0.5
    wrong[25] = np.nan
    (period,) = calibrate(replace(rates, is_fresh=fresh, quoted_borrow_apr=wrong)).periods["USDC"]
    assert (period.n_days, period.n_outliers) == (19, 0)


def test_an_asset_without_a_borrow_rate_has_no_model_and_says_so() -> None:
    rates = market((AAVE, use(30)))
    found = calibrate(replace(rates, quoted_borrow_apr=np.full((30, 1), np.nan)))
    assert found.periods == {"USDC": ()}
    assert found.table().empty
    with pytest.raises(MissingDataError, match="rate model of USDC"):
        found.current("USDC")


def test_the_daily_curves_are_those_of_the_rates_until_that_day() -> None:
    later = RateCurve(0.0, 0.06, 0.75, 0.80, 0.25)
    rates = market((AAVE, use(25)), (later, use(25, seed=2)), (AAVE, use(10, seed=3)))
    borrow = rates.quoted_borrow_apr.copy()
    borrow[[5, 33]] += 0.04
    rates = replace(rates, quoted_borrow_apr=borrow)
    daily = calibrate_daily(rates)
    for row in range(rates.n_days):
        until = calibrate(rates.until(DAY + timedelta(days=row)))
        if until.periods["USDC"]:
            assert daily[row]["USDC"] == until.current("USDC").curve
        else:
            assert not daily[row]


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(3, 49), seed=st.integers(0, 50))
def test_what_comes_later_does_not_change_the_curve_of_an_earlier_day(cut: int, seed: int) -> None:
    rates = market((AAVE, use(50, seed=seed)))
    other = rates.quoted_borrow_apr.copy()
    other[cut:] *= 1.7
    changed = calibrate_daily(replace(rates, quoted_borrow_apr=other))
    assert changed[:cut] == calibrate_daily(rates)[:cut]


def test_the_curve_of_a_day_in_hindsight_is_that_of_the_period_it_is_in() -> None:
    later = replace(AAVE, slope1=0.08)
    found = calibrate(market((AAVE, use(30)), (later, use(30, seed=2))))
    assert found.curve_on("USDC", DAY + timedelta(days=29)).slope1 == pytest.approx(0.04, abs=1e-4)
    assert found.curve_on("USDC", DAY + timedelta(days=30)).slope1 == pytest.approx(0.08, abs=1e-4)
    with pytest.raises(MissingDataError):
        found.curve_on("USDC", DAY - timedelta(days=1))


def test_the_table_has_a_row_a_period_with_its_residuals() -> None:
    found: Calibration = calibrate(market((AAVE, use(30)), assets=("DAI", "USDC")))
    table = found.table()
    assert table["asset"].tolist() == ["DAI", "USDC"]
    assert (table["rmse_apr"] <= table["max_residual_apr"]).all()
    assert (table["max_residual_apr"] < 1e-6).all()


def test_too_few_readings_make_no_curve() -> None:
    two = np.array([0.5, 0.6])
    assert fit_curve(Observations(two, 0.05 * two, 0.04 * two)) is None


def test_rates_that_fall_with_utilisation_make_no_curve() -> None:
    used = np.linspace(0.5, 0.9, 9)
    assert fit_curve(Observations(used, 0.1 - 0.05 * used, 0.0 * used)) is None


def test_our_legs_lower_what_we_get_and_raise_what_we_pay() -> None:
    equity, size = 5e6, 3.0
    supply = diluted_supply_apr(AAVE, 100e6, 93e6, size * equity)
    borrow = diluted_borrow_apr(AAVE, 100e6, 85e6, 0.0, (size - 1.0) * equity)
    assert supply == pytest.approx(float(AAVE.supply_apr(np.array(93 / 115))))
    assert borrow == pytest.approx(float(AAVE.borrow_apr(np.array(0.95))))


@given(own=st.floats(0.0, 1e9), more=st.floats(1.0, 1e8), debt=st.floats(1e6, 1e8))
def test_the_more_we_supply_the_less_it_pays_and_the_more_we_borrow_the_more_it_costs(
    own: float, more: float, debt: float
) -> None:
    supplied = 1e8
    now = diluted_supply_apr(AAVE, supplied, debt, own)
    assert diluted_supply_apr(AAVE, supplied, debt, own + more) <= now * (1 + 1e-12)
    cost = diluted_borrow_apr(AAVE, supplied, debt, 0.0, own)
    assert diluted_borrow_apr(AAVE, supplied, debt, 0.0, own + more) >= cost * (1 - 1e-12)


def test_no_legs_leave_the_rates_as_they_are() -> None:
    now = np.array(0.85)
    assert diluted_supply_apr(AAVE, 1e8, 85e6, 0.0) == pytest.approx(float(AAVE.supply_apr(now)))
    assert diluted_borrow_apr(AAVE, 1e8, 85e6, 0.0, 0.0) == pytest.approx(
        float(AAVE.borrow_apr(now))
    )


def test_more_than_is_deposited_counts_as_full_use() -> None:
    assert diluted_borrow_apr(AAVE, 1e8, 9e7, 0.0, 9e7) == pytest.approx(0.64)


def test_bad_sizes_and_curves_are_refused_by_name() -> None:
    with pytest.raises(ParameterError, match="own_supply_usd"):
        diluted_supply_apr(AAVE, 1e8, 9e7, -1.0)
    with pytest.raises(ParameterError, match="borrowed_usd"):
        diluted_borrow_apr(AAVE, 1e8, np.nan, 0.0, 1.0)
    with pytest.raises(ParameterError, match="nothing is deposited"):
        diluted_supply_apr(AAVE, 0.0, 0.0, 0.0)
    with pytest.raises(ContractError, match="optimal_utilisation"):
        RateCurve(0.0, 0.04, 0.6, 90.0, 0.1)
