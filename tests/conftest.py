"""Fixtures of every test: real servers, each started when a test first asks for it, and one Spark session."""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from millrace.jobs import jvm
from millrace.jobs.launch import end_jvm
from millrace.jobs.session import spark_session
from millrace.spec.settings import Settings
from tests.servers.clickhouse import ClickHouse, ClickHouseDatabase, running_clickhouse
from tests.servers.druid import Druid
from tests.servers.hbase import HBase
from tests.servers.kafka import KafkaServer
from tests.servers.leftovers import end_leftovers, mark_session
from tests.servers.mariadb import Database, MariaDb
from tests.servers.postgres import Postgres
from tests.servers.redis import RedisCluster, RedisServer, RedisTlsServer

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_CACHE = Path(__file__).resolve().parent.parent / ".cache"
_EXIT_TIMEOUT_S = 60.0
_LEFTOVERS = pytest.StashKey[list[str]]()

os.environ["PYSPARK_PYTHON"] = sys.executable
os.environ["JAVA_HOME"] = str(jvm.java().resolve().parent.parent)
os.environ.setdefault("MILLRACE_JARS", str(_CACHE / "jars"))
os.environ.setdefault("MILLRACE_CACHE", str(_CACHE))
mark_session()
# No test fails because a machine is slow; and a change is not refused for what an old one should have found.
hypothesis.settings.register_profile(
    "millrace",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("millrace")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail when a test has left a process behind, and end that process."""
    end_jvm()  # of tests that have made a session themselves: it ends with this process
    session.config.stash[_LEFTOVERS] = end_leftovers()
    if session.config.stash[_LEFTOVERS]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure() -> None:
    """When a thread that a test has left keeps this process from ending: say where it stands, and end with code 1."""
    faulthandler.dump_traceback_later(_EXIT_TIMEOUT_S, exit=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    leftovers = config.stash[_LEFTOVERS]
    if leftovers:
        terminalreporter.section("processes that tests left behind, now killed", red=True)
        terminalreporter.write_line("\n".join(leftovers))


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One session on local[2] for all tests, made as runs make theirs, with a heap of 1 GiB."""
    home = tmp_path_factory.mktemp("spark")
    settings = Settings.from_env(
        {
            "MILLRACE_HOME": str(home),
            "MILLRACE_SPARK_MASTER": "local[2]",
            "MILLRACE_SPARK_CONF": f"spark.driver.memory=1g spark.local.dir={home}",
        }
    )
    session = spark_session(settings, "millrace tests")
    yield session
    session.stop()
    end_jvm()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    """A MariaDB server for all tests. A test that kills it starts its own: `with MariaDb() as server`."""
    with MariaDb() as server:
        yield server


@pytest.fixture
def mariadb_database(mariadb: MariaDb) -> Iterator[Database]:
    """An empty database, gone after the test."""
    database = mariadb.new_database()
    yield database
    database.drop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests."""
    with Postgres() as server:
        yield server


@pytest.fixture
def postgres_database(postgres: Postgres) -> Iterator[str]:
    """The SQLAlchemy URL of an empty database, gone after the test."""
    name = postgres.new_database()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def _redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_server(_redis_server: RedisServer) -> RedisServer:
    """A Redis, empty at the test's start. A test that kills it starts its own: `with RedisServer() as server`."""
    _redis_server.flush()
    return _redis_server


@pytest.fixture(scope="session")
def _redis_with_password() -> Iterator[RedisServer]:
    with RedisServer(password="pass/word:with@marks") as server:
        yield server


@pytest.fixture
def redis_with_password(_redis_with_password: RedisServer) -> RedisServer:
    """A Redis that asks for a password, empty at the test's start."""
    _redis_with_password.flush()
    return _redis_with_password


@pytest.fixture(scope="session")
def _redis_tls() -> Iterator[RedisTlsServer]:
    with RedisTlsServer() as server:
        yield server


@pytest.fixture
def redis_tls(_redis_tls: RedisTlsServer) -> RedisTlsServer:
    """A Redis that speaks only TLS, empty at the test's start."""
    _redis_tls.flush()
    return _redis_tls


@pytest.fixture(scope="session")
def _redis_cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as cluster:
        yield cluster


@pytest.fixture
def redis_cluster(_redis_cluster: RedisCluster) -> RedisCluster:
    """A Redis cluster of three masters, empty at the test's start."""
    _redis_cluster.flush()
    return _redis_cluster


@pytest.fixture(scope="session")
def clickhouse() -> Iterator[ClickHouse]:
    """A ClickHouse for all tests. A test that kills it starts its own: `with ClickHouseServer() as server`."""
    with running_clickhouse() as server:
        yield server


@pytest.fixture
def clickhouse_database(clickhouse: ClickHouse) -> Iterator[ClickHouseDatabase]:
    """An empty database, gone after the test."""
    database = clickhouse.new_database()
    yield database
    database.drop()


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    """A Kafka broker for all tests, each with topics of its own. A test that kills it starts its own."""
    with KafkaServer() as server:
        yield server


@pytest.fixture(scope="session")
def hbase() -> Iterator[HBase]:
    """An HBase with its Thrift server for all tests; each test uses tables and assets of its own names.

    A test that kills it starts its own: `with HBase() as server`.
    """
    with HBase() as server:
        yield server


@pytest.fixture(scope="session")
def druid() -> Iterator[Druid]:
    """A Druid of five JVMs (1.3 GiB) for all tests; each test uses assets of its own names.

    Everything that needs it stands in few files, so that not every process of a test run starts one.
    """
    with Druid() as server:
        yield server
