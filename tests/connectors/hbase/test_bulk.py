"""Loads by files, on a real HBase and through the JVM of a real Spark session."""

from __future__ import annotations

import pyarrow as pa
import pytest

from millrace.connectors.hbase.bulk import BulkLoader
from millrace.connectors.hbase.java import Java
from millrace.connectors.hbase.service import Region
from millrace.errors import TargetError
from millrace.spec.types import column
from tests.connectors.hbase.stores import Store
from tests.connectors.hbase.test_target import typed_rows
from tests.connectors.loads import people
from tests.connectors.wire.cases import record_batch
from tests.servers.hbase import HBase

pytestmark = pytest.mark.usefixtures("spark")


def test_files_are_taken_over_and_every_key_is_found_by_the_bloom_filter(hbase: HBase) -> None:
    store = Store(hbase, bulk=True, load="bulk", salt_buckets=4, row_key="{id}", key_form="plain")
    keys = [f"{'é' * (n % 7)}{n}" for n in range(3000)]
    notes = [None if n % 3 else f"note {n}" for n in range(3000)]
    batch = record_batch({"id": keys, "note": pa.array(notes, pa.string())})
    of = store.publish("v1", batch)
    table = f"{store.asset}_v1"
    regions = store.target._link.regions("", table)
    assert len(regions) == 4
    java = Java(store.target._endpoint, "counting")
    assert java.count(table, regions) == store.target._link.count("", table) == store.target.count(of) == 3000
    assert java.count(table, [Region(b"", b"")]) is None
    assert store.get(*keys) == batch.to_pylist()
    assert store.get("none") == [None]
    store.target.seal(of)
    assert list(hbase.staging.iterdir()) == []


@pytest.mark.parametrize("cells", ["text", "typed"])
def test_rows_of_every_type_come_back_from_files(hbase: HBase, cells: str) -> None:
    names = typed_rows().schema.names
    families = {"a": names[:1], "b": names[1:4], "c": names[4:]}
    store = Store(hbase, bulk=True, load="bulk", family=None, families=families, cells=cells)
    store.publish("v1", typed_rows())
    assert store.get(1, 2, 3) == typed_rows().to_pylist()


def test_a_load_by_files_that_is_tried_again_starts_anew(hbase: HBase) -> None:
    store = Store(hbase, bulk=True, load="bulk", key_form="hash", regions=3)
    of = store.version("v1", people(1))
    store.target.prepare(of)
    loader = store.target.loader(of)
    assert isinstance(loader, BulkLoader)
    loader.open()
    loader.load(people(500, "killed before its files were taken over"))
    loader.finish()
    loader.close()
    batch = people(200, "whole").set_column(0, "id", pa.array([None, *range(1, 200)], pa.int64()))
    loaded = store.load(of, batch)
    assert (loaded.rows, [row.reason for row in loaded.dirty]) == (199, ["id: the key can't be made from a null"])
    assert store.target.count(of) == 199
    store.target.drop(of)
    assert not any(store.asset in folder.name for folder in hbase.staging.iterdir())


def test_few_rows_go_by_thrift_when_the_path_is_left_open(hbase: HBase) -> None:
    store = Store(hbase, bulk=True)
    store.publish("v1", people(20, "few"))
    assert store.get(19)[0]["note"] == "few"


def test_what_needs_the_java_client_says_so(hbase: HBase) -> None:
    for options in ({"load": "bulk"}, {"regions": 4, "key_form": "hash"}):
        store = Store(hbase, **options)
        with pytest.raises(TargetError, match="needs HBase's Java client"):
            store.target.check([column("id", "int")])
