"""Metrics, figures and documents."""

from stableyield.report.document import render_report
from stableyield.report.export import read_run, write_run
from stableyield.report.metrics import compute_metrics
from stableyield.report.options import MetricOptions
from stableyield.report.picture import equity_png

__all__ = [
    "MetricOptions",
    "compute_metrics",
    "equity_png",
    "read_run",
    "render_report",
    "write_run",
]
