"""KV over HTTP against the store itself and against webdis: a core for the server, one for the store and the load.

    python -m benchmarks.kv_http [--rows 200000]

`.limit`: requests/s at 64 connections, random keys, cache and metrics on, against `redis-benchmark -t get -c 64 -P 1`.
`.webdis`: the same against webdis (C). `.mget`: 100 keys a request, in keys/s, against `redis-benchmark -P 64`. Redis,
the load and the other servers are where ours are: what serves has the one core, what it asks and who asks it the other.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.harness import print_measure, rows_argument
from benchmarks.pinned import pinned, published
from tests.servers.process import ServerProcess, free_port, program
from tests.servers.redis import RedisServer

SECONDS = 5
ROUNDS = 3
CONNECTIONS = 64
KEYS = 100
GET = """
request = function()
  local headers = {{["Accept"] = "application/x-protobuf", ["Authorization"] = "Bearer {token}"}}
  return wrk.format("GET", "{prefix}" .. math.random(0, {most}), headers)
end
"""
_MGET = """
request = function()
  local keys = {{}}
  for i = 1, {keys} do keys[i] = math.random(0, {most}) end
  local headers = {{["Accept"] = "application/x-protobuf", ["Content-Type"] = "application/json",
    ["Authorization"] = "Bearer {token}"}}
  return wrk.format("POST", "{path}", headers, '{{"keys":[' .. table.concat(keys, ",") .. "]}}")
end
"""


class Webdis(ServerProcess):
    """Debian's webdis over one Redis, on one core."""

    name = "webdis"

    def __init__(self, redis_port: int, core: int) -> None:
        super().__init__()
        self._core = core
        self._redis_port = redis_port

    def prepare(self) -> None:
        settings = {
            "redis_host": "127.0.0.1",
            "redis_port": self._redis_port,
            "http_host": "127.0.0.1",
            "http_port": self.port,
            "threads": 1,
            "pool_size": 10,
            "daemonize": False,
            "verbosity": 0,
            "logfile": str(self.folder / "webdis.log"),
        }
        (self.folder / "webdis.json").write_text(json.dumps(settings))

    def command(self) -> Sequence[str]:
        taskset = ["taskset", "-c", str(self._core)]
        return [*taskset, str(program("webdis", package="webdis")), str(self.folder / "webdis.json")]


def wrk(url: str, script: str, core: int, folder: Path) -> float:
    """Requests a second; fails when any answer was not of status 2xx."""
    path = folder / "load.lua"
    path.write_text(script)
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", "-s"]
    found = subprocess.run([*command, str(path), url], check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in found:
        raise RuntimeError(f"not every answer was good:\n{found}")
    print(re.sub(r"\s+", " ", found[found.index("Latency Dist") :].partition("Transfer")[0]), file=sys.stderr)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", found)[1])  # type: ignore[index]  # it is always there


def redis_benchmark(port: int, prefix: str, rows: int, pipeline: int, core: int) -> float:
    """GETs a second of random rows; of those that `reachable` has made."""
    command = ["taskset", "-c", str(core), "redis-benchmark", "-p", str(port), "-c", str(CONNECTIONS), "--csv"]
    command += ["-P", str(pipeline), "-n", str(300_000 * min(pipeline, 8)), "-r", str(rows)]
    found = subprocess.run(
        [*command, "GET", f"{prefix}__rand_int__"], check=True, capture_output=True, text=True
    ).stdout
    return float(found.strip().splitlines()[-1].split('","')[1])


def reachable(store: RedisServer, prefix: str, rows: int) -> None:
    """Give each row a second key, one that `redis-benchmark` asks for: it writes numbers with twelve digits.

    Without that it would ask for keys that there are not, and find no row to look up, copy and send.
    """
    client = store.client()
    for start in range(0, rows, 1000):
        ids = range(start, min(start + 1000, rows))
        found = client.mget([f"{prefix}{id_}" for id_ in ids])
        client.mset({f"{prefix}{id_:012}": value for id_, value in zip(ids, found, strict=True) if value is not None})


def main() -> None:
    rows = rows_argument(__doc__, 200_000)
    apis = ({"kv": {"name": "bench", "cache": {"ttl": "1s", "size": 1000}}},)
    with ExitStack() as stack:
        bench = stack.enter_context(published(rows, apis))
        folder, store, token, core, other = bench.folder, bench.store, bench.token, bench.core, bench.other
        prefix = f"bench:{bench.version}:"
        reachable(store, prefix, rows)
        webdis = stack.enter_context(Webdis(store.port, core))
        port = free_port()
        serve = [str(Path(sys.executable).with_name("millrace")), "serve", "--port", str(port)]
        stack.enter_context(pinned(serve, bench.env, core))
        base = f"http://127.0.0.1:{port}"
        get = GET.format(prefix="/v1/kv/bench/", most=rows - 1, token=token)
        mget = _MGET.format(path="/v1/kv/bench:mget", most=rows - 1, keys=KEYS, token=token)
        webdis_get = GET.format(prefix=f"/GET/{prefix.replace(':', '%3A')}", most=rows - 1, token="-")
        found: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            found.setdefault("get", []).append(wrk(base, get, other, folder))
            found.setdefault("redis", []).append(redis_benchmark(store.port, prefix, rows, 1, core))
            found.setdefault("webdis", []).append(wrk(f"http://127.0.0.1:{webdis.port}", webdis_get, other, folder))
            found.setdefault("mget", []).append(wrk(base, mget, other, folder) * KEYS)
            found.setdefault("pipeline", []).append(redis_benchmark(store.port, prefix, rows, 64, core))
        middle = {name: sorted(values)[len(values) // 2] for name, values in found.items()}
        print_measure("kv_http.limit", middle["get"], middle["redis"], "requests/s")
        print_measure("kv_http.webdis", middle["get"], middle["webdis"], "requests/s")
        print_measure("kv_http.mget", middle["mget"], middle["pipeline"], "keys/s")


if __name__ == "__main__":
    main()
