"""The interface that the research notebooks call: an engine, and `pandas.read_sql`."""

from __future__ import annotations

from sqlalchemy import Engine

from stableyield.config import Settings
from stableyield.sources.clock import system_clock
from stableyield.store import connect, migrate


def get_db_connection(url: str | None = None) -> Engine:
    """An engine on the treasury's database, with its schema up to date.

    ``pd.read_sql("select * from pools", get_db_connection())`` and the table
    ``pool_daily_metrics`` have the notebooks' column names.

    Parameters
    ----------
    url : str, optional
        Absent: ``STABLEYIELD_DATABASE_URL``, or the file ``stableyield.db`` in this directory.

    Raises
    ------
    ParameterError
        When the URL cannot be read.
    StoreError
        When the database cannot be reached.
    """
    setting = Settings.load().database_url
    engine = connect(url or (None if setting is None else setting.get_secret_value()))
    migrate(engine, at=system_clock().utc_now())
    return engine
