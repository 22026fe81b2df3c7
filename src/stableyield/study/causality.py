"""`check_causality`: whether decisions depend on what had not happened yet.

The market is run as it is, and again with another future after each of several days t: other rates,
prices, gas, listings, metadata and foreign forecasts, with the same past. Forecasts and decisions
up to t must be the same to the last bit. What differs before the future begins has seen it.

What a policy reads beside the market that it is given (a file, the network) is the same in both
runs: the check cannot see it. One that holds a market of its own is therefore refused. Where a
policy needs the market itself, give a function that makes the policy from a panel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np

from stableyield.backtest import BacktestSettings, run_backtest
from stableyield.backtest.day import exec_days
from stableyield.backtest.policy import MilpPolicy, Policy
from stableyield.errors import IntegrityError, LookAheadError, ParameterError
from stableyield.forecast import Forecaster
from stableyield.market.other_future import with_another_future
from stableyield.market.panel import MarketPanel
from stableyield.study.decisions import Decisions, Difference, first_difference, recorded
from stableyield.study.fresh import CopyError, fresh

Progress = Callable[[int, int], None]

DEFAULT_CHANGES = 5
MOST_DAYS = 60
"""Exec days of a check that was told neither start nor end."""


@dataclass(frozen=True)
class Leak:
    """A decision that changed with the future.

    Parameters
    ----------
    changed_after : date
        The last day on which the two markets are the same.
    difference : Difference
        The first thing that differs, on that day or before; ``first`` is in the market as it is.
    """

    changed_after: date
    difference: Difference


@dataclass(frozen=True)
class CausalityReport:
    """What the check found.

    Parameters
    ----------
    policy, forecaster : str
        Their names.
    start, end : date
        First and last exec day.
    changed_after : tuple of date
        The days after which the future was replaced.
    n_traded_days, n_transactions : int
        Of the run on the market as it is: how much there was to compare.
    leaks : tuple of Leak
        One for each replaced future that changed a decision.
    unrepeatable : Difference, optional
        What differed between two runs on the very same market: then nothing can be said of the
        future, and there are no leaks.
    seed : int
        Of the other futures.
    admits_foresight : bool
        Whether the policy or the forecaster says of itself that it is not causal
        (``is_causal`` is False), whatever was found.
    """

    policy: str
    forecaster: str
    start: date
    end: date
    changed_after: tuple[date, ...]
    n_traded_days: int
    n_transactions: int
    leaks: tuple[Leak, ...] = ()
    unrepeatable: Difference | None = None
    seed: int = 0
    admits_foresight: bool = False

    @property
    def is_causal(self) -> bool:
        """Whether no decision depended on the future, and two equal runs were equal."""
        return not self.leaks and self.unrepeatable is None and not self.admits_foresight

    @property
    def first_leak(self) -> Leak | None:
        """The leak of the earliest decision."""
        return min(self.leaks, key=lambda leak: leak.difference.day, default=None)

    def raise_if_not_causal(self) -> None:
        """Turn what was found into an error.

        Raises
        ------
        LookAheadError
            When a decision changed with the future: names the day, the pool and what differed.
            When the policy or the forecaster says of itself that it is not causal.
        IntegrityError
            When two runs on the same market differ.
        """
        if self.unrepeatable is not None:
            raise IntegrityError(
                "two runs on the same market differ",
                where=_place(self.unrepeatable),
                remedy="draw random numbers from a seed, and keep nothing between runs",
                details=_values(self.unrepeatable, "first run", "second run"),
            )
        if self.first_leak is not None:
            found = self.first_leak.difference
            raise LookAheadError(
                f"the decision changes with what happens after {self.first_leak.changed_after}",
                where=_place(found),
                remedy="decide from the view of the day alone",
                details=_values(found, "as it is", "other future"),
            )
        if self.admits_foresight:
            raise LookAheadError(
                "it says of itself that it is not causal, though nothing changed on these days",
                where=f"policy {self.policy}, forecaster {self.forecaster}",
                remedy="it may be shown as an upper bound, never as a strategy",
            )

    def to_document(self) -> dict[str, Any]:
        """The report as plain JSON."""
        document = asdict(self)
        for name in ("start", "end"):
            document[name] = document[name].isoformat()
        document["changed_after"] = [day.isoformat() for day in self.changed_after]
        document["leaks"] = [
            {
                "changed_after": leak.changed_after.isoformat(),
                **_document(leak.difference, "as_it_is", "other_future"),
            }
            for leak in self.leaks
        ]
        if self.unrepeatable is not None:
            document["unrepeatable"] = _document(self.unrepeatable, "first_run", "second_run")
        return {"is_causal": self.is_causal, **document}


def check_causality(
    panel: MarketPanel,
    settings: BacktestSettings | None = None,
    policy: Policy | Callable[..., Policy] | None = None,
    *,
    forecaster: Forecaster | Callable[..., Forecaster] | None = None,
    changes: int = DEFAULT_CHANGES,
    seed: int = 0,
    progress: Progress | None = None,
) -> CausalityReport:
    """Replace the future after several days, and demand the same forecasts and decisions.

    Parameters
    ----------
    panel : MarketPanel
    settings : BacktestSettings, optional
        Of the backtest; without ``start`` the last 60 exec days are checked. Benchmarks are left
        out.
    policy : Policy, optional
        Absent: the strategy. A class, or a function that makes a policy; one with a parameter
        is given the market. A policy that is no class is copied for each run.
    forecaster : Forecaster, optional
        Instead of that of the settings; a class or a function as above.
    changes : int
        How many days t the future is replaced after, spread evenly over the exec days; the last
        is the last exec day.
    seed : int
        Of the other futures.
    progress : callable, optional
        Called with the number of runs done and the number of all runs.

    Returns
    -------
    CausalityReport

    Raises
    ------
    ParameterError
        When ``changes`` is not positive, a class needs more than a market, or a policy or a
        forecaster holds a market of its own, or cannot be copied.
    InputError
        When a setting does not fit the market.
    """
    if changes < 1:
        raise ParameterError(f"changes is {changes}", remedy="replace the future at least once")
    settings = settings or BacktestSettings()
    days = _days(panel, settings)
    cuts = _spread(days, changes)
    check = _Check(
        replace(settings, start=days[0], end=days[-1], with_benchmarks=False),
        policy if policy is not None else MilpPolicy(),
        forecaster if forecaster is not None else settings.forecaster,
        cuts,
    )
    report = progress or (lambda done, total: None)  # noqa: ARG005 - the signature of progress
    report(0, 1 + len(cuts))
    expected, about = check.run(panel, days[-1])
    leaks = []
    for n, cut in enumerate(cuts, start=1):
        report(n, 1 + len(cuts))
        found = check.compare(expected, with_another_future(panel, cut, seed + n), cut)
        leaks += [Leak(cut, found)] if found is not None else []
    report(1 + len(cuts), 1 + len(cuts))
    # a policy that throws dice differs from itself: it is not accused of foresight
    unrepeatable = check.compare(expected, panel, days[-1]) if leaks else None
    turnover_usd = expected.result.daily_log["turnover_usd"].to_numpy(dtype=np.float64)
    return CausalityReport(
        about.policy,
        about.forecaster,
        days[0],
        days[-1],
        cuts,
        n_traded_days=int((turnover_usd > 0.0).sum()),
        n_transactions=len(expected.result.transactions),
        leaks=() if unrepeatable is not None else tuple(leaks),
        unrepeatable=unrepeatable,
        seed=seed,
        admits_foresight=about.admits_foresight,
    )


@dataclass(frozen=True)
class _About:
    """What a policy and a forecaster say of themselves."""

    policy: str
    forecaster: str
    admits_foresight: bool


@dataclass(frozen=True)
class _Check:
    """What is run on every market."""

    settings: BacktestSettings
    policy: Policy | Callable[..., Policy]
    forecaster: Forecaster | Callable[..., Forecaster]
    cuts: tuple[date, ...]

    def run(
        self, panel: MarketPanel, last: date, progress: Progress | None = None
    ) -> tuple[Decisions, _About]:
        """What is decided up to ``last``, and by whom."""
        policy, inside = fresh(self.policy, panel), fresh(self.forecaster, panel)
        admits = not all(getattr(each, "is_causal", True) for each in (policy, inside))
        forecaster = recorded(inside)
        settings = replace(
            self.settings,
            end=last,
            forecaster=forecaster,
            cash_flows=tuple(f for f in self.settings.cash_flows if f.day <= last),
        )
        result = run_backtest(panel, settings, policy=policy, progress=progress)
        # the policy may have asked for a part of a forecast, or for none: the whole is checked too
        horizon_days = max(1, round(settings.parameters.horizon_days))
        for cut in self.cuts:
            if cut <= last:
                forecaster.forecast(panel.as_of(cut), horizon_days)
        about = _About(policy.name, forecaster.name, admits)
        return Decisions(forecaster.answers, result), about

    def compare(self, expected: Decisions, panel: MarketPanel, last: date) -> Difference | None:
        """The first difference of a run on ``panel`` up to ``last`` from what is expected."""
        start = self.settings.start or panel.first_day
        done = 0

        def note(days_done: int, n_days: int) -> None:  # noqa: ARG001 - the signature of progress
            nonlocal done
            done = days_done

        try:
            found, _ = self.run(panel, last, note)
        except CopyError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever breaks with the future has seen it
            day = min(start + timedelta(days=done), last)
            return Difference(day, "", "run", "goes on", f"{type(error).__name__}: {error}")
        return first_difference(expected, found, exec_days(start, last))


def _days(panel: MarketPanel, settings: BacktestSettings) -> list[date]:
    """The exec days of the check."""
    first, last = settings.span(panel)
    if settings.start is None:
        first = max(first, last - timedelta(days=MOST_DAYS - 1))
    return exec_days(first, last)


def _spread(days: list[date], changes: int) -> tuple[date, ...]:
    """Up to ``changes`` of the days, evenly spread; the last is always one of them."""
    n_days, n = len(days), min(changes, len(days))
    return tuple(days[-(-k * n_days // n) - 1] for k in range(1, n + 1))


def _place(found: Difference) -> str:
    pool = f", pool {found.pool_id}" if found.pool_id else ""
    return f"day {found.day}{pool}, {found.what}"


def _values(found: Difference, first: str, second: str) -> tuple[str, ...]:
    return f"{first}: {found.first}", f"{second}: {found.second}"


def _document(found: Difference, first: str, second: str) -> dict[str, str]:
    return {
        "day": found.day.isoformat(),
        "pool_id": found.pool_id,
        "what": found.what,
        first: found.first,
        second: found.second,
    }
