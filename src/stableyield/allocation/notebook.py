"""The interface that the research notebooks call: frames and dicts in, dicts and a frame out.

::

    optimizer = AllocationOptimizer(
        pools_df, token_prices, warm_wallet, current_allocations, gas_fees, alloc_params
    )
    if optimizer.solve():
        results = optimizer.format_results()

The same exact optimiser stands behind it as behind `stableyield.solve`. docs/notebook.md has the
columns and names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from stableyield.allocation import checked
from stableyield.allocation.explain import why_infeasible
from stableyield.allocation.notebook_frame import pools_of_frame, tokens_of_frame
from stableyield.allocation.notebook_inputs import (
    PROVENANCE,
    notes_on,
    position_key,
    read_book,
    read_gas,
    read_parameters,
    read_prices,
)
from stableyield.allocation.optimiser import solve
from stableyield.allocation.plan import Limit, Plan
from stableyield.allocation.problem import AllocationProblem, RateModel
from stableyield.domain.costs import gas_fee_usd, notebook_gas_costs
from stableyield.domain.portfolio import Transaction
from stableyield.errors import ContractError, InfeasibleError, InputError

ALLOCATION_COLUMNS = ("pool_id", "pool_symbol", "token", "amount", "amount_usd")

_NOT_IN_RESULTS = ("to_amount", "gas_paid")  # in the plan file, but unknown to the notebooks


class Results(NamedTuple):
    """What `AllocationOptimizer.extract_results` gives; unpacks into its two parts.

    Parameters
    ----------
    allocations : DataFrame
        Final positions: pool_id, pool_symbol, token, amount (token units), amount_usd.
    transactions : list of dict
        As in `AllocationOptimizer.format_results`.
    """

    allocations: pd.DataFrame
    transactions: list[dict[str, Any]]


class AllocationOptimizer:
    """One allocation decision, given as the notebooks give it. Nothing given is ever changed.

    Parameters
    ----------
    pools_df : DataFrame
        One row a pool: pool_id, symbol, chain, protocol, underlying_tokens (list, or JSON),
        forecasted_apy (percent), forecasted_tvl (USD), is_filtered_out, is_active; optional
        forecasted_apy_q10 (percent), token_shares (list, or JSON) and risk_group (1, 2, 3).
    token_prices : mapping of token to USD
        May hold more tokens than needed.
    warm_wallet : mapping of token to amount
    current_allocations : mapping of (pool_id, token) to amount
        A pool that is not in the frame, or inactive there, is left completely.
    gas_fees : mapping
        USD per transaction: allocation, withdrawal, conversion; see
        `calculate_transaction_gas_fees`.
    alloc_params : mapping
        Names and values of `AllocationParameters`; ``run_id`` and ``timestamp`` are provenance.
        ``own_impact`` is ``none`` unless named: the notebooks' pools keep their rate.

    Attributes
    ----------
    total_aum : float
        Wallet and positions, USD.
    problem : AllocationProblem
    plan : Plan or None
        After a `solve` that found one.
    infeasible_because : tuple of Limit
        After a `solve` that found that no plan meets the limits.
    provenance : dict
        ``run_id`` and ``timestamp``, where given.
    notes : tuple of str
        What is worth knowing about the input.

    Raises
    ------
    ContractError
        When a frame or dict breaks its contract.
    ParameterError
        For an unknown name in ``alloc_params``, or a wrong value.
    MissingDataError
        When a price or a forecast that is needed is unknown.
    """

    def __init__(
        self,
        pools_df: pd.DataFrame,
        token_prices: Mapping[str, float],
        warm_wallet: Mapping[str, float],
        current_allocations: Mapping[tuple[str, str], float],
        gas_fees: Mapping[str, float],
        alloc_params: Mapping[str, Any],
    ) -> None:
        book = read_book(warm_wallet, current_allocations)
        parameters = read_parameters(alloc_params)
        diluted = parameters.own_impact == "pro_rata"
        self.problem = AllocationProblem(
            pools_of_frame(
                pools_df, book.pool_ids, RateModel.PRO_RATA if diluted else RateModel.CONSTANT
            ),
            book,
            read_prices(token_prices),
            read_gas(gas_fees),
            parameters,
        )
        self.total_aum = self.problem.aum_usd
        self.provenance = {name: alloc_params[name] for name in PROVENANCE if name in alloc_params}
        self.notes = notes_on(self.problem)
        self.plan: Plan | None = None
        self.infeasible_because: tuple[Limit, ...] = ()
        self._outcome = "solve() has not been called"

    def solve(self, solver: object = None, verbose: bool = True) -> bool:
        """Find the plan with the highest expected net gain over ``horizon_days``.

        Parameters
        ----------
        solver : object, optional
            Accepted for the notebooks' sake; every plan is solved by HiGHS.
        verbose : bool
            Print what came out.

        Returns
        -------
        bool
            Whether there is a plan.

        Raises
        ------
        InfeasibleError, SolverError
            Instead of returning False, when the parameter ``on_failure`` is ``raise``.
        """
        self.plan, self.infeasible_because = None, ()
        self._outcome = "solve() did not finish"
        plan = self._attempt()
        if plan is not None and plan.certificate.has_solution:
            self.plan = plan
            self._outcome = _summary(plan)
        elif plan is not None and plan.status == "time_limit":
            self._outcome = "no plan was found in time; raise time_limit_seconds"
        else:
            self.infeasible_because = (
                why_infeasible(self.problem) if plan is None else plan.infeasible_because
            )
            reasons = "; ".join(limit.detail for limit in self.infeasible_because)
            self._outcome = f"no plan meets the limits: {reasons}"
        if verbose:
            is_other = solver is not None and str(solver).upper() != "HIGHS"
            notes = [f"solver {solver} was asked for, HiGHS was used"] if is_other else []
            notes += self.notes
            _show(self._outcome, *(f"note: {note}" for note in notes))
        return self.plan is not None

    def format_results(self) -> dict[str, Any]:
        """The plan as nested dicts.

        Returns
        -------
        dict
            ``final_allocations`` {pool_id: {pool_symbol, tokens: {token: {amount, amount_usd}}}},
            ``unallocated_tokens`` {token: {amount, amount_usd}}, and ``transactions``, a list of
            dicts in an order in which each can be paid: seq, type, from_location, to_location,
            token (of a conversion from_token and to_token), amount, amount_usd, gas_cost_usd,
            conversion_cost_usd, total_cost_usd. Of a conversion, the amount is what is sold.

        Raises
        ------
        InputError
            When there is no plan.
        """
        plan = self._found()
        money = plan.settlement
        symbols = {pool.pool_id: pool.symbol for pool in plan.problem.pools}
        final: dict[str, dict[str, Any]] = {}
        for (pool_id, token), amount in money.after.positions.items():
            entry = final.setdefault(pool_id, {"pool_symbol": symbols[pool_id], "tokens": {}})
            entry["tokens"][token] = _valued(token, amount, money.prices_usd)
        return {
            "final_allocations": final,
            "unallocated_tokens": {
                token: _valued(token, amount, money.prices_usd)
                for token, amount in money.after.wallet.items()
            },
            "transactions": [_formatted(step) for step in money.transactions],
        }

    def extract_results(self) -> Results:
        """The plan as a frame of final positions and a list of transactions.

        Raises
        ------
        InputError
            When there is no plan.
        """
        formatted = self.format_results()
        rows = [
            (pool_id, entry["pool_symbol"], token, worth["amount"], worth["amount_usd"])
            for pool_id, entry in formatted["final_allocations"].items()
            for token, worth in entry["tokens"].items()
        ]
        allocations = pd.DataFrame(rows, columns=list(ALLOCATION_COLUMNS))
        return Results(allocations, formatted["transactions"])

    def _attempt(self) -> Plan | None:
        """A verified plan; None when relaxing the limits did not help."""
        try:
            return checked(solve(self.problem))
        except InfeasibleError:
            if self.problem.parameters.on_failure == "raise":
                raise
            return None

    def _found(self) -> Plan:
        if self.plan is None:
            raise InputError(
                f"there are no results: {self._outcome}",
                remedy="use the results only after solve() has returned True",
            )
        return self.plan


# --- the notebooks' functions -------------------------------------------------------------------


def calculate_aum(
    warm_wallet: Mapping[str, float],
    current_allocations: Mapping[tuple[str, str], float],
    token_prices: Mapping[str, float],
) -> float:
    """Assets under management in USD: wallet and positions.

    Raises
    ------
    MissingDataError
        When something that is owned has no usable price; it is never taken as 1.0.
    """
    return read_book(warm_wallet, current_allocations).aum_usd(read_prices(token_prices))


def build_token_universe(
    pools_df: pd.DataFrame,
    warm_wallet: Mapping[str, float],
    current_allocations: Mapping[tuple[str, str], float],
) -> list[str]:
    """Every token that a pool takes, the wallet names or a position is in, sorted.

    Raises
    ------
    ContractError
        When ``underlying_tokens`` is missing, or holds neither lists nor JSON lists.
    """
    if "underlying_tokens" not in pools_df.columns:
        raise ContractError("no column 'underlying_tokens'", where="pools_df")
    held = {token for _, token in map(position_key, current_allocations)}
    return sorted(tokens_of_frame(pools_df) | set(warm_wallet) | held)


def calculate_gas_fee_usd(
    gas_units: float, base_fee_gwei: float, priority_fee_gwei: float, eth_price_usd: float
) -> float:
    """Gas of one transaction in USD: units x (base fee + priority fee) x 1e-9 x ETH price.

    Raises
    ------
    MissingDataError
        When a number is NaN.
    InputError
        When the units, the gas price or the ETH price is negative.
    """
    return gas_fee_usd(gas_units, base_fee_gwei + priority_fee_gwei, eth_price_usd)


def calculate_transaction_gas_fees(
    eth_price_usd: float,
    base_fee_transfer_gwei: float,
    base_fee_swap_gwei: float,
    priority_fee_gwei: float,
    min_gas_units: float,
) -> dict[str, float]:
    """Gas of one transaction of each kind in USD, all with ``min_gas_units``.

    Returns
    -------
    dict
        allocation, withdrawal, transfer and deposit at the transfer base fee, conversion at the
        swap base fee. The plan uses allocation, withdrawal and conversion.

    Raises
    ------
    MissingDataError
        When a number is NaN.
    InputError
        When the units, a gas price or the ETH price is negative.
    """
    gas = notebook_gas_costs(
        eth_price_usd, base_fee_transfer_gwei, base_fee_swap_gwei, priority_fee_gwei, min_gas_units
    )
    return {
        "allocation": gas.allocation,
        "withdrawal": gas.withdrawal,
        "conversion": gas.conversion,
        "transfer": gas.allocation,
        "deposit": gas.allocation,
    }


# --- what comes out -----------------------------------------------------------------------------


def _valued(token: str, amount: float, prices_usd: Mapping[str, float]) -> dict[str, float]:
    return {"amount": amount, "amount_usd": amount * prices_usd[token]}


def _formatted(step: Transaction) -> dict[str, Any]:
    return {name: value for name, value in step.to_dict().items() if name not in _NOT_IN_RESULTS}


def _summary(plan: Plan) -> str:
    money, expected, certificate = plan.settlement, plan.expected, plan.certificate
    lines = [
        f"{plan.status}, within {certificate.gap_usd:.4f} USD of the best plan, "
        f"in {certificate.solve_seconds:.2f} s",
        f"{plan.n_moves} transactions cost {money.costs_usd:,.2f} USD "
        f"(gas {money.gas_usd:,.2f}, conversion {money.conversion_usd:,.2f})",
        f"AUM {money.aum_before_usd:,.2f} -> {money.aum_after_usd:,.2f} USD",
        f"expected in {expected.horizon_days:g} days: {expected.yield_usd:,.2f} USD, "
        f"{expected.net_usd:,.2f} after costs; weighted APY {expected.weighted_apy_pct:.2f} %",
    ]
    lines += [f"relaxed: {limit}" for limit in plan.explanation["relaxed"]]
    return "\n".join(lines)


def _show(*lines: str) -> None:
    print(*lines, sep="\n")  # noqa: T201 - a notebook reads its standard output
