"""The real stores start, answer, survive a kill and forget on request."""

from __future__ import annotations

import ssl

import pymysql
import pytest
import redis
from redis.exceptions import MovedError

from tests.servers.mariadb import Database, MariaDb
from tests.servers.postgres import Postgres
from tests.servers.redis import ONCE, RedisCluster, RedisServer, RedisTlsServer


def test_mariadb_is_what_a_mysql_of_today_is(mariadb_database: Database) -> None:
    mariadb_database.execute("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20))")
    mariadb_database.insert("t", [(1, "smile 😀"), (2, None)])
    assert mariadb_database.execute("SELECT * FROM t ORDER BY id") == [(1, "smile 😀"), (2, None)]
    settings = "SELECT @@character_set_server, @@time_zone, @@sql_mode LIKE '%%STRICT%%', @@datadir"
    assert mariadb_database.execute(settings)[0][:3] == ("utf8mb4", "+00:00", 1)
    with pytest.raises(pymysql.err.DataError):
        mariadb_database.execute("INSERT INTO t VALUES (3, REPEAT('x', 21))")


def test_every_test_has_its_own_database(mariadb: MariaDb) -> None:
    first, second = mariadb.new_database(), mariadb.new_database()
    first.execute("CREATE TABLE t (id INT)")
    assert second.execute("SHOW TABLES") == []
    first.drop()
    second.drop()


def test_a_killed_mariadb_keeps_what_was_committed() -> None:
    with MariaDb() as server:
        database = server.new_database()
        database.execute("CREATE TABLE t (id INT)")
        database.insert("t", [(1,)])
        server.kill()
        with pytest.raises(pymysql.err.OperationalError):
            server.connect()
        server.restart()
        assert database.execute("SELECT * FROM t") == [(1,)]


def test_postgres_gives_empty_databases_and_survives_a_kill() -> None:
    with Postgres() as server:
        name = server.new_database()
        with server.connect(name) as connection:
            connection.execute("CREATE TABLE t AS SELECT 1 AS id")
        server.kill()
        server.restart()
        with server.connect(name) as connection:
            assert connection.execute("SELECT id FROM t").fetchall() == [(1,)]
        server.drop_database(name)


def test_redis_is_empty_at_the_start_of_each_test(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        assert client.dbsize() == 0
        client.set("left behind", 1)


def test_redis_is_empty_again(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        assert client.dbsize() == 0


def test_a_persistent_redis_keeps_its_keys_when_it_is_killed() -> None:
    with RedisServer(persistent=True) as server, server.client() as client:
        client.set("key", "value")
        server.kill()
        server.restart()
        assert client.get("key") == b"value"


def test_redis_asks_for_its_password(redis_with_password: RedisServer) -> None:
    with redis_with_password.client() as client:
        assert client.ping()
    with redis.Redis(port=redis_with_password.port, retry=ONCE) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_redis_with_tls_shows_a_certificate_that_its_authority_signed(redis_tls: RedisTlsServer) -> None:
    with redis_tls.client() as client:
        assert client.ping()
    with (
        redis.Redis(port=redis_tls.port, ssl=True, retry=ONCE) as stranger,
        pytest.raises(redis.ConnectionError) as refused,
    ):
        stranger.ping()
    assert isinstance(refused.value.__context__, ssl.SSLCertVerificationError)


def test_the_cluster_shares_out_its_slots(redis_cluster: RedisCluster) -> None:
    with redis_cluster.client() as client:
        for number in range(100):
            client.set(f"key {number}", number)
    sizes = [node.client().dbsize() for node in redis_cluster.nodes]
    assert sum(sizes) == 100
    assert all(sizes)


def test_a_slot_can_move_to_another_node(redis_cluster: RedisCluster) -> None:
    redis_cluster.move_slot(0, to=2)
    with redis_cluster.nodes[0].client() as client, pytest.raises(MovedError) as moved:
        client.get("{06S}")  # its slot is 0
    assert moved.value.port == redis_cluster.nodes[2].port
    redis_cluster.move_slot(0, to=0)
