"""MySQL and MariaDB as a source: planned over PyMySQL without a JVM, read by Spark over Connector/J."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from millrace.connectors.base import Gate, PlanRequest, Source, SourcePlan, SourceRead
from millrace.connectors.mysql.client import Client, connect
from millrace.connectors.mysql.endpoint import Endpoint, endpoint, jdbc_url
from millrace.connectors.mysql.key import SplitKey, quoted, split_key
from millrace.connectors.mysql.options import MysqlOptions
from millrace.connectors.mysql.plan import plan_table
from millrace.connectors.mysql.statistics import Table, describe, where_clause
from millrace.connectors.mysql.truststore import store_properties
from millrace.connectors.mysql.types import ColumnRead, TableColumn, read_column
from millrace.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_DRIVER = "com.mysql.cj.jdbc.Driver"
_STREAM_ROWS = "-2147483648"  # Connector/J: hand over rows as they come instead of holding the result
_KEY = "millrace_key"


class MysqlSource(Source):
    """Reads `MysqlOptions`: each split of the plan is one statement on a connection of its own."""

    wait_metrics = ("JDBC query execution time", "JDBC remote data fetch and translation time")
    options: MysqlOptions

    def plan(self, request: PlanRequest) -> SourcePlan:
        """Freeze the columns with their types, and the ranges that tasks will read.

        Raises SourceError naming what is missing and what there is, or TransientError when the server is away.
        """
        end, database = self._endpoint()
        with connect(end, self.options.plan_timeout, self.options.session) as client:
            return plan_table(client, self.options, database, request.channels)

    def read(self, spark: SparkSession, plan: SourcePlan, gate: Gate) -> SourceRead:
        """The rows of the planned ranges. Raises SourceError when the table's columns have changed since."""
        end, database = self._endpoint()
        with connect(end, self.options.plan_timeout, self.options.session) as client:
            table, columns = _columns_as_planned(client, database, plan)
        reads = [read for column in columns if (read := read_column(column))]
        key = _key(table, plan)
        rows = table.using(str(plan.details["index"]) if len(plan.splits) > 1 else "")
        select = _select(rows, columns, reads, key) + where_clause(self.options.where)
        frame = self._frame(spark, end, select, reads, _predicates(plan, key))
        named = [
            f"{r.spark.format(c=f'c{i}')} AS {quoted(c.name)}"
            for i, (r, c) in enumerate(zip(reads, plan.columns, strict=True))
        ]
        return SourceRead(frame.selectExpr(*named), gated=False)

    def _endpoint(self) -> tuple[Endpoint, str]:
        connection = self.connection
        if connection is None:
            raise ConfigError("a MySQL source needs a connection", hint="set `connection` to a name that is declared")
        database = self.options.database or connection.database
        if not database:
            raise ConfigError(
                f"neither the connection {connection} nor the source of table {self.options.table} names a database",
                hint="add it to the connection's URL, mysql://…/DATABASE, or set `database`",
            )
        return endpoint(connection), database

    def _frame(
        self, spark: SparkSession, end: Endpoint, select: str, reads: Sequence[ColumnRead], predicates: Sequence[str]
    ) -> DataFrame:
        properties = {
            "user": end.connection.user,
            "password": end.connection.password.value,
            "driver": _DRIVER,
            "fetchsize": _STREAM_ROWS,
            "customSchema": ", ".join(f"c{i} {read.jdbc_type}" for i, read in enumerate(reads)),
            "pushDownPredicate": "false",
            "preferTimestampNTZ": "true",
        }
        url = jdbc_url(end, self.options.session, store_properties(end))
        try:
            with _without_py4j_traces():
                return spark.read.jdbc(url, f"({select}) AS t", predicates=list(predicates), properties=properties)
        except Exception as error:
            if "ClassNotFoundException" in str(error) and _DRIVER in str(error):
                raise ConfigError(
                    f"reading {end.connection}: Spark has no MySQL driver ({_DRIVER})",
                    hint="put the jar com.mysql:mysql-connector-j into the folder that MILLRACE_JARS names",
                ) from error
            raise


@contextmanager
def _without_py4j_traces() -> Iterator[None]:
    """At level DEBUG, Py4J logs every argument that goes to the JVM: here, the password."""
    logger = logging.getLogger("py4j")
    before = logger.level
    logger.setLevel(max(before, logging.INFO))
    try:
        yield
    finally:
        logger.setLevel(before)


def _columns_as_planned(client: Client, database: str, plan: SourcePlan) -> tuple[Table, list[TableColumn]]:
    """The table's columns that the plan names. Raises SourceError when one has gone or has another type now."""
    table = describe(client, database, str(plan.details["table"]))
    found: list[TableColumn] = []
    for column, planned_type in zip(plan.columns, plan.details["types"], strict=True):
        now = table.column(column.name)
        if now is None or now.full_type != planned_type:
            what = f"is gone (it was {planned_type})" if now is None else f"was {planned_type} and is {now.full_type}"
            raise SourceError(
                f"reading {table}: since the run was planned its column {column.name} {what}",
                hint="start a new run, which plans anew; if the spec names a dropped column, take it out",
            )
        found.append(now)
    return table, found


def _key(table: Table, plan: SourcePlan) -> SplitKey | None:
    name = plan.details["split_by"]
    column = table.column(str(name)) if name is not None else None
    key = split_key(column, "") if column else None
    if name is not None and key is None:
        raise SourceError(
            f"reading {table}: since the run was planned its column {name}, by which it is split, has gone or changed",
            hint="start a new run, which plans anew",
        )
    return key


def _select(rows: str, columns: Sequence[TableColumn], reads: Sequence[ColumnRead], key: SplitKey | None) -> str:
    """The rows of a table, their columns named c0, c1, …; the key stands there as it is, for the splits' conditions."""
    parts = [f"{r.sql.format(c=quoted(c.name))} AS c{i}" for i, (c, r) in enumerate(zip(columns, reads, strict=True))]
    if key:
        parts.append(f"{key.sql} AS {_KEY}")
    return f"SELECT {', '.join(parts)} FROM {rows}"


def _predicates(plan: SourcePlan, key: SplitKey | None) -> list[str]:
    return [_predicate(split, key) for split in plan.splits]


def _predicate(split: Mapping[str, Any], key: SplitKey | None) -> str:
    if split.get("none"):
        return "1 = 0"
    return key.predicate(split, _KEY) if key and split else "1 = 1"
