"""Named connections: where a store is and how to log in, kept out of specs.

A name is looked for in this order: the environment (`MILLRACE_CONNECTION_<NAME>`, a URL), Airflow's own
environment form (`AIRFLOW_CONN_<NAME>`, a URL or JSON), then `connections.yaml`. An error lists every place looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
    """One resolved connection. `scheme` is the URL's, e.g. `mysql`, `redis`, `rediss`, `redis+cluster`, `embedded`."""

    name: str
    scheme: str
    host: str = "127.0.0.1"
    port: int | None = None
    user: str = ""
    password: Secret = Secret("")
    database: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[tuple[str, int | None], ...] = ()  # every host of a cluster URL, the first one included

    def __str__(self) -> str:
        """For messages: never the password."""
        port = f":{self.port}" if self.port else ""
        return f"{self.name} ({self.scheme}://{self.host}{port}/{self.database})"
