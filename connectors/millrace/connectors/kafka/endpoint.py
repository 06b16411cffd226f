"""What a connection says of a Kafka cluster, for librdkafka, which plans on the driver and reads in tasks.

Certificates and keys go to both as PEM texts, so that executors need none of the driver's files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from millrace.errors import ConfigError
from millrace.spec.connection import Connection, Secret
from millrace.spec.connection_params import flag, known_params, timeout_s
from millrace.spec.diagnostics import did_you_mean

DEFAULT_PORT = 9092
DEFAULT_TIMEOUT_S = 30.0
LONGEST_TIMEOUT_S = 300.0  # librdkafka takes no longer one
PARAMS = ("tls", "ca", "cert", "cert_key", "mechanism", "timeout")
#: Names that Airflow's Kafka connections, which hold librdkafka's own settings, use in their extras.
_AIRFLOW_PARAMS: Mapping[str, str] = {
    "ssl.ca.location": "ca",
    "ssl.certificate.location": "cert",
    "ssl.key.location": "cert_key",
    "sasl.mechanism": "mechanism",
    "sasl.mechanisms": "mechanism",
    "bootstrap.servers": "",
    "security.protocol": "",
    "group.id": "",
    "sasl.username": "",
    "sasl.password": "",
}


class Mechanism(StrEnum):
    """How a user and a password are shown to the brokers."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"


@dataclass(frozen=True)
class Tls:
    """PEM texts; without `ca` the system's own authorities are trusted."""

    ca: str = ""
    cert: str = ""
    cert_key: Secret = field(default_factory=lambda: Secret(""))


@dataclass(frozen=True)
class Endpoint:
    """A cluster, by some of its brokers, and how to log in."""

    name: str
    servers: str
    user: str = ""
    password: Secret = field(default_factory=lambda: Secret(""))
    mechanism: Mechanism = Mechanism.PLAIN
    tls: Tls | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S

    def __str__(self) -> str:
        return f"{self.name} (kafka://{self.servers})"

    @property
    def protocol(self) -> str:
        return ("SASL_" if self.user else "") + ("SSL" if self.tls else "PLAINTEXT")

    def client_settings(self) -> dict[str, str | int]:
        """Of librdkafka."""
        settings: dict[str, str | int] = {
            "bootstrap.servers": self.servers,
            "security.protocol": self.protocol,
            "client.id": "millrace",
            "socket.timeout.ms": int(self.timeout_s * 1000),
        }
        if self.user:
            settings |= {
                "sasl.mechanisms": self.mechanism,
                "sasl.username": self.user,
                "sasl.password": self.password.value,
            }
        if self.tls:
            if self.tls.ca:
                settings["ssl.ca.pem"] = self.tls.ca
            if self.tls.cert:
                settings |= {"ssl.certificate.pem": self.tls.cert, "ssl.key.pem": self.tls.cert_key.value}
        return settings


def endpoint(connection: Connection) -> Endpoint:
    """Read a connection's parameters and certificates. Raises ConfigError for what can't be used, without secrets."""
    if connection.scheme != "kafka":
        raise ConfigError(
            f"connection {connection} is not a Kafka one", hint="write kafka://host:port,host:port, with every broker"
        )
    params = known_params(connection, PARAMS, _AIRFLOW_PARAMS)
    hosts = connection.hosts or ((connection.host, connection.port),)
    found = Endpoint(
        name=connection.name,
        servers=",".join(f"{_bracketed(host)}:{port or DEFAULT_PORT}" for host, port in hosts),
        user=connection.user,
        password=connection.password,
        mechanism=_mechanism(connection, params),
        tls=_tls(connection, params),
        timeout_s=timeout_s(connection, params, DEFAULT_TIMEOUT_S, LONGEST_TIMEOUT_S),
    )
    if found.user and not found.password:
        raise ConfigError(f"the connection {connection} has a user and no password", hint="SASL needs both")
    return found


def _mechanism(connection: Connection, params: Mapping[str, str]) -> Mechanism:
    text = params.get("mechanism", Mechanism.PLAIN).upper().replace("_", "-")
    try:
        return Mechanism(text)
    except ValueError:
        raise ConfigError(
            f"the connection {connection} has mechanism={text}{did_you_mean(text, list(Mechanism))}",
            hint=f"the mechanisms are {', '.join(Mechanism)}",
        ) from None


def _tls(connection: Connection, params: Mapping[str, str]) -> Tls | None:
    implied = bool(params.get("ca") or params.get("cert"))
    implied |= connection.params.get("security.protocol", "").upper().endswith("SSL")
    if not flag(connection, params, "tls", default=implied):
        return None
    if bool(params.get("cert")) != bool(params.get("cert_key")):
        raise ConfigError(
            f"the connection {connection} has one of cert and cert_key",
            hint="a client certificate needs both: PEM files of the certificate and of its key",
        )
    key = _pem(connection, params.get("cert_key", ""))
    return Tls(
        ca=_pem(connection, params.get("ca", "")),
        cert=_pem(connection, params.get("cert", "")),
        cert_key=Secret(_pkcs8(connection, key) if key else ""),
    )


def _pem(connection: Connection, path: str) -> str:
    if not path:
        return ""
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the connection {connection} names {path}, which can't be read: {error}", hint="PEM files are expected"
        ) from error
    if "-----BEGIN" not in text:
        raise ConfigError(f"the connection {connection} names {path}, which is no PEM file", hint="see `ca` and `cert`")
    return text


def _pkcs8(connection: Connection, pem: str) -> str:
    """A private key in the one form that Kafka's own client reads."""
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"the connection {connection} has a cert_key that can't be read: {error}",
            hint="a PEM file is expected, not locked by a password",
        ) from error
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
