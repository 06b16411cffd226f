"""Where a Druid is and how to log in, and what its errors mean. Pure.

    druid://ROUTER:8888/?staging=s3://bucket/millrace
    druid://BROKER:8082/?coordinator=COORDINATOR:8081&staging=file:///shared/millrace

A router passes on what is for the coordinator and the overlord when its management proxy is on
(`druid.router.managementProxy.enabled`); without one, `coordinator` names them. `staging` is a folder that Spark's
workers write to and Druid's workers read from.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from millrace.errors import ConfigError, MillraceError, NotFound, TargetError, TransientError
from millrace.spec.connection import Connection, Secret
from millrace.spec.connection_params import flag, known_params, timeout_s

DEFAULT_TIMEOUT_S = 600.0
PARAMS = ("coordinator", "staging", "timeout", "ca", "insecure")
_PORTS = {"druid": 8888, "druids": 9088}
_SHOWN_CHARACTERS = 600
_BUSY = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Endpoint:
    """One Druid by its HTTP interfaces. Picklable: tasks on other machines use it as it is.

    `timeout_s` is the longest that a load waits for Druid to make queryable what it has taken in.
    """

    name: str
    broker: str
    coordinator: str
    user: str = ""
    password: Secret = field(default_factory=lambda: Secret(""))
    staging: str = ""
    timeout_s: float = DEFAULT_TIMEOUT_S
    ca: str = ""
    insecure: bool = False

    def __str__(self) -> str:
        return f"{self.name} ({self.broker})"

    def verify(self) -> ssl.SSLContext | bool:
        """What httpx takes to judge a server's certificate by. Raises ConfigError when `ca` is no such file."""
        if self.insecure or not self.ca:
            return not self.insecure
        try:
            return ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise ConfigError(
                f"connection {self}: the authority's certificate {self.ca} can't be read: {error.strerror or error}",
                hint="`ca` names a PEM file that each machine has",
            ) from error


def endpoint_of(connection: Connection) -> Endpoint:
    """The endpoint of a connection. Raises ConfigError for a scheme or parameter that Druid doesn't have."""
    if connection.scheme not in _PORTS:
        raise ConfigError(
            f"connection {connection} is not a Druid one",
            hint="write druid://HOST:8888/ (druids:// for TLS) with the host and port of a router or broker",
        )
    params = known_params(connection, PARAMS)
    scheme = "https" if connection.scheme == "druids" else "http"
    host = f"[{connection.host}]" if ":" in connection.host else connection.host
    broker = f"{scheme}://{host}:{connection.port or _PORTS[connection.scheme]}"
    return Endpoint(
        name=connection.name,
        broker=broker,
        coordinator=_coordinator(connection, params, scheme) or broker,
        user=connection.user,
        password=connection.password,
        staging=params.get("staging", "").rstrip("/"),
        timeout_s=timeout_s(connection, params, DEFAULT_TIMEOUT_S),
        ca=params.get("ca", ""),
        insecure=flag(connection, params, "insecure"),
    )


def refused(status: int, content: bytes, doing: str, endpoint: Endpoint) -> MillraceError:
    """What to do about an answer that is an error, in Druid's own words."""
    code, text = _told(content)
    what = f"{doing} in {endpoint}: Druid answers {status}: {text}"
    if status == 401:
        who = f"user and password of the connection's URL ('{endpoint.user}')" if endpoint.user else "no user"
        hint = "put the right ones there: druids://USER:PASSWORD@HOST:PORT/ (docs/druid.md)"
        return TargetError(f"{doing} in {endpoint}: Druid refuses the login: it was given {who}", hint=hint)
    if status == 403:
        return TargetError(
            what, hint=f"let Druid's authorizer grant that to the user '{endpoint.user}' (docs/druid.md)"
        )
    if status < 400:
        return TargetError(what, hint="it sends on to another place: name that in the connection's URL")
    if "timeout" in code.lower() or status in _BUSY:
        return TransientError(what, hint="Druid is starting, overloaded, or a part of it is away")
    if re.search(r"Object '.*' not found", text):
        return NotFound(what, hint="the datasource has no segments yet: run the asset's spec first")
    if status >= 500 and "invalidInput" not in code:
        return TransientError(what, hint="see the log of the coordinator or broker")
    return TargetError(what, hint="see the log of the coordinator or broker")


def lost(error: BaseException, doing: str, endpoint: Endpoint, url: str) -> TransientError:
    """What to do about a connection that could not be made, or broke."""
    text = lost_text(error)
    if "timed out" in text.lower() or type(error).__name__.endswith("Timeout"):
        hint = "is it overloaded? See the log of the coordinator or broker"
        return TransientError(f"{doing} in {endpoint}: {url} gives no answer in time", hint=hint)
    role = "coordinator" if url == endpoint.coordinator != endpoint.broker else "router or broker"
    return TransientError(
        f"{doing} in {endpoint}: its {role} at {url} can't be reached: {text}", hint=f"is the {role} running there?"
    )


def lost_text(error: BaseException) -> str:
    """What a failure of the connection says, for a person."""
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its certificate can't be trusted; add `?ca=FILE` with your authority's certificate to the URL"
    return text


def _coordinator(connection: Connection, params: Mapping[str, str], scheme: str) -> str:
    text = params.get("coordinator", "").rstrip("/")
    if not text:
        return ""
    found = text if "://" in text else f"{scheme}://{text}"
    if not re.fullmatch(r"https?://(\[[0-9A-Fa-f:.]+\]|[^\s/:@]+)(:\d{1,5})?", found):
        raise ConfigError(
            f"connection {connection}: coordinator '{text}' is not HOST:PORT", hint="e.g. coordinator=druid1:8081"
        )
    return found


def _told(content: bytes) -> tuple[str, str]:
    """The code and the text of an error's body, whichever of Druid's two forms it has."""
    try:
        told = json.loads(content)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        return "", content[:_SHOWN_CHARACTERS].decode(errors="replace").strip() or "(nothing)"
    code = str(told.get("errorCode") or told.get("error") or "")
    text = str(told.get("errorMessage") or told.get("error") or told)
    return code, text[:_SHOWN_CHARACTERS]
