"""Lookups by interval: the table, against a loop over all rows; the API, over real Redis and sockets."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.serving import connect
from millrace.serving.keys.intervals import IntervalTable, schema_of, write_table
from millrace.serving.refusals import Refused
from millrace.spec.settings import Settings
from millrace.spec.types import Column, parse_type
from tests.serving.http.running import serving
from tests.serving.publishing import Publisher
from tests.serving.waiting import until

_ENDS: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-20, 20),
    "bigint": st.integers(-20, 20) | st.sampled_from([-(1 << 63), (1 << 63) - 1]),
    "decimal(20,0)": st.integers(-20, 20).map(Decimal),
    "string": st.text("abc", max_size=3),
}
PLACES = [
    {"ip_from": 0x01000000, "ip_to": 0x010000FF, "place": "brisbane"},
    {"ip_from": 0x01000100, "ip_to": 0x01000FFF, "place": "fuzhou"},
    {"ip_from": 0x02000000, "ip_to": 0x02FFFFFF, "place": "paris"},
    {"ip_from": 0x02000A00, "ip_to": 0x02000AFF, "place": "lyon"},
]


def table_of(folder: Path, type_: str, rows: list[dict[str, Any]]) -> IntervalTable:
    columns = [Column("low", parse_type(type_)), Column("high", parse_type(type_)), Column("name", parse_type("int"))]
    file = folder / "t.arrow"
    write_table(pa.Table.from_pylist(rows, schema=schema_of(columns)), "low", "high", file)
    return IntervalTable(file, "v1", columns, "low", "high")


@settings(max_examples=200, deadline=None)
@given(data=st.data(), type_=st.sampled_from(list(_ENDS)))
def test_the_interval_that_holds_a_key_and_begins_last_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, type_: str
) -> None:
    ends = _ENDS[type_]
    pairs = data.draw(st.lists(st.tuples(ends | st.none(), ends | st.none()), max_size=12))
    rows = [{"low": low, "high": high, "name": name} for name, (low, high) in enumerate(pairs)]
    table = table_of(tmp_path_factory.getbasetemp(), type_, rows)
    for key in data.draw(st.lists(ends, min_size=1, max_size=8)):
        holding = [r for r in rows if None not in (r["low"], r["high"]) and r["low"] <= key <= r["high"]]
        found = table.find(key)
        assert (found is None) == (not holding)
        if found is not None:
            assert found in holding
            assert found["low"] == max(row["low"] for row in holding)


def test_keys_beyond_the_type_of_the_ends_are_held_by_none(tmp_path: Path) -> None:
    table = table_of(tmp_path, "int", [{"low": 1, "high": (1 << 31) - 1, "name": 1}])
    assert table.find(1 << 40) is None
    assert table.find(-(1 << 40)) is None
    assert len(table) == 1


def test_an_address_is_answered_with_its_place(settings: Settings, publisher: Publisher) -> None:
    publisher.apis = [{"kv": {"name": "places", "range": {"start": "ip_from", "end": "ip_to"}}}]
    publisher.key = "{ip_from}"
    publisher.publish(PLACES)
    with serving(settings) as running, running.client() as client:
        assert client.get("/v1/kv/places/1.0.1.9").json()["place"] == "fuzhou"
        assert client.get(f"/v1/kv/places/{0x02000A07}").json()["place"] == "lyon"
        assert client.get("/v1/kv/places/2.0.11.0").json()["place"] == "paris"
        assert client.get("/v1/kv/places/3.0.0.0").status_code == 404
        assert client.get("/v1/kv/places/1.0.0.999").status_code == 400
        assert client.get("/v1/kv/places/x").status_code == 400
        many = client.post("/v1/kv/places:mget", json={"keys": ["1.0.0.1", 5]}).json()
        assert [row and row["place"] for row in many["rows"]] == ["brisbane", None]
        publisher.publish([{"ip_from": 0, "ip_to": 9, "place": "nowhere"}])
        until(lambda: client.get("/v1/kv/places/5").status_code == 200)
        assert client.get("/v1/kv/places/1.0.1.9").status_code == 404
        for library in (connect(settings), connect(running.url)):
            with library:
                places = library.kv("places")
                row = places.get(5)
                assert row is not None
                assert (row["place"], places.exists(5), places.exists(77)) == ("nowhere", True, False)
                assert [found and found["place"] for found in places.multi_get([77, 9])] == [None, "nowhere"]
    assert len(list((settings.home / "intervals").glob("*.arrow"))) == 1


def test_scans_are_refused_where_keys_have_no_order(settings: Settings, publisher: Publisher) -> None:
    publisher.publish([{"id": 1}])
    with serving(settings) as running, running.client() as client:
        assert client.get("/v1/kv/user_profile:scan?prefix=1").status_code == 400
        for library in (connect(settings), connect(running.url)):
            with library, pytest.raises(Refused, match="gives no scans"):
                library.kv("user_profile").scan(1)
