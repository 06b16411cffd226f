"""MySQL and MariaDB: what is known of them without importing a driver."""

from __future__ import annotations

from millrace.connectors.mysql.options import MysqlOptions
from millrace.spec.connector import Connector, SourceRole

connector = Connector(
    name="mysql",
    summary="MySQL or MariaDB: a table, view or shards, whole or what is new, in parallel ranges of a column",
    source=SourceRole(
        options=MysqlOptions,
        implementation="millrace.connectors.mysql.source:MysqlSource",
        reader="millrace.connectors.mysql.query:MysqlReader",
        incremental=True,
        totals=True,
    ),
    schemes=("mysql", "mariadb"),
)
