"""Redis, Valkey and what speaks their protocol: what is known of them without importing a driver."""

from __future__ import annotations

from millrace.connectors.redis.options import RedisOptions, ValueLayout
from millrace.spec.connector import Connector, Mode, TargetRole

connector = Connector(
    name="redis",
    summary="Redis or Valkey: a row by its key in well under a millisecond; one server, a cluster, or embedded",
    target=TargetRole(
        options=RedisOptions,
        implementation="millrace.connectors.redis.load:RedisTarget",
        reader="millrace.connectors.redis.lookup:RedisReader",
        modes=frozenset({Mode.REPLACE, Mode.MERGE}),
        layouts=tuple(layout.value for layout in ValueLayout),
        rollback=True,
        lookups=frozenset({"get", "multi_get", "rows"}),
        queries=False,
    ),
    schemes=("redis", "rediss", "redis+cluster", "rediss+cluster", "embedded"),
)
