"""Every target as a format that any PySpark program can write to: `frame.write.format("millrace_redis")`.

    from millrace.connectors.spark_format import register
    register(spark)
    options = {"connection": "redis_online", "asset": "users", "key": "{id}"}
    frame.write.format("millrace_redis").options(**options).mode("append").save()

Options are those of the target in a spec, with lists and maps as JSON, plus `asset` (required), `version` (made from
the clock by default) and `publish` (default true: the version becomes current when every task has committed). Spark's
workers must be able to resolve the connection's name; `url` gives the URL itself in its place, for a store without a
password, because options are not secret. What is written is a version of its own; nothing of it is visible before the
publish, and an aborted write leaves readers alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSource, DataSourceArrowWriter, WriterCommitMessage
from pyspark.sql.types import StructType

from millrace.connectors.base import DirtyRow, Field, Loader, Target, Version
from millrace.connectors.channel import run_channel
from millrace.errors import ConfigError, DirtyLimitExceeded
from millrace.spec.connection import Connection, parse_url, resolve
from millrace.spec.connector import Connector, connectors, implementation
from millrace.spec.types import column

if TYPE_CHECKING:
    from pyarrow import RecordBatch
    from pyspark.sql import SparkSession

_URL = "url"
_OWN_OPTIONS = ("asset", "version", "publish", "path", _URL)


def register(spark: SparkSession) -> tuple[str, ...]:
    """Make every installed target known to a session; the names of the formats, e.g. `millrace_redis`."""
    names = []
    for connector in connectors().values():
        if connector.target is not None and connector.target.implementation is not None:
            spark.dataSource.register(_source_class(connector))
            names.append(f"millrace_{connector.name}")
    return tuple(names)


def _source_class(connector: Connector) -> type[DataSource]:
    """A data source class of its own for a connector, because Spark asks the class for the format's name."""

    class TargetDataSource(DataSource):
        @classmethod
        def name(cls) -> str:
            return f"millrace_{connector.name}"

        def writer(self, schema: StructType, overwrite: bool) -> DataSourceArrowWriter:
            return VersionWriter.make(connector, dict(self.options), schema)

    return TargetDataSource


@dataclass
class _Committed(WriterCommitMessage):
    rows: int
    dirty: int


class _StrictGate:
    """The gate of a program without a run: no limits, and no dirty row is let pass."""

    def admit(self, rows: int, size: int) -> None:
        """There is no budget."""

    def done(self, rows: int, size: int, dirty: Any = (), waited: float = 0.0) -> None:
        for row in dirty:
            _refuse(row)


def _refuse(row: DirtyRow) -> None:
    raise DirtyLimitExceeded(
        f"row {row.origin} can't be written: {row.reason}",
        hint="filter such rows out before the write, or use a spec, which sets them aside",
    )


class VersionWriter(DataSourceArrowWriter):
    """Writes one version into one target: prepared on the driver, loaded in tasks, published on commit."""

    def __init__(
        self, connector: Connector, settings: Mapping[str, Any], version: Version, publish: bool, url: str = ""
    ) -> None:
        self._connector = connector
        self._settings = settings
        self._url = url
        self._version = version
        self._publish = publish
        target = self._target()
        try:
            target.check(version.columns)
            target.prepare(version)
            self._loader: Loader = target.loader(version)
        finally:
            target.close()

    @classmethod
    def make(cls, connector: Connector, options: Mapping[str, str], schema: StructType) -> VersionWriter:
        """Raises ConfigError when `asset` is missing; pydantic's errors name a wrong option."""
        asset = options.get("asset")
        if not asset:
            raise ConfigError(
                f"format millrace_{connector.name} needs the option 'asset'",
                hint='add .option("asset", "the_name_that_readers_use")',
            )
        fields = tuple(
            Field(column(field.name, field.dataType.simpleString()), number)
            for number, field in enumerate(schema.fields, start=1)
        )
        version = Version(asset, options.get("version") or f"w{time.time_ns() // 1_000_000:x}", fields)
        settings = {name: _value(text) for name, text in options.items() if name not in _OWN_OPTIONS}
        url = options.get(_URL, "")
        if url:
            settings["connection"] = _URL
        return cls(connector, settings, version, options.get("publish", "true").lower() == "true", url)

    def write(self, iterator: Iterator[RecordBatch]) -> WriterCommitMessage:  # type: ignore[override]  # as pyspark's own
        totals = run_channel(iterator, self._loader, _StrictGate())
        return _Committed(totals.rows, totals.dirty)

    def commit(self, messages: list[WriterCommitMessage | None]) -> None:
        target = self._target()
        try:
            target.seal(self._version)
            if self._publish:
                target.publish(self._version)
        finally:
            target.close()

    def abort(self, messages: list[WriterCommitMessage | None]) -> None:
        target = self._target()
        try:
            target.drop(self._version)
        finally:
            target.close()

    def _target(self) -> Target:
        role = self._connector.target
        if role is None:
            raise ConfigError(f"{self._connector.name} is not a target", hint="see `millrace connectors`")
        options = role.options.model_validate(self._settings)
        made = implementation(role.implementation, f"the target '{self._connector.name}'")
        target: Target = made(options, self._connection())
        return target

    def _connection(self) -> Connection:
        if self._url:
            return parse_url(_URL, self._url, "the option 'url'")
        return resolve(str(self._settings["connection"]))


def _value(text: str) -> Any:
    """Options reach a data source as text; lists and maps are written as JSON."""
    return json.loads(text) if text[:1] in "[{" and text[-1:] in "]}" and _is_json(text) else text


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
