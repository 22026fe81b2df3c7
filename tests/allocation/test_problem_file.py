"""The problem file: what is wrong is refused by name, what is right reads back the same."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stableyield.allocation import AllocationProblem, RateModel, problem_document, read_problem
from stableyield.config import canonical_json
from stableyield.domain.costs import GasCosts
from stableyield.domain.pool import PoolState
from stableyield.errors import ContractError, InputError, MissingDataError, ParameterError
from support.problems import (
    GOLDEN_INSTANCE,
    pool,
    problem,
    random_problem,
    seed_document,
    solved,
)

Document = dict[str, Any]


def _document() -> Document:
    return {
        "about": "by hand",
        "token_prices_usd": {"USDC": 1.0, "DAI": 0.999},
        "gas_usd": {"allocation": 1.0, "withdrawal": 2.0, "conversion": 3.0},
        "wallet": {"USDC": 1_000.0},
        "positions": [{"pool_id": "p1", "token": "DAI", "amount": 500.0}],
        "pools": [
            {
                "pool_id": "p1",
                "symbol": "DAI",
                "chain": "Ethereum",
                "protocol": "aave-v3",
                "tokens": ["DAI"],
                "forecast_apy_pct": 5.0,
                "forecast_tvl_usd": 1e8,
            },
            {
                "pool_id": "p2",
                "symbol": "DAI-USDC",
                "chain": "Ethereum",
                "protocol": "curve",
                "tokens": ["DAI", "USDC"],
                "forecast_apy_pct": 7.0,
                "forecast_tvl_usd": 1e8,
                "token_shares": [0.4, 0.6],
                "forecast_apy_q10_pct": 3.0,
                "risk_group": 2,
                "state": "open",
                "rate_model": "pro_rata",
                "gas_usd": {"allocation": 5.0, "withdrawal": 6.0},
            },
        ],
        "parameters": {"min_pools": 1},
        "tvl_includes_position": False,
        "aum_usd": 1_499.5,
    }


def test_everything_in_the_file_arrives() -> None:
    task = read_problem(_document())
    first, second = task.pools
    assert (first.pool_id, first.state, first.risk_group) == ("p1", PoolState.OPEN, 0)
    assert first.rate_model is RateModel.CONSTANT
    assert second.token_shares == (0.4, 0.6)
    assert (second.apy_pct, second.apy_q10_pct, second.tvl_usd) == (7.0, 3.0, 1e8)
    assert second.risk_group == 2
    assert second.rate_model is RateModel.PRO_RATA
    assert second.gas == GasCosts(5.0, 6.0, 3.0)  # conversions are the problem's
    assert task.gas == GasCosts(1.0, 2.0, 3.0)
    assert task.book.wallet == {"USDC": 1_000.0}
    assert task.book.positions == {("p1", "DAI"): 500.0}
    assert task.parameters.min_pools == 1
    assert task.tvl_includes_position is False
    assert AllocationProblem.from_json(_document()).aum_usd == task.aum_usd


def test_what_may_be_left_out_has_its_default() -> None:
    document = _document()
    for key in ("about", "positions", "parameters", "tvl_includes_position", "aum_usd"):
        del document[key]
    task = read_problem(document)
    assert task.book.positions == {}
    assert task.parameters.min_pools == 5
    assert task.tvl_includes_position is True


# --- files ---


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(_document()), encoding="utf-8")
    assert problem_document(read_problem(path)) == problem_document(read_problem(_document()))
    assert read_problem(str(path)).aum_usd == pytest.approx(1_499.5)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.json: cannot be read: No such file"):
        read_problem(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ('{"wallet": {"USDC": NaN}}', "NaN is not a number"),
        ('{"wallet": {"USDC": Infinity}}', "Infinity is not a number"),
        ("[]", "must be a JSON object"),
        ('"text"', "must be a JSON object"),
        ("null", "must be a JSON object"),
        ('{"wallet": {"DAI": 1, "USDC": 2, "DAI": 3}}', "key 'DAI' occurs twice"),
    ],
)
def test_a_file_that_is_not_a_json_object_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        read_problem(path)
    assert "bad.json" in str(caught.value)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "binary.json"
    path.write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(InputError, match=r"binary\.json"):
        read_problem(path)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"parameters": {"min_pool": 1}}, ParameterError),
        ({"wallet": {}, "positions": []}, InputError),
        ({"walet": {}}, ContractError),
    ],
)
def test_every_error_names_the_file(
    tmp_path: Path, change: Document, error: type[InputError]
) -> None:
    path = tmp_path / "mine.json"
    document = {**_document(), **change}
    del document["aum_usd"]
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(error, match=r"mine\.json"):
        read_problem(path)


# --- malformed content ---

Change = Callable[[Document], None]


def _set(*path: str | int, to: Any) -> Change:
    def change(document: Document) -> None:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


def _drop(*path: str | int) -> Change:
    def change(document: Document) -> None:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return change


def _repeat(*path: str | int) -> Change:
    def change(document: Document) -> None:
        place: Any = document
        for key in path:
            place = place[key]
        place.append(copy.deepcopy(place[0]))

    return change


FIRST = ("pools", 0)
MALFORMED: dict[str, tuple[Change, type[InputError], str]] = {
    # keys
    "no prices": (_drop("token_prices_usd"), ContractError, "'token_prices_usd' is missing"),
    "no gas": (_drop("gas_usd"), ContractError, "'gas_usd' is missing"),
    "no wallet": (_drop("wallet"), ContractError, "'wallet' is missing"),
    "no pools": (_drop("pools"), ContractError, "'pools' is missing"),
    "no gas of conversions": (_drop("gas_usd", "conversion"), ContractError, "'conversion' is"),
    "no pool id": (_drop(*FIRST, "pool_id"), ContractError, r"pools\[0\]: key 'pool_id'"),
    "no tokens": (_drop(*FIRST, "tokens"), ContractError, "'tokens' is missing"),
    "no amount": (_drop("positions", 0, "amount"), ContractError, r"positions\[0\]: key 'amount'"),
    "unknown key": (_set("walet", to={}), ContractError, "unknown key 'walet'"),
    "unknown pool key": (_set(*FIRST, "apy", to=1.0), ContractError, "unknown key 'apy'"),
    "unknown position key": (_set("positions", 0, "usd", to=1), ContractError, "key 'usd'"),
    "unknown gas key": (_set("gas_usd", "swap", to=1.0), ContractError, "unknown key 'swap'"),
    "unknown pool gas key": (
        _set("pools", 1, "gas_usd", "swap", to=1.0),
        ContractError,
        "unknown key 'swap'",
    ),
    "unknown parameter": (
        _set("parameters", "min_pool", to=1),
        ParameterError,
        "did you mean 'min_pools'",
    ),
    # types
    "prices as a list": (_set("token_prices_usd", to=[]), ContractError, "must be an object"),
    "wallet as a list": (_set("wallet", to=[1.0]), ContractError, "wallet: must be an object"),
    "positions as an object": (_set("positions", to={}), ContractError, "positions: must be a li"),
    "pools as an object": (_set("pools", to={}), ContractError, "pools: must be a list"),
    "a pool as a text": (_set(*FIRST, to="p1"), ContractError, r"pools\[0\]: must be an object"),
    "a position as a list": (_set("positions", 0, to=[]), ContractError, "must be an object"),
    "parameters as a list": (_set("parameters", to=[]), ContractError, "parameters: must be an"),
    "gas as a number": (_set("gas_usd", to=1.0), ContractError, "gas_usd: must be an object"),
    "tokens as a text": (_set(*FIRST, "tokens", to="DAI"), ContractError, "must be a list"),
    "a token as a number": (_set(*FIRST, "tokens", to=[1]), ContractError, "must be a text"),
    "an empty id": (_set(*FIRST, "pool_id", to=""), ContractError, "must be a text"),
    "an id as a number": (_set(*FIRST, "pool_id", to=1), ContractError, "must be a text"),
    "a price as a text": (_set("token_prices_usd", "DAI", to="1"), ContractError, "finite number"),
    "an amount as a text": (_set("wallet", "USDC", to="1"), ContractError, "wallet: USDC: must"),
    "an amount as a boolean": (_set("wallet", "USDC", to=True), ContractError, "finite number"),
    "an amount as null": (_set("wallet", "USDC", to=None), ContractError, "finite number"),
    "an APY as a boolean": (_set(*FIRST, "forecast_apy_pct", to=True), ContractError, "number"),
    "an APY as a text": (_set(*FIRST, "forecast_apy_pct", to="5"), ContractError, r"\(p1\)"),
    "shares as a number": (_set("pools", 1, "token_shares", to=1), ContractError, "a list"),
    "a share as a text": (_set("pools", 1, "token_shares", to=["a", 1]), ContractError, "number"),
    "a flag as a number": (_set("tvl_includes_position", to=1), ContractError, "not a boolean"),
    "an infinite amount": (_set("wallet", "USDC", to=float("inf")), ContractError, "finite"),
    "an amount beyond all money": (_set("wallet", "USDC", to=1e300), ContractError, "USDC"),
    "an unknown amount": (_set("wallet", "USDC", to=float("nan")), ContractError, "finite"),
    "a number that is a text": (_set("parameters", "min_pools", to="x"), ParameterError, "x"),
    # values
    "a negative amount": (_set("wallet", "USDC", to=-1.0), InputError, "-1.0"),
    "a negative position": (_set("positions", 0, "amount", to=-1.0), InputError, "-1.0"),
    "negative gas": (_set("gas_usd", "allocation", to=-1.0), InputError, "allocation is -1.0"),
    "a price of zero": (_set("token_prices_usd", "DAI", to=0.0), MissingDataError, "DAI has no"),
    "no price of what is owned": (
        _drop("token_prices_usd", "USDC"),
        MissingDataError,
        "USDC has no usable USD price",
    ),
    "a pool twice": (_repeat("pools"), ContractError, "pool p1 occurs twice"),
    "a position twice": (_repeat("positions"), ContractError, "occurs twice"),
    "another AUM": (_set("aum_usd", to=1_499.0), ContractError, "aum_usd says 1499.0"),
    "an AUM as a text": (_set("aum_usd", to="1"), ContractError, "aum_usd: must be a finite"),
    "an unknown state": (_set(*FIRST, "state", to="closed"), ContractError, "must be one of: open"),
    "an excluded pool": (_set(*FIRST, "state", to="excluded"), ContractError, "must be one of"),
    "an unknown rate model": (
        _set(*FIRST, "rate_model", to="magic"),
        ContractError,
        "rate_model: is 'magic', must be one of: constant, pro_rata",
    ),
    "an unknown group": (_set(*FIRST, "risk_group", to=4), ContractError, "risk_group: is 4"),
    "a group as a boolean": (_set(*FIRST, "risk_group", to=True), ContractError, "is True"),
    "an open pool without APY": (
        _set(*FIRST, "forecast_apy_pct", to=None),
        MissingDataError,
        "forecast_apy_pct is nan",
    ),
    "an open pool without TVL": (
        _drop(*FIRST, "forecast_tvl_usd"),
        MissingDataError,
        "forecast_tvl_usd is nan",
    ),
    "a total loss and more": (
        _set(*FIRST, "forecast_apy_q10_pct", to=-150.0),
        ContractError,
        "forecast_apy_q10_pct is -150.0",
    ),
    "shares that do not sum to 1": (
        _set("pools", 1, "token_shares", to=[0.4, 0.4]),
        ContractError,
        "sum 1",
    ),
    "a parameter out of bounds": (
        _set("parameters", "max_alloc_percentage", to=25.0),
        ParameterError,
        "max_alloc_percentage",
    ),
}


@pytest.mark.parametrize(("change", "error", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_file_is_refused_by_name(
    change: Change, error: type[InputError], message: str
) -> None:
    document = _document()
    change(document)
    with pytest.raises(error, match=message):
        read_problem(document)


def test_an_empty_book_is_refused() -> None:
    document = _document() | {"wallet": {}, "positions": []}
    with pytest.raises(InputError, match="empty"):
        read_problem(document)


def test_a_frozen_pool_needs_no_forecast() -> None:
    document = _document()
    document["pools"][0] |= {"state": "frozen", "forecast_apy_pct": None, "forecast_tvl_usd": None}
    assert read_problem(document).pools[0].state is PoolState.FROZEN


# --- round trip ---


def _again(task: AllocationProblem) -> AllocationProblem:
    """Written as text and read back."""
    return read_problem(json.loads(canonical_json(problem_document(task))))


@pytest.mark.parametrize("seed", range(20))
def test_a_problem_reads_back_as_it_was_written(seed: int) -> None:
    task = random_problem(seed)
    assert problem_document(_again(task)) == problem_document(task)
    assert _again(task).aum_usd == task.aum_usd


def test_a_problem_with_a_pool_that_left_the_list_reads_back() -> None:
    """Such a pool is known by its id only: the file leaves it out, and it must be left again."""
    task = problem([pool("a")], {"USDC": 1.0}, {("gone", "USDC"): 5.0})
    document = problem_document(task)
    assert [row["pool_id"] for row in document["pools"]] == ["a"]
    assert [p.state for p in _again(task).pools] == [PoolState.OPEN, PoolState.EXIT]
    assert problem_document(_again(task)) == document


def test_what_was_written_is_solved_alike() -> None:
    task = random_problem(5)
    one, other = solved(task), solved(_again(task))
    assert one.settlement == other.settlement
    assert one.inputs_sha256 == other.inputs_sha256


@pytest.mark.skipif(not GOLDEN_INSTANCE.exists(), reason="needs ../shared/golden")
def test_the_golden_instance_reads_back() -> None:
    task = read_problem(seed_document())
    assert problem_document(_again(task)) == problem_document(task)
