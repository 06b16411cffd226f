"""KV over HTTP against the store itself and against webdis: a core for the server, one for the store and the load.

    python -m benchmarks.kv_http [--rows 200000]

`.limit`: requests/s at 64 connections, random keys, cache and metrics on, against `redis-benchmark -t get -c 64 -P 1`.
`.webdis`: the same against webdis (C). `.mget`: 100 keys a request, in keys/s, against `redis-benchmark -P 64`. Redis,
the load and the other servers are where ours are: what serves has the one core, what it asks and who asks it the other.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow as pa

from benchmarks.harness import print_measure, rows_argument
from millrace.catalog import Catalog
from millrace.catalog.access_model import Consumer, Terms
from millrace.spec.settings import Settings
from tests.servers.process import ServerProcess, free_port, program
from tests.servers.redis import RedisServer
from tests.serving.publishing import CONNECTION, Publisher

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


@contextmanager
def pinned_server(settings: Settings, core: int) -> Iterator[int]:
    """`millrace serve` with one worker on one core; its port."""
    port = free_port()
    env = {**os.environ, "MILLRACE_HOME": str(settings.home), "MILLRACE_CONNECTIONS": str(settings.connections_file)}
    command = ["taskset", "-c", str(core), str(Path(sys.executable).with_name("millrace")), "serve"]
    process = subprocess.Popen([*command, "--port", str(port)], env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("serving")
        yield port
    finally:
        process.terminate()
        process.wait(60)


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
    """GETs a second of the same keys."""
    command = ["taskset", "-c", str(core), "redis-benchmark", "-p", str(port), "-c", str(CONNECTIONS), "--csv"]
    command += ["-P", str(pipeline), "-n", str(300_000 * min(pipeline, 8)), "-r", str(rows)]
    found = subprocess.run(
        [*command, "GET", f"{prefix}__rand_int__"], check=True, capture_output=True, text=True
    ).stdout
    return float(found.strip().splitlines()[-1].split('","')[1])


def consumer_token(catalog: Catalog) -> str:
    """The token of a consumer whose grant has a rate that the load stays below."""
    catalog.access.add_consumer(Consumer("bench"), "bench")
    asked = catalog.access.request("bench", "bench", Terms(requests_per_second=10_000_000), "", "bench")
    catalog.access.approve(asked.id, "bench")
    return catalog.access.issue_token("bench", "bench")


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
        apis = ({"kv": {"name": "bench", "cache": {"ttl": "1s", "size": 1000}}},)
        prefix = f"bench:{Publisher(catalog, store.url, 'bench', apis=apis).publish(people(rows)).id}:"
        token = consumer_token(catalog)
        webdis = stack.enter_context(Webdis(store.port, core))
        port = stack.enter_context(pinned_server(settings, core))
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


def people(rows: int) -> pa.RecordBatch:
    """Rows of about 105 bytes of Protobuf."""
    ids = range(rows)
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array(ids, pa.int64()),
            "name": pa.array([f"person number {id_:07}" for id_ in ids]),
            "city": pa.array([f"city {id_ % 500:03}" for id_ in ids]),
            "email": pa.array([f"person.{id_:07}@mail.example.com" for id_ in ids]),
            "age": pa.array([id_ % 90 for id_ in ids], pa.int32()),
            "note": pa.array(["a few words more"] * rows),
        }
    )


if __name__ == "__main__":
    main()
