"""The tables of the forecast page: cells as texts, the lead method marked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stableyield.report import text

if TYPE_CHECKING:
    import pandas as pd

    from stableyield.forecast import Evaluation

Write = Callable[[Any], str]


@dataclass(frozen=True)
class Row:
    """Cells of a row, and whether it is the lead method's."""

    cells: tuple[str, ...]
    is_lead: bool = False


@dataclass(frozen=True)
class Table:
    """A table as the page writes it.

    Parameters
    ----------
    columns : tuple of str
    rows : tuple of Row
    numbers : tuple of int
        Columns that hold numbers.
    title, style : str
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    numbers: tuple[int, ...]
    title: str = ""
    style: str = "texts"


@dataclass(frozen=True)
class _Column:
    heading: str
    source: str
    write: Write | None = None


def _points(value: Any) -> str:
    return text.number(value, 3)


def _skill(value: Any) -> str:
    return text.number(value, 3, plus=True)


def _share(value: Any) -> str:
    return text.pct(100.0 * value, 1)


def _count(value: Any) -> str:
    return text.number(int(value), 0)


def _seconds(value: Any) -> str:
    return text.number(value, 4)


_SCORES = (
    _Column("Method", "method"),
    _Column("MAE, pp", "mae", _points),
    _Column("Median, pp", "median_ae", _points),
    _Column("RMSE, pp", "rmse", _points),
    _Column("Bias, pp", "bias", _skill),
    _Column("Skill", "skill_vs_last", _skill),
    _Column("90 % interval", "interval"),
    _Column("vs best baseline", "skill_vs_best_baseline", _skill),
    _Column("Skill of q50", "skill_q50_vs_last", _skill),
    _Column("Rank corr.", "rank_corr", _points),
    _Column("Pinball 10/50/90", "pinball"),
)
_COVERAGE = (
    _Column("Horizon", "horizon"),
    _Column("Group", "group"),
    _Column("Forecasts", "n", _count),
    _Column("below q10", "coverage_q10", _share),
    _Column("up to q50", "coverage_q50", _share),
    _Column("up to q90", "coverage_q90", _share),
)
_SEGMENTS = (
    _Column("Horizon", "horizon"),
    _Column("Segment", "segment"),
    _Column("Best baseline", "best_baseline"),
    _Column("Forecasts", "n", _count),
    _Column("MAE, pp", "mae", _points),
    _Column("Skill", "skill_vs_last", _skill),
    _Column("90 % interval", "interval"),
    _Column("vs best baseline", "skill_vs_best_baseline", _skill),
)
_DECISIONS = (
    _Column("Method", "method"),
    _Column("Weeks", "n_weeks", _count),
    _Column("Promised", "promised_apy_pct", text.pct),
    _Column("Came", "realised_apy_pct", text.pct),
    _Column("Equal weight", "equal_weight_apy_pct", text.pct),
    _Column("Clairvoyant", "clairvoyant_apy_pct", text.pct),
    _Column("Captured", "captured", _share),
    _Column("90 % interval", "captured_interval"),
)
_MISSES = (
    _Column(
        "Day", "exec_date", lambda day: text.day(day.date()).replace(" ", "\N{NO-BREAK SPACE}")
    ),
    _Column("Pool", "pool"),
    _Column("Segment", "segment"),
    _Column("Last", "last_apy_pct", text.pct),
    _Column("Forecast", "forecast_apy_pct", text.pct),
    _Column("q10 to q90", "quantiles"),
    _Column("Came", "actual_apy_pct", text.pct),
    _Column("Error", "error_points", text.points),
)
_TVL = (
    _Column("Horizon", "horizon"),
    _Column("Method", "method"),
    _Column("Forecasts", "n", _count),
    _Column("MAE of log", "mae_log", _points),
    _Column("Skill", "skill_log_vs_last", _skill),
    _Column("90 % interval", "tvl_interval"),
    _Column("Error in USD", "wape_pct", text.pct),
    _Column("Skill in USD", "skill_usd_vs_last", _skill),
    _Column("below q10", "coverage_q10", _share),
)
_GAS = (
    _Column("Horizon", "horizon"),
    _Column("Forecasts", "n", _count),
    _Column("MAE, gwei", "mae_gwei", _points),
    _Column("Skill in gwei", "skill_vs_last", _skill),
    _Column("Skill of log", "skill_log_vs_last", _skill),
    _Column("90 % interval", "interval"),
    _Column("below q10", "coverage_q10", _share),
    _Column("up to q90", "coverage_q90", _share),
)
_TIMING = (
    _Column("Horizon", "horizon"),
    _Column("Method", "method"),
    _Column("Seconds in all", "seconds", text.number),
    _Column("per forecast", "seconds_per_predict", _seconds),
    _Column("per refit", "seconds_per_refit", _seconds),
)
_TEXTS = ("method", "group", "segment", "best_baseline", "horizon", "pool", "exec_date")


def score_tables(evaluation: Evaluation) -> list[Table]:
    """All rows together: a table a horizon, best first."""
    rows = _overall(evaluation)
    return [
        _table(
            _SCORES,
            _records(own.sort_values("mae", kind="stable")),
            evaluation.lead,
            f"{horizon} d ahead, {text.number(int(own['n'].iloc[0]), 0)} forecasts a method",
        )
        for horizon, own in rows.groupby("horizon_days", sort=False)
    ]


def coverage_table(evaluation: Evaluation) -> Table:
    """Coverage of the lead's quantiles, overall and by volatility class."""
    rows = evaluation.coverage
    own = rows[(rows["method"] == evaluation.lead) & rows["by"].isin(["all", "volatility"])]
    return _table(_COVERAGE, _records(own[own["n"] > 0]))


def segment_table(evaluation: Evaluation) -> Table:
    """The lead by kind of pool."""
    rows = evaluation.scores
    own = rows[(rows["method"] == evaluation.lead) & (rows["n"] > 0) & (rows["segment"] != "all")]
    return _table(_SEGMENTS, _records(own))


def decision_table(evaluation: Evaluation) -> Table:
    """Every method's weekly choices, the best first."""
    rows = evaluation.decision_value.sort_values("realised_apy_pct", ascending=False, kind="stable")
    return _table(_DECISIONS, _records(rows), evaluation.lead)


def miss_tables(evaluation: Evaluation) -> list[Table]:
    """The lead's worst misses, a table a horizon."""
    rows = evaluation.worst_misses
    own = rows[rows["method"] == evaluation.lead]
    return [
        _table(_MISSES, _records(found), title=f"{horizon} d ahead")
        for horizon, found in own.groupby("horizon_days", sort=False)
    ]


def tvl_table(evaluation: Evaluation) -> Table:
    """TVL scores of every method that states one."""
    rows = evaluation.tvl_scores
    return _table(_TVL, _records(rows[rows["n"] > 0]), evaluation.lead)


def gas_table(evaluation: Evaluation) -> Table:
    """The gas price forecast against the last price."""
    rows = evaluation.gas_scores
    return _table(_GAS, _records(rows[rows["n"] > 0]))


def timing_table(evaluation: Evaluation) -> Table:
    """What the forecasts cost."""
    return _table(_TIMING, _records(_overall(evaluation)), evaluation.lead)


def _overall(evaluation: Evaluation) -> pd.DataFrame:
    return evaluation.scores[evaluation.scores["segment"] == "all"]


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _table(
    columns: Sequence[_Column], rows: Iterable[Mapping[str, Any]], lead: str = "", title: str = ""
) -> Table:
    written = [
        Row(
            tuple(_cell(column, row) for column in columns),
            bool(lead) and row.get("method") == lead,
        )
        for row in rows
    ]
    numbers = tuple(i for i, column in enumerate(columns) if column.source not in _TEXTS)
    return Table(tuple(column.heading for column in columns), tuple(written), numbers, title)


def _cell(column: _Column, row: Mapping[str, Any]) -> str:
    if column.source in _MADE:
        return _MADE[column.source](row)
    value = row[column.source]
    return str(value).replace("_", " ") if column.write is None else column.write(value)


def _range(low: str, high: str, write: Write) -> Callable[[Mapping[str, Any]], str]:
    def written(row: Mapping[str, Any]) -> str:
        if row[low] != row[low]:  # NaN
            return text.DASH
        return f"{write(row[low])} to {write(row[high])}"

    return written


def _pool_name(row: Mapping[str, Any]) -> str:
    known = [str(row[name]) for name in ("symbol", "protocol", "chain")]
    return f"{' · '.join(known)} ({row['pool_id']})"


def _pinball(row: Mapping[str, Any]) -> str:
    return " / ".join(_points(row[f"pinball_{q}"]) for q in ("q10", "q50", "q90"))


_MADE: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "interval": _range("skill_low", "skill_high", _skill),
    "captured_interval": _range("captured_low", "captured_high", _share),
    "tvl_interval": _range("skill_log_low", "skill_log_high", _skill),
    "quantiles": _range("q10_pct", "q90_pct", text.number),
    "horizon": lambda row: f"{row['horizon_days']} d",
    "pool": _pool_name,
    "pinball": _pinball,
}
