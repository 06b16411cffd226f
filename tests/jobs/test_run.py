"""Whole runs from log lines to Redis, as their users see them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from redis import Redis

from millrace.catalog import RunState, VersionState
from millrace.errors import (
    Cancelled,
    CheckFailed,
    DirtyLimitExceeded,
    NotAvailable,
    NotFound,
    RunConflict,
    RunFailed,
    RunTimeout,
    SpecError,
    TargetError,
)
from millrace.jobs import actions, publishing
from millrace.jobs.context import Silent, connections_of, open_target
from tests.jobs.conftest import Workspace
from tests.servers.redis import RedisServer

SPEC = """
version: 1
asset: people
source:
  log:
    path: "{path}"
    format: json
    fields: {{id: bigint, name: string, age: int}}
checks:
  - not_null: [id]
  - unique: [id]
  - between: {{column: age, min: 0, max: 150}}
targets:
  - redis: {{connection: store, key: "{{id}}"}}
limits: {{channels: 2, dirty: {{max_rows: {dirty}}}}}
versions: {{keep: {keep}}}
apis:
  - kv: {{name: person}}
"""


def people(count: int, age: int = 30) -> list[str]:
    return [json.dumps({"id": n, "name": f"name {n}", "age": age}) for n in range(count)]


def spec_of(workspace: Workspace, lines: list[str], dirty: int = 0, keep: int = 2) -> str:
    return SPEC.format(path=workspace.write("people.json", lines), dirty=dirty, keep=keep)


def keys(redis_server: RedisServer, version: str) -> int:
    client: Redis = redis_server.client()
    return sum(1 for _ in client.scan_iter(f"people:{version}:*", count=1000))


def test_a_run_publishes_what_it_read_and_the_library_answers(workspace: Workspace) -> None:
    report = workspace.run(spec_of(workspace, people(1000)))
    assert report.error is None
    person = workspace.client().kv("person")
    assert person.get(42) == {"id": 42, "name": "name 42", "age": 30}
    assert person.get("42") == person.get(42)
    assert person.get(1000) is None
    assert person.multi_get([1, 1000, 2]) == [person.get(1), None, person.get(2)]
    assert person.version == report.version == workspace.catalog.assets.get("people").current_version


def test_statistics_account_for_every_row(workspace: Workspace) -> None:
    text = spec_of(workspace, [*people(100), "not json"], dirty=1).replace(
        "checks:", "transform:\n  - where: id >= 10\nchecks:"
    )
    report = workspace.run(text)
    source, target = report.statistics.source, report.statistics.targets["redis"]
    assert (source.rows_read, source.rows_dirty, source.rows_filtered, source.rows_staged) == (101, 1, 10, 90)
    assert (target.rows_loaded, target.rows_dirty) == (90, 0)
    assert target.bytes_loaded > 90
    kept = workspace.catalog.runs.get(report.run_id)
    assert kept.state is RunState.SUCCEEDED
    assert kept.stats == report.statistics.to_json()
    assert set(report.statistics.step_seconds) == {
        "plan", "stage", "check", "load:redis", "verify:redis", "publish", "retire",
    }  # fmt: skip


def test_a_failed_check_leaves_readers_where_they_were(workspace: Workspace, redis_server: RedisServer) -> None:
    good = workspace.run(spec_of(workspace, people(100)))
    person = workspace.client().kv("person")
    bad = workspace.run(spec_of(workspace, [*people(99), '{"id": 5, "name": "twice", "age": 200}']))
    assert isinstance(bad.error, CheckFailed)
    assert "unique: id" in bad.error.message
    assert "between" in bad.error.message
    assert "200" in bad.error.message
    assert f"readers still have version {good.version}" in bad.error.hint
    assert person.get(5) == {"id": 5, "name": "name 5", "age": 30}
    results = workspace.catalog.checks.of_run(bad.run_id)
    assert [c.result.passed for c in results] == [True, False, False]
    assert results[2].result.sample[0]["name"] == "twice"
    assert workspace.catalog.runs.get(bad.run_id).state is RunState.FAILED
    assert redis_server.client().dbsize() == 100 + 2, "the rows, the pointer and the list of versions"


def test_dirty_records_over_the_limit_stop_the_run_and_are_kept(workspace: Workspace) -> None:
    report = workspace.run(spec_of(workspace, [*people(10), "broken", '{"id": "x"}'], dirty=1))
    assert isinstance(report.error, DirtyLimitExceeded)
    assert "allows 1" in report.error.message
    rows = workspace.catalog.dirty.list(report.run_id)
    assert {row.raw for row in rows} == {b"broken", b'{"id": "x"}'}
    assert all("people.json" in row.origin and row.reason for row in rows)
    assert workspace.catalog.assets.get("people").current_version is None


def test_a_null_key_is_set_aside_by_the_target(workspace: Workspace) -> None:
    lines = [*people(10), '{"name": "nobody", "age": 1}']
    text = spec_of(workspace, lines, dirty=1).replace("  - not_null: [id]\n", "")
    report = workspace.run(text)
    assert report.error is None
    assert report.statistics.targets["redis"].rows_dirty == 1
    (row,) = workspace.catalog.dirty.list(report.run_id)
    assert (row.step, row.target) == ("load:redis", "redis")
    assert "null" in row.reason
    assert b"nobody" in row.raw


def test_a_value_of_ten_megabytes_is_served_whole(workspace: Workspace) -> None:
    big = "x" * 10_000_000
    text = spec_of(workspace, [json.dumps({"id": 1, "name": big, "age": 1})])
    report = workspace.run(text.replace("format: json", "format: json\n    max_line_bytes: 16MiB"))
    assert report.error is None
    row = workspace.client().kv("person").get(1)
    assert row is not None
    assert row["name"] == big


def test_rollback_serves_the_version_before_and_can_be_undone(workspace: Workspace) -> None:
    first = workspace.run(spec_of(workspace, people(10, age=1)))
    second = workspace.run(spec_of(workspace, people(10, age=2)))
    person = workspace.client().kv("person")
    assert read_age(person.get(3)) == 2
    spec = workspace.spec(spec_of(workspace, people(1)))
    connections = connections_of(workspace.settings)
    flip = publishing.rollback(workspace.catalog, spec, lambda name: open_target(spec, name, connections), reason="bad")
    assert (flip.version.id, flip.previous.id if flip.previous else None) == (first.version, second.version)
    assert read_age(workspace.client().kv("person").get(3)) == 1
    assert second.version is not None
    assert workspace.catalog.versions.get(second.version).state is VersionState.ROLLED_BACK


def read_age(row: Mapping[str, Any] | None) -> int | None:
    return None if row is None else row["age"]


def test_old_versions_are_erased_beyond_those_to_keep(workspace: Workspace, redis_server: RedisServer) -> None:
    texts = [spec_of(workspace, people(10, age=n), keep=1) for n in range(3)]
    texts[0] = texts[0].replace('key: "{id}"', 'key: "of-{id}"')  # erased by the keys that it was loaded with
    versions = [workspace.run(text).version for text in texts]
    assert None not in versions
    assert [keys(redis_server, str(version)) for version in versions] == [0, 10, 10]
    stages = {path.name for path in (workspace.settings.home / "work" / "people").iterdir()}
    assert len(stages) == 2


def test_a_second_run_at_once_is_refused_and_names_the_first(workspace: Workspace) -> None:
    class SecondRun(Silent):
        error: BaseException | None = None

        def step_started(self, step: str) -> None:
            if step == "check":
                with pytest.raises(RunConflict) as caught:
                    workspace.run(text)
                self.error = caught.value

    text = spec_of(workspace, people(10))
    observer = SecondRun()
    report = workspace.run(text, observer=observer)
    assert report.error is None
    assert report.run_id in str(observer.error)


def test_an_empty_source_publishes_an_empty_version(workspace: Workspace) -> None:
    report = workspace.run(spec_of(workspace, []))
    assert report.error is None
    assert workspace.client().kv("person").get(1) is None


def test_an_unknown_api_lists_those_there_are(workspace: Workspace) -> None:
    workspace.run(spec_of(workspace, people(1)))
    with pytest.raises(NotFound, match="nobody") as caught:
        workspace.client().kv("nobody")
    assert "person" in caught.value.hint


def test_columns_keep_their_numbers_as_others_come_and_go(workspace: Workspace) -> None:
    workspace.run(spec_of(workspace, people(1)))
    fields = {f.name: f.number for f in workspace.catalog.assets.fields("people")}
    changed = spec_of(workspace, ['{"id": 1, "age": 3, "city": "x"}']).replace("name: string", "city: string")
    report = workspace.run(changed)
    assert report.error is None
    now = {f.name: f.number for f in workspace.catalog.assets.fields("people")}
    assert {name: now[name] for name in fields} == fields
    assert now["city"] not in fields.values()
    assert workspace.client().kv("person").get(1) == {"id": 1, "city": "x", "age": 3}


def test_a_dead_store_is_found_before_anything_is_read(workspace: Workspace) -> None:
    text = spec_of(workspace, people(1)).replace("connection: store", "connection: gone")
    (workspace.settings.home / "connections.yaml").write_text("gone: redis://127.0.0.1:1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(actions, "RETRY_WAITS_S", (0.01,))
        report = workspace.run(text)
    assert report.error is not None
    assert report.error.exit_code == 6
    assert "gone" in report.error.message
    assert report.statistics.source.rows_read == 0
    assert [s.name for s in workspace.catalog.runs.get(report.run_id).steps if s.attempt] == ["plan", "stage"]


def test_a_wrong_password_says_so_and_shows_no_secret(workspace: Workspace, redis_with_password: RedisServer) -> None:
    url = f"redis://:wrong-secret@127.0.0.1:{redis_with_password.port}"
    (workspace.settings.home / "connections.yaml").write_text(f"store: {url}\n")
    report = workspace.run(spec_of(workspace, people(1)))
    assert isinstance(report.error, TargetError)
    assert "wrong-secret" not in str(report.error)


def test_a_run_over_its_timeout_is_stopped(workspace: Workspace) -> None:
    text = spec_of(workspace, people(1000)).replace("{channels: 2", "{channels: 2, rows_per_second: 100, timeout: 3s")
    report = workspace.run(text)
    assert isinstance(report.error, RunTimeout)
    assert report.error.exit_code == 1
    assert workspace.catalog.leases.holder("people") is None


def test_what_cannot_run_yet_says_so_before_anything_starts(workspace: Workspace) -> None:
    text = spec_of(workspace, people(1)).replace("versions:", "mode: append\nversions:")
    with pytest.raises(NotAvailable, match="mode 'append'"):
        workspace.run(text)
    assert workspace.catalog.assets.find("people") is None


def test_an_expression_that_fails_names_itself(workspace: Workspace) -> None:
    text = spec_of(workspace, people(5)).replace("checks:", "transform:\n  - derive: {x: 1 / (id - 3)}\nchecks:")
    report = workspace.run(text)
    assert isinstance(report.error, RunFailed)
    assert "DIVIDE_BY_ZERO" in report.error.message
    assert "try_divide" in report.error.hint


def test_a_publish_that_a_crash_cut_in_two_is_completed_by_the_next_run(
    workspace: Workspace, redis_server: RedisServer
) -> None:
    first = workspace.run(spec_of(workspace, people(10, age=1)))

    class CrashInPublish(Silent):
        def step_started(self, step: str) -> None:
            if step == "publish":
                redis_server.pause()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(actions, "RETRY_WAITS_S", ())
        try:
            broken = workspace.run(spec_of(workspace, people(10, age=2)), observer=CrashInPublish())
        finally:
            redis_server.resume()
    assert broken.error is not None
    assert workspace.catalog.assets.get("people").current_version != first.version
    gaps = workspace.catalog.unconfirmed_pointers("people")
    assert [gap.target for gap in gaps] == ["redis"]
    third = workspace.run(spec_of(workspace, people(10, age=3)))
    assert third.error is None
    assert read_age(workspace.client().kv("person").get(1)) == 3


def test_a_cancelled_run_leaves_the_current_version_alone(workspace: Workspace, redis_server: RedisServer) -> None:
    good = workspace.run(spec_of(workspace, people(10, age=1)))

    class CancelInLoad(Silent):
        def step_finished(self, step: str, stats: Mapping[str, Any]) -> None:
            if step == "load:redis":
                raise Cancelled("the scheduler stopped the run")

    report = workspace.run(spec_of(workspace, people(10, age=2)), observer=CancelInLoad())
    assert isinstance(report.error, Cancelled)
    assert workspace.catalog.runs.get(report.run_id).state is RunState.CANCELLED
    assert read_age(workspace.client().kv("person").get(1)) == 1
    assert workspace.catalog.assets.get("people").current_version == good.version
    assert redis_server.client().dbsize() == 10 + 2


def test_arguments_that_great_expectations_refuses_stop_a_run_before_it_reads(workspace: Workspace) -> None:
    check = "  - expect_column_values_to_match_regex: {column: name, regex: [1]}"
    report = workspace.run(spec_of(workspace, people(1)).replace("targets:", f"{check}\ntargets:"))
    assert isinstance(report.error, SpecError)
    assert "checks[3]" in report.error.message
    assert report.statistics.source.rows_read == 0
