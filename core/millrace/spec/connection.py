"""Named connections: where a store is and how to log in, kept out of specs.

A name is looked for in this order: the environment (`MILLRACE_CONNECTION_<NAME>`, a URL), Airflow's own
environment form (`AIRFLOW_CONN_<NAME>`, a URL or JSON), then `connections.yaml`. An error lists every place looked at.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from millrace.errors import ConfigError
from millrace.spec.settings import Settings

EMBEDDED = "embedded"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}", re.ASCII)
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(?:/([^?#]*))?(?:\?([^#]*))?", re.ASCII)
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\[\]:@,\s]*))(?::([0-9]{1,5}))?", re.ASCII)
_FIELDS = ("url", "scheme", "host", "port", "user", "password", "database", "params")


@dataclass(frozen=True)
class Secret:
    """A value that never shows in a repr, a log or an error."""

    value: str = field(repr=False)

    def __str__(self) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self.value)


@dataclass(frozen=True)
class Connection:
    """One resolved connection. `scheme` is the URL's, e.g. `mysql`, `redis`, `rediss`, `redis+cluster`, `embedded`.

    `embedded` is a local server that millrace starts itself; it has no host or port yet. `params` may hold keys and
    certificates' passwords: it never shows in a repr.
    """

    name: str
    scheme: str
    host: str = "127.0.0.1"
    port: int | None = None
    user: str = ""
    password: Secret = Secret("")
    database: str = ""
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    hosts: tuple[tuple[str, int | None], ...] = ()  # every host of a cluster URL, the first one included

    def __str__(self) -> str:
        """For messages: never the password."""
        if self.scheme == EMBEDDED:
            return f"{self.name} (embedded)"
        port = f":{self.port}" if self.port else ""
        return f"{self.name} ({self.scheme}://{self.host}{port}/{self.database})"


def resolve(name: str, env: Mapping[str, str] | None = None, file: Path | str | None = None) -> Connection:
    """The connection of this name; nothing is connected to.

    `env` is `os.environ` by default, `file` is `MILLRACE_CONNECTIONS` or `connections.yaml`. The name `embedded` needs
    no declaration. Raises ConfigError, without any secret's value, when the name is nowhere (it lists every place it
    looked at, and the closest name there is) or when what is found is malformed.
    """
    env = os.environ if env is None else env
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"bad connection name {name!r}",
            hint="a name has letters, digits and _ (at most 63) and starts with a letter",
        )
    own, airflow = f"MILLRACE_CONNECTION_{name.upper()}", f"AIRFLOW_CONN_{name.upper()}"
    if env.get(own):
        return parse_url(name, env[own], f"${own}")
    if env.get(airflow):
        return _from_airflow(name, env[airflow], f"${airflow}")
    path = Settings.from_env(env).connections_file if file is None else Path(file)
    declared = _read_file(path, env)
    if name in declared:
        return _from_entry(name, declared[name], str(path))
    if name == EMBEDDED:
        return Connection(name, EMBEDDED)
    raise _missing(name, (f"${own}", f"${airflow}"), path, tuple(declared))


def parse_url(name: str, url: str, where: str) -> Connection:
    """A connection from `scheme://user:password@host:port/database?param=value`; several hosts with commas between.

    User, password, database and params are percent-decoded. `where` says in an error where the URL stood. Raises
    ConfigError, which never shows the URL.
    """
    url = url.strip()
    if url in (EMBEDDED, EMBEDDED + "://"):
        return Connection(name, EMBEDDED)
    match = _URL.fullmatch(url)
    if match is None or any(ord(c) < 32 for c in url):
        raise _malformed(name, where, "it is not a URL")
    scheme, place, database, query = match.groups(default="")
    login, _, addresses = place.rpartition("@")
    user, _, password = login.partition(":")
    hosts = tuple(_host(name, where, address) for address in addresses.split(","))
    host, port = hosts[0]
    return Connection(
        name=name,
        scheme=scheme.lower(),
        host=host,
        port=port,
        user=unquote(user),
        password=Secret(unquote(password)),
        database=unquote(database),
        params=dict(parse_qsl(query, keep_blank_values=True)),
        hosts=hosts,
    )


def _host(name: str, where: str, address: str) -> tuple[str, int | None]:
    match = _HOST.fullmatch(address)
    port = int(match.group(3)) if match and match.group(3) else None
    if match is None or (port is not None and not 0 < port < 65536):
        raise _malformed(name, where, "its host or port is malformed")
    return unquote(match.group(1) or match.group(2) or "127.0.0.1"), port


def _from_airflow(name: str, text: str, where: str) -> Connection:
    """Airflow's two environment forms: a URI (`__extra__` holds JSON), or JSON with `conn_type`, `login`, `schema`."""
    if not text.lstrip().startswith("{"):
        found = parse_url(name, text, where)
        extra = dict(found.params)
        extra.update(_extra(name, where, extra.pop("__extra__", "")))
        return replace(found, scheme=found.scheme.replace("-", "_"), params=extra)
    try:
        raw = json.loads(text)
    except ValueError:
        raise _malformed(name, where, "it starts like JSON, but is not") from None
    if not raw.get("conn_type"):
        raise _malformed(name, where, "it has no 'conn_type'")
    return _from_fields(
        name,
        where,
        {
            "scheme": raw["conn_type"],
            "host": raw.get("host"),
            "port": raw.get("port"),
            "user": raw.get("login"),
            "password": raw.get("password"),
            "database": raw.get("schema"),
            "params": _extra(name, where, raw.get("extra")),
        },
    )


def _extra(name: str, where: str, extra: Any) -> dict[str, str]:
    try:
        found = json.loads(extra) if isinstance(extra, str) and extra else extra or {}
    except ValueError:
        raise _malformed(name, where, "its 'extra' is not JSON") from None
    if not isinstance(found, dict):
        raise _malformed(name, where, "its 'extra' is not a mapping")
    return {str(key): _plain(value) for key, value in found.items() if value is not None}


def _from_entry(name: str, entry: Any, where: str) -> Connection:
    if isinstance(entry, str):
        return parse_url(name, entry, where)
    if not isinstance(entry, Mapping):
        raise _malformed(name, where, "it is neither a URL nor a mapping")
    unknown = [key for key in entry if key not in _FIELDS]
    if unknown:
        raise _malformed(name, where, f"unknown key '{unknown[0]}', expected one of {', '.join(_FIELDS)}")
    if "url" in entry:
        if len(entry) > 1:
            raise _malformed(name, where, "'url' stands alone, or every part has its own key")
        return parse_url(name, _plain(entry["url"]), where)
    return _from_fields(name, where, entry)


def _from_fields(name: str, where: str, entry: Mapping[str, Any]) -> Connection:
    scheme = _plain(entry.get("scheme"))
    if not scheme:
        raise _malformed(name, where, "it has neither a 'url' nor a 'scheme'")
    if scheme == EMBEDDED:
        return Connection(name, EMBEDDED)
    params = entry.get("params") or {}
    if not isinstance(params, Mapping):
        raise _malformed(name, where, "its 'params' is not a mapping")
    hosts = [_host(name, where, address.strip()) for address in _plain(entry.get("host")).split(",")]
    if entry.get("port"):
        hosts = [(host, port or _host(name, where, f"x:{_plain(entry['port'])}")[1]) for host, port in hosts]
    return Connection(
        name=name,
        scheme=scheme.lower(),
        host=hosts[0][0],
        port=hosts[0][1],
        user=_plain(entry.get("user")),
        password=Secret(_plain(entry.get("password"))),
        database=_plain(entry.get("database")),
        params={str(key): _plain(value) for key, value in params.items() if value is not None},
        hosts=tuple(hosts),
    )


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _read_file(path: Path, env: Mapping[str, str]) -> Mapping[str, Any]:
    """The connections that a file declares, `${VAR}` filled in; none when there is no such file."""
    from millrace.spec.document import Unreadable, read_document

    try:
        document = read_document(path.read_bytes(), str(path), env, typed=False)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"reading connections from {path}: {error.strerror or error}") from None
    except Unreadable as error:
        raise ConfigError(f"reading connections: {error}") from None
    if document.problems:
        raise ConfigError(f"reading connections: {document.diagnostics(document.problems)[0]}")
    if document.data is None:
        return {}
    if not isinstance(document.data, dict):
        raise ConfigError(f"reading connections: {path}:1:1: expected a mapping of names to URLs")
    return document.data


def _missing(name: str, places: tuple[str, ...], path: Path, declared: tuple[str, ...]) -> ConfigError:
    state = f"has {', '.join(sorted(declared)) or 'none'}" if path.exists() else "no such file"
    close = difflib.get_close_matches(name, declared, n=1)
    meant = f"; did you mean '{close[0]}'?" if close else ""
    return ConfigError(
        f"no connection '{name}' in {', '.join(places)} or {path} ({state}){meant}",
        hint=f"set {places[0][1:]} to a URL, or add '{name}: <url>' to {path}",
    )


def _malformed(name: str, where: str, problem: str) -> ConfigError:
    return ConfigError(
        f"the connection '{name}' in {where} can't be used: {problem}",
        hint="write scheme://user:password@host:port/database?param=value, with special characters percent-encoded",
    )
