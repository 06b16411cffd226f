"""Kafka does what every source does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from millrace.spec.types import Column
from tests.conformance.gap import Gap
from tests.conformance.source import SourceCase
from tests.conformance.source_case import JSON_GAPS, json_line, words
from tests.servers.kafka import KafkaServer

_PARTITIONS = 3


class TestKafka(SourceCase):
    connector = "kafka"
    gaps: ClassVar[Mapping[str, Gap]] = JSON_GAPS

    @classmethod
    def serve(cls) -> AbstractContextManager[KafkaServer]:
        return KafkaServer()

    def url(self, password: str = "") -> str:
        url = self.server.secure_url(password=password) if password else self.server.secure_url()
        return str(url)

    def impatient(self) -> str:
        return f"{self.url()}&timeout=3s"

    def options(self) -> Mapping[str, Any]:
        more = {"more": "int"} if getattr(self, "_wider", False) else {}
        return {"topic": self.place, "schema": {"id": "bigint", "word": "string", **more}}

    def make(self) -> None:
        self.server.new_topic(_PARTITIONS, self.place)

    def add(self, first: int, last: int) -> None:
        messages = [json_line(row).encode() for row in words(first, last)]
        for partition in range(_PARTITIONS):
            self.server.produce(self.place, messages[partition::_PARTITIONS], partition)

    def fill(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        self.make()
        self.server.produce(self.place, [json_line(row).encode() for row in rows])
        return {"topic": self.place, "schema": {c.name: str(c.type) for c in columns}}

    def spoil(self) -> str:
        self.server.produce(self.place, [b'{"id": "no number"}'], 1)
        return "partition 1, offset 2"

    def add_column(self) -> None:
        self._wider = True

    def drop_column(self) -> None:
        self.server.produce(self.place, [b'{"id": 100}'])

    def remove(self) -> None:
        self.server.delete_topic(self.place)
