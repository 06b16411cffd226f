"""Druid as a target: check, load, verify, publish and retire versions. Names, types and specs: `layout`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from millrace.connectors.base import Loader, Version
from millrace.connectors.druid import layout, pointer, replaced, supervisor, tasks
from millrace.connectors.druid.endpoint import Endpoint, endpoint_of
from millrace.connectors.druid.layout import Marker, Staged
from millrace.connectors.druid.link import Link
from millrace.connectors.druid.options import DruidOptions
from millrace.connectors.linked import LinkedTarget
from millrace.connectors.streams import Streams
from millrace.errors import ConfigError, NotFound, TargetError
from millrace.spec.connection import Connection
from millrace.spec.connector import Mode, Options
from millrace.spec.types import Column

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.connectors.staging import StagingFolder

_REFRESH = "load everything anew with `millrace run --full-refresh`"


class DruidTarget(LinkedTarget[Link], Streams):
    """One asset as a datasource for each version, and a pointer; see `base.Target` for when what is called.

    Versions of `append` share one datasource: Druid replaces the interval's segments when the load ends, and gets those
    that it had before back when the version is never published.
    """

    probes: ClassVar[bool] = False

    def __init__(self, options: Options, connection: Connection) -> None:
        super().__init__(options, connection)
        assert isinstance(options, DruidOptions)
        self.druid = options

    def check(self, columns: Sequence[Column]) -> None:
        doing = "looking for the store"
        with self._checking():
            layout.check_columns(columns, self.druid)
            layout.input_source(self._endpoint.staging or "file://", ())
        self._staging_url()
        if self._link.get(doing, "/druid/indexer/v1/workers") is None:
            raise TargetError(
                f"{doing}: {self._endpoint.coordinator} passes nothing on to Druid's overlord",
                hint="turn the router's management proxy on, or add `?coordinator=HOST:PORT` to the connection's URL",
            )
        self._link.sql(doing, "SELECT 1")

    def prepare(self, version: Version) -> None:
        """Make room; an earlier attempt's tasks are ended, and its files and segments removed."""
        doing = f"preparing version {version.id} of {version.asset}"
        current = self._current(version.asset, doing)
        if current is not None and current.version == version.id:
            raise TargetError(
                f"{doing}: readers of {self._endpoint} see this version now", hint="load it as a new version"
            )
        if not version.own_rows and (current is None or current.datasource != self._datasource(version)):
            raise TargetError(
                f"{doing}: readers of {self._endpoint} see {current.version if current else 'nothing'}, which is not "
                "one of the versions that this one goes on from",
                hint=_REFRESH,
            )
        if version.mode is Mode.APPEND and (problem := layout.interval_problem(version, self.druid)):
            raise TargetError(
                f"{doing}: {problem}, and Druid replaces whole segments",
                hint="set `segment_granularity` to the schedule's interval or to a part of it",
            )
        tasks.end_all(self._link, doing, self._datasource(version))
        if version.own_rows:
            tasks.remove(self._link, doing, self._datasource(version))
        else:
            replaced.bring_back_all(self._link, doing, self._datasource(version))
        pointer.delete(self._link, doing, self._note(version))
        self._folder(version).remove()

    def loader(self, version: Version) -> Loader:
        from millrace.connectors.druid.loader import DruidLoader

        columns = layout.kept_columns(version.columns, self.druid)
        self._staging_url()
        return DruidLoader(self._endpoint, self._note(version), columns, self.druid.timestamp)

    def seal(self, version: Version) -> None:
        """Have Druid take in what the tasks have written, and wait until its readers can query it."""
        from millrace.connectors.druid.loader import staged

        doing = f"putting version {version.id} of {version.asset} together"
        if pointer.read(self._link, doing, self._note(version)) is not None:
            return
        folder = self._folder(version)
        written = staged(folder)
        self._refuse_outside(version, written, doing)
        datasource = self._datasource(version)
        placeholder = not version.own_rows and self._has_placeholder(version, doing)
        if not version.own_rows:
            replaced.note(self._link, doing, self._note(version), datasource, self._interval(version))
        if written.rows or version.own_rows:
            if not written.rows:
                written, placeholder = self._write_placeholder(folder, version), True
            self._ingest(version, folder, written, doing)
        else:
            self._clear(version, doing)
        marker = Marker(version.asset, version.id, datasource, placeholder)
        self._wait_until_queryable(version, marker, 0 if placeholder and version.own_rows else written.rows, doing)
        pointer.write(self._link, doing, self._note(version), marker)
        folder.remove()

    def count(self, version: Version) -> int:
        doing = f"counting version {version.id} of {version.asset}"
        marker = pointer.read(self._link, doing, self._note(version))
        return 0 if marker is None else self._count(version, marker, doing)

    def _count(self, version: Version, marker: Marker, doing: str) -> int:
        counted = f"SUM({layout.quote(layout.ROWS)})" if self.druid.rolls_up else "COUNT(*)"
        conditions = [text for text in (layout.where(marker), self._in_window(version)) if text]
        filtered = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        sql = f"SELECT {counted} FROM {layout.quote(marker.datasource)}{filtered}"
        try:
            return int(self._link.sql(doing, sql)[0][0] or 0)
        except NotFound:
            return 0

    def mismatches(self, version: Version, sample: pa.Table) -> list[str]:
        from millrace.connectors.druid.readback import mismatches

        return mismatches(self._link, self._datasource(version), version, self.druid, sample)

    def publish(self, version: Version) -> None:
        """Replace the pointer, in one step. Then Druid's own reading of `stream` is what the options say."""
        doing = f"publishing version {version.id} of {version.asset}"
        marker = pointer.read(self._link, doing, self._note(version))
        if marker is None:
            raise TargetError(
                f"{doing}: {self._endpoint} has nothing, or only a half-loaded datasource, of this version",
                hint="run the spec again to load a new version",
            )
        if self._current(version.asset, doing) != marker:
            pointer.write(self._link, doing, self.druid.base(version.asset), marker)
        replaced.settle(self._link, doing, self._note(version))
        supervisor.follow(self._link, doing, version, self.druid)

    def current(self, asset: str) -> str | None:
        found = self._current(asset, f"looking up the current version of {asset}")
        return found.version if found is not None else None

    def drop(self, version: Version) -> None:
        """Take the datasource's segments away; Druid's own `kill` task deletes their files."""
        doing = f"dropping version {version.id} of {version.asset}"
        self._refuse_current(version, doing)
        tasks.end_all(self._link, doing, self._datasource(version))
        tasks.remove(self._link, doing, self._datasource(version))
        self._forget(version, doing)

    def forget(self, version: Version) -> None:
        """Of a version that was never published, its interval gets back what it had."""
        doing = f"forgetting version {version.id} of {version.asset}"
        self._refuse_current(version, doing)
        tasks.end_all(self._link, doing, self._datasource(version))
        replaced.bring_back(self._link, doing, self._note(version))
        self._forget(version, doing)

    def unpublish(self, asset: str) -> None:
        """Take the pointer away, and end the supervisor of `stream`: what it has read stays."""
        doing = f"taking {asset} away"
        if self._current(asset, doing) is not None:
            pointer.delete(self._link, doing, self.druid.base(asset))
        supervisor.end(self._link, doing, asset, self.druid.base(asset))

    def streams(self, asset: str) -> Sequence[str]:
        """What the supervisor of `stream` does; Druid is not asked where the options have none."""
        if self.druid.stream is None:
            return ()
        told = supervisor.state(self._link, f"asking for the stream of {asset}", self.druid.base(asset))
        return (told or f"has no supervisor for '{self.druid.base(asset)}' yet: the next publish submits it",)

    def stream_name(self, asset: str) -> str | None:
        return None if self.druid.stream is None else self.druid.base(asset)

    def end_stream(self, asset: str) -> str | None:
        name = self.druid.base(asset)
        topic = supervisor.end(self._link, f"ending the stream of {asset}", asset, name)
        return topic and f"the supervisor that read '{topic}' into '{name}' is ended; what it has read stays"

    def _connect(self) -> Link:
        return Link(self._endpoint)

    @property
    def _endpoint(self) -> Endpoint:
        return endpoint_of(self.connection)

    def _datasource(self, version: Version) -> str:
        return layout.datasource_of(self.druid.base(version.asset), version.rows_id)

    def _note(self, version: Version) -> str:
        """The name of the version's own lookup, and of its folder."""
        return layout.datasource_of(self.druid.base(version.asset), version.id)

    def _staging_url(self) -> str:
        if not self._endpoint.staging:
            raise ConfigError(
                f"connection {self.connection} has no `staging`, the folder from which Druid reads what is loaded",
                hint="add one that Spark's and Druid's workers both reach, e.g. `?staging=s3://bucket/millrace`",
            )
        return self._endpoint.staging

    def _folder(self, version: Version) -> StagingFolder:
        from millrace.connectors.staging import StagingFolder

        return StagingFolder(self._staging_url(), self._note(version))

    def _current(self, asset: str, doing: str) -> Marker | None:
        found = pointer.read(self._link, doing, self.druid.base(asset))
        return found if found is not None and found.asset == asset else None

    def _has_placeholder(self, version: Version, doing: str) -> bool:
        found = self._current(version.asset, doing)
        return found is not None and found.placeholder

    def _in_window(self, version: Version) -> str:
        """The condition for rows of the interval that `append` overwrites; empty: all rows."""
        start, end = version.window.start, version.window.end
        if version.mode is not Mode.APPEND or start is None or end is None:
            return ""
        first, last = (int(t.timestamp() * 1000) for t in (start, end))
        time = layout.quote(layout.TIME)
        return f"{time} >= MILLIS_TO_TIMESTAMP({first}) AND {time} < MILLIS_TO_TIMESTAMP({last})"

    def _refuse_outside(self, version: Version, written: Staged, doing: str) -> None:
        start, end = version.window.start, version.window.end
        if version.mode is not Mode.APPEND or start is None or end is None or not written.rows:
            return
        if written.first_ms < start.timestamp() * 1000 or written.last_ms >= end.timestamp() * 1000:
            raise TargetError(
                f"{doing}: there are rows whose '{self.druid.timestamp}' is outside of the run's interval, {start} to "
                f"{end}: from {layout.instant(written.first_ms)} to {layout.instant(written.last_ms)}",
                hint="keep to the interval in the source or the transform, e.g. `where: \"day = '{{ ds }}'\"`: else a "
                "run that is repeated would double them",
            )

    def _write_placeholder(self, folder: StagingFolder, version: Version) -> Staged:
        name, text = "placeholder.json", json.dumps({layout.TIME: layout.PLACEHOLDER_MS}).encode() + b"\n"
        with folder.create(name) as stream:
            stream.write(text)
        return Staged((name,), 1, len(text), layout.PLACEHOLDER_MS, layout.PLACEHOLDER_MS)

    def _ingest(self, version: Version, folder: StagingFolder, written: Staged, doing: str) -> None:
        source = layout.input_source(folder.url, written.files)
        name = f"millrace_{self._note(version)}_{uuid.uuid4().hex[:8]}"
        tasks.run(self._link, doing, layout.ingestion(version, name, source, written, self.druid))

    def _clear(self, version: Version, doing: str) -> None:
        """An interval without rows: its segments are taken away, in one step."""
        tasks.mark_unused(self._link, doing, self._datasource(version), {"interval": self._interval(version)})

    def _interval(self, version: Version) -> str:
        start, end = version.window.start, version.window.end
        assert start is not None, "append has an interval"
        assert end is not None, "append has an interval"
        return layout.interval(start, end)

    def _wait_until_queryable(self, version: Version, marker: Marker, rows: int, doing: str) -> None:
        tasks.wait_until_loaded(self._link, doing, self._datasource(version))
        tasks.wait(
            lambda: self._count(version, marker, doing) == rows,
            f"{doing} in {self._endpoint}: Druid has taken {rows:,} rows in, but its broker counts others",
            self._endpoint.timeout_s,
            hint="does something else write to this datasource, or do retention rules drop its intervals?",
        )

    def _refuse_current(self, version: Version, doing: str) -> None:
        if self.current(version.asset) == version.id:
            raise TargetError(
                f"{doing}: readers of {self._endpoint} see this version now", hint="publish another one first"
            )

    def _forget(self, version: Version, doing: str) -> None:
        pointer.delete(self._link, doing, self._note(version))
        if self._endpoint.staging:
            self._folder(version).remove()
