"""The KV path over HTTP with all guards on against all off: the same server on one core, store and load on another.

    python -m benchmarks.guards [--rows 200000]

On: permissions with a rate and a quota, the API's own rate and concurrency, bulkheads, overload. Off: none of them, and
nobody is asked for a token. 64 connections, random keys, caches as in `kv_http`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from benchmarks.harness import print_measure, rows_argument
from benchmarks.kv_http import GET, people, wrk
from millrace.catalog import Catalog
from millrace.catalog.access_model import Consumer, QuotaPeriod, Terms
from millrace.serving.guards import GuardMaker
from millrace.serving.guards.protection import Protection, Rules
from millrace.serving.http.endpoints import all_routes
from millrace.serving.http.server import HttpServer
from millrace.serving.service import Service
from millrace.serving.worker import listener, spare_the_collector
from millrace.spec.settings import Settings
from tests.servers.process import free_port
from tests.servers.redis import RedisServer
from tests.serving.publishing import CONNECTION, Publisher

ROUNDS = 5
PLENTY = 10_000_000


class NoProtection(Protection):
    """A worker without any guard."""

    def __init__(self) -> None:
        super().__init__(Rules(permissions=False))

    @property
    def makers(self) -> Sequence[GuardMaker]:
        return ()


async def serve(port: int, protection: Protection) -> None:
    """What a worker does, until it is killed."""
    service = Service(Settings.from_env(), protection)
    await service.open()
    server = HttpServer(service, all_routes(service))
    await server.listen(listener("127.0.0.1", port))
    spare_the_collector()
    print("serving", flush=True)
    await asyncio.Event().wait()


@contextmanager
def pinned(settings: Settings, how: str, core: int) -> Iterator[int]:
    """A server with its guards `on` or `off`, on one core; its port."""
    port = free_port()
    env = {**os.environ, "MILLRACE_HOME": str(settings.home), "MILLRACE_CONNECTIONS": str(settings.connections_file)}
    command = ["taskset", "-c", str(core), sys.executable, "-m", "benchmarks.guards", how, str(port)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("serving")
        yield port
    finally:
        process.kill()
        process.wait(60)


def main() -> None:
    rows = rows_argument(__doc__, 200_000)
    cores = sorted(os.sched_getaffinity(0))
    other, core = cores[0], cores[-1]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-bench-")))
        store = stack.enter_context(RedisServer())
        os.sched_setaffinity(store.pid, {other})
        (folder / "connections.yaml").write_text(f"{CONNECTION}: {store.url}\n")
        settings = Settings.from_env(
            {"MILLRACE_HOME": str(folder), "MILLRACE_CONNECTIONS": str(folder / "connections.yaml")}
        )
        catalog = stack.enter_context(Catalog.open(settings.catalog_url))
        limits = {"requests_per_second": PLENTY, "concurrency": 1000}
        apis = ({"kv": {"name": "bench", "cache": {"ttl": "1s", "size": 1000}, "limits": limits}},)
        Publisher(catalog, store.url, "bench", apis=apis).publish(people(rows))
        catalog.access.add_consumer(Consumer("bench"), "bench")
        terms = Terms(requests_per_second=PLENTY, quota=10 * PLENTY, quota_period=QuotaPeriod.DAY)
        catalog.access.approve(catalog.access.request("bench", "bench", terms, "", "bench").id, "bench")
        get = GET.format(prefix="/v1/kv/bench/", most=rows - 1, token=catalog.access.issue_token("bench", "bench"))
        ports = {how: stack.enter_context(pinned(settings, how, core)) for how in ("on", "off")}
        found: dict[str, list[float]] = {"on": [], "off": []}
        for _ in range(ROUNDS):
            for how, port in ports.items():
                found[how].append(wrk(f"http://127.0.0.1:{port}", get, other, folder))
        print_measure("guards", median(found["on"]), median(found["off"]), "requests/s")


if __name__ == "__main__":
    if sys.argv[1:2] in (["on"], ["off"]):
        import uvloop

        uvloop.run(serve(int(sys.argv[2]), Protection() if sys.argv[1] == "on" else NoProtection()))
    else:
        main()
