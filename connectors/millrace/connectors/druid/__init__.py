"""Druid: what is known of it without importing a driver. Its options are known; this release can't run it yet."""

from __future__ import annotations

from millrace.connectors.druid.options import DruidOptions
from millrace.spec.connector import Connector, Mode, TargetRole

connector = Connector(
    name="druid",
    summary="Druid: aggregates over time, in segments that are switched atomically",
    target=TargetRole(
        options=DruidOptions,
        implementation=None,
        reader="millrace.connectors.druid.query:DruidReader",
        modes=frozenset({Mode.REPLACE, Mode.APPEND}),
        layouts=("segments",),
        rollback=False,
        queries=True,
    ),
    schemes=("druid", "druids"),
)
