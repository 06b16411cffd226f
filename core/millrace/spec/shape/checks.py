"""The checks as a spec writes them: `- not_null: [id]`, or `- not_null: {columns: [id], severity: warn}`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from millrace.spec import model
from millrace.spec.diagnostics import Problem, shown
from millrace.spec.expectations import expectation_problems, expectations
from millrace.spec.shape.fields import (
    COLUMNS_SCHEMA,
    Choice,
    ColumnName,
    Columns,
    Expression,
    Line,
    Part,
    Positive,
    Whole,
    optional,
    problem,
)
from millrace.spec.units import Duration, Ratio


def _is_scalar(value: Any) -> Any:
    if value is None or isinstance(value, dict | list):
        raise problem("expected a number or a text")
    return value


Bound = Annotated[str | int | float | bool, BeforeValidator(_is_scalar)]


class Check(Part):
    """What every check has."""

    severity: model.Severity = Field(
        default=model.Severity.BLOCK,
        description="What a failure does: `block` stops the publish, `warn` is only told, `quarantine` sets the rows "
        "that fail aside and goes on with the others.",
    )
    on: model.Subject = Field(
        default=model.Subject.STAGE,
        description="Which rows are looked at: `stage` after the transform, `source` as they were read.",
    )

    @model_validator(mode="after")
    def _rows_of_the_stage(self) -> Self:
        if self.severity is model.Severity.QUARANTINE and self.on is model.Subject.SOURCE:
            raise problem("only rows of the stage can be quarantined, not those of the source")
        return self


class ColumnsCheck(Check):
    columns: Columns = Field(description="The columns; they can stand alone, without the mapping.", examples=[["id"]])


class _ColumnsAlone:
    """Columns in place of a mapping with the one key `columns`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: value if isinstance(value, dict) else {"columns": value}, handler(source)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [*COLUMNS_SCHEMA["anyOf"], handler(schema)], "x-type": "columns, or a mapping"}


OfColumns = Annotated[ColumnsCheck, _ColumnsAlone()]


class BetweenCheck(Check):
    column: ColumnName = Field(description="The column to look at. Nulls pass.", examples=["age"])
    min: Bound | None = Field(
        default=None, description="The smallest value that passes; numbers, dates or text.", examples=[0]
    )
    max: Bound | None = Field(default=None, description="The largest value that passes.", examples=[150])

    @model_validator(mode="after")
    def _bounds(self) -> BetweenCheck:
        if self.min is None and self.max is None:
            raise problem("'between' needs 'min', 'max' or both")
        if self.min is None or self.max is None:
            return self
        if isinstance(self.min, str) != isinstance(self.max, str):
            raise problem("'min' and 'max' are of different kinds: one is a text, the other a number")
        if self.min > self.max:  # type: ignore[operator]  # both texts or both numbers, by the line above
            raise problem(f"'min' ({self.min}) is larger than 'max' ({self.max})")
        return self


class InSetCheck(Check):
    column: ColumnName = Field(description="The column to look at. Nulls pass.", examples=["city"])
    values: Annotated[tuple[Bound, ...], Field(min_length=1)] = Field(
        description="The values that pass.", examples=[["berlin", "paris"]]
    )


class RowCountCheck(Check):
    min: Whole | None = Field(default=None, description="The fewest rows that pass.", examples=[1000])
    max: Whole | None = Field(default=None, description="The most rows that pass.", examples=[1000000])
    change: Ratio | None = Field(
        default=None,
        description="The largest share by which the number of rows may differ from the current version's, up or down.",
        examples=["20%"],
    )

    @model_validator(mode="after")
    def _some_bound(self) -> RowCountCheck:
        _of_all_rows("row_count", self.severity)
        if self.change is not None and self.on is model.Subject.SOURCE:
            raise problem("'change' compares with the current version's rows, so it can't be asked on the source")
        if self.min is None and self.max is None and self.change is None:
            raise problem("'row_count' needs at least one of 'min', 'max' and 'change'")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise problem(f"'min' ({self.min}) is larger than 'max' ({self.max})")
        return self


class FreshCheck(Check):
    column: ColumnName = Field(description="A column of dates or times, in UTC.", examples=["updated_at"])
    within: Annotated[Duration, Field(gt=timedelta(0))] = Field(
        description="How old its latest value may be at the end of the run's interval, or now.", examples=["2h"]
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        _of_all_rows("fresh", self.severity)
        return self


class SqlCheck(Check):
    name: Line = Field(min_length=1, description="What the check is called.", examples=["orders_without_customer"])
    query: Expression = Field(
        description="One SELECT over the view `stage`, or with `on: source` the view `source`; the rows it gives fail.",
        examples=["select * from stage where customer is null and amount > 0"],
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.severity is model.Severity.QUARANTINE:
            raise problem("what a query gives need not be rows of the stage, so there are none to quarantine")
        return self


class DriftCheck(Part):
    """How far a measure of the stage may lie from that of the last published versions."""

    measure: model.Measure = Field(description="What is compared.", examples=["mean"])
    columns: Columns | None = Field(default=None, description="Of each of these columns.", examples=[["amount"]])
    versions: Annotated[Positive, Field(le=1000)] = Field(
        default=7, description="How many published versions it is compared with."
    )
    ratio: Ratio | None = Field(
        default=None,
        description="The largest distance from their mean, as a share of it; of a null share in points.",
        examples=["20%"],
    )
    deviations: Annotated[float, Field(gt=0, le=1000)] | None = Field(
        default=None, description="The largest distance from their mean in standard deviations.", examples=[3]
    )
    severity: Literal["block", "warn"] = Field(
        default="block", description="What a failure does: `block` stops the publish, `warn` is only told."
    )

    @model_validator(mode="after")
    def _one_tolerance(self) -> Self:
        if (self.ratio is None) == (self.deviations is None):
            raise problem("'drift' needs either 'ratio' or 'deviations'")
        of_columns = self.measure is not model.Measure.ROW_COUNT
        if of_columns and self.columns is None:
            raise problem(f"'{self.measure}' is measured of columns: name them under 'columns'")
        if not of_columns and self.columns is not None:
            raise problem("'row_count' is not measured of columns: leave 'columns' out")
        return self


def _exact(value: Any) -> Any:
    if isinstance(value, str) and not value.rstrip().endswith("%"):
        if value != "exact":
            raise problem(f"expected 'exact' or a ratio such as '0.1%', got '{shown(value)}'")
        return 0.0
    return value


Tolerance = Annotated[
    Ratio,
    BeforeValidator(_exact),
    WithJsonSchema(
        {
            "anyOf": [{"const": "exact"}, {"type": "number", "minimum": 0, "maximum": 1}, {"type": "string"}],
            "x-type": "`exact` or a ratio",
        }
    ),
]


class ReconcileCheck(Part):
    """What must be equal in the stage and in what the plan of the source comes to once more."""

    rows: Tolerance | None = Field(
        default=None,
        description="The number of rows: `exact`, or the share by which it may differ.",
        examples=["exact", "0.1%"],
    )
    sum: Columns | None = Field(default=None, description="Columns whose sums must be equal.", examples=[["amount"]])
    sample: Annotated[Positive, Field(le=100_000)] | None = Field(
        default=None, description="About how many rows are compared whole.", examples=[1000]
    )
    severity: Literal["block", "warn"] = Field(
        default="block", description="What a failure does: `block` stops the publish, `warn` is only told."
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.rows is None and self.sum is None and self.sample is None:
            raise problem("'reconcile' needs at least one of 'rows', 'sum' and 'sample'")
        return self


def _of_all_rows(name: str, severity: model.Severity) -> None:
    if severity is model.Severity.QUARANTINE:
        raise problem(f"'{name}' is of all rows together, so there are none to quarantine")


class CheckEntry(Choice):
    """One check of the staged rows, before anything is loaded."""

    model_config = ConfigDict(extra="allow")
    noun = "check"

    not_null: OfColumns = optional("No nulls in any of these columns.", ["id", "name"])
    unique: OfColumns = optional("No two rows have the same values in these columns together.", ["id"])
    between: BetweenCheck = optional(
        "Values lie between two bounds, both included.", {"column": "age", "min": 0, "max": 150}
    )
    in_set: InSetCheck = optional("Values are among those listed.", {"column": "city", "values": ["berlin", "paris"]})
    row_count: RowCountCheck = optional("The number of rows is as expected.", {"min": 1000, "change": "20%"})
    fresh: FreshCheck = optional("The latest time is not too old.", {"column": "updated_at", "within": "2h"})
    sql: SqlCheck = optional(
        "A query returns no rows.", {"name": "paid_nothing", "query": "select * from stage where amount < 0"}
    )
    drift: DriftCheck = optional(
        "A measure is near that of earlier versions.", {"measure": "mean", "columns": ["amount"], "ratio": "20%"}
    )

    reconcile: ReconcileCheck = optional(
        "The stage agrees with the source.", {"rows": "exact", "sum": ["amount"], "sample": 1000}
    )

    @classmethod
    def problems(cls, data: Mapping[str, Any]) -> Iterator[Problem]:
        """Too many checks in one, an unknown check, or wrong arguments of an expectation."""
        chosen = [name for name in data if name != "severity"]
        if "severity" in data:
            message = "'severity' stands inside a check: {columns: [id], severity: warn}"
            yield Problem(("severity",), message, on_key=True)
        elif not chosen:
            yield from super().problems(data)
        for name in chosen[1:]:
            yield Problem((name,), cls.too_many(chosen), on_key=True)
        for name in chosen:
            if name not in cls.names():
                yield from expectation_problems(name, data[name], cls.names())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The builtin checks, and every expectation with its arguments."""
        found = super().__get_pydantic_json_schema__(schema, handler)
        severity = {"enum": [severity.value for severity in model.Severity]}
        subject = {"enum": [subject.value for subject in model.Subject]}
        for name, signature in expectations().items():
            found["properties"][name] = {
                "type": "object",
                "description": f"Great Expectations: {name}.",
                "properties": {
                    **{argument: {} for argument in signature.arguments},
                    "severity": severity,
                    "on": subject,
                },
                "required": list(signature.required),
                "additionalProperties": False,
            }
        found["additionalProperties"] = False
        return found

    def check(self) -> model.Check:
        """The check as the gate takes it."""
        match self.one:
            case "not_null":
                return model.NotNull(self.not_null.columns, self.not_null.severity, self.not_null.on)
            case "unique":
                return model.Unique(self.unique.columns, self.unique.severity, self.unique.on)
            case "between":
                between = self.between
                return model.Between(between.column, between.min, between.max, between.severity, between.on)
            case "in_set":
                return model.InSet(self.in_set.column, self.in_set.values, self.in_set.severity, self.in_set.on)
            case "row_count":
                count = self.row_count
                return model.RowCount(count.min, count.max, count.change, count.severity, count.on)
            case "fresh":
                return model.Fresh(self.fresh.column, self.fresh.within, self.fresh.severity, self.fresh.on)
            case "sql":
                return model.SqlCheck(self.sql.name, self.sql.query, self.sql.severity, self.sql.on)
            case "drift":
                return self._drift(self.drift)
            case "reconcile":
                both = self.reconcile
                return model.Reconcile(both.rows, both.sum or (), both.sample, model.Severity(both.severity))
            case name:
                arguments = dict((self.model_extra or {})[name])
                severity = model.Severity(arguments.pop("severity", model.Severity.BLOCK))
                subject = model.Subject(arguments.pop("on", model.Subject.STAGE))
                return model.Expectation(name, arguments, severity, subject)

    @staticmethod
    def _drift(drift: DriftCheck) -> model.Drift:
        return model.Drift(
            drift.measure,
            drift.columns or (),
            drift.versions,
            drift.ratio,
            drift.deviations,
            model.Severity(drift.severity),
        )
