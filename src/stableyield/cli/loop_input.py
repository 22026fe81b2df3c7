"""Where ``stableyield loop`` takes rates, prices and gas from: files, or the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stableyield.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import Engine

    from stableyield.loops import LoopMarket, LoopRates, LoopSettings


@dataclass(frozen=True)
class RatesPlace:
    """A file or directory, or a database, whose URL may hold a password."""

    path: Path | None = None
    database: str | None = field(default=None, repr=False)

    @cached_property
    def engine(self) -> Engine:
        """The database; one in a file has to be there, as connecting would make an empty one."""
        from stableyield.store import connect
        from stableyield.store.engine import sqlite_file

        engine = connect(self.database)
        file = sqlite_file(engine)
        if file is not None and not file.is_file():
            raise InputError(
                "no such database file", where=str(file), remedy="check the URL after --db"
            )
        return engine


def place_of(rates: Path | None, database: str | None) -> RatesPlace:
    """Where the rates are.

    Raises
    ------
    InputError
        When neither or both are given.
    """
    if rates is None and database is None:
        raise InputError(
            "--rates is missing",
            remedy="name a file or directory: stableyield loop --rates FILE, or a database: --db",
        )
    if rates is not None and database is not None:
        raise InputError("--rates and --db are given together", remedy="give one of them")
    return RatesPlace(rates, database)


def names_of(text: str | None) -> tuple[str, ...]:
    """Names between commas; none where nothing is given.

    Raises
    ------
    InputError
        When the text names nothing.
    """
    if text is None:
        return ()
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise InputError(f"{text!r} names nothing", remedy="write names with commas between them")
    return names


def read_rates(
    place: RatesPlace, protocols: str | None, *, confirm_percent: bool
) -> tuple[LoopRates, ...]:
    """The markets; a wide frame is of the one protocol that is named, or of Aave v3."""
    from stableyield.loops import rates_from_store, read_loop_rates

    if place.path is None:
        return rates_from_store(place.engine)
    names = names_of(protocols)
    protocol = names[0] if len(names) == 1 else "aave-v3"
    return read_loop_rates(place.path, protocol=protocol, confirm_percent=confirm_percent)


def read_surroundings(
    place: RatesPlace, *, prices: Path | None, gas: Path | None, risk: Path | None
) -> LoopMarket:
    """Prices, gas and risk as named; else from where the rates are, ours or collected layouts."""
    from stableyield.loops import LoopMarket, read_risk_table
    from stableyield.market.layouts.importer import GAS_FILE, PRICES_FILE
    from stableyield.market.layouts.side_data import read_gas, read_stablecoin_prices

    return LoopMarket(
        prices=_side_table(place, prices, ("prices_daily", PRICES_FILE), read_stablecoin_prices),
        gas=_side_table(place, gas, ("gas_daily", GAS_FILE), read_gas),
        risk=None if risk is None else read_risk_table(risk),
    )


def facts_of(place: RatesPlace, settings: LoopSettings) -> dict[str, Any]:
    """What a reader needs to run it again."""
    from dataclasses import asdict

    from stableyield import __version__
    from stableyield.config import sha256_of
    from stableyield.market.tables import sha256_of as sha256_of_file

    facts = {"rates": _shown(place), "settings_sha256": sha256_of(asdict(settings))}
    if place.path is not None and place.path.is_file():
        facts["data_sha256"] = sha256_of_file(place.path)
    return {**facts, "code_version": __version__}


def _shown(place: RatesPlace) -> str:
    """Its name without a password."""
    if place.path is not None:
        return str(place.path)
    from stableyield.store.failures import shown

    return shown(place.engine.url)


def _side_table(
    place: RatesPlace,
    given: Path | None,
    names: tuple[str, str],
    layout: Callable[[pd.DataFrame], pd.DataFrame],
) -> pd.DataFrame | None:
    from stableyield.market.contracts import check_table
    from stableyield.market.tables import origin_of_file, read_table

    own, collected = names
    path = given or _beside(place.path, own, collected)
    if path is None:
        return None if place.path is not None else _stored(place, own)
    table = read_table(path)
    if "avg_gas_gwei" in table or {"symbol", "source"} <= set(table.columns):
        return layout(table)
    return check_table(own, table, origin_of_file(path)).frame


def _beside(rates: Path | None, own: str, collected: str) -> Path | None:
    """The table in the directory of the rates."""
    from stableyield.market.tables import FILE_FORMATS

    if rates is None:
        return None
    directory = rates if rates.is_dir() else rates.parent
    files = [*(f"{own}.{ending}" for ending in FILE_FORMATS), collected]
    return next((path for name in files if (path := directory / name).is_file()), None)


def _stored(place: RatesPlace, table: str) -> pd.DataFrame | None:
    """The table of the database; nothing where it is empty."""
    from stableyield.store import read_frame
    from stableyield.store.market import STORED_AS

    frame = read_frame(place.engine, STORED_AS[table])
    return None if frame.empty else frame
