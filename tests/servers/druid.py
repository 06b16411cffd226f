"""A real Druid: ZooKeeper, coordinator with overlord, broker, historical and indexer, each in a small JVM."""

from __future__ import annotations

import json
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from millrace.jobs.jvm import java
from millrace.spec.connection import Connection, parse_url
from tests.servers.process import HOST, ServerError, ServerProcess, free_port, wait_until

JARS = Path(__file__).resolve().parents[2] / ".cache" / "servers" / "druid"
_READY_S = 240.0
_OPENED = ("java.nio", "sun.nio.ch", "jdk.internal.ref", "java.io", "java.lang")
_FLAGS = (
    "--add-exports=java.base/jdk.internal.misc=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
    *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENED),
    "--add-opens=jdk.management/com.sun.management.internal=ALL-UNNAMED",
    "-XX:+UseSerialGC",
    "-XX:ReservedCodeCacheSize=96m",
    "-Duser.timezone=UTC",
    "-Dfile.encoding=UTF-8",
    "-Djava.util.logging.manager=org.apache.logging.log4j.jul.LogManager",
)
_QUICK = "-XX:TieredStopAtLevel=1"
_LOG4J = """<Configuration status="WARN">
  <Appenders>
    <Console name="out" target="SYSTEM_OUT"><PatternLayout pattern="%d %p [%t] %c{1}: %m%n"/></Console>
  </Appenders>
  <Loggers><Root level="warn"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
"""
_COMMON: Mapping[str, Any] = {
    "druid.host": HOST,
    "druid.extensions.loadList": "[]",
    "druid.extensions.searchCurrentClassloader": "true",
    "druid.zk.paths.base": "/druid",
    "druid.storage.type": "local",
    "druid.metadata.storage.type": "derby",
    "druid.indexer.logs.type": "file",
    "druid.lookup.enableLookupSyncOnStartup": "false",
    "druid.processing.buffer.sizeBytes": 20_000_000,
    "druid.processing.numThreads": 2,
    "druid.processing.numMergeBuffers": 4,
    "druid.server.http.numThreads": 20,
    "druid.server.http.enableRequestLimit": "false",
    "druid.global.http.numConnections": 10,
}
_ROLES: Mapping[str, tuple[int, int, Mapping[str, Any]]] = {  # heap, direct memory in MiB, settings
    "coordinator": (
        256,
        64,
        {
            "druid.coordinator.asOverlord.enabled": "true",
            "druid.coordinator.asOverlord.overlordService": "druid/overlord",
            "druid.coordinator.startDelay": "PT1S",
            "druid.coordinator.period": "PT1S",
            "druid.coordinator.period.indexingPeriod": "PT5S",
            "druid.coordinator.kill.pendingSegments.on": "false",
            "druid.indexer.queue.startDelay": "PT1S",
            "druid.indexer.runner.type": "httpRemote",
            "druid.indexer.storage.type": "metadata",
            "druid.manager.segments.pollDuration": "PT1S",
        },
    ),
    "broker": (
        192,
        160,
        {
            "druid.sql.planner.metadataRefreshPeriod": "PT1S",
            "druid.broker.segment.awaitInitializationOnStart": "false",
            "druid.broker.cache.useCache": "false",
            "druid.broker.cache.populateCache": "false",
        },
    ),
    "historical": (192, 160, {"druid.server.maxSize": 5_000_000_000}),
    "indexer": (512, 300, {"druid.worker.capacity": 4, "druid.worker.globalIngestionHeapLimitBytes": 150_000_000}),
}


class _Zookeeper(ServerProcess):
    name: ClassVar[str] = "druid-zookeeper"
    start_timeout_s: ClassVar[float] = _READY_S
    stop_signal: ClassVar[signal.Signals] = signal.SIGKILL

    def prepare(self) -> None:
        (self.folder / "log4j2.xml").write_text(_LOG4J)
        settings = {
            "dataDir": self.folder / "data",
            "clientPort": self.port,
            "clientPortAddress": HOST,
            "tickTime": 2000,
            "admin.enableServer": "false",
            "maxClientCnxns": 0,
            "4lw.commands.whitelist": "srvr",
        }
        (self.folder / "zoo.cfg").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def command(self) -> Sequence[str]:
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        return [*_java(self.folder, 64, 32, _QUICK), main, str(self.folder / "zoo.cfg")]

    def ready(self) -> bool:
        """Whether it says of itself that it serves: who only connects may meet it before it has its data."""
        with socket.create_connection((HOST, self.port), timeout=5) as link:
            link.sendall(b"srvr")
            link.settimeout(5)
            return b"Mode: standalone" in link.recv(4096)


class _Role(ServerProcess):
    """One of Druid's services. SIGKILL ends it: a stop in peace waits for ZooKeeper's and Derby's farewells."""

    start_timeout_s: ClassVar[float] = _READY_S
    stop_signal: ClassVar[signal.Signals] = signal.SIGKILL

    def __init__(self, role: str, common: Mapping[str, Any], quick: bool, port: int) -> None:
        self.name = f"druid-{role}"  # type: ignore[misc]  # one class for all roles, each with a log of its own name
        super().__init__()
        self.port = port or self.port
        heap_mib, direct_mib, own = _ROLES[role]
        self._memory, self._role, self._quick = (heap_mib, direct_mib), role, quick
        self._settings: dict[str, Any] = {**common, **own, "druid.plaintextPort": self.port}
        self._settings["druid.service"] = f"druid/{role}"
        self.ready_at_once = False

    def prepare(self) -> None:
        segments = {"path": str(self.folder / "segments"), "maxSize": 5_000_000_000}
        own = {
            "druid.segmentCache.locations": json.dumps([segments]),
            "druid.indexer.task.baseDir": self.folder / "task",
            "druid.worker.baseTaskDirs": json.dumps([str(self.folder / "tasks")]),
            "java.io.tmpdir": self.folder / "tmp",
        }
        (self.folder / "tmp").mkdir()
        (self.folder / "log4j2.xml").write_text(_LOG4J)
        lines = [f"{name}={value}\n" for name, value in {**self._settings, **own}.items()]
        (self.folder / "runtime.properties").write_text("".join(lines))

    def command(self) -> Sequence[str]:
        flags = [f"-Djava.io.tmpdir={self.folder / 'tmp'}", *([_QUICK] if self._quick else [])]
        return [*_java(self.folder, *self._memory, *flags), "org.apache.druid.cli.Main", "server", self._role]

    def launch(self) -> None:
        """Start without waiting: the services come up side by side."""
        self.ready_at_once = True
        try:
            self.start()
        finally:
            self.ready_at_once = False

    def ready(self) -> bool:
        return self.ready_at_once or self.healthy()

    def healthy(self) -> bool:
        if not self.running:
            raise ServerError(f"{self.name} has ended\n{self.log_tail()}")
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}/status/health", timeout=5) as answer:
                return bool(answer.read() == b"true")
        except OSError:
            return False


class Druid:
    """One Druid. What was published survives `kill`; the ports stay the same after `restart`.

    `staging` is a folder that both Druid and this process see. `quick` starts in less time, and loads slower; `port` is
    the broker's, a free one by default.
    """

    def __init__(self, *, quick: bool = True, port: int = 0) -> None:
        self.zookeeper = _Zookeeper()
        self.folder = self.zookeeper.folder
        self.staging = self.folder / "staging"
        common = {**_COMMON, "druid.zk.service.host": f"{HOST}:{self.zookeeper.port}"}
        derby = free_port()
        common |= {
            "druid.storage.storageDirectory": self.folder / "deep",
            "druid.indexer.logs.directory": self.folder / "logs",
            "druid.metadata.storage.connector.connectURI": f"jdbc:derby://{HOST}:{derby}/{self.folder}/derby;create=true",
            "druid.metadata.storage.connector.host": HOST,
            "druid.metadata.storage.connector.port": derby,
        }
        self.coordinator, self.broker, self.historical, self.indexer = (
            _Role(role, common, quick, port if role == "broker" else 0) for role in _ROLES
        )
        self._roles = (self.coordinator, self.broker, self.historical, self.indexer)

    @property
    def others(self) -> Sequence[ServerProcess]:
        """All processes but the broker's."""
        return (self.zookeeper, *(role for role in self._roles if role is not self.broker))

    @property
    def url(self) -> str:
        """The URL of a connection that can query and load."""
        return f"druid://{HOST}:{self.broker.port}/?coordinator={HOST}:{self.coordinator.port}&staging=file://{self.staging}"

    @property
    def connection(self) -> Connection:
        return parse_url("druid_test", self.url, "the test")

    def start(self) -> Self:
        """All services. Raises ServerError with the ends of their logs; nothing is left running then."""
        with ExitStack() as started:
            started.callback(self.stop)
            self.staging.mkdir(exist_ok=True)
            if not JARS.is_dir():
                raise ServerError(f"the jars of Druid are not there (looked in {JARS}); scripts/setup fetches them")
            self._come_up()
            started.pop_all()
        return self

    @property
    def port(self) -> int:
        """The coordinator's."""
        return self.coordinator.port

    def kill(self) -> None:
        """All of it at once, as when the power goes."""
        for process in (*self._roles, self.zookeeper):
            process.kill()

    def restart(self) -> None:
        """End what runs, and start all of it on the same ports and data."""
        self.kill()
        self._come_up()

    def restart_coordinator(self) -> None:
        """Alone, and wait until it leads again."""
        self.coordinator.restart()
        wait_until(self._leads, "Druid's coordinator to lead", _READY_S, self.log_tail, 0.2)

    def pause(self) -> None:
        """The coordinator and the broker alone answer nothing: what they ask of the others is not the matter."""
        for process in (self.coordinator, self.broker):
            process.pause()

    def resume(self) -> None:
        """Wait, too, until the coordinator leads: who was away for long must be chosen anew."""
        for process in (self.coordinator, self.broker):
            process.resume()
        wait_until(self._leads, "Druid's coordinator to lead", _READY_S, self.log_tail, 0.2)

    def stop(self) -> None:
        with ExitStack() as stops:
            for process in (self.zookeeper, *self._roles):
                stops.callback(process.stop)

    def get(self, path: str) -> Any:
        """What the coordinator answers to a GET."""
        with urllib.request.urlopen(f"http://{HOST}:{self.coordinator.port}{path}", timeout=30) as answer:
            return json.load(answer)

    def sql(self, query: str) -> list[Any]:
        """Rows, by the broker alone, each as column → value."""
        body = json.dumps({"query": query}).encode()
        url = f"http://{HOST}:{self.broker.port}/druid/v2/sql"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                found: list[Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            raise ServerError(f"{query}: {error.read().decode()[:1000]}") from error

    def log_tail(self) -> str:
        return "\n".join(process.log_tail() for process in (self.zookeeper, *self._roles))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _come_up(self) -> None:
        self.zookeeper.start()
        self.coordinator.start()  # it holds the metadata of the others
        for role in self._roles[1:]:
            role.launch()
        wait_until(self._is_up, "Druid to start", _READY_S, self.log_tail, 0.2)
        wait_until(self._leads, "Druid's coordinator to lead, with a worker", _READY_S, self.log_tail, 0.2)

    def _is_up(self) -> bool:
        if not self.zookeeper.running:
            raise ServerError(f"Druid's ZooKeeper has ended\n{self.log_tail()}")
        return all(role.healthy() for role in self._roles)

    def _leads(self) -> bool:
        try:
            leads = self.get("/druid/coordinator/v1/isLeader")["leader"]
            return bool(leads and self.get("/druid/indexer/v1/workers"))
        except OSError:
            return False


def _java(folder: Path, heap_mib: int, direct_mib: int, *more: str) -> list[str]:
    heap = (f"-Xms{heap_mib // 2}m", f"-Xmx{heap_mib}m", f"-XX:MaxDirectMemorySize={direct_mib}m")
    logging = f"-Dlog4j.configurationFile={folder / 'log4j2.xml'}"
    return [str(java()), *heap, *_FLAGS, logging, *more, "-cp", f"{folder}:{JARS}/*"]
