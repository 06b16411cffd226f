"""A real HBase in one process (master, region server and ZooKeeper), and its Thrift server in another."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import quote
from xml.sax.saxutils import escape

from millrace.jobs.jvm import java
from tests.servers.process import HOST, ServerError, ServerProcess, free_port

JARS = Path(__file__).resolve().parents[2] / ".cache" / "servers" / "hbase"
_READY = "Master has completed initialization"
_OPENED = (
    "java.lang", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util", "java.util.concurrent",
    "sun.nio.ch", "jdk.internal.ref",
)  # fmt: skip
_FLAGS = (
    *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENED),
    "--add-exports=java.base/jdk.internal.misc=ALL-UNNAMED",
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    "--add-modules=jdk.unsupported",
    "-XX:+UseSerialGC",
)
_QUICK = "-XX:TieredStopAtLevel=1"
_LOG4J = """log4j.rootLogger=INFO,out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %c{1}: %m%n
"""


class _Java(ServerProcess):
    """A JVM over HBase's jars. SIGKILL ends it: a stop in peace takes half a minute, and the WAL keeps everything."""

    start_timeout_s: ClassVar[float] = 180.0
    stop_signal: ClassVar[signal.Signals] = signal.SIGKILL
    main: ClassVar[str]

    def __init__(self, conf: Path, heap_mib: int, quick: bool) -> None:
        super().__init__()
        self._conf, self._heap_mib, self._quick = conf, heap_mib, quick

    def arguments(self) -> Sequence[str]:
        return ()

    def command(self) -> Sequence[str]:
        if not JARS.is_dir():
            raise ServerError(f"the jars of HBase are not there (looked in {JARS}); scripts/setup fetches them")
        class_path = f"{self._conf}:{JARS}/*"
        heap = (f"-Xms{self._heap_mib // 2}m", f"-Xmx{self._heap_mib}m")
        flags = (*_FLAGS, *([_QUICK] if self._quick else []))
        return [str(java()), *heap, *flags, "-cp", class_path, self.main, *self.arguments(), "start"]


class _Master(_Java):
    name: ClassVar[str] = "hbase"
    main: ClassVar[str] = "org.apache.hadoop.hbase.master.HMaster"

    def ready(self) -> bool:
        """The log grows from start to start: only what this one has written counts."""
        return _READY in self.log.read_text(errors="replace")[self._logged :]

    def start(self) -> Self:
        self._logged = len(self.log.read_text(errors="replace")) if self.log.exists() else 0
        return super().start()


class _Thrift(_Java):
    name: ClassVar[str] = "hbase-thrift"
    main: ClassVar[str] = "org.apache.hadoop.hbase.thrift.ThriftServer"

    def __init__(self, conf: Path, heap_mib: int, quick: bool, framed: bool) -> None:
        super().__init__(conf, heap_mib, quick)
        self._framed = framed

    def arguments(self) -> Sequence[str]:
        return ["-p", str(self.port), "-b", HOST, *(["-f"] if self._framed else [])]


class HBase:
    """One HBase with its Thrift server. What was written survives `kill`; the ports stay the same after `restart`.

    `settings` are added to hbase-site.xml. `conf` is the folder of hbase-site.xml, `root` HBase's own folder. `quick`
    starts in less time, and works slower.
    """

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        heap_mib: int = 256,
        thrift_heap_mib: int = 96,
        *,
        framed: bool = False,
        quick: bool = True,
    ) -> None:
        self._zookeeper_port = free_port()
        self.master = _Master(Path(), heap_mib, quick)
        self.conf = self.master._conf = self.master.folder / "conf"
        self.root = self.master.folder / "root"
        self.staging = self.master.folder / "staging"
        self.thrift = _Thrift(self.conf, thrift_heap_mib, quick, framed)
        self._framed = framed
        self._settings = settings or {}

    @property
    def port(self) -> int:
        """Of the Thrift server."""
        return self.thrift.port

    @property
    def url(self) -> str:
        """The URL of a connection that has Thrift alone."""
        return f"hbase://{HOST}:{self.thrift.port}/" + ("?transport=framed" if self._framed else "")

    @property
    def bulk_url(self) -> str:
        """The URL of a connection that can load files, too."""
        class_path = quote(f"{self.conf}:{JARS}/*", safe="")
        staging = quote(f"file://{self.staging}", safe="")
        joint = "&" if self._framed else "?"
        return f"{self.url}{joint}classpath={class_path}&staging={staging}"

    def start(self) -> Self:
        with ExitStack() as started:
            started.callback(self.stop)
            self._configure()
            self.master.start()
            self.thrift.start()
            started.pop_all()
        return self

    def stop(self) -> None:
        """The Thrift server first: it would ask for a master that has gone."""
        with ExitStack() as stops:
            stops.callback(self.master.stop)
            stops.callback(self.thrift.stop)

    def kill(self) -> None:
        """Both processes at once, as when the power goes."""
        self.thrift.kill()
        self.master.kill()

    def pause(self) -> None:
        """Nothing answers; connections stay open."""
        self.thrift.pause()

    def resume(self) -> None:
        self.thrift.resume()

    def restart(self) -> None:
        self.kill()
        self.master.start()
        self.thrift.start()

    def log_tail(self) -> str:
        return self.master.log_tail() + self.thrift.log_tail()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _configure(self) -> None:
        folder = self.master.folder
        settings = {
            "hbase.cluster.distributed": "false",
            "hbase.rootdir": f"file://{self.root}",
            "hbase.tmp.dir": str(folder / "tmp"),
            "hbase.zookeeper.property.dataDir": str(folder / "zookeeper"),
            "hbase.zookeeper.property.clientPort": str(self._zookeeper_port),
            "hbase.zookeeper.quorum": HOST,
            "hbase.unsafe.stream.capability.enforce": "false",
            "hbase.wal.provider": "filesystem",
            "hbase.master.hostname": "localhost",
            "hbase.regionserver.hostname": "localhost",
            "hbase.master.ipc.address": HOST,
            "hbase.regionserver.ipc.address": HOST,
            "hbase.master.info.port": "-1",
            "hbase.regionserver.info.port": "-1",
            "hbase.thrift.info.port": "-1",
            "hbase.master.port": str(free_port()),
            "hbase.regionserver.port": str(free_port()),
            "hbase.regionserver.msginterval": "500",
            "hbase.master.wait.on.regionservers.maxtostart": "1",
            "hbase.master.wait.on.regionservers.timeout": "200",
            "hbase.master.wait.on.regionservers.interval": "100",
            "hbase.procedure.remote.dispatcher.delay.msec": "10",
            **self._settings,
        }
        properties = "".join(
            f"<property><name>{escape(name)}</name><value>{escape(value)}</value></property>\n"
            for name, value in settings.items()
        )
        self.conf.mkdir(exist_ok=True)
        (self.conf / "hbase-site.xml").write_text(f"<configuration>\n{properties}</configuration>\n")
        (self.conf / "log4j.properties").write_text(_LOG4J)
        self.staging.mkdir(exist_ok=True)
