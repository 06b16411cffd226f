"""KV answers in each format. What is stored in the format that is asked for goes out as it is.

| format | one row | many rows |
|---|---|---|
| JSON | the row's object | `{"version": …, "rows": [{…}, null]}` |
| Protobuf | the asset's message | `millrace.v1.Rows`: version, values, indexes of missing keys |
| MessagePack | the row's map | as JSON |
| Arrow | an IPC stream of one row | of the rows that there are; `missing` in the schema's metadata |

Many rows that are stale, or defaults, say so in `origin`, which others don't have; for a single row a header does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from millrace.connectors.base import Field
from millrace.connectors.readers import Form
from millrace.connectors.wire.speedups import rows_message
from millrace.connectors.wire.varint import varint
from millrace.serving.formats.accept import Format
from millrace.serving.formats.values import json_plain, msgpack_plain
from millrace.serving.kv.rows import StoredRow, StoredRows


def encode_row(found: StoredRow, wanted: Format) -> bytes:
    """A row that there is."""
    form, stored = found.form, found.stored
    if form.encoding == wanted:
        raw: bytes = stored
        return raw
    return _writer(form, wanted)(stored)


def encode_rows(found: StoredRows, wanted: Format, mark: str = "") -> bytes:
    """Rows in the order of their keys; how a missing one is told depends on the format. `mark`: see `Origin.mark`."""
    form = found.form
    if wanted is Format.ARROW:
        return _arrow_stream(form, found.stored, mark)
    write = row_writer(form, wanted)
    values = found.stored if write is None else [s if s is None else write(s) for s in found.stored]
    if wanted is Format.PROTOBUF:
        return protobuf_rows(form.version, values, mark)
    if wanted is Format.JSON:
        rows = b",".join([b"null" if value is None else value for value in values])
        marked = b',"origin":"%b"' % mark.encode() if mark else b""
        return b'{"version":%b,"rows":[%b]%b}' % (json.dumps(form.version).encode(), rows, marked)
    return _msgpack_map(form.version, values, mark)


def row_writer(form: Form, wanted: Format) -> Callable[[Any], bytes] | None:
    """From what is stored to one row's bytes; None when those are the same."""
    return None if form.encoding == wanted else _writer(form, wanted)


def protobuf_rows(version: str, values: Sequence[bytes | None], mark: str = "") -> bytes:
    """A `millrace.v1.Rows`: version 1, values 2, missing 3, origin 4."""
    whole = rows_message(_front(version), values)
    return whole + b"\x22" + varint(len(mark)) + mark.encode() if mark else whole


@lru_cache(maxsize=256)
def _front(version: str) -> bytes:
    return b"\x0a" + varint(len(version.encode())) + version.encode()


@lru_cache(maxsize=256)
def _writer(form: Form, wanted: Format) -> Callable[[Any], bytes]:
    """From what is stored to one row's bytes in another format."""
    decode = form.decode
    match wanted:
        case Format.JSON:
            import orjson

            plain = json_plain(form.fields)
            return lambda stored: orjson.dumps(plain(decode(stored)))
        case Format.MSGPACK:
            import ormsgpack

            packed = msgpack_plain(form.fields)
            option = ormsgpack.OPT_NON_STR_KEYS
            return lambda stored: ormsgpack.packb(packed(decode(stored)), option=option)
        case Format.PROTOBUF:
            return _protobuf_writer(form)
        case _:
            return lambda stored: _arrow_stream(form, [stored])


def _protobuf_writer(form: Form) -> Callable[[Any], bytes]:
    """By column, as loaders write: for stores that hold no Protobuf."""
    import pyarrow as pa

    from millrace.connectors.wire.protobuf import encode

    schema = arrow_schema(form.fields)

    def write(stored: Any) -> bytes:
        batch = pa.RecordBatch.from_pylist([dict(form.decode(stored))], schema=schema)
        value: bytes = encode(batch, form.fields).values[0].as_py()
        return value

    return write


def _msgpack_map(version: str, values: Sequence[bytes | None], mark: str) -> bytes:
    """`{"version": …, "rows": […]}` around rows that are packed already; array 32 (0xdd) for any number of them."""
    import ormsgpack

    head = b"\x82" + ormsgpack.packb("version") + ormsgpack.packb(version) + ormsgpack.packb("rows")
    size = b"\xdd" + len(values).to_bytes(4, "big")
    whole = head + size + b"".join([b"\xc0" if value is None else value for value in values])
    return b"\x83" + whole[1:] + ormsgpack.packb("origin") + ormsgpack.packb(mark) if mark else whole


def arrow_schema(fields: Sequence[Field]) -> Any:
    """The Arrow schema of an asset's rows."""
    from millrace.connectors.wire.arrow_types import schema_of

    return schema_of(field.column for field in fields)


def _arrow_stream(form: Form, stored: Sequence[Any], mark: str = "") -> bytes:
    import pyarrow as pa

    missing = [index for index, one in enumerate(stored) if one is None]
    about = {"version": form.version, "missing": json.dumps(missing)} | ({"origin": mark} if mark else {})
    schema = arrow_schema(form.fields).with_metadata(about)
    rows = [dict(form.decode(one)) for one in stored if one is not None]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
    return sink.getvalue().to_pybytes()
