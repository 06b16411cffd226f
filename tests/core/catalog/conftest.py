"""A catalog on each of the databases that it can be kept in: SQLite, MariaDB and PostgreSQL, all real."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy

from millrace.catalog import Catalog
from tests.core.catalog.life import HandClock, Life
from tests.servers.mariadb import MariaDb
from tests.servers.postgres import Postgres

DATABASES = ("sqlite", "mariadb", "postgresql")
_numbers = itertools.count()

FreshDatabase = Callable[[], str]


@pytest.fixture(scope="session", params=DATABASES)
def fresh_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FreshDatabase:
    """Makes an empty database, and gives its URL."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path_factory.mktemp('catalog') / 'catalog.db'}"
    server = server_url(request, request.param)
    return lambda: new_database(server)


@pytest.fixture(scope="session")
def shared_url(fresh_database: FreshDatabase) -> str:
    url = fresh_database()
    Catalog.open(url).close()
    return url


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def catalog(shared_url: str, clock: HandClock) -> Iterator[Catalog]:
    """An open catalog without assets."""
    with Catalog.open(shared_url, clock=clock) as opened:
        yield opened
        clock.advance(1e9)  # every lease has run out
        for asset in opened.assets.list():
            opened.assets.remove(asset.name)


@pytest.fixture
def life(catalog: Catalog, clock: HandClock) -> Life:
    return Life(catalog, clock)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'catalog.db'}"


def server_url(request: pytest.FixtureRequest, kind: str) -> sqlalchemy.URL:
    """The URL of a running server, as a user who may make databases and users."""
    if kind == "mariadb":
        mariadb: MariaDb = request.getfixturevalue("mariadb")
        return sqlalchemy.make_url(mariadb.url("mysql")).set(drivername="mysql+pymysql")
    postgres: Postgres = request.getfixturevalue("postgres")
    return sqlalchemy.make_url(postgres.url())


def new_database(server: sqlalchemy.URL) -> str:
    name = f"catalog_{os.getpid()}_{next(_numbers)}"
    engine = sqlalchemy.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"create database {name}"))
    engine.dispose()
    return server.set(database=name).render_as_string(hide_password=False)
