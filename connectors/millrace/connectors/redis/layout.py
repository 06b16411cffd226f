"""The byte contract between who loads a version and who reads it. Pure.

    {asset}:{rows}:{key}      a row: its value as `value` and `compression` of the manifest say; `rows` is the version's
                              id, or that of the version whose rows a merge goes on changing
    {asset}:current           the pointer: the manifest of the version that readers see, as JSON
    {asset}:versions          a hash: version id → its manifest, for every version that may have rows here
    channel {asset}:current   gets the version's id whenever the pointer has moved

The manifest holds all that a reader needs to find and decode rows, so a reader needs only the pointer. It is one JSON
object: `format` (this page: 1), `asset`, `version`, `rows`, `key` (the template), `value`, `compression`, `ttl_ms`,
`fields` (name, type, Protobuf number), for collections `members` and `scores`, the columns that they hold, and in the
pointer `published_at` and `previous`, the version that it replaced.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from millrace.connectors.base import Field, Version
from millrace.connectors.redis.options import RedisOptions, ValueLayout
from millrace.connectors.wire.compression import Compression
from millrace.connectors.wire.key_template import KeyTemplate
from millrace.errors import TargetError
from millrace.spec.types import Column, DataType, parse_type

FORMAT = 1


def pointer_key(asset: str) -> str:
    """The key of the pointer, and the name of the channel that tells when it moves."""
    return f"{asset}:current"


def versions_key(asset: str) -> str:
    return f"{asset}:versions"


@dataclass(frozen=True)
class Manifest:
    """How one version is written. `published_at` and `previous` are set in the pointer only."""

    asset: str
    version: str
    key: KeyTemplate
    value: ValueLayout
    compression: Compression
    ttl_ms: int | None
    fields: tuple[Field, ...]
    rows: str
    members: str | None = None
    scores: str | None = None
    published_at: datetime | None = None
    previous: str | None = None

    @classmethod
    def of(cls, version: Version, options: RedisOptions) -> Manifest:
        ttl_ms = None if options.ttl is None else round(options.ttl.total_seconds() * 1000)
        return cls(
            asset=version.asset,
            version=version.id,
            key=options.template,
            value=options.value,
            compression=options.compression,
            ttl_ms=ttl_ms,
            fields=version.fields,
            rows=version.rows_id,
            members=options.members,
            scores=options.scores,
        )

    @cached_property
    def prefix(self) -> str:
        return f"{self.asset}:{self.rows}:"

    @cached_property
    def whole_key(self) -> KeyTemplate:
        """The template of a whole key: asset and version stand before the row's own."""
        first, *others = self.key.literals
        return replace(self.key, literals=(self.prefix + first, *others))

    @cached_property
    def types(self) -> Mapping[str, DataType]:
        return {field.name: field.column.type for field in self.fields}

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(field.column for field in self.fields)

    def reads_as(self, other: Manifest) -> bool:
        """Whether rows that `other` describes are read in the same way: what columns there are may differ."""
        return (self.key, self.value, self.compression, self.members, self.scores) == (
            other.key, other.value, other.compression, other.members, other.scores
        )  # fmt: skip

    def published(self, at: datetime, previous: str | None) -> Manifest:
        return replace(self, published_at=at, previous=previous)

    def to_json(self) -> bytes:
        fields = [{"name": f.name, "type": str(f.column.type), "number": f.number} for f in self.fields]
        found: dict[str, Any] = {
            "format": FORMAT,
            "asset": self.asset,
            "version": self.version,
            "rows": self.rows,
            "key": self.key.text,
            "value": str(self.value),
            "compression": str(self.compression),
            "ttl_ms": self.ttl_ms,
            "fields": fields,
        }
        if self.members is not None:
            found |= {"members": self.members, "scores": self.scores}
        if self.published_at is not None:
            found |= {"published_at": self.published_at.isoformat(), "previous": self.previous}
        return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()


def parse_manifest(raw: bytes, where: str) -> Manifest:
    """Read a manifest or pointer. `where` says in an error where it stood, e.g. its key and store.

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
            key=KeyTemplate.parse(found["key"]),
            value=ValueLayout(found["value"]),
            compression=Compression(found["compression"]),
            ttl_ms=found["ttl_ms"],
            fields=tuple(Field(Column(f["name"], parse_type(f["type"])), f["number"]) for f in found["fields"]),
            rows=found.get("rows", found["version"]),
            members=found.get("members"),
            scores=found.get("scores"),
            published_at=None if published_at is None else datetime.fromisoformat(published_at),
            previous=found.get("previous"),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise TargetError(
            f"{where} is not a manifest of millrace: {error!r}",
            hint="another program has written this key: rename the asset, or use another database number",
        ) from error
