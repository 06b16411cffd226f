"""Where a Redis is and how to log in, and what its error replies mean. No I/O but for starting the embedded server."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from millrace.errors import ConfigError, MillraceError, TargetError, TransientError
from millrace.spec.connection import Connection, Secret
from millrace.spec.connection_params import flag, known_params, timeout_s

Address = tuple[str, int]
Command = Sequence[bytes | str | int]

DEFAULT_PORT = 6379
DEFAULT_TIMEOUT_S = 30.0
_SCHEMES = ("redis", "rediss", "redis+cluster", "rediss+cluster", "embedded")
PARAMS = ("ca", "cert", "cert_key", "insecure", "timeout", "home")
#: Names that Airflow's Redis connections use in their extras.
_AIRFLOW_PARAMS: Mapping[str, str] = {
    "ssl_ca_certs": "ca",
    "ssl_certfile": "cert",
    "ssl_keyfile": "cert_key",
    "db": "database",
    "ssl": "tls",
    "ssl_cert_reqs": "verify",
    "ssl_check_hostname": "",
}
_TRANSIENT = ("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS", "MOVED", "ASK")
_HINTS: Mapping[str, str] = {
    "OOM": "raise `maxmemory`, retire versions (`versions.keep`), compress the values, or set a `ttl`",
    "NOAUTH": "put a user and password into the connection's URL",
    "WRONGPASS": "the user or password of the connection is wrong",
    "NOPERM": "let this ACL user run the command on `ASSET:*` keys and on the channel `ASSET:current` (docs/redis.md)",
    "MISCONF": "the server can't save its data, often a full disk: see its log",
    "LOADING": "the server has just started and still reads its data",
    "READONLY": "this server is a replica, or is becoming one in a failover: name the primary",
    "CLUSTERDOWN": "some of the cluster's slots have no server: see CLUSTER INFO",
}


@dataclass(frozen=True)
class Tls:
    """How to verify the server. `ca`, `cert` and `cert_key` are files; without `ca`, the system's authorities."""

    ca: str = ""
    cert: str = ""
    cert_key: str = ""
    insecure: bool = False

    def context(self) -> ssl.SSLContext:
        """Raises ConfigError when a file is missing or isn't a certificate."""
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.cert:
                context.load_cert_chain(self.cert, self.cert_key or None)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(path for path in (self.ca, self.cert, self.cert_key) if path)
            raise ConfigError(f"can't use the certificates {files}: {error}", hint="PEM files are expected") from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(frozen=True)
class Endpoint:
    """One Redis, or one cluster by some of its nodes. Picklable: tasks on other machines use it as it is."""

    name: str
    addresses: tuple[Address, ...]
    cluster: bool = False
    user: str = ""
    password: Secret = field(default_factory=lambda: Secret(""))
    database: int = 0
    tls: Tls | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S

    def __str__(self) -> str:
        scheme = ("rediss" if self.tls else "redis") + ("+cluster" if self.cluster else "")
        hosts = ",".join(f"{host}:{port}" for host, port in self.addresses)
        return f"{self.name} ({scheme}://{hosts}/{self.database})"

    def handshake(self) -> list[Command]:
        """The commands that a new connection starts with; each is answered by OK."""
        commands: list[Command] = []
        if self.password:
            login = (self.user, self.password.value) if self.user else (self.password.value,)
            commands.append(("AUTH", *login))
        if self.database:
            commands.append(("SELECT", str(self.database)))
        commands.append(("CLIENT", "SETNAME", "millrace"))
        return commands


def endpoint_of(connection: Connection) -> Endpoint:
    """The endpoint of a connection; one that is `embedded` gets its server started when it isn't running.

    Raises ConfigError for a scheme, database or parameter that Redis doesn't have.
    """
    if connection.scheme not in _SCHEMES:
        raise ConfigError(
            f"connection {connection} is not a Redis one",
            hint=f"use one of the schemes {', '.join(_SCHEMES)}",
        )
    params = known_params(connection, PARAMS, _AIRFLOW_PARAMS)
    if connection.scheme == "embedded":
        return _embedded(connection.name, params)
    cluster = connection.scheme.endswith("+cluster")
    hosts = connection.hosts or ((connection.host, connection.port),)
    tls = connection.scheme.startswith("rediss") or flag(connection, params, "tls")
    database = _database(connection, params.get("database", "") or connection.database)
    if cluster and database:
        raise ConfigError(f"connection {connection}: a cluster has only database 0", hint="leave the number out")
    return Endpoint(
        name=connection.name,
        addresses=tuple((host, port or DEFAULT_PORT) for host, port in hosts),
        cluster=cluster,
        user=connection.user,
        password=connection.password,
        database=database,
        tls=_tls(connection, params) if tls else None,
        timeout_s=timeout_s(connection, params, DEFAULT_TIMEOUT_S),
    )


def store_error(text: str, doing: str, endpoint: Endpoint) -> MillraceError:
    """What a run does about an error reply: TransientError when it may pass, else TargetError in the store's words."""
    code = text.split(" ", 1)[0]
    if endpoint.password:  # some proxies repeat a command that they don't know, with its arguments
        text = text.replace(endpoint.password.value, "***")
    kind = TransientError if code in _TRANSIENT else TargetError
    return kind(f"{doing} in {endpoint}: the store says '{text}'", hint=_HINTS.get(code, ""))


def pack(command: Command) -> bytes:
    """A command in its wire form (RESP2)."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
    return b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))


def lost(error: BaseException, doing: str, endpoint: Endpoint, address: Address) -> MillraceError:
    """What a run does about a connection that could not be made, or broke."""
    where = f"{doing} in {endpoint}: {address[0]}:{address[1]}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return TargetError(
            f"{where} has a certificate that can't be trusted: {error.verify_message}",
            hint="add `?ca=FILE` with your authority's certificate to the URL, or `?insecure=true` to verify nothing",
        )
    if isinstance(error, ssl.SSLError):
        return TransientError(f"{where} broke off TLS: {error}", hint="is the scheme right? redis:// is without TLS")
    if isinstance(error, TimeoutError):
        hint = "is it overloaded, or behind a firewall? `?timeout=60s` at the end of the URL waits for a minute"
        hint = "does it speak TLS? redis:// is without TLS" if endpoint.tls is not None else hint
        return TransientError(f"{where} did not answer within {endpoint.timeout_s:g}s", hint=hint)
    return TransientError(
        f"{where} can't be reached: {str(error) or type(error).__name__}", hint="is the server running?"
    )


def _embedded(name: str, params: Mapping[str, str]) -> Endpoint:
    from millrace.connectors.embedded import ensure
    from millrace.connectors.redis.embedded import server
    from millrace.spec.settings import Settings

    home = Path(params["home"]) if params.get("home") else Settings.from_env().home
    return Endpoint(name, (("127.0.0.1", ensure(server(), home)),))


def _tls(connection: Connection, params: Mapping[str, str]) -> Tls:
    insecure = flag(connection, params, "insecure") or params.get("verify", "").lower() in ("none", "cert_none")
    return Tls(params.get("ca", ""), params.get("cert", ""), params.get("cert_key", ""), insecure)


def _database(connection: Connection, text: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise ConfigError(
            f"connection {connection}: '{text}' is not a database number", hint="e.g. redis://host:6379/0"
        )
    return int(text or 0)
