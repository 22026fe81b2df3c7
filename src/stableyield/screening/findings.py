"""Findings about a day's data, and the report that they make.

The score starts at 100. An ``info`` finding costs nothing, a ``warning`` costs 2 points plus 18
times the share of what was checked that it affects, a ``critical`` one costs 50.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from enum import StrEnum

import pandas as pd

from stableyield.errors import DataQualityError

_COST_WARNING, _COST_WARNING_SHARE, _COST_CRITICAL = 2.0, 18.0, 50.0


class Severity(StrEnum):
    """How bad a finding is; critical means: do not trade on this."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes
    ----------
    check : str
        Name of the check.
    severity : Severity
    count, checked : int
        How many are affected, of how many that were looked at.
    what : str
        What was found, in one line.
    action : str
        What was done about it, or what to do.
    examples : tuple of str
        At most five of those affected.
    """

    check: str
    severity: Severity
    count: int
    checked: int
    what: str
    action: str
    examples: tuple[str, ...] = ()

    @property
    def cost(self) -> float:
        """Points that it takes off the score."""
        if self.severity is Severity.CRITICAL:
            return _COST_CRITICAL
        if self.severity is Severity.INFO:
            return 0.0
        return _COST_WARNING + _COST_WARNING_SHARE * min(self.count / max(self.checked, 1), 1.0)

    def __str__(self) -> str:
        """The finding as one line."""
        some = f" ({', '.join(self.examples)})" if self.examples else ""
        return f"{self.severity} {self.check}: {self.what}{some}; {self.action}"


@dataclass(frozen=True)
class QualityReport:
    """The findings of one day.

    Attributes
    ----------
    day : date
    findings : tuple of Finding
        The worst first, then in the order of the checks.
    age_days : mapping of str to int or None
        Days since the last row of each source (pools, prices, gas); None: none in 31 days.
    """

    day: date
    findings: tuple[Finding, ...]
    age_days: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """0 (unusable) to 100 (nothing to report)."""
        return max(0.0, 100.0 - sum(finding.cost for finding in self.findings))

    @property
    def critical(self) -> tuple[Finding, ...]:
        """Findings that stop the day."""
        return tuple(f for f in self.findings if f.severity is Severity.CRITICAL)

    def raise_if_critical(self) -> None:
        """Stop before trading when a finding is critical.

        Raises
        ------
        DataQualityError
            Naming the first critical finding; the others are its details.
        """
        if not self.critical:
            return
        first, *others = self.critical
        raise DataQualityError(
            f"{first.check}: {first.what}",
            where=f"data of {self.day}",
            remedy=first.action,
            details=tuple(map(str, others)),
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a finding: day, check, severity, count, checked, what, action, examples."""
        columns = ["check", "severity", "count", "checked", "what", "action", "examples"]
        rows = [{**asdict(f), "examples": ", ".join(f.examples)} for f in self.findings]
        frame = pd.DataFrame(rows, columns=columns)
        frame["severity"] = frame["severity"].map(str)
        frame.insert(0, "day", pd.Timestamp(self.day))
        return frame
