"""Specs on a real Airflow: through DAG processor, scheduler and tasks to published versions, and through failures.

One Airflow for all of it; the runs go side by side as far as they can, so the first test to wait pays for the others.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from millrace.catalog import Catalog, Registration, RunState
from millrace.serving import connect
from millrace.spec import parse_spec
from millrace.spec.settings import Settings
from tests.servers.airflow import ENDED, Airflow
from tests.servers.clickhouse import ClickHouse
from tests.servers.inbox import MailBox, Webhook, mail_box, webhook
from tests.servers.process import wait_until
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.timeout(1500)

PLAYS = """\
version: 1
asset: plays
owner: web@example.com
description: "One row a play: {{ conn.x }} \\"quoted\\" <b>"
business_line: web
priority: high
source:
  log: {path: "plays.json", format: json, fields: {id: bigint, title: string}}
checks:
  - not_null: [id]
targets:
  - redis: {connection: online, key: "{id}"}
limits: {channels: 2, timeout: 10m}
apis:
  - kv: {name: plays}
"""
REFUSED = (
    PLAYS.replace("asset: plays", "asset: refused")
    .replace("kv: {name: plays}", "kv: {name: refused}")
    .replace("  - not_null: [id]", "  - row_count: {min: 1000}")
    + "alerts:\n  - {on: check_failed, to: ops}\n  - {on: check_failed, to: mail}\n"
)
CHARTS = """\
version: 1
asset: charts
schedule: {after: [plays]}
priority: low
source:
  log: {path: "plays.json", format: json, fields: {id: bigint, title: string}}
targets:
  - redis: {connection: nowhere, key: "{id}"}
"""
MANY = """\
version: 1
asset: many_%(number)d
business_line: line%(line)d
priority: %(priority)s
source:
  log: {path: "none.json", format: json, fields: {id: bigint}}
targets:
  - redis: {connection: online, key: "{id}"}
"""
DAILY = """\
version: 1
asset: daily
schedule: {cron: "0 0 * * *", start: 2026-01-01}
source:
  log: {path: "{{ ds }}.json", format: json, fields: {id: bigint, day: date, title: string}}
targets:
  - clickhouse: {connection: warehouse, order_by: [id], interval: day}
mode: append
"""
LATEST = """\
version: 1
asset: latest
schedule: {cron: "0 0 * * *", start: 2026-01-01}
source:
  log: {path: "{{ ds }}.json", format: json, fields: {id: bigint, day: date, title: string}}
targets:
  - redis: {connection: online, key: "{id}"}
mode: merge
apis:
  - kv: {name: latest}
"""
OVERDUE = """\
version: 1
asset: overdue
schedule: {cron: "0 0 * * *", start: 2026-01-01}
source:
  log: {path: "none.json", format: json, fields: {id: bigint}}
targets:
  - redis: {connection: online, key: "{id}"}
alerts:
  - {on: late, to: ops, late_after: 1s}
"""
BAD = PLAYS.replace("asset: plays", "asset: bad").replace("[id]", "[ident]")
CONFIG = "retries: {count: 2, wait: 1s, longest_wait: 2s}\npools: {slots: {high: 5}}\n"


@dataclass
class Place:
    """An Airflow with its store, and the millrace that its tasks work in."""

    airflow: Airflow
    settings: Settings
    plays: str  # the id of a run of `plays` whose task `stage` was killed once
    refused: str
    hook: Webhook
    mails: MailBox

    def catalog(self) -> Catalog:
        return Catalog.open(self.settings.catalog_url)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("millrace")
    environment = {
        "MILLRACE_HOME": str(folder),
        "MILLRACE_SPARK_MASTER": "local[2]",
        "MILLRACE_SPARK_CONF": f"spark.driver.memory=512m spark.local.dir={folder}",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
            {"type": "file", "log_file_path": str(folder / "lineage.json"), "append": True}
        ),
        "AIRFLOW__OPENLINEAGE__NAMESPACE": "tests",
        "AIRFLOW__OPENLINEAGE__DISABLED_FOR_OPERATORS": ";".join(
            f"millrace.dags.operator.{name}" for name in ("StepOperator", "RetireOperator")
        ),
    }
    specs = {"plays.yaml": PLAYS, "refused.yaml": REFUSED, "charts.yaml": CHARTS, "bad.yaml": BAD}
    with RedisServer() as redis, webhook() as hook, mail_box() as mails, Airflow(specs, environment, CONFIG) as airflow:
        (airflow.folder / "plays.json").write_text("".join(f'{{"id": {n}, "title": "t{n}"}}\n' for n in range(500)))
        airflow.call(
            "/connections", {"connection_id": "online", "conn_type": "redis", "host": "127.0.0.1", "port": redis.port}
        )
        for name, kind, port, schema, extra in (
            ("ops", "http", hook.port, "http", {"endpoint": "hook"}),
            ("mail", "smtp", mails.port, "", {"to": "night@example.com"}),
        ):
            where = {"host": "127.0.0.1", "port": port, "schema": schema, "extra": json.dumps(extra)}
            airflow.call("/connections", {"connection_id": name, "conn_type": kind, **where})
        for dag in ("plays", "refused", "charts"):
            airflow.wait_for_dag(dag)
        (folder / "connections.yaml").write_text(f"online: redis://127.0.0.1:{redis.port}\n")
        settings = Settings.from_env({**environment, "MILLRACE_CONNECTIONS": str(folder / "connections.yaml")})
        yield Place(airflow, settings, airflow.trigger("plays"), airflow.trigger("refused"), hook, mails)


def task_process(place: Place, step: str, run: str) -> int | None:
    """The process of Airflow that a step's process was started by."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_text().split("\0")
                if "millrace.dags.step" not in words or str(place.settings.home) not in (entry / "environ").read_text():
                    continue
                request = Path(words[words.index("millrace.dags.step") + 1]).read_text()
                if f'"step": "{step}"' in request and run in request:
                    return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    return None


def test_a_killed_worker_is_found_out_and_its_step_done_again(place: Place) -> None:
    found: list[int] = []

    def working() -> bool:
        parent = task_process(place, "stage", place.plays)
        found.extend([parent] if parent else [])
        return bool(found)

    wait_until(working, "the step stage to start", 420, place.airflow.log_tail)
    os.kill(found[0], signal.SIGKILL)
    assert place.airflow.wait_for_run("plays", place.plays) == "success"
    tasks = place.airflow.tasks("plays", place.plays)
    assert tasks["stage"]["try_number"] == 2
    assert tasks["plan"]["try_number"] == 1, "the plan of the first try was used"


def test_a_run_goes_from_spec_to_published_version(place: Place) -> None:
    assert place.airflow.wait_for_run("plays", place.plays) == "success"
    steps = ["plan", "stage", "check", "load:redis", "verify:redis", "publish", "retire"]
    assert place.airflow.states("plays", place.plays) == dict.fromkeys(steps, "success")
    with connect(place.settings) as client:
        row = client.kv("plays").get(7)
        assert row is not None
        assert row["title"] == "t7"
    with place.catalog() as catalog:
        (run,) = catalog.runs.list("plays")
        assert (run.key, run.trigger, run.state) == (place.plays, "airflow:manual", RunState.SUCCEEDED)
        assert catalog.leases.holder("plays") is None


def test_its_log_shows_what_the_step_did(place: Place) -> None:
    place.airflow.wait_for_run("plays", place.plays)
    log = place.airflow.task_log("plays", place.plays, "load:redis")
    assert "→ load:redis" in log
    assert "500 rows" in log


def test_a_publish_is_an_event_of_its_asset_with_version_rows_and_checks(place: Place) -> None:
    place.airflow.wait_for_run("plays", place.plays)
    (event,) = place.airflow.call("/assets/events?source_dag_id=plays")["asset_events"]
    with place.catalog() as catalog:
        current = catalog.versions.current("plays")
    assert current is not None
    assert event["extra"]["version"] == current.id
    assert event["extra"]["rows"] == 500
    assert event["extra"]["columns"] == {"id": "bigint", "title": "string"}
    assert [(c["check"].split(":")[0], c["passed"]) for c in event["extra"]["checks"]] == [("not_null", True)]


def test_a_publish_tells_openlineage_columns_counts_and_check_results(place: Place) -> None:
    place.airflow.wait_for_run("plays", place.plays)
    file = Path(place.settings.home) / "lineage.json"
    events = [json.loads(line) for line in file.read_text().splitlines()]
    event = next(e for e in events if e["job"]["name"] == "plays.publish" and e["eventType"] == "COMPLETE")
    (output,) = event["outputs"]
    assert output["name"] == "plays"
    assert output["namespace"].startswith("redis://127.0.0.1:")
    columns = [(field["name"], field["type"]) for field in output["facets"]["schema"]["fields"]]
    assert columns == [("id", "bigint"), ("title", "string")]
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 500
    (source,) = event["inputs"]
    (assertion,) = source["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert (assertion["assertion"], assertion["success"]) == ("not_null", True)


def test_what_runs_after_an_asset_starts_by_its_publish_and_fails_at_once_without_a_connection(place: Place) -> None:
    airflow = place.airflow
    airflow.wait_for_run("plays", place.plays)
    runs: list[dict[str, Any]] = []

    def started() -> bool:
        runs[:] = airflow.call("/dags/charts/dagRuns")["dag_runs"]
        return bool(runs)

    airflow.wait(started, "the run of charts to start")
    assert runs[0]["run_type"] == "asset_triggered"
    run = runs[0]["dag_run_id"]
    assert airflow.wait_for_run("charts", run) == "failed"
    tasks = airflow.tasks("charts", run)
    failed = next(name for name, task in tasks.items() if task["state"] == "failed")
    assert tasks[failed]["try_number"] == 1, "what can't pass is not tried again"
    assert "no connection 'nowhere'" in airflow.task_log("charts", run, failed)


def test_a_cleared_task_goes_on_from_its_own_step_with_the_plan_of_its_run(place: Place) -> None:
    airflow = place.airflow
    runs = airflow.call("/dags/charts/dagRuns")["dag_runs"]
    assert [run["state"] for run in runs] == ["failed"]
    run = runs[0]["dag_run_id"]
    failed = next(name for name, state in airflow.states("charts", run).items() if state == "failed")
    redis = airflow.call("/connections/online")
    known = {key: redis[key] for key in ("conn_type", "host", "port")}
    airflow.call("/connections", {"connection_id": "nowhere", **known})
    task = failed.partition(":")[0]
    cleared = {
        "dry_run": False,
        "dag_run_id": run,
        "task_ids": [task],
        "include_downstream": True,
        "only_failed": False,
    }
    airflow.call("/dags/charts/clearTaskInstances", cleared)
    assert airflow.wait_for_run("charts", run) == "success"
    tasks = airflow.tasks("charts", run)
    assert (tasks["plan"]["try_number"], tasks[failed]["try_number"]) == (1, 2)
    with place.catalog() as catalog:
        (record,) = catalog.runs.list("charts")
        assert record.state is RunState.SUCCEEDED
        assert {step.name: step.attempt for step in record.steps}["plan"] == 1


def test_a_failing_check_blocks_the_publish_and_frees_the_asset(place: Place) -> None:
    airflow, run = place.airflow, place.refused
    assert airflow.wait_for_run("refused", run) == "failed"
    tasks = airflow.tasks("refused", run)
    assert (tasks["check"]["state"], tasks["check"]["try_number"]) == ("failed", 1)
    assert tasks["publish"]["state"] == "upstream_failed"
    assert tasks["retire"]["state"] == "success"
    log = airflow.task_log("refused", run, "check")
    assert "data docs: http://" in log
    assert "1 of 1 checks refused the data of refused" in log
    assert "500" in log
    with place.catalog() as catalog:
        (record,) = catalog.runs.list("refused")
        assert record.state is RunState.FAILED
        assert record.error is not None
        assert record.error.kind == "CheckFailed"
        assert catalog.versions.current("refused") is None
        assert catalog.leases.holder("refused") is None
    (told,) = place.hook.bodies
    assert (told["event"], told["run"], told["serving"]) == ("check_failed", record.id, None)
    assert (told["checks"][0]["observed"], place.hook.paths) == (500, ["/hook"])
    assert place.mails.recipients == [["night@example.com"]]


def test_what_a_check_found_is_a_page_for_those_who_may_see_the_dag(place: Place) -> None:
    airflow, run = place.airflow, place.refused
    airflow.wait_for_run("refused", run)
    with place.catalog() as catalog:
        (record,) = catalog.runs.list("refused")
    listed = f"http://127.0.0.1:{airflow.port}/millrace/docs/refused/index.html"
    shown = f"/millrace/docs/refused/{record.id}/index.html"
    links = airflow.call(f"/dags/refused/dagRuns/{run}/taskInstances/check/links")["extra_links"]
    assert links == {"Data docs": f"http://127.0.0.1:{airflow.port}{shown}"}
    assert f"[data docs]({listed})" in airflow.call("/dags/refused/details")["doc_md"]
    assert place.hook.bodies[0]["links"]["data docs"] == links["Data docs"]
    assert (airflow.page(shown)[0], airflow.page(shown, logged_in=False)[0]) == (200, 401)
    assert "Great Expectations" in airflow.page(shown)[1]
    assert record.id in airflow.page("/millrace/docs/refused/index.html")[1]
    for wrong in (shown.replace("refused", "plays"), "/millrace/docs/refused/..%2f..%2frefused/index.html"):
        assert airflow.page(wrong)[0] == 404


def test_a_bad_spec_alone_is_an_import_error_with_file_and_line(place: Place) -> None:
    (error,) = place.airflow.call("/importErrors")["import_errors"]
    assert error["filename"] == "bad.py"
    assert f"{place.airflow.specs / 'bad.yaml'}:10:16: unknown column 'ident'" in error["stack_trace"]
    assert {dag["dag_id"] for dag in place.airflow.call("/dags")["dags"]} >= {"plays", "refused", "charts"}


def test_two_hundred_specs_are_dags_within_their_pools(place: Place) -> None:
    airflow = place.airflow
    for number in range(200):
        values = {"number": number, "line": number % 10, "priority": ("high", "medium", "low")[number % 3]}
        airflow.write_spec(f"many_{number}.yaml", MANY % values)

    def all_there() -> bool:
        found = airflow.call("/dags?limit=1&dag_id_pattern=many_%25")
        return bool(found["total_entries"] == 200)

    airflow.wait(all_there, "200 DAGs")
    pools = {p["name"]: p["slots"] for p in airflow.call("/pools?limit=100")["pools"]}
    assert {f"millrace_line{line}_{priority}" for line in range(10) for priority in ("high", "medium", "low")} <= set(
        pools
    )
    assert len(airflow.call("/importErrors")["import_errors"]) == 1, "that of bad.yaml"


def test_high_priority_goes_before_what_waits_and_an_assets_runs_come_one_after_the_other(place: Place) -> None:
    airflow = place.airflow
    waiting = {"queue_a": "low", "queue_b": "low", "queue_c": "low", "queue_z": "high"}
    for number, (dag, priority) in enumerate(waiting.items()):
        spec = MANY % {"number": 0, "line": number, "priority": priority}
        airflow.write_spec(f"{dag}.yaml", spec.replace("many_0", dag))
    for dag in waiting:
        airflow.wait_for_dag(dag)
    all_of_them = "/dags?limit=100&dag_id_pattern=queue_%25"
    airflow.call(all_of_them, {"is_paused": True}, method="PATCH")
    runs = [(dag, airflow.trigger(dag)) for dag in (*waiting, "queue_z")]
    airflow.call(all_of_them, {"is_paused": False}, method="PATCH")
    assert [airflow.wait_for_run(*run) for run in runs] == ["failed"] * 5, "none.json isn't there"
    plans = {run: airflow.tasks(*run)["plan"]["start_date"] for run in runs}
    order = sorted(runs, key=lambda run: plans[run])
    assert ("queue_z", runs[3][1]) in order[:3], "two tasks run at a time: it came before the rest of the low ones"
    one, other = (airflow.call(f"/dags/queue_z/dagRuns/{run}") for _, run in runs[3:])
    assert one["end_date"] <= other["start_date"] or other["end_date"] <= one["start_date"]


DAYS = {"2026-01-01": 5, "2026-01-02": 4}


def backfill(place: Place, dag: str) -> list[str]:
    """Make a run for each of DAYS, the last day first; the days in the order in which they were published."""
    airflow = place.airflow
    airflow.wait_for_dag(dag)
    airflow.call(f"/dags/{dag}", {"is_paused": False}, method="PATCH")
    asked = {"from_date": f"{min(DAYS)}T00:00:00Z", "to_date": f"{max(DAYS)}T00:00:00Z", "run_backwards": True}
    airflow.call("/backfills", {"dag_id": dag, "max_active_runs": 1, "dag_run_conf": {}, **asked})

    def ended() -> bool:
        runs = airflow.call(f"/dags/{dag}/dagRuns?run_type=backfill")["dag_runs"]
        return len(runs) == len(DAYS) and all(run["state"] in ENDED for run in runs)

    airflow.wait(ended, f"the backfill of {dag}")
    with place.catalog() as catalog:
        runs = [run for run in catalog.runs.list(dag) if run.trigger == "airflow:backfill" and run.published_at]
        return [f"{run.window_start:%Y-%m-%d}" for run in sorted(runs, key=lambda run: run.started_at)]


def test_a_backfill_gives_the_store_that_daily_runs_would_have_given(place: Place, clickhouse: ClickHouse) -> None:
    airflow = place.airflow
    for day, rows in DAYS.items():
        lines = [json.dumps({"id": n, "day": day, "title": f"{n} of {day}"}) for n in range(rows)]
        (airflow.folder / f"{day}.json").write_text("".join(f"{line}\n" for line in lines))
    database = clickhouse.new_database()
    url = urlsplit(database.url)
    where = {"host": url.hostname, "port": url.port, "schema": url.path.strip("/")}
    login = {"login": url.username, "password": url.password} if url.username else {}
    airflow.call("/connections", {"connection_id": "warehouse", "conn_type": "clickhouse", **where, **login})
    airflow.write_spec("daily.yaml", DAILY)
    airflow.write_spec("latest.yaml", LATEST)
    assert backfill(place, "daily") == sorted(DAYS, reverse=True)
    found = database.query("SELECT toString(day), count() FROM daily GROUP BY 1 ORDER BY 1 FORMAT TSV").splitlines()
    assert found == [f"{day}\t{rows}" for day, rows in DAYS.items()]
    assert backfill(place, "latest") == sorted(DAYS, reverse=True)
    with connect(place.settings) as client:
        titles = [(client.kv("latest").get(n) or {}).get("title") for n in range(5)]
    assert titles == [*(f"{n} of 2026-01-02" for n in range(4)), "4 of 2026-01-01"], "the later day's rows stay"
    database.drop()


def test_a_late_asset_is_found_by_a_dag_of_its_own(place: Place) -> None:
    airflow = place.airflow
    with Catalog.open(place.settings.catalog_url, clock=lambda: datetime.now(UTC) - timedelta(days=3)) as catalog:
        spec = parse_spec(OVERDUE)
        catalog.assets.register(Registration(spec.asset, spec.owner, spec.text, spec.digest))
    airflow.write_spec("overdue.yaml", OVERDUE)
    airflow.wait_for_dag("overdue")
    run = airflow.trigger("millrace.late")
    assert airflow.wait_for_run("millrace.late", run) == "success"
    assert "overdue is late" in airflow.task_log("millrace.late", run, "late")

    def told() -> list[str]:
        return [body["asset"] for body in place.hook.bodies if body["event"] == "late"]

    airflow.wait(told, "the alert")
    assert told() == ["overdue"], "once, whoever found it first"


def test_a_run_with_parameters_that_do_not_fit_is_refused(place: Place) -> None:
    for wrong in ({"dry_run": "perhaps"}, {"interval": "yesterday"}, {"limits": {"channels": 0}}, {"limits": {"x": 1}}):
        with pytest.raises(OSError, match="400"):
            place.airflow.trigger("plays", **wrong)


def test_pools_are_made_from_specs_and_config(place: Place) -> None:
    pools = {pool["name"]: pool["slots"] for pool in place.airflow.call("/pools")["pools"]}
    assert pools["millrace_web_high"] == 5
    assert pools["millrace_low"] == 1, "half of Airflow's two slots"
    (place.airflow.folder / "airflow.yaml").write_text(CONFIG.replace("high: 5", "high: 3"))

    def resized() -> bool:
        pool = place.airflow.call("/pools/millrace_web_high")
        return bool(pool["slots"] == 3)

    place.airflow.wait(resized, "the pool to be as the configuration says now")
