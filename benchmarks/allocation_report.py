"""Tables and figure of the allocation benchmark."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from daily import DailyResult
from stages import STAGES

STANDARD, PROVEN, SHARE = "ours, standard", "ours, proven", "ours, proven to 1e-4"

# case, what, target: design of the allocation problem, section 6
TARGETS = (
    ("15 x 3, 1e6", PROVEN, 0.015),
    ("60 x 8, 1e6", PROVEN, 0.25),
    ("60 x 8, 2e7", PROVEN, 0.04),
    ("250 x 16, 1e6", PROVEN, 1.2),
    ("250 x 16, 1e6", SHARE, 1.2),
    ("250 x 16, 2e7", PROVEN, 0.5),
    ("250 x 16, 2e7", SHARE, 0.5),
    ("1,000 x 28, 1e6", STANDARD, 1.5),
    ("1,000 x 28, 1e6", SHARE, 12.0),
    ("4,000 x 28, 1e6", STANDARD, 1.5),
    ("4,000 x 28, 1e6", SHARE, 10.0),
    ("4,000 x 28, 1e9", SHARE, 0.6),
)
BACKTEST_TARGETS = {"60 x 8, 1e6": 40.0, "250 x 16, 1e6": 15.0}


@dataclass(frozen=True)
class Record:
    """One solver on one instance: CPU seconds and USD of gain."""

    case: str
    n_pools: int
    aum_usd: float
    seed: int
    solver: str
    status: str
    seconds: float
    build_seconds: float
    solve_seconds: float
    objective_usd: float
    bound_usd: float
    stages: Mapping[str, float]
    method: str

    @property
    def gap_usd(self) -> float:
        return max(self.bound_usd - self.objective_usd, 0.0)

    @property
    def is_at_limit(self) -> bool:
        return self.status == "time_limit"

    def __str__(self) -> str:
        return (
            f"{self.case} seed {self.seed} {self.solver}: {self.seconds:.3f} s, {self.status}, "
            f"gain {self.objective_usd:.2f}, gap {self.gap_usd:.3f} USD ({self.method})"
        )


@dataclass
class Report:
    """What a run found."""

    limit_seconds: float
    records: list[Record] = field(default_factory=list)
    without_plan: list[str] = field(default_factory=list)
    disagreements: list[str] = field(default_factory=list)
    backtests: list[DailyResult] = field(default_factory=list)
    memory: list[str] = field(default_factory=list)
    wall_seconds: float = 0.0

    def groups(self) -> dict[tuple[str, str], list[Record]]:
        """Records by case and solver, in the order of the run."""
        groups: dict[tuple[str, str], list[Record]] = {}
        for record in self.records:
            groups.setdefault((record.case, record.solver), []).append(record)
        return groups

    def markdown(self) -> str:
        """All tables."""
        notes = [
            f"CPU seconds of one thread; time limit {self.limit_seconds:g} s for each solver; the "
            f"whole run took {self.wall_seconds:.0f} s.",
            "No plan meets the limits of these, and they are left out: "
            + (", ".join(self.without_plan) or "none")
            + ".",
            f"Objectives above another solver's bound: {len(self.disagreements)}.",
            "Peak memory: " + "; ".join(self.memory) + ".",
        ]
        parts = (
            self._solvers(),
            self._targets(),
            self._stages(),
            self._backtests(),
            "\n".join(f"* {note}" for note in notes),
        )
        return "\n\n".join(parts)

    def _solvers(self) -> str:
        lines = [
            "| instance | solver | seeds | build | solve | all, median | all, worst | gap, worst |"
            " gain, median | below best known, worst | time / ours, proven |",
            "|---|---|" + "---:|" * 9,
        ]
        best: dict[tuple[str, int], float] = {}
        for r in self.records:
            if math.isfinite(r.objective_usd):
                key = (r.case, r.seed)
                best[key] = max(best.get(key, -math.inf), r.objective_usd)
        for (case, solver), rows in self.groups().items():
            known = [r for r in rows if math.isfinite(r.objective_usd)]
            cells = [
                case,
                solver,
                str(len(rows)),
                *(_seconds(_median(rows, what)) for what in (_build, _solve)),
                _limited(rows, _median(rows, _all)),
                _limited([max(rows, key=_all)], max(map(_all, rows))),
                f"{max(r.gap_usd for r in known):,.2f}" if known else "no plan",
                f"{_median(known, lambda r: r.objective_usd):,.2f}" if known else "",
                f"{max(best[r.case, r.seed] - r.objective_usd for r in known):,.2f}"
                if known
                else "",
                self._ratio(case, solver, rows),
            ]
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def _ratio(self, case: str, solver: str, rows: list[Record]) -> str:
        if solver.startswith("ours"):
            return ""
        ours = {r.seed: r.seconds for r in self.groups()[case, PROVEN]}
        ratio = median(r.seconds / ours[r.seed] for r in rows)  # on the seeds that both solved
        return f"{'> ' if _is_limited(rows) else ''}{ratio:.1f}"

    def _targets(self) -> str:
        lines = [
            "| instance | what | seeds | target | median | worst | reached |",
            "|---|---|---:|---:|---:|---:|---|",
        ]
        groups = self.groups()
        for case, solver, target in TARGETS:
            rows = groups.get((case, solver))
            if rows is None:
                continue
            value = _median(rows, _all)
            met = "yes" if value <= target and not _is_limited(rows) else "no"
            cells = (
                case,
                solver.removeprefix("ours, "),
                str(len(rows)),
                _seconds(target),
                _limited(rows, value),
                _limited([max(rows, key=_all)], max(map(_all, rows))),
                met,
            )
            lines.append("| " + " | ".join(cells) + " |")
        for r in self.backtests:
            target, rate = BACKTEST_TARGETS[r.label], r.days_per_second
            slowest = f"slowest day {_seconds(max(r.seconds))}"
            lines.append(
                f"| {r.label} | backtest, {r.mode} | 1 | {target:g} days/s | {rate:.1f} days/s "
                f"| {slowest} | {'yes' if rate >= target else 'no'} |"
            )
        return "\n".join(lines)

    def _stages(self) -> str:
        names = (*STAGES, "rest")
        lines = [
            "| instance | ours | " + " | ".join(names) + " |",
            "|---|---|" + "---:|" * len(names),
        ]
        for (case, solver), rows in self.groups().items():
            if not solver.startswith("ours"):
                continue
            cells = [_seconds(median(r.stages[name] for r in rows)) for name in names]
            mode = solver.removeprefix("ours, ")
            lines.append("| " + " | ".join([case, mode, *cells]) + " |")
        return "\n".join(lines)

    def _backtests(self) -> str:
        lines = [
            "| daily backtest | mode | days | days/s | median day | slowest day |"
            " transactions a day, mean | days without one | days without a plan |",
            "|---|---|" + "---:|" * 7,
        ]
        for r in self.backtests:
            cells = (
                r.label,
                r.mode,
                str(len(r.seconds)),
                f"{r.days_per_second:.1f}",
                _seconds(median(r.seconds)),
                _seconds(max(r.seconds)),
                f"{sum(r.trades) / len(r.trades):.1f}",
                str(sum(n == 0 for n in r.trades)),
                str(r.n_without_plan),
            )
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)


def _median(rows: list[Record], what: Callable[[Record], float]) -> float:
    return median(map(what, rows))


def _build(record: Record) -> float:
    return record.build_seconds


def _solve(record: Record) -> float:
    return record.solve_seconds


def _all(record: Record) -> float:
    return record.seconds


def _is_limited(rows: list[Record]) -> bool:
    """Whether the median run stopped at the time limit."""
    return sum(r.is_at_limit for r in rows) * 2 > len(rows)


def _limited(rows: list[Record], value: float) -> str:
    return ("> " if _is_limited(rows) else "") + _seconds(value)


def _seconds(value: float) -> str:
    if value < 0.0005:
        return "0"
    return f"{1000.0 * value:.0f} ms" if value < 0.1 else f"{value:.2g} s"


# --- figure ---

INK, MUTED, GRID = "#1D232C", "#667080", "#E3E6EB"
STYLES = {
    "cvxpy, loops": ("#D55E00", "s", "plain cvxpy, loops"),
    "cvxpy, arrays": ("#B8860B", "D", "plain cvxpy, arrays"),
    PROVEN: ("#1878BE", "o", "ours, proven to the same gap"),
    STANDARD: ("#009E73", "^", "ours, standard (0.5 % of the gain)"),
}
SMALL_BOOK_USD = 1e6


def draw(report: Report, out: Path) -> None:
    """Time against the number of pools, small books beside large ones."""
    figure = Figure(figsize=(11.0, 5.2), dpi=130, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    titles = ("1 million USD", "20 million USD; at 4,000 pools 1 billion")
    for axes, title, is_small in zip(panels, titles, (True, False), strict=True):
        sizes: set[int] = set()
        for place, (solver, (colour, marker, label)) in enumerate(STYLES.items()):
            rows = [
                group
                for (_, name), group in report.groups().items()
                if name == solver and (group[0].aum_usd <= SMALL_BOOK_USD) is is_small
            ]
            if not rows:
                continue
            shift = 1.0 + 0.03 * (place - 1.5)  # so that ranges do not cover each other
            x = [shift * group[0].n_pools for group in rows]
            y = [_median(group, _all) for group in rows]
            sizes |= {group[0].n_pools for group in rows}
            axes.plot(x, y, color=colour, marker=marker, markersize=6, linewidth=1.8, label=label)
            for at, group in zip(x, rows, strict=True):
                seconds = [r.seconds for r in group]
                axes.vlines(at, min(seconds), max(seconds), color=colour, linewidth=1.0, alpha=0.6)
        axes.axhline(report.limit_seconds, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(sorted(sizes), [f"{n:,}" for n in sorted(sizes)])
        axes.set_xticks([], minor=True)
        axes.set_xlim(11, 5500)
        axes.set_xlabel("pools", color=INK)
        axes.set_title(title, loc="left", fontweight="bold", color=INK, fontsize=11)
        axes.grid(visible=True, which="major", color=GRID, linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK)
    ticks = [0.01, 0.1, 1.0, 10.0, 100.0]
    panels[0].set_yticks(ticks, ["10 ms", "0.1 s", "1 s", "10 s", "100 s"])
    panels[0].set_ylim(0.005, 100.0)
    panels[0].set_ylabel("CPU time of one plan (median; line: all seeds)", color=INK)
    panels[0].annotate(
        f"time limit {report.limit_seconds:g} s",
        (12, report.limit_seconds),
        xytext=(0, 4),
        textcoords="offset points",
        color=MUTED,
        fontsize=9,
    )
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
