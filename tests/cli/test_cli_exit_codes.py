"""Exit codes, and the one line that comes first on standard error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stableyield import __version__, errors
from stableyield.cli import app as command_line

Cli = Callable[..., Any]

CODES = {
    errors.InputError: 2,
    errors.ParameterError: 2,
    errors.ContractError: 2,
    errors.MissingDataError: 2,
    errors.DayOutOfRangeError: 2,
    errors.InfeasibleError: 3,
    errors.SourceError: 4,
    errors.DataQualityError: 5,
    errors.SolverError: 1,
    errors.IntegrityError: 1,
    errors.ConservationError: 1,
    errors.LookAheadError: 1,
}


def failing(error: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.__name__)
def test_each_error_has_its_exit_code_and_its_details_below(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, kind: type[errors.StableyieldError]
) -> None:
    error = kind("what", where="file, line 3", remedy="remedy", details=("more", "and more"))
    monkeypatch.setattr(command_line, "app", failing(error))
    outcome = cli("demo")
    assert outcome.code == CODES[kind]
    assert outcome.err.splitlines() == [
        "error: file, line 3: what (remedy)",
        "  more",
        "  and more",
    ]
    assert outcome.out == ""


def test_a_message_of_several_lines_still_starts_with_one(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "app", failing(errors.InputError("one\ntwo")))
    assert cli("demo").err == "error: one two\n"


def test_a_bug_is_one_line_and_then_where_it_happened(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "app", failing(KeyError("x")))
    outcome = cli("demo")
    assert outcome.code == 1
    assert outcome.first_line == (
        "error: KeyError: 'x' (a bug: please report it with what follows)"
    )
    assert "Traceback" in outcome.err.splitlines()[1]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(13, "Permission denied", "run/x"), "error: run/x: Permission denied ("),
        (OSError(28, "No space left on device"), "error: No space left on device ("),
    ],
)
def test_a_file_system_that_refuses_is_told_with_the_file(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: OSError, line: str
) -> None:
    monkeypatch.setattr(command_line, "app", failing(error))
    outcome = cli("demo")
    assert outcome.code == 2
    assert outcome.first_line.startswith(line)


def test_an_interruption_is_no_bug(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "app", failing(KeyboardInterrupt()))
    outcome = cli("demo")
    assert (outcome.code, outcome.err) == (130, "error: interrupted\n")


@pytest.mark.parametrize(
    ("arguments", "words", "hint"),
    [
        (("alocate",), ("'alocate'", "'allocate'"), "stableyield --help"),
        (("allocate",), ("Missing argument", "PROBLEM"), "stableyield allocate --help"),
        (("allocate", "--ot", "x"), ("No such option", "--ot"), "stableyield allocate --help"),
        (("market", "imprt"), ("'imprt'", "'import'"), "stableyield market --help"),
        (("screen", "--day"), ("--day", "requires an argument"), "stableyield --help"),
    ],
)
def test_bad_usage_is_one_line_and_then_where_to_look(
    cli: Cli, arguments: tuple[str, ...], words: tuple[str, ...], hint: str
) -> None:
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.first_line.startswith("error: ")
    assert all(word in outcome.first_line for word in words)
    assert outcome.err.splitlines()[1:] == [f"  see: {hint}"]


@pytest.mark.parametrize("arguments", [(), ("market",)])
def test_no_command_at_all_shows_the_help_and_is_bad_usage(
    cli: Cli, arguments: tuple[str, ...]
) -> None:
    outcome = cli(*arguments)
    assert outcome.code == 2
    assert "Commands" in outcome.out
    assert "error" not in outcome.err


@pytest.mark.parametrize(
    "command", ["demo", "allocate", "backtest", "report", "screen", "icebox", "market"]
)
def test_every_command_has_help(cli: Cli, command: str) -> None:
    outcome = cli(command, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"stableyield {command}" in outcome.out


def test_the_version_is_printed(cli: Cli) -> None:
    outcome = cli("--version")
    assert (outcome.code, outcome.out) == (0, f"{__version__}\n")
