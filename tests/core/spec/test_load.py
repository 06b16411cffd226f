from __future__ import annotations

import hashlib
from datetime import date, timedelta
from pathlib import Path

import pytest

from millrace.connectors.kafka.options import KafkaOptions
from millrace.connectors.redis.options import RedisOptions
from millrace.errors import SpecError
from millrace.spec import load_spec, model, parse_spec
from millrace.spec.connector import Mode
from millrace.spec.priority import Priority
from millrace.spec.types import parse_type
from tests.core.spec.texts import DESIGN, HEAD, MINIMAL, SOURCE, TARGETS, loaded, with_section


def test_every_line_of_the_documented_example_is_understood() -> None:
    spec = loaded(DESIGN)
    assert (spec.version, spec.asset, spec.owner) == (1, "user_profile", "growth@example.com")
    assert spec.description == "One row a user, for the profile card."
    assert (spec.business_line, spec.priority, spec.mode) == ("growth", Priority.HIGH, Mode.REPLACE)
    assert spec.schedule == model.Schedule(cron="0 * * * *")
    assert spec.source.connector == "mysql"
    assert spec.transform == (
        model.Where("age >= 0"),
        model.Derive({"age_band": "floor(age / 10) * 10"}),
        model.Dedupe(("id",), "latest", "updated_at"),
    )
    assert spec.checks == (
        model.NotNull(("id", "name")),
        model.Unique(("id",)),
        model.Between("age", 0, 150),
        model.RowCount(1000, None, 0.2),
        model.Expectation("expect_column_values_to_match_regex", {"column": "city", "regex": "^[a-z]+$"}),
    )
    assert [(target.name, target.connector) for target in spec.targets] == [("redis", "redis"), ("hbase", "hbase")]
    assert spec.limits == model.Limits(4, 200_000, 50 << 20, model.DirtyLimits(100, 0.001), timedelta(minutes=30))
    events = (model.AlertEvent.CHECK_FAILED, model.AlertEvent.RUN_FAILED, model.AlertEvent.LATE)
    assert spec.alerts == (model.Alert(events, "ops_webhook"),)
    assert spec.versions == model.Versions(2)
    assert [(api.kind, api.name) for api in spec.apis] == [("kv", "user_profile")]
    assert spec.apis[0].definition["cache"].items() >= {"ttl": "30s", "stale_on_error": "10m", "size": 100_000}.items()
    assert spec.test.connections == {"mysql_main": "mysql_test", "redis_online": "redis_test"}


def test_a_file_is_loaded_with_its_text_path_and_digest(tmp_path: Path) -> None:
    path = tmp_path / "plays.yaml"
    path.write_text(MINIMAL)
    spec = load_spec(path, env={})
    assert spec.path == path
    assert spec.text == MINIMAL
    assert spec.digest == hashlib.sha256(MINIMAL.encode()).hexdigest()
    assert parse_spec(spec.text, path, env={}) == spec


def test_what_a_spec_leaves_out_has_safe_defaults() -> None:
    spec = loaded(MINIMAL)
    assert spec.limits == model.Limits(4, None, None, model.DirtyLimits(max_rows=0, max_ratio=None), None)
    assert (spec.schedule, spec.mode, spec.versions.keep) == (None, Mode.REPLACE, 2)
    assert (spec.transform, spec.checks, spec.alerts, spec.apis) == ((), (), (), ())
    assert spec.priority is Priority.MEDIUM


def test_options_come_from_the_connectors() -> None:
    spec = loaded(MINIMAL)
    assert isinstance(spec.source.options, KafkaOptions)
    assert spec.source.options.row_schema is not None
    assert {name: field.type for name, field in spec.source.options.row_schema.items()} == {
        "id": parse_type("bigint"),
        "name": parse_type("string"),
        "age": parse_type("int"),
        "at": parse_type("timestamp"),
    }
    assert isinstance(spec.targets[0].options, RedisOptions)


def test_one_store_can_be_loaded_twice_under_two_names() -> None:
    spec = loaded(HEAD + SOURCE + TARGETS + '  - redis: {connection: eu, key: "{id}"}\n    name: redis_eu\n')
    assert [target.name for target in spec.targets] == ["redis", "redis_eu"]


def test_a_section_without_content_is_as_good_as_none() -> None:
    assert loaded(MINIMAL + "transform:\nchecks:\n  # - unique: [id]\nalerts:\napis:\nschedule:\n").checks == ()


@pytest.mark.parametrize(
    ("written", "schedule"),
    [
        ("none", None),
        ('"*/5 2-4 1,15 jan-mar mon"', model.Schedule(cron="*/5 2-4 1,15 jan-mar mon")),
        ("'@daily'", model.Schedule(cron="@daily")),
        ("{after: [users, plays2]}", model.Schedule(after=("users", "plays2"))),
        ("{after: users}", model.Schedule(after=("users",))),
        (
            "{cron: 0 3 * * *, timezone: Europe/Berlin, start: 2026-01-31, catch_up: yes}",
            model.Schedule("0 3 * * *", (), "Europe/Berlin", date(2026, 1, 31), True),
        ),
    ],
)
def test_a_schedule_is_cron_a_preset_after_other_assets_or_none(written: str, schedule: model.Schedule | None) -> None:
    assert loaded(with_section(f"schedule: {written}\n")).schedule == schedule


def test_every_check_can_have_a_severity() -> None:
    checks = loaded(
        with_section(
            "checks:\n"
            "  - unique: id\n"
            "  - not_null: {columns: [id, name], severity: warn}\n"
            "  - in_set: {column: age, values: [1, 2], severity: warn}\n"
            "  - between: {column: name, max: m, severity: block}\n"
            "  - row_count: {max: 5, severity: warn}\n"
            "  - expect_column_max_to_be_between: {column: age, max_value: 5, severity: warn}\n"
        )
    ).checks
    warn = model.Severity.WARN
    assert checks == (
        model.Unique(("id",), model.Severity.BLOCK),
        model.NotNull(("id", "name"), warn),
        model.InSet("age", (1, 2), warn),
        model.Between("name", None, "m", model.Severity.BLOCK),
        model.RowCount(None, 5, None, warn),
        model.Expectation("expect_column_max_to_be_between", {"column": "age", "max_value": 5}, warn),
    )


def test_all_steps_are_understood() -> None:
    spec = loaded(
        with_section(
            "transform:\n"
            "  - select: [id, name, age]\n"
            "  - rename: {age: years}\n"
            "  - cast: {years: 'decimal(10,2)'}\n"
            "  - derive: {flag: true, one: 1}\n"
            "  - dedupe: {key: id}\n"
            "  - mask: {columns: name}\n"
            "  - sql: |\n"
            "      select id, name\n"
            "      from input\n"
        )
    )
    assert spec.transform == (
        model.Select(("id", "name", "age")),
        model.Rename({"age": "years"}),
        model.Cast({"years": parse_type("decimal(10,2)")}),
        model.Derive({"flag": "true", "one": "1"}),
        model.Dedupe(("id",), "any", None),
        model.Mask(("name",), "hash"),
        model.Sql("select id, name\nfrom input\n"),
    )


def test_all_kinds_of_apis_are_understood() -> None:
    spec = loaded(
        HEAD
        + SOURCE
        + TARGETS
        + "  - druid: {connection: d, timestamp: at}\n"
        + "apis:\n"
        + "  - kv: {name: play, target: redis, columns: name, range: {start: id, end: age}, limits: {timeout: 50ms}}\n"
        + "  - sql: {name: plays_sql, functions: [count, sum], limits: {rows: 100},\n"
        + "          queries: {by_age: {sql: 'select name from input where age = :age', parameters: {age: int}}}}\n"
        + "  - union: {name: card, mode: series, parts: [\n"
        + "      {api: play, input: {key: '{user}'}}, {api: other, required: false, default: {}, timeout: 20ms}]}\n"
    )
    assert [(api.kind, api.name) for api in spec.apis] == [("kv", "play"), ("sql", "plays_sql"), ("union", "card")]
    assert spec.apis[0].definition["limits"] == {"timeout": "50ms"}
    assert spec.apis[1].definition["queries"]["by_age"]["parameters"] == {"age": "int"}
    assert spec.apis[2].definition["parts"][1] == {
        "api": "other",
        "input": {},
        "timeout": "20ms",
        "required": False,
        "default": {},
    }


def test_variables_give_values_of_any_kind() -> None:
    text = with_section("limits: {channels: '${N:-2}', timeout: '${T:-5m}'}\nversions:\n  keep: ${K}\n")
    spec = loaded(text, {"K": "7"})
    assert spec.limits == model.Limits(channels=2, timeout=timedelta(minutes=5))
    assert spec.versions.keep == 7


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_a_file_that_cant_be_read_is_an_error_with_its_path(tmp_path: Path, kind: str) -> None:
    path = tmp_path if kind == "folder" else tmp_path / "no.yaml"
    with pytest.raises(SpecError, match="reading the spec") as caught:
        load_spec(path)
    assert str(path) in caught.value.message
    assert caught.value.diagnostics == ()
