"""The KV path over HTTP with all guards on against all off: the same server on one core, store and load on another.

    python -m benchmarks.guards [--rows 200000]

On: permissions with a rate and a quota, the API's own rate and concurrency, bulkheads, overload. Off: none of them, and
nobody is asked for a token. 64 connections, random keys, caches as in `kv_http`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median

from benchmarks.harness import print_measure, rows_argument
from benchmarks.kv_http import GET, wrk
from benchmarks.pinned import PLENTY, pinned, published
from millrace.catalog.access_model import QuotaPeriod, Terms
from millrace.serving.guards import GuardMaker
from millrace.serving.guards.protection import Protection, Rules
from millrace.serving.http.endpoints import all_routes
from millrace.serving.http.server import HttpServer
from millrace.serving.service import Service
from millrace.serving.worker import listener, spare_the_collector
from millrace.spec.settings import Settings
from tests.servers.process import free_port

ROUNDS = 5


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


def main() -> None:
    rows = rows_argument(__doc__, 200_000)
    limits = {"requests_per_second": PLENTY, "concurrency": 1000}
    apis = ({"kv": {"name": "bench", "cache": {"ttl": "1s", "size": 1000}, "limits": limits}},)
    terms = Terms(requests_per_second=PLENTY, quota=10 * PLENTY, quota_period=QuotaPeriod.DAY)
    with ExitStack() as stack:
        bench = stack.enter_context(published(rows, apis, terms))
        get = GET.format(prefix="/v1/kv/bench/", most=rows - 1, token=bench.token)
        ports = {how: free_port() for how in ("on", "off")}
        for how, port in ports.items():
            serve = [sys.executable, "-m", "benchmarks.guards", how, str(port)]
            stack.enter_context(pinned(serve, bench.env, bench.core))
        found: dict[str, list[float]] = {"on": [], "off": []}
        for _ in range(ROUNDS):
            for how, port in ports.items():
                found[how].append(wrk(f"http://127.0.0.1:{port}", get, bench.other, bench.folder))
        print_measure("guards", median(found["on"]), median(found["off"]), "requests/s")


if __name__ == "__main__":
    if sys.argv[1:2] in (["on"], ["off"]):
        import uvloop

        uvloop.run(serve(int(sys.argv[2]), Protection() if sys.argv[1] == "on" else NoProtection()))
    else:
        main()
