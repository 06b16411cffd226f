"""What stands in a shared cache: values and back, compressed and back, against a dictionary and back."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.connectors.wire.values import UnreadableValue
from millrace.serving.caches.packing import SAMPLES, Packer, UnknownDictionary, train
from millrace.serving.caches.values import ANSWERS, packed, unpacked
from millrace.serving.sql.execute import Answer
from millrace.spec.shape.apis import CacheCompression
from millrace.spec.types import column

VALUES: dict[str, Any] = {
    "boolean": st.booleans(),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(allow_nan=False),
    "decimal(38,10)": st.decimals(allow_nan=False, allow_infinity=False),
    "string": st.text(),
    "binary": st.binary(),
    "date": st.dates(),
    "timestamp": st.datetimes(timezones=st.just(UTC)),
    "timestamp_ntz": st.datetimes(),
    "array<string>": st.lists(st.text()),
    "map<bigint,date>": st.dictionaries(st.integers(0, 9), st.dates()),
    "struct<a:int,b:decimal(9,2)>": st.fixed_dictionaries({"a": st.integers(0, 9), "b": st.just(Decimal("1.50"))}),
}
COLUMNS = tuple(column(f"c{place}", type_) for place, type_ in enumerate(VALUES))


@given(rows=st.lists(st.tuples(*(st.none() | values for values in VALUES.values())), max_size=5), cursor=st.text())
def test_an_answer_comes_back_as_it_was(rows: list[tuple[Any, ...]], cursor: str) -> None:
    found = Answer(COLUMNS, rows, "v1", cursor or None)
    data = ANSWERS.pack(found)
    assert data is not None
    assert ANSWERS.unpack(data) == found


@pytest.mark.parametrize(
    ("value", "type_"),
    [({date(2026, 1, 1): 1}, "map<date,int>"), (2**70, "bigint"), ({Decimal(1): 1}, "map<decimal(9,2),int>")],
)
def test_what_would_not_come_back_as_it_was_is_not_shared(value: Any, type_: str) -> None:
    assert packed([[value]], [column("c", type_)]) is None


def test_bytes_that_are_no_answer_are_a_value_error() -> None:
    for data in (b"", b"\xc1", packed({"x": 1}, []) or b"", b"\xc7\x01\x7fa"):
        with pytest.raises(ValueError):  # noqa: PT011  # whatever it says, the cache takes it for a miss
            ANSWERS.unpack(data)
    assert unpacked(packed([date(2026, 1, 2)], []) or b"") == [date(2026, 1, 2)]


def answers(count: int) -> list[bytes]:
    """Small answers that are much alike."""
    rows = [
        [number, f"person number {number}", "springfield", "gold member", datetime(2026, 1, 1, tzinfo=UTC)]
        for number in range(count)
    ]
    return [packed(["1qtqq5za56", row], []) or b"" for row in rows]


@pytest.mark.parametrize("compression", list(CacheCompression))
def test_compression_is_undone_and_its_saving_known(compression: CacheCompression) -> None:
    packer = Packer(compression, 64)
    large, small = b"a few words " * 200, b"few"
    for content in (large, small):
        assert packer.unpack(packer.pack(content, 12345)) == (content, 12345)
    saving = packer.saving
    assert (saving.answers, saving.plain_bytes) == (2, len(large) + len(small))
    if compression is CacheCompression.NONE:
        assert saving.kept_bytes == saving.plain_bytes
    else:
        assert saving.kept_bytes < saving.plain_bytes / 4


def test_a_dictionary_makes_small_answers_smaller() -> None:
    alone, trained = Packer(CacheCompression.ZSTD, 16), Packer(CacheCompression.ZSTD_DICTIONARY, 16)
    for content in answers(SAMPLES + 200):
        trained.pack(content, 1)
    assert trained.wants_training()
    found = train(trained.take_samples())
    assert found is not None
    trained.use(*found, current=True)
    content = answers(SAMPLES + 500)[-1]
    kept = trained.pack(content, 1)
    assert len(kept) < 0.6 * len(alone.pack(content, 1))
    assert trained.unpack(kept) == (content, 1)
    other = Packer(CacheCompression.ZSTD_DICTIONARY, 16)
    with pytest.raises(UnknownDictionary) as unknown:
        other.unpack(kept)
    other.use(unknown.value.number, found[1], current=False)
    assert other.unpack(kept) == (content, 1)


@given(data=st.binary(max_size=40))
def test_foreign_bytes_are_told_from_answers(data: bytes) -> None:
    with suppress(ValueError, UnknownDictionary, UnreadableValue):
        Packer(CacheCompression.ZSTD, 0).unpack(data)
