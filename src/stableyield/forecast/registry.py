"""Forecasters by name."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stableyield.errors import ParameterError
from stableyield.forecast.baselines import BASELINES, baseline

if TYPE_CHECKING:
    from stableyield.forecast.base import Forecaster
    from stableyield.forecast.evaluate import Evaluation
    from stableyield.forecast.targets import Target

PRODUCT = "stableyield"
"""Name of the learned forecaster in published scores; as a name here, the same as ``learned``."""
LEARNED = "learned"
FOREIGN = "foreign"
FOREIGN_RISK_ADJUSTED = "foreign:risk_adj"


def forecaster(name: str, **options: Any) -> Forecaster:
    """A forecaster by its name.

    Parameters
    ----------
    name : str
        A baseline, ``learned`` (or ``stableyield``, the same), ``foreign``, or
        ``foreign:risk_adj`` (its risk-adjusted numbers).
    **options
        What that forecaster takes.

    Raises
    ------
    ParameterError
        When there is none of that name, or it does not take an option.
    """
    if name not in _MAKERS:
        close = difflib.get_close_matches(name.casefold(), _MAKERS, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        raise ParameterError(
            f"no forecaster is called {name!r}{hint}",
            remedy=f"choose one of {', '.join(_MAKERS)}",
        )
    try:
        return _MAKERS[name](**options)
    except TypeError as error:
        raise ParameterError(
            f"forecaster {name!r}: {error}", remedy="see its options in docs/forecast.md"
        ) from error


def judged_forecaster(
    name: str, *, target: Target = "quoted", refit_every_days: int | None = None
) -> Forecaster:
    """A forecaster by its name that forecasts what it will be judged by.

    Parameters
    ----------
    name : str
    target : Target
        The learned one learns it; the others forecast the quoted APY either way.
    refit_every_days : int, optional
        Of the learned one; its default when absent.

    Raises
    ------
    ParameterError
        For an unknown name, or a number of days out of bounds.
    """
    if name not in (LEARNED, PRODUCT):
        return forecaster(name)
    from stableyield.forecast.training import LearnedSettings  # noqa: PLC0415 - heavy

    settings = LearnedSettings(target=target)
    if refit_every_days is not None:
        settings = replace(settings, refit_every_days=refit_every_days)
    return forecaster(name, settings=settings)


def published(evaluation: Evaluation) -> Evaluation:
    """The evaluation with the learned method under the product's name, as in score files."""
    return evaluation.renamed(LEARNED, PRODUCT)


def _imported(module: str, class_name: str, **options: Any) -> Forecaster:
    """An instance of a class of this room whose module is heavy to import."""
    found = importlib.import_module(f"stableyield.forecast.{module}")
    result: Forecaster = getattr(found, class_name)(**options)
    return result


_LEARNED_MAKER = partial(_imported, "learned", "LearnedForecaster")
_MAKERS: MappingProxyType[str, Callable[..., Forecaster]] = MappingProxyType(
    {
        **{name: partial(baseline, name) for name in BASELINES},
        LEARNED: _LEARNED_MAKER,
        PRODUCT: _LEARNED_MAKER,
        FOREIGN: partial(_imported, "foreign", "ForeignForecaster"),
        FOREIGN_RISK_ADJUSTED: partial(
            _imported,
            "foreign",
            "ForeignForecaster",
            name=FOREIGN_RISK_ADJUSTED,
            risk_adjusted=True,
        ),
    }
)
FORECASTERS = tuple(_MAKERS)
"""Every name that `forecaster` knows."""
