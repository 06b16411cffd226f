"""The contract in bytes between who loads a version and who reads it. Pure.

    table {table}_{rows id}      the rows of a version, or of a line of versions that share them (`merge`)
    table millrace_pointers      in row {asset}: `m:current`, the manifest of the version that readers see, and
                                 `m:version:{id}`, the manifest of every version that may have rows here

Tables stand in the connection's namespace, unless the spec names another. A row's key is the filled-in template: as it
is (`plain`), back to front (`reverse`), behind its CRC-32 as four bytes (`hash`), or with integers as their two's
complement, big-endian, sign bit flipped (`ordered`); with salt, a byte before it that is its CRC-32 modulo the buckets.
A column is a cell FAMILY:COLUMN, and a null no cell at all. A row of nothing but nulls has one cell with an empty
qualifier in the first family. The manifest is one JSON object with all that a reader needs.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from millrace.connectors.base import Field, Version
from millrace.connectors.hbase.options import Cells, HBaseOptions, RowKeyForm
from millrace.connectors.wire.key_template import KeyTemplate
from millrace.errors import TargetError
from millrace.spec.types import Column, DataType, Kind, parse_type

FORMAT = 1
POINTER_FAMILY = "m"
CURRENT = b"m:current"
MAX_ROW_KEY_BYTES = 32767  # HBase's Short.MAX_VALUE
_VERSION_COLUMN = b"m:version:"
_POINTERS = "millrace_pointers"

#: Bytes of an integer in an `ordered` row key.
INTEGER_BYTES: Mapping[Kind, int] = {Kind.TINYINT: 1, Kind.SMALLINT: 2, Kind.INT: 4, Kind.BIGINT: 8}
#: Types whose texts lie in the order of their values.
_ORDERED_TEXTS = frozenset(
    {Kind.STRING, Kind.BINARY, Kind.BOOLEAN, Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMP_NTZ}
)  # fmt: skip


def pointer_table(namespace: str) -> str:
    return qualified(_POINTERS, namespace)


def version_column(version: str) -> bytes:
    """The cell that holds a version's manifest."""
    return _VERSION_COLUMN + version.encode()


def is_version_column(column: bytes) -> bool:
    return column.startswith(_VERSION_COLUMN)


def qualified(table: str, namespace: str) -> str:
    """A table's whole name; `namespace` counts where the name has none."""
    return table if ":" in table or not namespace else f"{namespace}:{table}"


@dataclass(frozen=True)
class RowKey:
    """How a row's key is made."""

    template: KeyTemplate
    form: RowKeyForm = RowKeyForm.PLAIN
    salt_buckets: int | None = None

    @property
    def sorted(self) -> bool:
        """Whether rows with the same first key columns lie together (in each bucket of the salt)."""
        return self.form in (RowKeyForm.PLAIN, RowKeyForm.ORDERED)

    def check(self, types: Mapping[str, DataType]) -> None:
        """Raises ValueError for a column that is missing or can't be part of such a key."""
        self.template.check(types)
        if self.form is not RowKeyForm.ORDERED:
            return
        for name in self.template.columns:
            kind = types[name].kind
            if kind not in INTEGER_BYTES and kind not in _ORDERED_TEXTS:
                raise ValueError(
                    f"the key's column '{name}' is {types[name]}, which `key_form: ordered` can't hold: cast it to"
                    " bigint, or to a string of one width"
                )

    def floors(self, types: Mapping[str, DataType]) -> bool:
        """Whether the greatest key that is not above another one can be found by the order of the rows."""
        kind = types[self.template.names[-1]].kind
        return self.form is RowKeyForm.ORDERED or (self.form is RowKeyForm.PLAIN and kind in _ORDERED_TEXTS)

    def fill(self, types: Mapping[str, DataType], values: Sequence[Any] | Mapping[str, Any]) -> bytes:
        """The row key for these values. Raises ValueError when one is missing, null or not of its type."""
        key = self.body(types, values)
        match self.form:
            case RowKeyForm.REVERSE:
                key = key[::-1]
            case RowKeyForm.HASH:
                key = zlib.crc32(key).to_bytes(4, "big") + key
        return self.salt(key)

    def body(self, types: Mapping[str, DataType], values: Sequence[Any] | Mapping[str, Any]) -> bytes:
        """The filled-in template, before its form and the salt."""
        text = self.template.fill(types, values)
        if self.form is not RowKeyForm.ORDERED or not any(types[n].kind in INTEGER_BYTES for n in self.template.names):
            return text
        named = values if isinstance(values, Mapping) else dict(zip(self.template.columns, values, strict=True))
        return self.part(types, named, len(self.template.names))

    def part(self, types: Mapping[str, DataType], named: Mapping[str, Any], count: int) -> bytes:
        """The beginning of the template, up to the text behind its first `count` names."""
        found = self.template.literals[0].encode()
        alone = replace(self.template, literals=("", ""), names=("",))
        for name, literal in zip(self.template.names[:count], self.template.literals[1:], strict=False):
            kind = types[name].kind
            if self.form is RowKeyForm.ORDERED and kind in INTEGER_BYTES:
                found += ordered_integer(int(named[name]), INTEGER_BYTES[kind])
            else:
                escaped = replace(alone, names=(name,)).fill(types, {name: named[name]})
                for character in self.template.escaped:
                    escaped = escaped.replace(character.encode(), b"%%%02X" % ord(character))
                found += escaped
            found += literal.encode()
        return found

    def salt(self, key: bytes) -> bytes:
        return key if self.salt_buckets is None else bytes([zlib.crc32(key) % self.salt_buckets]) + key

    def salts(self) -> Sequence[bytes]:
        """What may stand before a key: nothing, or each of the buckets."""
        return [b""] if self.salt_buckets is None else [bytes([bucket]) for bucket in range(self.salt_buckets)]

    def split_points(self, regions: int | None) -> list[bytes]:
        """Where to split a new table as far as the form alone tells: evenly by salt or by hash, else nowhere."""
        if self.salt_buckets is not None:
            wanted = min(regions or self.salt_buckets, self.salt_buckets)
            bounds = {self.salt_buckets * region // wanted for region in range(1, wanted)}
            return [bytes([bound]) for bound in sorted(bounds)]
        if self.form is RowKeyForm.HASH and regions:
            return [((1 << 32) * region // regions).to_bytes(4, "big") for region in range(1, regions)]
        return []


def ordered_integer(value: int, size: int) -> bytes:
    """An integer in bytes that sort as numbers do. Raises ValueError when it doesn't fit."""
    try:
        return (value + (1 << 8 * size - 1)).to_bytes(size, "big")
    except OverflowError:
        raise ValueError(f"{value} does not fit into {size} bytes") from None


@dataclass(frozen=True)
class Place:
    """A column's cell: its family, its qualifier, and the field that it holds."""

    family: str
    qualifier: bytes
    field: Field

    @property
    def column(self) -> bytes:
        return self.family.encode() + b":" + self.qualifier


@dataclass(frozen=True)
class Manifest:
    """How one version is written. `published_at` and `previous` are set in the pointer only.

    `stamp_ms` is the timestamp of every cell that the version's load writes; it grows along a line of versions.
    """

    asset: str
    version: str
    rows_id: str
    table: str
    row_key: RowKey
    cells: Cells
    families: tuple[str, ...]
    places: tuple[Place, ...]
    stamp_ms: int
    published_at: datetime | None = None
    previous: str | None = None

    @classmethod
    def of(cls, version: Version, options: HBaseOptions, namespace: str, stamp_ms: int) -> Manifest:
        """Raises ValueError when a family names a column that there isn't, or when a column has no family."""
        return cls(
            asset=version.asset,
            version=version.id,
            rows_id=version.rows_id,
            table=table_of(version, options, namespace),
            row_key=row_key_of(options),
            cells=options.cells,
            families=families_of(options),
            places=places_of(version.fields, options),
            stamp_ms=stamp_ms,
        )

    @cached_property
    def types(self) -> Mapping[str, DataType]:
        return {place.field.name: place.field.column.type for place in self.places}

    @property
    def fields(self) -> tuple[Field, ...]:
        return tuple(place.field for place in self.places)

    @property
    def marker(self) -> bytes:
        """The cell of a row of nothing but nulls."""
        return self.families[0].encode() + b":"

    def published(self, at: datetime, previous: str | None) -> Manifest:
        return replace(self, published_at=at, previous=previous)

    def to_json(self) -> bytes:
        fields = [
            {"name": p.field.name, "type": str(p.field.column.type), "number": p.field.number, "family": p.family}
            for p in self.places
        ]
        found: dict[str, Any] = {
            "format": FORMAT,
            "asset": self.asset,
            "version": self.version,
            "rows_id": self.rows_id,
            "table": self.table,
            "row_key": self.row_key.template.text,
            "key_form": str(self.row_key.form),
            "salt_buckets": self.row_key.salt_buckets,
            "cells": str(self.cells),
            "families": list(self.families),
            "fields": fields,
            "stamp_ms": self.stamp_ms,
        }
        if self.published_at is not None:
            found |= {"published_at": self.published_at.isoformat(), "previous": self.previous}
        return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()


def table_of(version: Version, options: HBaseOptions, namespace: str) -> str:
    return qualified(f"{options.table}_{version.rows_id}", namespace)


def row_key_of(options: HBaseOptions) -> RowKey:
    return RowKey(options.template, options.key_form, options.salt_buckets)


def families_of(options: HBaseOptions) -> tuple[str, ...]:
    """The families, the one that holds markers first."""
    return (options.family,) if options.family is not None else tuple(options.families or ())


def places_of(fields: Sequence[Field], options: HBaseOptions) -> tuple[Place, ...]:
    """Each field's cell, in the order of the fields. Raises ValueError for a field that no family, or several, have."""
    if options.family is not None:
        return tuple(Place(options.family, field.name.encode(), field) for field in fields)
    owners: dict[str, list[str]] = {}
    for family, names in (options.families or {}).items():
        for name in names:
            owners.setdefault(name, []).append(family)
    found = []
    for field in fields:
        families = owners.get(field.name, [])
        if len(families) != 1:
            state = f"stands in the families {', '.join(families)}" if families else "stands in no family"
            raise ValueError(f"column '{field.name}' {state}: `families` must name each column once")
        found.append(Place(families[0], field.name.encode(), field))
    return tuple(found)


def parse_manifest(raw: bytes, where: str) -> Manifest:
    """Read a manifest or pointer. `where` says in an error where it stood.

    Raises TargetError when it isn't one, or is of a newer format than this release knows.
    """
    try:
        found = json.loads(raw)
        if found["format"] != FORMAT:
            raise TargetError(
                f"{where} is a manifest of format {found['format']}, and this millrace reads format {FORMAT}",
                hint="a newer millrace wrote it: use that release or a later one here, too",
            )
        published_at = found.get("published_at")
        return Manifest(
            asset=found["asset"],
            version=found["version"],
            rows_id=found["rows_id"],
            table=found["table"],
            row_key=RowKey(KeyTemplate.parse(found["row_key"]), RowKeyForm(found["key_form"]), found["salt_buckets"]),
            cells=Cells(found["cells"]),
            families=tuple(found["families"]),
            places=tuple(
                Place(f["family"], f["name"].encode(), Field(Column(f["name"], parse_type(f["type"])), f["number"]))
                for f in found["fields"]
            ),
            stamp_ms=found["stamp_ms"],
            published_at=None if published_at is None else datetime.fromisoformat(published_at),
            previous=found.get("previous"),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise TargetError(
            f"{where} is not a manifest of millrace: {error!r}",
            hint="another program has written there: rename the asset, or use another namespace",
        ) from error
