"""From what was typed to the daily job: what is asked, and with what it is carried out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stableyield.cli.common import assignments, day_of, fixed_gas, parameters_of
from stableyield.cli.terminal import console, progress_bar
from stableyield.cli.treasury import engine_of, migrated, operator, settings_of
from stableyield.errors import InputError

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Engine

    from stableyield.config import Settings
    from stableyield.pipeline import DayOptions, Job, RunRequest
    from stableyield.sources import Source


@dataclass(frozen=True)
class Feeds:
    """Where the data of a day come from; none of the first three: the live providers.

    Parameters
    ----------
    market : Path, optional
    source_url : str, optional
    no_ingest : bool
    balances : Path, optional
        Comes on top.
    confirm_percent : bool

    Raises
    ------
    InputError
        When more than one of the first three is given.
    """

    market: Path | None = None
    source_url: str | None = None
    no_ingest: bool = False
    balances: Path | None = None
    confirm_percent: bool = False

    def __post_init__(self) -> None:
        if sum([self.market is not None, self.source_url is not None, self.no_ingest]) > 1:
            raise InputError(
                "--market, --source-url and --no-ingest exclude each other",
                remedy="give one of them",
            )


@dataclass(frozen=True)
class Wish:
    """What is to be decided, as it was typed; everything that can be read wrong is read at once.

    Parameters
    ----------
    day : date, optional
        None: that of the clock.
    dry_run, again : bool
    forecast : str
    changes : dict of str to str
        Parameters by name.
    gas_usd : (float, float, float), optional
    max_difference_pct : float
    """

    day: date | None
    dry_run: bool
    again: bool
    forecast: str
    changes: dict[str, str] = field(default_factory=dict)
    gas_usd: tuple[float, float, float] | None = None
    max_difference_pct: float = 0.01


def read_changes(pairs: list[str] | None) -> dict[str, str]:
    """The assignments; a misspelt name is refused before anything is asked or written."""
    parameters_of(pairs)
    return assignments(pairs)


def read_day(text: str | None) -> date | None:
    """The value of ``--day``."""
    return None if text is None else day_of(text, "--day")


def read_gas(text: str | None) -> tuple[float, float, float] | None:
    """The value of ``--gas-usd``."""
    gas = fixed_gas(text)
    return None if gas is None else (gas.allocation, gas.withdrawal, gas.conversion)


@contextmanager
def job_of(
    wish: Wish, feeds: Feeds, database: str | None, out: Path | None, *, is_quiet: bool
) -> Iterator[tuple[Job, RunRequest]]:
    """The job and its request; connections to providers end with the block."""
    from stableyield.forecast import forecaster
    from stableyield.pipeline import Job, RunRequest, notifiers_of
    from stableyield.pipeline.moments import default_day
    from stableyield.sources import system_clock

    forecaster(wish.forecast)  # as for the parameters
    settings, clock = settings_of(), system_clock()
    engine = engine_of(database, settings)
    with ExitStack() as stack:
        job = Job(
            engine,
            out or settings.output_dir,
            tuple(_sources(stack, engine, settings, wish, feeds)),
            notifiers_of(settings),
            operator(),
            clock,
            None if is_quiet else _show_stage,
        )
        day = wish.day or default_day(clock.utc_now())
        options = _options(wish, feeds, engine)
        yield job, RunRequest(day, wish.dry_run, wish.again, options, wish.changes)


def _options(wish: Wish, feeds: Feeds, engine: Engine) -> DayOptions:
    from stableyield.pipeline import DayOptions

    return DayOptions(
        wish.forecast,
        wish.gas_usd,
        data_include_us=_includes_us(engine) if feeds.no_ingest else feeds.market is None,
        max_difference_pct=wish.max_difference_pct,
    )


def _includes_us(engine: Engine) -> bool:
    """Whether the stored data contain our positions: as the last run had it."""
    from stableyield.pipeline.options import options_of_last_run

    last = options_of_last_run(migrated(engine))
    return last is None or last.data_include_us


def _sources(
    stack: ExitStack, engine: Engine, settings: Settings, wish: Wish, feeds: Feeds
) -> Iterator[Source]:
    from stableyield.pipeline import BalanceFile, MarketDirectory
    from stableyield.sources import system_clock

    if feeds.market is not None:
        today = None if wish.day is not None else system_clock().utc_now().date()
        yield MarketDirectory(feeds.market, feeds.confirm_percent, today)
    elif not feeds.no_ingest:
        yield _live(stack, engine, settings, feeds.source_url, wish.changes)
    if feeds.balances is not None:
        yield BalanceFile(feeds.balances)


def _live(
    stack: ExitStack,
    engine: Engine,
    settings: Settings,
    url: str | None,
    changes: dict[str, str],
) -> Source:
    """The live providers, or those under one address."""
    from stableyield.pipeline.live import LiveMarket
    from stableyield.sources import HttpClient, HttpSettings, ProviderUrls, ReplyCache

    urls = ProviderUrls() if url is None else ProviderUrls.under(url)
    # a fake provider on this machine needs no manners
    http = HttpSettings() if url is None else HttpSettings(requests_per_second=200.0)
    client = stack.enter_context(HttpClient(http, cache=ReplyCache(settings.cache_dir)))
    progress = stack.enter_context(progress_bar("histories"))
    return LiveMarket(
        engine, client, settings, urls, changes, lambda done, total, _: progress(done, total)
    )


def _show_stage(name: str, seconds: float) -> None:
    screen = console(stderr=True)
    if screen.is_terminal:  # elsewhere the first line on standard error is the error
        screen.print(f"{name:10} {seconds:6.2f} s", style="dim")
