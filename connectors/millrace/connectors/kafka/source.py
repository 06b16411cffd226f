"""Kafka as a source: planned and fetched over librdkafka without a JVM, decoded by column."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.connectors.base import Gate, Lag, PlanRequest, Source, SourcePlan, SourceRead
from millrace.connectors.kafka.client import Client
from millrace.connectors.kafka.endpoint import Endpoint, endpoint
from millrace.connectors.kafka.fetch import Fetch
from millrace.connectors.kafka.messages import MessageTask, parts_of
from millrace.connectors.kafka.offsets import Range, Watermark, behind
from millrace.connectors.kafka.options import KafkaOptions
from millrace.connectors.kafka.plan import plan_topic
from millrace.connectors.spark_schema import spark_ddl
from millrace.connectors.spark_tasks import read_by_tasks
from millrace.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyspark.sql import SparkSession

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
        ranges = tuple(Range(**split) for split in plan.splits)
        if not ranges:
            return SourceRead(spark.createDataFrame([], spark_ddl(plan.columns)), gated=True)
        not_before = plan.details["not_before"]
        task = MessageTask(
            Fetch(end, plan.details["topic"], parts_of(self.options, by_time=not_before is not None)),
            ranges,
            self.options,
            plan.columns[: len(plan.columns) - len(self.options.metadata)],
            gate,
            _microseconds(not_before) if not_before else None,
            b64decode(plan.details["schema_file"]),
        )
        one_each = spark.range(0, len(ranges), 1, len(ranges)).toDF("range")
        return read_by_tasks(one_each, task, plan.columns)

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


def _microseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000_000)
