"""A real Airflow of a test: database, API server, scheduler and DAG processor, on the specs of one folder.

    with Airflow({"plays.yaml": text}, environment) as airflow:
        run = airflow.trigger("plays")
        airflow.wait_for_run("plays", run)

Everything is below the server's own folder; nothing of Airflow is imported into the tests' process.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from millrace.dags.local.configuration import USER, LocalAirflow, passwords_file, text
from millrace.dags.local.server import ready
from tests.servers.process import ServerProcess, wait_until

PASSWORD = "test"
ENDED = frozenset({"success", "failed"})
_RUN_TIMEOUT_S = 420.0
_AWAY_S = 120.0
_AWAY = (500, 502, 503, 504)


class Airflow(ServerProcess):
    """`specs` are files by name; `environment` is that of its tasks; `config` is the text of airflow.yaml."""

    name: ClassVar[str] = "airflow"
    start_timeout_s: ClassVar[float] = 240.0
    stop_timeout_s: ClassVar[float] = 60.0

    def __init__(self, specs: Mapping[str, str], environment: Mapping[str, str], config: str = "") -> None:
        super().__init__()
        self.specs = self.folder / "specs"
        self.home = self.folder / "home"
        self._given = (specs, config)
        self._environment = environment
        self._token = ""

    def environment(self) -> Mapping[str, str]:
        return {**self._environment, "AIRFLOW_HOME": str(self.home)}

    def prepare(self) -> None:
        specs, config = self._given
        for folder in (self.specs, self.home):
            folder.mkdir()
        for name, content in specs.items():
            self.write_spec(name, content)
        (self.folder / "airflow.yaml").write_text(config)
        local = LocalAirflow(
            self.home,
            self.port,
            [self.specs],
            self.folder / "airflow.yaml",
            parallelism=2,
            changes={
                "dag_processor": {"min_file_process_interval": 3600},
                "scheduler": {"task_instance_heartbeat_timeout": 30, "task_instance_heartbeat_sec": 3},
            },
        )
        (self.home / "airflow.cfg").write_text(text(local, "a secret of tests" * 3))
        passwords_file(self.home).write_text(json.dumps({USER: PASSWORD}))

    def command(self) -> Sequence[str]:
        supervisor = "millrace.dags.local.supervisor"
        return [sys.executable, "-m", supervisor, str(self.home), str(self.folder), str(self.port)]

    def ready(self) -> bool:
        return ready(self.port)

    def write_spec(self, name: str, content: str) -> None:
        (self.specs / name).write_text(content)

    def call(self, path: str, data: Any = None, method: str | None = None) -> Any:
        """Ask Airflow's API, `path` below /api/v2. A refusal is an HTTPError.

        Asked again while the API server says that its database is locked, or is being started anew.
        """
        deadline = time.monotonic() + _AWAY_S
        while True:
            try:
                if not self._token:
                    self._token = self._ask("/auth/token", {"username": USER, "password": PASSWORD})["access_token"]
                return self._ask(f"/api/v2{path}", data, method)
            except urllib.error.HTTPError as error:
                if error.code not in _AWAY or time.monotonic() > deadline:
                    raise
            except OSError:
                if not self.running or time.monotonic() > deadline:
                    raise
            time.sleep(1)

    def page(self, path: str, *, logged_in: bool = True) -> tuple[int, str]:
        """The status and text of any other page."""
        headers = {"Authorization": f"Bearer {self._token}"} if logged_in else {}
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def trigger(self, dag: str, **parameters: Any) -> str:
        """Begin a manual run; its id."""
        run: str = self.call(f"/dags/{dag}/dagRuns", {"logical_date": None, "conf": parameters})["dag_run_id"]
        return run

    def wait_for_dag(self, dag: str) -> None:
        """Until the DAG processor has found it."""
        like_it = f"/dags?limit=100&dag_id_pattern={_quoted(dag)}"  # Airflow lists a hundred at most
        self.wait(lambda: dag in {d["dag_id"] for d in self.call(like_it)["dags"]}, f"the DAG {dag}")

    def wait_for_run(self, dag: str, run: str) -> str:
        """Until it has ended; its state."""
        self.wait(lambda: self.run_state(dag, run) in ENDED, f"the run {run} of {dag}", dag, run)
        return self.run_state(dag, run)

    def run_state(self, dag: str, run: str) -> str:
        state: str = self.call(f"/dags/{dag}/dagRuns/{_quoted(run)}")["state"]
        return state

    def tasks(self, dag: str, run: str) -> dict[str, dict[str, Any]]:
        """The task instances of a run by name; a mapped one is `load:redis`."""
        found = self.call(f"/dags/{dag}/dagRuns/{_quoted(run)}/taskInstances")["task_instances"]
        return {_name(task): task for task in found}

    def states(self, dag: str, run: str) -> dict[str, str]:
        return {name: task["state"] for name, task in self.tasks(dag, run).items()}

    def task_log(self, dag: str, run: str, task: str, attempt: int = 1) -> str:
        """The lines of a task's log, as the UI shows them."""
        name, _, target = task.partition(":")
        index = self.tasks(dag, run)[task]["map_index"] if target else -1
        task_path = f"/dags/{dag}/dagRuns/{_quoted(run)}/taskInstances/{name}"
        content = self.call(f"{task_path}/logs/{attempt}?map_index={index}&full_content=true")["content"]
        return "\n".join(line if isinstance(line, str) else f"{line['event']} {_error(line)}" for line in content)

    def wait(self, condition: Any, what: str, *of: str) -> None:
        """Until a condition holds; a failure shows the run's tasks and the end of Airflow's log."""
        detail = (lambda: f"{self.states(*of)}\n{self.log_tail()}") if of else self.log_tail
        wait_until(condition, what, _RUN_TIMEOUT_S, detail, every_s=0.5)

    def _ask(self, path: str, data: Any = None, method: str | None = None) -> Any:
        body = None if data is None else json.dumps(data).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            content = answer.read()
            return json.loads(content) if content else None


def _name(task: Mapping[str, Any]) -> str:
    target = task["rendered_map_index"]
    return f"{task['task_id']}:{target}" if task["map_index"] >= 0 else str(task["task_id"])


def _error(line: Mapping[str, Any]) -> str:
    return " ".join(f"{error['exc_type']}: {error['exc_value']}" for error in line.get("error_detail") or ())


def _quoted(run: str) -> str:
    return urllib.parse.quote(run, safe="")
