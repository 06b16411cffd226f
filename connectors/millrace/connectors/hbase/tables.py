"""What a target does with tables through Thrift: make, look at, count and remove them, and the row of pointers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from millrace.connectors.hbase import service
from millrace.connectors.hbase.endpoint import Endpoint, Refusal, store_error
from millrace.connectors.hbase.layout import (
    CURRENT,
    POINTER_FAMILY,
    Manifest,
    is_version_column,
    parse_manifest,
    pointer_table,
    version_column,
)
from millrace.connectors.hbase.link import Link
from millrace.connectors.hbase.service import Cells, Region, Scan

_COUNTING = "FirstKeyOnlyFilter() AND KeyOnlyFilter()"
_COUNT_ROWS = 10_000
_COUNTERS = 4
_READ_ROWS = 500
_POLL_S = 0.2


class Tables:
    """The tables of one HBase, by one connection; not for many calls a second."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.link = Link(endpoint)
        self._pointers = pointer_table(endpoint.namespace)

    def names(self, doing: str) -> list[str]:
        return [name.decode() for name in self.link.call(doing, service.table_names())]

    def exists(self, doing: str, table: str) -> bool:
        return table in self.names(doing)

    def create(self, doing: str, table: str, families: Sequence[str]) -> None:
        """Make a table of one region; no error when there is such a table."""
        try:
            self.link.ask(doing, service.create_table(table, families))
        except Refusal as refusal:
            if refusal.kind != "AlreadyExists" and "TableExistsException" not in refusal.text:
                raise store_error(refusal, doing, self.endpoint) from refusal

    def drop(self, doing: str, table: str) -> None:
        """Disable and remove a table; no error when there is none."""
        for call in ("disableTable", "deleteTable"):
            try:
                self.link.ask(doing, service.on_table(call, table))
            except Refusal as refusal:
                if "TableNotFoundException" in refusal.text:
                    return
                if "TableNotEnabledException" not in refusal.text:
                    raise store_error(refusal, doing, self.endpoint) from refusal

    def usable(self, doing: str, table: str) -> bool:
        """Whether the table is there and enabled."""
        if not self.exists(doing, table):
            return False
        return bool(self.link.call(doing, service.on_table("isTableEnabled", table)))

    def regions(self, doing: str, table: str) -> list[Region]:
        """The table's regions in order; waits while HBase knows none yet, as it does right after the table was made."""
        deadline = time.monotonic() + self.endpoint.timeout_s
        while True:
            found = service.regions_of(self.link.call(doing, service.on_table("getTableRegions", table)))
            if found or time.monotonic() > deadline:
                return found
            time.sleep(_POLL_S)

    def count(self, doing: str, table: str) -> int:
        """Rows of a table, region by region, some regions side by side. HBase sends keys only.

        See `Java.count`, which has them counted where they are.
        """
        regions = self.regions(doing, table) or [Region(b"", b"")]
        with ThreadPoolExecutor(min(_COUNTERS, len(regions)), "hbase-count") as pool:
            return sum(pool.map(lambda region: self._count(doing, table, region), regions))

    def rows(self, doing: str, table: str, keys: Sequence[bytes]) -> dict[bytes, Cells]:
        """The cells of the rows that there are, by key."""
        found: dict[bytes, Cells] = {}
        for start in range(0, len(keys), _READ_ROWS):
            found.update(self.link.call(doing, service.get_rows(table, keys[start : start + _READ_ROWS])))
        return found

    def manifests(self, doing: str, asset: str) -> dict[str, Manifest]:
        """Of every version of an asset that may have rows here."""
        cells = self._pointer_cells(doing, asset)
        where = f"a cell of row {asset} of table {self._pointers} in {self.endpoint}"
        found = [parse_manifest(raw, where) for column, raw in cells.items() if is_version_column(column)]
        return {manifest.version: manifest for manifest in found}

    def current(self, doing: str, asset: str) -> Manifest | None:
        """The manifest in an asset's pointer."""
        raw = self.pointer(doing, asset)
        return None if raw is None else self.parse(asset, raw)

    def pointer(self, doing: str, asset: str) -> bytes | None:
        return self._pointer_cells(doing, asset).get(CURRENT)

    def parse(self, asset: str, raw: bytes) -> Manifest:
        return parse_manifest(raw, f"the pointer of {asset} in table {self._pointers} in {self.endpoint}")

    def announce(self, doing: str, manifest: Manifest) -> None:
        """Note that a version may have rows here from now on; the table of pointers is made when there is none."""
        cells = {version_column(manifest.version): manifest.to_json()}
        try:
            self.link.ask(doing, service.mutate_row(self._pointers, manifest.asset.encode(), cells))
        except Refusal as refusal:
            if not refusal.table_is_gone:
                raise store_error(refusal, doing, self.endpoint) from refusal
            self.create(doing, self._pointers, [POINTER_FAMILY])
            self.link.call(doing, service.mutate_row(self._pointers, manifest.asset.encode(), cells))

    def swap(self, doing: str, expected: bytes | None, manifest: Manifest) -> bool:
        """Let the pointer of an asset be this one, in one atomic step; False when it isn't what was expected."""
        row = manifest.asset.encode()
        return bool(
            self.link.call(doing, service.check_and_put(self._pointers, row, CURRENT, expected, manifest.to_json()))
        )

    def withdraw(self, doing: str, asset: str, columns: Sequence[bytes]) -> None:
        """Remove cells of an asset's row of pointers; no error when they aren't there."""
        cells: Mapping[bytes, bytes | None] = dict.fromkeys(columns)
        if not cells:
            return
        try:
            self.link.ask(doing, service.mutate_row(self._pointers, asset.encode(), cells))
        except Refusal as refusal:
            if not refusal.table_is_gone:
                raise store_error(refusal, doing, self.endpoint) from refusal

    def close(self) -> None:
        self.link.close()

    def _pointer_cells(self, doing: str, asset: str) -> Cells:
        try:
            rows = self.link.ask(doing, service.get_rows(self._pointers, [asset.encode()]))
        except Refusal as refusal:
            if refusal.table_is_gone:
                return {}
            raise store_error(refusal, doing, self.endpoint) from refusal
        return dict(rows[0][1]) if rows else {}

    def _count(self, doing: str, table: str, region: Region) -> int:
        scan = Scan(region.start, region.end, _COUNTING, caching=_COUNT_ROWS, cached=False)
        with closing(Link(self.endpoint)) as link:
            return link.count_scan(doing, table, scan)
