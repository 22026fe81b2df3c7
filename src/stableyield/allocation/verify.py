"""An independent check of a plan: plain Python over the two documents, no code of the optimiser.

The verifier reads the problem file and the plan file as anyone could, replays the transactions one
by one in its own bookkeeping, and recomputes every limit, cost and claim from the definitions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from stableyield.allocation.replay import MONEY, STEP, Document, Replay, differ


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


ByPool = Mapping[str, Mapping[str, float]]


def verify_documents(problem: Document, plan: Document) -> Verification:
    """Check the plan against the problem; both as their files have them."""
    check = _Check(problem, plan)
    check.replay()
    check.books()
    if plan["objective_usd"] is not None:
        check.pools()
        check.groups()
        check.counts()
        check.claims()
    elif plan["status"] == "optimal":
        check.fail("an optimal plan states no objective")
    elif any(step["type"] != "HOLD" for step in plan["transactions"]):
        check.fail("there is no plan, and money moves")
    return check.result()


class _Check(Replay):
    """The limits, costs and claims of a plan whose transactions were carried out."""

    # --- the books, pool by pool, once the transactions are carried out ---

    @cached_property
    def amount_before(self) -> ByPool:
        """Amounts by token in each pool that held something."""
        return _by_pool(self.before)

    @cached_property
    def usd_before(self) -> ByPool:
        """USD by token in each pool that held something."""
        return self._worth_of(self.amount_before)

    @cached_property
    def usd_after(self) -> ByPool:
        """USD by token in each pool that holds something."""
        return self._worth_of(_by_pool(self.held))

    def _worth_of(self, amounts: ByPool) -> ByPool:
        return {
            pool_id: {token: amount * self.price[token] for token, amount in legs.items()}
            for pool_id, legs in amounts.items()
        }

    @cached_property
    def gas_paid(self) -> Mapping[str, list[float]]:
        """Gas of each pool's withdrawals and deposits, USD."""
        paid: dict[str, list[float]] = {}
        for step in self.plan["transactions"]:
            if step["type"] in ("WITHDRAWAL", "ALLOCATION"):
                is_out = step["type"] == "WITHDRAWAL"
                pool_id = step["from_location" if is_out else "to_location"]
                paid.setdefault(pool_id, []).append(step["gas_cost_usd"])
        return paid

    # --- pools ---

    def _cap(self, pool_id: str) -> float:
        """Largest whole position: share of AUM, share of TVL, share of TVL with our own money."""
        row, p = self.pool[pool_id], self.limit
        tvl: float = row["forecast_tvl_usd"]  # of pools that are open or held for withdrawal
        own = _size(self.usd_before, pool_id) if self.problem["tvl_includes_position"] else 0.0
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
            state = self.state(pool_id)
            before, after = _size(self.usd_before, pool_id), _size(self.usd_after, pool_id)
            moved = pool_id in self.deposited or pool_id in self.withdrawn
            if not (before or after or moved):
                continue
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
                for token, amount in self.amount_before.get(pool_id, {}).items()
                if (token in tokens) is inside
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
            exits = self.state(pool_id) == "exit"
            inside = {token in tokens for token in out}
            n_out = min(n_out, 1) if exits else len(inside)
        due = n_in * own["allocation"] + n_out * own["withdrawal"]
        paid = math.fsum(self.gas_paid.get(pool_id, ()))
        if abs(due - paid) > STEP * max(1, n_in + n_out):
            self.fail(f"pool {pool_id}: gas of {due} USD is due, {paid} is paid")

    # --- limits over pools ---

    def groups(self) -> None:
        tolerance = 1.0 + self.limit["cap_tolerance"]
        for group in (1, 2, 3):
            ids = [i for i, row in self.pool.items() if row.get("risk_group") == group]
            stay = [i for i in ids if self.state(i) != "exit"]
            before = math.fsum(_size(self.usd_before, i) for i in stay)
            after = math.fsum(_size(self.usd_after, i) for i in stay)
            frozen = math.fsum(_size(self.usd_after, i) for i in stay if self.state(i) == "frozen")
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
            before, after = _size(self.usd_before, pool_id), _size(self.usd_after, pool_id)
            needed = min(real, before) if before >= drifted else real
            n_pools += after >= needed - MONEY
        wanted = min(1, p["min_pools"]) if p["profit_optimization"] else p["min_pools"]
        if n_pools < wanted:
            self.fail(f"{n_pools} pools of real size, {wanted} are demanded")
        invested = math.fsum(_size(self.usd_after, i) for i in {key[0] for key in self.held})
        if invested < p["min_invested_pct"] * self.aum_before - MONEY:
            self.fail(f"{invested:.2f} USD are invested, fewer than min_invested_pct demands")

    # --- what the plan claims ---

    def _net(self) -> float:
        horizon, g = self.limit["horizon_days"], self.limit["risk_aversion"]
        parts = [-self.costs]
        for pool_id, row in self.pool.items():
            tokens = row.get("tokens", [])
            if self.state(pool_id) == "frozen" or row.get("forecast_apy_pct") is None:
                continue
            claim = math.fsum(
                usd for token, usd in self.usd_after.get(pool_id, {}).items() if token in tokens
            )
            mean = row["forecast_apy_pct"] / 100.0
            q10 = row.get("forecast_apy_q10_pct")
            apy = mean if q10 is None else (1.0 - g) * mean + g * q10 / 100.0
            rate = (1.0 + apy) ** (horizon / 365.0) - 1.0
            if row.get("rate_model") == "pro_rata" and rate > 0.0 and claim > 0.0:
                own = (
                    _size(self.usd_before, pool_id) if self.problem["tvl_includes_position"] else 0
                )
                others = max(row["forecast_tvl_usd"] - own, 0.0)
                rate *= others / (others + claim)
            if row.get("rate_model") == "kinked" and rate > 0.0 and claim > 0.0:
                rate *= self._share_kept(pool_id, claim)
            parts.append(rate * claim)
        return math.fsum(parts)

    def _share_kept(self, pool_id: str, claim: float) -> float:
        """Supply rate of a lending market with our claim in it, over the rate of the forecast."""
        row = self.pool[pool_id]
        curve: Mapping[str, float] = row["rate_curve"]
        others = curve["deposits_usd"]
        if self.problem["tvl_includes_position"]:
            before = self.usd_before.get(pool_id, {})
            others -= math.fsum(usd for token, usd in before.items() if token in row["tokens"])

        def supply(deposits: float) -> float:
            use = min(curve["debt_usd"] / deposits, 1.0)
            optimal = curve["optimal_utilisation"]
            borrow = curve["base_apr"] + curve["slope1"] * min(use / optimal, 1.0)
            if use > optimal:
                borrow += curve["slope2"] * (use - optimal) / (1.0 - optimal)
            return borrow * use  # the reserve factor cancels

        return supply(max(others, 0.0) + claim) / supply(curve["deposits_usd"])

    def claims(self) -> None:
        plan, net, expected = self.plan, self._net(), self.plan["expected"]
        for name, mine in (
            ("net_usd", net),
            ("yield_usd", net + self.costs),
            ("horizon_days", self.limit["horizon_days"]),
        ):
            if differ(mine, expected[name], MONEY):
                self.fail(f"expected {name}: {mine} recomputed, {expected[name]} stated")
        objective, bound = plan["objective_usd"], plan["bound_usd"]
        if bound is None or not bound >= objective - STEP:
            self.fail(f"the bound {bound} is below the objective {objective}")
        elif differ(bound - objective, plan["gap_usd"], STEP):
            self.fail(f"gap_usd {plan['gap_usd']} is not bound - objective")
        # the objective counts what idle cash earns, and chords of a diluted yield: never too much
        cash_growth = (1.0 + self.limit["cash_apy"]) ** (self.limit["horizon_days"] / 365.0) - 1.0
        idle = math.fsum(amount * self.price[token] for token, amount in self.wallet.items())
        gain = net + cash_growth * idle
        diluted = any(row.get("rate_model", "constant") != "constant" for row in self.pool.values())
        if not objective <= gain + MONEY:
            self.fail(f"the objective {objective} promises more than the plan earns, {gain}")
        if not diluted and differ(objective, gain, MONEY):
            self.fail(f"the objective {objective} is not the net gain {gain}")

    def result(self) -> Verification:
        after = self.aum()
        return Verification(
            violations=tuple(self.found),
            unaccounted_usd=self.aum_before - after - self.costs,
            aum_before_usd=self.aum_before,
            aum_after_usd=after,
            costs_usd=self.costs,
            net_usd=self._net(),
        )


def _by_pool(book: Mapping[tuple[str, str], float]) -> ByPool:
    """What lies in each pool, by token, in the order of their names."""
    legs: dict[str, dict[str, float]] = {}
    for (pool_id, token), amount in sorted(book.items()):
        if amount > 0.0:
            legs.setdefault(pool_id, {})[token] = amount
    return legs


def _size(book: ByPool, pool_id: str) -> float:
    return math.fsum(book.get(pool_id, {}).values())
