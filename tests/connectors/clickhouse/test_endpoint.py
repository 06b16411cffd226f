"""Where a ClickHouse is, by its connection, and what its errors mean for a run."""

from __future__ import annotations

import pickle

import pytest

from millrace.connectors.clickhouse.endpoint import Endpoint, endpoint_of, lost, store_error
from millrace.errors import ConfigError, TargetError, TransientError
from millrace.spec.connection import Secret, parse_url


def endpoint(url: str) -> Endpoint:
    return endpoint_of(parse_url("ch", url, "the test"))


def test_urls_are_of_the_http_interface() -> None:
    plain = endpoint("clickhouse://loader:p%40ss@ch1.example.com/assets")
    assert (plain.host, plain.port, plain.user, plain.database) == ("ch1.example.com", 8123, "loader", "assets")
    assert (plain.password.value, plain.tls, plain.local) == ("p@ss", False, False)
    safe = endpoint("clickhouses://ch1?ca=/etc/ca.pem&timeout=2m")
    assert (safe.port, safe.tls, safe.ca, safe.timeout_s, safe.user) == (8443, True, "/etc/ca.pem", 120.0, "default")
    assert endpoint("clickhouse://ch1:8443?secure=true").tls
    assert endpoint("clickhouse://127.0.0.1:1").local


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://h", "is not a ClickHouse one"),
        ("clickhouse://h:9000", "which is of ClickHouse's native protocol"),
        ("clickhouses://h:9440", "native protocol"),
        ("clickhouse://h?timeuot=3s", "did you mean 'timeout'"),
        ("clickhouse://h?timeout=3", "timeout"),
        ("clickhouse://h?timeout=0s", "longer than nothing"),
    ],
)
def test_what_it_does_not_have_is_refused(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        endpoint(url)


def test_the_password_travels_to_tasks_and_never_shows() -> None:
    found = endpoint("clickhouse://loader:topsecret@h")
    assert "topsecret" not in repr(found) + str(found)
    assert pickle.loads(pickle.dumps(found)).password.value == "topsecret"
    error = store_error(516, "wrong: topsecret", "loading", found)
    assert "topsecret" not in str(error) + repr(error)


@pytest.mark.parametrize(
    ("code", "kind", "hint"),
    [
        (516, TargetError, "user or password"),
        (497, TargetError, "rights"),
        (81, TargetError, "CREATE DATABASE"),
        (243, TargetError, "disk is full"),
        (252, TransientError, "merges slower"),
        (202, TransientError, ""),
        (999, TransientError, ""),
        (1, TargetError, ""),
    ],
)
def test_errors_say_whether_to_try_again(code: int, kind: type[Exception], hint: str) -> None:
    found = store_error(code, f"Code: {code}.", "loading", Endpoint("ch", password=Secret("")))
    assert type(found) is kind
    assert hint in found.hint
    assert str(found).startswith(f"loading in ch (clickhouse://127.0.0.1:8123/): Code: {code}.")


def test_a_lost_connection_tells_its_first_cause() -> None:
    try:
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except OSError as error:
            raise RuntimeError("driver's words") from error
    except RuntimeError as error:
        found = lost(error, "loading", Endpoint("ch"))
    assert isinstance(found, TransientError)
    assert "Connection refused" in found.message
    assert isinstance(lost(RuntimeError("CERTIFICATE_VERIFY_FAILED"), "loading", Endpoint("ch")), TargetError)
    assert "no answer in time" in lost(TimeoutError("timed out"), "loading", Endpoint("ch")).message
