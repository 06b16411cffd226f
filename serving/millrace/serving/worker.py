"""One worker process: all APIs on HTTP and gRPC, on the ports that its siblings listen on too.

Started by `supervisor`, with its options as JSON in `argv`. It says `ready` on stdout when it serves. It leaves when it
gets SIGTERM, or when its stdin ends, which means that the supervisor has gone: no new requests, then the answers that
are due, then the end. Exit code 2: the settings are wrong, and starting again would not help.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from millrace.errors import SpecError
from millrace.serving import logs, tracing
from millrace.serving.guards.protection import Protection, Rules
from millrace.serving.http.endpoints import all_routes
from millrace.serving.http.server import HttpServer
from millrace.serving.service import Service
from millrace.serving.tls import Files, ServerTls
from millrace.spec.settings import Settings

log = logging.getLogger(__name__)

DUMP_S = 1.0
_MOST_FILES = 32_768
WRONG_SETTINGS = 2


@dataclass(frozen=True)
class Options:
    """How a server runs. Ports are real ones by the time a worker sees them; `grpc_port` None: no gRPC."""

    host: str = "127.0.0.1"
    http_port: int = 8080
    grpc_port: int | None = None
    workers: int = 1
    drain_s: float = 30.0
    lame_duck_s: float = 0.0
    log_style: str = "json"
    log_level: str = "info"
    run_dir: str = ""
    permissions: bool = True
    certificate: str = ""  # PEM files of TLS: see `tls.Files`
    key: str = ""
    client_ca: str = ""
    index: int = 0  # of this worker among the server's

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Options:
        return cls(**json.loads(text))

    @property
    def tls(self) -> Files | None:
        """None without TLS. Raises ConfigError for a key without a certificate."""
        return Files.of(self.certificate, self.key, self.client_ca)


def listener(host: str, port: int) -> socket.socket:
    """A bound TCP socket whose port other processes of this user can bind too. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def spare_the_collector() -> None:
    """Let cyclic garbage collection pass over what lives as long as the process, and come by less often.

    Requests leave no cycles behind; collections in the middle of them were a third of their time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def allow_many_connections() -> None:
    """Open files as many as this process may have; the soft limit is often 1,024, and each connection is a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _MOST_FILES:
        wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


class Numbers:
    """What workers tell each other of their metrics: a file each, in a folder that the supervisor made."""

    def __init__(self, folder: str, service: Service) -> None:
        self._folder = Path(folder) if folder else None
        self._service = service
        self._own = self._folder / f"worker-{os.getpid()}.json" if self._folder else None

    def all(self) -> list[Mapping[str, Any]]:
        """This worker's numbers as they are, the others' as they were a moment ago."""
        found: list[Mapping[str, Any]] = [self._service.metrics.dump()]
        for path in self._folder.glob("*.json") if self._folder else ():
            if path != self._own:
                with contextlib.suppress(FileNotFoundError):
                    found.append(json.loads(path.read_bytes()))
        return found

    def write(self) -> None:
        if self._own is not None:
            draft = self._own.with_suffix(".new")
            draft.write_text(json.dumps(self._service.metrics.dump()))
            draft.rename(self._own)

    async def keep_writing(self) -> None:
        while True:
            await asyncio.sleep(DUMP_S)
            self.write()


async def serve(options: Options, settings: Settings) -> None:
    """Serve until told to leave. Raises what opening the catalog raises."""
    loop = asyncio.get_running_loop()
    leave = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave.set)
    loop.add_reader(sys.stdin.fileno(), leave.set)
    folder = Path(options.run_dir) if options.run_dir else None
    rules = Rules(options.permissions, options.index, options.workers, folder)
    service = Service(settings, Protection(rules))
    numbers = Numbers(options.run_dir, service)
    await service.open()
    tls = ServerTls(files) if (files := options.tls) is not None else None
    http = HttpServer(service, all_routes(service, numbers.all), tls=tls)
    grpc = None
    try:
        if options.grpc_port is not None:
            from millrace.serving.grpc.server import GrpcServer

            grpc = GrpcServer(service, tls=tls)
            await grpc.listen(options.host, options.grpc_port)
        await http.listen(listener(options.host, options.http_port))
        beside = [loop.create_task(numbers.keep_writing())]
        if tls is not None:
            beside.append(loop.create_task(tls.keep_renewing()))
        spare_the_collector()
        print("ready", flush=True)
        await leave.wait()
        loop.remove_reader(sys.stdin.fileno())
        service.draining = True
        await asyncio.sleep(options.lame_duck_s)
        leaving = [http.drain(options.drain_s), *([grpc.drain(options.drain_s)] if grpc is not None else ())]
        await asyncio.gather(*leaving)
        for task in beside:
            task.cancel()
        numbers.write()
    finally:
        await service.close()


def main() -> int:
    """The process's way in."""
    options = Options.from_json(sys.argv[1])
    logs.set_up(options.log_style, options.log_level)
    import uvloop

    allow_many_connections()
    try:
        settings = Settings.from_env()
        tracing.set_up()
        uvloop.run(serve(options, settings))
    except SpecError as error:
        log.error("%s", error)
        return WRONG_SETTINGS
    return 0


if __name__ == "__main__":
    sys.exit(main())
