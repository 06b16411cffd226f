"""Column types that mean the same in SQLite, MySQL, MariaDB and PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Dialect, Integer, LargeBinary, String, Text
from sqlalchemy.dialects.mysql import LONGBLOB, LONGTEXT
from sqlalchemy.types import TypeDecorator, TypeEngine

from millrace.catalog import json_text
from millrace.catalog.clock import from_epoch_us, to_epoch_us

NAME_LENGTH = 200
KEY_LENGTH = 250

LONG_TEXT: TypeEngine[str] = Text().with_variant(LONGTEXT(), "mysql", "mariadb")
#: Ids are compared by byte everywhere, because they sort by time.
ID: TypeEngine[str] = String(16).with_variant(String(16, collation="C"), "postgresql")
NAME: TypeEngine[str] = String(NAME_LENGTH)
SERIAL: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
RAW: TypeEngine[bytes] = LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb")


class UtcTime(TypeDecorator[datetime]):
    """An instant, kept as microseconds since 1970: no database changes its zone or its precision."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> int | None:
        return None if value is None else to_epoch_us(value)

    def process_result_value(self, value: int | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else from_epoch_us(value)


class Json(TypeDecorator[Any]):
    """JSON as text; see `json_text`. None is SQL's NULL."""

    impl = LONG_TEXT
    cache_ok = True

    def process_bind_param(self, value: Any, _dialect: Dialect) -> str | None:
        return None if value is None else json_text.dumps(value)

    def process_result_value(self, value: str | None, _dialect: Dialect) -> Any:
        return None if value is None else json_text.loads(value)


class FreeText(TypeDecorator[str]):
    """Text of any origin. What PostgreSQL or UTF-8 can't hold (NUL, lone surrogates) is written as an escape."""

    impl = LONG_TEXT
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


def storable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
