"""What a spec says of a Druid target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from millrace.spec.connector import Mode, Options
from millrace.spec.shape.fields import ColumnName, Columns
from millrace.spec.units import Duration


class Granularity(StrEnum):
    """A span of time, in UTC."""

    NONE = "none"
    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"
    ALL = "all"


class MetricKind(StrEnum):
    """How the rows of one group become a value; the last three are sketches, for distinct counts and quantiles."""

    COUNT = "count"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    DISTINCT = "distinct"  # an HLL sketch
    THETA = "theta"  # a theta sketch: distinct counts of unions and intersections, too
    QUANTILES = "quantiles"


class Metric(Options):
    """One metric of a roll-up."""

    kind: MetricKind = Field(description="How values are added up.", examples=["sum"])
    column: ColumnName | None = Field(default=None, description="The column; `count` has none.", examples=["plays"])

    @model_validator(mode="after")
    def _column_fits_kind(self) -> Metric:
        if (self.kind is MetricKind.COUNT) != (self.column is None):
            raise ValueError("a metric has a 'column', except for kind: count, which has none")
        return self


class Stream(Options):
    """Messages that Druid itself reads from Kafka, into a datasource that is called as the target's `datasource` is."""

    topic: str = Field(description="The topic.", pattern=r"^[A-Za-z0-9._-]{1,249}$", examples=["plays"])
    brokers: str = Field(
        description="Kafka's brokers as Druid reaches them.",
        pattern=r"^[^\s:,]+:\d+(,[^\s:,]+:\d+)*$",
        examples=["kafka1:9092,kafka2:9092"],
    )
    consumer: dict[str, str] = Field(
        default_factory=dict,
        description="Druid's `consumerProperties` besides, such as `security.protocol`; secrets as Druid's own password"
        " providers or `${VAR}`s of its environment.",
        examples=[{"security.protocol": "SSL"}],
    )
    from_start: bool = Field(default=True, description="Whether the first messages are the topic's oldest or its next.")
    tasks: Annotated[int, Field(ge=1)] = Field(default=1, description="Tasks that read side by side.", examples=[2])
    replicas: Annotated[int, Field(ge=1)] = Field(default=1, description="Tasks that read the same.", examples=[2])
    task_duration: Duration = Field(
        default=timedelta(hours=1), description="How long a task reads before it hands its segments over."
    )
    late: Duration | None = Field(
        default=None, description="Messages that are older than this are left out.", examples=["2d"]
    )


class DruidOptions(Options):
    """Rows of the asset in a datasource, by time: one for each version, which a pointer in Druid makes current."""

    connection: str = Field(
        description="Name of the connection: druid:// with a router, or with a broker and `?coordinator=`.",
        examples=["druid_main"],
    )
    datasource: str | None = Field(
        default=None,
        description="What the names of datasources begin with; the asset's name by default.",
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$",
        examples=["plays"],
    )
    timestamp: ColumnName | None = Field(
        default=None,
        description="The column that becomes Druid's `__time`: a timestamp, kept to the millisecond, or a date; 1970"
        " in all rows by default.",
        examples=["at"],
    )
    dimensions: Columns | None = Field(
        default=None,
        description="The columns to filter and group by; all others by default.",
        examples=[["country", "song"]],
    )
    multi_value: Columns = Field(
        default=(),
        description="Columns of arrays of strings that become multi-value dimensions in place of arrays.",
        examples=[["tags"]],
    )
    metrics: Annotated[dict[ColumnName, Metric], Field(min_length=1)] | None = Field(
        default=None,
        description="Metric: how it is added up. Rows with equal dimensions and time become one (roll-up). A metric"
        " that is called like its column takes its place for SQL APIs.",
        examples=[{"plays": {"kind": "count"}, "seconds": {"kind": "sum", "column": "duration"}}],
    )
    segment_granularity: Granularity = Field(default=Granularity.DAY, description="The span of time of a segment.")
    query_granularity: Granularity = Field(
        default=Granularity.NONE, description="The span to which times are cut in a roll-up."
    )
    rows_per_segment: Annotated[int, Field(ge=1000)] = Field(
        default=5_000_000, description="About how many rows a segment has at most.", examples=[5000000]
    )
    partition_by: Columns = Field(
        default=(),
        description="Columns of strings by whose ranges the rows of a segment's span are divided, the most asked for"
        " first.",
        examples=[["country"]],
    )
    tasks: Annotated[int, Field(ge=1)] = Field(
        default=4,
        description="Tasks of Druid that take a load in side by side, at most: one for each 64 MiB.",
        examples=[8],
    )
    tuning: dict[str, str | int | float | bool] = Field(
        default_factory=dict,
        description="More of Druid's `tuningConfig` for loads.",
        examples=[{"maxRowsInMemory": 500000}],
    )
    stream: Stream | None = Field(
        default=None,
        description="A Kafka topic that Druid itself reads all the time, besides the loads of this spec.",
        examples=[{"topic": "plays", "brokers": "kafka1:9092"}],
    )

    @model_validator(mode="after")
    def _stream_has_times(self) -> DruidOptions:
        if self.stream is not None and self.timestamp is None:
            raise ValueError("a 'stream' needs 'timestamp', the member of messages that is their time")
        return self

    @property
    def rolls_up(self) -> bool:
        return self.metrics is not None

    def base(self, asset: str) -> str:
        """What the names of an asset's datasources begin with."""
        return self.datasource or asset

    def refused_in(self, mode: Mode) -> str | None:
        if mode is Mode.APPEND and self.timestamp is None:
            return "'mode: append' overwrites an interval: name the column of the time with 'timestamp'"
        if mode is Mode.APPEND and self.segment_granularity is Granularity.ALL:
            return "'mode: append' overwrites whole segments: with 'segment_granularity: all' those hold all rows"
        return None

    def referenced_columns(self) -> Mapping[str, Sequence[str]]:
        found: dict[str, Sequence[str]] = {"timestamp": [self.timestamp] if self.timestamp else []}
        if self.dimensions is not None:
            found["dimensions"] = self.dimensions
        found |= {"multi_value": self.multi_value, "partition_by": self.partition_by}
        for name, metric in (self.metrics or {}).items():
            if metric.column is not None:
                found[f"metrics.{name}.column"] = [metric.column]
        return found
