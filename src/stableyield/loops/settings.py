"""What loop to run: how far to lever, what moving costs, when to move; checked when made.

Everything without a suffix is a fraction: an LTV of 90 % is 0.9, a swap cost of 1 basis point is
0.0001.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from stableyield.errors import ParameterError
from stableyield.loops.formulas import (
    leverage,
    leverage_for_health_factor,
    leverage_limit,
    position_ltv,
    rounds_until,
)

DEFAULT_HEALTH_FACTOR = 1.3
_MOST_ROUNDS = 200
_ROUNDS_SHARE = 0.01  # by hand a target leverage is approached until the last loan is this small


@dataclass(frozen=True, slots=True)
class LoopTarget:
    """How far to lever: one of an LTV per round, a leverage, a health factor.

    Parameters
    ----------
    ltv : float, optional
        Drawn per round, with ``rounds`` or ``stop_share``.
    rounds : int, optional
        Re-supplies.
    stop_share : float, optional
        Stop when the last loan is no more than this share of equity.
    leverage : float, optional
        Collateral over equity; 1 is plain supply.
    health_factor : float, optional
        Above 1. With nothing given at all, 1.3.

    Raises
    ------
    ParameterError
        When not exactly one is given, or a value is out of bounds.
    """

    ltv: float | None = None
    rounds: int | None = None
    stop_share: float | None = None
    leverage: float | None = None
    health_factor: float | None = None

    def __post_init__(self) -> None:
        given = [n for n in ("ltv", "leverage", "health_factor") if getattr(self, n) is not None]
        if len(given) > 1:
            raise ParameterError(
                f"{' and '.join(given)} are given together",
                remedy="each fixes the leverage: give exactly one",
            )
        steps = [n for n in ("rounds", "stop_share") if getattr(self, n) is not None]
        if steps and self.ltv is None:
            raise ParameterError(
                f"{steps[0]} is given without ltv", remedy="rounds are counted at an LTV: give ltv"
            )
        if self.ltv is not None and len(steps) != 1:
            raise ParameterError(
                f"ltv is given with {' and '.join(steps) or 'neither rounds nor stop_share'}",
                remedy="give exactly one of rounds and stop_share",
            )
        self.size(1.0)  # raises for what is out of bounds

    @property
    def wanted_health_factor(self) -> float | None:
        """The health factor to open with, where that is what fixes the leverage."""
        if self.ltv is None and self.leverage is None:
            return DEFAULT_HEALTH_FACTOR if self.health_factor is None else self.health_factor
        return None

    def size(self, liquidation_threshold: float) -> float:
        """Leverage at a liquidation threshold."""
        if self.ltv is not None:
            return leverage(self.ltv, self._n_rounds)
        if self.leverage is not None:
            position_ltv(self.leverage)  # checks it
            return self.leverage
        return leverage_for_health_factor(
            liquidation_threshold, self.wanted_health_factor or DEFAULT_HEALTH_FACTOR
        )

    def size_within(self, ltv: float, liquidation_threshold: float) -> float:
        """Leverage that a market allows: rounds draw no more than its LTV; no larger leverage."""
        wanted = self.size(liquidation_threshold)
        if self.ltv is not None and self.ltv > ltv:
            return leverage(ltv, self._n_rounds)
        return min(wanted, leverage_limit(ltv))

    def drawn_ltv(self, ltv: float) -> float:
        """LTV that each round draws in a market that allows ``ltv``."""
        return ltv if self.ltv is None else min(self.ltv, ltv)

    def rounds_by_hand(self, size: float, ltv: float) -> int:
        """Rounds that build a leverage by hand at an LTV; to 1 % of equity where none are given."""
        if size <= 1.0:
            return 0
        if self.ltv is not None:
            return self._n_rounds
        room = 1.0 - size * (1.0 - ltv)  # the share of the last round's loan, ltv ** (n + 1)
        if room <= ltv**_MOST_ROUNDS:
            return rounds_until(ltv, _ROUNDS_SHARE)
        return max(1, math.ceil(math.log(room) / math.log(ltv) - 1.0 - 1e-9))

    @property
    def _n_rounds(self) -> int:
        if self.rounds is not None:
            if self.rounds > _MOST_ROUNDS:
                raise ParameterError(
                    f"rounds is {self.rounds}, the largest is {_MOST_ROUNDS}",
                    remedy="give a leverage instead",
                )
            return self.rounds
        return rounds_until(self.ltv or 0.0, self.stop_share or 1.0)


@dataclass(frozen=True, slots=True)
class LoopCosts:
    """What a transaction, a swap and a flash loan cost.

    Parameters
    ----------
    execution : {"flash_loan", "by_hand"}
        A flash loan opens in two transactions and closes in one; by hand ``n`` rounds take
        ``3 n + 1``.
    swap : float
        Share of the swapped USD.
    flash_premium : float
        Share of what a flash loan lends; 5 basis points at Aave.
    gas_usd : float, optional
        USD of one transaction; absent: ``gas_units`` at the day's gas and ETH price.
    gas_units : float
        Of one transaction on a lending market.
    flash_gas_multiple : float
        A transaction through a flash loan takes this many times the gas of a plain one.
    """

    execution: Literal["flash_loan", "by_hand"] = "flash_loan"
    swap: float = 0.0001
    flash_premium: float = 0.0005
    gas_usd: float | None = None
    gas_units: float = 270_000.0
    flash_gas_multiple: float = 3.0

    def __post_init__(self) -> None:
        if self.execution not in {"flash_loan", "by_hand"}:
            raise ParameterError(
                f"execution is {self.execution!r}", remedy="choose flash_loan or by_hand"
            )
        for name in ("swap", "flash_premium"):
            check_between(name, getattr(self, name), 0.0, 0.2)
        for name in ("gas_units", "flash_gas_multiple"):
            check_between(name, getattr(self, name), 0.0, 1e8)
        if self.gas_usd is not None:
            check_between("gas_usd", self.gas_usd, 0.0, 1e6)


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """What to run, where and when.

    Parameters
    ----------
    target : LoopTarget
    costs : LoopCosts
    chains, protocols, assets : tuple of str
        Empty: all that the rates have.
    equity_usd : float
        Money in each market on its first day.
    start, end : date, optional
        First and last decision day.
    rewards_haircut : float
        Share of the quoted rewards that is not counted.
    expected_holding_days : float
        Over which a move has to earn its cost back.
    hysteresis : float
        Multiple of the cost that the expected gain has to beat.
    unlever_after_days : int, optional
        Days in a row with a negative spread after which leverage is taken off; absent: never.
    signal_days : int
        Rates are judged by their mean over this many days, the decision day included.
    min_health_factor : float
        Never opened below; a position that falls below is taken back to its target.
    over_limit : {"reduce", "refuse"}
        A target beyond what the market allows on the day: as much as is allowed, or not at all.
    own_impact : {"none", "kinked"}
        Whether our own size moves both rates along the market's calibrated curve.

    Raises
    ------
    ParameterError
        When a value is out of bounds.
    """

    target: LoopTarget = field(default_factory=LoopTarget)
    costs: LoopCosts = field(default_factory=LoopCosts)
    chains: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    equity_usd: float = 1_000_000.0
    start: date | None = None
    end: date | None = None
    rewards_haircut: float = 0.0
    expected_holding_days: float = 7.0
    hysteresis: float = 1.0
    unlever_after_days: int | None = 3
    signal_days: int = 7
    min_health_factor: float = 1.02
    over_limit: Literal["reduce", "refuse"] = "reduce"
    own_impact: Literal["none", "kinked"] = "kinked"

    def __post_init__(self) -> None:
        for name, low, high in (
            ("equity_usd", 1.0, 1e12),
            ("rewards_haircut", 0.0, 1.0),
            ("expected_holding_days", 1.0, 3650.0),
            ("hysteresis", 0.0, 1000.0),
            ("signal_days", 1, 365),
            ("min_health_factor", 1.0, 100.0),
        ):
            check_between(name, getattr(self, name), low, high)
        if self.unlever_after_days is not None:
            check_between("unlever_after_days", self.unlever_after_days, 1, 3650)
        if self.start is not None and self.end is not None and self.start > self.end:
            raise ParameterError(
                f"end {self.end} is before start {self.start}", remedy="swap or correct them"
            )
        for name, choices in (
            ("over_limit", ("reduce", "refuse")),
            ("own_impact", ("none", "kinked")),
        ):
            if getattr(self, name) not in choices:
                raise ParameterError(
                    f"{name} is {getattr(self, name)!r}", remedy=f"choose {' or '.join(choices)}"
                )
        wanted = self.target.wanted_health_factor
        if wanted is not None and wanted < self.min_health_factor:
            raise ParameterError(
                f"health_factor {wanted:g} is below min_health_factor {self.min_health_factor:g}",
                remedy="a position would be taken back as soon as it is open: raise the one or "
                "lower the other",
            )


def check_between(name: str, value: object, low: float, high: float) -> None:
    """A number within bounds.

    Raises
    ------
    ParameterError
        When it is not.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not low <= float(value) <= high
    ):
        raise ParameterError(
            f"{name} is {value!r}, must be from {low:,g} to {high:,g}",
            remedy="the settings are in docs/loops.md; shares are fractions: 1 % is 0.01",
        )
