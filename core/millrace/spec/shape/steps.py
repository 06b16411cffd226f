"""The transform's steps as a spec writes them: a list of mappings with one key each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from millrace.spec import model
from millrace.spec.shape.fields import Choice, ColumnName, Columns, Expression, Part, TypeText, optional, problem


class DedupeStep(Part):
    key: Columns = Field(description="Rows with the same values here are one.", examples=[["id"]])
    keep: Literal["latest", "earliest", "any"] | None = Field(
        default=None,
        description="Which of them stays: by the column `by`, or `any`. By default `latest` with `by`, else `any`.",
    )
    by: ColumnName | None = Field(
        default=None, description="The column that `latest` and `earliest` compare.", examples=["updated_at"]
    )

    @model_validator(mode="after")
    def _by_fits_keep(self) -> DedupeStep:
        if self.keep in ("latest", "earliest") and self.by is None:
            raise problem(f"keep: {self.keep} needs 'by', the column that tells which row is the {self.keep} one")
        if self.keep == "any" and self.by is not None:
            raise problem("keep: any takes no 'by'; write keep: latest or keep: earliest")
        return self


class MaskStep(Part):
    columns: Columns = Field(description="The columns to make unreadable.", examples=[["email", "phone"]])
    method: Literal["hash", "redact"] = Field(
        default="hash", description="`hash`: SHA-256 in hex, so that equal values stay equal. `redact`: a fixed text."
    )


class StepEntry(Choice):
    """One step; the steps are applied in the order in which they stand."""

    noun = "step"

    where: Expression = optional("Keep the rows for which this Spark SQL expression is true.", "age >= 0")
    select: Columns = optional("Keep these columns, in this order.", ["id", "name"])
    derive: Annotated[dict[ColumnName, Expression], Field(min_length=1)] = optional(
        "Add or replace columns by Spark SQL expressions; a later one may use an earlier one.",
        {"age_band": "floor(age / 10) * 10"},
    )
    rename: Annotated[dict[ColumnName, ColumnName], Field(min_length=1)] = optional(
        "Old name: new name.", {"ts": "created_at"}
    )
    cast: Annotated[dict[ColumnName, TypeText], Field(min_length=1)] = optional(
        "Column: type. A row with a value that can't be cast is a dirty record.", {"age": "int"}
    )
    dedupe: DedupeStep = optional("Keep one row a key.", {"key": ["id"], "keep": "latest", "by": "updated_at"})
    mask: MaskStep = optional("Make columns unreadable.", {"columns": ["email"], "method": "hash"})
    sql: Expression = optional(
        "One Spark SQL query over the view `input`, for what the other steps can't say.",
        "select id, count(*) as plays from input group by id",
    )

    def step(self) -> model.Step:
        """The step as the engine takes it."""
        match self.one:
            case "where":
                return model.Where(self.where)
            case "select":
                return model.Select(self.select)
            case "derive":
                return model.Derive(self.derive)
            case "rename":
                return model.Rename(self.rename)
            case "cast":
                return model.Cast(self.cast)
            case "dedupe":
                keep = self.dedupe.keep or ("latest" if self.dedupe.by else "any")
                return model.Dedupe(self.dedupe.key, keep, self.dedupe.by)
            case "mask":
                return model.Mask(self.mask.columns, self.mask.method)
            case _:
                return model.Sql(self.sql)
