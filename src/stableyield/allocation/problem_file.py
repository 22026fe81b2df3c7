"""The problem file: one allocation decision as JSON, read and written.

Unknown keys are errors: a misspelt limit must not be a limit that is silently not there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from stableyield.allocation.problem import AllocationProblem, PoolInput, RateModel
from stableyield.config import AllocationParameters
from stableyield.domain.costs import GasCosts
from stableyield.domain.lending import KinkedCurve
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import CENT_USD, Book
from stableyield.errors import ContractError, InputError

LARGEST = 1e15  # of any amount, price or rate; the solver's arithmetic ends not far above
_UTF8 = "give a text file in UTF-8"
_REQUIRED = ("token_prices_usd", "gas_usd", "wallet", "pools")
_OPTIONAL = ("positions", "parameters", "tvl_includes_position")
_NOTES = ("about", "gas_inputs", "aum_usd")  # read by people; aum_usd is checked
_POOL_REQUIRED = ("pool_id", "symbol", "chain", "protocol", "tokens")
_POOL_OPTIONAL = (
    "forecast_apy_pct",
    "forecast_tvl_usd",
    "token_shares",
    "forecast_apy_q10_pct",
    "risk_group",
    "state",
    "rate_model",
    "rate_curve",
    "gas_usd",
)
_CURVE = tuple(field.name for field in fields(KinkedCurve))


def read_problem(source: Path | str | Mapping[str, Any]) -> AllocationProblem:
    """A problem from a file or from its content.

    Raises
    ------
    InputError
        When the file is missing or not JSON, or a key or value is wrong; the message names it.
    """
    if isinstance(source, Mapping):
        return _problem(source, "problem")
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=str(path), remedy="check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"is not JSON: {error}", where=str(path), remedy=_UTF8) from error
    try:
        document = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON: {error}", where=str(path)) from error
    if not isinstance(document, Mapping):
        raise ContractError("must be a JSON object", where=str(path))
    try:
        return _problem(document, str(path))
    except InputError as error:
        if error.where.startswith(str(path)):
            raise
        where = f"{path}, {error.where}" if error.where else str(path)
        raise type(error)(
            error.what, where=where, remedy=error.remedy, details=error.details
        ) from error


def problem_document(problem: AllocationProblem) -> dict[str, Any]:
    """The content of a problem file that reads back as ``problem``.

    A held pool that is known by its id only is left out: that is how a file says it.
    """
    return {
        "token_prices_usd": dict(problem.prices_usd),
        "gas_usd": _gas_document(problem.gas),
        "wallet": dict(problem.book.wallet),
        "positions": [
            {"pool_id": pool_id, "token": token, "amount": amount}
            for (pool_id, token), amount in problem.book.positions.items()
        ],
        "pools": [_pool_document(pool) for pool in problem.pools if not _is_gone(pool)],
        "parameters": problem.parameters.model_dump(mode="json"),
        "tvl_includes_position": problem.tvl_includes_position,
    }


def _is_gone(pool: PoolInput) -> bool:
    return pool.state is PoolState.EXIT and not pool.tokens and pool.gas is None


def _pool_document(pool: PoolInput) -> dict[str, Any]:
    row: dict[str, Any] = {
        "pool_id": pool.pool_id,
        "symbol": pool.symbol,
        "chain": pool.chain,
        "protocol": pool.protocol,
        "tokens": list(pool.tokens),
        "token_shares": list(pool.token_shares),
        "state": pool.state.value,
        "rate_model": pool.rate_model.value,
    }
    for name, value in (
        ("forecast_apy_pct", pool.apy_pct),
        ("forecast_apy_q10_pct", pool.apy_q10_pct),
        ("forecast_tvl_usd", pool.tvl_usd),
    ):
        if math.isfinite(value):
            row[name] = float(value)
    if pool.risk_group:
        row["risk_group"] = int(pool.risk_group)
    if pool.gas is not None:
        row["gas_usd"] = _gas_document(pool.gas)
    if pool.curve is not None:
        row["rate_curve"] = asdict(pool.curve)
    return row


def _gas_document(gas: GasCosts) -> dict[str, float]:
    return {
        "allocation": gas.allocation,
        "withdrawal": gas.withdrawal,
        "conversion": gas.conversion,
    }


def _problem(document: Mapping[str, Any], where: str) -> AllocationProblem:
    _check_keys(document, _REQUIRED, (*_OPTIONAL, *_NOTES), where)
    gas = _gas(document["gas_usd"], f"{where}: gas_usd")
    includes = document.get("tvl_includes_position", True)
    if not isinstance(includes, bool):
        raise ContractError(f"tvl_includes_position is {includes!r}, not a boolean", where=where)
    problem = AllocationProblem(
        pools=[
            _pool(row, f"{where}: pools[{n}]", gas)
            for n, row in enumerate(_list(document["pools"], f"{where}: pools"))
        ],
        book=_book(document, where),
        prices_usd=_amounts(document["token_prices_usd"], f"{where}: token_prices_usd"),
        gas=gas,
        parameters=AllocationParameters.from_mapping(
            _mapping(document.get("parameters", {}), f"{where}: parameters")
        ),
        tvl_includes_position=includes,
    )
    stated = document.get("aum_usd")
    if stated is not None:
        stated = _float(stated, f"{where}: aum_usd")
        if abs(stated - problem.aum_usd) > CENT_USD:
            raise ContractError(
                f"aum_usd says {stated}, but wallet and positions are worth {problem.aum_usd}",
                where=where,
                remedy="correct the amounts or the prices, or leave aum_usd out",
            )
    return problem


def _book(document: Mapping[str, Any], where: str) -> Book:
    positions: dict[tuple[str, str], float] = {}
    for n, row in enumerate(_list(document.get("positions", []), f"{where}: positions")):
        place = f"{where}: positions[{n}]"
        row = _mapping(row, place)  # noqa: PLW2901 - the same row, checked
        _check_keys(row, ("pool_id", "token", "amount"), (), place)
        key = (_text(row["pool_id"], place), _text(row["token"], place))
        if key in positions:
            raise ContractError(f"position {key} occurs twice", where=place, remedy="add them up")
        positions[key] = _float(row["amount"], f"{place}: amount")
    return Book(_amounts(document["wallet"], f"{where}: wallet"), positions)


def _pool(row: Any, where: str, gas: GasCosts) -> PoolInput:
    row = _mapping(row, where)
    _check_keys(row, _POOL_REQUIRED, _POOL_OPTIONAL, where)
    where = f"{where} ({row['pool_id']})"
    numbers = {
        name: _float(row[name], f"{where}: {name}") if row.get(name) is not None else np.nan
        for name in ("forecast_apy_pct", "forecast_apy_q10_pct", "forecast_tvl_usd")
    }
    own_gas = row.get("gas_usd")
    return PoolInput(
        pool_id=_text(row["pool_id"], where),
        symbol=_text(row["symbol"], where),
        chain=_text(row["chain"], where),
        protocol=_text(row["protocol"], where),
        tokens=tuple(_text(token, f"{where}: tokens") for token in _list(row["tokens"], where)),
        token_shares=tuple(
            _float(share, f"{where}: token_shares")
            for share in _list(row.get("token_shares", []), where)
        ),
        apy_pct=numbers["forecast_apy_pct"],
        apy_q10_pct=numbers["forecast_apy_q10_pct"],
        tvl_usd=numbers["forecast_tvl_usd"],
        risk_group=_choice(row.get("risk_group", 0), (0, 1, 2, 3), f"{where}: risk_group"),
        state=PoolState(_choice(row.get("state", "open"), _states(), f"{where}: state")),
        rate_model=RateModel(
            _choice(row.get("rate_model", "constant"), tuple(RateModel), f"{where}: rate_model")
        ),
        gas=None if own_gas is None else _gas(own_gas, f"{where}: gas_usd", gas),
        curve=_curve(row["rate_curve"], f"{where}: rate_curve") if "rate_curve" in row else None,
    )


def _curve(value: Any, where: str) -> KinkedCurve:
    value = _mapping(value, where)
    _check_keys(value, _CURVE, (), where)
    given = {name: _float(number, f"{where}: {name}") for name, number in value.items()}
    try:
        return KinkedCurve(**given)
    except ContractError as error:
        raise ContractError(error.what, where=where, remedy=error.remedy) from error


def _states() -> tuple[PoolState, ...]:
    return tuple(state for state in PoolState if state is not PoolState.EXCLUDED)


def _gas(value: Any, where: str, default: GasCosts | None = None) -> GasCosts:
    """Gas costs; of a pool, ``conversion`` may be left out, being the problem's."""
    value = _mapping(value, where)
    names = ("allocation", "withdrawal", "conversion")
    optional = () if default is None else ("conversion",)
    _check_keys(value, tuple(n for n in names if n not in optional), optional, where)
    given = {name: _float(amount, f"{where}: {name}") for name, amount in value.items()}
    if default is not None:
        given.setdefault("conversion", default.conversion)
    return GasCosts(**given)


# --- plain values -------------------------------------------------------------------------------


def _check_keys(
    row: Mapping[str, Any], required: Sequence[str], optional: Sequence[str], where: str
) -> None:
    for name in required:
        if name not in row:
            raise ContractError(f"key {name!r} is missing", where=where)
    for name in row:
        if name not in required and name not in optional:
            raise ContractError(
                f"unknown key {name!r}",
                where=where,
                remedy=f"known keys: {', '.join([*required, *optional])}",
            )


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ContractError(f"must be an object, is {type(value).__name__}", where=where)
    return value


def _list(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise ContractError(f"must be a list, is {type(value).__name__}", where=where)
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise ContractError(f"must be a text, is {value!r}", where=where)
    return value


def _float(value: Any, where: str) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or (isinstance(value, float) and not math.isfinite(value)):
        raise ContractError(f"must be a finite number, is {value!r}", where=where)
    if abs(value) > LARGEST:
        raise ContractError(f"is beyond {LARGEST:g}, which nothing is", where=where)
    return float(value)


def _amounts(value: Any, where: str) -> dict[str, float]:
    return {
        name: _float(amount, f"{where}: {name}") for name, amount in _mapping(value, where).items()
    }


def _choice(value: Any, allowed: Sequence[Any], where: str) -> Any:
    if isinstance(value, bool) or value not in allowed:
        choices = ", ".join(str(choice) for choice in allowed)
        raise ContractError(f"is {value!r}, must be one of: {choices}", where=where)
    return value


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object as JSON gives it; a repeated key would silently lose a balance or a limit."""
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice!r} occurs twice")
    return row


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number that JSON knows")
