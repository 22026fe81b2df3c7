"""Looking without touching: the quality of a stored day, and whether the providers answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

from sqlalchemy import Engine

from stableyield.config import Settings
from stableyield.pipeline.carry import last_snapshot
from stableyield.pipeline.moments import default_day
from stableyield.screening import QualityReport, assess
from stableyield.sources import GasOracle, HttpClient, ProviderUrls, Span, StablecoinCloses
from stableyield.store import Window, load_panel

_LOOK_BACK_DAYS = 45  # the checks compare with the last month


def quality_of(engine: Engine, day: date | None = None) -> QualityReport:
    """The report on the data that is stored for a day, as it is known now.

    Parameters
    ----------
    engine : Engine
    day : date, optional
        The newest one that is stored, when absent.

    Raises
    ------
    MissingDataError
        When no day is stored.
    DayOutOfRangeError
        When that day is not.
    """
    first = None if day is None else day - timedelta(days=_LOOK_BACK_DAYS)
    panel = load_panel(engine, Window(first=first, last=day))
    chosen = day or panel.last_day
    books = last_snapshot(engine, chosen + timedelta(days=1))
    held = () if books is None else books.book.pool_ids
    return assess(panel.as_of(chosen), held=held)


def probes_of(
    client: HttpClient, urls: ProviderUrls, settings: Settings
) -> dict[str, Callable[[], str]]:
    """Small questions to the providers, by name; those that need a key only where it is set."""
    day = default_day(client.clock.utc_now())

    def closes() -> str:
        span = Span(day - timedelta(days=3), day)
        found = StablecoinCloses(client, base_url=urls.stablecoins).fetch(span)
        prices = found.tables.get("prices_daily")
        return f"{0 if prices is None else len(prices)} stablecoin prices of the last days"

    def gas() -> str:
        found = GasOracle(client, settings.etherscan_key, urls.etherscan).fetch(Span.of(day))
        return f"gas {found.tables['gas_daily']['gas_gwei'].iloc[0]:g} gwei"

    probes: dict[str, Callable[[], str]] = {"defillama": closes}
    if settings.etherscan_key is not None:
        probes["etherscan"] = gas
    return probes
