"""Page and pictures of the study on observed markets, from what `backtest_real.py` wrote.

    python benchmarks/backtest_real_report.py study.json --out docs/backtest_study

`findings.md` in the output folder is written by hand and put in front of the tables.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backtest_real_figures import draw_all
from stableyield.domain.rates import DAYS_PER_YEAR
from stableyield.forecast.bootstrap import drawn_sums
from stableyield.study.attribution import CAUSES, captured

Row = Mapping[str, Any]

BLOCK_DAYS, N_DRAWS = 14, 2000

POLICIES = ("idle", "best_single", "equal_weight", "top_k", "threshold", "hold", "persistence")
LABELS = {
    "strategy": "**strategy**",
    "top_k": "top 5 of 7 days",
    "hold": "hold (first plan, kept)",
    "persistence": "strategy, persistence forecasts",
    "clairvoyant": "clairvoyant (not causal)",
}
VARIANTS = {
    "default": "given defaults",
    "week": "horizon 7 days",
    "weekly": "re-optimised weekly",
    "no_groups": "group caps 1.0",
    "calm": "group caps 1.0, horizon 7 days (*calm*)",
    "calm_weekly": "calm, re-optimised weekly",
    "calm_learned": "calm, learned forecasts",
    "large": "pools of 1e6 USD and a month's history",
    "large_calm": "the same, calm",
}
RUNGS = ("clairvoyant", "no_limits", "no_costs", "no_dilution")
MARKET_NAMES = {
    "vaults": "Vaults (realised share prices)",
    "panel": "Lending pools and vaults (quoted APY)",
}


class Study:
    """The runs of a study, by market, AUM, group and name."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = {(r["market"], r["aum_usd"], r["group"], r["name"]): r for r in rows}
        self.markets = tuple(m for m in MARKET_NAMES if any(key[0] == m for key in self.rows))

    def amounts(self, market: str) -> list[float]:
        return sorted({k[1] for k in self.rows if k[0] == market and k[3] == "idle"})

    def get(self, market: str, aum: float, group: str, name: str) -> Row | None:
        if name in RUNGS:
            return self.best(market, aum, group, name)
        return self.rows.get((market, aum, group, name))

    def best(self, market: str, aum: float, group: str, name: str) -> Row | None:
        """The best of the holding periods of a clairvoyant."""
        tried = (self.rows.get((market, aum, group, f"{name}#{n}")) for n in range(4))
        return max((r for r in tried if r), key=lambda r: r["profit_usd"], default=None)

    def ladder(self, market: str, aum: float, group: str) -> list[Row] | None:
        """A to E; without limits, costs and dilution all parameters are those of the defaults."""
        strategy = self.get(market, aum, group, "strategy")
        clairvoyant = self.get(market, aum, group, "clairvoyant")
        freed = [self.get(market, aum, "default", name) for name in RUNGS[1:]]
        rows = [row for row in (strategy, clairvoyant, *freed) if row is not None]
        return rows if len(rows) == len(CAUSES) + 1 else None


def page(study: Study, findings: str) -> str:
    parts = [findings.strip(), _conventions()]
    for market in study.markets:
        parts += [f"## {MARKET_NAMES[market]}", _market_line(study, market)]
        for aum in study.amounts(market):
            parts += [f"### AUM {aum:,.0f} USD", _policies(study, market, aum)]
        parts += [f"### {title}\n\n{text}" for title, text in _tables(study, market)]
        parts += [
            f"![Growth of 1 USD, AUM 1,000,000]({market}_growth.png)",
            f"![Regret by cause]({market}_regret.png)",
            f"![Net APY against AUM]({market}_capacity.png)",
        ]
    return "\n\n".join(parts) + "\n"


def _conventions() -> str:
    return (
        "## How to read the tables\n\n"
        "Net APY is after gas and conversion fees, with price effects, 365-day year; the interval "
        "is the 90 % block bootstrap (blocks of 14 days, 2,000 draws). *Lead* is the net APY of "
        "the strategy minus that of the row, in points; its interval is the same bootstrap, both "
        "drawing the same days; *beaten*: yes or no where the interval "
        "excludes 0, else the sign in brackets. *Calm* is the strategy with group caps at 1.0 and "
        "a horizon of 7 days instead of the given 35/35/30 % and 30 days. The clairvoyant is the "
        "better one of holding periods of 7 and 30 days."
    )


def _market_line(study: Study, market: str) -> str:
    row = next(r for k, r in study.rows.items() if k[0] == market and "days" in r)
    return f"{row['days'][0]} to {row['days'][1]}, {row['n_days']} days."


def _policies(study: Study, market: str, aum: float) -> str:
    lines = [
        "| policy | net APY | 90 % interval | gross | costs USD | turnover a year | invested | "
        "pools | days traded | lead of strategy | interval | beaten | lead of calm | beaten |",
        "|---|" + "---|" * 13,
    ]
    mine = study.get(market, aum, "default", "strategy")
    calm = study.get(market, aum, "calm", "strategy")
    listed = [("default", "strategy"), ("calm", "strategy")]
    listed += [("default", name) for name in POLICIES]
    listed += [("calm", "hold"), ("default", "clairvoyant"), ("calm", "clairvoyant")]
    for group, name in listed:
        row = study.get(market, aum, group, name)
        if row is None:
            continue
        label = LABELS.get(name, name.replace("_", " ")) + (", calm" if group == "calm" else "")
        lines.append(f"| {label} | {_numbers(row)} | {_lead(mine, row)} | {_lead(calm, row, 2)} |")
    return "\n".join(lines)


def _numbers(row: Row) -> str:
    years = row["n_days"] / 365.0
    interval = row["interval_pct"]
    shown = f"{interval[0]:.2f} .. {interval[1]:.2f}" if interval else "-"
    return (
        f"{row['net_apy_pct']:.2f} % | {shown} | {row['gross_apy_pct']:.2f} % | "
        f"{row['costs_usd']:,.0f} | {row['turnover_usd'] / row['aum_usd'] / years:.1f} | "
        f"{100 * row['invested_share']:.0f} % | {row['n_positions']:.1f} | {row['traded_days']}"
    )


def _lead(mine: Row | None, row: Row, n_cells: int = 3) -> str:
    if mine is None or mine is row:
        return " | ".join(["-"] * n_cells)
    points = mine["net_apy_pct"] - row["net_apy_pct"]
    low, high = _lead_interval(mine, row)
    verdict = "yes" if low > 0 else "no" if high < 0 else f"({'yes' if points > 0 else 'no'})"
    cells = [f"{points:+.2f}", f"{low:+.2f} .. {high:+.2f}", verdict]
    return " | ".join(cells if n_cells == 3 else [cells[0], cells[2]])


def _lead_interval(mine: Row, row: Row) -> tuple[float, float]:
    """90 % interval of the difference of net APY in points; both draw the same blocks of days."""
    logs = np.log(np.column_stack([mine["growth"], row["growth"]]))
    n_days = BLOCK_DAYS * -(-len(logs) // BLOCK_DAYS)  # whole blocks are drawn
    drawn = drawn_sums(logs, BLOCK_DAYS, N_DRAWS, seed=0)
    apy_pct = 100.0 * np.expm1(drawn * (DAYS_PER_YEAR / n_days))
    low, high = np.quantile(apy_pct[:, 0] - apy_pct[:, 1], (0.05, 0.95))
    return float(low), float(high)


def _tables(study: Study, market: str) -> Iterable[tuple[str, str]]:
    yield "Captured share and regret by cause", _regret(study, market)
    yield "Other parameters: net APY of the strategy (gross, costs USD)", _variants(study, market)
    yield "Month by month, AUM 1,000,000: growth of the month in percent", _monthly(study, market)
    yield "Capacity: net APY of the strategy", _capacity(study, market)
    yield "Break-even cost", _break_even(study, market)


def _regret(study: Study, market: str) -> str:
    lines = [
        "| AUM | strategy | captured | " + " | ".join(CAUSES) + " | total, points | total, USD |",
        "|---|---|---|" + "---|" * (len(CAUSES) + 2),
    ]
    for aum in study.amounts(market):
        equal = study.get(market, aum, "default", "equal_weight")
        for group in ("default", "calm"):
            strategy = study.get(market, aum, group, "strategy")
            clairvoyant = study.get(market, aum, group, "clairvoyant")
            if strategy is None or clairvoyant is None or equal is None:
                continue
            share = captured(*(r["profit_usd"] for r in (strategy, equal, clairvoyant)))
            shown = share.reason if share.share is None else f"{100 * share.share:.0f} %"
            rows = study.ladder(market, aum, group)
            if rows is None:  # not all five were run
                lines.append(f"| {aum:,.0f} | {group} | {shown} |" + " - |" * (len(CAUSES) + 2))
                continue
            apy, usd = ([r[key] for r in rows] for key in ("net_apy_pct", "profit_usd"))
            cells = [
                f"{high - low:+.2f} ({b - a:+,.0f} USD)"
                for low, high, a, b in zip(apy, apy[1:], usd, usd[1:], strict=False)
            ]
            lines.append(
                f"| {aum:,.0f} | {group} | {shown} | "
                + " | ".join(cells)
                + f" | {apy[-1] - apy[0]:+.2f} | {usd[-1] - usd[0]:+,.0f} |"
            )
    return "\n".join(lines)


def _variants(study: Study, market: str) -> str:
    amounts = study.amounts(market)
    lines = [
        "| variant | " + " | ".join(f"AUM {aum:,.0f}" for aum in amounts) + " |",
        "|---|" + "---|" * len(amounts),
    ]
    names = [(key, "strategy", label) for key, label in VARIANTS.items()]
    names += [("large", "equal_weight", "equal weight of the same"), ("large", "hold", "hold")]
    for group, name, label in names:
        rows = [study.get(market, aum, group, name) for aum in amounts]
        cells = [
            f"{r['net_apy_pct']:.2f} % ({r['gross_apy_pct']:.2f} %, {r['costs_usd']:,.0f})"
            if r
            else "-"
            for r in rows
        ]
        if any(rows):
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _monthly(study: Study, market: str) -> str:
    listed = (
        ("strategy", "default", "strategy"),
        ("calm", "calm", "strategy"),
        ("best single", "default", "best_single"),
        ("equal weight", "default", "equal_weight"),
        ("top 5", "default", "top_k"),
        ("threshold", "default", "threshold"),
        ("hold", "default", "hold"),
        ("clairvoyant, calm", "calm", "clairvoyant"),
    )
    rows = {label: study.get(market, 1e6, group, name) for label, group, name in listed}
    rows = {label: row for label, row in rows.items() if row}
    if not rows:
        return "-"
    months = sorted(next(iter(rows.values()))["monthly"])
    lines = ["| month | " + " | ".join(rows) + " |", "|---|" + "---|" * len(rows)]
    for month in months:
        cells = [f"{100 * (row['monthly'][month][0] - 1):+.2f}" for row in rows.values()]
        lines.append(f"| {month} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _capacity(study: Study, market: str) -> str:
    amounts = sorted({k[1] for k in study.rows if k[0] == market})
    lines = [
        "| | " + " | ".join(f"{aum:,.0f}" for aum in amounts) + " |",
        "|---|" + "---|" * len(amounts),
    ]
    for group in ("default", "calm"):
        rows = [study.get(market, aum, group, "strategy") for aum in amounts]
        cells = [
            f"{r['net_apy_pct']:.2f} % ({100 * r['invested_share']:.0f} % invested)" if r else "-"
            for r in rows
        ]
        lines.append(f"| {group} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _break_even(study: Study, market: str) -> str:
    lines = [
        "| strategy | multiple of all costs | leads over equal weight, points |",
        "|---|---|---|",
    ]
    for group in ("default", "calm"):
        row = study.rows.get((market, 1e6, group, "break_even"))
        if row is None:
            continue
        found = row["reason"] if row["multiple"] is None else f"{row['multiple']:.1f}"
        leads = "; ".join(f"x{m:g}: {lead:+.2f}" for m, lead in row["leads"])
        lines.append(f"| {group} | {found} | {leads} |")
    return "\n".join(lines) if len(lines) > 2 else "Not measured."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = [row for path in options.study for row in json.loads(path.read_text()).values()]
    study = Study(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    findings = options.out / "findings.md"
    text = findings.read_text(encoding="utf-8") if findings.is_file() else "# Study"
    (options.out / "report.md").write_text(page(study, text), encoding="utf-8")
    draw_all(study, options.out)


if __name__ == "__main__":
    main()
