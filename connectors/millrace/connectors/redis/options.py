"""What a spec says of a Redis target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from millrace.connectors.wire.compression import Compression
from millrace.connectors.wire.key_template import KeyTemplate
from millrace.spec.connector import Options
from millrace.spec.units import Duration


class ValueLayout(StrEnum):
    """How a row's value is written."""

    PROTOBUF = "protobuf"
    JSON = "json"
    MSGPACK = "msgpack"
    HASH = "hash"


class RedisOptions(Options):
    """A row of the asset under one key of its version: `{asset}:{version}:{key}`."""

    connection: str = Field(
        description="Name of the connection: redis://, rediss:// (TLS), the same with +cluster, or `embedded`.",
        examples=["redis_online", "embedded"],
    )
    key: str = Field(
        description="Template of a row's key: columns in braces, text between them; `{{` and `}}` are plain braces.",
        examples=["{id}", "{country}:{id}"],
    )
    value: ValueLayout = Field(
        default=ValueLayout.PROTOBUF,
        description="How a row is written: a string of Protobuf, JSON or MessagePack, or a hash with a field a column.",
        examples=["protobuf", "hash"],
    )
    compression: Compression = Field(
        default=Compression.NONE,
        description="Compression of each value; pays off from a few hundred bytes a row. Not for `value: hash`.",
        examples=["zstd"],
    )
    ttl: Annotated[Duration, Field(ge=timedelta(milliseconds=1))] | None = Field(
        default=None,
        description="How long Redis keeps a row after its load, at least 1ms; without it, until the version retires.",
        examples=["7d"],
    )

    @field_validator("key")
    @classmethod
    def _key_is_a_template(cls, text: str) -> str:
        KeyTemplate.parse(text)
        return text

    @model_validator(mode="after")
    def _a_hash_is_not_compressed(self) -> RedisOptions:
        if self.value is ValueLayout.HASH and self.compression is not Compression.NONE:
            raise ValueError(
                f"`compression: {self.compression}` can't be used with `value: hash`, whose fields are plain text:"
                " leave out the compression, or use protobuf, json or msgpack"
            )
        return self

    @property
    def template(self) -> KeyTemplate:
        return KeyTemplate.parse(self.key)

    def referenced_columns(self) -> Mapping[str, Sequence[str]]:
        return {"key": self.template.columns}
