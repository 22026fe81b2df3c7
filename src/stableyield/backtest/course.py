"""All policies of a run, side by side on their way through the days of one market."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from stableyield.backtest.blocks import rows_block, rows_of_block, totals_block, totals_of_block
from stableyield.backtest.cash_flows import flows_by_day
from stableyield.backtest.checkpoint import Snapshot
from stableyield.backtest.day import DayInputs
from stableyield.backtest.modes import attributes_of, kept, untold_memory
from stableyield.backtest.policy import Policy
from stableyield.backtest.record import DayTotals
from stableyield.backtest.result import BacktestResult
from stableyield.backtest.rows import DayRows, rows_of
from stableyield.backtest.runner import Runner
from stableyield.backtest.settings import BacktestSettings
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
        self._at_start = [kept(attributes_of(runner.policy)) for runner in self.runners]

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
        return [_plain_state(runner) for runner in self.runners]


def _plain_state(runner: Runner) -> dict[str, Any]:
    state = runner.state()
    try:
        json.dumps(state["memory"])
    except (TypeError, ValueError) as error:
        raise InputError(
            f"policy {runner.policy.name!r} remembers what JSON cannot keep: {error}",
            remedy="let state() return text, numbers, truth, None, lists and dicts",
        ) from error
    return state
