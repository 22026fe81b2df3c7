"""Writes docs/parameters.md from `AllocationParameters`: ``python docs/generate_parameters.py``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from stableyield.config import AllocationParameters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

PAGE = Path(__file__).with_name("parameters.md")
HEAD = """\
# Parameters

<!-- Written by docs/generate_parameters.py; change src/stableyield/config.py instead. -->

All parameters of one allocation decision, of its screening and of its backtest. Give them with
`--set name=value` on the command line (a comma separates the members of a list:
`--set approved_chains=Ethereum,Base`), under `parameters` in a problem file, or as
`AllocationParameters(name=value)`. An unknown name, a wrong type and a value out of bounds are
errors.

A **fraction** is 1 for 100 %: 0.25 = 25 %, and 0.01 of an APY is one percentage point.
"""
HEADINGS = {  # above the parameter of that name
    "max_alloc_percentage": "The notebooks' parameters",
    "horizon_days": "The decision",
    "approved_chains": "Approved lists",
    "unknown_market_cap": "Missing data and failure",
}
UNITS = {  # by the end of a name; the first that fits; every other number is a fraction
    "_usd": "USD",
    "min_transaction_value": "USD",
    "token_marketcap_limit": "USD",
    "pool_tvl_limit": "USD",
    "_days": "days",
    "_days_threshold": "days",
    "_seconds": "seconds",
    "min_pools": "pools",
}
BOUNDS = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for name, field in AllocationParameters.model_fields.items():
        if name in HEADINGS:
            lines += [
                f"\n## {HEADINGS[name]}\n",
                "| name | default | bounds | unit | meaning |",
                "|---|---|---|---|---|",
            ]
        cells = (f"`{name}`", _default(field), _bounds(field), _unit(name, field), _meaning(field))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None:
        return "absent"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(value) or "empty"
    return value if isinstance(value, str) else _short(float(value))


def _short(value: float) -> str:
    return f"{value:,.0f}" if 1000.0 <= value < 1e12 else f"{value:g}"


def _bounds(field: FieldInfo) -> str:
    limits = list(_limits(field))
    choices = _choices(field.annotation)
    return ", ".join(choices or limits) or "-"


def _limits(field: FieldInfo) -> Iterator[str]:
    metadata = [*field.metadata, *_inner_metadata(field.annotation)]
    for attribute, sign in BOUNDS:
        for bound in metadata:
            if (value := getattr(bound, attribute, None)) is not None:
                yield f"{sign} {_short(float(value))}"


def _inner_metadata(annotation: Any) -> list[Any]:
    """What ``Annotated[...] | None`` says inside."""
    found: list[Any] = []
    for part in get_args(annotation):
        for item in getattr(part, "__metadata__", ()):
            found += getattr(item, "metadata", [item])
    return found


def _choices(annotation: Any) -> list[str]:
    if annotation is bool:
        return ["true", "false"]
    return list(get_args(annotation)) if get_origin(annotation) is Literal else []


def _unit(name: str, field: FieldInfo) -> str:
    if _choices(field.annotation):
        return "choice"
    if isinstance(field.default, tuple):
        return "names"
    return next((unit for end, unit in UNITS.items() if name.endswith(end)), "fraction")


def _meaning(field: FieldInfo) -> str:
    text = " ".join((field.description or "").split())
    return text.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
