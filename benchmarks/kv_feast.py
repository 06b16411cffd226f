"""50 features of one entity over HTTP, against Feast's own Python feature server on the same Redis.

    python -m benchmarks.kv_feast [--rows 2000]

Both servers have a process on the same core, by turns; Redis and the load (wrk, 64 connections) share the other. Both
answer with JSON for random entities: ours as it is stored (`value: json`), with all guards on, no cache. Feast is none
of this project's packages: at first use this version is installed into an environment of its own in `.cache`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import print_measure, rows_argument
from benchmarks.kv_http import wrk
from benchmarks.pinned import pinned, published
from tests.servers.process import free_port, wait_until

FEAST = "0.67.0"
FEATURES = 50
ROUNDS = 3
_SETTLE_S = 2.0  # what was asked last is still being worked on when the load has ended
_GET = """
request = function()
  local headers = {{["Accept"] = "application/json", ["Authorization"] = "Bearer {token}"}}
  return wrk.format("GET", "/v1/kv/bench/" .. math.random(0, {most}), headers)
end
"""
_ASK_FEAST = """
request = function()
  local body = '{{"feature_service": "bench", "entities": {{"id": [' .. math.random(0, {most}) .. "]}}}}"
  return wrk.format("POST", "/get-online-features", {{["Content-Type"] = "application/json"}}, body)
end
"""
_SETTINGS = """
project: bench
provider: local
registry: {folder}/registry.db
online_store: {{type: redis, connection_string: "127.0.0.1:{port}"}}
entity_key_serialization_version: 3
"""
#: What Feast is told of the rows, by its own Python: the arguments are its folder and the number of features.
_DEFINE = """
import sys
import pandas
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64

folder, features = sys.argv[1], int(sys.argv[2])
entity = Entity(name="entity", join_keys=["id"], value_type=ValueType.INT64)
source = FileSource(path=folder + "/rows.parquet", timestamp_field="event_timestamp")
schema = [Field(name=f"feature_{number}", dtype=Float64) for number in range(features)]
view = FeatureView(name="bench", entities=[entity], schema=schema, source=source)
store = FeatureStore(repo_path=folder)
store.apply([entity, view, FeatureService(name="bench", features=[view])])
store.write_to_online_store("bench", pandas.read_parquet(folder + "/rows.parquet"))
"""


def features(rows: int) -> pa.RecordBatch:
    """Entities with 50 numbers each."""
    numbers = np.random.default_rng(7).random((FEATURES, rows))
    columns = {f"feature_{place}": pa.array(values) for place, values in enumerate(numbers)}
    return pa.RecordBatch.from_pydict({"id": pa.array(range(rows), pa.int64()), **columns})


def feast_environment() -> Path:
    """The folder of Feast's commands; installs it when it isn't there."""
    home = Path(os.environ.get("MILLRACE_CACHE", ".cache")).resolve() / f"feast-{FEAST}"
    done = home / "installed"
    if not done.exists():
        print(f"installing feast {FEAST} into {home}", file=sys.stderr)
        venv.create(home, clear=True, with_pip=True, symlinks=True)
        install = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", f"feast[redis]=={FEAST}"]
        subprocess.run(install, check=True)
        done.touch()
    return home / "bin"


@contextmanager
def feast(folder: Path, rows: pa.RecordBatch, redis_port: int, core: int) -> Iterator[str]:
    """`feast serve` with these rows in its online store; its address."""
    commands = feast_environment()
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(_SETTINGS.format(folder=folder, port=redis_port))
    now = pa.array([datetime.now(UTC)] * rows.num_rows)
    pq.write_table(pa.table(rows).append_column("event_timestamp", now), folder / "rows.parquet")
    env = {**os.environ, "FEAST_USAGE": "False"}
    subprocess.run(
        [str(commands / "python"), "-c", _DEFINE, str(folder), str(FEATURES)], check=True, env=env, stdout=sys.stderr
    )
    port = free_port()
    serve = [str(commands / "feast"), "--chdir", str(folder), "serve", "--port", str(port), "--no-access-log"]
    serve += ["--workers", "1", "--max-requests", "0"]  # its workers are not made anew in the middle of it
    process = subprocess.Popen(["taskset", "-c", str(core), *serve], env=env, stdout=sys.stderr)
    try:
        wait_until(lambda: _answers(port), "feast serve", 120)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def _answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    rows = features(rows_argument(__doc__, 2_000))
    with ExitStack() as stack:
        bench = stack.enter_context(published(rows, ({"kv": {"name": "bench"}},), value="json"))
        port = free_port()
        serve = [str(Path(sys.executable).with_name("millrace")), "serve", "--port", str(port)]
        stack.enter_context(pinned(serve, bench.env, bench.core))
        theirs = stack.enter_context(feast(bench.folder / "feast", rows, bench.store.port, bench.core))
        get = _GET.format(most=rows.num_rows - 1, token=bench.token)
        ask_feast = _ASK_FEAST.format(most=rows.num_rows - 1)
        found: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS):
            found[0].append(wrk(f"http://127.0.0.1:{port}", get, bench.other, bench.folder))
            found[1].append(wrk(theirs, ask_feast, bench.other, bench.folder))
            time.sleep(_SETTLE_S)
        print_measure("kv_http.feast", median(found[0]), median(found[1]), "requests/s")


if __name__ == "__main__":
    main()
