"""Log files do what every source does."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from millrace.connectors.log import splits
from millrace.spec.types import Column
from tests.conformance.folders import NO_SERVER, Files, folder
from tests.conformance.gap import Gap
from tests.conformance.source import SourceCase
from tests.conformance.source_case import JSON_GAPS, json_line, words


class TestLog(Files, SourceCase):
    connector = "log"
    gaps: ClassVar[Mapping[str, Gap]] = {**NO_SERVER, **JSON_GAPS}

    @pytest.fixture(autouse=True)
    def _small_splits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(splits, "_LEAST_BYTES", 1 << 14)

    @classmethod
    def serve(cls) -> AbstractContextManager[Path]:
        return folder()

    def options(self) -> Mapping[str, Any]:
        more = {"more": "int"} if getattr(self, "_wider", False) else {}
        fields = {"id": "bigint", "word": "string", **more}
        return {"path": f"{self.server / self.place}/*.json", "format": "json", "fields": fields}

    def make(self) -> None:
        (self.server / self.place).mkdir()
        self._write("empty.json", [])

    def add(self, first: int, last: int) -> None:
        self._write(f"from-{first}.json", [json_line(row) for row in words(first, last)])

    def fill(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        (self.server / self.place).mkdir()
        self._write("typed.json", [json_line(row) for row in rows])
        fields = {c.name: str(c.type) for c in columns}
        return {"path": f"{self.server / self.place}/*.json", "format": "json", "fields": fields}

    def spoil(self) -> str:
        self._write("spoilt.json", ['{"id": "no number"}'])
        return f"{self.place}/spoilt.json"

    def add_column(self) -> None:
        self._wider = True

    def drop_column(self) -> None:
        self._write("without.json", ['{"id": 100}'])

    def remove(self) -> None:
        shutil.rmtree(self.server / self.place)

    def _write(self, name: str, lines: Sequence[str]) -> None:
        (self.server / self.place / name).write_text("".join(f"{line}\n" for line in lines))
