"""What a connection says of a MySQL server, for both drivers: PyMySQL plans, Connector/J reads. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

from millrace.errors import ConfigError
from millrace.spec.connection import Connection
from millrace.spec.diagnostics import did_you_mean

PORT = 3306
_PARAMS = ("ssl-mode", "ssl-ca", "ssl-cert", "ssl-key", "connect-timeout", "read-timeout")
_CONNECT_TIMEOUT_S = 10
_READ_TIMEOUT_S = 600
WRITE_TIMEOUT_S = 600  # how long the server waits for a slow target before it gives a stream of rows up


class SslMode(StrEnum):
    """As MySQL's own client has it; `preferred` is the default."""

    DISABLED = "disabled"
    PREFERRED = "preferred"
    REQUIRED = "required"
    VERIFY_CA = "verify-ca"
    VERIFY_IDENTITY = "verify-identity"

    @property
    def verifies(self) -> bool:
        return self in (SslMode.VERIFY_CA, SslMode.VERIFY_IDENTITY)


@dataclass(frozen=True)
class Endpoint:
    """A server and how to talk to it. `ssl_ca`, `ssl_cert` and `ssl_key` are PEM files. Timeouts in seconds."""

    connection: Connection
    ssl_mode: SslMode
    ssl_ca: str
    ssl_cert: str
    ssl_key: str
    connect_timeout_s: int
    read_timeout_s: int

    @property
    def port(self) -> int:
        return self.connection.port or PORT


def endpoint(connection: Connection) -> Endpoint:
    """Read a connection's parameters. Raises ConfigError for one that isn't known or has a wrong value."""
    params = {name.replace("_", "-").lower(): value for name, value in connection.params.items()}
    for name in params:
        if name not in _PARAMS:
            raise ConfigError(
                f"the connection {connection} has a parameter '{name}' that MySQL connections don't have"
                f"{did_you_mean(name, _PARAMS)}",
                hint=f"the parameters are {', '.join(_PARAMS)}; session variables belong into the option `session`",
            )
    mode = _ssl_mode(connection, params)
    found = Endpoint(
        connection=connection,
        ssl_mode=mode,
        ssl_ca=params.get("ssl-ca", ""),
        ssl_cert=params.get("ssl-cert", ""),
        ssl_key=params.get("ssl-key", ""),
        connect_timeout_s=_seconds(connection, params, "connect-timeout", _CONNECT_TIMEOUT_S),
        read_timeout_s=_seconds(connection, params, "read-timeout", _READ_TIMEOUT_S),
    )
    if bool(found.ssl_cert) != bool(found.ssl_key):
        raise ConfigError(
            f"the connection {connection} has one of ssl-cert and ssl-key",
            hint="a client certificate needs both: PEM files of the certificate and of its key",
        )
    return found


def jdbc_url(end: Endpoint, session: Mapping[str, str | int], stores: Mapping[str, str]) -> str:
    """The address for Connector/J, with `stores` for its certificates: no user and no password in it.

    Rows stream over the binary protocol of prepared statements: floats keep all their bits, and memory doesn't grow
    with the table. Times are read in UTC, texts arrive as utf8mb4.
    """
    properties = {
        "useServerPrepStmts": "true",
        "useUnbufferedInput": "false",
        "tcpRcvBuf": str(1 << 20),
        "tinyInt1isBit": "false",
        "yearIsDateType": "false",
        "zeroDateTimeBehavior": "CONVERT_TO_NULL",
        "connectionTimeZone": "UTC",
        "characterEncoding": "UTF-8",
        "characterSetResults": "UTF-8",
        "connectTimeout": str(end.connect_timeout_s * 1000),
        "socketTimeout": str(end.read_timeout_s * 1000),
        "netTimeoutForStreamingResults": str(session.get("net_write_timeout", WRITE_TIMEOUT_S)),
        "sslMode": end.ssl_mode.name,
        "allowPublicKeyRetrieval": "false" if end.ssl_mode.verifies or end.ssl_mode is SslMode.REQUIRED else "true",
        "sessionVariables": session_variables(session),
        **stores,
    }
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in properties.items())
    host = f"[{end.connection.host}]" if ":" in end.connection.host else end.connection.host
    return f"jdbc:mysql://{host}:{end.port}/?{query}"


def session_variables(session: Mapping[str, str | int]) -> str:
    """What stands after SET for a session that reads: these variables, and time in UTC."""
    variables = {**session, "time_zone": "+00:00"}
    return ",".join(
        f"{name}={value}" if isinstance(value, int) else f"{name}='{value}'" for name, value in variables.items()
    )


def _ssl_mode(connection: Connection, params: Mapping[str, str]) -> SslMode:
    text = params.get("ssl-mode", "").lower().replace("_", "-")
    if not text:
        return SslMode.VERIFY_CA if params.get("ssl-ca") else SslMode.PREFERRED
    try:
        return SslMode(text)
    except ValueError:
        raise ConfigError(
            f"the connection {connection} has ssl-mode={text}{did_you_mean(text, list(SslMode))}",
            hint=f"the modes are {', '.join(SslMode)}",
        ) from None


def _seconds(connection: Connection, params: Mapping[str, str], name: str, default: int) -> int:
    text = params.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 86_400:
        raise ConfigError(
            f"the connection {connection} has {name}={text}", hint="a timeout is a whole number of seconds, 1 to 86400"
        )
    return int(text)
