"""MySQL as a source, on Spark and a real server: errors that say what to do, no secret anywhere, TLS, changes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from pydantic import ValidationError

from millrace.connectors.base import PlanRequest, SourcePlan, Window
from millrace.connectors.mysql import connector, splits
from millrace.connectors.mysql import source as mysql_source
from millrace.connectors.mysql.client import TooSlow, connect
from millrace.connectors.mysql.endpoint import SslMode, endpoint, jdbc_url
from millrace.connectors.mysql.options import MysqlOptions
from millrace.connectors.mysql.source import MysqlSource
from millrace.errors import ConfigError, MillraceError, SourceError, TransientError
from millrace.jobs.gate import GateServer, StepLimits
from millrace.jobs.spark_errors import translate
from millrace.spec.connection import Connection, parse_url
from tests.servers.mariadb import Database, MariaDb

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@pytest.fixture(scope="module")
def database(mariadb: MariaDb) -> Iterator[Database]:
    found = mariadb.new_database()
    found.execute("CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(20), city VARCHAR(20))")
    found.execute("INSERT INTO users SELECT seq, CONCAT('n', seq), IF(seq % 2, 'oslo', NULL) FROM seq_1_to_1000")
    yield found
    found.drop()


def source(url: str, **options: Any) -> MysqlSource:
    options = {"connection": "db", "table": "users", **options}
    return MysqlSource(MysqlOptions.model_validate(options), parse_url("db", url, "the test"))


def plan(of: MysqlSource) -> SourcePlan:
    return of.plan(PlanRequest(2, Window(), None, lambda: pytest.fail("a plan needs no Spark")))


@contextmanager
def reading(of: MysqlSource, spark: SparkSession, planned: SourcePlan | None = None) -> Iterator[DataFrame]:
    with GateServer() as gate:
        yield of.read(spark, planned or plan(of), gate.open_step("read", StepLimits())).frame


def read(of: MysqlSource, spark: SparkSession, planned: SourcePlan) -> None:
    with reading(of, spark, planned) as frame:
        frame.collect()


def rows(of: MysqlSource, spark: SparkSession) -> list[tuple[Any, ...]]:
    with reading(of, spark) as frame:
        return sorted(tuple(row) for row in frame.collect())


def test_columns_and_where_choose_what_is_read(database: Database, spark: SparkSession) -> None:
    of = source(database.url, columns=["name", "ID"], where="id < 4 AND name LIKE 'n%' -- the first ones")
    planned = plan(of)
    assert [str(c) for c in planned.columns] == ["name string", "id int"]
    assert rows(of, spark) == [("n1", 1), ("n2", 2), ("n3", 3)]
    assert rows(source(database.url, where="city IS NULL AND name = 'n10?'"), spark) == []


def test_splits_are_read_from_the_index_and_no_row_twice(
    database: Database, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "_LEAST_ROWS", 1)
    for split_by in ("id", "name"):
        database.execute("CREATE OR REPLACE TABLE many (id INT PRIMARY KEY, name VARCHAR(40), day DATE, KEY (name))")
        database.execute("INSERT INTO many SELECT seq, MD5(seq), '2024-01-01' FROM seq_1_to_4000")
        database.execute("ANALYZE TABLE many")
        of = source(database.url, table="many", split_by=split_by, where="day > '2000-01-01'")
        planned = plan(of)
        assert len(planned.splits) >= 8
        before = rows_handled(database)
        with reading(of, spark, planned) as frame:
            assert len(frame.collect()) == 4_000
        assert rows_handled(database) - before < 4_100


def rows_handled(database: Database) -> int:
    found = database.execute("SHOW GLOBAL STATUS LIKE 'Handler_read%'")
    return sum(int(value) for name, value in found if name in ("Handler_read_next", "Handler_read_rnd_next"))


def test_the_database_may_be_another_than_the_connections(database: Database, mariadb: MariaDb) -> None:
    assert plan(source(mariadb.url(), database=database.name)).estimated_rows
    with pytest.raises(ConfigError, match="names a database"):
        plan(source(mariadb.url()))


def test_errors_name_the_closest_and_say_what_there_is(database: Database) -> None:
    for options, words, hint in (
        ({"columns": ["nmae"]}, "`columns` names 'nmae', .* did you mean 'name'", "its columns are id, name, city"),
        ({"split_by": "ide"}, "`split_by` names 'ide', .* did you mean 'id'", "its columns are"),
        ({"table": "user"}, r"no table 'user' .* did you mean 'users'", "grant the user SELECT"),
        ({"database": "nowhere"}, "no database 'nowhere'", "correct the connection's database"),
        (
            {"where": "agee > 3"},
            r"refuses `where: agee > 3`: .*Unknown column 'agee'",
            "a condition in MySQL's own words",
        ),
        ({"where": "1; DROP TABLE users"}, "refuses `where: 1; DROP TABLE users`", ""),
    ):
        with pytest.raises(SourceError, match=words) as caught:
            plan(source(database.url, **options))
        assert hint in caught.value.hint
    database.execute("CREATE TABLE blobs (id TEXT)")
    with pytest.raises(SourceError, match="`split_by: id` is a text, which can't be split"):
        plan(source(database.url, table="blobs", split_by="id"))


def test_a_wrong_password_and_a_dead_server_are_told_apart(database: Database, mariadb: MariaDb) -> None:
    wrong = Connection("db", "mysql", port=mariadb.port, user="millrace", database=database.name)
    with pytest.raises(SourceError, match="Access denied for user 'millrace'") as caught:
        plan(MysqlSource(MysqlOptions(connection="db", table="users"), wrong))
    assert "correct user and password of the connection db" in caught.value.hint
    with pytest.raises(TransientError, match="Can't connect"):
        plan(source("mysql://u:p@127.0.0.1:1/x"))
    with pytest.raises(TransientError, match="Can't connect"):
        plan(source("mysql://u:p@no.such.host.invalid/x"))


def test_a_server_that_dies_while_it_is_read_is_a_reason_to_try_again(spark: SparkSession) -> None:
    with MariaDb() as server:
        dying = server.new_database()
        dying.execute("CREATE TABLE users (id INT PRIMARY KEY, name TEXT)")
        dying.execute("INSERT INTO users SELECT seq, REPEAT('x', 100) FROM seq_1_to_1000")
        of = source(dying.url, where="SLEEP(0.05) = 0", plan_timeout="1s")
        with reading(of, spark) as frame:
            server.kill()
            with pytest.raises(Exception, match=r".") as caught:
                frame.collect()
    assert isinstance(translate(caught.value, "staging users"), TransientError)


def test_a_table_that_changed_after_the_plan_is_refused(database: Database, spark: SparkSession) -> None:
    database.execute("CREATE TABLE changing (id INT PRIMARY KEY, a INT, b INT)")
    of = source(database.url, table="changing")
    planned = plan(of)
    database.execute("ALTER TABLE changing MODIFY a BIGINT")
    with pytest.raises(SourceError, match=r"its column a was int\(11\) and is bigint\(20\)"):
        read(of, spark, planned)
    database.execute("ALTER TABLE changing MODIFY a INT, DROP COLUMN b")
    with pytest.raises(SourceError, match=r"its column b is gone \(it was int\(11\)\)"):
        read(of, spark, planned)
    database.execute("DROP TABLE changing")
    with pytest.raises(SourceError, match="no table 'changing'"):
        read(of, spark, planned)


def test_no_secret_shows_in_plans_explanations_logs_or_errors(
    database: Database, spark: SparkSession, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = database.server.password
    of = source(database.url)
    with caplog.at_level(logging.DEBUG):
        planned = plan(of)
        with reading(of, spark, planned) as frame:
            frame.explain(extended=True)
            frame.collect()
        with pytest.raises(MillraceError) as caught:
            plan(source(database.url, table="none"))
        with reading(source(database.url, where="1 = 1"), spark, planned) as broken:
            database.execute("RENAME TABLE users TO users_away")
            try:
                with pytest.raises(Exception, match=r".") as failed:
                    broken.collect()
            finally:
                database.execute("RENAME TABLE users_away TO users")
    end = endpoint(parse_url("db", database.url, "the test"))
    out = capfd.readouterr()
    said = (
        repr(planned),
        caplog.text,
        out.out,
        out.err,
        str(caught.value),
        str(failed.value),
        jdbc_url(end, {}, {}),
        repr(end),
        repr(of.options),
    )
    for text in said:
        for form in (secret, secret.replace("/", "%2F").replace(":", "%3A").replace("@", "%40")):
            assert form not in text


def test_session_variables_reach_the_server(database: Database, spark: SparkSession) -> None:
    of = source(database.url, where="id = 1 AND @@net_write_timeout = 3600 AND @@time_zone = '+00:00'")
    assert rows(of, spark) == []
    of = source(database.url, where=of.options.where, session={"net_write_timeout": 3600, "optimizer_search_depth": 10})
    assert len(rows(of, spark)) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"session": {"time_zone": "+01:00"}}, "'time_zone' can't be set"),
        ({"session": {"Net-Write": 1}}, "is no name of a session variable"),
        ({"session": {"sql_mode": "x' , y='"}}, "characters that no session variable needs"),
        ({"plan_timeout": "10ms"}, "greater than or equal"), ({"table": ""}, "at least 1 character"),
        ({"columns": []}, "at least 1 item"), ({"colums": ["id"]}, "Extra inputs"), ({"where": "\0"}, "NUL"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_explained(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        source("mysql://u:p@h/d", **options)


def test_connection_parameters_are_checked() -> None:
    def end(query: str) -> Any:
        return endpoint(parse_url("db", f"mysql://u:p@h/d?{query}", "the test"))

    assert end("").ssl_mode is SslMode.PREFERRED
    assert end("ssl_mode=REQUIRED&connect-timeout=3").ssl_mode is SslMode.REQUIRED
    assert end("ssl-ca=/ca.pem").ssl_mode is SslMode.VERIFY_CA
    for query, words in (
        ("ssl-mod=x", "'ssl-mod' .*, did you mean 'ssl-mode'"), ("ssl-mode=requird", "did you mean 'required'"),
        ("connect-timeout=soon", "whole number of seconds"), ("ssl-cert=x", "has one of ssl-cert and ssl-key"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words) as caught:
            end(query)
        assert "p@h" not in str(caught.value)


def test_the_planner_stops_what_is_slow(database: Database) -> None:
    end = endpoint(parse_url("db", database.url, "the test"))
    with connect(end, timedelta(seconds=1), {}) as client, pytest.raises(TooSlow, match="max_statement_time exceeded"):
        client.rows("SELECT SLEEP(60)")


def test_tls_is_spoken_and_certificates_are_verified(tls: tuple[MariaDb, Path], spark: SparkSession) -> None:
    server, folder = tls
    encrypted = {
        "where": "(SELECT VARIABLE_VALUE <> '' FROM information_schema.SESSION_STATUS"
        " WHERE VARIABLE_NAME = 'Ssl_cipher')"
    }
    url = server.url("test_1")
    for query in (
        "",
        "?ssl-mode=required",
        f"?ssl-ca={folder}/ca.pem",
        f"?ssl-mode=verify-identity&ssl-ca={folder}/ca.pem",
    ):
        assert rows(source(url + query, **encrypted), spark) == [(1,)], query
    assert rows(source(url + "?ssl-mode=disabled", **encrypted), spark) == []
    own = f"?ssl-ca={folder}/ca.pem&ssl-cert={folder}/client.pem&ssl-key={folder}/client.key"
    by_certificate = f"mysql://x509:secret@127.0.0.1:{server.port}/test_1"
    assert rows(source(by_certificate + own), spark) == [(1,)]
    with pytest.raises(SourceError, match="Access denied"):
        plan(source(by_certificate))
    trustme.CA().cert_pem.write_to_path(str(folder / "other.pem"))
    with pytest.raises(SourceError, match="certificate verify failed") as caught:
        plan(source(f"{url}?ssl-ca={folder}/other.pem"))
    assert "ssl-mode, ssl-ca" in caught.value.hint
    with pytest.raises((SourceError, ConfigError), match=r"none\.pem|No such file"):
        plan(source(f"{url}?ssl-ca={folder}/none.pem"))


def test_a_driver_that_is_missing_is_told(
    tls: tuple[MariaDb, Path], spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql_source, "_DRIVER", "com.example.NoDriver")
    with pytest.raises(ConfigError, match=r"Spark has no MySQL driver \(com\.example\.NoDriver\)"):
        rows(source(tls[0].url("test_1")), spark)


def test_a_server_without_tls_is_refused_when_it_is_required(database: Database) -> None:
    with pytest.raises(SourceError, match="SSL"):
        plan(source(database.url + "?ssl-mode=required"))


def test_every_option_is_described_and_has_a_default_or_an_example() -> None:
    assert connector.source is not None
    for name, option in connector.source.options.model_fields.items():
        assert option.description, name
        assert option.examples or not option.is_required(), name
