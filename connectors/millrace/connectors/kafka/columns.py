"""The file that describes Avro or Protobuf messages, and the columns that it gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.connectors.files import HadoopReader, hadoop_file, is_local, plain_path
from millrace.connectors.kafka.options import KafkaOptions, MessageFormat
from millrace.errors import SourceError
from millrace.spec.types import Column

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def read_schema_file(path: str, spark: Callable[[], SparkSession]) -> bytes:
    """A schema file's content. Raises SourceError when it can't be read."""
    if not is_local(path):
        session = spark()
        return HadoopReader(session).read(path, 0, hadoop_file(path, session).size)
    try:
        return Path(plain_path(path)).read_bytes()
    except OSError as error:
        raise SourceError(
            f"reading the schema file {path}: {error.strerror or error}", hint="correct `schema_file`"
        ) from error


def columns_of_file(options: KafkaOptions, content: bytes) -> tuple[Column, ...]:
    """The columns of the messages that a schema file describes. Raises SourceError for one that can't be used."""
    from millrace.connectors.kafka import avro, protobuf

    try:
        if options.format is MessageFormat.AVRO:
            return avro.columns_of(avro.parse_schema(content))
        return protobuf.columns_of(protobuf.parse_descriptor(content, options.message or ""))
    except (ValueError, KeyError, TypeError) as error:
        what = f"has no '{error.args[0]}'" if isinstance(error, KeyError) else str(error)
        raise SourceError(
            f"reading the schema file {options.schema_file}: {what}",
            hint="an Avro schema is JSON, a Protobuf descriptor set is made by `protoc --include_imports"
            " --descriptor_set_out`",
        ) from error
