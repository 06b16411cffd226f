"""KV over gRPC, 100 keys a request, against a bare grpc.aio server that returns constants: each on one core, by turns.

    python -m benchmarks.kv_grpc [--rows 200000]

The load is h2load's (Debian's nghttp2-client), one connection with 16 calls in flight. The bare server gives the bytes
that ours would, without looking at the request. The store and the load share the other core.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import print_measure, rows_argument
from benchmarks.pinned import pinned, published
from millrace.serving.grpc.schema import message
from tests.servers.process import free_port, program

KEYS = 100
CALLS = 12_000
IN_FLIGHT = 16
ROUNDS = 5
_METHOD = "/millrace.v1.Kv/MultiGet"


async def bare(port: int, reply: bytes) -> None:
    """A grpc.aio server with one method, which returns the same bytes each time."""
    import grpc

    async def handle(_request: bytes, _context: Any) -> bytes:
        return reply

    server = grpc.aio.server(options=[("grpc.so_reuseport", 1)])
    handler = grpc.unary_unary_rpc_method_handler(handle)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("millrace.v1.Kv", {"MultiGet": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print("serving", flush=True)
    await server.wait_for_termination()


def load(port: int, body: Path, token: str, core: int) -> float:
    """Calls a second; fails when any was not answered."""
    command = ["taskset", "-c", str(core), str(program("h2load", package="nghttp2-client"))]
    command += [f"-n{CALLS}", "-c1", f"-m{IN_FLIGHT}", "-d", str(body), "-H", "te: trailers"]
    command += ["-H", "content-type: application/grpc", "-H", f"authorization: Bearer {token}"]
    found = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{_METHOD}"], check=True, capture_output=True, text=True
    ).stdout
    done = re.search(r"(\d+) succeeded, \d+ failed", found)
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", found)
    if done is None or rate is None or int(done[1]) != CALLS:
        raise RuntimeError(f"not every call was answered:\n{found}")
    return float(rate[1])


def one_answer(port: int, request: bytes, token: str) -> bytes:
    """What our server says to the request of the load: a whole answer, or this raises."""
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer: bytes = channel.unary_unary(_METHOD)(request, metadata=(("authorization", f"Bearer {token}"),))
    assert len(message("Rows").FromString(answer).values) == KEYS
    return answer


def main() -> None:
    rows = rows_argument(__doc__, 200_000)
    with ExitStack() as stack:
        bench = stack.enter_context(published(rows, ({"kv": {"name": "bench"}},)))
        folder, token = bench.folder, bench.token
        keys = [str(key * 7919 % rows) for key in range(1, KEYS + 1)]
        request = message("MultiGetRequest")(api="bench", keys=keys).SerializeToString()
        body = folder / "request.grpc"
        body.write_bytes(b"\x00" + len(request).to_bytes(4, "big") + request)
        ports = [free_port(), free_port()]
        serve = [str(Path(sys.executable).with_name("millrace")), "serve", "--port", str(free_port())]
        stack.enter_context(pinned([*serve, "--grpc-port", str(ports[0])], bench.env, bench.core))
        reply = folder / "reply"
        reply.write_bytes(one_answer(ports[0], request, token))
        stack.enter_context(
            pinned([sys.executable, "-m", "benchmarks.kv_grpc", "bare", str(ports[1]), str(reply)], {}, bench.core)
        )
        found: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS):
            for port, rates in zip(ports, found, strict=True):
                rates.append(load(port, body, token, bench.other) * KEYS)
        print_measure("kv_grpc.mget", median(found[0]), median(found[1]), "keys/s")


if __name__ == "__main__":
    if sys.argv[1:2] == ["bare"]:
        asyncio.run(bare(int(sys.argv[2]), Path(sys.argv[3]).read_bytes()))
    else:
        main()
