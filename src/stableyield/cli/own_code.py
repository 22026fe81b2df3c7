"""Loading what a user wrote: ``package.module:NAME`` or ``file.py:NAME``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stableyield.cli.common import did_you_mean
from stableyield.errors import InputError, ParameterError

if TYPE_CHECKING:
    from stableyield.backtest.policy import Policy
    from stableyield.market.panel import MarketPanel

PolicyOption = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:NAME",
        help="Your policy: MODULE:NAME or FILE.py:NAME; absent: the strategy.",
    ),
]


def load_own(text: str, option: str) -> Any:
    """The object that ``MODULE:NAME`` or ``FILE.py:NAME`` means.

    Modules are looked for among the installed ones, then in the current directory. What stands
    beside a file can be imported by it.

    Parameters
    ----------
    text : str
    option : str
        Where it was given, for messages: ``--policy``.

    Raises
    ------
    ParameterError
        When the text has no colon, the module or file is missing, or the name is not in it.
    InputError
        When importing it fails; the traceback is in the details.
    """
    source, colon, name = text.rpartition(":")
    if not colon or not source or not name:
        raise ParameterError(
            f"{option} {text!r} names no code",
            remedy="write MODULE:NAME or FILE.py:NAME, for example my_policies.py:Patient",
        )
    module = _from_file(Path(source), option) if source.endswith(".py") else _named(source, option)
    if not hasattr(module, name):
        known = [each for each in vars(module) if not each.startswith("_")]
        raise ParameterError(
            f"{option}: there is no {name!r} in {source}{did_you_mean(name, known)}",
            remedy="name a class, a function that makes one, or an object",
        )
    return getattr(module, name)


def load_able(text: str, option: str) -> Any:
    """What was named, if it can be a policy or a forecaster, or make one.

    Raises
    ------
    ParameterError
        When it cannot, and as `load_own`.
    InputError
        As `load_own`.
    """
    own = load_own(text, option)
    verb = "decide" if option == "--policy" else "forecast"
    if not callable(own) and not hasattr(own, verb):
        raise ParameterError(
            f"{option}: {own!r} has no {verb}()",
            remedy="name a class, a function that makes one, or an object",
        )
    return own


def own_policy(text: str | None, panel: MarketPanel) -> Policy:
    """A new policy, from what ``--policy`` names; the strategy where it is absent.

    Raises
    ------
    ParameterError, InputError
        As `load_able`.
    """
    from stableyield.backtest.policy import MilpPolicy
    from stableyield.study.fresh import fresh

    if text is None:
        return MilpPolicy()
    made: Policy = fresh(load_able(text, "--policy"), panel)
    if not (callable(getattr(made, "decide", None)) and isinstance(getattr(made, "name", 0), str)):
        raise ParameterError(
            f"--policy: {type(made).__name__} is no policy",
            remedy="a policy has a name and decide(prepared, inputs), see docs/policies.md",
        )
    return made


def _from_file(path: Path, option: str) -> ModuleType:
    if not path.is_file():
        raise ParameterError(f"{option}: there is no file {path}", remedy="check the path")
    _make_importable(path.resolve().parent)
    name = f"own_code_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ParameterError(f"{option}: {path} is no Python file", remedy="check the path")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _failed(str(path), option, error) from error
    return module


def _named(name: str, option: str) -> ModuleType:
    _make_importable(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _failed(name, option, error) from error
        raise ParameterError(
            f"{option}: there is no module {name!r}",
            remedy="install it, start in its directory, or give the file: FILE.py:NAME",
        ) from error
    except Exception as error:
        raise _failed(name, option, error) from error


def _make_importable(directory: Path) -> None:
    """Let imports find what is in a directory, after everything that is installed."""
    if str(directory) not in sys.path:
        sys.path.append(str(directory))


def _failed(source: str, option: str, error: Exception) -> InputError:
    last = [] if isinstance(error, SyntaxError) else traceback.format_tb(error.__traceback__)[-1:]
    lines = "".join((*last, *traceback.format_exception_only(error)))
    return InputError(
        f"{type(error).__name__}: {error}",
        where=f"{option}, importing {source}",
        remedy="correct the code",
        details=tuple(lines.splitlines()),
    )
