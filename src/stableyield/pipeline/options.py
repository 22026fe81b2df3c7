"""What a run is asked to do, and what of that it keeps, so that it can be replayed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import Engine

from stableyield.backtest import GasPricing
from stableyield.config import AllocationParameters
from stableyield.domain.costs import GasCosts
from stableyield.errors import MissingDataError, ParameterError
from stableyield.store import (
    LISTS,
    list_runs,
    read_defaults,
    read_frame,
    read_lists,
    read_parameters,
)

_PREFIX = "run."


@dataclass(frozen=True)
class DayOptions:
    """What decides a day beside its data and parameters; kept with the run.

    Parameters
    ----------
    forecast : str
        Name of the forecaster.
    gas_usd : (float, float, float), optional
        Fixed gas in USD of an allocation, a withdrawal and a conversion; absent: the market's.
    data_include_us : bool
        Whether the market's sizes and rates contain our own positions, as those of a live
        provider do; those of a simulated market or of a backtest do not.
    max_difference_pct : float
        Largest difference of observed and booked balances, as a fraction of AUM, that is booked
        as such; above it the run stops.
    """

    forecast: str = "ewma"
    gas_usd: tuple[float, float, float] | None = None
    data_include_us: bool = False
    max_difference_pct: float = 0.01

    @property
    def gas(self) -> GasPricing:
        """Where gas costs come from."""
        return GasPricing(fixed=None if self.gas_usd is None else GasCosts(*self.gas_usd))

    def to_values(self) -> dict[str, Any]:
        """As they are kept beside the parameters."""
        return {
            f"{_PREFIX}forecast": self.forecast,
            f"{_PREFIX}gas_usd": None if self.gas_usd is None else list(self.gas_usd),
            f"{_PREFIX}data_include_us": self.data_include_us,
            f"{_PREFIX}max_difference_pct": self.max_difference_pct,
        }


@dataclass(frozen=True)
class RunRequest:
    """What a run is asked to do.

    Parameters
    ----------
    day : date
        The UTC day to decide on, with what was known at its end.
    is_dry : bool
        Decide, and keep the plan under a run of kind ``dry``, but move no book and tell nobody.
    again : bool
        Decide a day again that has been decided; its bookings are reversed.
    options : DayOptions
    overrides : mapping of str to object
        Parameters that differ from the defaults; a list that is named here is used instead of the
        store's.
    """

    day: date
    is_dry: bool = False
    again: bool = False
    options: DayOptions = field(default_factory=DayOptions)
    overrides: Mapping[str, object] = field(default_factory=dict)


def parameters_of_day(engine: Engine, overrides: Mapping[str, object]) -> AllocationParameters:
    """The program's defaults, changed by the store's, by its lists and by ``overrides``.

    Raises
    ------
    ParameterError
        When a name or value is wrong, or a list has lost its last member: an empty list would
        approve everything.
    """
    lists: dict[str, object] = {}
    for name, members in read_lists(engine).items():
        if name in overrides:
            continue
        if not members and name.startswith("approved_") and len(read_frame(engine, name)):
            raise ParameterError(
                f"the list {name} has become empty, and an empty list approves everything",
                remedy=f"put a member on it, or say that all are approved: --set {name}=",
            )
        lists[name] = members
    defaults = AllocationParameters.from_mapping({**read_defaults(engine), **lists})
    return defaults.with_overrides(overrides)


def kept_values(parameters: AllocationParameters, options: DayOptions) -> dict[str, Any]:
    """Everything that decides a day, as it is kept with its run; lists are kept beside it."""
    values = parameters.model_dump(mode="json")
    return {name: value for name, value in values.items() if name not in LISTS} | (
        options.to_values()
    )


def from_kept(
    values: Mapping[str, Any], lists: Mapping[str, tuple[str, ...]]
) -> tuple[AllocationParameters, DayOptions]:
    """What `kept_values` was made of."""
    parameters = {name: v for name, v in values.items() if not name.startswith(_PREFIX)}
    own = {name.removeprefix(_PREFIX): v for name, v in values.items() if name.startswith(_PREFIX)}
    if own["gas_usd"] is not None:
        own["gas_usd"] = tuple(own["gas_usd"])
    return AllocationParameters.from_mapping({**parameters, **lists}), DayOptions(**own)


def options_of_last_run(engine: Engine) -> DayOptions | None:
    """The options of the newest run that is kept; None where there is none."""
    for run in list_runs(engine):
        try:
            return from_kept(*read_parameters(engine, run.run_id))[1]
        except MissingDataError:
            continue  # it failed before it had any
    return None
