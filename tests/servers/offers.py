"""What `scripts/servers` offers: for each name a real server, the connections to it, and something to read.

The names of connections, and the tables and topics, are those of the specs in `specs/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchmarks.examples import PARTITIONS, PLAYS_TOPIC, USERS_TABLE, plays, users
from millrace.spec.connection import Connection
from tests.servers.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.mariadb import MariaDb

DATABASE = "shop"
_ASK_S = 5


@dataclass(frozen=True)
class Started:
    """A server that has started: the processes that it is made of, the one whose port people ask for first, and the
    connections to it as URLs by name."""

    processes: Sequence[ServerProcess]
    connections: Mapping[str, str]


@dataclass(frozen=True)
class Offer:
    """One server by name.

    `open(port)` starts it, on `port` where that isn't 0, fills in the examples' data, and ends it on leaving;
    `answers(connection)` asks a running one, and raises OSError or an error of its driver where nothing answers.
    """

    says: str
    connections: Sequence[str]
    open: Callable[[int], AbstractContextManager[Started]]
    answers: Callable[[Connection], bool]


@contextmanager
def _mariadb(port: int) -> Iterator[Started]:
    from tests.servers.mariadb import MariaDb

    server = MariaDb()
    server.port = port or server.port
    with server:
        _fill_users(server)
        yield Started([server], {"mysql_main": server.url(DATABASE)})


def _fill_users(server: MariaDb) -> None:
    server.execute(f"CREATE DATABASE {DATABASE}")
    server.execute(USERS_TABLE, database=DATABASE)
    with server.connect(DATABASE, autocommit=False) as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO users VALUES (%s, %s, %s, %s, %s)", users())
        connection.commit()


def _mysql_answers(connection: Connection) -> bool:
    import pymysql

    pymysql.connect(
        host=connection.host,
        port=connection.port or 3306,
        user=connection.user,
        password=connection.password.value,
        connect_timeout=_ASK_S,
    ).close()
    return True


@contextmanager
def _redis(port: int) -> Iterator[Started]:
    from tests.servers.redis import RedisServer

    server = RedisServer()
    server.port = port or server.port
    with server:
        yield Started([server], {"redis_online": server.url})


@contextmanager
def _redis_cluster(port: int) -> Iterator[Started]:
    """`port` is that of the first node; the others have the next two."""
    from tests.servers.redis import RedisCluster

    cluster = RedisCluster()
    for number, node in enumerate(cluster.nodes):
        node.port = port + number if port else node.port
    with cluster:
        yield Started(cluster.nodes, {"redis_cluster": cluster.url})


def _redis_answers(connection: Connection) -> bool:
    import redis

    with redis.Redis(connection.host, connection.port or 6379, socket_timeout=_ASK_S) as client:
        return bool(client.ping())


@contextmanager
def _kafka(port: int) -> Iterator[Started]:
    from tests.servers.kafka import KafkaServer

    server = KafkaServer()
    server.port = port or server.port
    with server:
        server.new_topic(PARTITIONS, PLAYS_TOPIC)
        for partition in range(PARTITIONS):
            server.produce(PLAYS_TOPIC, plays(partition), partition)
        yield Started([server], {"events": server.url})


def _kafka_answers(connection: Connection) -> bool:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": f"{connection.host}:{connection.port}", "log_level": 0})
    try:
        return bool(admin.list_topics(timeout=_ASK_S).brokers)
    except KafkaException as error:
        raise ConnectionError(str(error)) from error


@contextmanager
def _hbase(port: int) -> Iterator[Started]:
    """`port` is that of the Thrift server."""
    from tests.servers.hbase import HBase

    server = HBase()
    server.thrift.port = port or server.thrift.port
    with server:
        yield Started([server.thrift, server.master], {"hbase_main": server.bulk_url})


def _hbase_answers(connection: Connection) -> bool:
    happybase: Any = import_module("happybase")  # untyped
    with closing(happybase.Connection(connection.host, connection.port or 9090, timeout=_ASK_S * 1000)) as thrift:
        return thrift.tables() is not None


@contextmanager
def _clickhouse(port: int) -> Iterator[Started]:
    from tests.servers.clickhouse import ClickHouseServer

    server = ClickHouseServer()
    server.port = port or server.port
    with server:
        yield Started([server], {"clickhouse_main": f"clickhouse://{server.host}:{server.port}"})


@contextmanager
def _druid(port: int) -> Iterator[Started]:
    """`port` is that of the broker."""
    from tests.servers.druid import Druid

    server = Druid(quick=False, port=port)
    with server:
        yield Started([server.broker, *server.others], {"druid_main": server.url})


def _http_answers(path: str) -> Callable[[Connection], bool]:
    def answers(connection: Connection) -> bool:
        with closing(HTTPConnection(connection.host, connection.port, timeout=_ASK_S)) as link:
            try:
                link.request("GET", path)
                return link.getresponse().status == 200
            except HTTPException as error:
                raise ConnectionError(str(error)) from error

    return answers


OFFERS: Mapping[str, Offer] = {
    "mariadb": Offer("MariaDB, as MySQL, with a table of users", ["mysql_main"], _mariadb, _mysql_answers),
    "redis": Offer("Redis", ["redis_online"], _redis, _redis_answers),
    "redis-cluster": Offer("Redis, a cluster of three nodes", ["redis_cluster"], _redis_cluster, _redis_answers),
    "kafka": Offer("Kafka with a topic of plays", ["events"], _kafka, _kafka_answers),
    "hbase": Offer("HBase with its Thrift server", ["hbase_main"], _hbase, _hbase_answers),
    "clickhouse": Offer(
        "ClickHouse: its engine behind its HTTP interface", ["clickhouse_main"], _clickhouse, _http_answers("/ping")
    ),
    "druid": Offer("Druid: five processes of 1.5 GiB", ["druid_main"], _druid, _http_answers("/status/health")),
}
