"""What runs in C gives what its twin in Python gives, whatever it is given."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hatch_build import SOURCE, CustomBuildHook, compile_module, module_name
from millrace.connectors.base import Field
from millrace.connectors.wire import protobuf, speedups
from millrace.connectors.wire.values import UnreadableValue
from millrace.spec.types import parse_type
from tests.connectors.wire.cases import Table, batch_of, cells_of, fields_of, same, tables
from tests.test_style import ROOT

SCALARS = {
    "boolean": "boolean", "tiny": "tinyint", "whole": "int", "big": "bigint", "single": "float", "double": "double",
    "exact": "decimal(10,2)", "text": "string", "raw": "binary", "day": "date", "at": "timestamp",
    "clock": "timestamp_ntz",
}  # fmt: skip


@pytest.fixture(scope="module")
def in_c(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The module, compiled from this tree without a warning."""
    given = os.environ.get("MILLRACE_TEST_SPEEDUPS")  # compiled in another way, e.g. with a sanitizer
    path = Path(given) if given else tmp_path_factory.mktemp("speedups") / module_name()
    if not given:
        assert compile_module(ROOT / SOURCE, path, "-Wall", "-Wextra", "-Werror") == ""
    spec = importlib.util.spec_from_file_location("_speedups", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LISTS = st.one_of(
    st.lists(st.integers(-2, 10**10), max_size=30).map(str),
    st.lists(st.integers(0, 10**9 - 1), min_size=1, max_size=30).map(lambda numbers: ",".join(map(str, numbers))),
    st.text("0123456789, \t\r\n-.e+]\"'x\x0b\x00", max_size=40),
).map(str.encode)


@given(text=LISTS, before=st.binary(max_size=60), after=st.sampled_from([b"", b",", b":x"]))
@settings(max_examples=500)
def test_number_keys(in_c: Any, text: bytes, before: bytes, after: bytes) -> None:
    for one in (text, text.strip(b"[]")):
        assert in_c.number_keys(one, before, after) == speedups.number_keys_in_python(one, before, after)


@given(keys=st.lists(st.binary(max_size=200), max_size=120))
def test_mget_command(in_c: Any, keys: list[bytes]) -> None:
    expected = b"*%d\r\n$4\r\nMGET\r\n" % (len(keys) + 1) + b"".join(b"$%d\r\n%b\r\n" % (len(k), k) for k in keys)
    assert in_c.mget_command(keys) == in_c.mget_command(tuple(keys)) == expected
    assert speedups.mget_command_in_python(keys) == expected


@given(front=st.binary(max_size=40), values=st.lists(st.one_of(st.none(), st.binary(max_size=300)), max_size=300))
def test_rows_message(in_c: Any, front: bytes, values: list[bytes | None]) -> None:
    assert in_c.rows_message(front, values) == speedups.rows_message_in_python(front, values)


def test_rows_message_of_many_and_of_large_values(in_c: Any) -> None:
    for values in ([None] * 20_000, [b"x" * 70_000, None, b"", b"y" * 127, b"z" * 128] * 30):
        assert in_c.rows_message(b"", values) == speedups.rows_message_in_python(b"", values)
    assert in_c.rows_message(b"", [b"x", bytearray(b"y")]) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.number_keys(b"1", b"a"),
        lambda c: c.number_keys("1", b"a", b"b"),
        lambda c: c.mget_command([b"a", "b"]),
        lambda c: c.mget_command(1),
        lambda c: c.rows_message("a", []),
        lambda c: c.rows_message(b"a", None),
        lambda c: c.RowReader([]),
        lambda c: c.RowReader((1,)),
        lambda c: c.RowReader((("a", 1, "i"),)),
        lambda c: c.RowReader(columns=()),
        lambda c: c.RowReader(())(),
        lambda c: c.RowReader(())(data=b""),
    ],
)
def test_what_is_of_no_use_is_a_type_error(in_c: Any, call: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError):
        call(in_c)


@pytest.mark.parametrize(
    "column", [("a", 0, "i", None), ("a", 2048, "i", None), ("a", 1, "?", None), ("a", 1, "", None)]
)
def test_a_reader_of_columns_that_it_doesn_t_know_can_t_be_made(in_c: Any, column: Any) -> None:
    with pytest.raises(ValueError, match="there is no column"):
        in_c.RowReader((column,))
    with pytest.raises(ValueError, match="at most 256"):
        in_c.RowReader((("a", 1, "i", None),) * 257)


def decoders(in_c: Any, fields: Sequence[Field]) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """By the C module where it can, and without it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speedups, "_C", in_c)
        quick = protobuf.decoder(fields)
        patch.setattr(speedups, "_C", None)
        return quick, protobuf.decoder(fields)


@given(table=tables(inner_nulls=False, shapes=False))
@settings(max_examples=150)
def test_rows_are_the_same(in_c: Any, table: Table) -> None:
    quick, plain = decoders(in_c, table.fields)
    for data in cells_of(protobuf.encode(table.batch, table.fields).values):
        assert same(quick(data), plain(data))


FIELDS = fields_of({name: parse_type(text) for name, text in SCALARS.items()})
_ROW: dict[str, Any] = dict.fromkeys(SCALARS) | {
    "boolean": False, "tiny": -1, "big": -(1 << 63), "single": 0.5, "double": -0.0, "text": "é", "raw": b"\xff\x00",
}  # fmt: skip
MESSAGE: bytes = cells_of(protobuf.encode(batch_of(FIELDS, [_ROW]), FIELDS).values)[0]


def outcome(decode: Callable[[Any], Any], data: bytes) -> Any:
    try:
        return repr(decode(data))
    except UnreadableValue:
        return UnreadableValue


@given(st.data())
@settings(max_examples=1000)
def test_bytes_that_were_changed_are_read_alike(in_c: Any, data: st.DataObject) -> None:
    """Cut off, with bits flipped, put together from pieces: what one takes for a row, the other does, too."""
    quick, plain = decoders(in_c, FIELDS)
    message = bytearray(data.draw(st.one_of(st.just(MESSAGE * 2), st.binary(max_size=60))))
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(message)))
        message[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    changed = bytes(message[: data.draw(st.integers(0, len(message)))])
    assert outcome(quick, changed) == outcome(plain, changed)


def test_it_can_be_switched_off() -> None:
    script = "from millrace.connectors.wire.speedups import LANGUAGE; print(LANGUAGE)"
    off = {**os.environ, speedups.VARIABLE: "off"}
    done = subprocess.run([sys.executable, "-c", script], env=off, check=True, capture_output=True, text=True)
    assert done.stdout == "Python\n"


class _App:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def display_warning(self, text: str) -> None:
        self.warnings.append(text)


def built(tmp_path: Path) -> tuple[dict[str, Any], list[str]]:
    """What a build of a wheel adds, and what it says."""
    app: Any = _App()
    hook = CustomBuildHook(str(ROOT), {}, None, None, str(tmp_path), "wheel", app)  # type: ignore[arg-type]  # unused
    data: dict[str, Any] = {"force_include": {}}
    hook.initialize("standard", data)
    hook.finalize("standard", data, "")
    return data, app.warnings


def test_a_wheel_has_it_where_it_can_be_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(speedups.VARIABLE, raising=False)
    data, _ = built(tmp_path)
    assert [*data["force_include"].values()] == [f"millrace/connectors/wire/{module_name()}"]
    assert (data["pure_python"], data["infer_tag"]) == (False, True)

    monkeypatch.setenv("CC", str(tmp_path / "no-compiler"))
    data, warnings = built(tmp_path)
    assert data == {"force_include": {}}
    assert "there is no C compiler" in warnings[0]
    monkeypatch.setenv(speedups.VARIABLE, "required")
    with pytest.raises(RuntimeError, match="there is no C compiler"):
        built(tmp_path)
    monkeypatch.setenv(speedups.VARIABLE, "off")
    assert built(tmp_path) == ({"force_include": {}}, [])
