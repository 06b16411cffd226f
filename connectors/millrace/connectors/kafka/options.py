"""What a spec says of a Kafka topic."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from pydantic import Field, model_validator

from millrace.connectors.log.options import FieldOrType, unreadable_in_json
from millrace.spec.connector import Options
from millrace.spec.shape.fields import ColumnName
from millrace.spec.types import Column, column


class MessageFormat(StrEnum):
    """How a message's value is read."""

    JSON = "json"
    AVRO = "avro"
    PROTOBUF = "protobuf"
    CSV = "csv"
    RAW = "raw"


class Envelope(StrEnum):
    """What stands before the bytes of the format in a message's value."""

    NONE = "none"
    CONFLUENT = "confluent"


class FirstOffset(StrEnum):
    """Where an asset's first run starts."""

    EARLIEST = "earliest"
    LATEST = "latest"


class LostOffsets(StrEnum):
    """What happens when messages that were not read yet are gone, or a topic was made anew."""

    FAIL = "fail"
    SKIP = "skip"


class Interval(StrEnum):
    """Which messages a run takes."""

    PUBLISH = "since_publish"
    DATA_INTERVAL = "data_interval"


class Policy(StrEnum):
    """What becomes of a message that is unlike the others."""

    DIRTY = "dirty"
    KEEP = "keep"


class Metadata(StrEnum):
    """What of a message besides its value becomes a column, named with a `_` before."""

    KEY = "key"
    HEADERS = "headers"
    TIMESTAMP = "timestamp"
    TOPIC = "topic"
    PARTITION = "partition"
    OFFSET = "offset"
    TOMBSTONE = "tombstone"


RAW_COLUMNS = (column("value", "binary"),)
METADATA = {
    Metadata.KEY: column("_key", "binary"),
    Metadata.HEADERS: column("_headers", "map<string,binary>"),
    Metadata.TIMESTAMP: column("_timestamp", "timestamp"),
    Metadata.TOPIC: column("_topic", "string"),
    Metadata.PARTITION: column("_partition", "int"),
    Metadata.OFFSET: column("_offset", "bigint"),
    Metadata.TOMBSTONE: column("_tombstone", "boolean"),
}
_DESCRIBED = (MessageFormat.AVRO, MessageFormat.PROTOBUF)


class KafkaOptions(Options):
    """Messages of one topic, from exact offsets to exact offsets of each partition."""

    connection: str = Field(
        description="Name of the connection: kafka:// with every broker's host.", examples=["events"]
    )
    topic: str = Field(
        description="The topic.", min_length=1, max_length=249, pattern=r"^[A-Za-z0-9._-]+$", examples=["plays"]
    )
    format: MessageFormat = Field(default=MessageFormat.JSON, description="How a message's value is read.")
    row_schema: dict[ColumnName, FieldOrType] | None = Field(
        default=None,
        alias="schema",
        description="The columns in order, with a type or with type, format, zone and null as in the fields of a log."
        " Without it, some JSON messages are looked at once, and what they show is kept with the asset.",
        examples=[{"user_id": "bigint", "song": "string", "at": {"type": "timestamp", "format": "epoch_ms"}}],
    )
    schema_file: str | None = Field(
        default=None,
        description="An Avro schema (.avsc) or a Protobuf descriptor set, on any Hadoop path.",
        examples=["s3a://schemas/plays.avsc"],
    )
    message: str | None = Field(
        default=None, description="The Protobuf message in `schema_file`.", examples=["music.Play"]
    )
    envelope: Envelope = Field(
        default=Envelope.NONE,
        description="`confluent`: values start with the five bytes (and, for Protobuf, the message's index) that"
        " Confluent's serializers write. They are left out; the schema is always that of `schema_file`.",
    )
    delimiter: str = Field(
        default=",", min_length=1, max_length=1, description="What separates fields, for `format: csv`.", examples=[";"]
    )
    metadata: tuple[Metadata, ...] = Field(
        default=(),
        description="What besides the value becomes a column, named with a `_` before.",
        examples=[["key", "timestamp"]],
    )
    read: Interval = Field(
        default=Interval.PUBLISH,
        description="`since_publish`: what came after the last published run. `data_interval`: by the messages' time.",
    )
    first: FirstOffset = Field(default=FirstOffset.EARLIEST, description="Where an asset's first run starts.")
    max_messages: int | None = Field(
        default=None,
        gt=0,
        description="With `since_publish`, the most messages of one run, the oldest of each partition first.",
        examples=[10_000_000],
    )
    lost_offsets: LostOffsets = Field(
        default=LostOffsets.FAIL,
        description="What happens when messages that were not read yet are gone: stop, or go on with what there is.",
    )
    late: Policy = Field(
        default=Policy.DIRTY,
        description="With `data_interval`, a message that came with those of the interval and is older than it:"
        " set aside as dirty, or kept as a row.",
    )
    tombstones: Policy = Field(
        default=Policy.DIRTY,
        description="A message without a value: set aside as dirty, or kept as a row whose columns are null, but for"
        " those of `metadata`.",
    )

    @model_validator(mode="after")
    def _schema_fits_format(self) -> KafkaOptions:
        described = self.schema_file is not None
        if self.format in _DESCRIBED and not described:
            raise ValueError(f"format: {self.format} needs 'schema_file'")
        if self.format not in _DESCRIBED and described:
            raise ValueError(f"format: {self.format} takes no 'schema_file'")
        if self.format is MessageFormat.PROTOBUF and self.message is None:
            raise ValueError("format: protobuf needs 'message', the name of the message in 'schema_file'")
        if self.format is MessageFormat.CSV and not self.row_schema:
            raise ValueError("format: csv needs 'schema', the columns in their order")
        if self.format is MessageFormat.RAW and self.row_schema:
            raise ValueError("format: raw takes no 'schema': it gives the one column 'value'")
        if self.format in _DESCRIBED and self.row_schema:
            raise ValueError(f"format: {self.format} takes no 'schema': the columns are those of 'schema_file'")
        if not self.delimiter.isascii() or self.delimiter in '\r\n"':
            raise ValueError(f"`delimiter` must be one ASCII character, no line break and no quote: {self.delimiter!r}")
        return self

    @model_validator(mode="after")
    def _types_can_be_read(self) -> KafkaOptions:
        for name, field in (self.row_schema or {}).items():
            if not field.type.nested:
                continue
            if self.format is not MessageFormat.JSON:
                raise ValueError(f"the column '{name}' has type {field.type}, which only `format: json` can hold")
            if bad := unreadable_in_json(field.type):
                raise ValueError(f"the column '{name}' has type {field.type}: {bad} can't be read inside a JSON field")
        return self

    @model_validator(mode="after")
    def _columns_have_different_names(self) -> KafkaOptions:
        for name in (METADATA[m].name for m in self.metadata):
            if name in (self.row_schema or {}):
                raise ValueError(f"'{name}' is a column of 'schema' and of 'metadata'")
        if len(set(self.metadata)) < len(self.metadata):
            raise ValueError("'metadata' names something twice")
        return self

    def reads_interval(self) -> bool:
        return self.read is Interval.DATA_INTERVAL

    def known_columns(self) -> Sequence[Column | str] | None:
        """The schema's columns, then the metadata's; nothing is known where a file or the data tells the schema."""
        more = [METADATA[name] for name in self.metadata]
        if self.format is MessageFormat.RAW:
            return [*RAW_COLUMNS, *more]
        if self.row_schema is None:
            return None
        return [*(Column(name, field.type) for name, field in self.row_schema.items()), *more]
