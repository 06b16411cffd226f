"""Reads what runs have published: the library that applications use.

    from millrace.serving import connect

    with connect() as client:                       # reads the stores itself
        row = client.kv("user_profile").get(42)

    with connect("http://serving:8080", token="…") as client:   # the same, through a server
        row = client.kv("user_profile").get(42)

Small to install (`millrace[serving]`): no Spark, no Airflow, no Great Expectations.
"""

from __future__ import annotations

from millrace.serving.client import AsyncClient, AsyncKv, Row
from millrace.serving.kv.client import Degraded, Page
from millrace.serving.sync import Client, Kv
from millrace.spec.settings import Settings

__all__ = [
    "AsyncClient",
    "AsyncKv",
    "Client",
    "Degraded",
    "Kv",
    "Page",
    "Row",
    "connect",
    "connect_async",
]


def connect(
    where: Settings | str | None = None,
    *,
    token: str = "",
    timeout_s: float = 10.0,
    ca: str = "",
    certificate: tuple[str, str] | None = None,
) -> Client:
    """A client for the catalog and connections of these settings (this environment's by default), or for a server.

    `where` as text is the server's address; `token` is the consumer's, and `timeout_s` the longest wait for an answer.
    `ca` is a file in PEM with the authorities that a server's certificate may be from: those of the environment unless
    given; `certificate` is the client's own and its key, two files, for servers that want to see one.
    """
    return Client(where, token=token, timeout_s=timeout_s, ca=ca, certificate=certificate)


def connect_async(
    where: Settings | str | None = None,
    *,
    token: str = "",
    timeout_s: float = 10.0,
    ca: str = "",
    certificate: tuple[str, str] | None = None,
) -> AsyncClient:
    """The same for asyncio: `async with connect_async() as client: …`."""
    return AsyncClient(where, token=token, timeout_s=timeout_s, ca=ca, certificate=certificate)
