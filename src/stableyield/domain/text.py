"""Text that comes from outside, as people are shown it: symbols and names are whatever they are.

A symbol may hold the escape sequences of a terminal, marks that turn the direction of writing, line
ends, or ten thousand letters; none of that may reach a terminal, a page or a message.
"""

from __future__ import annotations

MOST_CHARACTERS = 100
_ELLIPSIS = "..."


def printable(value: object) -> str:
    """The text on one line; what cannot be printed is an escape, such as U+202E or a line end."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def shortened(value: object, most: int = MOST_CHARACTERS) -> str:
    """`printable`, and of a text of more than ``most`` characters its beginning.

    Parameters
    ----------
    value : object
    most : int
        At least 3.
    """
    text = printable(value)
    return text if len(text) <= most else text[: most - len(_ELLIPSIS)] + _ELLIPSIS
