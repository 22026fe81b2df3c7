"""The terminal, protected from what it is shown: names from outside cannot steer it."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from stableyield.domain.text import printable


class Screen(Console):
    """A console that shows what cannot be printed as escapes; lines end where they end."""

    def render_str(self, text: str, **options: Any) -> Text:
        """The text as it is drawn; each string that is printed comes by here."""
        lines = text.split("\n")
        return super().render_str("\n".join(map(printable, lines)), **options)
