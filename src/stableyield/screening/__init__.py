"""Which pools may be used today, and why not the others."""

from __future__ import annotations

from stableyield.screening.filters import final_filter, prefilter, screen, screen_book
from stableyield.screening.findings import Finding, QualityReport, Severity
from stableyield.screening.forecast_rules import PoolForecasts
from stableyield.screening.groups import RiskGroups, classify, risk_groups
from stableyield.screening.held import HeldPlaces, HeldPools
from stableyield.screening.icebox import IceboxLog, IceboxTracker, icebox_history
from stableyield.screening.icebox_days import IceboxDays
from stableyield.screening.icebox_frame import icebox_from_prices_frame
from stableyield.screening.icebox_machine import IceboxEvent, IceboxGap, IceboxOverride
from stableyield.screening.quality import assess, critical_findings
from stableyield.screening.result import Consequence, Flag, Reason, Rule, Screening, Verdict

__all__ = [
    "Consequence",
    "Finding",
    "Flag",
    "HeldPlaces",
    "HeldPools",
    "IceboxDays",
    "IceboxEvent",
    "IceboxGap",
    "IceboxLog",
    "IceboxOverride",
    "IceboxTracker",
    "PoolForecasts",
    "QualityReport",
    "Reason",
    "RiskGroups",
    "Rule",
    "Screening",
    "Severity",
    "Verdict",
    "assess",
    "classify",
    "critical_findings",
    "final_filter",
    "icebox_from_prices_frame",
    "icebox_history",
    "prefilter",
    "risk_groups",
    "screen",
    "screen_book",
]
