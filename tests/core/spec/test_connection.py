from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import ConfigError
from millrace.spec.connection import Connection, Secret, parse_url, resolve


def from_env(url: str) -> Connection:
    return resolve("main", {"MILLRACE_CONNECTION_MAIN": url})


def test_a_url_gives_every_part() -> None:
    found = from_env("mysql://reader:p%40ss%2Fw@db1.example.com:3307/shop?useSSL=true&x=")
    assert found == Connection(
        name="main",
        scheme="mysql",
        host="db1.example.com",
        port=3307,
        user="reader",
        password=Secret("p@ss/w"),
        database="shop",
        params={"useSSL": "true", "x": ""},
        hosts=(("db1.example.com", 3307),),
    )


def test_a_cluster_url_has_several_hosts() -> None:
    found = from_env("redis+cluster://:secret@r1:7000,r2:7001,[::1]/0")
    assert found.hosts == (("r1", 7000), ("r2", 7001), ("::1", None))
    assert (found.host, found.port) == ("r1", 7000)


def test_the_host_is_this_machine_where_the_url_has_none() -> None:
    assert from_env("redis:///1").host == "127.0.0.1"


def test_an_at_sign_in_a_password_needs_no_encoding() -> None:
    assert from_env("redis://u:a@b@host").password.value == "a@b"


@pytest.mark.parametrize("written", ["embedded", "embedded://", " embedded "])
def test_embedded_is_a_local_server_without_an_address(written: str) -> None:
    found = from_env(written)
    assert (found.scheme, found.port, found.hosts) == ("embedded", None, ())
    assert str(found) == "main (embedded)"


def test_the_name_embedded_needs_no_declaration_and_can_be_declared(tmp_path: Path) -> None:
    assert resolve("embedded", {}, tmp_path / "none.yaml").scheme == "embedded"
    assert resolve("embedded", {"MILLRACE_CONNECTION_EMBEDDED": "redis://h"}).scheme == "redis"


def test_places_are_looked_at_in_order(tmp_path: Path) -> None:
    file = tmp_path / "connections.yaml"
    file.write_text("main: redis://from-file\n")
    env = {"AIRFLOW_CONN_MAIN": "redis://from-airflow", "MILLRACE_CONNECTION_MAIN": "redis://from-own"}
    assert resolve("main", env, file).host == "from-own"
    del env["MILLRACE_CONNECTION_MAIN"]
    assert resolve("main", env, file).host == "from-airflow"
    del env["AIRFLOW_CONN_MAIN"]
    assert resolve("main", env, file).host == "from-file"


def test_a_password_in_a_file_is_text_whatever_it_looks_like(tmp_path: Path) -> None:
    file = tmp_path / "connections.yaml"
    for written in ("0123", "1.50", "true", "null", "1e400", ".inf", "12:30"):
        file.write_text(f"main: {{scheme: redis, password: {written}}}")
        assert resolve("main", {}, file).password.value == written


def test_the_file_is_where_the_environment_says(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.yaml").write_text("main: redis://found\n")
    assert resolve("main", {"MILLRACE_CONNECTIONS": str(tmp_path / "elsewhere.yaml")}).host == "found"


def test_a_file_can_have_parts_as_keys_and_take_secrets_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "connections.yaml"
    file.write_text(
        "ch: {scheme: clickhouse, host: ch1, port: 8443, user: loader, password: '${PASSWORD}', database: assets,\n"
        "     params: {secure: true}}\n"
        "cluster: {scheme: redis+cluster, host: 'r1:7000, r2', port: 7001}\n"
        "test: {scheme: embedded}\n"
        "long: {url: 'redis://h:1'}\n"
    )
    found = resolve("ch", {"PASSWORD": "p:/@#"}, file)
    assert found.password.value == "p:/@#"
    assert (found.host, found.port, found.user, found.database) == ("ch1", 8443, "loader", "assets")
    assert found.params == {"secure": "true"}
    assert resolve("cluster", {"PASSWORD": "x"}, file).hosts == (("r1", 7000), ("r2", 7001))
    assert resolve("test", {"PASSWORD": "x"}, file).scheme == "embedded"
    assert resolve("long", {"PASSWORD": "x"}, file).port == 1


def test_airflow_json_is_understood() -> None:
    text = json.dumps(
        {
            "conn_type": "mysql",
            "login": "u",
            "password": "p",
            "host": "h",
            "port": 3306,
            "schema": "shop",
            "extra": {"charset": "utf8mb4", "ssl": {"ca": "x"}, "empty": None},
        }
    )
    found = resolve("main", {"AIRFLOW_CONN_MAIN": text})
    assert (found.scheme, found.host, found.port, found.user, found.database) == ("mysql", "h", 3306, "u", "shop")
    assert found.password.value == "p"
    assert found.params == {"charset": "utf8mb4", "ssl": '{"ca": "x"}'}


def test_airflow_uris_are_understood_with_their_extra() -> None:
    uri = "my-type://u:p%40@h:5/db?__extra__=%7B%22a%22%3A+1%7D&b=2"
    found = resolve("main", {"AIRFLOW_CONN_MAIN": uri})
    assert (found.scheme, found.password.value, found.params) == ("my_type", "p@", {"a": "1", "b": "2"})


def test_an_unknown_name_lists_every_place_and_the_closest_name(tmp_path: Path) -> None:
    file = tmp_path / "connections.yaml"
    file.write_text("mysql_main: mysql://h\nredis_online: embedded\n")
    with pytest.raises(ConfigError) as caught:
        resolve("mysql_mian", {}, file)
    assert caught.value.message == (
        "no connection 'mysql_mian' in $MILLRACE_CONNECTION_MYSQL_MIAN, $AIRFLOW_CONN_MYSQL_MIAN or "
        f"{file} (has mysql_main, redis_online); did you mean 'mysql_main'?"
    )
    assert "set MILLRACE_CONNECTION_MYSQL_MIAN to a URL" in caught.value.hint


def test_without_a_file_the_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        resolve("main", {}, tmp_path / "connections.yaml")


@pytest.mark.parametrize("name", ["", "a b", "a;b", "ä", "1a", "a" * 64, "a\n"])
def test_a_bad_name_is_refused_before_anything_is_read(name: str) -> None:
    with pytest.raises(ConfigError, match="bad connection name"):
        resolve(name, {})


BAD: Mapping[str, str] = {
    "hunter2": "not a URL",
    "mysql:hunter2": "not a URL",
    "mysql://u:hunter2@h:notaport/db": "host or port",
    "mysql://u:hunter2@h:99999/db": "host or port",
    "mysql://u:hunter2@a b/db": "host or port",
    "mysql://u:hunter2\n@h/db": "not a URL",
    "mysql://u:hunter2/x@h/db": "host or port",
}


@pytest.mark.parametrize(("url", "problem"), BAD.items())
def test_a_malformed_url_says_where_it_stands_and_never_shows_it(url: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_env(url)
    assert "$MILLRACE_CONNECTION_MAIN" in str(caught.value)
    assert problem in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("main: [1]", "neither a URL nor a mapping"),
        ("main: {scheme: redis, hots: h}", "unknown key 'hots'"),
        ("main: {host: h}", "neither a 'url' nor a 'scheme'"),
        ("main: {url: 'redis://h', port: 1}", "'url' stands alone"),
        ("main: {scheme: redis, params: 5}", "its 'params' is not a mapping"),
        ("main: {scheme: redis, port: no}", "host or port"),
        ("- main", "expected a mapping of names"),
        ("main: redis://a\nmain: redis://b", ":2:1: duplicate key 'main'"),
        ("main: [", "reading connections: "),
        ("main: redis://:${NO_SUCH}@h", "the environment variable NO_SUCH is not set"),
    ],
)
def test_a_malformed_file_is_an_error_with_its_path(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "connections.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        resolve("main", {}, file)
    assert problem in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reading connections from"):
        resolve("main", {}, tmp_path)


@pytest.mark.parametrize(
    "text", ["{", '{"host": "h"}', '{"conn_type": "x", "extra": "{"}', '{"conn_type": "x", "extra": [1]}']
)
def test_malformed_airflow_json_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"\$AIRFLOW_CONN_MAIN"):
        resolve("main", {"AIRFLOW_CONN_MAIN": text})


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_secrets_never_show(password: str) -> None:
    found = resolve("main", {"AIRFLOW_CONN_MAIN": json.dumps({"conn_type": "x", "password": f"<{password}>"})})
    assert found.password.value == f"<{password}>"
    for text in (repr(found), str(found), repr(found.password), str(found.password), f"{found.password}"):
        assert f"<{password}>" not in text


@given(st.text(max_size=60))
def test_any_text_is_a_connection_or_a_config_error(text: str) -> None:
    try:
        assert parse_url("main", text, "here").name == "main"
    except ConfigError as error:
        assert "here" in error.message  # noqa: PT017 (the error's text is what is tested)
