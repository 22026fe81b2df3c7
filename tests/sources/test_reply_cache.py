from __future__ import annotations

import errno
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stableyield.errors import SourceError
from stableyield.sources.cache import ReplyCache
from stableyield.sources.request import Request, joined
from support.provider import NOON, TODAY


def request(item: str = "p1", source: str = "s") -> Request:
    return Request(source, "chart", "http://host/chart", item)


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=80), st.text(min_size=1, max_size=20))
def test_no_name_leads_out_of_the_directory(item: str, source: str) -> None:
    root = Path("/cache")
    path = ReplyCache(root).path(request(item, source), TODAY)
    assert path.relative_to(root).parts[1] == "chart"
    assert ".." not in path.parts
    assert len(path.relative_to(root).parts) == 4
    assert all(len(part) <= 80 for part in path.parts)


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=30), st.text(max_size=30))
def test_two_items_share_a_place_only_if_they_are_one(first: str, second: str) -> None:
    cache = ReplyCache(Path("/cache"))
    places = {cache.path(request(item or "all"), TODAY).parent for item in (first, second)}
    assert (len(places) == 1) == ((first or "all") == (second or "all"))


@settings(deadline=None, max_examples=60)
@given(st.text(min_size=1, max_size=30))
def test_an_id_cannot_leave_its_place_in_a_path(item: str) -> None:
    url = joined("http://host/base/", "chart", item)
    head, _, tail = url.rpartition("/")
    assert head == "http://host/base/chart"
    assert tail not in {"", ".", ".."}
    assert not set(tail) & set("/?#\\ ")


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200))
def test_a_body_comes_back_word_for_word(
    tmp_path_factory: pytest.TempPathFactory, body: bytes
) -> None:
    cache = ReplyCache(tmp_path_factory.mktemp("cache"))
    cache.write(request(), body, NOON)
    kept = cache.read(request(), TODAY)
    assert kept is not None
    assert (kept.body, kept.fetched_at) == (body, NOON)


@pytest.mark.parametrize("damage", [b"", b"x", b'{"a": 1}\nbody', b"[]\n"])
def test_a_damaged_file_is_no_answer(tmp_path: Path, damage: bytes) -> None:
    cache = ReplyCache(tmp_path)
    path = cache.write(request(), b"[1, 2, 3]", NOON)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert cache.read(request(), TODAY) is None
    path.write_bytes(damage)
    assert cache.read(request(), TODAY) is None


def test_a_full_disk_is_an_error_and_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("stableyield.sources.cache.os.fsync", full)
    cache = ReplyCache(tmp_path)
    with pytest.raises(SourceError, match="No space left") as caught:
        cache.write(request(), b"body", NOON)
    assert "free space" in caught.value.remedy
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_old_answers_and_what_killed_processes_left_are_removed(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path)
    old = cache.write(request(), b"old", NOON - timedelta(days=3))
    new = cache.write(request(), b"new", NOON)
    stray = old.with_name("x.unfinished")
    stray.touch()
    assert cache.remove_before(TODAY) == 1
    assert cache.remove_before(date(2999, 1, 1)) == 2
    assert not any(path.exists() for path in (old, new, stray))
