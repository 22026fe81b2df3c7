"""``stableyield forecast evaluate`` and ``forecast run``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stableyield.market.files import write_market
from stableyield.market.synthetic import SyntheticSettings, UniverseModel, simulate_market

BASELINES = "last,mean7,ewma"
CHARTS = ("skill", "segments", "reliability", "reliability-volatility", "decision", "drift")
SCORES = (
    "horizon_days,method,segment,n,mae,median_ae,rmse,skill_vs_last,skill_vs_best_baseline,"
    "rank_corr,pinball_q10,coverage_q10,coverage_q90,seconds"
)
FORECASTS = (
    *("pool_id", "exec_date", "target_date", "pred_global_apy", "pred_global_apy_q10"),
    *("pred_global_apy_q50", "pred_global_apy_q90", "pred_global_apy_risk_adj"),
    *("pred_global_tvl", "pred_global_tvl_risk_adj", "cold_start_flag", "instability_group"),
    *("pred_next_day_instability_group", "downside_risk", "horizon_days", "model_version"),
)


@pytest.fixture(scope="module")
def long_market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A market of ten weeks and eight pools; never written to by tests."""
    universe = UniverseModel(late_share=0.0, delisting_hazard=0.0, missing_day_share=0.0)
    settings = SyntheticSettings(seed=5, n_days=70, n_pools=8, universe=universe)
    directory = tmp_path_factory.mktemp("long") / "market"
    write_market(simulate_market(settings), directory, file_format="parquet")
    return directory


@pytest.fixture(scope="module")
def last_day(long_market: Path) -> str:
    days = pd.read_parquet(long_market / "pool_daily.parquet")["date"]
    return str(pd.Timestamp(days.max()).date())


def evaluated(cli: Any, market: Path, *more: object, methods: str = BASELINES) -> Any:
    return cli("forecast", "evaluate", "--market", market, "--methods", methods, *more)


def test_an_evaluation_writes_tables_and_a_page(cli, long_market, tmp_path):
    out = tmp_path / "new" / "ev"
    outcome = evaluated(cli, long_market, "--horizons", "1,7", "--step", 2, "--out", out)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[-1] == f"report: {out / 'report.html'}"
    tables = ("scores", "coverage", "decision_value", "worst_misses", "tvl_scores", "drift")
    for name in tables:
        assert len(pd.read_csv(out / f"{name}.csv")) == len(
            pd.read_parquet(out / f"{name}.parquet")
        )
    assert (out / "scores.csv").read_text().startswith(SCORES)
    scores = pd.read_csv(out / "scores.csv")
    assert set(scores["method"]) == {"last", "mean7", "ewma"}
    assert (scores.loc[scores["segment"] == "all", "n"] > 0).all()
    document = json.loads((out / "evaluation.json").read_text())
    assert document["step_days"] == 2
    assert len(document["run"]["market_sha256"]) == 64
    page = (out / "report.html").read_text()
    for chart in (
        "skill",
        "segments",
        "reliability",
        "reliability-volatility",
        "decision",
        "drift",
    ):
        assert f'id="{chart}-plot"' in page
    assert 'http-equiv="Content-Security-Policy" content="default-src \'none\'' in page


def test_json_is_what_was_found(cli, long_market):
    outcome = evaluated(cli, long_market, "--horizons", "7", "--json")
    document = outcome.document
    assert document["horizons"] == [7]
    assert document["report"] is None
    best = {row["method"]: row for row in document["scores"] if row["segment"] == "all"}
    assert best["last"]["skill_vs_last"] == 0.0
    assert best["last"]["seconds_per_refit"] is None


def test_two_evaluations_write_the_same_numbers(cli, long_market, tmp_path):
    frames = []
    for name in ("a", "b"):
        assert evaluated(cli, long_market, "--horizons", "7", "--out", tmp_path / name).code == 0
        frame = pd.read_csv(tmp_path / name / "scores.csv")
        frames.append(frame[[c for c in frame if not c.startswith("seconds")]])
    pd.testing.assert_frame_equal(*frames)


def test_the_learned_method_is_published_under_the_product_name(cli, long_market, last_day):
    start = pd.Timestamp(last_day) - pd.Timedelta(days=10)
    arguments = ("--horizons", "1", "--start", start.date(), "--step", 5, "--json")
    outcome = evaluated(cli, long_market, *arguments, methods="learned,last")
    assert outcome.code == 0, outcome.err
    assert {row["method"] for row in outcome.document["scores"]} == {"stableyield", "last"}


@pytest.mark.parametrize("target", ["quoted", "realised"])
def test_without_a_span_the_learned_method_is_judged_from_the_first_day_on(
    cli, long_market, target
):
    arguments = ("--horizons", "1", "--step", 23, "--target", target, "--refit", 70, "--json")
    outcome = evaluated(cli, long_market, *arguments, methods="stableyield,last")
    assert outcome.code == 0, outcome.err
    first = pd.read_parquet(long_market / "pool_daily.parquet")["date"].min()
    assert outcome.document["start"] == str(pd.Timestamp(first).date())
    assert outcome.document["target"] == target


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--horizons", "0"), "horizon_days is 0"),
        (("--horizons", "400"), "horizon_days is 400"),
        (("--horizons", "1,x"), "--horizons '1,x' is not a list of whole numbers"),
        (("--horizons", "7,7"), "horizons are 7, 7"),
        (("--methods", "ewmma"), "did you mean 'ewma'"),
        (("--methods", "last,,ewma"), "has an empty name"),
        (("--methods", "last,last"), "two forecasters are called 'last'"),
        (("--methods", "foreign"), "there are no foreign forecasts"),
        (("--start", "2024-02-10", "--end", "2024-02-01"), "is before --start"),
        (("--start", "2031-01-01"), "outside the market's history"),
        (("--step", "0"), "no origin"),
        (("--refit", "0", "--methods", "learned"), "refit_every_days is 0"),
        (("--target", "real"), "target is 'real'"),
    ],
)
def test_bad_input_exits_with_2_and_writes_nothing(cli, long_market, tmp_path, arguments, said):
    out = tmp_path / "ev"
    market = ("forecast", "evaluate", "--market", long_market)
    chosen = () if "--methods" in arguments else ("--methods", "last")
    if arguments[0] == "--start" and len(arguments) == 2:
        arguments = (*arguments, "--end", "2031-02-01")
    outcome = cli(*market, *chosen, *arguments, "--out", out)
    assert outcome.code == 2
    assert said in outcome.first_line
    assert not out.exists()


def test_nothing_to_score_exits_with_2_and_says_why(cli, long_market, last_day):
    outcome = evaluated(cli, long_market, "--horizons", "7", "--start", last_day)
    assert outcome.code == 2
    assert "can be scored" in outcome.first_line
    assert "every outcome ends after the market's last day" in outcome.err


def test_duplicate_days_are_a_broken_contract(cli, long_market, tmp_path):
    market = Path(shutil.copytree(long_market, tmp_path / "market"))
    rows = pd.read_parquet(market / "pool_daily.parquet")
    twice = pd.concat([rows, rows.iloc[[0]].assign(apy_pct=99.0)], ignore_index=True)
    twice.to_parquet(market / "pool_daily.parquet", index=False)
    outcome = evaluated(cli, market)
    assert outcome.code == 2
    assert "pool_daily" in outcome.first_line


def test_two_pools_with_one_id_are_a_broken_contract(cli, long_market, last_day, tmp_path):
    market = Path(shutil.copytree(long_market, tmp_path / "market"))
    pools = pd.read_parquet(market / "pools.parquet")
    pd.concat([pools, pools.iloc[[0]]]).to_parquet(market / "pools.parquet", index=False)
    for outcome in (evaluated(cli, market), forecast_run(cli, market, last_day)):
        assert outcome.code == 2
        assert "pools" in outcome.first_line
        assert str(pools["pool_id"].iloc[0]) in outcome.first_line


def spoilt(rows: pd.DataFrame) -> pd.DataFrame:
    """Seven pools, each with something wrong; the eighth is whole."""
    ids, days = sorted(rows["pool_id"].unique()), sorted(rows["date"].unique())
    pool, day = rows["pool_id"], rows["date"]
    gone = (pool == ids[0]) | ((pool == ids[1]) & (day < days[-1]))
    gone |= (pool == ids[2]) & (day < days[-2])
    gone |= (pool == ids[4]) & day.isin(days[-2::-3])
    rates = ["apy_pct", "apy_base_pct"]
    rows.loc[pool == ids[3], rates] = 4.7
    rows.loc[(pool == ids[5]) & (day == days[-4]), rates] = 1e6
    rows.loc[pool == ids[6], rates] = -2.0 + rows.loc[pool == ids[6], rates] / 10.0
    rows["apy_reward_pct"] = float("nan")
    return rows[~gone]


def test_bad_pools_are_all_in_the_file_with_a_forecast_or_without(
    cli, long_market, last_day, tmp_path
):
    market = Path(shutil.copytree(long_market, tmp_path / "market"))
    table = market / "pool_daily.parquet"
    spoilt(pd.read_parquet(table)).to_parquet(table, index=False)
    outcome = forecast_run(cli, market, last_day, "--out", tmp_path / "f.csv")
    assert outcome.code == 0, outcome.err
    found = pd.read_csv(tmp_path / "f.csv").set_index("pool_id").sort_index()
    ids = sorted(pd.read_parquet(market / "pools.parquet")["pool_id"])
    assert list(found.index) == ids
    unknown = found["pred_global_apy"].isna()
    assert list(found.index[unknown]) == ids[:2]  # no row, one row
    assert found.loc[ids[2], "cold_start_flag"]
    assert found.loc[ids[3], "pred_global_apy"] == found.loc[ids[3], "pred_global_apy_q90"] == 4.7
    assert found.loc[ids[5], "pred_global_apy"] < 5e5
    assert found.loc[ids[7], "pred_global_apy_q10"] < found.loc[ids[7], "pred_global_apy_q90"]
    assert evaluated(cli, market, "--horizons", "1", "--step", 9).code == 0


def forecast_run(cli: Any, market: Path, day: str, *more: object) -> Any:
    return cli("forecast", "run", "--market", market, "--day", day, *more)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_forecast_is_a_table_with_its_provenance_beside_it(
    cli, long_market, last_day, tmp_path, suffix
):
    out = tmp_path / f"forecast{suffix}"
    outcome = forecast_run(cli, long_market, last_day, "--method", "ewma", "--out", out)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[-2] == f"written to {out}"
    frame = pd.read_csv(out) if suffix == ".csv" else pd.read_parquet(out)
    assert tuple(frame.columns) == FORECASTS
    assert frame["pool_id"].is_unique
    assert str(frame["exec_date"].iloc[0])[:10] == last_day
    document = json.loads(out.with_suffix(".json").read_text())
    assert document["method"] == document["served_by"] == "ewma"
    assert document["recent_scores"]["n_days"] == 30
    assert set(document["recent_scores"]["mae"]) >= {"ewma", "last"}
    assert document["n_forecast"] == frame["pred_global_apy"].notna().sum()
    assert {path.name for path in tmp_path.iterdir()} == {out.name, "forecast.json"}


def test_the_same_forecast_twice_is_the_same_bytes(cli, long_market, last_day, tmp_path):
    for name in ("a", "b"):
        arguments = ("--method", "learned", "--out", tmp_path / f"{name}.csv")
        assert forecast_run(cli, long_market, last_day, *arguments).code == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_the_risk_aversion_is_that_of_the_parameters(cli, long_market, last_day):
    arguments = ("--method", "ewma", "--set", "risk_aversion=1", "--json")
    rows = forecast_run(cli, long_market, last_day, *arguments).document["forecasts"]
    assert rows
    for row in rows:
        assert row["pred_global_apy_risk_adj"] == row["pred_global_apy_q10"]


def test_json_of_a_forecast_has_rows_and_provenance(cli, long_market, last_day):
    outcome = forecast_run(cli, long_market, last_day, "--method", "last", "--horizon", 3, "--json")
    document = outcome.document
    assert document["horizon_days"] == 3
    assert document["training"] is None
    assert len(document["forecasts"]) == document["n_pools"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--horizon", "0"), "horizon_days is 0"),
        (("--horizon", "366"), "horizon_days is 366"),
        (("--method", "no"), "no forecaster is called 'no'"),
        (("--method", "foreign"), "there are no foreign forecasts"),
        (("--out", "forecast.xlsx"), "no table ends in '.xlsx'"),
        (("--out", "no/such/place.csv"), "there is no directory"),
        (("--set", "risk_aversion=2"), "risk_aversion"),
    ],
)
def test_bad_input_of_a_forecast_exits_with_2(cli, long_market, last_day, arguments, said):
    chosen = () if "--method" in arguments else ("--method", "last")
    outcome = forecast_run(cli, long_market, last_day, *chosen, *arguments)
    assert outcome.code == 2
    assert said in outcome.first_line


def test_a_day_on_which_nothing_is_known_stops_before_anything_is_written(
    cli, long_market, tmp_path
):
    first = pd.read_parquet(long_market / "pool_daily.parquet")["date"].min()
    out = tmp_path / "forecast.csv"
    day = str(pd.Timestamp(first).date())
    outcome = forecast_run(cli, long_market, day, "--method", "last", "--out", out)
    assert outcome.code == 5
    assert outcome.first_line.startswith(f"error: {long_market}: no pool has a forecast for {day}")
    assert not out.exists()
