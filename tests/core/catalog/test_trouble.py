"""What a database does at night: it says no, hangs up, fills up, or holds a lock."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Connection, event, select, text

from millrace.catalog import Catalog, NewRun
from millrace.catalog.address import parse
from millrace.catalog.database import Database
from millrace.catalog.schema import asset
from millrace.errors import ConfigError, MillraceError, RunFailed, TransientError
from tests.core.catalog.conftest import FreshDatabase, new_database, server_url
from tests.core.catalog.life import ASSET, HandClock, Life
from tests.core.catalog.processes import at_once

SERVERS = ("mariadb", "postgresql")
SECRET = "s3cret-Gfw7"


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> sqlalchemy.URL:
    return server_url(request, request.param)


def told(call: Callable[[], object], kind: type[MillraceError]) -> str:
    """The error's whole text, chain included, as a log would show it."""
    with pytest.raises(kind) as refusal:
        call()
    assert type(refusal.value) is kind
    assert refusal.value.hint
    return "".join(traceback.format_exception(refusal.value)) + str(refusal.value)


def opened(url: sqlalchemy.URL) -> Callable[[], object]:
    return lambda: Catalog.open(url.render_as_string(hide_password=False))


def test_a_wrong_password_is_a_clear_error_without_the_password(server: sqlalchemy.URL) -> None:
    said = told(opened(server.set(password=SECRET)), ConfigError)
    assert SECRET not in said
    assert f"opening the catalog: catalog {server.drivername}://{server.username}:***@127.0.0.1" in said
    assert "the password" in said


def test_a_database_that_is_not_there_is_named(server: sqlalchemy.URL) -> None:
    assert "no_such_catalog" in told(opened(server.set(database="no_such_catalog")), ConfigError)


def test_a_server_that_is_not_there_may_be_back_later(server: sqlalchemy.URL, unused_port: int) -> None:
    said = told(opened(server.set(port=unused_port, password=SECRET)), TransientError)
    assert "the server is away" in said
    assert SECRET not in said


@pytest.fixture
def unused_port() -> Iterator[int]:
    import socket

    with socket.socket() as taken:  # bound, yet nobody listens: nobody else gets it meanwhile
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def own_connection(connection: Connection) -> str:
    query = "select pg_backend_pid()" if connection.dialect.name == "postgresql" else "select connection_id()"
    return str(connection.execute(text(query)).scalar())


def hang_up(url: str, connection_id: str) -> None:
    """As an administrator, or a restart, would."""
    kill = f"select pg_terminate_backend({connection_id})" if "postgresql" in url else f"kill {connection_id}"
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(kill))
    engine.dispose()


def test_a_connection_that_was_lost_while_idle_is_replaced(server: sqlalchemy.URL) -> None:
    url = new_database(server)
    with Catalog.open(url, clock=HandClock()) as catalog:
        hang_up(url, catalog._database.read("asking", own_connection))
        assert catalog.assets.list() == []


def test_a_transaction_whose_connection_was_lost_is_done_again(server: sqlalchemy.URL) -> None:
    url = new_database(server)
    clock = HandClock()
    with Catalog.open(url, clock=clock) as catalog:
        Life(catalog, clock).register()
        seen: list[str] = []

        def work(connection: Connection) -> int:
            connection.execute(asset.update().values(owner=asset.c.owner + "!"))
            seen.append(own_connection(connection))
            if len(seen) == 1:
                hang_up(url, seen[0])
            connection.execute(select(asset)).all()
            return len(seen)

        assert catalog._database.write("working", work) == 2
        assert seen[0] != seen[1]
        assert catalog.assets.get(ASSET).owner == "growth@example.com!"


def test_a_commit_whose_connection_was_lost_is_not_done_twice(server: sqlalchemy.URL) -> None:
    url = new_database(server)
    tries = []

    def work(connection: Connection) -> None:
        tries.append(1)
        hang_up(url, own_connection(connection))

    Catalog.open(url).close()
    with pytest.raises(TransientError, match=r"working: catalog .*; whether it was kept is not known"):
        Database(parse(url)).write("working", work)
    assert tries == [1]


def test_a_server_hangs_up_on_a_process_that_stopped_in_the_middle_of_a_write(server: sqlalchemy.URL) -> None:
    limits = (
        "select current_setting('idle_in_transaction_session_timeout'), current_setting('lock_timeout')"
        if server.get_backend_name() == "postgresql"
        else "select @@session.wait_timeout, @@session.innodb_lock_wait_timeout"
    )
    url = new_database(server)
    found = Database(parse(url)).write("asking", lambda c: c.execute(text(limits)).one())
    assert tuple(found) in {("2min", "10s"), (120, 10)}


def test_two_writers_that_wait_for_each_other_both_succeed(server: sqlalchemy.URL) -> None:
    url = new_database(server)
    clock = HandClock()
    with Catalog.open(url, clock=clock) as catalog:
        for name in ("a", "b"):
            Life(catalog, clock, name).register()
        meet = threading.Barrier(2)
        tries: list[str] = []

        def writer(*names: str) -> Callable[[], None]:
            def work(connection: Connection) -> None:
                tries.append(names[0])
                for name in names:
                    connection.execute(
                        asset.update().where(asset.c.name == name).values(owner=asset.c.owner + names[0])
                    )
                    if len(tries) <= 2 and name == names[0]:
                        meet.wait(20)

            return lambda: catalog._database.write("working", work)

        threads = [threading.Thread(target=writer(*names)) for names in (("a", "b"), ("b", "a"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(tries) == 3
        assert {catalog.assets.get("a").owner[-2:], catalog.assets.get("b").owner[-2:]} <= {"ab", "ba"}


def test_a_user_without_rights_is_told_so(server: sqlalchemy.URL) -> None:
    url = sqlalchemy.make_url(new_database(server))
    name = f"reader_of_{url.database}"
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    host = "@'%'" if server.get_backend_name() != "postgresql" else ""
    local = "@localhost" if host else ""
    Catalog.open(url.render_as_string(hide_password=False)).close()
    with engine.connect() as connection:
        for at in {host, local}:
            identified = f"identified by '{SECRET}'" if at else f"login password '{SECRET}'"
            what = f"{url.database}.*" if at else "all tables in schema public"
            connection.execute(text(f"create user {name}{at} {identified}"))
            connection.execute(text(f"grant select on {what} to {name}{at}"))
    engine.dispose()
    reader = url.set(username=name, password=SECRET).render_as_string(hide_password=False)
    with Catalog.open(reader) as catalog:
        assert catalog.assets.list() == []
        said = told(lambda: Life(catalog, HandClock()).register(), ConfigError)
    assert "registering the spec of 'clicks'" in said
    assert SECRET not in said
    assert "the rights" in said


def test_a_read_only_database_is_told_so(request: pytest.FixtureRequest) -> None:
    url = new_database(server_url(request, "postgresql"))
    Catalog.open(url).close()
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"alter database {engine.url.database} set default_transaction_read_only = on"))
    engine.dispose()
    with Catalog.open(url) as catalog:
        assert "it is read-only" in told(lambda: Life(catalog, HandClock()).register(), ConfigError)


def test_a_table_that_someone_has_dropped_is_told_so(fresh_database: FreshDatabase) -> None:
    url = fresh_database()
    with Catalog.open(url) as catalog:
        catalog._database.write("dropping", lambda c: c.execute(text("drop table millrace_dirty")).close())
        assert "millrace_dirty" in told(lambda: catalog.dirty.count("r"), RunFailed)


def test_a_lock_that_is_held_too_long_is_told_and_nothing_is_written(sqlite_url: str) -> None:
    pauses: list[float] = []
    Catalog.open(sqlite_url).close()
    database = Database(parse(f"{sqlite_url}?timeout=0.01"), pause=pauses.append)
    holder = sqlite3.connect(str(parse(sqlite_url).file), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    said = told(lambda: database.write("noting something", lambda c: c.execute(asset.delete()).close()), TransientError)
    assert "noting something: catalog sqlite" in said
    assert "another process holds a lock" in said
    assert len(pauses) == 3
    assert sorted(pauses) == pauses
    assert database.read("reading", lambda c: c.execute(select(asset)).all()) == []
    holder.execute("COMMIT")
    holder.close()
    database.write("noting something", lambda c: c.execute(asset.delete()).close())


def test_readers_do_not_wait_for_a_writer(sqlite_url: str) -> None:
    with Catalog.open(sqlite_url) as catalog:
        holder = sqlite3.connect(str(parse(sqlite_url).file), isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        assert catalog.assets.list() == []
        holder.close()


def test_a_full_disk_is_told_and_leaves_the_catalog_whole(sqlite_url: str) -> None:
    clock = HandClock()
    with Catalog.open(sqlite_url, clock=clock) as catalog:
        life = Life(catalog, clock)
        version = life.published({"offset": 1})
        run = life.start()

        @event.listens_for(catalog._database._engine, "checkout")
        def fill(connection: sqlite3.Connection, *_: object) -> None:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}")

        class Row:
            reason, origin, raw = "bad", "here", b"x" * 100_000

        said = told(lambda: catalog.dirty.add(run.id, "stage", [Row()]), TransientError)
        assert "no space is left for it" in said
        assert "free some space" in said
        assert catalog.versions.current(ASSET) == version
        assert catalog.dirty.count(run.id) == 0


def test_a_file_that_cannot_be_written_is_told(clock: HandClock) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalog.db"
        url = f"sqlite:///{path}"
        Catalog.open(url).close()
        Path(folder).chmod(0o555)
        path.chmod(0o444)

        def register() -> str:
            if os.getuid() == 0:
                os.setuid(65_534)  # root may write anything
            with Catalog.open(url, clock=clock) as catalog:
                return told(lambda: Life(catalog, clock).register(), ConfigError)

        (said,) = at_once([register])
        Path(folder).chmod(0o755)
    assert "read-only" in str(said)
    assert "the right to write it and its folder" in str(said)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = told(lambda: Catalog.open(f"sqlite:///{tmp_path}/file/deep/catalog.db"), ConfigError)
    assert "its folder can't be made: Not a directory" in said


def test_a_folder_instead_of_a_file_is_told(tmp_path: Path) -> None:
    assert "it can't be opened" in told(lambda: Catalog.open(f"sqlite:///{tmp_path}"), ConfigError)


def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    path.write_bytes(b"asset: clicks\n" * 100)
    assert "not a SQLite database" in told(lambda: Catalog.open(f"sqlite:///{path}"), ConfigError)
    assert path.read_bytes().startswith(b"asset: clicks")


def test_a_catalog_works_in_a_forked_child_and_in_threads(life: Life) -> None:
    life.register()
    catalog = life.catalog

    def start() -> str:
        return catalog.runs.start(NewRun(ASSET, "d", ("plan",))).asset

    assert at_once([start] * 3) == [ASSET] * 3
    failures: list[BaseException] = []

    def in_thread() -> None:
        try:
            for _ in range(10):
                start()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=in_thread) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(catalog.runs.list(ASSET, limit=100)) == 43


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"mysql://u:{SECRET}@h/", "names no database"),
        (f"postgres://u:{SECRET}@h", "names no database"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        (f"mysql+mysqldb://u:{SECRET}@h/db", "can't be kept in 'mysql+mysqldb'"),
        (f"oracle://u:{SECRET}@h/db", "can't be kept in 'oracle'"),
        (f"{SECRET}", "can't be read"),
        (f"mysql://u:{SECRET}@h:port/db", "can't be read"),
        (f"postgresql://u@h/?sslpassword={SECRET}", "names no database"),
    ],
)
def test_a_url_that_cannot_be_a_catalog_is_refused_without_showing_it(url: str, says: str) -> None:
    said = told(lambda: Catalog.open(url), ConfigError)
    assert says in said
    assert "MILLRACE_CATALOG is e.g." in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("mysql://h/db", "mysql+pymysql"),
        ("mariadb://h/db", "mariadb+pymysql"),
        ("postgres://h/db", "postgresql+psycopg"),
        ("postgresql://h/db", "postgresql+psycopg"),
        ("sqlite:///a.db", "sqlite+pysqlite"),
    ],
)
def test_the_driver_is_filled_in(url: str, driver: str) -> None:
    address: Any = parse(url)
    assert address.url.drivername == driver
