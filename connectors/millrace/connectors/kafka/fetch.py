"""Messages of a range of offsets as Arrow batches, fetched by librdkafka inside a task, without a JVM."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from millrace.connectors.kafka.endpoint import Endpoint
from millrace.connectors.kafka.offsets import Range
from millrace.connectors.kafka.options import METADATA, Metadata
from millrace.errors import SourceError, TransientError

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Message

VALUE, PARTITION, OFFSET, TIMESTAMP = "value", "partition", "offset", "timestamp"
_BATCH_ROWS = 32_768
_BATCH_BYTES = 4 << 20
_MESSAGES_AT_ONCE = 2000  # so few that they are still in the processor's cache when they become a column
_POLL_S = 0.1
# One partition is read from end to end: large fetches, and no second's pause when enough of them is queued.
_FETCHING: Mapping[str, str | int | bool] = {
    "group.id": "millrace",  # has to be named, and is never joined
    "isolation.level": "read_committed",
    "auto.offset.reset": "error",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "check.crcs": True,
    "fetch.message.max.bytes": 4 << 20,
    "fetch.wait.max.ms": 100,
    "fetch.queue.backoff.ms": 5,
    "queued.max.messages.kbytes": 16 << 10,
    "receive.message.max.bytes": 2_000_000_000,
}
_TIME = pa.timestamp("us", "UTC")
_PARTS: Mapping[str, tuple[pa.DataType, Callable[[Message], Any]]] = {
    TIMESTAMP: (_TIME, lambda message: message.timestamp()[1] * 1000),
    METADATA[Metadata.TIMESTAMP].name: (_TIME, lambda message: message.timestamp()[1] * 1000),
    METADATA[Metadata.KEY].name: (pa.binary(), lambda message: message.key()),
    METADATA[Metadata.TOPIC].name: (pa.string(), lambda message: message.topic()),
    # The last of several headers with one name counts, as in Kafka's own `lastHeader`.
    METADATA[Metadata.HEADERS].name: (
        pa.map_(pa.string(), pa.binary()),
        lambda message: [*dict(headers).items()] if (headers := message.headers()) else None,
    ),
}


@dataclass(frozen=True)
class Fetch:
    """How a task gets a topic's messages; picklable. Each batch has `value`, `partition`, `offset` and the `parts`."""

    endpoint: Endpoint
    topic: str
    parts: tuple[str, ...] = ()

    def __call__(self, wanted: Range) -> Iterator[pa.RecordBatch]:
        """Every committed message of the range that there is, in its order.

        Raises SourceError when the first of them is gone by now, or when the brokers refuse us; TransientError when
        nothing comes for the connection's timeout.
        """
        from confluent_kafka import Consumer, TopicPartition

        troubles: list[KafkaError] = []
        consumer = Consumer(
            {**self.endpoint.client_settings(), **_FETCHING, "error_cb": troubles.append, "log_level": 0}
        )
        try:
            consumer.assign([TopicPartition(self.topic, wanted.partition, wanted.start)])
            yield from _batches(self._chunks(consumer, wanted, troubles))
        finally:
            consumer.close()

    def _chunks(self, consumer: Consumer, wanted: Range, troubles: Sequence[KafkaError]) -> Iterator[pa.RecordBatch]:
        following, heard = wanted.start, time.monotonic()
        while following < wanted.end:
            with _without_collections():
                chunk, last, events = self._take(consumer, replace(wanted, start=following))
            if last is not None:
                following = last + 1
                yield chunk
                heard = time.monotonic()
            if events and self._ended(wanted, events):
                return
            self._judge(wanted, troubles)
            if time.monotonic() - heard > self.endpoint.timeout_s:
                raise self._silent(wanted, following, troubles)

    def _take(self, consumer: Consumer, wanted: Range) -> tuple[pa.RecordBatch, int | None, Sequence[Message]]:
        """The next of the wanted messages, the offset up to which they have come, and what else came among them."""
        from confluent_kafka import Message

        came = consumer.consume(min(_MESSAGES_AT_ONCE, wanted.size), _POLL_S)
        events = [m for m in came if m.error() is not None] if any(map(Message.error, came)) else []
        found = [m for m in came if m.error() is None] if events else came
        last = found[-1].offset() if found else None
        if last is not None and last >= wanted.end:
            found = [m for m in found if (offset := m.offset()) is not None and offset < wanted.end]
        return self._columns(wanted, found), last, events

    def _columns(self, wanted: Range, messages: Sequence[Message]) -> pa.RecordBatch:
        from confluent_kafka import Message

        rows = len(messages)
        first, last = (messages[0].offset() or 0, messages[-1].offset() or 0) if messages else (0, -1)
        whole = last - first + 1 == rows  # they come in order
        offsets: Any = np.arange(first, last + 1) if whole else [message.offset() for message in messages]
        columns: dict[str, Any] = {
            VALUE: pa.array(list(map(Message.value, messages)), pa.binary()),
            PARTITION: pa.repeat(pa.scalar(wanted.partition, pa.int32()), rows),
            OFFSET: pa.array(offsets, pa.int64()),
        }
        for name in self.parts:
            type_, part = _PARTS[name]
            columns[name] = pa.array([part(message) for message in messages], type_)
        return pa.RecordBatch.from_pydict(columns)

    def _ended(self, wanted: Range, events: Sequence[Message]) -> bool:
        """Whether the partition has no more of what is wanted. Raises for what goes wrong for good."""
        from confluent_kafka import KafkaError

        for message in events:
            trouble = message.error()
            assert trouble is not None
            if trouble.code() == KafkaError._PARTITION_EOF:
                offset = message.offset()
                if offset is not None and offset >= wanted.end:
                    return True
            elif trouble.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                raise SourceError(
                    f"{self._doing(wanted)} on {self.endpoint}: messages of it are gone since the run was planned"
                    f" ({trouble.str()})",
                    hint="start a new run, which plans anew by `lost_offsets`",
                )
            else:
                self._judge(wanted, [trouble])
        return False

    def _judge(self, wanted: Range, troubles: Sequence[KafkaError]) -> None:
        """Raise for what won't pass; librdkafka goes on trying whatever it is."""
        from millrace.connectors.kafka.client import explained, hopeless

        for trouble in troubles:
            if hopeless(trouble):
                raise explained(self._doing(wanted), self.endpoint, trouble, troubles)

    def _silent(self, wanted: Range, following: int, troubles: Sequence[KafkaError]) -> TransientError:
        seen = f" ({troubles[-1].str()})" if troubles else ""
        return TransientError(
            f"{self._doing(wanted)} on {self.endpoint}: nothing came for {self.endpoint.timeout_s:g}s, from offset"
            f" {following:,} on{seen}",
            hint="see whether the brokers are up and reachable from the executors, or raise the connection's"
            " `timeout`; the step is tried again by itself",
        )

    def _doing(self, wanted: Range) -> str:
        return f"reading partition {wanted.partition} of {self.topic}"


@contextmanager
def _without_collections() -> Iterator[None]:
    """Python's collector of cycles looks through all messages that there are, again and again, and they are in none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _batches(chunks: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in larger batches."""
    some: list[pa.RecordBatch] = []
    rows = size = 0
    for chunk in chunks:
        if not chunk.num_rows:
            continue
        some.append(chunk)
        rows, size = rows + chunk.num_rows, size + chunk.nbytes
        if rows >= _BATCH_ROWS or size >= _BATCH_BYTES:
            yield _one(some)
            some, rows, size = [], 0, 0
    if some:
        yield _one(some)


def _one(some: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return some[0] if len(some) == 1 else pa.Table.from_batches(some).combine_chunks().to_batches()[0]
