"""The verifier's own bookkeeping: the transactions of a plan file, carried out one by one.

Plain Python over the documents; nothing here comes from the optimiser.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MONEY = 0.01  # USD: a plan is right to the cent
STEP = 1e-6  # USD: one amount against its price, relative errors of floats included
WALLET = "warm_wallet"

Document = Mapping[str, Any]


def differ(mine: float, theirs: float, tolerance: float) -> bool:
    """Whether two numbers are apart; a NaN differs from everything."""
    return not abs(mine - theirs) <= tolerance


@dataclass
class Replay:
    """Wallet and positions while the transactions are carried out, and what is wrong with them."""

    problem: Document
    plan: Document
    found: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # a token without a price is worth nothing, whatever the plan says
        self.price = defaultdict(float, self.problem["token_prices_usd"])
        self.limit = self.problem["parameters"]
        self.wallet: dict[str, float] = dict(self.problem["wallet"])
        self.held: dict[tuple[str, str], float] = {
            (row["pool_id"], row["token"]): row["amount"] for row in self.problem["positions"]
        }
        self.before = dict(self.held)
        self.pool: dict[str, Document] = {row["pool_id"]: row for row in self.problem["pools"]}
        self.aum_before = self.aum()
        self.step = STEP + 1e-14 * self.aum_before  # floats of large books round more
        self.costs = self.fees = 0.0  # fees: the part of the costs that conversions take
        self.deposited: dict[str, dict[str, float]] = {}
        self.withdrawn: dict[str, dict[str, float]] = {}
        self.sold: set[tuple[str, str]] = set()

    def fail(self, message: str) -> None:
        """Note a violation."""
        self.found.append(message)

    def state(self, pool_id: str) -> str:
        """State of a pool; one that the problem does not name must be left."""
        row = self.pool.get(pool_id)
        return "exit" if row is None else str(row.get("state", "open"))

    # --- the transactions, one by one ---

    def replay(self) -> None:
        """Carry out every transaction."""
        for place, step in enumerate(self.plan["transactions"], start=1):
            name = f"transaction {place} ({step['type']})"
            if step["seq"] != place:
                self.fail(f"{name}: seq is {step['seq']}")
            ways = {
                "HOLD": (step["from_location"], step["from_location"], self._hold),
                "WITHDRAWAL": (step["from_location"], WALLET, self._withdrawal),
                "CONVERSION": (WALLET, WALLET, self._conversion),
                "ALLOCATION": (WALLET, step["to_location"], self._allocation),
            }
            if step["type"] not in ways:
                self.fail(f"{name}: no such type")
                continue
            source, target, kind = ways[step["type"]]
            if (step["from_location"], step["to_location"]) != (source, target):
                self.fail(f"{name}: from {step['from_location']} to {step['to_location']}")
            kind(step, name)
            self._gas(step, name)

    def _hold(self, step: Document, name: str) -> None:
        key = (step["from_location"], step["token"])
        if differ(self.before.get(key, 0.0), step["amount"], 1e-9) or step["total_cost_usd"]:
            self.fail(f"{name}: {key} is not what is held, or holding costs")
        self._worth(step["token"], step["amount"], step["amount_usd"], name)

    def _withdrawal(self, step: Document, name: str) -> None:
        pool, token, amount = step["from_location"], step["token"], step["amount"]
        self._worth(token, amount, step["amount_usd"], name)
        self.held[pool, token] = self._less(self.held.get((pool, token), 0.0), amount, token, name)
        self.wallet[token] = self.wallet.get(token, 0.0) + amount
        legs = self.withdrawn.setdefault(pool, {})
        legs[token] = legs.get(token, 0.0) + amount
        full = self.held[pool, token] <= 1e-9
        if not full and step["amount_usd"] < self.limit["min_transaction_value"] - MONEY:
            self.fail(f"{name}: {step['amount_usd']:.2f} USD is below min_transaction_value")

    def _allocation(self, step: Document, name: str) -> None:
        pool, token, amount = step["to_location"], step["token"], step["amount"]
        self._worth(token, amount, step["amount_usd"], name)
        self.wallet[token] = self._less(self.wallet.get(token, 0.0), amount, token, name)
        self.held[pool, token] = self.held.get((pool, token), 0.0) + amount
        legs = self.deposited.setdefault(pool, {})
        legs[token] = legs.get(token, 0.0) + step["amount_usd"]
        if self.state(pool) != "open":
            self.fail(f"{name}: pool {pool} is {self.state(pool)}, not open")
        elif token not in self.pool[pool]["tokens"]:
            self.fail(f"{name}: pool {pool} does not take {token}")
        if step["amount_usd"] < self.limit["min_transaction_value"] - MONEY:
            self.fail(f"{name}: {step['amount_usd']:.2f} USD is below min_transaction_value")

    def _conversion(self, step: Document, name: str) -> None:
        source, target, amount = step["from_token"], step["to_token"], step["amount"]
        self._worth(source, amount, step["amount_usd"], name)
        fee = self.limit["conversion_rate"] * amount * self.price[source]
        if differ(fee, step["conversion_cost_usd"], self.step):
            self.fail(f"{name}: the fee is {step['conversion_cost_usd']}, due is {fee}")
        received_usd = amount * self.price[source] - fee
        if source == target:
            self.fail(f"{name}: {source} into itself")
        self._worth(target, step["to_amount"], received_usd, name)
        self.wallet[source] = self._less(self.wallet.get(source, 0.0), amount, source, name)
        self.wallet[target] = self.wallet.get(target, 0.0) + step["to_amount"]
        self.fees += step["conversion_cost_usd"]
        self.costs += step["conversion_cost_usd"]
        gas_usd = self.problem["gas_usd"]["conversion"]
        if differ(gas_usd, step["gas_cost_usd"], self.step):
            self.fail(f"{name}: gas of {gas_usd} USD is due, {step['gas_cost_usd']} is paid")
        # gas of earlier steps may be taken out of what was to be sold
        least = self.limit["min_transaction_value"] - self.plan["costs"]["gas_usd"]
        if step["amount_usd"] < least - MONEY:
            self.fail(f"{name}: {step['amount_usd']:.2f} USD is below min_transaction_value")
        if (target, source) in self.sold:
            self.fail(f"{name}: {source} and {target} are converted both ways")
        self.sold.add((source, target))

    def _gas(self, step: Document, name: str) -> None:
        paid = 0.0
        for payment in step.get("gas_paid", ()):
            token, amount = payment["token"], payment["amount"]
            self._worth(token, amount, payment["amount_usd"], name)
            self.wallet[token] = self._less(self.wallet.get(token, 0.0), amount, token, name)
            paid += payment["amount_usd"]
        if differ(paid, step["gas_cost_usd"], STEP):
            self.fail(f"{name}: gas costs {step['gas_cost_usd']}, paid is {paid}")
        total = step["gas_cost_usd"] + step["conversion_cost_usd"]
        if differ(total, step["total_cost_usd"], STEP):
            self.fail(f"{name}: total cost {step['total_cost_usd']} is not {total}")
        self.costs += paid

    def _worth(self, token: str, amount: float, stated_usd: float, name: str) -> None:
        value = amount * self.price[token]
        if differ(value, stated_usd, STEP + 1e-9 * abs(value)):
            self.fail(f"{name}: {amount} {token} is {value} USD, not {stated_usd}")

    def _less(self, balance: float, amount: float, token: str, name: str) -> float:
        if not amount >= 0.0:
            self.fail(f"{name}: amount {amount} is negative")
        if not (amount - balance) * self.price[token] <= self.step:
            self.fail(f"{name}: spends {amount}, there is {balance}")
        return max(balance - amount, 0.0)

    # --- the books after ---

    def aum(self) -> float:
        """Value of the books as they are now."""
        wallet = [amount * self.price[token] for token, amount in self.wallet.items()]
        pools = [amount * self.price[token] for (_, token), amount in self.held.items()]
        return math.fsum([*wallet, *pools])

    def books(self) -> None:
        """Compare the books that the plan states with those that were reached."""
        plan = self.plan
        for row in plan["positions"]:
            self._worth(row["token"], row["amount"], row["amount_usd"], f"position {row}")
        for token, row in plan["wallet"].items():
            self._worth(token, row["amount"], row["amount_usd"], f"wallet {token}")
        stated = {(row["pool_id"], row["token"]): row["amount"] for row in plan["positions"]}
        for key in sorted({*stated, *self.held}):
            have, due = stated.get(key, 0.0), self.held.get(key, 0.0)
            if differ(have * self.price[key[1]], due * self.price[key[1]], self.step):
                self.fail(f"position {key}: plan {have}, replay {due}")
        for token in sorted({*plan["wallet"], *self.wallet}):
            have = plan["wallet"].get(token, {"amount": 0.0})["amount"]
            due = self.wallet.get(token, 0.0)
            if differ(have * self.price[token], due * self.price[token], self.step):
                self.fail(f"wallet {token}: plan {have}, replay {due}")
        costs = plan["costs"]
        for name, mine, theirs in (
            ("aum_before_usd", self.aum_before, plan["aum_before_usd"]),
            ("aum_after_usd", self.aum(), plan["aum_after_usd"]),
            ("gas_usd", self.costs - self.fees, costs["gas_usd"]),
            ("conversion_usd", self.fees, costs["conversion_usd"]),
            ("total_usd", self.costs, costs["total_usd"]),
            ("AUM before", self.aum_before, self.aum() + self.costs),
        ):
            if differ(mine, theirs, MONEY):
                self.fail(f"{name}: {mine} recomputed, {theirs} stated")
