"""What a run's end tells: in one process, and step by step as a scheduler does it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from millrace.catalog import AlertState, Catalog, NewRun, Registration, RunState
from millrace.cli.app import app
from millrace.errors import Cancelled, CheckFailed, SourceError
from millrace.jobs import alerting
from millrace.jobs.alerting import find_late
from millrace.jobs.request import RunRequest
from millrace.jobs.steps import begin, give_up
from millrace.quality.alerts import overdue
from millrace.spec import Spec, parse_spec
from millrace.spec.settings import Settings
from tests.core.catalog.life import ELSEWHERE
from tests.jobs.conftest import Workspace, make_settings
from tests.servers.inbox import mail_box, webhook

SPEC = """
version: 1
asset: people
owner: team@example.com
source:
  log: {{path: "{path}", format: json, fields: {{id: bigint, name: string, age: int}}}}
transform:
  - mask: {{columns: [name], method: redact}}
checks:
  - between: {{column: age, min: 0, max: 150}}
targets:
  - redis: {{connection: store, key: "{{id}}"}}
limits: {{channels: 2}}
alerts:
  - {{on: [check_failed, run_failed, late, recovered], to: ops}}
  - {{on: check_failed, to: mail}}
"""


def person(age: int) -> list[str]:
    return [json.dumps({"id": 1, "name": "Alice Secret", "age": age})]


def test_a_run_that_fails_its_check_alerts_and_the_next_one_recovers(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(workspace.settings, alert_links={"dag": "https://airflow.example.com/{asset}?run={run}"})
    here = replace(workspace, settings=settings)
    with webhook() as hook, mail_box() as box:
        monkeypatch.setenv("MILLRACE_CONNECTION_OPS", hook.url)
        monkeypatch.setenv("MILLRACE_CONNECTION_MAIL", f"smtp://127.0.0.1:{box.port}")
        text = SPEC.format(path=here.write("people.json", person(30)))
        good = here.run(text)
        assert hook.bodies == []
        here.write("people.json", person(200))
        bad = [here.run(text), here.run(text)]
        here.write("people.json", person(31))
        better = here.run(text)
    assert [type(report.error) for report in bad] == [CheckFailed, CheckFailed]
    failed, recovered = hook.bodies
    assert failed["checks"][0]["observed"] == {"rows": 1, "unexpected": 1}
    assert failed["checks"][0]["sample"][0]["age"] == 200
    assert "Alice Secret" not in json.dumps(hook.bodies) + str(box.mails[0])
    assert (failed["run"], failed["serving"]) == (bad[0].run_id, good.version)
    assert failed["links"] == {
        "data docs": f"{settings.work_dir}/_docs/people/{bad[0].run_id}/index.html",
        "dag": f"https://airflow.example.com/people?run={bad[0].run_id}",
    }
    assert Path(failed["links"]["data docs"]).exists()
    assert (recovered["event"], recovered["serving"]) == ("recovered", better.version)
    assert recovered["over"][0]["seen"] == 2
    assert box.recipients == [["team@example.com"]], "the incident is one mail, to the spec's owner"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(
        tmp_path, {"store": "redis://127.0.0.1:1", "ops": "http://127.0.0.1:1/", "mail": "smtp://127.0.0.1:1"}
    )


def spec_at(settings: Settings, schedule: str = "") -> Spec:
    path = settings.home / "people.json"
    path.write_text("")
    return parse_spec(SPEC.format(path=path) + schedule)


def test_a_run_given_up_by_a_scheduler_alerts_whatever_its_destination_does(settings: Settings) -> None:
    run_id = begin(spec_at(settings), settings, RunRequest(key="night"))
    give_up(run_id, SourceError("the folder is gone", hint="bring it back"), settings)
    give_up(run_id, SourceError("the folder is gone"), settings)
    with Catalog.open(settings.catalog_url) as catalog:
        (alert,) = catalog.alerts.list()
    assert (alert.event, alert.run_id, alert.state, alert.tries) == ("run_failed", run_id, AlertState.WAITING, 1)
    assert "can't be reached" in alert.error
    assert alert.message["data"]["failure"]["message"] == "the folder is gone"


def test_what_an_error_quotes_of_a_masked_specs_source_is_not_told(settings: Settings) -> None:
    run_id = begin(spec_at(settings), settings, RunRequest())
    with Catalog.open(settings.catalog_url) as catalog:
        catalog.runs.start_step(run_id, "stage")
    give_up(run_id, SourceError('the value \'Alice "S"\' or "Alice" can\'t be cast'), settings)
    with Catalog.open(settings.catalog_url) as catalog:
        (alert,) = catalog.alerts.list()
    assert alert.message["data"]["failure"]["message"] == "the value '…' or '…' can't be cast"
    assert "Alice" not in json.dumps(alert.message)


def test_a_run_that_a_person_has_stopped_alerts_nobody(settings: Settings) -> None:
    run_id = begin(spec_at(settings), settings, RunRequest())
    give_up(run_id, Cancelled("stopped"), settings)
    with Catalog.open(settings.catalog_url) as catalog:
        assert (catalog.alerts.list(), catalog.alerts.incidents()) == ([], [])


def test_a_run_whose_process_was_lost_is_told_by_the_next_one(settings: Settings) -> None:
    spec = spec_at(settings)
    begin(spec, settings, RunRequest())
    with Catalog.open(settings.catalog_url, clock=long_ago, owner=ELSEWHERE) as catalog:
        held = catalog.runs.list()[0]
        catalog.runs.finish(held.id, RunState.CANCELLED)
        lost = catalog.runs.start(NewRun("people", spec.digest, ("plan", "publish")))
        catalog.runs.start_step(lost.id, "plan")
    begin(spec, settings, RunRequest(key="next"))
    with Catalog.open(settings.catalog_url) as catalog:
        (alert,) = catalog.alerts.list()
    assert (alert.event, alert.run_id, alert.tries) == ("run_failed", lost.id, 0), "a beginning run sends nothing"
    assert alert.message["data"]["failure"]["kind"] == "Interrupted"


def long_ago() -> datetime:
    return datetime.now(UTC) - timedelta(days=1)


def test_lateness_is_found_by_the_end_of_a_run_that_does_not_publish_and_shown(settings: Settings) -> None:
    spec = spec_at(settings, 'schedule: "@hourly"\n')
    with Catalog.open(settings.catalog_url, clock=long_ago) as catalog:
        catalog.assets.register(Registration("people", "", spec.text, spec.digest))
        assert overdue(catalog, spec, long_ago()) is None
        due = overdue(catalog, spec, datetime.now(UTC))
        assert due is not None
        assert datetime.now(UTC) - timedelta(hours=2) < due <= datetime.now(UTC)
    run_id = begin(spec, settings, RunRequest())
    give_up(run_id, SourceError("the folder is gone"), settings)
    with Catalog.open(settings.catalog_url) as catalog:
        assert {alert.event for alert in catalog.alerts.list()} == {"run_failed", "late"}
    found, _ = find_late([written(settings, spec)], settings, datetime.now(UTC), ())
    assert found == ["people"]
    shown = CliRunner().invoke(app, ["status", "people", "--json"], env={"MILLRACE_HOME": str(settings.home)})
    assert json.loads(shown.output)["late"] == f"{due:%Y-%m-%dT%H:%M:%SZ}"


def written(settings: Settings, spec: Spec) -> Path:
    path = settings.home / "people.yaml"
    path.write_text(spec.text)
    return path


def test_an_asset_is_told_to_be_late_once(settings: Settings) -> None:
    spec = spec_at(settings, 'schedule: "@hourly"\n')
    run_id = begin(spec, settings, RunRequest())
    give_up(run_id, Cancelled("stopped"), settings)
    now = datetime.now(UTC)
    with Catalog.open(settings.catalog_url) as catalog:
        assert not alerting.late(catalog, spec, settings, now)
        assert alerting.late(catalog, spec, settings, now + timedelta(hours=3))
        assert alerting.late(catalog, spec, settings, now + timedelta(hours=4))
        assert [(found.event, found.seen) for found in catalog.alerts.incidents()] == [("late", 2)]
        assert [alert.event for alert in catalog.alerts.list()] == ["late"]
