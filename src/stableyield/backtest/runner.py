"""One policy on its way through the days: its book, its memory, and what each day made of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stableyield.allocation import Plan
from stableyield.backtest.cash_flows import CashFlow, Served, serve
from stableyield.backtest.day import DayInputs, Prepared, observe, prepare, prices_of
from stableyield.backtest.ledger import DayResult, next_day
from stableyield.backtest.modes import Mode, book_of_day, memory_of, remind
from stableyield.backtest.policy import Decision, MilpPolicy, Policy
from stableyield.backtest.realised import forecast_yield_usd, realised
from stableyield.backtest.record import DayRecord
from stableyield.backtest.settings import BacktestSettings
from stableyield.config import AllocationParameters
from stableyield.domain.portfolio import CENT_USD, Book
from stableyield.errors import ConservationError, InputError
from stableyield.market.panel import MarketView
from stableyield.screening import IceboxTracker


@dataclass
class Runner:
    """One policy and its book on its way through the days.

    Parameters
    ----------
    policy : Policy
    book : Book
        The start money.
    mode : Mode
    start : (str, float)
        Start token and USD of a day that nothing carries over to.
    """

    policy: Policy
    book: Book
    mode: Mode = Mode.PORTFOLIO
    start: tuple[str, float] = ("", 0.0)
    aum_usd: float | None = None
    owed: dict[str, float] = field(default_factory=dict)
    last_plan: dict[str, Any] | Plan | None = None

    def __post_init__(self) -> None:
        self._first_memory = memory_of(self.policy)

    def run_day(
        self,
        inputs: DayInputs,
        tomorrow: MarketView,
        parameters: AllocationParameters,
        flows: Sequence[CashFlow] = (),
    ) -> DayRecord:
        """Decide on the day of ``inputs`` and carry the book to ``tomorrow``.

        Raises
        ------
        ConservationError
            When AUM before is not AUM after plus costs, to a cent: a bug.
        """
        started = time.perf_counter()
        view = inputs.view
        if parameters is not inputs.parameters:
            inputs = replace(inputs, parameters=parameters)
        served = self._begin(inputs, flows)
        day = plan_day(self.policy, inputs, served)
        prepared, decision = day.prepared, day.decision
        money = decision.settlement
        next_prices, price_flags = prices_of(tomorrow, money.after, parameters)
        places = inputs.places(money.after.layout, tomorrow)
        result = next_day(
            money.after,
            prepared.prices_usd,
            next_prices,
            realised(tomorrow, money.after, parameters, view, places),
        )
        self.book, self.aum_usd, self.owed = result.book, result.aum_usd, dict(served.owed)
        self.last_plan = decision.plan or self.last_plan
        promised = forecast_yield_usd(inputs, money.after, prepared.prices_usd)
        return DayRecord(
            policy=self.policy.name,
            exec_date=view.day,
            status=decision.status,
            is_held=decision.is_held,
            money=money,
            result=result,
            forecast_yield_usd=promised,
            risk_groups=prepared.risk_groups_of(money.after),
            flags=(*day.flags, *price_flags, *happenings(result)),
            gap_usd=decision.gap_usd,
            bound_usd=float("nan")
            if decision.plan is None
            else decision.plan.certificate.bound_usd,
            solve_seconds=decision.solve_seconds,
            seconds=time.perf_counter() - started,
            raised=served.raised,
            flow_usd=served.flow_usd,
        )

    def _begin(self, inputs: DayInputs, flows: Sequence[CashFlow]) -> Served:
        """The book that the day's decision starts from, after the owner's flows."""
        book = self.book
        if self.mode is not Mode.PORTFOLIO and self.aum_usd is not None:
            book = book_of_day(self.mode, inputs.view, (self.book, self.aum_usd), self.start)
            remind(self.policy, self._first_memory)
        return serve(inputs, book, self.owed, flows) if flows or self.owed else Served(book)

    @property
    def plan_document(self) -> dict[str, Any]:
        """The last plan as the plan file has it; empty when there is none."""
        plan = self.last_plan
        return plan.to_document() if isinstance(plan, Plan) else plan or {}

    # --- for a checkpoint ---

    def state(self) -> dict[str, Any]:
        """Everything that the next day depends on, in values that JSON keeps."""
        return {
            "policy": self.policy.name,
            "memory": memory_of(self.policy),
            "wallet": dict(self.book.wallet),
            "positions": [[*key, amount] for key, amount in self.book.positions.items()],
            "aum_usd": self.aum_usd,
            "owed": self.owed,
            "last_plan": self.plan_document,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` said."""
        remind(self.policy, state["memory"])
        positions = {(pool_id, token): amount for pool_id, token, amount in state["positions"]}
        self.book = Book(state["wallet"], positions)
        self.aum_usd, self.owed = state["aum_usd"], dict(state["owed"])
        self.last_plan = state["last_plan"]


@dataclass(frozen=True, eq=False)
class DayPlan:
    """What is to be done on one day, and what that was decided on.

    Parameters
    ----------
    inputs : DayInputs
        What was observed.
    served : Served
        What came of the owner's flows, before the decision.
    prepared : Prepared
        Book, screening and problem.
    decision : Decision
        Settlement, plan and status.
    """

    inputs: DayInputs
    served: Served
    prepared: Prepared
    decision: Decision

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader must know of the day."""
        stops = (f"data quality: {finding}" for finding in self.inputs.critical)
        relaxed = relaxations(self.decision, self.inputs.parameters)
        return (*stops, *self.prepared.flags, *self.served.flags, *relaxed)


def run_day(
    view: MarketView,
    book: Book,
    settings: BacktestSettings | None = None,
    *,
    policy: Policy | None = None,
    icebox: IceboxTracker | None = None,
    flows: Sequence[CashFlow] = (),
) -> DayPlan:
    """What a policy does with a book on one day: the same day as that of a backtest.

    Parameters
    ----------
    view : MarketView
        The market as known at the end of the day.
    book : Book
    settings : BacktestSettings, optional
        Its parameters, forecaster and gas.
    policy : Policy, optional
        Instead of the optimiser.
    icebox : IceboxTracker, optional
        One that is kept from day to day; a new one reads the whole history of the view.
    flows : sequence of CashFlow
        What the owner brings and takes on the day.

    Raises
    ------
    MissingDataError
        When a price or the gas price of the day is unknown.
    InputError
        When the book is empty.
    """
    settings = settings or BacktestSettings()
    tracker = icebox or IceboxTracker(settings.parameters)
    inputs = observe(view, settings.parameters, settings.forecaster, tracker, settings.gas)
    served = serve(inputs, book, {}, flows) if flows else Served(book)
    return plan_day(policy or MilpPolicy(), inputs, served)


def plan_day(policy: Policy, inputs: DayInputs, served: Served) -> DayPlan:
    """Prepare the day for a book, and decide."""
    prepared = prepare(inputs, served.book, inputs.parameters)
    return DayPlan(inputs, served, prepared, decide(policy, prepared, inputs))


def decide(policy: Policy, prepared: Prepared, inputs: DayInputs) -> Decision:
    """What a policy does with a book on a day; nothing, where the day's data is beyond use.

    Raises
    ------
    ConservationError
        When AUM before is not AUM after plus costs, to a cent: a bug.
    """
    if inputs.critical:
        return Decision.keep(prepared, "data_quality")
    decision = policy.decide(prepared, inputs)
    if not isinstance(decision, Decision):
        raise InputError(
            f"decide() gave {type(decision).__name__}, not a Decision",
            where=f"{policy.name} on {inputs.view.day}",
            remedy="see docs/policies.md for the ways to make one",
        )
    money = decision.settlement
    if abs(prepared.aum_usd - money.aum_after_usd - money.costs_usd) > CENT_USD:
        raise ConservationError(
            f"{prepared.aum_usd} USD before are not {money.aum_after_usd} USD after plus "
            f"{money.costs_usd} USD of costs",
            where=f"{policy.name} on {inputs.view.day}",
        )
    return decision


def relaxations(decision: Decision, parameters: AllocationParameters) -> tuple[str, ...]:
    """The limits that were relaxed for the day's plan, where the parameters allow it."""
    plan = decision.plan
    if plan is None or parameters.on_failure != "relax" or plan.problem.parameters == parameters:
        return ()
    return tuple(f"relaxed: {limit}" for limit in plan.explanation["relaxed"])


def happenings(result: DayResult) -> tuple[str, ...]:
    """What happened to what was held: delistings, and returns that are unknown."""
    if not (result.delisted or result.missing):
        return ()
    return (
        *(
            f"delisted: {pool_id}" + (f", {usd:.2f} USD lost" if usd else "")
            for pool_id, usd in result.delisted.items()
        ),
        *(f"no realised return: {pool_id}" for pool_id in result.missing),
    )
