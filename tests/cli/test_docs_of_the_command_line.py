"""docs/parameters.md is in step with the code, and docs/cli.md with the commands."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from stableyield.cli.app import app
from stableyield.config import AllocationParameters

DOCS = Path(__file__).resolve().parents[2] / "docs"
GENERATOR = runpy.run_path(str(DOCS / "generate_parameters.py"))


def test_the_parameters_page_is_what_the_code_says() -> None:
    written = (DOCS / "parameters.md").read_text(encoding="utf-8")
    assert written == GENERATOR["page"](), "run: python docs/generate_parameters.py"


def test_every_parameter_has_a_row_with_all_cells() -> None:
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", GENERATOR["page"](), re.MULTILINE)
    assert [name for name, _ in rows] == list(AllocationParameters.model_fields)
    for name, rest in rows:
        cells = re.split(r"(?<!\\)\|", rest)
        assert len(cells) == 4, name
        assert all(cell.strip() for cell in cells), name


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("max_alloc_percentage", ("0.25", ">= 0, <= 1", "fraction")),
        ("token_marketcap_limit", ("1,000,000,000", ">= 0", "USD")),
        ("gap_usd", ("absent", "> 0, <= 1,000,000", "USD")),
        ("own_impact", ("pro_rata", "pro_rata, none", "choice")),
        ("approved_chains", ("empty", "-", "names")),
        ("min_pools", ("5", ">= 0, <= 1,000", "pools")),
    ],
)
def test_defaults_bounds_and_units_are_those_of_the_code(
    name: str, cells: tuple[str, str, str]
) -> None:
    (row,) = re.findall(rf"^\| `{name}` \|.*$", GENERATOR["page"](), re.MULTILINE)
    found = [cell.strip() for cell in row.split("|")[2:5]]
    assert found[0] == cells[0]
    assert found[1].startswith(cells[1])
    assert found[2] == cells[2]


def command_options() -> dict[str, set[str]]:
    """Options of every command and subcommand, by its name on the command line."""
    return dict(_options_of("", typer.main.get_command(app)))


def _options_of(name: str, command: Any) -> Iterator[tuple[str, set[str]]]:
    """A command's own options, where it runs by itself, then those of its subcommands."""
    options = {option for each in command.params for option in each.opts if option[:2] == "--"}
    subcommands = getattr(command, "commands", {})
    if name and (options or not subcommands):
        yield name, options
    for child, each in subcommands.items():
        yield from _options_of(f"{name} {child}".strip(), each)


def section_of(page: str, command: str) -> str:
    """The text under the command's own heading, up to the next one."""
    heading = rf"^## {re.escape(command)}\n(.*?)(?=^## |\Z)"
    found = re.search(heading, page, re.MULTILINE | re.DOTALL)
    assert found, f"docs/cli.md has no section {command}"
    return found[1]


def test_subcommands_of_groups_are_commands_too() -> None:
    assert {"loop", "loop stats", "loop stress", "market import"} <= set(command_options())
    assert "--gas-usd" in command_options()["loop stats"]
    assert "market" not in command_options()


@pytest.mark.parametrize("command", sorted(command_options()))
def test_every_command_and_option_is_described(command: str) -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    section = section_of(page, command)
    everywhere = {"--help", "--json", "--market", "--assume-par", "--confirm-percent"}
    for option in command_options()[command] - everywhere:
        assert f"`{option}" in section or f" {option} " in section, f"{command} {option}"


def test_no_option_is_described_that_is_not_there() -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    known = {option for options in command_options().values() for option in options}
    described = set(re.findall(r"--[a-z][a-z-]+", page)) - {"--version", "--help"}
    assert described - known - {"--no-assume-par"} == set()
