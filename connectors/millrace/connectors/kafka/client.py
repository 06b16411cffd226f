"""What the driver asks a Kafka cluster, over librdkafka: a topic's partitions and offsets, and a few messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from millrace.connectors.kafka.endpoint import Endpoint
from millrace.connectors.kafka.offsets import Ends, Offsets
from millrace.errors import ConfigError, MillraceError, SourceError, TransientError
from millrace.spec.diagnostics import did_you_mean, listed

T = TypeVar("T")

_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"  # what brokers before 2.8 give
_LOGIN = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})
_HOPELESS = _LOGIN | {KafkaError._SSL}
_REFUSED = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})
_GONE = frozenset({KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})
_POLL_S = 0.5
_OFFSETS: Any = OffsetSpec  # its own calls have no types
_EARLIEST, _LATEST = _OFFSETS.earliest(), _OFFSETS.latest()
_SAMPLED_SHARE_S = 10.0


@dataclass(frozen=True)
class Topic:
    """A topic as it is now. `id` changes when it is deleted and made again; empty where brokers have no ids."""

    name: str
    id: str
    partitions: tuple[int, ...]


class Client:
    """Asks one cluster; every call ends within the connection's timeout, and raises errors of ours."""

    def __init__(self, end: Endpoint) -> None:
        self._end = end
        self._troubles: list[KafkaError] = []
        try:
            self._admin = AdminClient({**self._settings(), "retries": 2})
        except (KafkaException, ValueError) as error:
            raise ConfigError(
                f"the connection {end} can't be used: {_words(error)}", hint="see its certificates and parameters"
            ) from error

    def topic(self, name: str) -> Topic:
        """Raises SourceError naming the closest topic when there is no such."""
        futures = self._ask(lambda: self._admin.describe_topics(TopicCollection([name]), request_timeout=self._wait_s))
        try:
            found = self._result(futures[name], f"looking up the topic {name}")
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise self._no_topic(name) from error
            raise self._explain(error, f"looking up the topic {name}") from error
        topic_id = str(found.topic_id)
        return Topic(name, "" if topic_id == _NO_ID else topic_id, tuple(sorted(p.id for p in found.partitions)))

    def ends(self, topic: Topic) -> Ends:
        """The first offset of each partition, and the one after its last committed message."""
        return Ends(self._offsets(topic, _EARLIEST), self._offsets(topic, _LATEST))

    def offsets_at(self, topic: Topic, time: datetime, latest: Offsets) -> Offsets:
        """The offset of each partition's first message that isn't before this time; the end where there is none."""
        found = self._offsets(topic, _OFFSETS.for_timestamp(int(time.timestamp() * 1000)))
        return {p: latest[p] if offset < 0 else min(offset, latest[p]) for p, offset in found.items()}

    def sample(self, topic: Topic, ends: Ends, count: int) -> list[bytes]:
        """The values of some of the newest messages of each partition, in no order; few when they come slowly."""
        share = -(-count // max(1, len(topic.partitions)))
        places = [
            TopicPartition(topic.name, p, max(ends.first[p], ends.after[p] - share))
            for p in topic.partitions
            if ends.after[p] > ends.first[p]
        ]
        if not places:
            return []
        consumer = Consumer({**self._settings(), "group.id": "millrace-sample", **_SAMPLING})
        values: list[bytes] = []
        deadline = time.monotonic() + min(self._wait_s, _SAMPLED_SHARE_S)
        finished: set[int | None] = set()
        try:
            consumer.assign(places)
            while len(finished) < len(places) and time.monotonic() < deadline:
                for message in consumer.consume(count, _POLL_S):
                    if (trouble := message.error()) is None:
                        values += [value] if (value := message.value()) is not None else []
                    elif trouble.code() == KafkaError._PARTITION_EOF:
                        finished.add(message.partition())
                    elif not trouble.retriable():
                        raise self._explain(KafkaException(trouble), f"reading some messages of {topic.name}")
        finally:
            consumer.close()
        return values

    @property
    def _wait_s(self) -> float:
        return self._end.timeout_s

    def _settings(self) -> dict[str, Any]:
        return {**self._end.client_settings(), "error_cb": self._troubles.append, "log_level": 0}

    def _offsets(self, topic: Topic, spec: OffsetSpec) -> dict[int, int]:
        asked = {TopicPartition(topic.name, p): spec for p in topic.partitions}
        doing = f"asking for the offsets of {topic.name}"
        futures = self._ask(
            lambda: self._admin.list_offsets(
                asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=self._wait_s
            )
        )
        try:
            return {place.partition: self._result(future, doing).offset for place, future in futures.items()}
        except KafkaException as error:
            raise self._explain(error, doing) from error

    def _ask(self, call: Callable[[], Mapping[Any, Future[Any]]]) -> Mapping[Any, Future[Any]]:
        self._troubles.clear()
        return call()

    def _result(self, future: Future[T], doing: str) -> T:
        """What a future gives. A refused login or certificate ends the wait: librdkafka would go on trying."""
        deadline = time.monotonic() + self._wait_s + _POLL_S
        while True:
            self._admin.poll(0)
            refused = next((t for t in self._troubles if t.code() in _HOPELESS), None)
            if refused is not None and not future.done():
                raise self._explain(KafkaException(refused), doing)
            try:
                return future.result(0.05)
            except TimeoutError:
                if time.monotonic() > deadline:
                    timed_out = KafkaError(KafkaError._TIMED_OUT, "no answer")
                    raise self._explain(KafkaException(timed_out), doing) from None

    def _no_topic(self, name: str) -> SourceError:
        try:
            names = sorted(self._admin.list_topics(timeout=self._wait_s).topics)
        except KafkaException:
            names = []
        seen = [n for n in names if not n.startswith("__")]
        return SourceError(
            f"{self._end} has no topic '{name}'{did_you_mean(name, seen)}",
            hint=f"correct `topic`, or grant this user DESCRIBE on it; its topics are {listed(seen) or 'none'}",
        )

    def _explain(self, error: KafkaException, doing: str) -> MillraceError:
        return explained(doing, self._end, error.args[0], self._troubles)


def hopeless(trouble: KafkaError) -> bool:
    """Whether a client that goes on trying will never get further."""
    return trouble.code() in _HOPELESS or trouble.code() in _REFUSED or trouble.code() in _GONE


def explained(doing: str, end: Endpoint, trouble: KafkaError, troubles: Sequence[KafkaError]) -> MillraceError:
    """Our error for one of librdkafka's; `troubles` are what it has met in the background."""
    seen = troubles[-1].str() if troubles else ""
    what = f"{doing} on {end}: {trouble.str()}" + (f" ({seen})" if seen and seen != trouble.str() else "")
    if trouble.code() in _LOGIN:
        return SourceError(what, hint="correct user, password and mechanism of the connection")
    if trouble.code() in _REFUSED:
        return SourceError(what, hint="grant this user READ and DESCRIBE on the topic")
    if trouble.code() in _GONE:
        return SourceError(what, hint="the topic was deleted since the run was planned: start a new run")
    if any(t.code() == KafkaError._SSL for t in (trouble, *troubles)):
        return SourceError(what, hint="see `tls`, `ca`, `cert` and `cert_key` of the connection")
    return TransientError(what, hint="see whether the brokers are up and can be reached from here")


_SAMPLING: Mapping[str, Any] = {
    "enable.partition.eof": True,
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
}


def _words(error: Exception) -> str:
    trouble = error.args[0] if error.args else error
    return trouble.str() if isinstance(trouble, KafkaError) else str(trouble)


def partition_list(partitions: Sequence[int]) -> str:
    """For messages: `partition 3`, or `partitions 0, 1, 2`."""
    return f"partition{'' if len(partitions) == 1 else 's'} {listed(map(str, sorted(partitions)))}"
