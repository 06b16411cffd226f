"""MySQL does what every source does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC
from typing import Any, ClassVar
from urllib.parse import quote

from millrace.spec.types import Column
from tests.conformance.gap import Gap, never, unread
from tests.conformance.source import SourceCase
from tests.conformance.source_case import word_of
from tests.conformance.values import NESTED, UNUSUAL, named
from tests.servers.mariadb import MariaDb

_TYPES = {
    "boolean": "BIT(1)", "tinyint": "TINYINT", "smallint": "SMALLINT", "int": "INT", "bigint": "BIGINT",
    "float": "FLOAT", "double": "DOUBLE", "decimal(38,10)": "DECIMAL(38,10)", "decimal(20,0)": "BIGINT UNSIGNED",
    "string": "TEXT", "binary": "BLOB", "date": "DATE", "timestamp": "TIMESTAMP(6)", "timestamp_ntz": "DATETIME(6)",
}  # fmt: skip
_TYPED = never("MySQL's columns are typed: no row of theirs can't be read")


class TestMySQL(SourceCase):
    connector = "mysql"
    many = 150_000  # by its statistics, which are guesses, worth three splits in any case
    gaps: ClassVar[Mapping[str, Gap]] = {
        "test_a_row_that_can_not_be_read_is_set_aside_with_its_place": _TYPED,
        "test_a_limit_of_dirty_rows_stops_the_reading": _TYPED,
        **unread(never("MySQL has no arrays, maps and structs: they stand there as JSON text"), *named(*NESTED)),
        **unread(never("MySQL's floating point numbers are finite"), *named("float", "double", what=UNUSUAL)),
        **unread(never("MariaDB keeps minus zero as zero"), *named("float", "double", what=("minus zero",))),
        **unread(
            never("MySQL's TIMESTAMP holds the years 1970 to 2038; its DATETIME, which has no zone, the others"),
            *named("timestamp", but=("of another zone", "leap day", "null")),
        ),
    }

    @classmethod
    def serve(cls) -> AbstractContextManager[MariaDb]:
        return MariaDb()

    def url(self, password: str = "") -> str:
        if self.server.running:
            self.server.execute("CREATE DATABASE IF NOT EXISTS conformance")
        url = str(self.server.url("conformance"))
        return url.replace(quote(self.server.password, safe=""), password) if password else url

    def options(self) -> Mapping[str, Any]:
        return {"table": self.place, "split_by": "id"}

    def make(self) -> None:
        self._execute(f"CREATE TABLE {self.place} (id BIGINT PRIMARY KEY, word VARCHAR(40))")

    def add(self, first: int, last: int) -> None:
        before, after = word_of(1).split("1")
        numbers = f"seq_{first}_to_{last}" if last >= first else "(SELECT 1 AS seq) AS none WHERE FALSE"
        self._execute(
            f"INSERT INTO {self.place} (id, word) SELECT seq, CONCAT('{before}', seq, '{after}') FROM {numbers}"
        )
        self._execute(f"ANALYZE TABLE {self.place}")

    def fill(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        kinds = ", ".join(f"{c.name} {_TYPES[str(c.type)]} NULL" for c in columns)
        self._execute(f"CREATE TABLE {self.place} ({kinds})")
        marks = ", ".join("%s" for _ in columns)
        with self.server.connect("conformance") as connection, connection.cursor() as cursor:
            for row in rows:
                values = [_without_zone(row[c.name]) for c in columns]
                cursor.execute(f"INSERT INTO {self.place} VALUES ({marks})", values)
        return {"table": self.place}

    def add_column(self) -> None:
        self._execute(f"ALTER TABLE {self.place} ADD COLUMN more INT DEFAULT 7")

    def drop_column(self) -> None:
        self._execute(f"ALTER TABLE {self.place} DROP COLUMN word")

    def change_type(self) -> None:
        self._execute(f"ALTER TABLE {self.place} MODIFY word TEXT")

    def remove(self) -> None:
        self._execute(f"DROP TABLE {self.place}")

    def _execute(self, sql: str) -> None:
        self.url()
        self.server.execute(sql, database="conformance")


def _without_zone(value: Any) -> Any:
    return value.astimezone(UTC).replace(tzinfo=None) if getattr(value, "tzinfo", None) else value
