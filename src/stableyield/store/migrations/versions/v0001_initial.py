"""Tables, views and guards of the first version.

Everything stands here once more, apart from `stableyield.store.schema`, because a migration must
make tomorrow what it made yesterday.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# name -> key, values, values that are never empty; in each "name:kind"
_REVISED = {
    "pools": (
        "pool_key:pool",
        "symbol:text chain:text protocol:text underlying_tokens:json is_active:flag kind:text "
        "listed_from:day listed_until:day token_shares:json token_addresses:json pool_meta:text",
        "symbol chain protocol underlying_tokens is_active",
    ),
    "pool_daily": (
        "date:day pool_key:pool",
        "apy_pct:number tvl_usd:number apy_base_pct:number apy_reward_pct:number "
        "deposits_usd:number available_usd:number return_1d:number is_filtered_out:flag",
        "",
    ),
    "token_prices_daily": (
        "date:day token:text",
        "close_usd:number open_usd:number high_usd:number low_usd:number market_cap_usd:number "
        "peg_usd:number volume_usd:number source:text",
        "",
    ),
    "gas_fees_daily": ("date:day", "gas_gwei:number eth_usd:number source:text", ""),
    "lend_borrow_daily": (
        "date:day market_id:text",
        "chain:text protocol:text symbol:text supply_apr_pct:number borrow_apr_pct:number "
        "supplied_usd:number borrowed_usd:number supply_reward_apr_pct:number "
        "borrow_reward_apr_pct:number ltv:number liquidation_threshold:number borrowable:flag",
        "chain protocol symbol",
    ),
    "forecasts": (
        "exec_date:day pool_key:pool method:text",
        "target_date:day pred_global_apy:number pred_global_tvl:number pred_global_apy_q10:number "
        "pred_global_apy_q90:number pred_global_apy_risk_adj:number "
        "pred_global_tvl_risk_adj:number downside_risk:number cold_start_flag:flag "
        "instability_group:text pred_next_day_instability_group:text",
        "target_date",
    ),
    "pool_assessments": (
        "date:day pool_key:pool",
        "forecasted_apy:number forecasted_tvl:number is_filtered_out:flag filter_reason:text "
        "rolling_apy_7d:number rolling_apy_30d:number stddev_apy_7d:number stddev_apy_30d:number "
        "apy_delta_today_yesterday:number pool_group:integer state:text",
        "",
    ),
    "approved_tokens": ("token:text chain:text", "is_listed:flag reason:text", "is_listed"),
    "blacklisted_tokens": ("token:text chain:text", "is_listed:flag reason:text", "is_listed"),
    "approved_protocols": ("protocol:text", "is_listed:flag reason:text", "is_listed"),
    "approved_chains": ("chain:text", "is_listed:flag reason:text", "is_listed"),
    "icebox_tokens": (
        "token:text source:text entered:day rule:text",
        "left:day low_usd:number close_usd:number peg_usd:number iceboxed:flag reason:text",
        "iceboxed",
    ),
    "icebox_overrides": (
        "token:text set_on:day",
        "iceboxed:flag reason:text expires:day is_withdrawn:flag",
        "iceboxed reason expires",
    ),
    "default_allocation_parameters": ("name:text", "value:json", "value"),
    "daily_balances": (
        "date:day basis:text location:text token:text",
        "amount:number price_usd:number amount_usd:number run_id:text",
        "amount",
    ),
    "daily_ledger": (
        "date:day token:text",
        "opening_amount:number deposits_amount:number withdrawals_amount:number "
        "conversions_amount:number costs_amount:number yield_amount:number closing_amount:number "
        "close_usd:number nav_usd:number realised_yield_usd:number "
        "realised_yield_ytd_usd:number run_id:text",
        "opening_amount closing_amount",
    ),
    "daily_nav": (
        "date:day",
        "assets_before_usd:number assets_next_usd:number deposits_usd:number "
        "withdrawals_usd:number costs_usd:number yield_usd:number yield_day:number "
        "yield_ytd:number run_id:text",
        "assets_before_usd",
    ),
}
_KINDS = {
    "pool": sa.Integer,
    "text": sa.Text,
    "json": sa.Text,
    "number": sa.Double,
    "integer": sa.Integer,
    "flag": sa.SmallInteger,
    "day": sa.Integer,
}
_LISTS = ("approved_tokens", "blacklisted_tokens", "approved_protocols", "approved_chains")
_NEVER_CHANGED = (
    "audit_log",
    "raw_payloads",
    "allocation_parameters",
    "plans",
    "asset_allocations",
    "ledger_entries",
)
# the notebooks' names of what pool_daily and pool_assessments hold
_METRICS = """
CREATE VIEW pool_daily_metrics AS
SELECT k.pool_id, {o_date}, o.apy_pct AS actual_apy, o.tvl_usd AS actual_tvl, {judged},
       {filtered} AS is_filtered_out, o.apy_base_pct AS apy_base, o.apy_reward_pct AS apy_reward,
       o.deposits_usd, o.available_usd, o.return_1d, {o_ingested}
FROM pool_daily_revisions o
JOIN pool_keys k ON k.pool_key = o.pool_key
LEFT JOIN pool_assessments_revisions a
  ON a.date = o.date AND a.pool_key = o.pool_key AND a.superseded_at IS NULL
WHERE o.superseded_at IS NULL
UNION ALL
SELECT k.pool_id, {a_date}, NULL, NULL, {judged}, {a_filtered}, NULL, NULL, NULL, NULL, NULL,
       {a_ingested}
FROM pool_assessments_revisions a
JOIN pool_keys k ON k.pool_key = a.pool_key
WHERE a.superseded_at IS NULL AND NOT EXISTS (
  SELECT 1 FROM pool_daily_revisions o
  WHERE o.date = a.date AND o.pool_key = a.pool_key AND o.superseded_at IS NULL)
"""
_JUDGED = (
    "a.forecasted_apy, a.forecasted_tvl, a.filter_reason, a.rolling_apy_7d, a.rolling_apy_30d, "
    "a.stddev_apy_7d, a.stddev_apy_30d, a.apy_delta_today_yesterday, a.pool_group"
)


def upgrade() -> None:
    """Make the first version."""
    op.create_table(
        "pool_keys",
        sa.Column("pool_key", sa.Integer, primary_key=True),
        sa.Column("pool_id", sa.Text, nullable=False, unique=True),
    )
    for name, (key, values, needed) in _REVISED.items():
        _create_revisions(name, _pairs(key), _pairs(values), needed.split())
        _create_view(name, _pairs(key) | _pairs(values))
    _create_metrics()
    op.execute(
        "CREATE VIEW pool_groups AS SELECT pool_id, date, pool_group, apy_delta_today_yesterday, "
        "stddev_apy_7d, stddev_apy_30d, ingested_at FROM pool_assessments "
        "WHERE pool_group IS NOT NULL"
    )
    _create_runs()
    _create_books()
    _create_records()
    _guard()


def downgrade() -> None:
    """Not done: restore a backup instead."""
    raise NotImplementedError


def _is_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def _moment() -> sa.String | sa.DateTime:
    return sa.String(27) if _is_sqlite() else sa.DateTime(timezone=True)


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split(":") for pair in text.split())


def _create_revisions(
    name: str, key: dict[str, str], values: dict[str, str], needed: list[str]
) -> None:
    links = [
        sa.ForeignKeyConstraint([column], ["pool_keys.pool_key"])
        for column, kind in key.items()
        if kind == "pool"
    ]
    op.create_table(
        f"{name}_revisions",
        *(sa.Column(column, _KINDS[kind], nullable=False) for column, kind in key.items()),
        *(
            sa.Column(column, _KINDS[kind], nullable=column not in needed)
            for column, kind in values.items()
        ),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("ingested_at", sa.BigInteger, nullable=False),
        sa.Column("superseded_at", sa.BigInteger),
        sa.PrimaryKeyConstraint(*key, "revision"),
        *links,
        sa.CheckConstraint("revision >= 0", name=f"{name}_revision"),
        sa.CheckConstraint("superseded_at >= ingested_at", name=f"{name}_superseded"),
        sqlite_with_rowid=False,
    )


def _create_view(name: str, kinds: dict[str, str]) -> None:
    shown = ", ".join(_shown(column, kind) for column, kind in kinds.items())
    join = " JOIN pool_keys k ON k.pool_key = r.pool_key" if "pool_key" in kinds else ""
    only = " AND r.is_listed = 1" if name in _LISTS else ""
    op.execute(
        f"CREATE VIEW {name} AS SELECT {shown}, {_shown_moment('ingested_at')} "
        f"FROM {name}_revisions r{join} WHERE r.superseded_at IS NULL{only}"
    )


def _create_metrics() -> None:
    true = "" if _is_sqlite() else " <> 0"
    op.execute(
        _METRICS.format(
            judged=_JUDGED,
            filtered=f"coalesce(a.is_filtered_out, o.is_filtered_out){true}",
            a_filtered=f"a.is_filtered_out{true}",
            o_ingested=_shown_moment("ingested_at", "o"),
            a_ingested=_shown_moment("ingested_at", "a"),
            o_date=_shown("date", "day", "o"),
            a_date=_shown("date", "day", "a"),
        )
    )


def _shown(column: str, kind: str, table: str = "r") -> str:
    """A column as people read it."""
    if kind == "pool":
        return "k.pool_id"
    if kind == "day":
        days = f'{table}."{column}"'
        text = f"date({days} * 86400, 'unixepoch')" if _is_sqlite() else f"DATE 'epoch' + {days}"
        return f'{text} AS "{column}"'
    if kind == "flag" and not _is_sqlite():
        return f'({table}."{column}" <> 0) AS "{column}"'
    return f'{table}."{column}"'


def _shown_moment(column: str, table: str = "r") -> str:
    micros = f"{table}.{column}"
    if _is_sqlite():
        return (
            f"strftime('%Y-%m-%dT%H:%M:%S', {micros} / 1000000, 'unixepoch') || "
            f"printf('.%06dZ', {micros} % 1000000) AS {column}"
        )
    return f"TIMESTAMPTZ 'epoch' + {micros} * INTERVAL '1 microsecond' AS {column}"


def _create_runs() -> None:
    moment = _moment()
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text, primary_key=True),
        sa.Column("exec_date", sa.Date, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("started_at", moment, nullable=False),
        sa.Column("known_by", moment, nullable=False),
        sa.Column("finished_at", moment),
        sa.Column("versions", sa.Text, nullable=False),
        sa.Column("inputs_sha256", sa.String(64)),
        sa.Column("parameters_sha256", sa.String(64)),
        sa.Column("error", sa.Text),
        sa.Column("summary", sa.Text),
    )
    # a day has at most one live run that counts: no plan twice
    op.execute(
        "CREATE UNIQUE INDEX runs_one_a_day ON runs (exec_date) "
        "WHERE kind = 'live' AND status IN ('running', 'done')"
    )
    op.create_table(
        "run_stages",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id"), primary_key=True),
        sa.Column("stage", sa.Text, primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("started_at", moment, nullable=False),
        sa.Column("finished_at", moment),
        sa.Column("seconds", sa.Double),
        sa.Column("detail", sa.Text),
    )
    op.create_table(
        "allocation_parameters",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id"), primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )


def _create_books() -> None:
    op.create_table(
        "plans",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id"), primary_key=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("objective_usd", sa.Double),
        sa.Column("aum_before_usd", sa.Double, nullable=False),
        sa.Column("aum_after_usd", sa.Double, nullable=False),
        sa.Column("inputs_sha256", sa.String(64), nullable=False),
        sa.Column("document_sha256", sa.String(64), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
    )
    op.create_table(
        "asset_allocations",
        sa.Column("run_id", sa.Text, sa.ForeignKey("plans.run_id"), primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("from_location", sa.Text, nullable=False),
        sa.Column("to_location", sa.Text, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("to_token", sa.Text),
        sa.Column("amount", sa.Double, nullable=False),
        sa.Column("to_amount", sa.Double),
        sa.Column("amount_usd", sa.Double, nullable=False),
        sa.Column("gas_cost_usd", sa.Double, nullable=False),
        sa.Column("conversion_cost_usd", sa.Double, nullable=False),
        sa.Column("total_cost_usd", sa.Double, nullable=False),
        sa.Column("gas_paid", sa.Text, nullable=False),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("entry_id", sa.Text, primary_key=True),
        sa.Column("line", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("date", sa.Date, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("amount", sa.Double, nullable=False),
        sa.Column("price_usd", sa.Double),
        sa.Column("amount_usd", sa.Double),
        sa.Column("memo", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id")),
    )
    op.create_index("ledger_entries_date", "ledger_entries", ["date"])


def _create_records() -> None:
    moment = _moment()
    number = sa.Integer if _is_sqlite() else sa.BigInteger
    op.create_table(
        "audit_log",
        sa.Column("audit_id", number, primary_key=True),
        sa.Column("at", moment, nullable=False),
        sa.Column("at_micros", sa.BigInteger, nullable=False),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("actor", "origin", "role", "action", "table_name")
        ),
        sa.Column("run_id", sa.Text),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("n_rows", "n_new", "n_revised")),
        sa.Column("sha256", sa.String(64), nullable=False),
    )
    op.create_index("audit_log_table_at", "audit_log", ["table_name", "at_micros"])
    op.create_table(
        "raw_payloads",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("source", "request")),
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("fetched_at", moment, nullable=False),
        sa.Column("n_bytes", sa.BigInteger, nullable=False),
        sa.Column("body_zlib", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "run_locks",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("since", moment, nullable=False),
        sa.Column("is_held", sa.Boolean, nullable=False),
    )


def _guard() -> None:
    """Refuse what would overwrite history, whoever asks for it."""
    if not _is_sqlite():
        op.execute(
            "CREATE FUNCTION refuse_to_overwrite() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME; END $$"
        )
    for name in _NEVER_CHANGED:
        _refuse(name, "UPDATE")
        _refuse(name, "DELETE")
    for name, (key, values, _) in _REVISED.items():
        columns = [*_pairs(key), *_pairs(values), "revision", "ingested_at"]
        _refuse(f"{name}_revisions", "UPDATE", columns)
        _refuse(f"{name}_revisions", "DELETE")


def _refuse(table: str, what: str, columns: list[str] | None = None) -> None:
    of = " OF " + ", ".join(f'"{column}"' for column in columns) if columns else ""
    head = f"CREATE TRIGGER {table}_no_{what.lower()} BEFORE {what}{of} ON {table}"
    if _is_sqlite():
        op.execute(f"{head} BEGIN SELECT RAISE(ABORT, 'table {table} is append-only'); END")
    else:
        op.execute(f"{head} FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_overwrite()")
