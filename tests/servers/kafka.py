"""A real Kafka broker (KRaft, its own controller) with a plain listener and one with TLS and SASL.

The broker comes as jars from Maven; scripts/setup puts them into .cache/servers/kafka.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import trustme
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from millrace.jobs import jvm
from tests.servers.process import HOST, ServerError, ServerProcess, free_port, wait_until

JARS = Path(__file__).resolve().parents[2] / ".cache/servers/kafka"
USER, PASSWORD = "reader", 'pass/word:with@marks"\\'
_ASK_S = 30.0
_CLUSTER = "bWlsbHJhY2UtdGVzdHMtMQ"  # sixteen bytes, in base64 as the broker has it
_SETTINGS: Mapping[str, object] = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "broker.session.timeout.ms": 3000,  # one that was killed comes back no sooner
    "broker.heartbeat.interval.ms": 500,
    "log.cleaner.dedupe.buffer.size": 2097152,
    "log.retention.ms": -1,  # messages of tests have times of long ago
    "group.initial.rebalance.delay.ms": 0,
    "listener.name.secure.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
    "listener.name.secure.ssl.keystore.type": "PEM",
}

Message = tuple[bytes | None, bytes | None]
"""A message's key and value."""


class KafkaServer(ServerProcess):
    """One broker. What was produced to it survives a kill."""

    name: ClassVar[str] = "kafka"
    start_timeout_s: ClassVar[float] = 120.0

    def __init__(self, heap_mib: int = 160) -> None:
        super().__init__()
        self._heap_mib = heap_mib
        self._controller_port, self.secure_port = free_port(), free_port()
        self.ca = self.folder / "ca.pem"

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def url(self) -> str:
        """The URL of a connection without encryption and login."""
        return f"kafka://{self.address}"

    def secure_url(self, mechanism: str = "PLAIN", password: str = PASSWORD) -> str:
        """The URL of a connection with TLS and this SASL mechanism."""
        login = f"{USER}:{quote(password, safe='')}"
        return f"kafka://{login}@{HOST}:{self.secure_port}?tls=true&ca={self.ca}&mechanism={mechanism}"

    def prepare(self) -> None:
        if not JARS.is_dir():
            raise ServerError(f"Kafka's jars are not in {JARS}; scripts/setup puts them there")
        self._write_certificates()
        jaas = "org.apache.kafka.common.security"
        password = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
        settings = {
            **_SETTINGS,
            "controller.quorum.voters": f"1@{HOST}:{self._controller_port}",
            "listeners": f"PLAINTEXT://{self.address},SECURE://{HOST}:{self.secure_port},"
            f"CONTROLLER://{HOST}:{self._controller_port}",
            "log.dirs": self.folder / "data",
            "listener.name.secure.ssl.keystore.location": self.folder / "server.pem",
            "listener.name.secure.plain.sasl.jaas.config": f"{jaas}.plain.PlainLoginModule required"
            f' user_{USER}="{password}";',
            **{
                f"listener.name.secure.{name}.sasl.jaas.config": f"{jaas}.scram.ScramLoginModule required;"
                for name in ("scram-sha-256", "scram-sha-512")
            },
        }
        lines = [f"{name}={_property(str(value))}" for name, value in settings.items()]
        (self.folder / "kraft.properties").write_text("\n".join(lines) + "\n")
        (self.folder / "log4j2.properties").write_text(_LOGGING)
        login = f"[name={USER},password={PASSWORD}]"
        scram = [word for name in ("256", "512") for word in ("--add-scram", f"SCRAM-SHA-{name}={login}")]
        tool = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", "kraft.properties", *scram]
        self.run(*self._java(96), *tool)

    def command(self) -> Sequence[str]:
        small = ("-XX:+UseSerialGC", "-XX:MaxDirectMemorySize=128m", "-XX:ReservedCodeCacheSize=64m")
        return [*self._java(self._heap_mib), *small, "kafka.Kafka", "kraft.properties"]

    def ready(self) -> bool:
        try:
            return bool(self.admin.list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    @cached_property
    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def new_topic(self, partitions: int = 1, name: str = "", **settings: str) -> str:
        """Make an empty topic, with a new name when none is given. Settings have `_` where Kafka's have a dot."""
        name = name or f"test-{secrets.token_hex(6)}"
        config = {key.replace("_", "."): value for key, value in settings.items()}
        self.admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(_ASK_S)
        wait_until(lambda: len(self._partitions(name)) == partitions, f"the topic {name}", detail=self.log_tail)
        return name

    def add_partitions(self, topic: str, total: int) -> None:
        self.admin.create_partitions([NewPartitions(topic, total)])[topic].result(_ASK_S)
        wait_until(lambda: len(self._partitions(topic)) == total, f"the partitions of {topic}", detail=self.log_tail)

    def delete_topic(self, topic: str) -> None:
        self.admin.delete_topics([topic])[topic].result(_ASK_S)
        wait_until(lambda: not self._partitions(topic), f"{topic} to be gone", detail=self.log_tail)

    def delete_records(self, topic: str, before: int, partition: int = 0) -> None:
        """Remove the messages before an offset, as retention does."""
        place = TopicPartition(topic, partition, before)
        self.admin.delete_records([place])[place].result(_ASK_S)

    def produce(
        self,
        topic: str,
        values: Iterable[bytes | Message | None],
        partition: int = 0,
        timestamp_ms: int = 0,
        headers: Sequence[tuple[str, bytes]] = (),
        **settings: Any,
    ) -> None:
        """Write values, or keys with values, to one partition, and wait until the broker has them."""
        producer = Producer(
            {"bootstrap.servers": self.address, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000, **settings}
        )
        for item in values:
            key, value = item if isinstance(item, tuple) else (None, item)
            while True:
                try:
                    producer.produce(topic, value, key, partition, timestamp=timestamp_ms, headers=list(headers))
                    break
                except BufferError:
                    producer.poll(0.1)
        left = producer.flush(120)
        if left:
            raise ServerError(f"{left} messages for {topic} were not taken\n{self.log_tail()}")

    def produce_transaction(self, topic: str, values: Iterable[bytes], commit: bool = True) -> None:
        """Write values to partition 0 in one transaction, and commit or abort it."""
        producer = Producer({"bootstrap.servers": self.address, "transactional.id": secrets.token_hex(6)})
        producer.init_transactions(_ASK_S)
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, value, partition=0)
        producer.flush(_ASK_S)
        if commit:
            producer.commit_transaction(_ASK_S)
        else:
            producer.abort_transaction(_ASK_S)

    def _partitions(self, topic: str) -> Mapping[int, Any]:
        found = self.admin.list_topics(topic, timeout=_ASK_S).topics[topic]
        return {} if found.error else found.partitions

    def _java(self, heap_mib: int) -> list[str]:
        return [
            str(jvm.java()),
            f"-Xmx{heap_mib}m",
            "-XX:TieredStopAtLevel=1" if heap_mib < 256 else "-XX:+TieredCompilation",
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}",
            "-cp",
            f"{JARS}/*",
        ]

    def _write_certificates(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        issued = authority.issue_cert(HOST, "localhost")
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # the one form that Kafka reads
        (self.folder / "server.pem").write_bytes(pem + b"".join(blob.bytes() for blob in issued.cert_chain_pems))


def _property(value: str) -> str:
    return value.replace("\\", "\\\\")


_LOGGING = """
appenders = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = warn
rootLogger.appenderRefs = out
rootLogger.appenderRef.out.ref = out
"""
