"""Kafka: what is known of it without importing a driver."""

from __future__ import annotations

from millrace.connectors.kafka.options import KafkaOptions, MessageFormat
from millrace.spec.connector import Connector, SourceRole

connector = Connector(
    name="kafka",
    summary="Kafka: messages of a topic, in batches of exact offsets",
    source=SourceRole(
        options=KafkaOptions,
        implementation="millrace.connectors.kafka.source:KafkaSource",
        incremental=True,
        lag=True,
        formats=tuple(form.value for form in MessageFormat),
        example={"schema": {"user_id": "bigint", "song": "string", "at": "timestamp"}},
    ),
    schemes=("kafka",),
)
