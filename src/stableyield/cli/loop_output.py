"""What ``stableyield loop`` prints and writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stableyield.cli.terminal import (
    Column,
    console,
    number,
    print_json,
    print_notes,
    print_path,
    print_table,
    working,
)

if TYPE_CHECKING:
    import pandas as pd

    from stableyield.loops import LoopMarket, LoopResult

# heading, where in a market's metrics, digits
_COLUMNS = (
    ("loop %", ("loop", "net_apy_pct"), 2),
    ("plain %", ("unlevered", "net_apy_pct"), 2),
    ("fall %", ("loop", "max_drawdown_pct"), 2),
    ("min HF", ("min_health_factor",), 2),
    ("looped", ("days_looped",), 0),
    ("below 0", ("days_negative_spread",), 0),
    ("costs USD", ("costs_usd",), 0),
)
# heading, column of the corrections, digits
_STEPS = (
    ("times", "leverage", 2),
    ("net APR %", "net_apr_pct", 2),
    ("change pp", "change_points", 2),
    ("Sharpe", "sharpe", 1),
)


def report_run(
    result: LoopResult,
    market: LoopMarket,
    facts: dict[str, Any],
    *,
    out: Path | None,
    as_notebook: bool,
    as_json: bool,
) -> None:
    """Write what was asked for, then print it."""
    from stableyield.loops import corrections
    from stableyield.report.document import plain_json
    from stableyield.report.loop_metrics import loop_metrics

    metrics = loop_metrics(result)
    steps = corrections(result, market.risk) if as_notebook else None
    page = None
    if out is not None:
        from stableyield.report.loop_files import write_loop

        with working("writing"):
            page = write_loop(result, out, facts, risk=market.risk, as_notebook=as_notebook)
    if as_json:
        document = {**metrics, "report": None if page is None else str(page)}
        if steps is not None:
            document["corrections"] = records(steps)
        print_json(plain_json(document))
        return
    _show_metrics(metrics)
    if steps is not None:
        _show_corrections(steps)
    if page is None:
        console().print("nothing was written; give --out DIR for tables and a report")
    else:
        print_path(console(), "report: ", page)


def _show_metrics(metrics: dict[str, Any]) -> None:
    screen = console()
    rows = []
    for name, row in metrics["markets"].items():
        cells = []
        for _, keys, digits in _COLUMNS:
            value: Any = row
            for key in keys:
                value = value[key]
            cells.append(number(value, digits))
        rows.append((name, *cells))
    first = min(row["start"] for row in metrics["markets"].values())
    last = max(row["end"] for row in metrics["markets"].values())
    columns = [Column("market"), *(Column(head, is_number=True) for head, _, _ in _COLUMNS)]
    print_table(screen, f"{first} to {last}, net APY after all costs", columns, rows)
    print_notes(screen, "warning", metrics["warnings"], "yellow")
    print_notes(screen, "note", metrics["notes"])
    print_notes(screen, "assumed", metrics["assumptions"], "dim")


def _show_corrections(steps: pd.DataFrame) -> None:
    columns = [Column("arithmetic"), *(Column(head, is_number=True) for head, _, _ in _STEPS)]
    for market, rows in steps.groupby("market", sort=False):
        print_table(
            console(),
            f"{market}: the notebook's arithmetic (wrong), and what each correction leaves",
            columns,
            (
                (row["correction"], *(number(row[key], digits) for _, key, digits in _STEPS))
                for row in rows.to_dict("records")
            ),
        )


def print_frame(title: str, frame: pd.DataFrame) -> None:
    """A table of texts, truth values and numbers."""
    import pandas as pd

    is_number = {
        str(c): pd.api.types.is_numeric_dtype(frame[c]) and frame[c].dtype != bool for c in frame
    }
    columns = [
        Column(name.removesuffix("_pct").replace("_", " "), is_number=numeric)
        for name, numeric in is_number.items()
    ]
    rows = [
        [
            _cell(value, is_number[str(name)], 3 if name == "share_pct" else 2)
            for name, value in row.items()
        ]
        for row in frame.to_dict("records")
    ]
    print_table(console(), title, columns, rows)


def _cell(value: Any, is_number: bool, digits: int) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if not is_number:
        return str(value)
    return number(float(value), 0 if isinstance(value, int) else digits)


def say_where(out: Path | None) -> None:
    """Where the tables are, or how to get them."""
    if out is None:
        console().print("nothing was written; give --out DIR for tables")
    else:
        print_path(console(), "written to ", out)


def records(frame: pd.DataFrame) -> Any:
    """Rows for JSON; what is missing is null."""
    from stableyield.report.document import plain_json

    texts = frame.assign(
        **{
            str(name): frame[name].dt.strftime("%Y-%m-%d")
            for name in frame.select_dtypes("datetime")
        }
    )
    return plain_json(texts.to_dict("records"))
