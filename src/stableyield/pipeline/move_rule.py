"""Move or hold: money moves when that is worth it, or when it has to.

The optimiser weighs gain against cost to the cent of its forecasts; the rule asks for more than a
cent. ``min_gain_usd`` is what the plan must be expected to gain over the horizon beyond holding,
after all costs. A plan that a limit, an approval or a delisting forces is carried out whatever it
gains.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from stableyield.allocation import Plan, verify
from stableyield.allocation.plan import expectation
from stableyield.allocation.problem import AllocationProblem
from stableyield.allocation.settle import nothing_done
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import Settlement
from stableyield.domain.rates import growth

MOST_REASONS = 10


@dataclass(frozen=True)
class Movement:
    """What the rule decided, and why.

    Parameters
    ----------
    is_held : bool
        The book is left alone.
    gain_usd : float
        Expected net gain of the optimiser's plan over the horizon beyond holding.
    min_gain_usd : float
    forced : tuple of str
        Why holding was not possible, one sentence each.
    exits : tuple of str
        Pools that had to be left.
    sentence : str
        The decision in one line.
    """

    is_held: bool
    gain_usd: float
    min_gain_usd: float
    forced: tuple[str, ...]
    exits: tuple[str, ...]
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """As the plan's explanation has it."""
        return asdict(self) | {"forced": list(self.forced), "exits": list(self.exits)}


def move_or_hold(plan: Plan, min_gain_usd: float) -> tuple[Plan, Movement]:
    """The plan, or the one that holds where the plan is not worth its trouble.

    Parameters
    ----------
    plan : Plan
        Of the optimiser.
    min_gain_usd : float
    """
    problem = plan.problem
    exits = pools_to_leave(problem)
    if not plan.certificate.has_solution:
        why = "infeasible" if plan.status == "infeasible" else "none was found in time"
        sentence = f"Hold: there is no plan ({why})."
        movement = Movement(True, 0.0, min_gain_usd, (), exits, sentence)
        return _explained(plan, movement), movement
    hold = held(plan)
    gain = _gain_usd(problem, plan.settlement) - _gain_usd(problem, hold.settlement)
    if plan.n_moves == 0:
        movement = Movement(
            True, 0.0, min_gain_usd, (), exits, "Hold: nothing is better than what is held."
        )
        return _explained(plan, movement), movement
    forced = _why_not_hold(hold, exits)
    days = problem.parameters.horizon_days
    if forced:
        sentence = f"Move: {forced[0]}."
    elif gain >= min_gain_usd:
        sentence = (
            f"Move: {gain:,.2f} USD more than holding are expected in {days:g} days, "
            f"after costs ({min_gain_usd:,.2f} are asked for)."
        )
    else:
        sentence = (
            f"Hold: moving would gain {gain:,.2f} USD in {days:g} days, after costs; "
            f"{min_gain_usd:,.2f} are asked for."
        )
    is_held = not forced and gain < min_gain_usd
    movement = Movement(is_held, gain, min_gain_usd, forced, exits, sentence)
    return _explained(hold if is_held else plan, movement), movement


def held(plan: Plan) -> Plan:
    """The plan of the same problem that does nothing; its bound is that of ``plan``."""
    problem = plan.problem
    settlement = nothing_done(problem)
    certificate = replace(plan.certificate, objective_usd=_gain_usd(problem, settlement))
    bound = max(certificate.bound_usd, certificate.objective_usd)
    return replace(
        plan,
        settlement=settlement,
        certificate=replace(certificate, bound_usd=bound),
        expected=expectation(problem, settlement),
    )


def pools_to_leave(problem: AllocationProblem) -> tuple[str, ...]:
    """Pools with a position that may not be kept: an approval was lost, or they have gone."""
    return tuple(
        pool.pool_id
        for pool, usd in zip(problem.pools, problem.position_usd.tolist(), strict=True)
        if pool.state is PoolState.EXIT and usd > 0.0
    )


def _why_not_hold(hold: Plan, exits: tuple[str, ...]) -> tuple[str, ...]:
    reasons = [f"pool {pool_id} may not be held any more" for pool_id in exits]
    if not exits:
        reasons += [f"holding breaks a limit: {found}" for found in verify(hold).violations]
    return tuple(reasons[:MOST_REASONS])


def _gain_usd(problem: AllocationProblem, settlement: Settlement) -> float:
    """Expected net gain over the horizon, with what idle cash earns, as the objective counts."""
    parameters = problem.parameters
    idle = settlement.after.wallet_usd(problem.prices_usd)
    cash = idle * growth(parameters.cash_apy, parameters.horizon_days)
    return expectation(problem, settlement).net_usd + cash


def _explained(plan: Plan, movement: Movement) -> Plan:
    return replace(plan, explain=lambda: {**plan.explanation, "move_rule": movement.to_dict()})
