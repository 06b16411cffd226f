"""What the benchmarks on Kafka share: a topic full of messages, and both sides of the measurement."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import print_measure, timed
from millrace.catalog import Catalog
from millrace.jobs import runner
from millrace.jobs.session import SessionHolder
from millrace.spec import parse_spec
from millrace.spec.settings import Settings
from tests.servers.kafka import KafkaServer

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PARTITIONS = 4
MESSAGE_BYTES = 200
_HEAP_MIB = 512
_BLOCK = 200_000

SPEC = """
version: 1
asset: plays
source:
  kafka:
    connection: bench_kafka
    topic: {topic}
    schema: {{id: bigint, user: bigint, song: string, country: string, seconds: int, score: double, note: string}}
targets:
  - {target}
limits: {{channels: {channels}}}
"""


@dataclass(frozen=True)
class Store:
    """Where the rows go, and how it is emptied between two runs."""

    url: str
    empty: Callable[[], object]


def measure(name: str, rows: int, store: Callable[[], AbstractContextManager[Store]], target: str) -> None:
    """`name.run`: a whole run after the session's start, against a bare Spark read of the same offsets.

    Both in the same warm session, on the same broker, turn by turn; the better of two of each.
    """
    with (
        tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder,
        KafkaServer(_HEAP_MIB) as broker,
        store() as kept,
    ):
        topic = broker.new_topic(PARTITIONS)
        fill(broker, topic, rows)
        os.environ |= {"MILLRACE_CONNECTION_BENCH_KAFKA": broker.url, "MILLRACE_CONNECTION_BENCH_STORE": kept.url}
        spec = parse_spec(SPEC.format(topic=topic, target=target, channels=os.cpu_count()))
        settings = Settings.from_env({"MILLRACE_HOME": str(Path(folder))})
        ours, bare = [], []
        with SessionHolder(settings) as session:
            for turn in range(3):
                with Catalog.open(f"sqlite:///{folder}/catalog-{turn}.db") as catalog:  # each run starts anew
                    report = runner.run(spec, settings, catalog, session)
                if report.error is not None:
                    raise report.error
                ours.append(report.statistics.seconds)
                kept.empty()
                bare.append(timed(lambda: bare_read(session.get(), broker.address, topic)))
        print_measure(f"{name}.run", rows / min(ours[1:]), rows / min(bare[1:]), "messages/s")


def bare_read(spark: SparkSession, address: str, topic: str) -> None:
    """Every message, to nowhere."""
    frame = spark.read.format("kafka").option("kafka.bootstrap.servers", address).option("subscribe", topic).load()
    frame.write.format("noop").mode("overwrite").save()


def fill(broker: KafkaServer, topic: str, rows: int) -> None:
    """So many messages of about 200 bytes, evenly in all partitions."""
    share = -(-rows // PARTITIONS)
    for partition in range(PARTITIONS):
        first, last = partition * share, min((partition + 1) * share, rows)
        for start in range(first, last, _BLOCK):
            values = [message(i) for i in range(start, min(start + _BLOCK, last))]
            broker.produce(topic, values, partition)


def message(number: int) -> bytes:
    row = {
        "id": number,
        "user": number * 7919 % 1_000_003,
        "song": f"song number {number % 50_000}",
        "country": "DE" if number % 3 else "FR",
        "seconds": number % 400,
        "score": number % 1000 / 8,
        "note": "",
    }
    size = len(json.dumps(row))
    row["note"] = "x" * max(0, MESSAGE_BYTES - size)
    return json.dumps(row).encode()
