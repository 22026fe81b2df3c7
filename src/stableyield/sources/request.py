"""One question to a provider, and where its key goes at the very last moment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, urlencode

from pydantic import SecretStr

from stableyield.errors import ParameterError

KEY_PLACE = "__key__"  # stands for the key in the path of a URL
_KEY_SHOWN = "KEY"


@dataclass(frozen=True, slots=True)
class Secret:
    """A provider's key and where it belongs.

    Parameters
    ----------
    value : SecretStr
    place : {"path", "query", "header"}
        In the path it takes the place of `KEY_PLACE`.
    name : str
        Of the query parameter or header.
    setting : str
        The environment variable that the operator sets, for messages.

    Raises
    ------
    ParameterError
        When the key is empty or has a character that no key has; the key itself is not shown.
    """

    value: SecretStr
    place: Literal["path", "query", "header"]
    name: str
    setting: str

    def __post_init__(self) -> None:
        key = self.value.get_secret_value()
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise ParameterError(
                f"the key in {self.setting} is empty, or has a blank or a character that is not "
                "plain ASCII",
                remedy=f"set {self.setting} to the key as the provider shows it",
            )

    def masked(self, text: str) -> str:
        """``text`` without the key, plain or as a URL has it."""
        key = self.value.get_secret_value()
        for form in (key, quote(key, safe="")):
            text = text.replace(form, "***")
        return text


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of whom.

    Parameters
    ----------
    source, endpoint : str
        The provider and its route, as names for messages and the cache.
    url : str
        Without key and query; `KEY_PLACE` where the key is part of the path.
    item : str
        What it is about: a pool, token or address; empty when it is about all.
    params : mapping of str to str
        The query, without any key.
    body : mapping, optional
        Posted as JSON.
    secret : Secret, optional
    alternatives : tuple of str
        What else to do when the provider wants to be paid.
    """

    source: str
    endpoint: str
    url: str
    item: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    secret: Secret | None = None
    alternatives: tuple[str, ...] = ()

    @property
    def shown_url(self) -> str:
        """The URL for people, files and the database: never with the key."""
        url = self.url.replace(KEY_PLACE, _KEY_SHOWN)
        return f"{url}?{urlencode(sorted(self.params.items()))}" if self.params else url

    @property
    def where(self) -> str:
        """Provider, route and item, for messages."""
        return " ".join(part for part in (self.source, self.endpoint, self.item) if part)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that tell questions apart; the key is no part of it."""
        body = "" if self.body is None else json.dumps(self.body, sort_keys=True)
        return hashlib.sha256(f"{self.shown_url}\n{body}".encode()).hexdigest()[:16]

    def masked(self, text: str) -> str:
        """``text`` without the key."""
        return text if self.secret is None else self.secret.masked(text)


def joined(base_url: str, *parts: str) -> str:
    """``base_url`` with path parts, each escaped: an id cannot leave its place in the path."""
    tail = "/".join(KEY_PLACE if part == KEY_PLACE else _escaped(part) for part in parts)
    return f"{base_url.rstrip('/')}/{tail}" if parts else base_url


def _escaped(part: str) -> str:
    """A part without a separator, and never the way up."""
    return part.replace(".", "%2E") if set(part) == {"."} else quote(part, safe=":,")
