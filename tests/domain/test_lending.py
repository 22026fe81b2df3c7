"""Dilution of a fixed revenue by our own deposit."""

from __future__ import annotations

import numpy as np

from stableyield.domain.lending import pro_rata_factor


def test_a_deposit_as_large_as_all_others_halves_the_rate() -> None:
    assert pro_rata_factor(np.array([1e6]), np.array([1e6]))[0] == 0.5


def test_nothing_deposited_nothing_diluted() -> None:
    assert pro_rata_factor(np.array([1e6]), np.array([0.0]))[0] == 1.0


def test_the_more_we_deposit_the_less_is_left_but_the_yield_grows() -> None:
    own = np.linspace(0.0, 1e7, 50)
    kept = pro_rata_factor(np.full_like(own, 1e6), own)
    assert np.all(np.diff(kept) < 0.0)
    assert np.all(np.diff(kept * own) > 0.0)


def test_a_pool_of_unknown_size_has_an_unknown_dilution() -> None:
    kept = pro_rata_factor(np.array([0.0, np.nan, -1.0]), np.array([1.0, 1.0, 1.0]))
    assert np.isnan(kept).all()
