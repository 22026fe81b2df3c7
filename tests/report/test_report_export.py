from __future__ import annotations

import csv
import json
from dataclasses import replace

import pandas as pd
import pytest

from stableyield.errors import ContractError, InputError
from stableyield.report import compute_metrics, equity_png, read_run, render_report, write_run
from stableyield.report.export import TABLES, write_atomic

FILES = {
    *(f"{name}.{kind}" for name in TABLES for kind in ("csv", "parquet")),
    *("timings.parquet", "run.json", "plan.json", "metrics.json", "report.html", "equity.png"),
}


@pytest.fixture(scope="module")
def run_directory(result, tmp_path_factory):
    directory = tmp_path_factory.mktemp("out") / "new" / "run"
    assert write_run(result, directory) == directory / "report.html"
    return directory


def test_a_run_leaves_exactly_the_promised_files(run_directory):
    assert {path.name for path in run_directory.iterdir()} == FILES


def test_a_run_that_is_read_back_renders_the_identical_page(run_directory):
    again = read_run(run_directory)
    page = render_report(again, compute_metrics(again))
    assert page == (run_directory / "report.html").read_text(encoding="utf-8")


def test_frames_survive_the_round_trip(run_directory, result):
    again = read_run(run_directory)
    for name in (*TABLES, "timings"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(result, name))
    assert again.run == result.run
    assert again.last_plan == json.loads(json.dumps(result.last_plan))


def test_writing_twice_gives_the_same_bytes(run_directory, result):
    before = {path.name: path.read_bytes() for path in run_directory.iterdir()}
    write_run(result, run_directory)
    assert {path.name: path.read_bytes() for path in run_directory.iterdir()} == before


def test_no_csv_holds_a_timing(result, tmp_path):
    timed = replace(result, daily_log=result.daily_log.assign(solve_seconds=0.1))
    write_run(timed, tmp_path)
    assert "seconds" not in (tmp_path / "daily_log.csv").read_text()
    assert "solve_seconds" in pd.read_parquet(tmp_path / "daily_log.parquet")


def test_csv_floats_are_written_in_full(run_directory, result):
    with (run_directory / "daily_log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["aum_end"]) for row in rows] == result.daily_log["aum_end"].tolist()
    assert rows[0]["exec_date"] == "2025-03-03"


def test_json_files_hold_no_nan(result, tmp_path):
    unknown = replace(
        result,
        run={**result.run, "gap_usd": float("nan")},
        last_plan={**result.last_plan, "gap_usd": float("inf")},
    )
    write_run(unknown, tmp_path)
    for name in ("run.json", "plan.json", "metrics.json"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "NaN" not in text
        assert "Infinity" not in text
    assert json.loads((tmp_path / "plan.json").read_text())["gap_usd"] is None
    again = read_run(tmp_path)
    page = render_report(again, compute_metrics(again))
    assert page == (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["daily_log.parquet", "timings.parquet", "run.json", "plan.json"])
def test_a_missing_file_is_named_with_a_remedy(result, tmp_path, name):
    write_run(result, tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=rf"{name} is missing .*run the backtest again"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [("positions.parquet", b"half"), ("run.json", b'{"a": '), ("plan.json", b"[]")],
)
def test_a_damaged_file_is_named(result, tmp_path, name, content):
    write_run(result, tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} cannot be read"):
        read_run(tmp_path)


def test_a_directory_that_is_none_is_refused(result, tmp_path):
    with pytest.raises(InputError, match="no such directory"):
        read_run(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is not a directory"):
        write_run(result, tmp_path / "file")


def test_a_contradictory_result_leaves_no_file(result, tmp_path):
    with pytest.raises(ContractError):
        write_run(replace(result, daily_log=result.daily_log.drop(index=3)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "a.txt"
    write_atomic(path, b"old")
    with pytest.raises(TypeError):
        write_atomic(path, "text, not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_picture_is_a_png_and_the_same_twice(result):
    metrics = compute_metrics(result)
    picture = equity_png(result, metrics)
    assert picture.startswith(b"\x89PNG")
    assert picture == equity_png(result, metrics)
