"""HBase: what is known of it without importing a driver."""

from __future__ import annotations

from millrace.connectors.hbase.options import Cells, HBaseOptions
from millrace.spec.connector import Connector, Mode, TargetRole

connector = Connector(
    name="hbase",
    summary="HBase: wide rows by row key, and ranges of them",
    target=TargetRole(
        options=HBaseOptions,
        implementation="millrace.connectors.hbase.load:HBaseTarget",
        reader="millrace.connectors.hbase.lookup:HBaseReader",
        modes=frozenset({Mode.REPLACE, Mode.MERGE}),
        layouts=tuple(cells.value for cells in Cells),
        rollback=True,
        lookups=frozenset({"get", "multi_get", "range", "prefix"}),
        example={"family": "p"},
    ),
    schemes=("hbase",),
)
