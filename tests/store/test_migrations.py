"""The schema comes from the migrations, once, whoever runs them and how often."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from stableyield.store import StoreError, connect, migrate, pending_migrations, read_frame
from stableyield.store.migrate import MIGRATIONS
from stableyield.store.schema import METADATA
from stableyield.store.tables import REVISED
from support.databases import NOW, child_environment, later, rows_of

SECOND = '''
"""Add a column."""
from alembic import op
import sqlalchemy as sa
revision, down_revision, branch_labels, depends_on = "0003", "0002", None, None

def upgrade():
    op.add_column("runs", sa.Column("note", sa.Text))
    {more}
'''


def copy_of_migrations(directory: Path, second: str | None = None) -> Path:
    copy = directory / "migrations 100%"
    shutil.copytree(MIGRATIONS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    if second is not None:
        (copy / "versions" / "v0003_more.py").write_text(SECOND.format(more=second))
    return copy


def test_the_migrations_make_the_tables_that_the_program_expects(engine: Engine) -> None:
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), METADATA)
    # indexes are the migrations' own affair; everything else must be equal
    assert [found for found in differences if found[0] != "remove_index"] == []
    views = set(inspect(engine).get_view_names())
    assert views == {*REVISED, "pool_daily_metrics", "pool_groups"}


def test_migrating_again_changes_nothing(engine: Engine) -> None:
    before = rows_of(engine, "select version, applied_at from migration_checksums")
    assert migrate(engine, at=later(1)) == ()
    assert pending_migrations(engine) == ()
    assert rows_of(engine, "select version, applied_at from migration_checksums") == before


def test_an_empty_database_has_everything_pending(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}/new.db")
    assert pending_migrations(engine) == ("0001", "0002")
    assert migrate(engine, at=NOW) == ("0001", "0002")
    engine.dispose()


def test_a_changed_migration_that_ran_is_refused(engine: Engine, tmp_path: Path) -> None:
    copy = copy_of_migrations(tmp_path)
    script = copy / "versions" / "v0001_initial.py"
    script.write_bytes(script.read_bytes().replace(b"\n", b"\r\n"))  # a checkout elsewhere
    assert migrate(engine, at=NOW, directory=copy) == ()
    script.write_text(script.read_text() + "# changed\n")
    with pytest.raises(StoreError, match="migration 0001 was changed after it had run"):
        migrate(engine, at=NOW, directory=copy)
    with pytest.raises(StoreError, match="migration 0001 was changed"):
        pending_migrations(engine, directory=copy)


def test_a_newer_database_is_refused(engine: Engine, tmp_path: Path) -> None:
    copy = copy_of_migrations(tmp_path, "pass")
    assert migrate(engine, at=later(1), directory=copy) == ("0003",)
    with pytest.raises(StoreError, match="has migration 0003, which this program does not know"):
        migrate(engine, at=later(2))


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    engine: Engine, tmp_path: Path
) -> None:
    copy = copy_of_migrations(tmp_path, 'op.execute("SELECT * FROM nowhere")')
    with pytest.raises(StoreError, match="migrating"):
        migrate(engine, at=later(1), directory=copy)
    assert "note" not in {column["name"] for column in inspect(engine).get_columns("runs")}
    assert pending_migrations(engine) == ()
    assert migrate(engine, at=later(2)) == ()


def test_a_database_that_was_not_migrated_says_so(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(StoreError, match="run the migrations"):
        read_frame(engine, "pools")
    engine.dispose()


@pytest.mark.slow
def test_two_processes_may_migrate_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/both.db"
    assert sorted(migrated_by_two(url)) == ["('0001', '0002')", "()"]
    engine = connect(url)
    assert rows_of(engine, "select count(*) from migration_checksums") == [(2,)]
    engine.dispose()


@pytest.mark.slow
def test_two_processes_may_migrate_a_server_at_once(postgres_url: str) -> None:
    admin = connect(postgres_url).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE migrated_by_two"))
    url = admin.url.set(database="migrated_by_two").render_as_string(hide_password=False)
    assert sorted(migrated_by_two(url)) == ["('0001', '0002')", "()"]
    admin.dispose()


def migrated_by_two(url: str) -> list[str]:
    program = (
        "import sys; from datetime import UTC, datetime; from stableyield.store import *; "
        "print(migrate(connect(sys.argv[1]), at=datetime(2026, 1, 1, tzinfo=UTC)))"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program, url],
            stdout=subprocess.PIPE,
            text=True,
            env=child_environment(),
        )
        for _ in range(2)
    ]
    answers = [child.communicate(timeout=60)[0].strip() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    return answers
