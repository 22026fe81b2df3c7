"""What commands share: option types, and reading what was typed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stableyield.errors import InputError, MissingDataError, ParameterError

if TYPE_CHECKING:
    from stableyield.config import AllocationParameters
    from stableyield.domain.costs import GasCosts
    from stableyield.forecast import Forecaster
    from stableyield.market.panel import MarketPanel

MarketOption = Annotated[
    Path, typer.Option("--market", help="Market directory (see docs/formats.md).")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="A parameter (docs/parameters.md); may be repeated."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
ParOption = Annotated[
    bool,
    typer.Option(
        "--assume-par", help="Take plain dollar coins without any price at 1 USD; reported."
    ),
]
PercentOption = Annotated[
    bool,
    typer.Option("--confirm-percent", help="APY columns with low values really are percent."),
]
ForecastOption = Annotated[
    str,
    typer.Option(
        help="learned, last, mean7, mean30, ewma, median, reversion, foreign or foreign:risk_adj."
    ),
]


def assignments(pairs: Sequence[str] | None) -> dict[str, str]:
    """``NAME=VALUE`` texts as a mapping.

    Raises
    ------
    ParameterError
        When a text has no ``=``, no name or no value, or a name occurs twice.
    """
    result: dict[str, str] = {}
    for pair in pairs or ():
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not name:
            raise ParameterError(
                f"--set {pair!r} is no assignment", remedy="write --set name=value"
            )
        if name in result:
            raise ParameterError(f"--set gives {name!r} twice", remedy="give it once")
        result[name] = value
    return result


def parameters_of(pairs: Sequence[str] | None) -> AllocationParameters:
    """The default parameters with assignments applied."""
    from stableyield.config import AllocationParameters

    return AllocationParameters().with_overrides(assignments(pairs))


def day_of(text: str, name: str) -> date:
    """A day as YYYY-MM-DD.

    Raises
    ------
    InputError
        When the text is no such day.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"{name} {text!r} is not a day", remedy="write it as YYYY-MM-DD, 2024-03-01"
        ) from error


def span_of(start: str | None, end: str | None) -> tuple[date | None, date | None]:
    """First and last day, each open where it is absent.

    Raises
    ------
    InputError
        When a text is not a day, or the first is after the last.
    """
    first = None if start is None else day_of(start, "--start")
    last = None if end is None else day_of(end, "--end")
    if first is not None and last is not None and first > last:
        raise InputError(
            f"--end {last} is before --start {first}", remedy="swap them, or correct one"
        )
    return first, last


def aum_of(aum_usd: float) -> float:
    """An amount of USD to start with.

    Raises
    ------
    InputError
        When it is not positive and finite.
    """
    if not 0.0 < aum_usd < math.inf:
        raise InputError(f"--aum is {aum_usd:g}", remedy="give a positive amount of USD")
    return aum_usd


def fixed_gas(text: str | None) -> GasCosts | None:
    """Gas in USD as ``ALLOCATION,WITHDRAWAL,CONVERSION``.

    Raises
    ------
    InputError
        When the text is not three numbers, or one is negative or not finite.
    """
    from stableyield.domain.costs import GasCosts

    if text is None:
        return None
    try:
        allocation, withdrawal, conversion = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"--gas-usd {text!r} is not three numbers",
            remedy="write allocation,withdrawal,conversion in USD, for example 5,5,8",
        ) from error
    return GasCosts(allocation, withdrawal, conversion)


def forecaster_of(name: str) -> Forecaster:
    """A forecaster by its name on the command line.

    Raises
    ------
    ParameterError
        When there is none of that name.
    """
    from stableyield.forecast.registry import forecaster

    return forecaster(name)


def load_market(directory: Path, *, assume_par: bool, confirm_percent: bool) -> MarketPanel:
    """The market in a directory."""
    from stableyield.cli.terminal import working
    from stableyield.market.files import read_market

    with working(f"reading {directory}"):
        return read_market(directory, assume_par=assume_par, confirm_percent=confirm_percent)


def check_token(token: str, panel: MarketPanel) -> None:
    """Refuse a start token that the market has never heard of.

    Raises
    ------
    ParameterError
        With the nearest name, as symbols are case-exact, and all names.
    """
    known = panel.as_of(panel.last_day).tokens
    if token not in known:
        raise ParameterError(
            f"--token {token!r} is not in the market{did_you_mean(token, known)}",
            remedy=f"symbols are case-exact; the market has {', '.join(sorted(known))}",
        )


def check_forecasts(name: str, panel: MarketPanel, directory: Path) -> None:
    """Refuse the foreign forecaster where the market has no forecast for it to serve.

    Raises
    ------
    MissingDataError
        When not one forecast is there, with the reason: every pool would be excluded on every day.
    """
    from stableyield.forecast.foreign import ForeignForecaster

    if name in ("foreign", "foreign:risk_adj"):
        foreign = ForeignForecaster(risk_adjusted=name == "foreign:risk_adj")
        foreign.require(panel, str(directory))


def check_gas(fixed: GasCosts | None, panel: MarketPanel, directory: Path) -> None:
    """Refuse a market without any gas price, unless the costs are fixed.

    Raises
    ------
    MissingDataError
        When neither is there.
    """
    import numpy as np

    if fixed is None and not np.isfinite(panel.as_of(panel.last_day).gas.gas_gwei).any():
        raise MissingDataError(
            "there are no gas prices",
            where=str(directory),
            remedy="add gas_daily.parquet or .csv, or fix the costs: --gas-usd A,W,C in USD",
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``, did you mean 'X'?`` for the nearest known name; nothing when none is near."""
    by_folded = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return f", did you mean {by_folded[close[0]]!r}?" if close else ""
