"""What an asset is in Druid: names, types, ingestion specs, and the pointer that says which version is current. Pure.

    plays__01jd3k7xw2    the datasource of a version's rows, or of a line of `append`
    millrace / plays     the pointer: a lookup in a tier of its own, which no server loads; its map is a `Marker`
    millrace / plays__…  a version that is complete: the same, for each version
    plays                the datasource of `stream`, if there is one

Druid knows whole numbers of 64 bits, floats and doubles, strings, arrays of these, and JSON: docs/druid.md has the
table.
https://druid.apache.org/docs/33.0.0/ingestion/native-batch, https://druid.apache.org/docs/33.0.0/querying/lookups
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

from millrace.connectors.base import Version
from millrace.connectors.druid.options import DruidOptions, Granularity, Metric, MetricKind
from millrace.spec.types import Column, DataType, Kind

TIER = "millrace"
TIME = "__time"
ROWS = "__millrace_rows"
#: A load without rows leaves one row at this time, so that the datasource has its columns; readers are kept from it.
PLACEHOLDER_MS = -9_223_372_036_855
FILE_BYTES = 64 << 20
# What a task spills and then merges is read once, from its own disk: to compress it takes a twelfth of its time.
_WHILE_LOADING = {"dimensionCompression": "uncompressed", "metricCompression": "none"}
_CHECKED_EACH_MS = 200  # how often a task looks at its sub-tasks; a second by default
_EXACT_DIGITS = 15
_WHOLE = frozenset({Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT})
_TIMES = frozenset({Kind.TIMESTAMP, Kind.TIMESTAMP_NTZ})
_BIGINT, _DOUBLE, _STRING = DataType(Kind.BIGINT), DataType(Kind.DOUBLE), DataType(Kind.STRING)
_DIMENSIONS: Mapping[Kind, str] = {Kind.BIGINT: "long", Kind.FLOAT: "float", Kind.DOUBLE: "double"}
_ARRAYS: Mapping[Kind, str] = {Kind.BIGINT: "ARRAY<LONG>", Kind.FLOAT: "ARRAY<DOUBLE>", Kind.DOUBLE: "ARRAY<DOUBLE>"}
_NUMBERS: Mapping[Kind, str] = {Kind.BIGINT: "long", Kind.FLOAT: "double", Kind.DOUBLE: "double"}


def as_lookup(held: Mapping[str, str], number: str = "1") -> dict[str, Any]:
    """The lookup that holds these texts, with its number."""
    return {"version": number, "lookupExtractorFactory": {"type": "map", "map": held}}


def held_by(lookup: Mapping[str, Any]) -> dict[str, Any]:
    """What a lookup holds. Raises KeyError or TypeError for one of another kind."""
    return dict(lookup["lookupExtractorFactory"]["map"])


@dataclass(frozen=True)
class Marker:
    """What millrace notes of a version in Druid, in the version's own lookup and in the pointer."""

    asset: str
    version: str
    datasource: str
    placeholder: bool = False

    def lookup(self, after: str = "") -> dict[str, Any]:
        """The lookup that holds it; Druid takes it in the place of one whose number is `after`."""
        found = {name: str(value) for name, value in asdict(self).items()}
        number = f"{int(after or 0) + 1:012}"
        return as_lookup(found, number)

    @classmethod
    def parse(cls, lookup: Mapping[str, Any]) -> Marker | None:
        """None for a lookup that is not ours."""
        try:
            found = held_by(lookup)
            return cls(found["asset"], found["version"], found["datasource"], found["placeholder"] == "True")
        except (KeyError, TypeError):
            return None


def datasource_of(base: str, rows_id: str) -> str:
    return f"{base}__{rows_id}"


def stored_type(type_: DataType) -> DataType:
    """The type in which a value stands in Druid.

    Whole numbers, booleans as 0 and 1, and instants in µs are longs; decimals are doubles when all their digits fit,
    and texts otherwise; dates and bytes (Base64) are texts.
    """
    match type_.kind:
        case kind if kind in _WHOLE or kind in _TIMES or kind is Kind.BOOLEAN:
            return _BIGINT
        case Kind.DECIMAL:
            return _DOUBLE if type_.precision <= _EXACT_DIGITS else type_
        case Kind.ARRAY if not type_.fields[0].type.nested:
            return DataType(Kind.ARRAY, fields=(Column("element", stored_type(type_.fields[0].type)),))
        case _:
            return type_


def is_json(type_: DataType) -> bool:
    """Whether values are kept as JSON: maps, structs, and arrays of what is nested itself."""
    return type_.kind in (Kind.MAP, Kind.STRUCT) or (type_.kind is Kind.ARRAY and type_.fields[0].type.nested)


def kept_columns(columns: Sequence[Column], options: DruidOptions) -> tuple[Column, ...]:
    """The columns that are sent: the time, the dimensions, and what metrics are made of."""
    if options.dimensions is None:
        return tuple(columns)
    made_of = {m.column for m in (options.metrics or {}).values()}
    return tuple(c for c in columns if c.name == options.timestamp or c.name in options.dimensions or c.name in made_of)


def dimension_columns(columns: Sequence[Column], options: DruidOptions) -> tuple[Column, ...]:
    """The columns that rows are told apart by, besides the time."""
    chosen = options.dimensions
    if chosen is None:
        made_of = {m.column for m in (options.metrics or {}).values()}
        chosen = tuple(c.name for c in columns if c.name not in made_of)
    return tuple(c for c in columns if c.name in chosen and c.name != options.timestamp)


def check_columns(columns: Sequence[Column], options: DruidOptions) -> None:
    """Raises ValueError, for a person, when the options name columns that are not there or can't be what is asked."""
    types = {column.name: column.type for column in columns}
    for option, names in options.referenced_columns().items():
        for name in names:
            if name not in types:
                raise ValueError(f"{option} names the column '{name}', but there are {', '.join(types)}")
    if options.timestamp is not None and types[options.timestamp].kind not in (*_TIMES, Kind.DATE):
        raise ValueError(f"timestamp names '{options.timestamp}', but that is a {types[options.timestamp]}")
    for name in types:
        if name in (TIME, ROWS):
            raise ValueError(f"the column '{name}' has a name that Druid or millrace keeps for itself")
    for name in options.multi_value:
        if str(types[name]) != "array<string>":
            raise ValueError(f"multi_value names '{name}', but that is a {types[name]}, not an array<string>")
    dimensions = [column.name for column in dimension_columns(columns, options)]
    for name in options.partition_by:
        if name not in dimensions or stored_type(types[name]).kind is not Kind.STRING:
            raise ValueError(f"partition_by names '{name}', which is not a dimension of strings")
    for name, metric in (options.metrics or {}).items():
        if name in (*dimensions, TIME, ROWS):
            raise ValueError(f"the metric '{name}' has the name of a dimension")
        metric_spec(name, metric, types)


def metric_spec(name: str, metric: Metric, types: Mapping[str, DataType]) -> dict[str, Any]:
    """One of Druid's `metricsSpec`. Raises ValueError when the column's type can't be added up so."""
    if metric.column is None:
        return {"type": "count", "name": name}
    found = {"name": name, "fieldName": metric.column}
    stored = stored_type(types[metric.column])
    match metric.kind:
        case MetricKind.DISTINCT:
            return {**found, "type": "HLLSketchBuild", "lgK": 12}
        case MetricKind.THETA:
            return {**found, "type": "thetaSketch", "size": 16384}
    if stored.kind not in _NUMBERS:
        raise ValueError(f"the metric '{name}' ({metric.kind}) needs numbers, but '{metric.column}' is a {stored}")
    if metric.kind is MetricKind.QUANTILES:
        return {**found, "type": "quantilesDoublesSketch", "k": 128}
    return {**found, "type": f"{_NUMBERS[stored.kind]}{metric.kind.value.capitalize()}"}


def dimension_spec(column: Column, options: DruidOptions) -> dict[str, Any]:
    """One of Druid's `dimensions`."""
    stored = stored_type(column.type)
    if column.name in options.multi_value:
        return {"type": "string", "name": column.name, "multiValueHandling": "ARRAY"}
    if is_json(column.type):
        return {"type": "json", "name": column.name}
    if stored.kind is Kind.ARRAY:
        cast = _ARRAYS.get(stored.fields[0].type.kind, "ARRAY<STRING>")
        return {"type": "auto", "name": column.name, "castToType": cast}
    return {"type": _DIMENSIONS.get(stored.kind, "string"), "name": column.name}


def data_schema(datasource: str, columns: Sequence[Column], options: DruidOptions) -> dict[str, Any]:
    """Druid's `dataSchema`, without intervals."""
    types = {column.name: column.type for column in columns}
    metrics = [metric_spec(name, metric, types) for name, metric in (options.metrics or {}).items()]
    if options.rolls_up:
        metrics.append({"type": "count", "name": ROWS})
    return {
        "dataSource": datasource,
        "timestampSpec": {"column": TIME, "format": "millis"},
        "dimensionsSpec": {"dimensions": [dimension_spec(c, options) for c in dimension_columns(columns, options)]},
        "metricsSpec": metrics,
        "granularitySpec": {
            "type": "uniform",
            "segmentGranularity": options.segment_granularity.name,
            "queryGranularity": options.query_granularity.name,
            "rollup": options.rolls_up,
        },
    }


@dataclass(frozen=True)
class Staged:
    """What the tasks of a load have written: names of files, rows, bytes, the first and the last time in ms."""

    files: tuple[str, ...]
    rows: int
    size: int
    first_ms: int
    last_ms: int


def ingestion(version: Version, task: str, source: Mapping[str, Any], staged: Staged, options: DruidOptions) -> Any:
    """The task that takes staged rows in: all that the datasource has in the interval is replaced at its end."""
    datasource = datasource_of(options.base(version.asset), version.rows_id)
    schema = data_schema(datasource, version.columns, options)
    start, end = version.window.start, version.window.end
    if version.own_rows or start is None or end is None:
        start, end = instant(staged.first_ms), instant(staged.last_ms) + timedelta(milliseconds=1)
    schema["granularitySpec"]["intervals"] = [interval(start, end)]
    if staged.first_ms == PLACEHOLDER_MS:
        schema["granularitySpec"]["queryGranularity"] = Granularity.NONE.name  # its time is what it is known by
    tasks = min(options.tasks, ceil(staged.size / FILE_BYTES))
    return {
        "type": "index_parallel",
        "id": task,
        "spec": {
            "dataSchema": schema,
            "ioConfig": {
                "type": "index_parallel",
                "inputSource": dict(source),
                "inputFormat": {"type": "json"},
                "appendToExisting": False,
                "dropExisting": not version.own_rows,
            },
            "tuningConfig": {
                "type": "index_parallel",
                "partitionsSpec": partitions(staged.rows, options),
                "forceGuaranteedRollup": options.rolls_up or bool(options.partition_by),
                "maxNumConcurrentSubTasks": max(tasks, 1),
                "taskStatusCheckPeriodMs": _CHECKED_EACH_MS,
                "splitHintSpec": {"type": "maxSize", "maxSplitSize": max(ceil(staged.size / max(tasks, 1)), 1)},
                "indexSpecForIntermediatePersists": _WHILE_LOADING,
                "maxParseExceptions": 0,
                "logParseExceptions": True,
                **options.tuning,
            },
        },
    }


def partitions(rows: int, options: DruidOptions) -> dict[str, Any]:
    """How a segment's span is divided: by ranges, by hash where rows roll up wholly, else as rows come."""
    size = options.rows_per_segment
    if options.partition_by:
        return {"type": "range", "partitionDimensions": list(options.partition_by), "targetRowsPerSegment": size}
    if not options.rolls_up:
        return {"type": "dynamic", "maxRowsPerSegment": size, "maxTotalRows": max(20_000_000, size)}
    return {"type": "hashed", "numShards": 1} if rows <= size else {"type": "hashed", "targetRowsPerSegment": size}


def input_source(url: str, files: Sequence[str]) -> dict[str, Any]:
    """How Druid finds staged files. Raises ValueError for a file system that is not among its own."""
    places = [f"{url}/{name}" for name in files]
    scheme, _, _ = url.partition("://")
    match scheme:
        case "file":
            return {"type": "local", "files": [place.removeprefix("file://") for place in places]}
        case "hdfs":
            return {"type": "hdfs", "paths": places}
        case "s3" | "s3a" | "s3n":
            return {"type": "s3", "uris": ["s3://" + place.partition("://")[2] for place in places]}
        case "gs":
            return {"type": "google", "uris": places}
    raise ValueError(f"Druid reads no files from {scheme}://")


def interval_problem(version: Version, options: DruidOptions) -> str | None:
    """Why an interval of `append` can't be overwritten: Druid replaces whole segments."""
    for end in (version.window.start, version.window.end):
        if end is not None and not _begins(end.astimezone(UTC), options.segment_granularity):
            span = options.segment_granularity
            return f"{end.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} is not where a segment of one {span} begins"
    return None


def instant(ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def interval(start: datetime, end: datetime) -> str:
    return "/".join(
        f"{t.astimezone(UTC).isoformat(timespec='milliseconds').replace('+00:00', 'Z')}" for t in (start, end)
    )


def where(marker: Marker) -> str:
    """The condition that keeps readers from the placeholder; empty when there is none."""
    return f"TIMESTAMP_TO_MILLIS({quote(TIME)}) <> {PLACEHOLDER_MS}" if marker.placeholder else ""


def quote(name: str) -> str:
    """An identifier as SQL."""
    return '"' + name.replace('"', '""') + '"'


def _begins(time: datetime, span: Granularity) -> bool:
    day = (time.hour, time.minute, time.second, time.microsecond) == (0, 0, 0, 0)
    match span:
        case Granularity.YEAR:
            return day and (time.month, time.day) == (1, 1)
        case Granularity.MONTH:
            return day and time.day == 1
        case Granularity.WEEK:
            return day and time.weekday() == 0
        case Granularity.DAY:
            return day
        case Granularity.HOUR:
            return (time.minute, time.second, time.microsecond) == (0, 0, 0)
        case Granularity.MINUTE:
            return (time.second, time.microsecond) == (0, 0)
        case Granularity.SECOND:
            return time.microsecond == 0
        case _:
            return True
