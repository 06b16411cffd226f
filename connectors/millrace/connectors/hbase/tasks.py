"""Work over the keys of a version in Spark tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.connectors.hbase import service
from millrace.connectors.hbase.columns import encode_keys
from millrace.connectors.hbase.endpoint import Endpoint
from millrace.connectors.hbase.layout import Manifest
from millrace.connectors.hbase.link import Link

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_PER_CALL = 1000


class KeyCount:
    """Counts which of the keys in a batch have a row. See `base.BatchTask`."""

    def __init__(self, endpoint: Endpoint, manifest: Manifest, doing: str) -> None:
        self._endpoint, self._manifest, self._doing = endpoint, manifest, doing
        self._link: Link | None = None

    def open(self) -> None:
        self._link = Link(self._endpoint)

    def run(self, batch: pa.RecordBatch) -> int:
        assert self._link is not None, "open() comes first"
        encoded = encode_keys(self._manifest.row_key, self._manifest.types, batch)
        keys = [key for row, key in enumerate(encoded.values.to_pylist()) if key and row not in encoded.refused]
        calls = (
            service.get_rows(self._manifest.table, keys[start : start + _ROWS_PER_CALL])
            for start in range(0, len(keys), _ROWS_PER_CALL)
        )
        return sum(self._link.counts(self._doing, calls))

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
