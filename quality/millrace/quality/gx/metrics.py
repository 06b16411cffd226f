"""What Great Expectations doesn't have, registered in it as its own metrics and expectations are.

For `StageEngine` only: the row count that is known, and duplicates counted by grouping. For every Spark engine:
`expect_column_values_to_be_within` and `expect_column_values_to_be_one_of`, whose bounds and members are texts that
Spark casts, so that they are exact for every type (bounds of its own `…_to_be_between` become floats).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from great_expectations.execution_engine.sparkdf_execution_engine import SparkDFExecutionEngine
from great_expectations.expectations.expectation import ColumnAggregateExpectation, ColumnMapExpectation
from great_expectations.expectations.metrics.column_aggregate_metric_provider import (
    ColumnAggregateMetricProvider,
    column_aggregate_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.column_condition_partial import (
    column_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.column_map_metric_provider import (
    ColumnMapMetricProvider,
)
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_map_metric_provider import (
    MulticolumnMapMetricProvider,
)
from great_expectations.expectations.metrics.metric_provider import MetricProvider, metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider
from great_expectations.validator.metric_configuration import MetricConfiguration
from pyspark.sql import functions as f

from millrace.quality.gx.engine import StageEngine, key_columns

if TYPE_CHECKING:
    from pyspark.sql import Column

_NULLS = "column_values.nonnull.unexpected_count"
_FLOATING = frozenset({"float", "double"})


class KnownRowCount(TableMetricProvider):
    metric_name = "table.row_count"

    @metric_value(engine=StageEngine)
    def _stage(cls: Any, execution_engine: StageEngine, metric_domain_kwargs: dict[str, Any], **_: Any) -> int:
        conditional = metric_domain_kwargs.get("row_condition") is not None
        if execution_engine.known_rows is None or conditional:
            return execution_engine.records(metric_domain_kwargs).count()
        return execution_engine.known_rows


class _Repeats(MetricProvider):
    """Depends on a count of nulls only to be asked for after the one query that all aggregates share."""

    @classmethod
    def _get_evaluation_dependencies(cls, metric: MetricConfiguration, *_: Any, **__: Any) -> dict[str, Any]:
        domain = dict(metric.metric_domain_kwargs)
        column = key_columns(domain)[0]
        table = {key: value for key, value in domain.items() if key not in ("column", "column_list", "ignore_row_if")}
        return {_NULLS: MetricConfiguration(_NULLS, metric_domain_kwargs={**table, "column": column})}


class ColumnRepeats(_Repeats):
    metric_name = "column_values.unique.unexpected_count"
    domain_keys = ColumnMapMetricProvider.condition_domain_keys

    @metric_value(engine=StageEngine)
    def _stage(cls: Any, execution_engine: StageEngine, metric_domain_kwargs: dict[str, Any], **_: Any) -> int:
        return execution_engine.duplicates(metric_domain_kwargs).repeated


class CompoundRepeats(_Repeats):
    metric_name = "compound_columns.unique.unexpected_count"
    domain_keys = MulticolumnMapMetricProvider.condition_domain_keys

    @metric_value(engine=StageEngine)
    def _stage(cls: Any, execution_engine: StageEngine, metric_domain_kwargs: dict[str, Any], **_: Any) -> int:
        return execution_engine.duplicates(metric_domain_kwargs).repeated


class CompoundRows(_Repeats):
    metric_name = "compound_columns.unique.filtered_row_count"
    domain_keys = MulticolumnMapMetricProvider.condition_domain_keys
    value_keys = ("result_format",)

    @metric_value(engine=StageEngine)
    def _stage(cls: Any, execution_engine: StageEngine, metric_domain_kwargs: dict[str, Any], **_: Any) -> int:
        return execution_engine.duplicates(metric_domain_kwargs).rows


class ValuesWithin(ColumnMapMetricProvider):
    condition_metric_name = "column_values.within"
    condition_value_keys = ("lower", "upper", "compared_as")

    @column_condition_partial(engine=SparkDFExecutionEngine)
    def _spark(cls: Any, column: Column, lower: str | None, upper: str | None, compared_as: str, **_: Any) -> Column:
        """NaN lies within no bounds, though Spark sorts it above every number."""
        passes = f.lit(True)
        if lower is not None:
            passes = passes & (column >= f.lit(lower).cast(compared_as))
        if upper is not None:
            passes = passes & (column <= f.lit(upper).cast(compared_as))
        return passes & ~f.isnan(column) if compared_as in _FLOATING else passes


class ValuesOneOf(ColumnMapMetricProvider):
    condition_metric_name = "column_values.one_of"
    condition_value_keys = ("members", "compared_as")

    @column_condition_partial(engine=SparkDFExecutionEngine)
    def _spark(cls: Any, column: Column, members: list[str], compared_as: str, **_: Any) -> Column:
        return column.isin([f.lit(member).cast(compared_as) for member in members])


class ColumnLatest(ColumnAggregateMetricProvider):
    """The latest date or time as text in UTC: ISO 8601 to the second, which sorts as the times do."""

    metric_name = "column.latest"

    @column_aggregate_partial(engine=SparkDFExecutionEngine)
    def _spark(cls: Any, column: Column, **_: Any) -> Column:
        return f.date_format(f.max(column).cast("timestamp"), "yyyy-MM-dd'T'HH:mm:ss'Z'")


class ColumnAboutDistinct(ColumnAggregateMetricProvider):
    """Distinct values, estimated within about 2 %: exact counts would shuffle the column, or double the rows."""

    metric_name = "column.about_distinct"

    @column_aggregate_partial(engine=SparkDFExecutionEngine)
    def _spark(cls: Any, column: Column, **_: Any) -> Column:
        return f.approx_count_distinct(column, 0.02)


class ExpectColumnLatestToBeAfter(ColumnAggregateExpectation):
    """Expect the latest time of a column to be `min_value` or later."""

    min_value: str

    metric_dependencies: ClassVar[tuple[str, ...]] = ("column.latest",)
    success_keys: ClassVar[tuple[str, ...]] = ("min_value",)

    def _validate(
        self, metrics: dict[str, Any], runtime_configuration: Any = None, execution_engine: Any = None
    ) -> dict[str, Any]:
        return _between(self, "column.latest", metrics, runtime_configuration, execution_engine)


class ExpectColumnAboutDistinctToBeBetween(ColumnAggregateExpectation):
    """Expect the estimated number of distinct values to lie between two bounds, both included."""

    min_value: int
    max_value: int

    metric_dependencies: ClassVar[tuple[str, ...]] = ("column.about_distinct",)
    success_keys: ClassVar[tuple[str, ...]] = ("min_value", "max_value")

    def _validate(
        self, metrics: dict[str, Any], runtime_configuration: Any = None, execution_engine: Any = None
    ) -> dict[str, Any]:
        return _between(self, "column.about_distinct", metrics, runtime_configuration, execution_engine)


def _between(
    expectation: ColumnAggregateExpectation, name: str, metrics: dict[str, Any], configuration: Any, engine: Any
) -> dict[str, Any]:
    found: dict[str, Any] = expectation._validate_metric_value_between(
        metric_name=name, metrics=metrics, runtime_configuration=configuration, execution_engine=engine
    )
    return found


class ExpectColumnValuesToBeWithin(ColumnMapExpectation):
    """Expect each value to lie between two bounds, both included; nulls pass. One of the bounds may be absent."""

    lower: str | None = None
    upper: str | None = None
    compared_as: str

    map_metric: ClassVar[str] = "column_values.within"
    success_keys: ClassVar[tuple[str, ...]] = ("lower", "upper", "compared_as", "mostly")


class ExpectColumnValuesToBeOneOf(ColumnMapExpectation):
    """Expect each value to be one of `members`; nulls pass."""

    members: list[str]
    compared_as: str

    map_metric: ClassVar[str] = "column_values.one_of"
    success_keys: ClassVar[tuple[str, ...]] = ("members", "compared_as", "mostly")
