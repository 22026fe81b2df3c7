"""The learned forecasts on observed markets: the tables and figures of docs/forecast_study.

    python benchmarks/forecast_study.py --data ../shared/data --work study-work
    python benchmarks/forecast_study.py --data ... --work ... --only panel --step 14   # quick

Runs the documented commands, ``market import`` and ``forecast evaluate``, one after the other, and
puts what they wrote side by side with what was demanded. The report page of each evaluation stays
in ``--work``: it holds its plotting library and weighs 5 MB. An evaluation that is there already is
not repeated. About ten CPU minutes in all; ``vaults_quoted`` is run when named.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

HORIZONS = (1, 7, 30)
COVERAGE = {1: (0.08, 0.12, 0.88, 0.92), 7: (0.08, 0.12, 0.88, 0.92), 30: (0.06, 0.15, 0.85, 0.94)}
PRODUCT = "stableyield"


@dataclass(frozen=True)
class Case:
    """One data set: how it is imported, on which days it is judged, and what is demanded."""

    name: str
    title: str
    layout: str
    files: tuple[str, ...]
    start: str
    end: str
    step: int
    refit: int
    target: str = "quoted"
    floors: tuple[float, ...] = (0.0, 0.0, 0.0)
    goals: tuple[float, ...] = (math.nan, math.nan, math.nan)
    rank_gain: float = math.nan

    @property
    def market(self) -> str:
        return f"{self.layout}-market"

    @property
    def import_arguments(self) -> list[str]:
        return ["market", "import", *self.files, "--layout", self.layout, "--out", self.market]

    @property
    def evaluate_arguments(self) -> list[str]:
        span = ["--start", self.start, "--end", self.end, "--step", str(self.step)]
        span += ["--refit", str(self.refit)]
        judged = [] if self.target == "quoted" else ["--target", self.target]
        return ["forecast", "evaluate", "--market", self.market, *span, *judged, "--out", self.name]


CASES = (
    Case(
        "panel",
        "lending panel",
        "panel",
        ("lending_panel.parquet",),
        *("2024-08-10", "2025-02-27", 4, 28),
        floors=(0.10, 0.15, 0.12),
        goals=(0.15, 0.20, 0.20),
        rank_gain=0.02,
    ),
    Case(
        "lend_borrow",
        "Aave / Compound",
        "lend-borrow",
        ("lend_borrow_daily.parquet",),
        *("2023-01-01", "2024-06-29", 7, 56),
        floors=(0.18, 0.19, 0.19),
        goals=(0.24, 0.25, 0.27),
    ),
    Case(
        "vaults_realised",
        "vaults, realised",
        "vaults",
        ("vault_daily.parquet", "vault_meta.parquet"),
        *("2024-01-01", "2024-09-29", 7, 56),
        target="realised",
        goals=(math.nan, 0.15, math.nan),
        rank_gain=0.0,
    ),
    Case(
        "vaults_quoted",
        "vaults, quoted",
        "vaults",
        ("vault_daily.parquet", "vault_meta.parquet"),
        *("2024-01-01", "2024-09-29", 14, 56),
    ),
)


def main() -> None:
    options = _options()
    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)
    chosen = [case for case in CASES if case.name in options.only]
    for case in chosen:
        step = case.step if options.step is None else options.step
        _evaluate(replace(case, step=step), options.data.resolve(), work)
    done = [case for case in CASES if (work / case.name / "evaluation.json").is_file()]
    options.out.mkdir(parents=True, exist_ok=True)
    found = {case.name: _Found.read(work / case.name) for case in done}
    (options.out / "README.md").write_text(_page(done, found), encoding="utf-8")
    _figure(done, found, options.out / "skill.png")
    _reliability(done, found, options.out / "coverage.png")


def _evaluate(case: Case, data: Path, work: Path) -> None:
    """Import and evaluate, unless it was done."""
    if (work / case.name / "evaluation.json").is_file():
        return
    if not (work / case.market / "pools.parquet").is_file():
        files = [str(data / name) for name in case.files]
        _command(["market", "import", *files, *case.import_arguments[2 + len(files) :]], work)
    cpu, wall = _command(case.evaluate_arguments, work)
    said = {"cpu_seconds": cpu, "wall_seconds": wall, "arguments": case.evaluate_arguments}
    (work / case.name / "run.json").write_text(json.dumps(said), encoding="utf-8")


def _command(arguments: list[str], work: Path) -> tuple[float, float]:
    """Run ``stableyield`` there; CPU and wall seconds."""

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    print("stableyield", *arguments, flush=True)
    before, began = used(), time.perf_counter()
    subprocess.run([sys.executable, "-m", "stableyield", *arguments], cwd=work, check=True)
    return used() - before, time.perf_counter() - began


@dataclass(frozen=True)
class _Found:
    scores: pd.DataFrame
    coverage: pd.DataFrame
    tvl: pd.DataFrame
    decisions: pd.DataFrame
    document: dict[str, Any]
    run: dict[str, Any]

    @classmethod
    def read(cls, directory: Path) -> _Found:
        names = ("scores", "coverage", "tvl_scores", "decision_value")
        tables = (pd.read_parquet(directory / f"{name}.parquet") for name in names)
        documents = (
            json.loads((directory / name).read_text()) for name in ("evaluation.json", "run.json")
        )
        return cls(*tables, *documents)

    def row(self, horizon: int, method: str = PRODUCT, segment: str = "all") -> pd.Series:
        rows = self.scores
        kept = (rows["horizon_days"] == horizon) & (rows["method"] == method)
        return rows[kept & (rows["segment"] == segment)].iloc[0]


def _page(cases: list[Case], found: dict[str, _Found]) -> str:
    parts = [
        "# Forecasts on observed markets\n",
        "Made by `python benchmarks/forecast_study.py --data ../shared/data --work DIR`, "
        "which runs, for each market:\n",
        "```",
        *(
            f"stableyield {' '.join(arguments)}"
            for case in cases
            for arguments in (case.import_arguments, case.evaluate_arguments)
        ),
        "```\n",
        "What the columns mean: [../forecast.md](../forecast.md#evaluation).\n",
        _skill_table(cases, found),
        _coverage_table(cases, found),
        _other_table(cases, found),
        _segment_table(cases, found),
        _decision_table(cases, found),
        _time_table(cases, found),
        "![Skill by horizon](skill.png)\n",
        "![Coverage by horizon](coverage.png)",
    ]
    return "\n".join(parts) + "\n"


def _skill_table(cases: list[Case], found: dict[str, _Found]) -> str:
    rows = []
    for case in cases:
        for k, horizon in enumerate(HORIZONS):
            row = found[case.name].row(horizon)
            skill, floor, goal = row["skill_vs_last"], case.floors[k], case.goals[k]
            bounds = f"{row['skill_low']:.3f} .. {row['skill_high']:.3f}"
            against = f"{row['skill_vs_best_baseline']:+.3f} ({row['best_baseline']})"
            rows.append(
                (
                    *(case.title, horizon, int(row["n"]), f"{row['mae']:.3f}", f"{skill:.3f}"),
                    *(bounds, _number(floor, 2), _number(goal, 2), _verdict(skill, floor, goal)),
                    against,
                )
            )
    heads = ("market", "days", "n", "MAE", "skill", "90 %", "floor", "goal", "reached")
    return "## Skill against the last value\n\n" + _table(
        (*heads, "against the best baseline"), rows
    )


def _verdict(skill: float, floor: float, goal: float) -> str:
    if not math.isnan(goal) and skill >= goal:
        return "goal"
    return "floor" if skill >= floor and skill > 0.0 else "**no**"


def _coverage_table(cases: list[Case], found: dict[str, _Found]) -> str:
    rows = []
    for case in cases:
        for horizon in HORIZONS:
            row, bounds = found[case.name].row(horizon), COVERAGE[horizon]
            cells = [case.title, horizon]
            for name, low, high in (("q10", *bounds[:2]), ("q90", *bounds[2:])):
                share = row[f"coverage_{name}"]
                reached = "yes" if low <= share <= high else "**no**"
                cells += [f"{share:.3f}", f"{low:.2f} .. {high:.2f}", reached]
            rows.append(tuple(cells))
    heads = ("market", "days", "below q10", "wanted", "", "up to q90", "wanted", "")
    return "## Coverage\n\n" + _table(heads, rows)


def _other_table(cases: list[Case], found: dict[str, _Found]) -> str:
    rows = []
    for case in cases:
        for horizon in HORIZONS:
            own, last = (found[case.name].row(horizon, name) for name in (PRODUCT, "last"))
            tvl = found[case.name].tvl
            size = tvl[(tvl["horizon_days"] == horizon) & (tvl["method"] == PRODUCT)].iloc[0]
            gain = own["rank_corr"] - last["rank_corr"]
            wanted = case.rank_gain if horizon == 7 else math.nan
            reached = "" if math.isnan(wanted) else "yes" if gain >= wanted else "**no**"
            skills = ("skill_log_vs_last", "skill_usd_vs_last")
            ranks = (f"{last['rank_corr']:.3f}", f"{own['rank_corr']:.3f}", f"{gain:+.3f}")
            sizes = (f"{size[name]:+.4f}" for name in skills)
            rows.append((case.title, horizon, *ranks, _number(wanted, 2), reached, *sizes))
    heads = ("market", "days", "rank, last", "rank", "gain", "wanted", "")
    note = "\nTVL: skill against the last TVL, of its logarithm and in USD.\n"
    table = _table((*heads, "TVL log", "TVL USD"), rows)
    return "## Ranks across pools, and TVL\n\n" + table + note


def _segment_table(cases: list[Case], found: dict[str, _Found]) -> str:
    segments = ("calm", "volatile", "spike", "cold", "reward")
    rows = []
    for case in cases:
        for horizon in HORIZONS:
            said = [found[case.name].row(horizon, segment=name) for name in segments]
            cells = (f"{row['skill_vs_last']:.3f} ({int(row['n'])})" for row in said)
            rows.append((case.title, horizon, *cells))
    return "## Skill by segment (forecasts)\n\n" + _table(("market", "days", *segments), rows)


def _decision_table(cases: list[Case], found: dict[str, _Found]) -> str:
    rows = []
    for case in cases:
        table = found[case.name].decisions
        shown = table[table["method"].isin(["last", "ewma", PRODUCT])].to_dict("records")
        numbers = ("promised_apy_pct", "realised_apy_pct", "captured")
        rows += [
            (case.title, row["method"], row["n_weeks"], *(f"{row[name]:.3f}" for name in numbers))
            for row in shown
        ]
    heads = ("market", "method", "weeks", "promised %", "came %", "captured")
    return "## The five highest forecasts of each week, held for seven days\n\n" + _table(
        heads, rows
    )


def _time_table(cases: list[Case], found: dict[str, _Found]) -> str:
    rows = []
    for case in cases:
        for horizon in HORIZONS:
            row = found[case.name].row(horizon)
            seconds = (row["seconds_per_refit"], row["seconds_per_predict"])
            rows.append((case.title, horizon, *(_number(value, 3) for value in seconds)))
    cpu = ", ".join(f"{case.title} {found[case.name].run['cpu_seconds']:.0f}" for case in cases)
    note = f"\nWall seconds, on a busy machine. CPU seconds of the whole evaluation: {cpu}.\n"
    table = _table(("market", "days", "seconds a refit", "seconds a forecast"), rows)
    return "## Time\n\n" + table + note


def _table(heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def _figure(cases: list[Case], found: dict[str, _Found], path: Path) -> None:
    """Skill of the product with its interval, of the best baseline, floor and goal."""
    figure, axes = plt.subplots(1, len(cases), figsize=(3.4 * len(cases), 3.4), sharey=True)
    for axis, case in zip([axes] if len(cases) == 1 else axes, cases, strict=True):
        for k, horizon in enumerate(HORIZONS):
            row = found[case.name].row(horizon)
            skill = row["skill_vs_last"]
            spread = [[skill - row["skill_low"]], [row["skill_high"] - skill]]
            axis.errorbar(k, skill, yerr=spread, fmt="o", color="#1f5fa8", capsize=4)
            rival = found[case.name].row(horizon, row["best_baseline"])["skill_vs_last"]
            axis.plot(k, rival, "s", color="#8a8a8a")
            axis.hlines(case.floors[k], k - 0.3, k + 0.3, color="#b3541e")
            if not math.isnan(case.goals[k]):
                axis.hlines(case.goals[k], k - 0.3, k + 0.3, color="#2e7d32", linestyle="dashed")
        axis.set_xticks(range(len(HORIZONS)), [f"{h} d" for h in HORIZONS])
        axis.axhline(0.0, color="black", linewidth=0.8)
        titled(axis, case.title)
    figure.supylabel("skill against the last value", fontsize=9)
    figure.text(
        *(0.5, 0.01),
        "dot: ours, 90 % interval; square: best baseline; solid line: floor; dashed: goal",
        ha="center",
        fontsize=8,
    )
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    saved(figure, path)


def _reliability(cases: list[Case], found: dict[str, _Found], path: Path) -> None:
    """Coverage of q10 and q90 by month of the origin, a line a horizon."""
    figure, axes = plt.subplots(
        1, len(cases), figsize=(3.4 * len(cases), 3.4), sharey=True, squeeze=False
    )
    for axis, case in zip(axes[0], cases, strict=True):
        rows = found[case.name].coverage
        rows = rows[(rows["by"] == "month") & (rows["method"] == PRODUCT) & (rows["n"] >= 30)]
        for horizon, colour in zip(HORIZONS, ("#1f5fa8", "#b3541e", "#2e7d32"), strict=True):
            own = rows[rows["horizon_days"] == horizon]
            x = pd.to_datetime(own["group"])
            axis.plot(x, own["coverage_q10"], color=colour, label=f"{horizon} d")
            axis.plot(x, own["coverage_q90"], color=colour)
        for level in (0.1, 0.9):
            axis.axhline(level, color="black", linewidth=0.8, linestyle="dotted")
        axis.tick_params(axis="x", rotation=60, labelsize=7)
        axis.set_ylim(0.0, 1.0)
        titled(axis, case.title)
    axes[0][0].set_ylabel("share of outcomes below q10, q90", fontsize=9)
    axes[0][0].legend(fontsize=8, loc="center left", frameon=False)
    figure.tight_layout()
    saved(figure, path)


def titled(axis: Axes, title: str) -> None:
    """One of several plots side by side."""
    axis.set_title(title, fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)


def saved(figure: Figure, path: Path) -> None:
    """The same bytes for the same picture."""
    figure.savefig(path, dpi=130, metadata={"Software": None})
    plt.close(figure)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="markets and evaluations")
    parser.add_argument("--out", type=Path, default=Path("docs/forecast_study"))
    names = [case.name for case in CASES]
    parser.add_argument("--only", nargs="*", choices=names, default=names[:3])
    parser.add_argument("--step", type=int, help="days between origins, instead of the study's")
    return parser.parse_args()


if __name__ == "__main__":
    main()
