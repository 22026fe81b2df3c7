"""The icebox: tokens that trade away from their peg, as a state machine per token.

Per day and token, on what is known at the end of that day::

    low breach    low   < peg * (1 - icebox_ohlc_l_threshold_pct)
    close breach  close < peg * (1 - icebox_ohlc_c_threshold_pct)

    outside --[ low breached icebox_ohlc_l_days_threshold days in a row,
                or close breached icebox_ohlc_c_days_threshold days in a row ]--> inside
    inside  --[ no low breach for icebox_recovery_l_days_threshold days in a row
                and no close breach for icebox_recovery_c_days_threshold days ]--> outside

A day without a low neither lengthens nor breaks a row of lows; likewise for closes. A token that
never had a low (its source has closing prices only) is judged by its closes alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stableyield.errors import ContractError, InputError
from stableyield.screening.icebox_machine import (
    IceboxEvent,
    IceboxGap,
    IceboxMachine,
    IceboxOverride,
)

if TYPE_CHECKING:
    from stableyield.config import AllocationParameters
    from stableyield.market.panel import MarketView

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Days = NDArray[np.datetime64]


@dataclass(frozen=True, eq=False)
class IceboxLog:
    """What the icebox did over a history.

    Attributes
    ----------
    days : ndarray of datetime64[D], shape (n_days,)
    tokens : tuple of str
    iceboxed : ndarray of bool, shape (n_days, n_tokens)
        The state after each day's row, overrides included.
    events : tuple of IceboxEvent
        By day of entry, then token.
    gaps : tuple of IceboxGap
        Tokens with at least one gap, in the order of ``tokens``.
    """

    days: Days
    tokens: tuple[str, ...]
    iceboxed: Bools
    events: tuple[IceboxEvent, ...]
    gaps: tuple[IceboxGap, ...]


class IceboxTracker:
    """The icebox, advanced a day at a time.

    The first `advance` catches up with the whole history of the view; later ones read only the
    days since. The result is that of `icebox_history` over the same days.

    Parameters
    ----------
    parameters : AllocationParameters
    overrides : iterable of IceboxOverride
    """

    def __init__(
        self, parameters: AllocationParameters, overrides: Iterable[IceboxOverride] = ()
    ) -> None:
        self._machine = IceboxMachine(parameters, overrides)

    def advance(self, view: MarketView) -> frozenset[str]:
        """The tokens that are iceboxed at the end of ``view.day``.

        Raises
        ------
        InputError
            When the view is older than the tracker, starts after it, or is of another market.
        """
        last = self._machine.last_day
        if last is not None and view.day < last:
            raise InputError(
                f"the icebox is already at {last}, it cannot go back to {view.day}",
                remedy="start a new IceboxTracker",
            )
        first = view.days[0].astype(date)
        start = 0 if last is None else (last - first).days + 1
        if start < 0:
            raise InputError(
                f"the view starts on {first}, the icebox has seen the days up to {last}",
                remedy="give it a view that reaches back to the day after",
            )
        self._machine.grow(view.tokens)
        series = view.token_series
        for row in range(start, len(view.days)):
            self._machine.step(
                first + timedelta(days=row),
                series.low_usd[row],
                series.close_usd[row],
                series.peg_usd[row],
            )
        return self.iceboxed

    @property
    def iceboxed(self) -> frozenset[str]:
        """Tokens in the icebox now, overrides included."""
        return self._machine.iceboxed()

    @property
    def unjudged(self) -> frozenset[str]:
        """Tokens that the last day could not be judged for: no price, or an unknown peg."""
        machine = self._machine
        if machine.judged.all():
            return frozenset()
        return frozenset(
            token for token, ok in zip(machine.tokens, machine.judged, strict=True) if not ok
        )

    @property
    def events(self) -> tuple[IceboxEvent, ...]:
        """Every stay and override so far, by day of entry, then token."""
        return self._machine.events()

    @property
    def gaps(self) -> tuple[IceboxGap, ...]:
        """Tokens that could not be judged in full on some day."""
        return self._machine.gaps()


def icebox_history(
    days: Days,
    tokens: Sequence[str],
    low_usd: Floats,
    close_usd: Floats,
    peg_usd: Floats,
    parameters: AllocationParameters,
    overrides: Iterable[IceboxOverride] = (),
) -> IceboxLog:
    """The icebox over a whole history.

    Parameters
    ----------
    days : ndarray of datetime64[D], shape (n_days,)
        Consecutive calendar days.
    tokens : sequence of str
        Case-exact symbols.
    low_usd, close_usd, peg_usd : ndarray of shape (n_days, n_tokens)
        USD; NaN where unknown. A peg that is not given is 1 USD, except for a token that has had
        one before and for `TOKENS_WITHOUT_USD_PEG`: those days cannot be judged.
    parameters : AllocationParameters
    overrides : iterable of IceboxOverride

    Raises
    ------
    ContractError
        When the days are not consecutive or a shape does not fit.
    """
    days = np.asarray(days, dtype="datetime64[D]")
    if np.any(np.diff(days) != np.timedelta64(1, "D")):
        raise ContractError("the days are not consecutive", remedy="fill missing days with NaN")
    shape = (len(days), len(tokens))
    for name, array in (("low_usd", low_usd), ("close_usd", close_usd), ("peg_usd", peg_usd)):
        if array.shape != shape:
            raise ContractError(f"{name} has shape {array.shape}, expected {shape}")
    machine = IceboxMachine(parameters, overrides)
    machine.grow(tuple(tokens))
    iceboxed = np.zeros(shape, dtype=bool)
    for row, day in enumerate(days.astype(object)):
        machine.step(day, low_usd[row], close_usd[row], peg_usd[row])
        iceboxed[row] = machine.states()
    return IceboxLog(days, tuple(tokens), iceboxed, machine.events(), machine.gaps())
