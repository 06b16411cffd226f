"""What a spec says of an HBase target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from millrace.connectors.wire.key_template import KeyTemplate
from millrace.spec.connector import Options
from millrace.spec.shape.fields import Columns

MAX_BUCKETS = 256  # one byte
MAX_REGIONS = 4096
FamilyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$")]


class RowKeyForm(StrEnum):
    """How the filled-in row key is written: by its text, in the order of its values, or spread over all regions."""

    PLAIN = "plain"
    ORDERED = "ordered"
    REVERSE = "reverse"
    HASH = "hash"


class Cells(StrEnum):
    """How a value is written in its cell: as text, or as HBase's own `Bytes` for its type."""

    TEXT = "text"
    TYPED = "typed"


class LoadPath(StrEnum):
    """How rows get in: `thrift` puts, `bulk` files made here and taken over whole, or by the size of the load."""

    AUTO = "auto"
    THRIFT = "thrift"
    BULK = "bulk"


class HBaseOptions(Options):
    """A row of the asset under one row key, its columns as cells of one or several families."""

    connection: str = Field(
        description="Name of the connection: hbase:// with the Thrift server.", examples=["hbase_main"]
    )
    table: str = Field(
        description="The table; with `mode: replace` each version has its own behind this name.",
        pattern=r"^(?:[A-Za-z0-9_]+:)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$",
        examples=["user_profile", "growth:user_profile"],
    )
    row_key: str = Field(
        description="Template of the row key: column names in braces.", examples=["{id}", "{country}:{id}"]
    )
    family: FamilyName | None = Field(default=None, description="The one family of all columns.", examples=["p"])
    families: dict[FamilyName, Columns] | None = Field(
        default=None,
        description="Family: its columns, instead of `family`.",
        examples=[{"p": ["name"], "s": ["plays"]}],
    )
    key_form: RowKeyForm = Field(
        default=RowKeyForm.PLAIN,
        description="How the row key is written: as it is, its integers as sortable bytes (for lookups by range),"
        " back to front, or behind four bytes of its CRC-32.",
    )
    salt_buckets: Annotated[int, Field(ge=1, le=MAX_BUCKETS)] | None = Field(
        default=None, description="Put a byte before the key that spreads rows over this many ranges.", examples=[16]
    )
    regions: Annotated[int, Field(ge=1, le=MAX_REGIONS)] | None = Field(
        default=None, description="Regions that a new version's table is split into beforehand.", examples=[8]
    )
    cells: Cells = Field(
        default=Cells.TEXT,
        description="How values are written in cells: as text, or as HBase's `Bytes` for their type.",
    )
    load: LoadPath = Field(
        default=LoadPath.AUTO,
        description="How rows get in: by Thrift, as files that HBase takes over whole, or by size.",
    )

    @field_validator("row_key")
    @classmethod
    def _row_key_is_a_template(cls, text: str) -> str:
        KeyTemplate.parse(text)
        return text

    @model_validator(mode="after")
    def _family_or_families(self) -> HBaseOptions:
        if (self.family is None) == (self.families is None):
            raise ValueError("a table has either 'family' (one for all columns) or 'families'")
        return self

    @property
    def template(self) -> KeyTemplate:
        return KeyTemplate.parse(self.row_key)

    def referenced_columns(self) -> Mapping[str, Sequence[str]]:
        found: dict[str, Sequence[str]] = {"row_key": self.template.columns}
        for family, columns in (self.families or {}).items():
            found[f"families.{family}"] = columns
        return found
