"""HBase: what is known of it without importing a driver. Its options are known; this release can't run it yet."""

from __future__ import annotations

from millrace.connectors.hbase.options import HBaseOptions
from millrace.spec.connector import Connector, Mode, TargetRole

connector = Connector(
    name="hbase",
    summary="HBase: wide rows by row key, and ranges of them",
    target=TargetRole(
        options=HBaseOptions,
        implementation=None,
        modes=frozenset({Mode.REPLACE, Mode.MERGE}),
        layouts=("cells",),
        lookups=frozenset({"get", "multi_get", "range", "prefix"}),
        example={"family": "p"},
    ),
    schemes=("hbase",),
)
