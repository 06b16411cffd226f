"""How specs become DAGs here: pools, retries, links and where Spark runs. One YAML file, `airflow.yaml`; all optional.

pools:
  slots: {high: 8, medium: 4, low: 2}     # of each business line
  lines: {growth: {high: 16}}
retries: {count: 3, wait: 30s, longest_wait: 10m}
links:
  owners: {growth@example.com: https://example.com/teams/growth}
  data_docs: https://docs.example.com/{asset}/
spark: {connection: spark_main}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from millrace.errors import ConfigError
from millrace.spec.diagnostics import Problem, summary
from millrace.spec.document import Document, Unreadable, read_document
from millrace.spec.messages import described, problems
from millrace.spec.priority import Priority
from millrace.spec.shape.fields import Line, Part, Positive, Whole
from millrace.spec.units import Duration

Url = Annotated[str, Field(pattern=r"^(https?://[^\s/]+|mailto:[^\s])[^\s]*$", max_length=2000)]


class SlotsSection(Part):
    """Tasks that may run at the same time, by priority."""

    high: Positive | None = Field(default=None, description="Slots for assets of high priority.")
    medium: Positive | None = Field(default=None, description="Slots for assets of medium priority.")
    low: Positive | None = Field(default=None, description="Slots for assets of low priority.")


class PoolsSection(Part):
    """A pool for each business line and priority."""

    slots: SlotsSection = Field(default=SlotsSection(high=8, medium=4, low=2), description="Of each business line.")
    lines: dict[Line, SlotsSection] = Field(default={}, description="Of single business lines, where they differ.")


class RetriesSection(Part):
    """Further tries after an error that may pass by itself: a server that was away, a worker that was lost."""

    count: Annotated[Whole, Field(le=100)] = Field(default=3, description="How many further tries.")
    wait: Duration = Field(default=timedelta(seconds=30), description="Before the first one; doubled each time.")
    longest_wait: Duration = Field(default=timedelta(minutes=10), description="The longest wait.")


class LinksSection(Part):
    """Addresses that a DAG's page links to."""

    owners: dict[Line, Url] = Field(default={}, description="Owner as in the specs: page or mailto: address.")
    data_docs: Url | None = Field(
        default=None, description="Where data docs are listed, if not by Airflow; `{asset}` stands for the asset."
    )
    catalog: Url | None = Field(default=None, description="Pages on assets and runs; `{asset}` stands for the asset.")


class SparkSection(Part):
    """Where Spark runs. Without a connection it is where MILLRACE_SPARK_MASTER says, by default inside the task."""

    connection: Line | None = Field(default=None, description="An Airflow connection of type spark.")


class ConfigShape(Part):
    """`airflow.yaml`."""

    pools: PoolsSection = PoolsSection()
    retries: RetriesSection = RetriesSection()
    links: LinksSection = LinksSection()
    spark: SparkSection = SparkSection()


@dataclass(frozen=True)
class DagConfig:
    """The configuration as the factory takes it."""

    slots: Mapping[Priority, int]
    line_slots: Mapping[str, Mapping[Priority, int]] = field(default_factory=dict)
    retries: int = 3
    retry_wait: timedelta = timedelta(seconds=30)
    longest_wait: timedelta = timedelta(minutes=10)
    owner_links: Mapping[str, str] = field(default_factory=dict)
    data_docs: str = ""
    catalog: str = ""
    spark_connection: str = ""

    def slots_of(self, business_line: str, priority: Priority) -> int:
        """The slots that a business line's pool of this priority asks for."""
        return self.line_slots.get(business_line, {}).get(priority) or self.slots[priority]


def load_config(path: Path | None) -> DagConfig:
    """Read `airflow.yaml`; without a path, all defaults. Raises ConfigError that names file, line and what is wrong."""
    if path is None:
        return _config(ConfigShape())
    try:
        return _parsed(str(path), path.read_bytes())
    except OSError as error:
        raise ConfigError(f"reading the configuration of DAGs {path}: {error.strerror or error}") from None


@lru_cache(maxsize=4)
def _parsed(name: str, content: bytes) -> DagConfig:
    try:
        document = read_document(content, name, {})
    except Unreadable as error:
        raise ConfigError(f"reading the configuration of DAGs: {error.diagnostic}") from None
    found = list(document.problems)
    shape = ConfigShape()
    try:
        shape = ConfigShape.model_validate({} if document.data is None else document.data)
    except ValidationError as error:
        found += _problems(error, document)
    if found:
        raise ConfigError(f"reading the configuration of DAGs\n{summary(document.diagnostics(found))}")
    return _config(shape)


def _problems(error: ValidationError, document: Document) -> list[Problem]:
    if not isinstance(document.data, dict):
        return [Problem((), f"expected a mapping of sections, got {described(document.data)}")]
    return problems(error, ConfigShape, document)


def _config(shape: ConfigShape) -> DagConfig:
    usual = {**_slots(SlotsSection(high=8, medium=4, low=2)), **_slots(shape.pools.slots)}
    return DagConfig(
        slots=usual,
        line_slots={line: _slots(section) for line, section in shape.pools.lines.items()},
        retries=shape.retries.count,
        retry_wait=shape.retries.wait,
        longest_wait=shape.retries.longest_wait,
        owner_links=shape.links.owners,
        data_docs=shape.links.data_docs or "",
        catalog=shape.links.catalog or "",
        spark_connection=shape.spark.connection or "",
    )


def _slots(section: SlotsSection) -> dict[Priority, int]:
    given: dict[str, Any] = section.model_dump(exclude_none=True)
    return {Priority(name): slots for name, slots in given.items()}
