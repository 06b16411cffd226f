"""Where a ClickHouse is and how to log in, and what its errors mean. No I/O but for starting the embedded server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from millrace.errors import ConfigError, MillraceError, TargetError, TransientError
from millrace.spec.connection import Connection, Secret
from millrace.spec.connection_params import flag, known_params, timeout_s

DEFAULT_TIMEOUT_S = 300.0
_PORT, _TLS_PORT = 8123, 8443
_NATIVE_PORTS = (9000, 9440)
_SCHEMES = ("clickhouse", "clickhouses", "embedded")
_PARAMS = ("secure", "ca", "cert", "cert_key", "insecure", "timeout", "home")
_LOCAL = ("127.0.0.1", "localhost", "::1")

#: Errors that may be gone when the same thing is tried again (ClickHouse: src/Common/ErrorCodes.cpp).
_TRANSIENT = frozenset(
    (159, 164, 202, 203, 209, 210, 225, 236, 239, 241, 242, 244, 252, 279, 286, 290, 319, 394, 439, 473, 745, 999)
)
#: Errors of an INSERT that some row of it is to blame for.
ROW_ERRORS = frozenset(
    (
        6,
        20,
        25,
        26,
        27,
        33,
        34,
        38,
        41,
        43,
        53,
        69,
        70,
        72,
        117,
        128,
        131,
        153,
        190,
        321,
        349,
        376,
        395,
        407,
        441,
        469,
        675,
        676,
    )
)
_HINTS: Mapping[int, str] = {
    60: "the table is gone: somebody has dropped it, or the server lost its data. Run the spec again",
    390: "the table is gone: somebody has dropped it, or the server lost its data. Run the spec again",
    81: "create the database first: CREATE DATABASE name ENGINE = Atomic; or put another one into the connection's URL",
    164: "the user may only read: give it rights to create, insert, alter and drop (docs/clickhouse.md)",
    192: "the user of the connection's URL is unknown to the server",
    193: "the user or password of the connection's URL is wrong",
    194: "put the user's password into the connection's URL",
    241: "the server is out of memory, or the user's limit max_memory_usage is too low",
    243: "the server's disk is full: retire versions (`versions.keep`) or give it more room",
    252: "the server merges slower than it is loaded: use fewer `limits.channels`, or a coarser `partition_by`",
    497: "give the user the rights that the message names (docs/clickhouse.md lists all that are needed)",
    516: "the user or password of the connection's URL is wrong",
    565: "`partition_by` makes too many partitions: choose a coarser one, such as a month",
}


@dataclass(frozen=True)
class Endpoint:
    """One ClickHouse by its HTTP interface. Picklable: tasks on other machines use it as it is."""

    name: str
    host: str = "127.0.0.1"
    port: int = _PORT
    user: str = "default"
    password: Secret = field(default_factory=lambda: Secret(""))
    database: str = ""
    tls: bool = False
    ca: str = ""
    cert: str = ""
    cert_key: str = ""
    insecure: bool = False
    timeout_s: float = DEFAULT_TIMEOUT_S
    embedded: bool = False

    def __str__(self) -> str:
        scheme = "embedded" if self.embedded else "clickhouses" if self.tls else "clickhouse"
        return f"{self.name} ({scheme}://{self.host}:{self.port}/{self.database})"

    @property
    def local(self) -> bool:
        """Whether bytes get there without a network, so that compressing them costs more than it saves."""
        return self.host in _LOCAL


def endpoint_of(connection: Connection) -> Endpoint:
    """The endpoint of a connection; one that is `embedded` gets its server started when it isn't running.

    Raises ConfigError for a scheme, port or parameter that ClickHouse's HTTP interface doesn't have.
    """
    if connection.scheme not in _SCHEMES:
        hint = f"use one of the schemes {', '.join(_SCHEMES)}"
        raise ConfigError(f"connection {connection} is not a ClickHouse one", hint=hint)
    params = known_params(connection, _PARAMS)
    if connection.scheme == "embedded":
        return _embedded(connection.name, params)
    tls = connection.scheme == "clickhouses" or flag(connection, params, "secure")
    if connection.port in _NATIVE_PORTS:
        raise ConfigError(
            f"connection {connection} names port {connection.port}, which is of ClickHouse's native protocol",
            hint=f"millrace speaks HTTP: usually port {_TLS_PORT if tls else _PORT}",
        )
    return Endpoint(
        name=connection.name,
        host=connection.host,
        port=connection.port or (_TLS_PORT if tls else _PORT),
        user=connection.user or "default",
        password=connection.password,
        database=connection.database,
        tls=tls,
        ca=params.get("ca", ""),
        cert=params.get("cert", ""),
        cert_key=params.get("cert_key", ""),
        insecure=flag(connection, params, "insecure"),
        timeout_s=timeout_s(connection, params, DEFAULT_TIMEOUT_S),
    )


def store_error(code: int | None, text: str, doing: str, endpoint: Endpoint) -> MillraceError:
    """What a run does about an error that the server answered: TransientError when it may pass, else TargetError."""
    kind = TransientError if code in _TRANSIENT else TargetError
    if endpoint.password:
        text = text.replace(endpoint.password.value, "***")
    return kind(f"{doing} in {endpoint}: {text}", hint=_HINTS.get(code or 0, ""))


def lost(error: BaseException, doing: str, endpoint: Endpoint) -> MillraceError:
    """What a run does about a connection that could not be made, or broke."""
    text = _first_cause(error)
    where = f"{doing} in {endpoint}"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        hint = "add `?ca=FILE` with your authority's certificate to the URL, or `?insecure=true` to verify nothing"
        return TargetError(f"{where}: the server's certificate can't be trusted", hint=hint)
    if "timed out" in text.lower():
        hint = f"is it overloaded? `?timeout=20m` in the URL waits longer than {endpoint.timeout_s:g}s"
        return TransientError(f"{where}: no answer in time: {text}", hint=hint)
    hint = "is the server running, and is this its HTTP port?"
    return TransientError(f"{where}: the server can't be reached: {text}", hint=hint)


def _first_cause(error: BaseException) -> str:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error) or type(error).__name__


def _embedded(name: str, params: Mapping[str, str]) -> Endpoint:
    from millrace.connectors.clickhouse.embedded import password_of, server
    from millrace.connectors.embedded import ensure
    from millrace.spec.settings import Settings

    home = Path(params["home"]) if params.get("home") else Settings.from_env().home
    password = password_of(home)
    return Endpoint(name, port=ensure(server(), home), password=password, embedded=True)
