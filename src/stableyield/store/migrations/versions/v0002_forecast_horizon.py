"""How many days a forecast is for, and the verdicts on what was forecast.

Forecasts that were stored before are of an unknown horizon: 0 below the view, NULL in it, because
a key has no empty column. As in the first version, what is needed stands here once more.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KINDS = {
    "pool": sa.Integer,
    "text": sa.Text,
    "number": sa.Double,
    "integer": sa.Integer,
    "flag": sa.SmallInteger,
    "day": sa.Integer,
    "horizon": sa.Integer,
}
_FORECASTS = "forecasts_revisions"
_FORECAST_KEY = "exec_date:day pool_key:pool method:text horizon_days:horizon"
_FORECAST_VALUES = (
    "target_date:day pred_global_apy:number pred_global_tvl:number pred_global_apy_q10:number "
    "pred_global_apy_q90:number pred_global_apy_risk_adj:number pred_global_tvl_risk_adj:number "
    "downside_risk:number cold_start_flag:flag instability_group:text "
    "pred_next_day_instability_group:text"
)
_VERDICT_KEY = "date:day method:text horizon_days:integer"
_VERDICT_VALUES = (
    "n_days:integer n:integer mae:number baseline:text mae_baseline:number coverage_q10:number "
    "coverage_q90:number needed_days:integer is_fallback:flag served_by:text run_id:text"
)
_VERDICT_NEEDED = "n_days n needed_days is_fallback served_by"


def upgrade() -> None:
    """Put the horizon into the key of the forecasts, and make the table of verdicts."""
    op.execute("DROP VIEW forecasts")
    if _is_sqlite():
        _rebuild_forecasts()
    else:
        _extend_forecasts()
    _create_view("forecasts", _FORECAST_KEY, _FORECAST_VALUES)
    _guard("forecasts", _FORECAST_KEY, _FORECAST_VALUES)
    _create_revisions("forecast_verdicts", _VERDICT_KEY, _VERDICT_VALUES, _VERDICT_NEEDED)
    _create_view("forecast_verdicts", _VERDICT_KEY, _VERDICT_VALUES)
    _guard("forecast_verdicts", _VERDICT_KEY, _VERDICT_VALUES)


def downgrade() -> None:
    """Not done: restore a backup instead."""
    raise NotImplementedError


def _rebuild_forecasts() -> None:
    """SQLite cannot change a key: the rows move to a new table, and the triggers go."""
    _create_revisions("forecasts", _FORECAST_KEY, _FORECAST_VALUES, "target_date", "forecasts_next")
    own = [*_pairs(_FORECAST_KEY), *_pairs(_FORECAST_VALUES)]
    own += ["revision", "ingested_at", "superseded_at"]
    kept = [name for name in own if name != "horizon_days"]
    op.execute(
        f"INSERT INTO forecasts_next ({', '.join(kept)}, horizon_days) "
        f"SELECT {', '.join(kept)}, 0 FROM {_FORECASTS}"
    )
    op.drop_table(_FORECASTS)
    op.rename_table("forecasts_next", _FORECASTS)


def _extend_forecasts() -> None:
    for what in ("update", "delete"):
        op.execute(f"DROP TRIGGER {_FORECASTS}_no_{what} ON {_FORECASTS}")
    key = ", ".join([*_pairs(_FORECAST_KEY), "revision"])
    op.execute(
        f"ALTER TABLE {_FORECASTS} ADD COLUMN horizon_days integer NOT NULL DEFAULT 0, "
        f"ADD CONSTRAINT forecasts_horizon CHECK (horizon_days >= 0)"
    )
    op.execute(
        f"ALTER TABLE {_FORECASTS} ALTER COLUMN horizon_days DROP DEFAULT, "
        f"DROP CONSTRAINT {_FORECASTS}_pkey, ADD PRIMARY KEY ({key})"
    )


def _create_revisions(
    name: str, key_text: str, values_text: str, needed: str, table: str | None = None
) -> None:
    key, values = _pairs(key_text), _pairs(values_text)
    of_pool = [sa.ForeignKeyConstraint(["pool_key"], ["pool_keys.pool_key"])]
    of_horizon = [sa.CheckConstraint("horizon_days >= 0", name=f"{name}_horizon")]
    op.create_table(
        table or f"{name}_revisions",
        *(sa.Column(column, _KINDS[kind], nullable=False) for column, kind in key.items()),
        *(
            sa.Column(column, _KINDS[kind], nullable=column not in needed.split())
            for column, kind in values.items()
        ),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("ingested_at", sa.BigInteger, nullable=False),
        sa.Column("superseded_at", sa.BigInteger),
        sa.PrimaryKeyConstraint(*key, "revision"),
        *(of_pool if "pool_key" in key else []),
        *of_horizon,
        sa.CheckConstraint("revision >= 0", name=f"{name}_revision"),
        sa.CheckConstraint("superseded_at >= ingested_at", name=f"{name}_superseded"),
        sqlite_with_rowid=False,
    )


def _create_view(name: str, key: str, values: str) -> None:
    kinds = _pairs(key) | _pairs(values)
    shown = ", ".join(_shown(column, kind) for column, kind in kinds.items())
    join = " JOIN pool_keys k ON k.pool_key = r.pool_key" if "pool_key" in kinds else ""
    if _is_sqlite():
        moment = (
            "strftime('%Y-%m-%dT%H:%M:%S', r.ingested_at / 1000000, 'unixepoch') || "
            "printf('.%06dZ', r.ingested_at % 1000000)"
        )
    else:
        moment = "TIMESTAMPTZ 'epoch' + r.ingested_at * INTERVAL '1 microsecond'"
    op.execute(
        f"CREATE VIEW {name} AS SELECT {shown}, {moment} AS ingested_at "
        f"FROM {name}_revisions r{join} WHERE r.superseded_at IS NULL"
    )


def _shown(column: str, kind: str) -> str:
    """A column as people read it."""
    own = f'r."{column}"'
    if kind == "pool":
        return "k.pool_id"
    if kind == "horizon":
        own = f"NULLIF({own}, 0)"
    elif kind == "day":
        own = f"date({own} * 86400, 'unixepoch')" if _is_sqlite() else f"DATE 'epoch' + {own}"
    elif kind == "flag" and not _is_sqlite():
        own = f"({own} <> 0)"
    return f'{own} AS "{column}"'


def _guard(name: str, key: str, values: str) -> None:
    """Refuse what would overwrite history, whoever asks for it."""
    table = f"{name}_revisions"
    columns = [*_pairs(key), *_pairs(values), "revision", "ingested_at"]
    of = "UPDATE OF " + ", ".join(f'"{column}"' for column in columns)
    for what, when in (("update", of), ("delete", "DELETE")):
        head = f"CREATE TRIGGER {table}_no_{what} BEFORE {when} ON {table}"
        if _is_sqlite():
            op.execute(f"{head} BEGIN SELECT RAISE(ABORT, 'table {table} is append-only'); END")
        else:
            op.execute(f"{head} FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_overwrite()")


def _is_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split(":") for pair in text.split())
