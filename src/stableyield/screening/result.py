"""What screening says: verdicts of rules, the state of each pool, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import IntEnum, StrEnum
from functools import cached_property
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.domain.pool import PoolState
from stableyield.errors import InputError
from stableyield.screening.groups import RiskGroups

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Rule(StrEnum):
    """Names of the rules; a rule with one parameter has the name of that parameter."""

    LISTED = "listed"
    CHAIN = "approved_chains"
    PROTOCOL = "approved_protocols"
    TOKEN = "approved_tokens"
    BLACKLIST = "blacklisted_tokens"
    MARKET_CAP = "token_marketcap_limit"
    PAIR_RATIO = "pool_pair_tvl_ratio"
    FILTERED_OUT = "is_filtered_out"
    PRICE = "price_missing"
    HISTORY = "min_history_days"
    STALE = "stale"
    IMPOSSIBLE = "impossible_value"
    FORECAST = "forecast_missing"
    APY = "pool_apy_limit"
    TVL = "pool_tvl_limit"
    TVL_SANITY = "tvl_sanity"
    ICEBOX = "icebox"


class Flag(StrEnum):
    """Names of what is worth knowing about a pool but does not stop it."""

    MARKET_CAP_UNKNOWN = "market_cap_unknown"
    TVL_UNCHECKED = "tvl_unchecked"
    ICEBOX_UNJUDGED = "icebox_unjudged"


class Consequence(IntEnum):
    """What a failed rule means for a pool that we hold; the highest one counts.

    Without prices nothing can be booked, so that freezes first. What may not be owned must be
    left, whether or not today's row has arrived. Missing data freezes what remains.
    """

    NONE = 0
    WITHDRAW_ONLY = 1
    FREEZE = 2
    EXIT = 3
    FREEZE_UNPRICED = 4


# by Consequence
_STATE_OF_HELD = (
    PoolState.OPEN,
    PoolState.WITHDRAW_ONLY,
    PoolState.FROZEN,
    PoolState.EXIT,
    PoolState.FROZEN,
)
_STATE_OF_NEW = (PoolState.OPEN, *[PoolState.EXCLUDED] * 4)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a pool failed a rule (or is flagged): the rule's name and one line with its values."""

    rule: str
    detail: str


@dataclass(frozen=True, eq=False)
class Verdict:
    """What one rule says of every pool.

    Parameters
    ----------
    rule : str
    applies : ndarray of bool, shape (n_pools,)
        Pools that fail the rule (or, of a flag, that carry it).
    text : str
        Format string of the detail; ``{}`` is the pool's value.
    values : ndarray of shape (n_pools,), or mapping of column to str
        What the rule judged; a mapping needs only the columns it applies to.
    consequence : Consequence
        What it means for a pool that is held.
    """

    rule: str
    applies: Bools
    text: str
    values: Floats | Ints | Mapping[int, str]
    consequence: Consequence = Consequence.NONE

    def reason(self, column: int) -> Reason:
        """The reason for one pool that the rule applies to."""
        return Reason(self.rule, self.text.format(self.values[column]))


@dataclass(frozen=True, eq=False)
class Screening:
    """What may be done with each pool on one day, and why.

    Attributes
    ----------
    day : date
    pool_ids : tuple of str, length n_pools
        Aligned with the pools of the view.
    is_held : ndarray of bool, shape (n_pools,)
    groups : RiskGroups of shape (n_pools,)
    verdicts : tuple of Verdict
        One a rule, in the order in which the rules are applied.
    flags : tuple of Verdict
    gone : tuple of str
        Held pools that the view does not know at all, sorted. They are to be exited.
    is_final : bool
        False before the forecasts were judged.
    """

    day: date
    pool_ids: tuple[str, ...]
    is_held: Bools
    groups: RiskGroups
    verdicts: tuple[Verdict, ...]
    flags: tuple[Verdict, ...] = ()
    gone: tuple[str, ...] = ()
    is_final: bool = False

    @cached_property
    def states(self) -> tuple[PoolState, ...]:
        """State of each pool; length n_pools."""
        worst = np.zeros(len(self.pool_ids), dtype=np.int64)
        for verdict in self.verdicts:
            np.maximum(worst, int(verdict.consequence), out=worst, where=verdict.applies)
        return tuple(
            _STATE_OF_HELD[consequence] if is_held else _STATE_OF_NEW[consequence]
            for consequence, is_held in zip(worst.tolist(), self.is_held.tolist(), strict=True)
        )

    @property
    def risk_groups(self) -> Ints:
        """Risk group of each pool, 1 to 3; shape (n_pools,)."""
        return self.groups.group

    @cached_property
    def failed(self) -> Bools:
        """Pools that fail at least one rule; shape (n_pools,)."""
        result = np.zeros(len(self.pool_ids), dtype=bool)
        for verdict in self.verdicts:
            result |= verdict.applies
        return result

    @property
    def allowed(self) -> Bools:
        """Pools that may be bought: those in state open; shape (n_pools,)."""
        return ~self.failed

    @property
    def needs_forecast(self) -> Bools:
        """Pools that a forecast is of use for: those not excluded; shape (n_pools,)."""
        return ~self.failed | self.is_held

    @cached_property
    def reasons(self) -> tuple[tuple[Reason, ...], ...]:
        """Every rule that each pool fails, in the order of the rules; length n_pools."""
        return _by_pool(self.verdicts, len(self.pool_ids))

    @cached_property
    def flag_reasons(self) -> tuple[tuple[Reason, ...], ...]:
        """Every flag that each pool carries; length n_pools."""
        return _by_pool(self.flags, len(self.pool_ids))

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of pools that fail each rule (rules that nobody fails are left out)."""
        counts = {verdict.rule: int(verdict.applies.sum()) for verdict in self.verdicts}
        return MappingProxyType({rule: n for rule, n in counts.items() if n})

    def state_of(self, pool_id: str) -> PoolState:
        """State of one pool.

        Raises
        ------
        InputError
            When the pool is neither in the view nor held.
        """
        if pool_id in self.gone:
            return PoolState.EXIT
        return self.states[self._column_of(pool_id)]

    def explain(self, pool_id: str) -> str:
        """Why a pool is in the state it is in, one reason a line.

        Raises
        ------
        InputError
            When the pool is neither in the view nor held.
        """
        head = f"{pool_id} on {self.day}: {self.state_of(pool_id)}"
        if pool_id in self.gone:
            return f"{head}\n  gone: held, but not in the market any more"
        i = self._column_of(pool_id)
        lines = [*self.reasons[i], *self.flag_reasons[i]]
        return "\n".join([head, *(f"  {reason.rule}: {reason.detail}" for reason in lines)])

    def to_frame(self) -> pd.DataFrame:
        """One row a pool, those that are gone last.

        Columns: day, pool_id, state, is_held, risk_group (0: gone, unknown), apy_delta_pp,
        stddev_7d_pp, stddev_30d_pp, rules, reasons, flags. The last three are texts; their parts
        are separated by ``; ``.
        """
        n_gone = len(self.gone)
        nothing = np.full(n_gone, np.nan)
        groups = self.groups
        return pd.DataFrame(
            {
                "day": pd.Timestamp(self.day),
                "pool_id": [*self.pool_ids, *self.gone],
                "state": [*map(str, self.states), *[str(PoolState.EXIT)] * n_gone],
                "is_held": [*self.is_held.tolist(), *[True] * n_gone],
                "risk_group": [*groups.group.tolist(), *[0] * n_gone],
                "apy_delta_pp": np.concatenate([groups.delta_pp, nothing]),
                "stddev_7d_pp": np.concatenate([groups.stddev_7d_pp, nothing]),
                "stddev_30d_pp": np.concatenate([groups.stddev_30d_pp, nothing]),
                "rules": [*_joined(self.reasons, "rule"), *["gone"] * n_gone],
                "reasons": [
                    *_joined(self.reasons, "detail"),
                    *["held, but not in the market any more"] * n_gone,
                ],
                "flags": [*_joined(self.flag_reasons, "detail"), *[""] * n_gone],
            }
        )

    @cached_property
    def _columns(self) -> Mapping[str, int]:
        return {pool_id: i for i, pool_id in enumerate(self.pool_ids)}

    def _column_of(self, pool_id: str) -> int:
        try:
            return self._columns[pool_id]
        except KeyError:
            raise InputError(
                f"pool {pool_id!r} is not in the market on {self.day}",
                remedy="check the id, or whether the pool was known by then",
            ) from None


def _by_pool(verdicts: tuple[Verdict, ...], n_pools: int) -> tuple[tuple[Reason, ...], ...]:
    found: list[list[Reason]] = [[] for _ in range(n_pools)]
    for verdict in verdicts:
        for column in np.flatnonzero(verdict.applies).tolist():
            found[column].append(verdict.reason(column))
    return tuple(map(tuple, found))


def _joined(reasons: tuple[tuple[Reason, ...], ...], what: str) -> list[str]:
    return ["; ".join(getattr(reason, what) for reason in of_pool) for of_pool in reasons]
