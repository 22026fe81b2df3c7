"""Data quality of one day: what is stale, missing, doubled, outlying or impossible.

Each check looks at the last rows of a view and yields findings. A critical finding means that the
feed as a whole cannot be trusted: the daily run stops before it trades.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from stableyield.screening.findings import Finding, QualityReport, Severity
from stableyield.screening.token_rules import PoolTokens, unpriced_tokens

if TYPE_CHECKING:
    from stableyield.market.panel import MarketView

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

WINDOW_DAYS = 30
MEDIAN_LEAST_DAYS = 7
OUTLIER_FACTOR = 5.0
UNIVERSE_LEAST_SHARE = 0.5
GAP_SHARE_WARNING = 0.05
IMPOSSIBLE_APY_BELOW_PCT = -100.0
IMPOSSIBLE_APY_ABOVE_PCT = 1e6
_N_EXAMPLES = 5


def assess(
    view: MarketView,
    *,
    previous: MarketView | None = None,
    held: Collection[str] = (),
    forecast_apy_pct: Floats | None = None,
    duplicates: int = 0,
) -> QualityReport:
    """Look at the data of ``view.day``, on what was known at its end.

    Parameters
    ----------
    view : MarketView
    previous : MarketView, optional
        Yesterday's view, as it was then; without it the view's own row of yesterday is compared.
    held : collection of str
        Ids of the pools with a position.
    forecast_apy_pct : ndarray of shape (n_pools,), optional
        Percent, aligned with ``view.pools``; without it forecasts are not checked.
    duplicates : int
        Rows that were collapsed when the data was read.
    """
    day = _Day(view, previous, frozenset(held), forecast_apy_pct, duplicates)
    found = [finding for check in _CHECKS for finding in check(day)]
    found.sort(key=lambda finding: _WORST_FIRST.index(finding.severity))
    return QualityReport(view.day, tuple(found), _ages_days(view))


def critical_findings(view: MarketView) -> tuple[Finding, ...]:
    """The critical findings of `assess`, and only those: what stops a day that has no live feed."""
    day = _Day(view, None, frozenset(), None, 0)
    if _is_live(day):
        return ()
    found = (finding for check in _MAY_STOP for finding in check(day))
    return tuple(finding for finding in found if finding.severity is Severity.CRITICAL)


def impossible_values(view: MarketView) -> Bools:
    """Pools whose APY or TVL of today cannot be true; shape (n_pools,).

    An APY below -100 % or above 1e6 %, infinite values, or a negative TVL.
    """
    apy_pct, tvl_usd = view.pool_series.apy_pct[-1], view.pool_series.tvl_usd[-1]
    return np.asarray(
        (apy_pct < IMPOSSIBLE_APY_BELOW_PCT)
        | (apy_pct > IMPOSSIBLE_APY_ABOVE_PCT)
        | (tvl_usd < 0.0)
        | np.isinf(tvl_usd)
    )


@dataclass(frozen=True, eq=False)
class _Day:
    """What the checks look at."""

    view: MarketView
    previous: MarketView | None
    held: frozenset[str]
    forecast_apy_pct: Floats | None
    duplicates: int

    @cached_property
    def has_row(self) -> Bools:
        return np.asarray(self.view.row_age_days == 0)

    @cached_property
    def is_held(self) -> Bools:
        return np.array([pool_id in self.held for pool_id in self.view.pool_ids], dtype=bool)

    @cached_property
    def is_used(self) -> Bools:
        """Listed or held: pools whose data matters today."""
        return self.view.is_listed | self.is_held

    def names(self, pools: Bools) -> tuple[str, ...]:
        """The first few pools of a mask."""
        ids = self.view.pool_ids
        return tuple(ids[i] for i in np.flatnonzero(pools)[:_N_EXAMPLES].tolist())

    def of_pools(
        self, check: str, pools: Bools, what: str, action: str, checked: Bools | None = None
    ) -> Iterator[Finding]:
        """A warning about the pools of a mask, if there are any."""
        if count := int(pools.sum()):
            among = self.is_used if checked is None else checked
            yield Finding(
                check=check,
                severity=Severity.WARNING,
                count=count,
                checked=int(among.sum()),
                what=what.format(count),
                action=action,
                examples=self.names(pools),
            )


def _is_live(day: _Day) -> bool:
    """Whether half of all pools have a row, and a listed one a price: then nothing is critical."""
    view, tokens = day.view, PoolTokens.of(day.view)
    if int(day.has_row.sum()) < max(1.0, UNIVERSE_LEAST_SHARE * len(view.pools)):
        return False
    return bool((view.is_listed[tokens.pool] & ~unpriced_tokens(view, tokens)).any())


def _no_rows(day: _Day) -> Iterator[Finding]:
    n_pools = len(day.view.pools)
    if not day.has_row.any():
        what = f"none of {n_pools} pools has a row for {day.view.day}"
        yield _all_of("freshness", n_pools, what, "fetch the day's pool rows, then run again")


def _all_of(check: str, n_pools: int, what: str, action: str) -> Finding:
    """Nothing is there of what is needed of every pool."""
    return Finding(check, Severity.CRITICAL, n_pools, n_pools, what, action)


def _missing_rows(day: _Day) -> Iterator[Finding]:
    if not day.has_row.any():
        return
    missing = day.is_used & ~day.has_row
    yield from day.of_pools(
        "freshness", missing & ~day.is_held, "{} listed pools have no row today", "not bought"
    )
    yield from day.of_pools(
        "held_freshness",
        missing & day.is_held,
        "{} held pools have no row today",
        "frozen: neither bought nor sold",
        day.is_held,
    )


def _universe(day: _Day) -> Iterator[Finding]:
    if day.previous is not None:
        before = int((day.previous.row_age_days == 0).sum())
    else:
        series = day.view.pool_series
        rows = np.isfinite(series.apy_pct[-2:-1]) | np.isfinite(series.tvl_usd[-2:-1])
        before = int(rows.sum())
    now = int(day.has_row.sum())
    if 0 < now < UNIVERSE_LEAST_SHARE * before:
        yield Finding(
            check="universe",
            severity=Severity.CRITICAL,
            count=before - now,
            checked=before,
            what=f"{now} pools have a row today, {before} had one yesterday",
            action="the feed is rejected; fetch it again, or check what its source changed",
        )


def _gaps(day: _Day) -> Iterator[Finding]:
    # today's row is the business of freshness
    known = np.isfinite(day.view.pool_series.apy_pct[-WINDOW_DAYS - 1 : -1, day.is_used])
    started = np.logical_or.accumulate(known, axis=0)
    count, checked = int((started & ~known).sum()), int(started.sum())
    if count:
        often = count > GAP_SHARE_WARNING * checked
        yield Finding(
            check="gaps",
            severity=Severity.WARNING if often else Severity.INFO,
            count=count,
            checked=checked,
            what=f"{count} of {checked} pool days of the last {WINDOW_DAYS} have no APY",
            action="left unknown, not filled",
        )


def _duplicates(day: _Day) -> Iterator[Finding]:
    if day.duplicates:
        yield Finding(
            check="duplicates",
            severity=Severity.INFO,
            count=day.duplicates,
            checked=day.duplicates,
            what=f"{day.duplicates} rows repeat a pool and day",
            action="the last one was kept",
        )


def _apy_outliers(day: _Day) -> Iterator[Finding]:
    apy_pct = day.view.pool_series.apy_pct
    median_pct = _median(apy_pct[-WINDOW_DAYS - 1 : -1])
    high = day.is_used & (median_pct > 0.0) & (apy_pct[-1] > OUTLIER_FACTOR * median_pct)
    yield from day.of_pools(
        "apy_outlier",
        high,
        f"the APY of {{}} pools is above {OUTLIER_FACTOR:g} times its {WINDOW_DAYS}-day median",
        "kept; look at the pools before you trust a forecast of them",
    )


def _tvl_jumps(day: _Day) -> Iterator[Finding]:
    tvl_usd = day.view.pool_series.tvl_usd
    if len(tvl_usd) < 2:
        return
    now, before = tvl_usd[-1], tvl_usd[-2]
    both = (now > 0.0) & (before > 0.0)
    jumped = both & ((now > OUTLIER_FACTOR * before) | (before > OUTLIER_FACTOR * now))
    yield from day.of_pools(
        "tvl_jump",
        jumped & day.is_used,
        f"the TVL of {{}} pools moved by more than a factor of {OUTLIER_FACTOR:g} in a day",
        "kept; a TVL forecast far above the last actual is not believed",
    )


def _impossible(day: _Day) -> Iterator[Finding]:
    wrong = impossible_values(day.view)
    yield from day.of_pools(
        "impossible_value",
        wrong,
        "{} pools have an APY or a TVL that cannot be true",
        "not bought; frozen where held",
        day.has_row | wrong,
    )


def _prices(day: _Day) -> Iterator[Finding]:
    tokens = PoolTokens.of(day.view)
    price_usd = tokens.take(day.view.token_series.close_usd[-1])
    used = day.is_used[tokens.pool]
    missing = used & ~(np.isfinite(price_usd) & (price_usd > 0.0))
    if not missing.any():
        return
    names = sorted({tokens.names[i] for i in np.flatnonzero(missing)})
    n_tokens = len({tokens.names[i] for i in np.flatnonzero(used)})
    affects_held = bool((missing & day.is_held[tokens.pool]).any())
    yield Finding(
        check="prices",
        severity=Severity.CRITICAL if len(names) == n_tokens else Severity.WARNING,
        count=len(names),
        checked=n_tokens,
        what=f"{len(names)} of {n_tokens} tokens of listed and held pools have no price today",
        action="add their prices; until then their pools are not bought"
        + (", and those that are held are frozen" if affects_held else ""),
        examples=tuple(names[:_N_EXAMPLES]),
    )


def _impossible_prices(day: _Day) -> Iterator[Finding]:
    series = day.view.token_series
    low, close, high = series.low_usd[-1], series.close_usd[-1], series.high_usd[-1]
    wrong = (close <= 0.0) | (low <= 0.0) | (low > close) | (high < close) | (high < low)
    if count := int(wrong.sum()):
        some = np.flatnonzero(wrong)[:_N_EXAMPLES].tolist()
        yield Finding(
            check="impossible_price",
            severity=Severity.WARNING,
            count=count,
            checked=len(wrong),
            what=f"{count} tokens have a price that is not positive, or low, close and high that "
            "do not fit each other",
            action="a price that is not positive counts as unknown, the others are kept",
            examples=tuple(day.view.tokens[j] for j in some),
        )


def _gas(day: _Day) -> Iterator[Finding]:
    gas = day.view.gas
    known = np.isfinite(gas.gas_gwei) & np.isfinite(gas.eth_usd)
    if not known[-1]:
        was_known = bool(known.any())
        yield Finding(
            check="gas",
            severity=Severity.WARNING if was_known else Severity.INFO,
            count=1,
            checked=1,
            what="no gas price or no ETH price today" if was_known else "no gas prices at all",
            action="fetch them, or pass fixed gas costs in USD",
        )


def _forecasts(day: _Day) -> Iterator[Finding]:
    if day.forecast_apy_pct is None:
        return
    missing = day.is_used & ~np.isfinite(day.forecast_apy_pct)
    if missing.any() and missing.sum() == day.is_used.sum():
        n_pools = int(missing.sum())
        what = f"none of {n_pools} pools has a forecast"
        yield _all_of("forecasts", n_pools, what, "run the forecast for this day, then run again")
        return
    yield from day.of_pools(
        "forecasts", missing, "{} pools have no forecast", "not bought; frozen where held"
    )


def _median(values: Floats) -> Floats:
    """Median of each column without its NaN; NaN with fewer than `MEDIAN_LEAST_DAYS` values."""
    n_days = len(values)
    if n_days < MEDIAN_LEAST_DAYS:
        return np.full(values.shape[1], np.nan)
    known = np.isfinite(values)
    ordered = np.sort(np.where(known, values, np.nan), axis=0)  # NaN last
    count = known.sum(axis=0)
    middle = np.stack([np.maximum(count - 1, 0) // 2, np.minimum(count // 2, n_days - 1)])
    median = np.take_along_axis(ordered, middle, axis=0).mean(axis=0)
    return np.where(count >= MEDIAN_LEAST_DAYS, median, np.nan)


def _ages_days(view: MarketView) -> dict[str, int | None]:
    """Days since the last row of each source, as far as the last 31 rows show it."""
    pools, tokens = view.pool_series, view.token_series
    sources = {
        "pools": [pools.apy_pct, pools.tvl_usd],
        "prices": [tokens.close_usd],
        "gas": [view.gas.gas_gwei[:, None]],
    }
    ages: dict[str, int | None] = {}
    for source, arrays in sources.items():
        recent = [np.isfinite(array[-WINDOW_DAYS - 1 :]).any(axis=1) for array in arrays]
        known = np.logical_or.reduce(recent)[::-1]
        ages[source] = int(known.argmax()) if known.any() else None
    return ages


_WORST_FIRST: Final = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)
_CHECKS: Final[tuple[Callable[[_Day], Iterator[Finding]], ...]] = (
    _no_rows,
    _missing_rows,
    _universe,
    _gaps,
    _duplicates,
    _apy_outliers,
    _tvl_jumps,
    _impossible,
    _prices,
    _impossible_prices,
    _gas,
    _forecasts,
)
_MAY_STOP: Final = (_no_rows, _universe, _prices)
