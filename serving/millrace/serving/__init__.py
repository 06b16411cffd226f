"""Reads what runs have published: the library that applications use.

    from millrace.serving import connect

    with connect() as client:
        row = client.kv("user_profile").get(42)

Small to install (`millrace[serving]`): no Spark, no Airflow, no Great Expectations.
"""

from __future__ import annotations

from millrace.serving.client import AsyncClient, AsyncKv, Row
from millrace.serving.sync import Client, Kv
from millrace.spec.settings import Settings

__all__ = ["AsyncClient", "AsyncKv", "Client", "Kv", "Row", "connect", "connect_async"]


def connect(settings: Settings | None = None) -> Client:
    """A client for the catalog and connections of these settings (this environment's by default)."""
    return Client(settings)


def connect_async(settings: Settings | None = None) -> AsyncClient:
    """The same for asyncio: `async with connect_async() as client: …`."""
    return AsyncClient(settings)
