"""The checks as a spec writes them: `- not_null: [id]`, or `- not_null: {columns: [id], severity: warn}`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from millrace.spec import model
from millrace.spec.diagnostics import Problem
from millrace.spec.expectations import expectation_problems, expectations
from millrace.spec.shape.fields import COLUMNS_SCHEMA, Choice, ColumnName, Columns, Part, Whole, optional, problem
from millrace.spec.units import Ratio


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
        if self.severity is model.Severity.QUARANTINE:
            raise problem("'row_count' is of all rows together, so there are none to quarantine")
        if self.min is None and self.max is None and self.change is None:
            raise problem("'row_count' needs at least one of 'min', 'max' and 'change'")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise problem(f"'min' ({self.min}) is larger than 'max' ({self.max})")
        return self


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
        for name, signature in expectations().items():
            found["properties"][name] = {
                "type": "object",
                "description": f"Great Expectations: {name}.",
                "properties": {**{argument: {} for argument in signature.arguments}, "severity": severity},
                "required": list(signature.required),
                "additionalProperties": False,
            }
        found["additionalProperties"] = False
        return found

    def check(self) -> model.Check:
        """The check as the gate takes it."""
        match self.one:
            case "not_null":
                return model.NotNull(self.not_null.columns, self.not_null.severity)
            case "unique":
                return model.Unique(self.unique.columns, self.unique.severity)
            case "between":
                between = self.between
                return model.Between(between.column, between.min, between.max, between.severity)
            case "in_set":
                return model.InSet(self.in_set.column, self.in_set.values, self.in_set.severity)
            case "row_count":
                count = self.row_count
                return model.RowCount(count.min, count.max, count.change, count.severity)
            case name:
                arguments = dict((self.model_extra or {})[name])
                severity = model.Severity(arguments.pop("severity", model.Severity.BLOCK))
                return model.Expectation(name, arguments, severity)
