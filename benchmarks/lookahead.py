"""Does it pay to plan several periods at once? One program over 1, 2 or 3 periods, day by day.

    python benchmarks/lookahead.py --data DATA --market panel

The forecast is an array of periods x pools: growth over days 1-7 and 8-30, say, from the same
forecaster at both horizons. The program may enter, leave and re-enter in each period and pays gas
each time; only what it decides for the first period is done, and the next day it plans again.
Everything else is the plainest case that keeps the question: USDC pools only (no conversions), a
share of AUM and of TVL as the only limits, gas of the day, dilution in the books but not in the
program. The single-period planner is the same program with one period, so the difference is the
planning alone. `foresight` replaces the forecasts by what came: more than any forecast can give.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from stableyield.backtest.day import GasPricing
from stableyield.domain.lending import pro_rata_factor
from stableyield.domain.rates import annualised, day_return, growth
from stableyield.forecast import Forecaster
from stableyield.forecast.registry import forecaster as forecaster_of
from stableyield.market.assemble import assemble
from stableyield.market.layouts import import_market
from stableyield.market.panel import MarketPanel, MarketView

MARKETS = {
    "panel": (("lending_panel",), date(2024, 8, 1), date(2024, 12, 1)),
    "vaults": (("vault_daily", "vault_meta"), date(2023, 10, 1), date(2024, 4, 1)),
}
PLANS = {
    "1 x 7": (7,),
    "1 x 30": (30,),
    "7 + 23": (7, 30),
    "1 + 6 + 23": (1, 7, 30),
    "10 + 10 + 10": (10, 20, 30),
}
FORECASTERS = ("ewma", "reversion", "foresight")
AUM_USD = (1e5, 1e6)
SHARE_OF_AUM, SHARE_OF_TVL = 0.25, 0.05
MIN_TVL_USD, MIN_MOVE_USD, GAP_USD = 1e5, 50.0, 0.05


@dataclass(frozen=True, eq=False)
class Day:
    """What the planner sees: arrays over the chosen pools; growth is (n_periods, n_pools)."""

    growth: np.ndarray
    cap_usd: np.ndarray
    gas_in_usd: np.ndarray
    gas_out_usd: np.ndarray
    is_open: np.ndarray


def planned(day: Day, held_usd: np.ndarray, cash_usd: float) -> np.ndarray:
    """Positions after the first period's moves.

    Columns by period: x, deposit, withdrawal, is deposit, is withdrawal (a pool each), then cash.
    """
    n_periods, n = day.growth.shape
    most = np.maximum(day.cap_usd, held_usd)  # what is above its cap may stay
    room = np.where(day.is_open, day.cap_usd, 0.0)
    gas = [*day.gas_in_usd, *day.gas_out_usd]
    cost = np.concatenate([[*-row, *np.zeros(2 * n), *gas, 0.0] for row in day.growth])
    upper = np.tile([*most, *room, *most, *np.ones(2 * n), np.inf], n_periods)
    integer = np.tile([*np.zeros(3 * n), *np.ones(2 * n), 0.0], n_periods)
    scale = max(float(np.abs(day.growth).max() * (held_usd.sum() + cash_usd)), 1.0)
    result = milp(
        cost,
        integrality=integer,
        bounds=Bounds(0.0, upper),
        constraints=_rows(day, held_usd, cash_usd),
        options={"mip_rel_gap": GAP_USD / scale, "time_limit": 20.0},
    )
    return held_usd if result.x is None else np.maximum(result.x[:n], 0.0)


def _rows(day: Day, held_usd: np.ndarray, cash_usd: float) -> LinearConstraint:
    """Each period starts from the positions and the cash of the one before."""
    n_periods, n = day.growth.shape
    most = np.maximum(day.cap_usd, held_usd)
    room = np.where(day.is_open, day.cap_usd, 0.0)
    gas = [*day.gas_in_usd, *day.gas_out_usd]
    eye, none = sparse.eye(n), sparse.csr_matrix((n, n))
    no_cash = sparse.csr_matrix((n, 1))
    here = sparse.vstack(
        [
            sparse.hstack([eye, -eye, eye, none, none, no_cash]),  # x = before + in - out
            sparse.csr_matrix([[*np.zeros(n), *np.ones(n), *-np.ones(n), *gas, 1.0]]),
            sparse.hstack([none, eye, none, -sparse.diags(room), none, no_cash]),
            sparse.hstack([none, eye, none, -MIN_MOVE_USD * eye, none, no_cash]),
            sparse.hstack([none, none, eye, none, -sparse.diags(most), no_cash]),
        ]
    )
    before = sparse.vstack(
        [
            -sparse.hstack([eye, none, none, none, none, no_cash]),
            sparse.csr_matrix([[*np.zeros(5 * n), -1.0]]),
            sparse.csr_matrix((3 * n, 5 * n + 1)),
        ]
    )
    blocks = [
        [here if q == p else before if q == p - 1 else None for q in range(n_periods)]
        for p in range(n_periods)
    ]
    free, zero = np.full(n, np.inf), np.zeros(n)
    starts = [(held_usd, cash_usd)] + [(zero, 0.0)] * (n_periods - 1)
    low = np.concatenate([[*held, cash, *-free, *zero, *-free] for held, cash in starts])
    high = np.concatenate([[*held, cash, *zero, *free, *zero] for held, cash in starts])
    return LinearConstraint(sparse.bmat(blocks, format="csc"), low, high)


@dataclass(frozen=True, eq=False)
class Market:
    """One observed market and the pools that are looked at."""

    panel: MarketPanel
    pool_ids: tuple[str, ...]
    log_wealth: np.ndarray
    forecasters: dict[str, Forecaster] = field(default_factory=dict)
    forecasts: dict[tuple[str, date, int], np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, data: Path, start: date, n_pools: int) -> Market:
        files = MARKETS[name][0]
        panel = assemble(import_market(name, [data / f"{each}.parquet" for each in files]))
        view, truth = panel.as_of(start), panel.as_of(panel.last_day)
        tvl = np.nan_to_num(view.pool_series.tvl_usd[-1])
        usable = [i for i, p in enumerate(view.pools) if p.tokens == ("USDC",)]
        chosen = sorted(usable, key=lambda i: -tvl[i])[:n_pools]  # the largest on the first day
        series = truth.pool_series
        by_rate = day_return(series.apy_pct / 100.0)
        returns = np.where(np.isfinite(series.return_1d), series.return_1d, by_rate)
        steps = np.log1p(np.clip(np.nan_to_num(returns), -0.999999, None))
        ids = tuple(view.pool_ids[i] for i in chosen)
        return cls(panel, ids, np.cumsum(steps, axis=0)[:, list(chosen)])

    def day(self, view: MarketView, forecaster: str, ends: tuple[int, ...], aum: float) -> Day:
        columns = [view.pool_index[pool_id] for pool_id in self.pool_ids]
        total = self._total_growth(view, forecaster, ends, columns)
        tvl = np.nan_to_num(view.pool_series.tvl_usd[-1, columns])
        known = np.isfinite(total).all(axis=0) & (tvl >= MIN_TVL_USD)
        factors = 1.0 + np.nan_to_num(total)
        gas = [GasPricing().costs(view, view.pools[i].protocol) for i in columns]
        return Day(
            growth=factors[1:] / factors[:-1] - 1.0,
            cap_usd=np.minimum(SHARE_OF_AUM * aum, SHARE_OF_TVL * tvl),
            gas_in_usd=np.array([each.allocation for each in gas]),
            gas_out_usd=np.array([each.withdrawal for each in gas]),
            is_open=known,
        )

    def _total_growth(
        self, view: MarketView, forecaster: str, ends: tuple[int, ...], columns: list[int]
    ) -> np.ndarray:
        """Growth from now to the end of each period, 0 first; shape (n_periods + 1, n_pools)."""
        rows = [np.zeros(len(columns))]
        t = len(view.days) - 1
        for end in ends:
            if forecaster == "foresight":
                last = min(t + end, len(self.log_wealth) - 1)
                rows.append(np.expm1(self.log_wealth[last] - self.log_wealth[t]))
            else:
                apy_pct = self._forecast(view, forecaster, end)[columns]
                rows.append(growth(apy_pct / 100.0, float(end)))
        return np.array(rows)

    def _forecast(self, view: MarketView, name: str, horizon_days: int) -> np.ndarray:
        """The forecast APY, made once for all planners and amounts."""
        key = (name, view.day, horizon_days)
        if key not in self.forecasts:
            maker = self.forecasters.setdefault(name, forecaster_of(name))
            self.forecasts[key] = maker.forecast(view, horizon_days).apy_pct
        return self.forecasts[key]


@dataclass(frozen=True)
class Result:
    """What one planner came to."""

    net_apy_pct: float
    costs_usd: float
    n_moves: int
    seconds_per_day: float


def backtest(
    market: Market, start: date, n_days: int, plan: tuple[str, tuple[int, ...]], aum: float
) -> Result:
    """Plan, pay, earn, day by day."""
    forecaster, ends = plan
    held, cash = np.zeros(len(market.pool_ids)), aum
    costs, n_moves, spent = 0.0, 0, 0.0
    for n in range(n_days):
        view = market.panel.as_of(start + timedelta(days=n))
        day = market.day(view, forecaster, ends, held.sum() + cash)
        began = time.process_time()
        after = planned(day, held, cash)
        spent += time.process_time() - began
        inward, outward = after > held + 0.01, after < held - 0.01
        gas = float(day.gas_in_usd @ inward + day.gas_out_usd @ outward)
        cash += float(held.sum() - after.sum()) - gas
        costs, n_moves = costs + gas, n_moves + int(inward.sum() + outward.sum())
        held = after * (1.0 + _earned(market, view.day + timedelta(days=1), after))
    final = float(held.sum() + cash)
    return Result(100.0 * annualised(final / aum, n_days), costs, n_moves, spent / n_days)


def _earned(market: Market, on: date, held: np.ndarray) -> np.ndarray:
    view = market.panel.as_of(on)
    columns = [view.pool_index[pool_id] for pool_id in market.pool_ids]
    earned = np.nan_to_num(view.realised_return[columns])
    kept = np.nan_to_num(pro_rata_factor(view.pool_series.tvl_usd[-1, columns], held), nan=1.0)
    return np.where(earned > 0.0, earned * kept, earned)


def table(market: Market, start: date, n_days: int, options: argparse.Namespace) -> Iterator[str]:
    header = "| AUM | forecasts | " + " | ".join(PLANS) + " |"
    yield header
    yield "|---|---|" + "---|" * len(PLANS)
    for aum in options.aum or AUM_USD:
        for name in options.forecaster or FORECASTERS:
            found = [backtest(market, start, n_days, (name, e), aum) for e in PLANS.values()]
            cells = [
                f"{r.net_apy_pct:.2f} % ({r.n_moves}, {r.costs_usd:.0f} USD, "
                f"{1000 * r.seconds_per_day:.0f} ms)"
                for r in found
            ]
            yield f"| {aum:,.0f} | {name} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the parquet files")
    parser.add_argument("--market", choices=list(MARKETS), default="panel")
    parser.add_argument("--pools", type=int, default=25)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--aum", action="append", type=float)
    parser.add_argument("--forecaster", action="append", help="any of ours, or foresight")
    options = parser.parse_args()
    for start in MARKETS[options.market][1:]:
        market = Market.of(options.market, options.data, start, options.pools)
        print(f"\n{options.market} from {start}, {options.days} days, {len(market.pool_ids)} pools")
        print("net APY (moves, gas, CPU time of a plan)\n")
        for line in table(market, start, options.days, options):
            print(line, flush=True)


if __name__ == "__main__":
    main()
