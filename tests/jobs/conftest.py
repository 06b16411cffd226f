"""A place to run specs in: settings, a catalog, connections to real stores, and the shared Spark session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from millrace.catalog import Catalog
from millrace.jobs import runner
from millrace.jobs.context import Observer
from millrace.jobs.session import SessionHolder
from millrace.serving import Client, connect
from millrace.spec import Spec, parse_spec
from millrace.spec.settings import Settings
from tests.servers.redis import RedisServer


@dataclass
class Workspace:
    """One user's folder. `run` raises nothing: a failed run is a report with an error."""

    settings: Settings
    catalog: Catalog
    session: SessionHolder
    stack: ExitStack = field(default_factory=ExitStack)

    def spec(self, text: str) -> Spec:
        return parse_spec(text, path=self.settings.home / "spec.yaml")

    def run(
        self, text: str, request: runner.RunRequest | None = None, observer: Observer | None = None
    ) -> runner.RunReport:
        return runner.run(self.spec(text), self.settings, self.catalog, self.session, request, observer)

    def write(self, name: str, lines: Sequence[str]) -> Path:
        path = self.settings.home / name
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    def client(self) -> Client:
        return self.stack.enter_context(connect(self.settings))


def make_settings(home: Path, connections: dict[str, str]) -> Settings:
    """Settings with a folder of their own and these connections."""
    (home / "connections.yaml").write_text("".join(f"{name}: {url!r}\n" for name, url in connections.items()))
    return Settings.from_env(
        {
            "MILLRACE_HOME": str(home),
            "MILLRACE_CONNECTIONS": str(home / "connections.yaml"),
            "MILLRACE_SPARK_MASTER": "local[2]",
        }
    )


@pytest.fixture
def workspace(tmp_path: Path, redis_server: RedisServer, spark: SparkSession) -> Iterator[Workspace]:
    settings = make_settings(tmp_path, {"store": redis_server.url})
    session = SessionHolder(settings)
    assert session.get().sparkContext is spark.sparkContext, "tests share one session"
    with Catalog.open(settings.catalog_url) as catalog, ExitStack() as stack:
        yield Workspace(settings, catalog, session, stack)
