"""What a spec says of a Redis target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from millrace.connectors.redis.key_template import KeyTemplate
from millrace.spec.connector import Options
from millrace.spec.units import Duration


class ValueLayout(StrEnum):
    """How a row's value is written."""

    PROTOBUF = "protobuf"
    JSON = "json"
    MSGPACK = "msgpack"
    HASH = "hash"


class Compression(StrEnum):
    """How a value's bytes are compressed, each value on its own."""

    NONE = "none"
    ZSTD = "zstd"
    SNAPPY = "snappy"
    GZIP = "gzip"


class RedisOptions(Options):
    """A row of the asset under one key of its version: `{asset}:{version}:{key}`."""

    connection: str = Field(
        description="Name of the connection: redis://, rediss:// (TLS), redis+cluster://, rediss+cluster:// or `embedded`.",
        examples=["redis_online", "embedded"],
    )
    key: str = Field(
        description="Template of a row's key: column names in braces, with text between them; `{{` and `}}` are plain braces.",
        examples=["{id}", "{country}:{id}"],
    )
    value: ValueLayout = Field(
        default=ValueLayout.PROTOBUF,
        description="How the row is written: one string as Protobuf, JSON or MessagePack, or a Redis hash with a field a column.",
        examples=["protobuf", "hash"],
    )
    compression: Compression = Field(
        default=Compression.NONE,
        description="Compression of each value; pays off from a few hundred bytes a row. Not for `value: hash`.",
        examples=["zstd"],
    )
    ttl: Annotated[Duration, Field(ge=timedelta(milliseconds=1))] | None = Field(
        default=None,
        description="Time after its load at which Redis lets a row expire, at least 1ms; none: rows stay until their version retires.",
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
