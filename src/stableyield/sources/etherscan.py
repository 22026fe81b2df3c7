"""What all routes of Etherscan V2 share: one address, one envelope, errors as HTTP 200."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from stableyield.sources.failures import KeyRefusedError, ProviderError, TransientReplyError
from stableyield.sources.payload import member, shown
from stableyield.sources.request import Request, Secret

SOURCE = "etherscan"
ETHERSCAN_URL = "https://api.etherscan.io/v2/api"
KEY_SETTING = "STABLEYIELD_ETHERSCAN_KEY"
ETHEREUM = 1

# Parts of `result` (lower case) when `status` is "0".
_TOO_FAST = ("rate limit", "max calls")
_KEY = ("api key", "apikey", "api pro", "upgrade")


def etherscan_request(
    base_url: str, key: SecretStr | None, item: str, params: Mapping[str, str]
) -> Request:
    """A request of the V2 interface.

    Raises
    ------
    KeyRefusedError
        When there is no key.
    """
    if key is None:
        raise KeyRefusedError(
            "this provider needs a key",
            source=SOURCE,
            where=f"{SOURCE} {params['action']}",
            remedy=f"set {KEY_SETTING}, or read the day from a file",
        )
    secret = Secret(key, "query", "apikey", KEY_SETTING)
    return Request(SOURCE, params["action"], base_url, item, params, secret=secret)


def result_of(value: Any, request: Request) -> Any:
    """``result`` of an answer whose ``status`` is "1".

    Raises
    ------
    TransientReplyError
        When it was asked too fast.
    KeyRefusedError
        When it does not take the key, or the route is not in its plan.
    ProviderError
        For any other ``status``.
    """
    status, result = member(value, "status", request), member(value, "result", request)
    if status == "1":
        return result
    said = request.masked(f"{value.get('message', '')}: {shown(result)}")
    text = said.lower()
    about = f"status {shown(status)} in an HTTP 200: {said}"
    if any(part in text for part in _TOO_FAST):
        raise TransientReplyError(_error(ProviderError, about, request, "ask less often"))
    if any(part in text for part in _KEY):
        raise _error(
            KeyRefusedError, about, request, f"check the key in {KEY_SETTING} and its plan"
        )
    raise _error(ProviderError, about, request, "check the address and the chain")


def _error(kind: type[ProviderError], what: str, request: Request, remedy: str) -> ProviderError:
    return kind(what, source=SOURCE, status=200, where=request.where, remedy=remedy)
