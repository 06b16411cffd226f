"""Kafka topics as a source, read in batches of exact offsets. Its options are known; this release can't run it yet."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from millrace.spec.connector import Connector, Options, SourceRole
from millrace.spec.shape.fields import ColumnName, TypeText
from millrace.spec.types import Column, column


class MessageFormat(StrEnum):
    """How a message's value is read."""

    JSON = "json"
    AVRO = "avro"
    PROTOBUF = "protobuf"
    CSV = "csv"
    RAW = "raw"


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


RAW_COLUMNS = (column("value", "binary"),)
METADATA = {
    "key": column("_key", "binary"),
    "headers": column("_headers", "map<string,binary>"),
    "timestamp": column("_timestamp", "timestamp"),
    "topic": column("_topic", "string"),
    "partition": column("_partition", "int"),
    "offset": column("_offset", "bigint"),
}


class Metadata(StrEnum):
    """What of a message besides its value becomes a column, named with a `_` before."""

    KEY = "key"
    HEADERS = "headers"
    TIMESTAMP = "timestamp"
    TOPIC = "topic"
    PARTITION = "partition"
    OFFSET = "offset"


class KafkaOptions(Options):
    """Messages of one topic, from exact offsets to exact offsets of each partition."""

    connection: str = Field(
        description="Name of the connection: kafka:// with every broker's host.", examples=["events"]
    )
    topic: str = Field(
        description="The topic.", min_length=1, max_length=249, pattern=r"^[A-Za-z0-9._-]+$", examples=["plays"]
    )
    format: MessageFormat = Field(default=MessageFormat.JSON, description="How a message's value is read.")
    row_schema: dict[ColumnName, TypeText] | None = Field(
        default=None,
        alias="schema",
        description="Column: type, in order. Without it, JSON is looked at once and the schema is kept.",
        examples=[{"user_id": "bigint", "song": "string", "at": "timestamp"}],
    )
    schema_file: str | None = Field(
        default=None,
        description="An Avro schema (.avsc) or a Protobuf descriptor set, on any Hadoop path.",
        examples=["s3a://schemas/plays.avsc"],
    )
    message: str | None = Field(
        default=None, description="The Protobuf message in `schema_file`.", examples=["music.Play"]
    )
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = Field(
        default=",", description="What separates fields, for `format: csv`.", examples=[";"]
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
    lost_offsets: LostOffsets = Field(
        default=LostOffsets.FAIL,
        description="What happens when messages that were not read yet are gone: stop, or go on with what there is.",
    )

    @model_validator(mode="after")
    def _schema_fits_format(self) -> KafkaOptions:
        described = self.schema_file is not None
        if self.format in (MessageFormat.AVRO, MessageFormat.PROTOBUF) and not described:
            raise ValueError(f"format: {self.format} needs 'schema_file'")
        if self.format is MessageFormat.PROTOBUF and self.message is None:
            raise ValueError("format: protobuf needs 'message', the name of the message in 'schema_file'")
        if self.format is MessageFormat.CSV and not self.row_schema:
            raise ValueError("format: csv needs 'schema', the columns in their order")
        if self.format is MessageFormat.RAW and self.row_schema:
            raise ValueError("format: raw takes no 'schema': it gives the one column 'value'")
        return self

    def known_columns(self) -> Sequence[Column | str] | None:
        """The schema's columns, then the metadata's; nothing is known where a file or the data tells the schema."""
        more = [METADATA[name] for name in self.metadata]
        if self.format is MessageFormat.RAW:
            return [*RAW_COLUMNS, *more]
        if self.row_schema is None:
            return None
        return [*(Column(name, type_) for name, type_ in self.row_schema.items()), *more]


connector = Connector(
    name="kafka",
    summary="Kafka: messages of a topic, in batches of exact offsets",
    source=SourceRole(
        options=KafkaOptions,
        implementation=None,
        incremental=True,
        formats=tuple(form.value for form in MessageFormat),
        example={"schema": {"user_id": "bigint", "song": "string", "at": "timestamp"}},
    ),
    schemes=("kafka",),
)
