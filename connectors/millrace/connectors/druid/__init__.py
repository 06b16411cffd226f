"""Druid: what is known of it without importing a driver."""

from __future__ import annotations

from millrace.connectors.druid.options import DruidOptions
from millrace.spec.connector import Connector, Mode, TargetRole

connector = Connector(
    name="druid",
    summary="Druid: aggregates over time; a datasource for each version, Kafka supervisors",
    target=TargetRole(
        options=DruidOptions,
        implementation="millrace.connectors.druid.load:DruidTarget",
        reader="millrace.connectors.druid.query:DruidReader",
        modes=frozenset({Mode.REPLACE, Mode.APPEND}),
        layouts=("datasource",),
        rollback=True,
        queries=True,
        streams=True,
    ),
    schemes=("druid", "druids"),
)
