"""Kafka as a source on a real broker: exact offsets, the same plan again, every message a row or a dirty record."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from millrace.connectors.base import Window
from millrace.connectors.kafka.endpoint import endpoint
from millrace.connectors.kafka.fetch import Fetch
from millrace.connectors.kafka.offsets import Range
from millrace.connectors.kafka.source import KafkaSource
from millrace.errors import SourceError, TransientError
from millrace.jobs.spark_errors import translate
from millrace.spec.connection import parse_url
from tests.connectors.kafka.reads import plan, read, source, words
from tests.servers.kafka import KafkaServer
from tests.servers.process import descendants, wait_until

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def test_each_run_reads_what_came_since_the_published_one(kafka: KafkaServer, spark: SparkSession) -> None:
    topic = kafka.new_topic(2)
    kafka.produce(topic, words(1, 30))
    kafka.produce(topic, words(31, 40), partition=1)
    of = source(kafka.url, topic)
    first = plan(of)
    kafka.produce(topic, words(41, 50))
    assert read(of, spark, first).ids == list(range(1, 41)), "the plan is frozen"
    assert read(of, spark, first).ids == list(range(1, 41)), "a retry reads the same"
    assert of.lag(first.watermark).parts == {"0": 10, "1": 0}
    second = plan(of, first.watermark)
    assert read(of, spark, second).ids == list(range(41, 51))
    third = plan(of, second.watermark)
    assert (third.estimated_rows, read(of, spark, third).rows) == (0, [])
    assert third.watermark == second.watermark
    assert of.lag(None).behind == 50


def test_a_first_run_may_start_at_the_end(kafka: KafkaServer, spark: SparkSession) -> None:
    topic = kafka.new_topic()
    kafka.produce(topic, words(1, 5))
    of = source(kafka.url, topic, first="latest")
    first = plan(of)
    kafka.produce(topic, words(6, 8))
    assert read(of, spark, first).rows == []
    assert read(of, spark, plan(of, first.watermark)).ids == [6, 7, 8]


def test_a_run_takes_no_more_than_max_messages(kafka: KafkaServer, spark: SparkSession) -> None:
    topic = kafka.new_topic(2)
    kafka.produce(topic, words(1, 30))
    kafka.produce(topic, words(31, 40), partition=1)
    of = source(kafka.url, topic, max_messages=20)
    seen: list[int] = []
    watermark = None
    for _ in range(3):
        planned = plan(of, watermark)
        seen += read(of, spark, planned).ids
        watermark = planned.watermark
    assert sorted(seen) == list(range(1, 41))


def test_what_of_a_message_besides_its_value_becomes_columns(kafka: KafkaServer, spark: SparkSession) -> None:
    topic = kafka.new_topic(2)
    headers = [("trace", b"old"), ("trace", b"new"), ("none", b"")]
    kafka.produce(topic, [(b"k\x00", words(1, 1)[0])], partition=1, timestamp_ms=ms(NOON), headers=headers)
    kafka.produce(topic, [(b"gone", None)], partition=1, timestamp_ms=ms(NOON + HOUR))
    names = ["key", "headers", "timestamp", "topic", "partition", "offset", "tombstone"]
    found = read(source(kafka.url, topic, metadata=names, tombstones="keep"), spark)
    first, second = sorted(found.rows, key=lambda row: row["_offset"])
    assert first == {
        "id": 1,
        "word": "word 1",
        "_key": bytearray(b"k\x00"),
        "_headers": {"trace": bytearray(b"new"), "none": bytearray(b"")},
        "_timestamp": NOON.replace(tzinfo=None),
        "_topic": topic,
        "_partition": 1,
        "_offset": 0,
        "_tombstone": False,
    }
    assert {**second, "_timestamp": None} == {
        **dict.fromkeys(first), "_key": bytearray(b"gone"), "_topic": topic, "_partition": 1, "_offset": 1,
        "_tombstone": True,
    }  # fmt: skip


def test_bad_messages_are_set_aside_with_their_offset_and_their_bytes(kafka: KafkaServer, spark: SparkSession) -> None:
    topic = kafka.new_topic(2)
    broken = b'{"id": 9, "word": "a\nb"}'
    bad: list[bytes | None] = [b'{"id": "x"}', b"\xff\xfe", None, b"null", b'{"id": 1} {"id": 2}', broken, b""]
    good = [b'{\n  "id": 8,\n  "word": "several \\n lines"\n}']
    kafka.produce(topic, [*words(1, 3), *bad, *words(4, 6), *good], partition=1)
    found = read(source(kafka.url, topic), spark)
    assert found.ids == [1, 2, 3, 4, 5, 6, 8]
    assert found.dirty_origins == [f"partition 1, offset {i}" for i in range(3, 10)]
    assert [(d.raw, d.reason) for d in found.dirty] == [
        (b'{"id": "x"}', "id: changed from number to string"),
        (b"\xff\xfe", "the message is not valid UTF-8"),
        (b"", "the message has no value (a tombstone)"),
        (b"null", "the line is not a JSON object"),
        (b'{"id": 1} {"id": 2}', "more than one JSON value in the line"),
        (broken, "a line break inside a JSON string"),
        (b"", "the line is not a JSON object"),
    ]
    assert found.counted == 7


def test_csv_and_raw_messages(kafka: KafkaServer, spark: SparkSession) -> None:
    topic = kafka.new_topic()
    kafka.produce(topic, [b"1;one\n", b'2;"t;wo"', b"3", b"4;a\n5;b"])
    found = read(source(kafka.url, topic, format="csv", delimiter=";"), spark)
    assert [(row["id"], row["word"]) for row in found.rows] == [(1, "one"), (2, "t;wo")]
    assert [d.reason for d in found.dirty] == ["1 columns, expected 2", "the message has several lines"]
    raw = read(source(kafka.url, topic, format="raw", metadata=["offset"]), spark)
    assert raw.rows[2] == {"value": bytearray(b"3"), "_offset": 2}


def test_an_interval_takes_messages_by_their_time_and_sets_late_ones_aside(
    kafka: KafkaServer, spark: SparkSession
) -> None:
    topic = kafka.new_topic(2)
    for partition, first in ((0, 1), (1, 11)):
        for hour in range(3):
            numbers = words(first + 2 * hour, first + 2 * hour + 1)
            kafka.produce(topic, numbers, partition, timestamp_ms=ms(NOON + hour * HOUR))
    kafka.produce(topic, words(99, 99), timestamp_ms=ms(NOON))
    of = source(kafka.url, topic, read="data_interval")
    middle = plan(of, window=Window(NOON + HOUR, NOON + 2 * HOUR))
    assert read(of, spark, middle).ids == [3, 4, 13, 14]
    last = plan(of, middle.watermark, Window(NOON + 2 * HOUR, NOON + 3 * HOUR))
    found = read(of, spark, last)
    assert (found.ids, found.dirty_origins) == ([5, 6, 15, 16], ["partition 0, offset 6"])
    assert found.dirty[0].reason.startswith("late: ")
    kept = source(kafka.url, topic, read="data_interval", late="keep")
    assert read(kept, spark, plan(kept, None, Window(NOON + 2 * HOUR, NOON + 3 * HOUR))).ids == [5, 6, 15, 16, 99]
    again = plan(of, last.watermark, Window(NOON, NOON + HOUR))
    assert read(of, spark, again).ids == [1, 2, 11, 12]
    assert again.watermark == last.watermark, "an old interval moves nothing back"
    with pytest.raises(SourceError, match="needs a run with an interval"):
        plan(of)


def test_big_partitions_are_split_so_that_every_channel_has_work(kafka: KafkaServer, spark: SparkSession) -> None:
    topic = kafka.new_topic()
    kafka.produce(topic, words(1, 45_000))
    of = source(kafka.url, topic)
    planned = plan(of, channels=1)
    assert [(s["start"], s["end"]) for s in planned.splits] == [
        (0, 22_500), (22_500, 45_000),
    ]  # fmt: skip
    found = read(of, spark, planned)
    assert found.counted == len(found.rows) == 45_000
    assert sum(found.ids) == 45_000 * 45_001 // 2


def test_transactions_leave_gaps_and_only_committed_messages_count(kafka: KafkaServer, spark: SparkSession) -> None:
    topic = kafka.new_topic()
    kafka.produce_transaction(topic, words(1, 5))
    kafka.produce_transaction(topic, words(6, 9), commit=False)
    kafka.produce_transaction(topic, words(10, 12))
    of = source(kafka.url, topic)
    planned = plan(of)
    assert planned.estimated_rows == 15, "offsets, with those of the aborted messages and of the transactions' ends"
    for later in (False, True):  # the range's last offset has no message; nothing follows it, then something
        found = read(of, spark, planned)
        assert (found.ids, found.counted) == ([1, 2, 3, 4, 5, 10, 11, 12], 8), f"with messages that came later: {later}"
        kafka.produce(topic, words(13, 14))


def test_messages_that_are_gone_stop_the_run_or_are_skipped(kafka: KafkaServer, spark: SparkSession) -> None:
    topic = kafka.new_topic()
    kafka.produce(topic, words(1, 10))
    of = source(kafka.url, topic)
    first = plan(of)
    kafka.produce(topic, words(11, 20))
    kafka.delete_records(topic, before=15)
    with pytest.raises(SourceError, match=r"partition 0 has lost the offsets 0 to 9"):
        read(of, spark, first)
    with pytest.raises(SourceError, match=r"gone that no published run has read \(partition 0: offsets 10 to 14\)"):
        plan(of, first.watermark)
    skipping = source(kafka.url, topic, lost_offsets="skip")
    second = plan(skipping, first.watermark)
    assert any("gone" in note for note in second.notes)
    assert read(skipping, spark, second).ids == [16, 17, 18, 19, 20]
    assert of.lag(first.watermark).behind == 5


def test_messages_that_go_away_while_a_task_reads_stop_it(kafka: KafkaServer) -> None:
    topic = kafka.new_topic()
    kafka.produce(topic, words(1, 10))
    kafka.delete_records(topic, before=4)
    fetch = Fetch(endpoint(parse_url("events", kafka.url, "a test")), topic)
    with pytest.raises(SourceError, match=r"partition 0 of .*gone since the run was planned"):
        list(fetch(Range(0, 2, 10)))
    assert [batch.column("offset").to_pylist() for batch in fetch(Range(0, 4, 9))] == [[4, 5, 6, 7, 8]]


def test_a_topic_that_was_made_again_stops_the_run_or_is_read_anew(kafka: KafkaServer, spark: SparkSession) -> None:
    topic = kafka.new_topic(2)
    kafka.produce(topic, words(1, 10))
    of = source(kafka.url, topic)
    first = plan(of)
    kafka.delete_topic(topic)
    with pytest.raises(SourceError, match=f"has no topic '{topic}'"):
        plan(of, first.watermark)
    kafka.new_topic(1, name=topic)
    kafka.produce(topic, words(21, 33))
    with pytest.raises(SourceError, match="since the run was planned the topic was deleted and made again"):
        read(of, spark, first)
    with pytest.raises(SourceError, match=r"was deleted and made again \(its id was .* and is "):
        plan(of, first.watermark)
    skipping = source(kafka.url, topic, lost_offsets="skip")
    assert read(skipping, spark, plan(skipping, first.watermark)).ids == list(range(21, 34))


def test_new_partitions_are_read_from_their_start(kafka: KafkaServer, spark: SparkSession) -> None:
    topic = kafka.new_topic()
    kafka.produce(topic, words(1, 3))
    of = source(kafka.url, topic)
    first = plan(of)
    kafka.add_partitions(topic, 3)
    kafka.produce(topic, words(4, 6), partition=2)
    second = plan(of, first.watermark)
    assert "partitions 1, 2 came since the last published run: read from the start" in second.notes
    assert read(of, spark, second).ids == [4, 5, 6]


def test_a_schema_is_inferred_once_and_kept_with_the_watermark(kafka: KafkaServer, spark: SparkSession) -> None:
    topic = kafka.new_topic()
    of = source(kafka.url, topic, schema=None)
    with pytest.raises(SourceError, match="it has no messages"):
        plan(of)
    kafka.produce(topic, [b'{"id": 1, "tags": ["a"], "at": {"x": 1.5, "y": 2}}', b"junk", b'{"id": 2, "ok": true}'])
    first = plan(of)
    assert list(map(str, first.columns)) == [
        "id bigint", "tags array<string>", "at struct<x:double,y:bigint>", "ok boolean",
    ]  # fmt: skip
    found = read(of, spark, first)
    assert (len(found.rows), found.dirty_origins) == (2, ["partition 0, offset 1"])
    kafka.produce(topic, [b'{"id": "text now", "more": 1}'])
    second = plan(of, first.watermark)
    assert second.columns == first.columns
    assert read(of, spark, second).dirty[0].reason == "id: changed from number to string"
    kafka.produce(topic, [b'{"id": 3}'])
    with pytest.raises(SourceError, match="'id' is of several types: text, whole number"):
        plan(of)


@dataclass(frozen=True)
class StoppingGate:
    """As soon as a task has its first messages, these processes stop: SIGSTOP."""

    pids: Sequence[int]

    def admit(self, rows: int, size: int) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def done(self, *_: object, **__: object) -> None:
        """Nobody counts."""


def test_a_broker_that_stops_answering_a_task_is_given_up_and_worth_another_try(
    kafka: KafkaServer, spark: SparkSession
) -> None:
    topic = kafka.new_topic()
    kafka.produce(
        topic, [os.urandom(10_000) for _ in range(8_000)]
    )  # far more than a task takes and has queued at once
    of = source(f"{kafka.url}?timeout=2s", topic, format="raw")
    gate = StoppingGate([kafka.pid, *descendants(kafka.pid)])
    try:
        frame = of.read(spark, plan(of), gate).frame
        with pytest.raises(Exception, match=r"reading partition 0 of .*nothing came for 2s, from offset") as caught:
            frame.write.format("noop").mode("overwrite").save()
        assert "State:\tT" in Path(f"/proc/{kafka.pid}/status").read_text()
    finally:
        kafka.resume()
    found = translate(caught.value, "reading")
    assert isinstance(found, TransientError)
    assert "raise the connection's `timeout`" in found.hint
    wait_until(lambda: plans(of), "the broker to lead its partitions again")
    assert len(read(of, spark).rows) == 8_000


def plans(of: KafkaSource) -> bool:
    try:
        return bool(plan(of).splits)
    except TransientError:
        return False


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_tls_and_a_login_work_on_the_driver_and_in_spark(
    kafka: KafkaServer, spark: SparkSession, mechanism: str
) -> None:
    topic = kafka.new_topic()
    kafka.produce(topic, words(1, 3))
    assert read(source(kafka.secure_url(mechanism), topic), spark).ids == [1, 2, 3]


def test_without_its_authority_a_broker_isnt_trusted(kafka: KafkaServer) -> None:
    url = kafka.secure_url().replace(f"&ca={kafka.ca}", "")
    with pytest.raises(SourceError, match="see `tls`, `ca`"):
        plan(source(url, "any"))
