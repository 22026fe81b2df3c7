"""The icebox's state machine: one step a day, vectorised over tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from stableyield.errors import InputError
from stableyield.screening.pegs import TOKENS_WITHOUT_USD_PEG

if TYPE_CHECKING:
    from stableyield.config import AllocationParameters

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
_T = TypeVar("_T", np.bool_, np.int64)

PEG_USD = 1.0
# A price exactly at the threshold is no breach, whatever 1.05 * 0.99 rounds to.
_TOLERANCE_USD = 1e-12


@dataclass(frozen=True)
class IceboxOverride:
    """A human's word on one token, which stands above the rule while it lasts.

    Parameters
    ----------
    token : str
    iceboxed : bool
        True puts the token into the icebox, False takes it out.
    reason : str
    expires : date
        Last day on which it holds.
    set_on : date
        First day on which it holds; it changes nothing before.

    Raises
    ------
    InputError
        Without a reason, or when it expires before it starts.
    """

    token: str
    iceboxed: bool
    reason: str
    expires: date
    set_on: date

    def __post_init__(self) -> None:
        where = f"icebox override of {self.token}"
        if not self.reason.strip():
            raise InputError("no reason is given", where=where, remedy="say why, it is recorded")
        if self.expires < self.set_on:
            raise InputError(
                f"expires on {self.expires}, before it starts on {self.set_on}",
                where=where,
                remedy="give an expiry on or after set_on",
            )


@dataclass(frozen=True)
class IceboxEvent:
    """One stay of a token in the icebox, or one override.

    Attributes
    ----------
    token : str
    entered : date
        The day whose row made it enter.
    left : date or None
        The first day on which it is outside again; None while it is inside.
    rule : str
        ``low``, ``close``, ``low+close`` or ``override``.
    low_usd, close_usd, peg_usd : float
        Values of the day of entry; NaN where unknown.
    iceboxed : bool
        False only for an override that takes a token out.
    reason : str
        The reason of an override.
    """

    token: str
    entered: date
    left: date | None
    rule: str
    low_usd: float
    close_usd: float
    peg_usd: float
    iceboxed: bool = True
    reason: str = ""


@dataclass(frozen=True)
class IceboxGap:
    """Days on which a token could not be judged in full, from its first closing price on."""

    token: str
    days_without_low: int
    days_without_close: int
    days_with_unknown_peg: int


class _Run:
    """Consecutive breaches and consecutive clean days per token; unknown days do not count."""

    def __init__(self) -> None:
        self.breaches: Ints = np.zeros(0, dtype=np.int64)
        self.clean: Ints = np.zeros(0, dtype=np.int64)
        self.missed: Ints = np.zeros(0, dtype=np.int64)

    def grow(self, n_tokens: int) -> None:
        self.breaches = _grown(self.breaches, n_tokens)
        self.clean = _grown(self.clean, n_tokens)
        self.missed = _grown(self.missed, n_tokens)

    def count(self, price_usd: Floats, floor_usd: Floats) -> None:
        """Count one day; NaN in either array is an unknown day."""
        breach = price_usd < floor_usd - _TOLERANCE_USD
        clean = price_usd >= floor_usd - _TOLERANCE_USD
        self.breaches = np.where(clean, 0, self.breaches + breach)
        self.clean = np.where(breach, 0, self.clean + clean)


class IceboxMachine:
    """The state of every token; one `step` a day.

    Parameters
    ----------
    parameters : AllocationParameters
    overrides : iterable of IceboxOverride

    Attributes
    ----------
    tokens : tuple of str
    last_day : date or None
        The last day that was judged.
    judged : ndarray of bool, shape (n_tokens,)
        Whether the last day had a close and a known peg.
    """

    def __init__(
        self, parameters: AllocationParameters, overrides: Iterable[IceboxOverride]
    ) -> None:
        self._parameters = parameters
        # the last one set wins: they are applied in this order
        self._overrides = sorted(overrides, key=lambda override: override.set_on)
        self.tokens: tuple[str, ...] = ()
        self.last_day: date | None = None
        self._low, self._close = _Run(), _Run()
        self._peg_unknown: Ints = np.zeros(0, dtype=np.int64)
        self._inside: Bools = np.zeros(0, dtype=bool)
        self._seen: Bools = np.zeros(0, dtype=bool)  # had a close: the day a panel knows it from
        self._has_low: Bools = np.zeros(0, dtype=bool)
        self._has_peg: Bools = np.zeros(0, dtype=bool)
        self._at_par: Bools = np.zeros(0, dtype=bool)
        self.judged: Bools = np.zeros(0, dtype=bool)
        self._closed: list[IceboxEvent] = []
        self._open: dict[str, IceboxEvent] = {}
        self._active: dict[str, tuple[IceboxOverride, IceboxEvent]] = {}

    def grow(self, tokens: tuple[str, ...]) -> None:
        """Take in tokens that have become known; they come after the known ones."""
        n_known, n_tokens = len(self.tokens), len(tokens)
        if tokens[:n_known] != self.tokens:
            raise InputError(
                "the tokens of the view do not continue those of the icebox",
                where=f"{self.tokens} and {tokens}",
                remedy="use one IceboxTracker per market",
            )
        if n_tokens == n_known:
            return
        self.tokens = tokens
        self._low.grow(n_tokens)
        self._close.grow(n_tokens)
        self._peg_unknown = _grown(self._peg_unknown, n_tokens)
        self._inside = _grown(self._inside, n_tokens)
        self._seen = _grown(self._seen, n_tokens)
        self._has_low = _grown(self._has_low, n_tokens)
        self._has_peg = _grown(self._has_peg, n_tokens)
        self.judged = _grown(self.judged, n_tokens)
        self._at_par = np.array([token not in TOKENS_WITHOUT_USD_PEG for token in tokens])

    def step(self, day: date, low_usd: Floats, close_usd: Floats, peg_usd: Floats) -> None:
        """Judge one day: arrays of shape (n_tokens,), USD."""
        p = self._parameters
        self._seen = self._seen | np.isfinite(close_usd)
        low, close, peg = (self._usable(prices) for prices in (low_usd, close_usd, peg_usd))
        self._has_low = self._has_low | np.isfinite(low)
        self._has_peg = self._has_peg | np.isfinite(peg)
        peg = np.where(self._seen & self._at_par & ~self._has_peg, PEG_USD, peg)
        self._low.count(low, peg * (1.0 - p.icebox_ohlc_l_threshold_pct))
        self._close.count(close, peg * (1.0 - p.icebox_ohlc_c_threshold_pct))
        self._note_gaps(low, close, peg)

        by_low = self._low.breaches >= p.icebox_ohlc_l_days_threshold
        by_close = self._close.breaches >= p.icebox_ohlc_c_days_threshold
        low_recovered = self._low.clean >= p.icebox_recovery_l_days_threshold
        close_recovered = self._close.clean >= p.icebox_recovery_c_days_threshold
        enter = ~self._inside & (by_low | by_close)
        leave = self._inside & (low_recovered | ~self._has_low) & close_recovered
        self._inside = (self._inside | enter) & ~leave

        for j in np.flatnonzero(enter):
            rule = "+".join(n for n, by in (("low", by_low[j]), ("close", by_close[j])) if by)
            values = (float(low[j]), float(close[j]), float(peg[j]))
            self._open[self.tokens[j]] = IceboxEvent(self.tokens[j], day, None, rule, *values)
        for j in np.flatnonzero(leave):
            self._closed.append(replace(self._open.pop(self.tokens[j]), left=day))
        if self._overrides:
            self._apply_overrides(day, (low, close, peg))
        self.last_day = day

    def _usable(self, prices_usd: Floats) -> Floats:
        """Prices that say something: positive, finite, and not before the first close."""
        usable = self._seen & np.isfinite(prices_usd) & (prices_usd > 0.0)
        result: Floats = np.where(usable, prices_usd, np.nan)
        return result

    def _note_gaps(self, low: Floats, close: Floats, peg: Floats) -> None:
        no_peg = np.isnan(peg)
        self._low.missed = self._low.missed + (self._seen & np.isnan(low))
        self._close.missed = self._close.missed + (self._seen & np.isnan(close))
        self._peg_unknown = self._peg_unknown + (self._seen & no_peg)
        self.judged = ~(no_peg | np.isnan(close))

    def _apply_overrides(self, day: date, values: tuple[Floats, Floats, Floats]) -> None:
        current = {o.token: o for o in self._overrides if o.set_on <= day <= o.expires}
        for token, (override, event) in sorted(self._active.items()):
            if current.get(token) is not override:
                self._closed.append(replace(event, left=day))
                del self._active[token]
        for token, override in sorted(current.items()):
            if token not in self._active:
                known = token in self.tokens
                j = self.tokens.index(token) if known else 0
                low, close, peg = (float(v[j]) if known else float("nan") for v in values)
                event = IceboxEvent(
                    *(token, day, None, "override", low, close, peg),
                    iceboxed=override.iceboxed,
                    reason=override.reason,
                )
                self._active[token] = (override, event)

    def states(self) -> Bools:
        """State of each token now, overrides included; shape (n_tokens,)."""
        states = self._inside.copy()
        for token, (override, _) in self._active.items():
            if token in self.tokens:
                states[self.tokens.index(token)] = override.iceboxed
        return states

    def iceboxed(self) -> frozenset[str]:
        """Names of the tokens that are inside; an override may name one without any price."""
        if not self._active and not self._inside.any():
            return frozenset()
        forced = {token: override.iceboxed for token, (override, _) in self._active.items()}
        inside = {self.tokens[j] for j in np.flatnonzero(self._inside)}
        inside -= {token for token, is_in in forced.items() if not is_in}
        return frozenset(inside | {token for token, is_in in forced.items() if is_in})

    def events(self) -> tuple[IceboxEvent, ...]:
        """Every stay and override, by day of entry, then token."""
        running = [*self._open.values(), *(event for _, event in self._active.values())]
        return tuple(
            sorted(
                [*self._closed, *running],
                key=lambda event: (event.entered, event.token, event.rule, event.left or date.max),
            )
        )

    def gaps(self) -> tuple[IceboxGap, ...]:
        """Tokens with at least one day that could not be judged in full."""
        counts = zip(
            self.tokens,
            self._low.missed.tolist(),
            self._close.missed.tolist(),
            self._peg_unknown.tolist(),
            strict=True,
        )
        return tuple(IceboxGap(*gap) for gap in counts if any(gap[1:]))


def _grown(array: NDArray[_T], n_tokens: int) -> NDArray[_T]:
    """The array with zeros (False) for the tokens that are new."""
    result: NDArray[_T] = np.concatenate(
        [array, np.zeros(n_tokens - len(array), dtype=array.dtype)]
    )
    return result
