"""Bring a catalog's schema to `HEAD` when it is opened; alembic is imported only when there is something to do.

Processes that open it at the same time wait for one another: SQLite by its write lock, PostgreSQL by an advisory lock
of the transaction, MySQL and MariaDB by a named lock, because there each statement of a migration commits by itself.
Their migrations therefore skip what is already there, so that one that was killed is completed by the next opening.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from millrace.catalog.database import Database
from millrace.catalog.faults import Fault, classify
from millrace.catalog.schema import HEAD, REVISION_TABLE, REVISIONS
from millrace.errors import ConfigError, TransientError

SCRIPTS = Path(__file__).with_name("migrations")
_POSTGRES_LOCK = int.from_bytes(hashlib.sha256(b"millrace catalog migration").digest()[:7], "big")
_LOCK_TURNS, _LOCK_TURN_S = 12, 10


def to_head(database: Database) -> None:
    """Migrate a fresh or older catalog to `HEAD`; an up-to-date one costs one short read.

    Raises ConfigError for a catalog that a newer release has migrated, TransientError when another process is still
    migrating it after two minutes.
    """
    shown = database.address.shown
    if _is_at_head(database.read("opening the catalog", _revision), shown):
        return
    import alembic.command  # noqa: F401  before the lock is taken: it takes a while

    def migrate(connection: Connection) -> None:
        with _alone(connection, shown):
            if not _is_at_head(_revision(connection), shown):
                upgrade(connection, HEAD)

    database.write("migrating the catalog", migrate)


def upgrade(connection: Connection, revision: str) -> None:
    """Run the migrations up to `revision` within the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _is_at_head(revision: str | None, shown: str) -> bool:
    if revision is not None and revision not in REVISIONS:
        raise ConfigError(
            f"opening the catalog {shown}: a newer millrace has migrated it to revision '{revision}', "
            f"this release knows revisions up to '{HEAD}'",
            hint="upgrade millrace here too (`pip install --upgrade millrace`), or set MILLRACE_CATALOG to another one",
        )
    return revision == HEAD


def _revision(connection: Connection) -> str | None:
    """The stored revision; None for a fresh database."""
    statement = text(f"select version_num from {REVISION_TABLE}")
    try:
        with connection.begin_nested():
            return connection.execute(statement).scalar()
    except DBAPIError as error:
        if classify(error) is not Fault.OTHER:
            raise
        if not inspect(connection).has_table(REVISION_TABLE):
            return None
    return connection.execute(statement).scalar()  # another process has just made the table


@contextmanager
def _alone(connection: Connection, shown: str) -> Iterator[None]:
    match connection.dialect.name:
        case "postgresql":
            # Whoever migrates may take longer than a row's lock would be waited for.
            connection.execute(text(f"select set_config('lock_timeout', '{_LOCK_TURNS * _LOCK_TURN_S}s', true)"))
            connection.execute(text(f"select pg_advisory_xact_lock({_POSTGRES_LOCK})"))
            yield
        case "mysql" | "mariadb":
            yield from _named_lock(connection, shown)
        case _:
            yield


def _named_lock(connection: Connection, shown: str) -> Iterator[None]:
    database = str(connection.execute(text("select database()")).scalar())
    name = f"millrace-{hashlib.sha256(database.encode()).hexdigest()[:40]}"
    take = text(f"select get_lock('{name}', {_LOCK_TURN_S})")
    if not any(connection.execute(take).scalar() == 1 for _ in range(_LOCK_TURNS)):
        raise TransientError(
            f"migrating the catalog {shown}: another process has been migrating it for {_LOCK_TURNS * _LOCK_TURN_S} s",
            hint="wait for it, then try again",
        )
    try:
        yield
    finally:
        connection.execute(text(f"do release_lock('{name}')"))
