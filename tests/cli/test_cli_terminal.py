"""What people see: numbers, notes, tables, progress; and JSON that is never half JSON."""

from __future__ import annotations

import io
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from stableyield.cli import screen, terminal
from stableyield.cli.terminal import (
    Column,
    number,
    print_json,
    print_notes,
    print_table,
    progress_bar,
    working,
)
from stableyield.errors import IntegrityError


def printed(draw: object, width: int = 40) -> str:
    file = io.StringIO()
    draw(Console(file=file, width=width, markup=False, emoji=False, highlight=False))
    return file.getvalue()


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234567.891, "1,234,567.89"), (-0.001, "0.00"), (None, "-"), (float("nan"), "-")],
)
def test_numbers_have_two_digits_and_no_negative_zero(value: float | None, text: str) -> None:
    assert number(value) == text


def test_differences_have_a_sign() -> None:
    assert number(5.0, sign=True) == "+5.00"
    assert number(-1234.5, 1, sign=True) == "-1,234.5"


@given(st.floats(min_value=-1e12, max_value=1e12), st.integers(0, 6))
def test_a_number_reads_back_within_half_a_digit(value: float, digits: int) -> None:
    read = float(number(value, digits).replace(",", ""))
    rounding = 1e-3 if abs(value) > 1e9 else 1e-12  # half a digit of a float is not exact
    assert abs(read - value) <= 0.5 * 10.0**-digits * (1.0 + 1e-9) + rounding


def test_notes_are_indented_behind_their_label() -> None:
    text = printed(
        lambda screen: print_notes(screen, "note", ["one two three four five six"], ""), 20
    )
    assert text == "note: one two three\n      four five six\n"


def test_a_long_name_in_a_note_is_not_broken() -> None:
    name = "Ethereum:0x7578f31cc44fdf2f123a6f84c42f702f9c990091"
    assert name in printed(lambda screen: print_notes(screen, "note", [f"see {name}"]), 20)


def test_a_narrow_table_folds_names_and_never_cuts_numbers() -> None:
    columns = (Column("pool", may_fold=True), Column("USD", is_number=True))
    rows = [("a" * 60, "1,234,567.89")]
    lines = printed(lambda screen: print_table(screen, "title", columns, rows), 40).splitlines()
    assert lines[0] == "title"
    assert max(map(len, lines)) <= 40
    assert sum(line.count("a") for line in lines) == 60
    assert lines[3].endswith("1,234,567.89")


def test_brackets_and_colons_in_cells_are_just_text() -> None:
    rows = [("[bold]x[/bold] :smile:",)]
    text = printed(lambda screen: print_table(screen, "[red]t", (Column("c"),), rows))
    assert "[red]t" in text
    assert "[bold]x[/bold] :smile:" in text


def test_json_with_nan_is_a_bug_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(IntegrityError, match="JSON"):
        print_json({"fine": 1.0, "broken": float("nan")})
    assert capsys.readouterr().out == ""


def test_no_progress_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with working("thinking"), progress_bar("working") as progress:
        progress(1, 2)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_progress_is_drawn_on_a_terminal_and_only_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    forced = partial(screen.Screen, force_terminal=True, width=80)
    monkeypatch.setattr(screen, "Screen", forced)
    with working("thinking"):
        pass
    with progress_bar("3 days, [4 pools]") as progress:
        progress(1, 3)
        progress(3, 3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "thinking" in captured.err
    assert "3 days, [4 pools]" in captured.err
    assert "3/3" in captured.err


def test_a_pipe_is_100_columns_wide_unless_it_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal.console().width == terminal.PIPE_COLUMNS
    monkeypatch.setenv("COLUMNS", "60")
    assert terminal.console().width == 60


def test_names_of_strangers_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr("sys.stdout", file)
    evil = "\x1b]0;title\x07\u202egnp.exe"
    where = terminal.console()
    print_table(where, evil, (Column("pool"),), [(evil,), ("plain",)])
    print_notes(where, "note", [evil])
    where.print(evil, soft_wrap=True)
    shown = file.getvalue()
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert shown.count("\\x1b]0;title\\x07\\u202egnp.exe") == 4
    assert "plain" in shown
