"""Kafka as a source: planned over librdkafka without a JVM, fetched by Spark's own Kafka source, decoded by column."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.connectors.base import Gate, Lag, PlanRequest, Source, SourcePlan, SourceRead
from millrace.connectors.kafka.client import Client
from millrace.connectors.kafka.endpoint import Endpoint, endpoint
from millrace.connectors.kafka.messages import MessageTask, source_columns
from millrace.connectors.kafka.offsets import Range, Watermark, behind
from millrace.connectors.kafka.options import KafkaOptions, Metadata
from millrace.connectors.kafka.plan import plan_topic
from millrace.connectors.spark_schema import spark_ddl
from millrace.connectors.spark_secrets import without_py4j_traces
from millrace.connectors.spark_tasks import read_by_tasks
from millrace.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyspark.sql import DataFrame, SparkSession

# Of Kafka's own consumer: fewer and larger fetches than it would make by itself.
_FETCHING = {
    "kafka.isolation.level": "read_committed",
    "kafka.max.poll.records": "10000",
    "kafka.max.partition.fetch.bytes": str(8 << 20),
    "kafka.receive.buffer.bytes": str(1 << 20),
    "kafka.client.id": "millrace",
}
_POLL_TIMEOUTS = 2  # Spark's consumer asks again while it polls, and gives up after this many
_LAG_TIMEOUT_S = 5.0  # a person waits


class KafkaSource(Source):
    """Reads `KafkaOptions`: a task for each split of the plan, each message a row or a dirty record."""

    options: KafkaOptions

    def plan(self, request: PlanRequest) -> SourcePlan:
        """Freeze the offsets to read, and the columns. Asks the brokers alone.

        Raises SourceError naming what is missing and what there is, or TransientError when no broker answers.
        """
        return plan_topic(Client(self._endpoint()), self.options, request)

    def read(self, spark: SparkSession, plan: SourcePlan, gate: Gate) -> SourceRead:
        """The messages of the planned offsets. Raises SourceError when some of them are gone."""
        end = self._endpoint()
        self._check_still_there(Client(end), plan)
        ranges = [Range(**r) for r in plan.details["ranges"] if r["start"] < r["end"]]
        if not ranges:
            return SourceRead(spark.createDataFrame([], spark_ddl(plan.columns)), gated=True)
        not_before = plan.details["not_before"]
        task = MessageTask(
            self.options,
            plan.columns[: len(plan.columns) - len(self.options.metadata)],
            gate,
            _microseconds(not_before) if not_before else None,
            b64decode(plan.details["schema_file"]),
        )
        frame = self._frame(spark, end, ranges, len(plan.splits))
        wanted = frame.selectExpr(*source_columns(self.options, by_time=not_before is not None))
        return read_by_tasks(wanted, task, plan.columns)

    def lag(self, watermark: Mapping[str, Any] | None) -> Lag:
        """Messages of each partition that no published run has read and that are still there."""
        end = self._endpoint()
        client = Client(replace(end, timeout_s=min(end.timeout_s, _LAG_TIMEOUT_S)))
        topic = client.topic(self.options.topic)
        found = Watermark.from_json(watermark)
        same = found is not None and found.topic == topic.name and found.topic_id in ("", topic.id)
        parts = behind(found, client.ends(topic), same)
        return Lag(sum(parts.values()), {str(p): count for p, count in parts.items()})

    def _endpoint(self) -> Endpoint:
        if self.connection is None:
            raise ConfigError("a Kafka source needs a connection", hint="set `connection` to a name that is declared")
        return endpoint(self.connection)

    def _check_still_there(self, client: Client, plan: SourcePlan) -> None:
        topic = client.topic(plan.details["topic"])
        if topic.id != plan.details["topic_id"]:
            raise SourceError(
                f"reading {topic.name}: since the run was planned the topic was deleted and made again",
                hint="start a new run, which plans anew",
            )
        first = client.ends(topic).first
        for r in (Range(**found) for found in plan.details["ranges"]):
            if r.size and first[r.partition] > r.start:
                raise SourceError(
                    f"reading {topic.name}: since the run was planned, its partition {r.partition} has lost the offsets"
                    f" {r.start:,} to {min(first[r.partition], r.end) - 1:,}",
                    hint="start a new run, which plans anew by `lost_offsets`",
                )

    def _frame(self, spark: SparkSession, end: Endpoint, ranges: list[Range], splits: int) -> DataFrame:
        name = self.options.topic
        options = {
            **end.spark_options(),
            **_FETCHING,
            "assign": json.dumps({name: [r.partition for r in ranges]}),
            "startingOffsets": json.dumps({name: {str(r.partition): r.start for r in ranges}}),
            "endingOffsets": json.dumps({name: {str(r.partition): r.end for r in ranges}}),
            "failOnDataLoss": "true",
            "includeHeaders": str(Metadata.HEADERS in self.options.metadata).lower(),
            "minPartitions": str(splits),
            "kafkaConsumer.pollTimeoutMs": str(round(_POLL_TIMEOUTS * end.timeout_s * 1000)),
        }
        with without_py4j_traces():
            try:
                return spark.read.format("kafka").options(**options).load()
            except Exception as error:
                if "Failed to find data source: kafka" in str(error) or "DATA_SOURCE_NOT_FOUND" in str(error):
                    raise ConfigError(
                        f"reading {end}: Spark has no Kafka source",
                        hint="put the jars of org.apache.spark:spark-sql-kafka-0-10_2.13 into the folder that"
                        " MILLRACE_JARS names",
                    ) from error
                raise


def _microseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000_000)
