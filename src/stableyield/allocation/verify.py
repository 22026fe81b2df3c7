"""An independent check of a plan: plain Python over the two documents, no code of the optimiser.

The verifier reads the problem file and the plan file as anyone could, replays the transactions one
by one in its own bookkeeping, and recomputes every limit, cost and claim from the definitions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MONEY = 0.01  # USD: a plan is right to the cent
STEP = 1e-6  # USD: one amount against its price, relative errors of floats included
WALLET = "warm_wallet"

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Verification:
    """What the verifier found.

    Parameters
    ----------
    violations : tuple of str
        Empty when the plan is right.
    unaccounted_usd : float
        AUM before - AUM after - costs, recomputed.
    aum_before_usd, aum_after_usd, costs_usd, net_usd : float
        Recomputed.
    """

    violations: tuple[str, ...]
    unaccounted_usd: float
    aum_before_usd: float
    aum_after_usd: float
    costs_usd: float
    net_usd: float

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.violations


def verify_documents(problem: Document, plan: Document) -> Verification:
    """Check the plan against the problem; both as their files have them."""
    check = _Check(problem, plan)
    check.replay()
    check.books()
    if plan["status"] != "infeasible":
        check.pools()
        check.groups()
        check.counts()
        check.claims()
    elif any(step["type"] != "HOLD" for step in plan["transactions"]):
        check.fail("an infeasible problem moves money")
    return check.result()


@dataclass
class _Check:
    problem: Document
    plan: Document
    found: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.price: Mapping[str, float] = self.problem["token_prices_usd"]
        self.limit = self.problem["parameters"]
        self.wallet: dict[str, float] = dict(self.problem["wallet"])
        self.held: dict[tuple[str, str], float] = {
            (row["pool_id"], row["token"]): row["amount"] for row in self.problem["positions"]
        }
        self.before = dict(self.held)
        self.pool: dict[str, Document] = {row["pool_id"]: row for row in self.problem["pools"]}
        self.aum_before = self._aum()
        self.costs = 0.0
        self.deposited: dict[str, dict[str, float]] = {}
        self.withdrawn: dict[str, dict[str, float]] = {}
        self.sold: set[tuple[str, str]] = set()

    def fail(self, message: str) -> None:
        self.found.append(message)

    # --- the transactions, one by one ---

    def replay(self) -> None:
        for place, step in enumerate(self.plan["transactions"], start=1):
            name = f"transaction {place} ({step['type']})"
            if step["seq"] != place:
                self.fail(f"{name}: seq is {step['seq']}")
            if step["amount"] < 0.0:
                self.fail(f"{name}: amount {step['amount']} is negative")
            kind = {
                "HOLD": self._hold,
                "WITHDRAWAL": self._withdrawal,
                "CONVERSION": self._conversion,
                "ALLOCATION": self._allocation,
            }[step["type"]]
            kind(step, name)
            self._gas(step, name)

    def _hold(self, step: Document, name: str) -> None:
        key = (step["from_location"], step["token"])
        if abs(self.before.get(key, 0.0) - step["amount"]) > 1e-9 or step["total_cost_usd"]:
            self.fail(f"{name}: {key} is not what is held, or holding costs")
        self._worth(step["token"], step["amount"], step["amount_usd"], name)

    def _withdrawal(self, step: Document, name: str) -> None:
        pool, token, amount = step["from_location"], step["token"], step["amount"]
        self._worth(token, amount, step["amount_usd"], name)
        self.held[pool, token] = self._less(self.held.get((pool, token), 0.0), amount, name)
        self.wallet[token] = self.wallet.get(token, 0.0) + amount
        legs = self.withdrawn.setdefault(pool, {})
        legs[token] = legs.get(token, 0.0) + amount
        full = self.held[pool, token] <= 1e-9
        if not full and step["amount_usd"] < self.limit["min_transaction_value"] - MONEY:
            self.fail(f"{name}: {step['amount_usd']:.2f} USD is below min_transaction_value")
        state = self._state(pool)
        if state == "frozen":
            self.fail(f"{name}: pool {pool} is frozen")

    def _allocation(self, step: Document, name: str) -> None:
        pool, token, amount = step["to_location"], step["token"], step["amount"]
        self._worth(token, amount, step["amount_usd"], name)
        self.wallet[token] = self._less(self.wallet.get(token, 0.0), amount, name)
        self.held[pool, token] = self.held.get((pool, token), 0.0) + amount
        legs = self.deposited.setdefault(pool, {})
        legs[token] = legs.get(token, 0.0) + step["amount_usd"]
        if self._state(pool) != "open":
            self.fail(f"{name}: pool {pool} is {self._state(pool)}, not open")
        elif token not in self.pool[pool]["tokens"]:
            self.fail(f"{name}: pool {pool} does not take {token}")
        if step["amount_usd"] < self.limit["min_transaction_value"] - MONEY:
            self.fail(f"{name}: {step['amount_usd']:.2f} USD is below min_transaction_value")

    def _conversion(self, step: Document, name: str) -> None:
        source, target, amount = step["from_token"], step["to_token"], step["amount"]
        self._worth(source, amount, step["amount_usd"], name)
        fee = self.limit["conversion_rate"] * amount * self.price[source]
        if abs(fee - step["conversion_cost_usd"]) > STEP:
            self.fail(f"{name}: the fee is {step['conversion_cost_usd']}, due is {fee}")
        received_usd = amount * self.price[source] - fee
        if source == target:
            self.fail(f"{name}: {source} into itself")
        self._worth(target, step["to_amount"], received_usd, name)
        self.wallet[source] = self._less(self.wallet.get(source, 0.0), amount, name)
        self.wallet[target] = self.wallet.get(target, 0.0) + step["to_amount"]
        self.costs += step["conversion_cost_usd"]
        gas_usd = step["gas_cost_usd"]  # gas may be taken out of what was to be sold
        if step["amount_usd"] < self.limit["min_transaction_value"] - MONEY - 100.0 * gas_usd:
            self.fail(f"{name}: {step['amount_usd']:.2f} USD is below min_transaction_value")
        if (target, source) in self.sold:
            self.fail(f"{name}: {source} and {target} are converted both ways")
        self.sold.add((source, target))

    def _gas(self, step: Document, name: str) -> None:
        paid = 0.0
        for payment in step.get("gas_paid", ()):
            token, amount = payment["token"], payment["amount"]
            self._worth(token, amount, payment["amount_usd"], name)
            self.wallet[token] = self._less(self.wallet.get(token, 0.0), amount, name)
            paid += payment["amount_usd"]
        if abs(paid - step["gas_cost_usd"]) > STEP:
            self.fail(f"{name}: gas costs {step['gas_cost_usd']}, paid is {paid}")
        total = step["gas_cost_usd"] + step["conversion_cost_usd"]
        if abs(total - step["total_cost_usd"]) > STEP:
            self.fail(f"{name}: total cost {step['total_cost_usd']} is not {total}")
        self.costs += paid

    def _worth(self, token: str, amount: float, stated_usd: float, name: str) -> None:
        value = amount * self.price[token]
        if abs(value - stated_usd) > STEP + 1e-9 * abs(value):
            self.fail(f"{name}: {amount} {token} is {value} USD, not {stated_usd}")

    def _less(self, balance: float, amount: float, name: str) -> float:
        if amount > balance + 1e-6:
            self.fail(f"{name}: spends {amount}, there is {balance}")
        return max(balance - amount, 0.0)

    # --- the books after ---

    def _aum(self) -> float:
        wallet = [amount * self.price[token] for token, amount in self.wallet.items()]
        pools = [amount * self.price[token] for (_, token), amount in self.held.items()]
        return math.fsum([*wallet, *pools])

    def books(self) -> None:
        plan = self.plan
        stated = {(row["pool_id"], row["token"]): row["amount"] for row in plan["positions"]}
        for key in sorted({*stated, *self.held}):
            if abs(stated.get(key, 0.0) - self.held.get(key, 0.0)) > 1e-6:
                self.fail(f"position {key}: plan {stated.get(key)}, replay {self.held.get(key)}")
        for token in sorted({*plan["wallet"], *self.wallet}):
            have = plan["wallet"].get(token, {"amount": 0.0})["amount"]
            if abs(have - self.wallet.get(token, 0.0)) > 1e-6:
                self.fail(f"wallet {token}: plan {have}, replay {self.wallet.get(token)}")
        for name, mine, theirs in (
            ("aum_before_usd", self.aum_before, plan["aum_before_usd"]),
            ("aum_after_usd", self._aum(), plan["aum_after_usd"]),
            ("costs", self.costs, plan["costs"]["total_usd"]),
            (
                "gas + conversion",
                self.costs,
                plan["costs"]["gas_usd"] + plan["costs"]["conversion_usd"],
            ),
            ("AUM before", self.aum_before, self._aum() + self.costs),
        ):
            if abs(mine - theirs) > MONEY:
                self.fail(f"{name}: {mine} recomputed, {theirs} stated")

    # --- pools ---

    def _state(self, pool_id: str) -> str:
        row = self.pool.get(pool_id)
        return "exit" if row is None else str(row.get("state", "open"))

    def _legs(self, pool_id: str, book: Mapping[tuple[str, str], float]) -> dict[str, float]:
        """USD by token in a pool."""
        return {
            token: amount * self.price[token]
            for (held_in, token), amount in sorted(book.items())
            if held_in == pool_id and amount > 0.0
        }

    def _size(self, pool_id: str, book: Mapping[tuple[str, str], float]) -> float:
        return math.fsum(self._legs(pool_id, book).values())

    def _cap(self, pool_id: str) -> float:
        """Largest whole position: share of AUM, share of TVL, share of TVL with our own money."""
        row, p = self.pool[pool_id], self.limit
        tvl: float | None = row.get("forecast_tvl_usd")
        if tvl is None:
            return 0.0
        own = self._size(pool_id, self.before) if self.problem["tvl_includes_position"] else 0.0
        share: float = p["position_max_pct_pool_tvl"]
        caps: list[float] = [
            p["tvl_limit_percentage"] * tvl,
            share / (1.0 - share) * max(tvl - own, 0.0),
        ]
        if not p["profit_optimization"]:
            most = min(p["max_alloc_percentage"], p["position_max_pct_total_assets"])
            caps.append(most * self.aum_before)
        return min(caps)

    def pools(self) -> None:
        for pool_id in sorted({*self.pool, *(key[0] for key in self.held)}):
            state = self._state(pool_id)
            before, after = self._size(pool_id, self.before), self._size(pool_id, self.held)
            moved = pool_id in self.deposited or pool_id in self.withdrawn
            if state == "exit" and after > STEP:
                self.fail(f"pool {pool_id} must be left, {after:.2f} USD stay")
            if state == "frozen" and moved:
                self.fail(f"pool {pool_id} is frozen and moves")
            if state in ("open", "withdraw_only"):
                self._check_cap(pool_id, before, after)
                self._check_legs(pool_id)
                least = min(self.limit["min_position_usd"], before or math.inf)
                if 0.0 < after < least - MONEY:
                    self.fail(f"pool {pool_id}: {after:.2f} USD is below min_position_usd")
            self._check_gas(pool_id)

    def _check_cap(self, pool_id: str, before: float, after: float) -> None:
        cap = self._cap(pool_id)
        banded = cap < before <= cap * (1.0 + self.limit["cap_tolerance"])
        most = before if banded and pool_id not in self.deposited else cap
        if after > most + MONEY:
            self.fail(f"pool {pool_id}: {after:.2f} USD is above its cap of {most:.2f}")

    def _check_legs(self, pool_id: str) -> None:
        """Deposits in the pool's shares, withdrawals pro rata of what is there, never both."""
        row = self.pool[pool_id]
        tokens = row["tokens"]
        shares = row.get("token_shares") or [1.0 / len(tokens)] * len(tokens)
        into = self.deposited.get(pool_id, {})
        total = math.fsum(into.values())
        for token, share in zip(tokens, shares, strict=True):
            if into and abs(into.get(token, 0.0) - share * total) > MONEY:
                self.fail(f"pool {pool_id}: the deposit is not in the pool's shares")
        out = self.withdrawn.get(pool_id, {})
        for inside in (True, False):
            legs = {
                token: amount
                for (held_in, token), amount in self.before.items()
                if held_in == pool_id and (token in tokens) is inside and amount > 0.0
            }
            held = math.fsum(amount * self.price[token] for token, amount in legs.items())
            taken = math.fsum(out.get(token, 0.0) * self.price[token] for token in legs)
            for token, amount in legs.items():
                due = amount * taken / held
                if abs(out.get(token, 0.0) - due) * self.price[token] > MONEY:
                    self.fail(f"pool {pool_id}: the withdrawal of {token} is not pro rata")
            if inside and into and taken > 0.0:
                self.fail(f"pool {pool_id} gets a deposit and a withdrawal")

    def _check_gas(self, pool_id: str) -> None:
        """The gas of a pool's steps: one for each leg, or one for each operation."""
        general = self.problem["gas_usd"]
        own = {**general, **(self.pool.get(pool_id, {}).get("gas_usd") or {})}
        tokens = self.pool.get(pool_id, {}).get("tokens", [])
        n_in, out = len(self.deposited.get(pool_id, {})), self.withdrawn.get(pool_id, {})
        n_out = len(out)
        if not self.limit["gas_per_leg"]:
            n_in = min(n_in, 1)
            exits = self._state(pool_id) == "exit"
            inside = {token in tokens for token in out}
            n_out = min(n_out, 1) if exits else len(inside)
        due = n_in * own["allocation"] + n_out * own["withdrawal"]
        paid = math.fsum(
            step["gas_cost_usd"]
            for step in self.plan["transactions"]
            if (step["type"] == "WITHDRAWAL" and step["from_location"] == pool_id)
            or (step["type"] == "ALLOCATION" and step["to_location"] == pool_id)
        )
        if abs(due - paid) > STEP * max(1, n_in + n_out):
            self.fail(f"pool {pool_id}: gas of {due} USD is due, {paid} is paid")

    # --- limits over pools ---

    def groups(self) -> None:
        tolerance = 1.0 + self.limit["cap_tolerance"]
        for group in (1, 2, 3):
            ids = [i for i, row in self.pool.items() if row.get("risk_group") == group]
            stay = [i for i in ids if self._state(i) != "exit"]
            before = math.fsum(self._size(i, self.before) for i in stay)
            after = math.fsum(self._size(i, self.held) for i in stay)
            frozen = math.fsum(self._size(i, self.held) for i in stay if self._state(i) == "frozen")
            cap = self.limit[f"group{group}_max_pct"] * self.aum_before
            most = before if cap < before <= cap * tolerance else cap
            if after > max(most, frozen) + MONEY:
                self.fail(f"group {group}: {after:.2f} USD is above its cap of {most:.2f}")

    def counts(self) -> None:
        p = self.limit
        real = max(p["min_pool_share"] * self.aum_before, p["min_position_usd"])
        drifted = real * (1.0 - p["cap_tolerance"])
        n_pools = 0
        for pool_id in {key[0] for key in self.held}:
            before, after = self._size(pool_id, self.before), self._size(pool_id, self.held)
            needed = min(real, before) if before >= drifted else real
            n_pools += after >= needed - MONEY
        wanted = min(1, p["min_pools"]) if p["profit_optimization"] else p["min_pools"]
        if n_pools < wanted:
            self.fail(f"{n_pools} pools of real size, {wanted} are demanded")
        invested = math.fsum(self._size(i, self.held) for i in {key[0] for key in self.held})
        if invested < p["min_invested_pct"] * self.aum_before - MONEY:
            self.fail(f"{invested:.2f} USD are invested, fewer than min_invested_pct demands")

    # --- what the plan claims ---

    def _net(self) -> float:
        horizon, g = self.limit["horizon_days"], self.limit["risk_aversion"]
        parts = [-self.costs]
        for pool_id, row in self.pool.items():
            tokens = row.get("tokens", [])
            if self._state(pool_id) == "frozen" or row.get("forecast_apy_pct") is None:
                continue
            claim = math.fsum(
                usd for token, usd in self._legs(pool_id, self.held).items() if token in tokens
            )
            mean = row["forecast_apy_pct"] / 100.0
            q10 = row.get("forecast_apy_q10_pct")
            apy = mean if q10 is None else (1.0 - g) * mean + g * q10 / 100.0
            rate = (1.0 + apy) ** (horizon / 365.0) - 1.0
            if row.get("rate_model") == "pro_rata" and rate > 0.0 and claim > 0.0:
                own = (
                    self._size(pool_id, self.before) if self.problem["tvl_includes_position"] else 0
                )
                others = max(row["forecast_tvl_usd"] - own, 0.0)
                rate *= others / (others + claim)
            parts.append(rate * claim)
        return math.fsum(parts)

    def claims(self) -> None:
        plan, net = self.plan, self._net()
        if abs(net - plan["expected"]["net_usd"]) > MONEY:
            self.fail(f"expected net gain: {net} recomputed, {plan['expected']['net_usd']} stated")
        objective, bound = plan["objective_usd"], plan["bound_usd"]
        if objective is None:
            return
        if bound is None or bound < objective - STEP:
            self.fail(f"the bound {bound} is below the objective {objective}")
        elif abs(bound - objective - plan["gap_usd"]) > STEP:
            self.fail(f"gap_usd {plan['gap_usd']} is not bound - objective")
        cash = self.limit["cash_apy"] > 0.0
        diluted = any(row.get("rate_model") == "pro_rata" for row in self.pool.values())
        if objective > net + MONEY and not cash:
            self.fail(f"the objective {objective} promises more than the positions earn, {net}")
        if not diluted and not cash and abs(objective - net) > MONEY:
            self.fail(f"the objective {objective} is not the net gain {net}")

    def result(self) -> Verification:
        after = self._aum()
        return Verification(
            violations=tuple(self.found),
            unaccounted_usd=self.aum_before - after - self.costs,
            aum_before_usd=self.aum_before,
            aum_after_usd=after,
            costs_usd=self.costs,
            net_usd=self._net(),
        )
