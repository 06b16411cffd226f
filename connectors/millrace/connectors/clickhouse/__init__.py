"""ClickHouse: what is known of it without importing a driver."""

from __future__ import annotations

from millrace.connectors.clickhouse.options import ClickHouseOptions
from millrace.spec.connector import Connector, Mode, TargetRole

connector = Connector(
    name="clickhouse",
    summary="ClickHouse: whole assets for SQL in milliseconds; one server, a Replicated database, or embedded",
    target=TargetRole(
        options=ClickHouseOptions,
        implementation="millrace.connectors.clickhouse.load:ClickHouseTarget",
        reader="millrace.connectors.clickhouse.query:ClickHouseReader",
        modes=frozenset({Mode.REPLACE, Mode.MERGE, Mode.APPEND}),
        layouts=("table",),
        rollback=True,
        queries=True,
    ),
    schemes=("clickhouse", "clickhouses", "embedded"),
)
