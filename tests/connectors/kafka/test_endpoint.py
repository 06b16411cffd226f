"""What a connection says of a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.connectors.kafka.endpoint import Endpoint, endpoint
from millrace.errors import ConfigError
from millrace.spec.connection import parse_url


def made(url: str) -> Endpoint:
    return endpoint(parse_url("events", url, "a test"))


def test_every_broker_is_named_with_its_port() -> None:
    found = made("kafka://a,b:19092,[::1]:1?timeout=7s")
    assert found.client_settings()["bootstrap.servers"] == "a:9092,b:19092,[::1]:1"
    assert found.client_settings()["socket.timeout.ms"] == 7000


def test_a_login_reaches_the_client_and_no_repr() -> None:
    found = made("kafka://me:p%22w%5C@a?mechanism=scram-sha-256")
    assert found.client_settings() | {"sasl.mechanisms": "SCRAM-SHA-256", "sasl.password": 'p"w\\'} == (
        found.client_settings()
    )
    assert 'p"w' not in f"{found} {found!r}"


def test_airflows_own_names_are_understood() -> None:
    found = made("kafka://me:pw@a?security.protocol=SASL_SSL&sasl.mechanisms=PLAIN&group.id=x")
    assert (found.protocol, found.mechanism) == ("SASL_SSL", "PLAIN")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://a", "is not a Kafka one"),
        ("kafka://me@a", "has a user and no password"),
        ("kafka://a?mechanim=PLAIN", "did you mean 'mechanism'"),
        ("kafka://me:pw@a?mechanism=GSSAPI", "the mechanisms are PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
        ("kafka://a?ca=/nowhere.pem", "names /nowhere.pem, which can't be read"),
        ("kafka://a?tls=maybe", "expected true or false"),
        ("kafka://a?timeout=1h", "expected at most 300 s"),
        ("kafka://a?cert=x", "one of cert and cert_key"),
    ],
)
def test_what_cant_be_used_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        made(url)
    assert message in str(refused.value)


def test_a_file_that_is_no_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("hello")
    with pytest.raises(ConfigError, match="which is no PEM file"):
        made(f"kafka://a?ca={tmp_path}/ca.pem")
