"""Text of strangers: shown as it is where that is harmless, as escapes where it is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stableyield.domain.text import MOST_CHARACTERS, printable, shortened


def test_what_cannot_be_printed_is_escaped() -> None:
    assert printable("a\nb\u202e\x00") == "a\\nb\\u202e\\x00"
    assert printable("\x1b[31m\u200b") == "\\x1b[31m\\u200b"
    assert printable("USD₮0 é") == "USD₮0 é"
    assert printable(12.5) == "12.5"


def test_a_long_text_is_cut_and_says_so() -> None:
    assert shortened("A" * 10_000) == "A" * (MOST_CHARACTERS - 3) + "..."
    assert shortened("A" * MOST_CHARACTERS) == "A" * MOST_CHARACTERS
    assert shortened("abcdef", 5) == "ab..."


@given(st.text(), st.integers(3, 50))
def test_whatever_is_shown_is_printable_and_no_longer_than_asked_for(text: str, most: int) -> None:
    shown = shortened(text, most)
    assert shown.isprintable()
    assert len(shown) <= most
    assert printable(shown) == shown
