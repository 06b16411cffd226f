"""Connections as Redis reads them, and what its error replies mean."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from millrace.connectors.redis.endpoint import Endpoint, Tls, endpoint_of, lost, pack, store_error
from millrace.errors import ConfigError, TargetError, TransientError
from millrace.spec.connection import Connection, parse_url, resolve
from tests.connectors.redis.stores import connection

PASSWORD = "s3cret/word"


def endpoint(url: str) -> Endpoint:
    return endpoint_of(connection(url))


def test_a_plain_url_has_the_usual_port_and_database() -> None:
    found = endpoint("redis://cache.example.com")
    assert (found.addresses, found.database, found.tls, found.cluster) == (
        (("cache.example.com", 6379),),
        0,
        None,
        False,
    )


def test_a_url_names_user_password_and_database() -> None:
    found = endpoint("redis://ana:s3cret%2Fword@h:7000/3")
    assert found.handshake() == [("AUTH", "ana", PASSWORD), ("SELECT", "3"), ("CLIENT", "SETNAME", "millrace")]


def test_a_password_alone_is_the_default_users() -> None:
    assert endpoint("redis://:pw@h").handshake()[0] == ("AUTH", "pw")


def test_a_cluster_names_some_of_its_nodes() -> None:
    found = endpoint("redis+cluster://a:1,b:2,c")
    assert (found.addresses, found.cluster) == ((("a", 1), ("b", 2), ("c", 6379)), True)


def test_tls_is_in_the_scheme_and_its_files_are_parameters() -> None:
    found = endpoint("rediss://h?ca=ca.pem&cert=me.pem&cert_key=me.key&insecure=true&timeout=1m30s")
    assert found.tls == Tls("ca.pem", "me.pem", "me.key", insecure=True)
    assert found.timeout_s == 90
    assert endpoint("rediss+cluster://h").tls == Tls()


def test_an_airflow_connection_is_understood() -> None:
    extra = '{"conn_type": "redis", "host": "h", "port": 1, "password": "pw", "extra": %s}'
    secured = extra % '{"db": 2, "ssl": true, "ssl_ca_certs": "ca.pem", "ssl_cert_reqs": "none"}'
    found = endpoint_of(resolve("c", {"AIRFLOW_CONN_C": secured}))
    assert (found.database, found.tls) == (2, Tls(ca="ca.pem", insecure=True))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mysql://h", "not a Redis one"),
        ("redis://h/zero", "'zero' is not a database number"),
        ("redis://h/-1", "'-1' is not a database number"),
        ("redis+cluster://h/1", "only database 0"),
        ("redis://h?tmieout=3s", "unknown parameter 'tmieout'.*did you mean 'timeout'"),
        ("redis://h?timeout=3", "no unit|expected a number with a unit"),
        ("redis://h?timeout=0s", "longer than nothing"),
    ],
)
def test_a_connection_that_redis_cannot_use_is_a_clear_error(url: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        endpoint(url)
    assert caught.match(f"(?s){problem}")


def test_missing_certificates_are_a_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"can't use the certificates no-such\.pem"):
        Tls(ca="no-such.pem").context()


def test_no_password_is_ever_shown() -> None:
    found = endpoint("redis://:s3cret%2Fword@h")
    errors: list[Any] = [
        store_error(f"ERR unknown command 'AUTH', with args beginning with: '{PASSWORD}'", "loading", found),
        store_error("WRONGPASS invalid username-password pair or user is disabled.", "loading", found),
        lost(ConnectionRefusedError(), "loading", found, ("h", 6379)),
    ]
    for shown in (str(found), repr(found), *map(str, errors), *map(repr, errors)):
        assert PASSWORD not in shown


@pytest.mark.parametrize(
    "reply",
    [
        "LOADING Redis is loading the dataset in memory",
        "READONLY You can't write against a read only replica.",
        "CLUSTERDOWN The cluster is down",
        "MASTERDOWN Link with MASTER is down",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "BUSY Redis is busy running a script",
        "MOVED 1 h:1",
    ],
)
def test_what_passes_by_itself_is_tried_again(reply: str) -> None:
    assert isinstance(store_error(reply, "loading", endpoint("redis://h")), TransientError)


@pytest.mark.parametrize(
    "reply",
    [
        "OOM command not allowed when used memory > 'maxmemory'.",
        "MISCONF Errors writing to the AOF file: No space left on device",
        "NOPERM this user has no permissions to run the 'set' command",
        "WRONGPASS invalid username-password pair",
        "ERR unknown command 'UNLINK'",
    ],
)
def test_what_does_not_pass_gives_up_in_the_stores_words(reply: str) -> None:
    error = store_error(reply, "loading version 7 of users", endpoint("redis://h"))
    assert isinstance(error, TargetError)
    assert f"loading version 7 of users in redis_test (redis://h:6379/0): the store says '{reply}'" in str(error)


def test_commands_are_packed_as_the_protocol_says() -> None:
    assert pack(("SET", b"k\r\n", "ü", 5)) == b"*4\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$2\r\n\xc3\xbc\r\n$1\r\n5\r\n"


def test_an_endpoint_goes_to_tasks_on_other_machines() -> None:
    found = endpoint("rediss://ana:pw@h:1/2?insecure=1")
    assert pickle.loads(pickle.dumps(found)) == found


def test_a_connection_needs_no_url() -> None:
    assert endpoint_of(Connection("c", "redis", "h", 1)).addresses == (("h", 1),)
    assert endpoint_of(parse_url("c", "redis://[::1]:7", "x")).addresses == (("::1", 7),)
