"""A catalog is brought up to date when it is opened, from wherever it stands, and never taken back."""

from __future__ import annotations

import os
import subprocess
import sys

import alembic.command  # noqa: F401  so that a forked process has it at hand
import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from millrace.catalog import Catalog, migrate
from millrace.catalog.address import parse
from millrace.catalog.database import Database
from millrace.catalog.schema import HEAD, REVISION_TABLE, REVISIONS, metadata
from millrace.errors import ConfigError
from tests.core.catalog.conftest import FreshDatabase
from tests.core.catalog.life import HandClock, Life
from tests.core.catalog.processes import killed_before_statement


def differences(url: str) -> list[object]:
    """Where the database's schema is not the one in `schema.py`."""

    def compare(connection: sqlalchemy.Connection) -> list[object]:
        options = {"version_table": REVISION_TABLE, "compare_type": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    return Database(parse(url)).read("comparing", compare)


def set_revision(url: str, revision: str) -> None:
    statement = sqlalchemy.text(f"update {REVISION_TABLE} set version_num = '{revision}'")
    Database(parse(url)).write("pretending", lambda c: c.execute(statement).close())


def use(url: str) -> None:
    clock = HandClock()
    with Catalog.open(url, clock=clock) as catalog:
        Life(catalog, clock).published({"offset": 1})


def test_the_revisions_in_the_code_are_the_scripts_in_the_package() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.SCRIPTS))
    scripts = ScriptDirectory.from_config(config)
    assert tuple(reversed([s.revision for s in scripts.walk_revisions()])) == REVISIONS
    assert scripts.get_heads() == [HEAD]


def test_a_migrated_catalog_has_the_schema_of_the_code(fresh_database: FreshDatabase) -> None:
    url = fresh_database()
    Catalog.open(url).close()
    assert differences(url) == []


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_catalog_of_any_revision_is_migrated_to_the_head(fresh_database: FreshDatabase, revision: str) -> None:
    url = fresh_database()
    Database(parse(url)).write("making an old catalog", lambda c: migrate.upgrade(c, revision))
    use(url)
    assert differences(url) == []


def test_opening_again_keeps_everything(fresh_database: FreshDatabase) -> None:
    url = fresh_database()
    use(url)
    with Catalog.open(url) as catalog:
        assert catalog.assets.watermark("clicks") == {"offset": 1}


@pytest.mark.parametrize("statement", [3, 9, 15, 22, 30, 38])
def test_a_migration_that_was_killed_is_completed_by_the_next_opening(
    fresh_database: FreshDatabase, statement: int
) -> None:
    url = fresh_database()
    assert killed_before_statement(statement, lambda: Catalog.open(url))
    use(url)
    assert differences(url) == []


def test_a_catalog_of_a_newer_release_is_refused_and_left_alone(fresh_database: FreshDatabase) -> None:
    url = fresh_database()
    Catalog.open(url).close()
    set_revision(url, "9999")
    with pytest.raises(
        ConfigError, match=f"to revision '9999', this release knows revisions up to '{HEAD}'"
    ) as refusal:
        Catalog.open(url)
    assert "upgrade millrace" in refusal.value.hint
    set_revision(url, HEAD)
    use(url)


def test_other_tables_in_the_same_database_are_left_alone(fresh_database: FreshDatabase) -> None:
    url = fresh_database()
    database = Database(parse(url))
    database.write("someone else", lambda c: c.execute(sqlalchemy.text("create table runs (id int)")).close())
    use(url)
    count = sqlalchemy.text("select count(*) from runs")
    assert database.read("someone else", lambda c: c.execute(count).scalar()) == 0


def test_an_up_to_date_catalog_opens_without_alembic_and_the_package_is_light(sqlite_url: str) -> None:
    Catalog.open(sqlite_url).close()
    heavy = "{'alembic', 'pyarrow', 'pandas', 'pyspark', 'pymysql', 'psycopg', 'numpy', 'pydantic'}"
    code = (
        "import sys; from millrace.catalog import Catalog; catalog = Catalog.open(sys.argv[1]); catalog.assets.list();"
        f" sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    )
    command = [sys.executable, "-c", code, sqlite_url]
    done = subprocess.run(command, check=False, env=os.environ, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
