"""MySQL and MariaDB as a source: planned over PyMySQL without a JVM, read by Spark's tasks by column, or over JDBC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING, Any

from millrace.connectors.base import Gate, PlanRequest, Source, SourcePlan, SourceRead, Totals
from millrace.connectors.mysql.arrow import ArrowTask, batch_rows, statements
from millrace.connectors.mysql.client import Client, connect
from millrace.connectors.mysql.endpoint import Endpoint, endpoint, jdbc_url
from millrace.connectors.mysql.key import SplitKey, quoted, split_key
from millrace.connectors.mysql.options import MysqlOptions
from millrace.connectors.mysql.plan import plan_read
from millrace.connectors.mysql.replica import wait_for_replica
from millrace.connectors.mysql.statistics import Table, describe, where_clause
from millrace.connectors.mysql.truststore import store_properties
from millrace.connectors.mysql.types import SHARD_NAME, ColumnRead, TableColumn, read_column
from millrace.connectors.spark_secrets import without_py4j_traces
from millrace.connectors.spark_tasks import read_by_tasks
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
        with self._client(end) as client:
            return plan_read(client, self.options, database, request.channels, request.watermark)

    def read(self, spark: SparkSession, plan: SourcePlan, gate: Gate) -> SourceRead:
        """The rows of the planned ranges. Raises SourceError when the columns of a table have changed since."""
        end, _ = self._endpoint()
        with self._client(end) as client:
            shards = [_shard_as_planned(client, plan, i) for i in range(len(plan.details["tables"]))]
            encrypted = client.encrypted
        if encrypted:
            return self._by_jdbc(spark, end, plan, shards)
        task = ArrowTask(
            end,
            self.options.session,
            statements(self._selects(plan, shards, arrow=True), len(plan.columns)),
            plan.columns,
            batch_rows(max(shard.table.row_bytes for shard in shards)),
            gate,
        )
        numbers = spark.range(0, len(task.statements), 1, len(task.statements))
        return read_by_tasks(numbers, task, plan.columns)

    def _selects(
        self, plan: SourcePlan, shards: Sequence[ShardRead], *, arrow: bool
    ) -> list[tuple[str, Sequence[str]]]:
        """Each select with the predicates that part it; one alone for a snapshot, which is one statement."""
        found = [_select(plan, shard, self.options.shard_column, arrow=arrow) for shard in shards]
        if plan.details["snapshot"]:
            return [("\nUNION ALL ".join(found), ["1 = 1"])]
        return [
            (select, [_predicate(split, shard.key) for split in plan.splits if split.get("table", 0) == i])
            for i, (select, shard) in enumerate(zip(found, shards, strict=True))
        ]

    def _by_jdbc(self, spark: SparkSession, end: Endpoint, plan: SourcePlan, shards: Sequence[ShardRead]) -> SourceRead:
        """Over Connector/J, which speaks TLS."""
        selects = self._selects(plan, shards, arrow=False)
        frames = [
            self._frame(spark, end, plan, select, shard.reads(plan), predicates)
            for (select, predicates), shard in zip(selects, shards, strict=False)
        ]
        return SourceRead(reduce(lambda one, other: one.unionAll(other), frames), gated=False)

    def totals(self, plan: SourcePlan, columns: Sequence[str]) -> Totals:
        """One statement for each table of the plan, within `plan_timeout`, over the rows of the planned ranges."""
        end, _ = self._endpoint()
        rows = 0
        sums: dict[str, Decimal | float | None] = dict.fromkeys(columns)
        with self._client(end) as client:
            for number in range(len(plan.details["tables"])):
                shard = _shard_as_planned(client, plan, number)
                ((count, *found),) = client.rows(_totals(plan, shard, number, columns))
                rows += int(count)
                for name, value in zip(columns, found, strict=True):
                    sums[name] = value if sums[name] is None else sums[name] if value is None else sums[name] + value
        return Totals(rows, sums)

    @contextmanager
    def _client(self, end: Endpoint) -> Iterator[Client]:
        with connect(end, self.options.plan_timeout, self.options.session) as client:
            if self.options.replica is not None:
                wait_for_replica(client, self.options.replica.max_lag)
            yield client

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
        replica = self.options.replica
        return endpoint(self.others[replica.connection] if replica else connection), database

    def _frame(
        self,
        spark: SparkSession,
        end: Endpoint,
        plan: SourcePlan,
        select: str,
        reads: Sequence[ColumnRead],
        predicates: Sequence[str],
    ) -> DataFrame:
        """The plan's columns of one statement for each predicate."""
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
            with without_py4j_traces():
                frame = spark.read.jdbc(url, f"({select}) AS t", predicates=list(predicates), properties=properties)
        except Exception as error:
            if "ClassNotFoundException" in str(error) and _DRIVER in str(error):
                raise ConfigError(
                    f"reading {end.connection}: Spark has no MySQL driver ({_DRIVER})",
                    hint="put the jar com.mysql:mysql-connector-j into the folder that MILLRACE_JARS names",
                ) from error
            raise
        return frame.selectExpr(
            *(
                f"{read.spark.format(c=f'c{i}')} AS {quoted(c.name)}"
                for i, (read, c) in enumerate(zip(reads, plan.columns, strict=True))
            )
        )


@dataclass(frozen=True)
class ShardRead:
    """How one planned table is read."""

    table: Table
    columns: Sequence[TableColumn]
    key: SplitKey | None
    index: str
    where: str

    def reads(self, plan: SourcePlan) -> list[ColumnRead]:
        """How each of the plan's columns is read; the last may be the shard's name."""
        found = [read for column in self.columns if (read := read_column(column))]
        return [*found, SHARD_NAME] if len(found) < len(plan.columns) else found


def _shard_as_planned(client: Client, plan: SourcePlan, number: int) -> ShardRead:
    """One table of the plan. Raises SourceError when a column has gone or has another type now."""
    details = plan.details["tables"][number]
    table = describe(client, str(details["database"]), str(details["table"]))
    found: list[TableColumn] = []
    for column, planned_type in zip(plan.columns, plan.details["types"], strict=False):
        now = table.column(column.name)
        if now is None or now.full_type != planned_type:
            what = f"is gone (it was {planned_type})" if now is None else f"was {planned_type} and is {now.full_type}"
            raise SourceError(
                f"reading {table}: since the run was planned its column {column.name} {what}",
                hint="start a new run, which plans anew; if the spec names a dropped column, take it out",
            )
        found.append(now)
    key = _key(table, details["split_by"])
    index = str(details["index"]) if sum(split.get("table", 0) == number for split in plan.splits) > 1 else ""
    return ShardRead(table, found, key, index, str(details["where"]))


def _key(table: Table, name: str | None) -> SplitKey | None:
    column = table.column(str(name)) if name is not None else None
    key = split_key(column, "") if column else None
    if name is not None and key is None:
        raise SourceError(
            f"reading {table}: since the run was planned its column {name}, by which it is split, has gone or changed",
            hint="start a new run, which plans anew",
        )
    return key


def _select(plan: SourcePlan, shard: ShardRead, shard_column: str | None, *, arrow: bool) -> str:
    """The rows of a table, their columns named c0, c1, …; the key stands there as it is, for the splits' conditions."""
    parts = [
        f"{(read.arrow_sql if arrow else read.sql).format(c=quoted(column.name))} AS c{i}"
        for i, (column, read) in enumerate(zip(shard.columns, shard.reads(plan), strict=False))
    ]
    if shard_column is not None:
        name = f"{shard.table.database}.{shard.table.name}".encode().hex()
        text = f"CONVERT(X'{name}' USING utf8mb4)" if arrow else f"CAST(X'{name}' AS BINARY)"
        parts.append(f"{text} AS c{len(parts)}")
    if shard.key:
        parts.append(f"{shard.key.sql} AS {_KEY}")
    return f"SELECT {', '.join(parts)} FROM {shard.table.using(shard.index)}{where_clause(shard.where)}"


def _totals(plan: SourcePlan, shard: ShardRead, number: int, columns: Sequence[str]) -> str:
    """Counts and sums over the splits of one table. A cursor's and a split's conditions are the plan's own."""
    positions = {column.name: i for i, column in enumerate(plan.columns)}
    asked = "".join(f", SUM(c{positions[name]})" for name in columns)
    splits = [_predicate(split, shard.key) for split in plan.splits if split.get("table", 0) == number]
    ranges = "1 = 1" if plan.details["snapshot"] else " OR ".join(f"({one})" for one in splits) or "1 = 0"
    return f"SELECT COUNT(*){asked} FROM ({_select(plan, shard, None, arrow=False)}) AS t WHERE {ranges}"


def _predicate(split: Mapping[str, Any], key: SplitKey | None) -> str:
    if split.get("none"):
        return "1 = 0"
    return key.predicate(split, _KEY) if key and ("from" in split or "null" in split) else "1 = 1"
