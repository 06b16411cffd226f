"""What a spec says of a lake."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from millrace.spec.connector import Options
from millrace.spec.shape.fields import ColumnName, Columns, Expression, TypeText
from millrace.spec.types import Column


class FileFormat(StrEnum):
    """What the files are."""

    PARQUET = "parquet"
    ORC = "orc"
    CSV = "csv"


class Which(StrEnum):
    """Which files a run reads."""

    ALL = "all"
    NEW = "new"


class LakeOptions(Options):
    """A folder of files on any Hadoop file system, with its partitions as columns."""

    path: str = Field(
        description="A folder, file or glob on any Hadoop path; `{{ ds }}` is the data interval's day.",
        min_length=1,
        examples=["s3a://lake/users/", "hdfs:///warehouse/plays/dt={{ ds }}/"],
    )
    format: FileFormat = Field(default=FileFormat.PARQUET, description="What the files are.")
    columns: Columns | None = Field(
        default=None, description="The columns that are read; all by default.", examples=[["id", "name"]]
    )
    row_schema: dict[ColumnName, TypeText] | None = Field(
        default=None,
        alias="schema",
        description="Column: type, in the file's order, for `format: csv`.",
        examples=[{"id": "bigint", "name": "string"}],
    )
    header: bool = Field(default=True, description="Whether the first line of a CSV file names its columns.")
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = Field(
        default=",", description="What separates fields, for `format: csv`.", examples=[";"]
    )
    partitions: dict[ColumnName, str] = Field(
        default={},
        description="Partition column: value; only these folders (`dt=2024-05-01`) are listed and read.",
        examples=[{"dt": "{{ ds }}", "country": "de"}],
    )

    where: Expression | None = Field(
        default=None,
        description="A Spark SQL condition over the columns; only rows for which it is true are read. What it says of"
        " partitions alone leaves whole folders out of the plan.",
        examples=["dt >= '2024-05-01' AND country = 'de'"],
    )
    read: Which = Field(
        default=Which.ALL,
        description="Every run reads `all` files, or only those that are `new` or changed since the last publish. For"
        " `mode: merge` and `append`.",
        examples=["new"],
    )
    allow_empty: bool = Field(
        default=False, description="Whether there may be no file; the run then reads no rows instead of failing."
    )

    @model_validator(mode="after")
    def _schema_fits_format(self) -> LakeOptions:
        if self.format is FileFormat.CSV and not self.row_schema:
            raise ValueError("format: csv needs 'schema', the columns in their order")
        if self.format is not FileFormat.CSV and self.row_schema:
            raise ValueError(f"format: {self.format} takes no 'schema': the files have their own")
        unknown = [
            name for name in self.columns or () if self.row_schema and name not in (*self.row_schema, *self.partitions)
        ]
        if unknown:
            raise ValueError(f"the column '{unknown[0]}' in 'columns' is neither in 'schema' nor in 'partitions'")
        return self

    def reads_changes_by(self) -> str | None:
        """`read`, when it says so."""
        return "read" if self.read is Which.NEW else None

    def known_columns(self) -> Sequence[Column | str] | None:
        """The columns that are asked for, or the schema's with the partitions."""
        if self.columns is not None:
            types = self.row_schema or {}
            return [Column(name, types[name]) if name in types else name for name in self.columns]
        if self.row_schema is None:
            return None
        declared = [Column(name, type_) for name, type_ in self.row_schema.items()]
        return [*declared, *(name for name in self.partitions if name not in self.row_schema)]
