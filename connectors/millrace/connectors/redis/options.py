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
from millrace.spec.shape.fields import ColumnName
from millrace.spec.units import Duration


class ValueLayout(StrEnum):
    """How a row's value is written."""

    PROTOBUF = "protobuf"
    JSON = "json"
    MSGPACK = "msgpack"
    HASH = "hash"
    SORTED_SET = "sorted_set"
    LIST = "list"
    SET = "set"

    @property
    def collection(self) -> bool:
        """Whether a key holds the members of an array instead of a whole row."""
        return self in (ValueLayout.SORTED_SET, ValueLayout.LIST, ValueLayout.SET)


class RedisOptions(Options):
    """A row of the asset under one key of its version: `{asset}:{version}:{key}`."""

    connection: str = Field(
        description="Name of the connection: redis://, rediss:// (TLS), the same with +cluster, or `embedded`.",
        examples=["redis_online", "embedded"],
    )
    key: str = Field(
        description="Template of a row's key: columns in braces, text between them; `{{` and `}}` are plain braces, so"
        " that `{{{user}}}:{id}` keeps the rows of a user together on a cluster (a hash tag).",
        examples=["{id}", "{country}:{id}", "{{{user}}}:{id}"],
    )
    value: ValueLayout = Field(
        default=ValueLayout.PROTOBUF,
        description="How a row is written: a string of Protobuf, JSON or MessagePack, a hash with a field a column, or"
        " the `members` of an array as a sorted set, list or set.",
        examples=["protobuf", "hash", "sorted_set"],
    )
    members: ColumnName | None = Field(
        default=None,
        description="For `value: sorted_set`, `list` and `set`: the array column whose elements are the members.",
        examples=["songs"],
    )
    scores: ColumnName | None = Field(
        default=None,
        description="For `value: sorted_set`: the array column with each member's score, a number.",
        examples=["plays"],
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
    def _plain_text_is_not_compressed(self) -> RedisOptions:
        plain = self.value.collection or self.value is ValueLayout.HASH
        if plain and self.compression is not Compression.NONE:
            what = "fields" if self.value is ValueLayout.HASH else "members"
            raise ValueError(
                f"`compression: {self.compression}` can't be used with `value: {self.value}`, whose {what} are plain"
                " text: leave out the compression, or use protobuf, json or msgpack"
            )
        return self

    @model_validator(mode="after")
    def _members_and_scores_fit_the_value(self) -> RedisOptions:
        for name, wanted in (
            ("members", self.value.collection),
            ("scores", self.value is ValueLayout.SORTED_SET),
        ):
            given = getattr(self, name) is not None
            if wanted and not given:
                raise ValueError(f"`value: {self.value}` needs `{name}`, the name of an array column")
            if given and not wanted:
                raise ValueError(f"`{name}` can't be used with `value: {self.value}`: leave it out")
        if self.members is not None and self.members == self.scores:
            raise ValueError("`members` and `scores` name the same column")
        return self

    @property
    def template(self) -> KeyTemplate:
        return KeyTemplate.parse(self.key)

    def referenced_columns(self) -> Mapping[str, Sequence[str]]:
        arrays = {"members": self.members, "scores": self.scores}
        return {"key": self.template.columns, **{name: (column,) for name, column in arrays.items() if column}}
