"""Answers as bytes for L2, and back: MessagePack, with what it has no word for as extensions. No pickle: who can write
to the shared Redis must not be able to run anything here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from millrace.connectors.readers import Form
from millrace.serving.kv.rows import StoredRow
from millrace.serving.sql.execute import Answer
from millrace.spec.types import Column, DataType, Kind, column

_DECIMAL, _DATE, _DATETIME = 1, 2, 3
_KEYS = frozenset({Kind.STRING, Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT})


@dataclass(frozen=True)
class Codec:
    """`pack` gives None for what can't be shared; `unpack` for what is of another version than the one that answers."""

    pack: Callable[[Any], bytes | None]
    unpack: Callable[[bytes], Any]


def row_codec(form: Callable[[], Form]) -> Codec:
    """Of a KV API's `StoredRow`s; `form` gives the one that answers now."""

    def pack(found: StoredRow) -> bytes | None:
        whole = isinstance(found.stored, bytes | dict)  # a row as its store keeps it, or as its reader gave it
        return packed([found.form.version, found.stored], (f.column for f in found.form.fields)) if whole else None

    def unpack(data: bytes) -> StoredRow | None:
        version, stored = unpacked(data)
        now = form()
        return StoredRow(now, stored) if now.version == version else None

    return Codec(pack, unpack)


def _pack_answer(found: Answer) -> bytes | None:
    columns = [[c.name, str(c.type)] for c in found.columns]
    return packed([found.version, found.next, columns, found.rows], found.columns)


def _unpack_answer(data: bytes) -> Answer:
    version, following, columns, rows = unpacked(data)
    return Answer(tuple(column(name, type_) for name, type_ in columns), [*map(tuple, rows)], version, following)


#: Of a SQL API's answers.
ANSWERS = Codec(_pack_answer, _unpack_answer)


def packed(value: Any, columns: Iterable[Column]) -> bytes | None:
    """The bytes of an answer with these columns; None for types and numbers that have no lossless form here."""
    import ormsgpack

    if not all(_has_a_form(c.type) for c in columns):
        return None

    def extension(found: Any) -> Any:
        match found:
            case Decimal():
                return ormsgpack.Ext(_DECIMAL, str(found).encode())
            case datetime():
                return ormsgpack.Ext(_DATETIME, found.isoformat().encode())
            case date():
                return ormsgpack.Ext(_DATE, found.isoformat().encode())
            case _:
                raise TypeError(f"no form for {type(found).__name__}")

    options = ormsgpack.OPT_NON_STR_KEYS | ormsgpack.OPT_PASSTHROUGH_DATETIME
    try:
        data: bytes = ormsgpack.packb(value, default=extension, option=options)
    except TypeError:  # an integer of more than 64 bits, or a value of a store that no column type stands for
        return None
    return data


def unpacked(data: bytes) -> Any:
    """The inverse of `packed`. Raises ValueError for other bytes."""
    import ormsgpack

    def value(tag: int, content: bytes) -> Any:
        text = content.decode()
        match tag:
            case 1:
                return Decimal(text)
            case 2:
                return date.fromisoformat(text)
            case 3:
                return datetime.fromisoformat(text)
            case _:
                raise ValueError(f"unknown extension {tag}")

    return ormsgpack.unpackb(data, ext_hook=value, option=ormsgpack.OPT_NON_STR_KEYS)


def _has_a_form(type_: DataType) -> bool:
    if type_.kind is Kind.MAP and type_.fields[0].type.kind not in _KEYS:
        return False
    return all(_has_a_form(member.type) for member in type_.fields)
