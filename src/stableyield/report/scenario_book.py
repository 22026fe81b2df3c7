"""The book after a scenario's plan as rows that the figures draw: pools and tokens."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import CENT_USD
from stableyield.report.holdings import WALLET_LABEL, pool_labels

if TYPE_CHECKING:
    from stableyield.study import ScenarioOutcome


@dataclass(frozen=True, slots=True)
class Holding:
    """A pool, several pools together, a token or the wallet.

    Parameters
    ----------
    label : str
    usd : float
    share_pct : float
        Share of the AUM after the plan, percent.
    apy_pct : float
        Forecast APY of a pool; NaN where unknown, and for what is not one pool.
    wallet_usd : float
        What of ``usd`` is in the wallet.
    """

    label: str
    usd: float
    share_pct: float
    apy_pct: float = math.nan
    wallet_usd: float = 0.0


def held_pools(outcome: ScenarioOutcome) -> list[Holding]:
    """Pools that hold a cent or more after the plan, the largest first."""
    labels, apy_pct = _labels(outcome), _apy_pct(outcome)
    aum_usd = outcome.plan.settlement.aum_after_usd
    ordered = sorted(outcome.pools_usd.items(), key=lambda item: (-item[1], item[0]))
    return [
        Holding(labels[pool_id], usd, 100.0 * usd / aum_usd, apy_pct[pool_id])
        for pool_id, usd in ordered
        if usd >= CENT_USD
    ]


def unused_apy_pct(outcome: ScenarioOutcome) -> list[float]:
    """Known forecast APY, percent, of the open pools that hold nothing after the plan."""
    return [
        pool.apy_pct
        for pool in outcome.plan.problem.pools
        if pool.state is PoolState.OPEN
        and outcome.pools_usd.get(pool.pool_id, 0.0) < CENT_USD
        and math.isfinite(pool.apy_pct)
    ]


def with_rest(rows: list[Holding], most: int, noun: str) -> list[Holding]:
    """At most ``most`` rows: the smallest are added up in one, named by ``noun``."""
    if len(rows) <= most:
        return rows
    head, rest = rows[: most - 1], rows[most - 1 :]
    together = Holding(
        f"{len(rest)} smaller {noun}",
        usd=math.fsum(row.usd for row in rest),
        share_pct=math.fsum(row.share_pct for row in rest),
        wallet_usd=math.fsum(row.wallet_usd for row in rest),
    )
    return [*head, together]


def wallet(outcome: ScenarioOutcome) -> Holding:
    """What is left in the wallet."""
    money = outcome.plan.settlement
    usd = money.after.wallet_usd(money.prices_usd)
    return Holding(WALLET_LABEL, usd, 100.0 * usd / money.aum_after_usd, wallet_usd=usd)


def tokens(outcome: ScenarioOutcome) -> list[Holding]:
    """Tokens worth a cent or more, in pools and in the wallet, the largest first."""
    money = outcome.plan.settlement
    total: defaultdict[str, float] = defaultdict(float)
    liquid = {token: n * money.prices_usd[token] for token, n in money.after.wallet.items()}
    for (_, token), amount in money.after.positions.items():
        total[token] += amount * money.prices_usd[token]
    for token, usd in liquid.items():
        total[token] += usd
    return [
        Holding(token, usd, 100.0 * usd / money.aum_after_usd, wallet_usd=liquid.get(token, 0.0))
        for token, usd in sorted(total.items(), key=lambda item: (-item[1], item[0]))
        if usd >= CENT_USD
    ]


def _labels(outcome: ScenarioOutcome) -> dict[str, str]:
    pools = outcome.plan.problem.pools
    columns = ("pool_id", "symbol", "protocol", "chain")
    return pool_labels(pd.DataFrame({name: [getattr(p, name) for p in pools] for name in columns}))


def _apy_pct(outcome: ScenarioOutcome) -> dict[str, float]:
    return {pool.pool_id: pool.apy_pct for pool in outcome.plan.problem.pools}
