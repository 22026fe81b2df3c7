"""A scenario: a name, a market to decide on, and what is different about the parameters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from stableyield.domain.costs import GasCosts
from stableyield.errors import ContractError

MAX_NAME_LENGTH = 80


def _day(value: object) -> object:
    """A day that is written as text; TOML has dates of its own."""
    return date.fromisoformat(value) if isinstance(value, str) else value


class _Market(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class MockMarket(_Market):
    """The research notebooks' generator, see `stableyield.market.mock`."""

    pools: Annotated[int, Field(ge=1, le=10_000)] = 15
    """Number of pools."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seed of the legacy stream."""
    aum_usd: Annotated[float, Field(gt=0.0, le=1e15)] = 1_000_000.0
    """Money at prices of 1.0."""
    gas_of: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Take the gas costs of the instance with that many pools; absent: this instance's own."""


class ProblemFile(_Market):
    """A problem file (docs/formats.md); its own parameters are the base of the scenario's."""

    path: Path


class GasUsd(_Market):
    """Fixed gas in USD of one transaction of each kind."""

    allocation: Annotated[float, Field(ge=0.0)]
    withdrawal: Annotated[float, Field(ge=0.0)]
    conversion: Annotated[float, Field(ge=0.0)]

    @property
    def costs(self) -> GasCosts:
        """The same as the optimiser has it."""
        return GasCosts(self.allocation, self.withdrawal, self.conversion)


class MarketDay(_Market):
    """New money on one day of a market directory, with what was known by the end of that day."""

    directory: Path
    day: Annotated[date, BeforeValidator(_day)]
    aum_usd: Annotated[float, Field(gt=0.0, le=1e15)] = 1_000_000.0
    """Money to invest."""
    token: str = "USDC"
    """Token that the money is in."""
    forecast: str = "ewma"
    """Name of a baseline forecaster, or ``foreign``."""
    gas_usd: GasUsd | None = None
    """Instead of the market's gas prices."""
    assume_par: bool = False
    """Take plain dollar coins without any price at 1 USD; reported."""
    confirm_percent: bool = False
    """Low percent columns really are percent."""


Market = MockMarket | ProblemFile | MarketDay


@dataclass(frozen=True)
class Scenario:
    """One decision of a study.

    Parameters
    ----------
    name : str
        Unique in a study; `slug` names its files.
    market : MockMarket, ProblemFile or MarketDay
    parameters : mapping of name to value
        What differs from the problem file's parameters, or from the defaults.
    origin : str
        The file it was read from, for messages.

    Raises
    ------
    ContractError
        When the name is too long, not printable or without any plain letter or digit.
    """

    name: str
    market: Market
    parameters: Mapping[str, object] = field(default_factory=dict)
    origin: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))
        if not (self.slug and self.name.isprintable() and len(self.name) <= MAX_NAME_LENGTH):
            raise ContractError(
                f"the name {self.name[: MAX_NAME_LENGTH + 1]!r} cannot name a file",
                where=self.origin,
                remedy=f"use letters and digits, at most {MAX_NAME_LENGTH} characters on one line",
            )

    @property
    def slug(self) -> str:
        """The name as a part of file names: ASCII letters, digits and underscores."""
        plain = unicodedata.normalize("NFKD", self.name).encode("ascii", "ignore").decode()
        return re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_")

    @property
    def where(self) -> str:
        """File and name, for messages."""
        here = f"scenario {self.name!r}"
        return f"{self.origin}: {here}" if self.origin else here


def check_names(scenarios: Sequence[Scenario]) -> None:
    """Refuse names that are equal, or would name the same files.

    Case is ignored, as some file systems do.

    Raises
    ------
    ContractError
        When there is no scenario, or two have the same name.
    """
    if not scenarios:
        raise ContractError("there is no scenario", remedy="add a [[scenario]] with a name")
    seen: dict[str, Scenario] = {}
    for scenario in scenarios:
        other = seen.setdefault(scenario.slug.casefold(), scenario)
        if other is not scenario:
            what = (
                "the name occurs twice"
                if other.name == scenario.name
                else f"its files would have the names of scenario {other.name!r}"
            )
            raise ContractError(what, where=scenario.where, remedy="give each its own name")
