"""Airflow's connections for a step's process: whatever Airflow knows (its environment, secrets backends, database).

The process finds them as `AIRFLOW_CONN_<NAME>`, the form that `millrace.spec.connection` reads. A connection that
stands in `MILLRACE_CONNECTION_<NAME>` is left as it is, and one that Airflow doesn't know is looked for by the process
itself, in `connections.yaml`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Connection


def environment(names: Iterable[str]) -> dict[str, str]:
    """The variables that tell a process these connections. Airflow masks their secrets in the task's log."""
    found = {}
    for name in names:
        if os.environ.get(f"MILLRACE_CONNECTION_{name.upper()}"):
            continue
        connection = lookup(name)
        if connection is not None:
            found[f"AIRFLOW_CONN_{name.upper()}"] = _text(connection)
    return found


def lookup(name: str) -> Connection | None:
    """Airflow's connection of this name, if it knows one."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return BaseHook.get_connection(name)
    except AirflowNotFoundException:
        return None


def _text(connection: Connection) -> str:
    return json.dumps(
        {
            "conn_type": connection.conn_type,
            "host": connection.host,
            "port": connection.port,
            "login": connection.login,
            "password": connection.password,
            "schema": connection.schema,
            "extra": connection.extra_dejson,
        }
    )
