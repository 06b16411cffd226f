"""What benchmarks of serving share: an asset published into a store of its own, and servers that keep to one core."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from millrace.catalog import Catalog
from millrace.catalog.access_model import Consumer, Terms
from millrace.spec.priority import Priority
from millrace.spec.settings import Settings
from tests.servers.redis import RedisServer
from tests.serving.publishing import CONNECTION, Publisher

#: A rate that no load here comes up to.
PLENTY = 10_000_000
_TERMS = Terms(requests_per_second=PLENTY)


@dataclass(frozen=True)
class Published:
    """An asset `bench` in a Redis on core `other`; `core` is for what is measured. `token`: of one who may read it."""

    folder: Path
    settings: Settings
    store: RedisServer
    version: str
    token: str
    core: int
    other: int

    @property
    def env(self) -> dict[str, str]:
        """What a `millrace` process needs to know of it."""
        return {"MILLRACE_HOME": str(self.folder), "MILLRACE_CONNECTIONS": str(self.folder / "connections.yaml")}


@contextmanager
def published(
    rows: int | pa.RecordBatch, apis: Sequence[Mapping[str, Any]], terms: Terms = _TERMS, **target: Any
) -> Iterator[Published]:
    """These rows, or so many `people`, published once, with a grant of these terms for the API `bench`.

    `target`: options of its Redis target.
    """
    batch = people(rows) if isinstance(rows, int) else rows
    cores = sorted(os.sched_getaffinity(0))
    other, core = cores[0], cores[-1]
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name, RedisServer() as store:
        folder = Path(name)
        os.sched_setaffinity(store.pid, {other})
        connections = folder / "connections.yaml"
        connections.write_text(f"{CONNECTION}: {store.url}\n")
        settings = Settings.from_env({"MILLRACE_HOME": name, "MILLRACE_CONNECTIONS": str(connections)})
        with Catalog.open(settings.catalog_url) as catalog:
            version = Publisher(catalog, store.url, "bench", apis=apis, options=target).publish(batch).id
            token = _token(catalog, terms)
        yield Published(folder, settings, store, version, token, core, other)


@contextmanager
def pinned(command: Sequence[str], env: Mapping[str, str], core: int) -> Iterator[int]:
    """A server on one core, once it says that it serves; its process id."""
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *command], env={**os.environ, **env}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("serving")
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def people(rows: int) -> pa.RecordBatch:
    """Rows of about 105 bytes of Protobuf."""
    ids = range(rows)
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array(ids, pa.int64()),
            "name": pa.array([f"person number {id_:07}" for id_ in ids]),
            "city": pa.array([f"city {id_ % 500:03}" for id_ in ids]),
            "email": pa.array([f"person.{id_:07}@mail.example.com" for id_ in ids]),
            "age": pa.array([id_ % 90 for id_ in ids], pa.int32()),
            "note": pa.array(["a few words more"] * rows),
        }
    )


def _token(catalog: Catalog, terms: Terms) -> str:
    catalog.access.add_consumer(Consumer("bench", priority=Priority.HIGH), "bench")
    catalog.access.approve(catalog.access.request("bench", "bench", terms, "", "bench").id, "bench")
    return catalog.access.issue_token("bench", "bench")
