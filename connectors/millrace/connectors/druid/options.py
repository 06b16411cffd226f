"""What a spec says of a Druid target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from millrace.spec.connector import Options
from millrace.spec.shape.fields import ColumnName, Columns


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
    """How the rows of one group become a value; the last two are sketches, for distinct counts and quantiles."""

    COUNT = "count"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    DISTINCT = "distinct"
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


class DruidOptions(Options):
    """Rows of the asset in a datasource, by time; segments are switched atomically by Druid itself."""

    connection: str = Field(
        description="Name of the connection: druid:// with a router or broker.", examples=["druid_main"]
    )
    datasource: str | None = Field(
        default=None,
        description="The datasource; the asset's name by default.",
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$",
        examples=["plays"],
    )
    timestamp: ColumnName = Field(description="The column that becomes Druid's `__time`.", examples=["at"])
    dimensions: Columns | None = Field(
        default=None,
        description="The columns to filter and group by; all others by default.",
        examples=[["country", "song"]],
    )
    metrics: Annotated[dict[ColumnName, Metric], Field(min_length=1)] | None = Field(
        default=None,
        description="Metric: how it is added up. Rows with equal dimensions and time become one (roll-up).",
        examples=[{"plays": {"kind": "count"}, "seconds": {"kind": "sum", "column": "duration"}}],
    )
    segment_granularity: Granularity = Field(default=Granularity.DAY, description="The span of time of a segment.")
    query_granularity: Granularity = Field(
        default=Granularity.NONE, description="The span to which times are cut in a roll-up."
    )
    rows_per_segment: Annotated[int, Field(ge=1000)] = Field(
        default=5_000_000, description="About how many rows a segment has at most.", examples=[5000000]
    )

    def referenced_columns(self) -> Mapping[str, Sequence[str]]:
        found: dict[str, Sequence[str]] = {"timestamp": [self.timestamp]}
        if self.dimensions is not None:
            found["dimensions"] = self.dimensions
        for name, metric in (self.metrics or {}).items():
            if metric.column is not None:
                found[f"metrics.{name}.column"] = [metric.column]
        return found
