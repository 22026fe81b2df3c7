"""Shocks: what they cost by leverage, who is liquidated, and the leverage that a loss allows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from stableyield.errors import InfeasibleError, ParameterError
from stableyield.loops import depeg_to_liquidation, health_factor, leverage_for_max_loss
from stableyield.loops.accounting import LiquidationTerms
from stableyield.loops.stress import (
    SHOCKS,
    Shock,
    bonus_of,
    run_shock,
    shocks_of,
    stress_table,
)

BASE, EMODE = LiquidationTerms(0.78, 0.05), LiquidationTerms(0.95, 0.01)
QUIET = {"supply_apr": 0.0, "borrow_apr": 0.0}


def fall(share: float, n_days: int = 1) -> Shock:
    return Shock("fall", closes=(1.0 - share,) * n_days, **QUIET)  # type: ignore[arg-type]


@pytest.mark.parametrize("leverage", [1.0, 2.0, 3.439])
def test_a_depeg_costs_leverage_times_itself(leverage: float) -> None:
    outcome = run_shock(fall(0.01), leverage, EMODE)
    assert outcome.loss == pytest.approx(0.01 * leverage)
    assert not outcome.is_liquidated


@pytest.mark.parametrize("terms", [BASE, EMODE])
@pytest.mark.parametrize("leverage", [2.0, 3.0, 3.439])
def test_it_is_liquidated_where_the_formula_says(leverage: float, terms: LiquidationTerms) -> None:
    edge = depeg_to_liquidation(leverage, terms.liquidation_threshold)
    assert not run_shock(fall(edge - 1e-6), leverage, terms).is_liquidated
    hit = run_shock(fall(edge + 1e-6), leverage, terms)
    assert hit.is_liquidated
    assert hit.end_loss > leverage * edge, "the bonus comes on top"


def test_a_recovery_does_not_bring_back_what_liquidators_took() -> None:
    shock = Shock("v", closes=(0.85, 1.0), **QUIET)  # type: ignore[arg-type]
    outcome = run_shock(shock, 3.439, BASE)
    assert outcome.is_liquidated
    assert outcome.end_loss > 0.1
    assert run_shock(shock, 3.439, EMODE).end_loss == pytest.approx(0.0, abs=1e-12)


def test_a_low_counts_though_the_close_is_at_par() -> None:
    shock = Shock("wick", closes=(1.0,), lows=(0.65,), **QUIET)  # type: ignore[arg-type]
    outcome = run_shock(shock, 3.0, EMODE)
    assert outcome.is_liquidated
    assert outcome.health_factor == pytest.approx(health_factor(3.0, 0.95, 0.65))


def test_bad_debt_is_kept_apart_and_no_loss_exceeds_the_equity() -> None:
    outcome = run_shock(fall(0.9), 3.0, EMODE)
    assert outcome.loss == outcome.end_loss == pytest.approx(1.0)
    assert outcome.shortfall > 0.0


def test_without_cash_it_is_stuck_and_pays_the_spread() -> None:
    (shock,) = (s for s in SHOCKS if not s.can_leave)
    outcome = run_shock(shock, 3.439, EMODE)
    assert outcome.is_stuck
    assert outcome.end_loss > run_shock(shock, 1.0, EMODE).end_loss


def test_a_borrow_spike_costs_only_who_borrows() -> None:
    spike = next(s for s in SHOCKS if s.name == "Borrow-rate spike")
    assert run_shock(spike, 1.0, BASE).loss == 0.0
    losses = [run_shock(spike, size, BASE).loss for size in (1.5, 2.0, 3.0)]
    assert losses == sorted(losses)
    assert losses[0] > 0.0


def test_the_table_has_every_shock_threshold_and_leverage_that_is_possible() -> None:
    table = stress_table((1.0, 3.439, 6.0))
    assert set(table["shock"]) == {shock.name for shock in SHOCKS}
    base = table[table["liquidation_threshold"] == 0.78]
    assert sorted(set(base["leverage"])) == [1.0, 3.439], "6 is past 1 / (1 - 0.78)"
    assert table["loss_pct"].between(0.0, 100.0).all()
    plain = table[table["leverage"] == 1.0]
    assert not plain["is_liquidated"].any()
    assert plain["min_health_factor"].isna().all()


def test_the_shipped_shapes_liquidate_the_notebooks_loop_at_base_terms() -> None:
    table = stress_table((3.439,)).set_index(["shock", "liquidation_threshold"])
    for shock in ("USDC, March 2023", "DAI, March 2023", "UST, May 2022", "-12 %"):
        assert table.loc[(shock, 0.78), "is_liquidated"], shock
    assert not table.loc[("-5 %", 0.78), "is_liquidated"]
    assert not table.loc[("USDC, March 2023", 0.95), "is_liquidated"]


def test_shocks_of_coins_that_are_not_used_do_not_count() -> None:
    names = {shock.name for shock in shocks_of(["USDC"])}
    assert "USDC, March 2023" in names
    assert "UST, May 2022" not in names
    assert {"-5 %", "-12 %", "Borrow-rate spike"} <= names
    assert shocks_of(None) == SHOCKS


@pytest.mark.parametrize("measure", ["lowest", "end"])
@pytest.mark.parametrize("max_loss", [0.13, 0.2, 0.4])
def test_the_chosen_leverage_is_the_largest_within_the_loss(max_loss: float, measure: str) -> None:
    shocks = shocks_of(["USDC"])
    found = leverage_for_max_loss(max_loss, BASE, shocks, measure)  # type: ignore[arg-type]

    def worst(leverage: float) -> float:
        each = (run_shock(shock, leverage, BASE) for shock in shocks)
        return max(o.loss if measure == "lowest" else o.end_loss for o in each)

    assert found.loss == pytest.approx(worst(found.leverage))
    assert worst(found.leverage) <= max_loss < worst(found.leverage + 0.01)
    sizes = np.arange(1.0, found.leverage, 0.25)
    assert all(worst(float(size)) <= max_loss for size in sizes)


def test_a_larger_loss_allows_no_less_leverage() -> None:
    sizes = [
        leverage_for_max_loss(loss, BASE, shocks_of(["DAI"])).leverage
        for loss in (0.13, 0.2, 0.3, 0.6, 1.0)
    ]
    assert all(low <= high for low, high in itertools.pairwise(sizes))
    assert sizes[-1] == pytest.approx(1.0 / 0.22, abs=0.01), "the limit of the threshold"


def test_a_loss_that_plain_supply_exceeds_is_infeasible_and_named() -> None:
    with pytest.raises(InfeasibleError, match=r"UST, May 2022 costs 91\.0% of equity"):
        leverage_for_max_loss(0.1, BASE)


def test_arguments_out_of_bounds_are_refused() -> None:
    with pytest.raises(ParameterError):
        run_shock(SHOCKS[0], 0.5, BASE)
    with pytest.raises(ParameterError):
        leverage_for_max_loss(20.0, BASE)


def test_the_bonus_goes_with_the_threshold() -> None:
    assert (bonus_of(0.78), bonus_of(0.95)) == (0.05, 0.01)
