"""Messages made by Google's own tools from a generated `.proto` file, row by row: what ours are compared with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_tools import protoc

from millrace.connectors.wire.protobuf_schema import Member, Message, Shape
from millrace.spec.types import DataType, Kind

_MICROSECOND = timedelta(microseconds=1)


def compiled(proto: str) -> FileDescriptorProto:
    """The descriptor that protoc makes of a file's text."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "row.proto").write_text(proto, encoding="utf-8")
        output = Path(folder) / "set"
        assert protoc.main(["protoc", f"-I{folder}", f"--descriptor_set_out={output}", "row.proto"]) == 0, proto
        return FileDescriptorSet.FromString(output.read_bytes()).file[0]


def message_class(file: FileDescriptorProto) -> Callable[[], Any]:
    pool = DescriptorPool()
    pool.Add(file)
    name = f"{file.package}.{file.message_type[0].name}"
    found: Callable[[], Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    return found


def fill(target: Any, message: Message, row: Mapping[str, Any]) -> None:
    """Set a message's fields from Python values by column name, null left out."""
    for member in message.members:
        value = row[member.column.name]
        if value is not None:
            _set(target, member, value)
            if member.shape is not Shape.SINGLE and not value and message.empties is not None:
                getattr(target, message.empties).append(member.number)


def _set(target: Any, member: Member, value: Any) -> None:
    if member.shape is Shape.SINGLE:
        if member.message is None:
            setattr(target, member.name, _scalar(member.item, value))
        else:
            getattr(target, member.name).SetInParent()
            fill(getattr(target, member.name), member.message, value)
        return
    items = getattr(target, member.name)
    if member.shape is Shape.MAP:
        for key, item in value.items():
            if member.message is None:
                items[_scalar(member.key, key)] = _scalar(member.item, item)
            else:
                items[_scalar(member.key, key)].SetInParent()
                _fill_item(items[_scalar(member.key, key)], member, item)
        return
    pairs = member.shape is Shape.PAIRS
    for item in ({"key": k, "value": v} for k, v in value.items()) if pairs else value:
        if member.message is None:
            items.append(_scalar(member.item, item))
        else:
            _fill_item(items.add(), member, item)


def _fill_item(target: Any, member: Member, item: Any) -> None:
    assert member.message is not None
    bare = member.item.kind is Kind.STRUCT or member.shape is Shape.PAIRS
    fill(target, member.message, item if bare else {"items": item})


def _scalar(type_: DataType, value: Any) -> Any:
    match type_.kind:
        case Kind.DECIMAL:
            return f"{value:f}" if value else f"{abs(value):f}"
        case Kind.DATE:
            return (value - date(1970, 1, 1)).days
        case Kind.TIMESTAMP:
            return (value - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND
        case Kind.TIMESTAMP_NTZ:
            return (value - datetime(1970, 1, 1)) // _MICROSECOND
        case _:
            return value
