"""All policies of a run, side by side on their way through the days of one market."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from itertools import chain
from typing import Any

from stableyield._version import __version__
from stableyield.backtest.blocks import rows_block, rows_of_block, totals_block, totals_of_block
from stableyield.backtest.cash_flows import flows_by_day
from stableyield.backtest.checkpoint import Snapshot
from stableyield.backtest.day import DayInputs
from stableyield.backtest.modes import attributes_of, untold_memory
from stableyield.backtest.policy import Policy
from stableyield.backtest.record import DayTotals
from stableyield.backtest.result import BacktestResult
from stableyield.backtest.rows import DayRows, rows_of
from stableyield.backtest.runner import Runner
from stableyield.backtest.settings import BacktestSettings
from stableyield.config import sha256_of
from stableyield.errors import InputError
from stableyield.market.panel import MarketPanel, MarketView


@dataclass
class Course:
    """The runners of a run and what is told of their days.

    Parameters
    ----------
    settings : BacktestSettings
    runners : sequence of Runner
    n_told : int
        How many of them, from the first on, are told of in full; of the others only sums are.
    """

    settings: BacktestSettings
    runners: Sequence[Runner]
    n_told: int
    rows: list[list[DayRows]] = field(init=False)
    totals: list[DayTotals] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        names = [runner.policy.name for runner in self.runners]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"two policies are called {twice!r}", remedy="rename one")
        self.rows = [[] for _ in range(self.n_told)]
        self._flows = flows_by_day(self.settings.cash_flows)
        self._at_start = [attributes_of(runner.policy) for runner in self.runners]

    @classmethod
    def of(
        cls, panel: MarketPanel, settings: BacktestSettings, policies: Sequence[Policy], n_told: int
    ) -> Course:
        """The policies, each with the start money."""
        book, start = settings.first_book(panel), (settings.token, settings.aum_usd)
        runners = [Runner(policy, book, settings.mode, start) for policy in policies]
        return cls(settings, runners, n_told)

    def advance(self, inputs: DayInputs, tomorrow: MarketView) -> None:
        """Let every policy live through the day of ``inputs``."""
        flows = self._flows.get(inputs.view.day, ())
        for n, runner in enumerate(self.runners):
            record = runner.run_day(inputs, tomorrow, self.settings.parameters, flows)
            self.totals.append(record.totals)
            if n < self.n_told:
                told = self.rows[n]
                told.append(rows_of(record, told[-1] if told else None))

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The policies in their order."""
        return tuple(runner.policy for runner in self.runners)

    def result(self, panel: MarketPanel, n: int) -> BacktestResult:
        """What is told of runner number ``n``, beside the sums of the others."""
        from stableyield.backtest.tables import build_result  # noqa: PLC0415 - pandas, after the loop

        # a report gives the name ``strategy`` to the policy that it is about
        own = {self.runners[n].policy.name, "strategy"}
        beside = [day for day in self.totals if day.policy not in own]
        plan = self.runners[n].plan_document
        return build_result(panel, self.settings, self.rows[n], plan, beside)

    # --- for a checkpoint ---

    def days_since(self, n_days: int) -> dict[str, Any]:
        """The days after the first ``n_days``, of which there is one at least, for JSON."""
        n_runners, totals = len(self.runners), self.totals[n_days * len(self.runners) :]
        return {
            "rows": [rows_block(told[n_days:]) for told in self.rows],
            "totals": [totals_block(totals[n::n_runners]) for n in range(n_runners)],
        }

    def relive(self, saved: Snapshot) -> int:
        """Take the days and the state of a checkpoint; the number of days."""
        for block in saved.blocks:
            for told, rows in zip(self.rows, block["rows"], strict=True):
                told.extend(rows_of_block(rows))
            side_by_side = zip(*map(totals_of_block, block["totals"]), strict=True)
            self.totals.extend(chain.from_iterable(side_by_side))
        for runner, state in zip(self.runners, saved.state or (), strict=bool(saved.n_days)):
            runner.restore(state)
        return saved.n_days

    def state(self) -> list[Any]:
        """What the next day depends on.

        Raises
        ------
        InputError
            When a policy remembers something and does not say what.
        """
        for runner, at_start in zip(self.runners, self._at_start, strict=True):
            if name := untold_memory(runner.policy, at_start):
                raise InputError(
                    f"policy {runner.policy.name!r} changes its attribute {name!r} and does not "
                    "say so",
                    remedy="give it state() and restore(), or run it without a checkpoint",
                )
        return [runner.state() for runner in self.runners]


def key_of(
    panel: MarketPanel, settings: BacktestSettings, policies: Sequence[Policy]
) -> dict[str, Any]:
    """What a run is made of: equal keys, equal runs to the last bit."""
    from stableyield.backtest.tables import code_sha256, library_versions  # noqa: PLC0415 - pandas

    start, end = settings.span(panel)
    return {
        "parameters": settings.parameters.model_dump(mode="json"),
        "data_sha256": panel.sha256,
        "start": start.isoformat(),
        "end": end.isoformat(),
        "aum_usd": settings.aum_usd,
        "token": settings.token,
        "mode": settings.mode.value,
        "cash_flows": [[f.day.isoformat(), f.token, f.amount] for f in sorted(settings.cash_flows)],
        "forecaster": _described(settings.forecaster),
        "gas": {"assumption": settings.gas.assumption, "sha256": sha256_of(repr(settings.gas))},
        "policies": {policy.name: _described(policy) for policy in policies},
        "code_version": __version__,
        "code_sha256": code_sha256(),
        "python": platform.python_version(),
        "libraries": dict(library_versions()),
    }


def _described(thing: Any) -> dict[str, Any]:
    """Class, version and plain settings of a policy or a forecaster."""
    kind = type(thing)
    settings: Mapping[str, Any] = {}
    if is_dataclass(thing):
        settings = {f.name: _plain(getattr(thing, f.name)) for f in fields(thing) if f.init}
    return {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "version": str(getattr(thing, "model_version", "")),
        "settings": dict(settings),
    }


def _plain(value: Any) -> Any:
    """A setting as it is, where it is plain; else its class, or what that is made of."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if hasattr(value, "name"):  # a policy or a forecaster within
        return _described(value)
    return getattr(value, "__qualname__", type(value).__qualname__)
