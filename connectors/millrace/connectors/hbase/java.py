"""HBase's own Java client, inside the JVM of the driver's Spark session, for what Thrift can't do.

Its classes come from the connection's class path by a class loader of their own, so that they meet none of Spark's. The
configuration is the hbase-site.xml on that class path; Kerberos logins and file systems are those that it names.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from millrace.connectors.hbase.endpoint import Endpoint
from millrace.connectors.hbase.service import Region
from millrace.errors import ConfigError, MillraceError, TargetError, TransientError

_CLIENT = "org.apache.hadoop.hbase.client"
_NO_ROW = "RowFilter(=, 'binary:')"  # a row key has one byte at least
_COUNTERS = 4
_MAX_FILES = "hbase.mapreduce.bulkload.max.hfiles.perRegion.perFamily"
_loaders: dict[str, Any] = {}


class Java:
    """One HBase's Java client. Raises TargetError when there is no Spark session in this process."""

    def __init__(self, endpoint: Endpoint, doing: str) -> None:
        from pyspark import SparkContext

        self._endpoint, self._doing = endpoint, doing
        self._gateway: Any = SparkContext._gateway
        if self._gateway is None:
            raise TargetError(
                f"{doing} in {endpoint}: HBase's Java client runs inside Spark's JVM, and there is no Spark session",
                hint="start the session first, as a run does",
            )
        self._jvm = self._gateway.jvm

    @staticmethod
    def is_at_hand() -> bool:
        """Whether there is a Spark session in this process."""
        spark = sys.modules.get("pyspark")
        return spark is not None and spark.SparkContext._gateway is not None

    def take_over(self, folder: str, table: str) -> None:
        """Let HBase take over the files in a folder with a folder for each family; what it has taken is moved away."""
        with self._calling() as load:
            conf = self._configuration(load, {_MAX_FILES: "100000"})
            tool = self._made(load, "org.apache.hadoop.hbase.tool.BulkLoadHFilesTool", conf)
            tool.bulkLoad(self._table_name(load, table), self._made(load, "org.apache.hadoop.fs.Path", folder))

    def create_table(self, table: str, families: Sequence[str], splits: Sequence[bytes]) -> None:
        """A table that is split at these keys, otherwise as Thrift makes it."""
        with self._calling() as load:
            described = self._static(
                load, f"{_CLIENT}.TableDescriptorBuilder", "newBuilder", self._table_name(load, table)
            )
            bloom = load("org.apache.hadoop.hbase.regionserver.BloomType").getField("ROW").get(None)
            for family in families:
                column = self._static(
                    load, f"{_CLIENT}.ColumnFamilyDescriptorBuilder", "newBuilder", bytearray(family.encode())
                )
                described.setColumnFamily(column.setMaxVersions(1).setBloomFilterType(bloom).build())
            keys = self._gateway.new_array(self._jvm.byte, len(splits), 0)
            for place, split in enumerate(splits):
                keys[place] = bytearray(split)
            with self._connection(load) as connection:
                connection.getAdmin().createTable(described.build(), keys)

    def count(self, table: str, regions: Sequence[Region]) -> int | None:
        """Rows of a table, counted by its region servers, which go over every cell and send none of them.

        None when a region had to be gone over anew, as after it has moved: its rows are counted twice then.
        """
        with self._calling() as load, self._connection(load) as connection, ThreadPoolExecutor(_COUNTERS) as pool:
            found = list(pool.map(lambda region: self._count(connection, table, region), regions))
        return sum(filter(None, found)) if regions and None not in found else None

    def _count(self, connection: Any, table: str, region: Region) -> int | None:
        with self._calling() as load:
            nothing = self._made(load, "org.apache.hadoop.hbase.filter.ParseFilter").parseFilterString(_NO_ROW)
            scan = self._made(load, f"{_CLIENT}.Scan").setFilter(nothing).setCacheBlocks(False)
            scan.withStartRow(bytearray(region.start)).withStopRow(bytearray(region.end)).setScanMetricsEnabled(True)
            scanner = connection.getTable(self._table_name(load, table)).getScanner(scan)
            try:
                assert scanner.next() is None, "the filter lets no row through"
                metrics = scanner.getScanMetrics().getMetricsMap(False)
            finally:
                scanner.close()
            return int(metrics["ROWS_SCANNED"]) if metrics["REGIONS_SCANNED"] == 1 else None

    @contextmanager
    def _connection(self, load: Any) -> Iterator[Any]:
        connection = self._static(load, f"{_CLIENT}.ConnectionFactory", "createConnection", self._configuration(load))
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _calling(self) -> Iterator[Any]:
        """Calls with HBase's class loader as the thread's own, as its clients expect; Java's errors as ours."""
        from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]  # py4j ships no types

        thread = self._jvm.java.lang.Thread.currentThread()
        before = thread.getContextClassLoader()
        loader = self._loader()
        thread.setContextClassLoader(loader)
        try:
            yield loader.loadClass
        except Py4JJavaError as error:
            raise self._failed(error.java_exception) from error
        finally:
            thread.setContextClassLoader(before)

    def _failed(self, exception: Any) -> MillraceError:
        cause = (
            exception.getCause() if exception.getClass().getSimpleName() == "InvocationTargetException" else exception
        )
        name = cause.getClass().getSimpleName()
        message = f"{self._doing} in {self._endpoint}: HBase's Java client says '{name}: {cause.getMessage()}'"
        if name in ("ClassNotFoundException", "NoClassDefFoundError"):
            return TargetError(
                message, hint="`classpath` or `hbase_home` of the connection must hold all of HBase's jars"
            )
        return TransientError(message, hint="see the logs of HBase's master and region servers")

    def _loader(self) -> Any:
        class_path = self._endpoint.class_path
        if class_path not in _loaders:
            entries = list(_entries(class_path))
            if not any(entry.endswith(".jar") for entry in entries):
                raise ConfigError(
                    f"{self._doing} in {self._endpoint}: there are no jars in the class path {class_path}",
                    hint="`classpath` is a list like that of java, e.g. /etc/hbase/conf:/opt/hbase/lib/*",
                )
            urls = self._gateway.new_array(self._jvm.java.net.URL, len(entries))
            for place, entry in enumerate(entries):
                urls[place] = self._jvm.java.io.File(entry).toURI().toURL()
            parent = self._jvm.java.lang.ClassLoader.getPlatformClassLoader()
            _loaders[class_path] = self._jvm.java.net.URLClassLoader(urls, parent)
        return _loaders[class_path]

    def _configuration(self, load: Any, settings: Mapping[str, str] = MappingProxyType({})) -> Any:
        """HBase's settings. Py4J knows methods by the name of their class alone: were `set` called through it, it would
        take this `Configuration` for Spark's own, and then Spark's for this one.
        """
        conf = self._static(load, "org.apache.hadoop.hbase.HBaseConfiguration", "create")
        zookeeper = {"hbase.zookeeper.quorum": self._endpoint.zookeeper} if self._endpoint.zookeeper else {}
        for name, value in {**zookeeper, **settings}.items():
            self._invoked(load, "org.apache.hadoop.conf.Configuration", "set", conf, name, value)
        return conf

    def _table_name(self, load: Any, table: str) -> Any:
        return self._static(load, "org.apache.hadoop.hbase.TableName", "valueOf", table)

    def _static(self, load: Any, name: str, method: str, *arguments: Any) -> Any:
        return self._invoked(load, name, method, None, *arguments)

    def _invoked(self, load: Any, name: str, method: str, instance: Any, *arguments: Any) -> Any:
        """Call a class's method; of several with its name, the one whose parameters take these arguments."""
        for found in load(name).getMethods():
            if found.getName() == method and self._fit(found.getParameterTypes(), arguments):
                return found.invoke(instance, self._objects(arguments))
        raise TargetError(f"{self._doing} in {self._endpoint}: HBase's {name} has no method {method} as it is needed")

    def _made(self, load: Any, name: str, *arguments: Any) -> Any:
        for found in load(name).getConstructors():
            if self._fit(found.getParameterTypes(), arguments):
                return found.newInstance(self._objects(arguments))
        raise TargetError(f"{self._doing} in {self._endpoint}: HBase's {name} can't be made as it is needed")

    def _objects(self, arguments: Sequence[Any]) -> Any:
        array = self._gateway.new_array(self._jvm.java.lang.Object, len(arguments))
        for place, argument in enumerate(arguments):
            array[place] = argument
        return array

    def _fit(self, types: Any, arguments: Sequence[Any]) -> bool:
        if len(types) != len(arguments):
            return False
        names: dict[type, str] = {str: "java.lang.String", bytearray: "[B"}
        for type_, argument in zip(types, arguments, strict=True):
            wanted = names.get(type(argument))
            if (type_.getName() != wanted) if wanted else not type_.isInstance(argument):
                return False
        return True


def _entries(class_path: str) -> Iterator[str]:
    """The files and folders of a class path; `folder/*` stands for the jars in it, as for java."""
    for entry in filter(None, class_path.split(os.pathsep)):
        if entry.endswith("/*"):
            yield from sorted(glob.glob(f"{glob.escape(entry[:-2])}/*.jar"))
        else:
            yield entry
