from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has no stubs

from millrace.spec import json_schema
from millrace.spec.connector import connectors
from millrace.spec.document import read_document
from tests.core.spec.texts import DESIGN, MINIMAL, errors, with_section


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def data(text: str) -> Any:
    return read_document(text, "user.yaml", {}).data


def test_the_documented_example_is_valid(validator: Draft202012Validator) -> None:
    assert [error.message for error in validator.iter_errors(data(DESIGN))] == []


@pytest.mark.parametrize(
    "section",
    [
        "",
        "checks:\n",
        "schedule: '@daily'\n",
        "schedule: {after: users}\n",
        "schedule: none\n",
        "checks:\n  - unique: {columns: id, severity: warn}\n  - not_null: [id, name]\n",
        "checks:\n  - expect_column_max_to_be_between: {column: age, max_value: 5, severity: warn}\n",
        "transform:\n  - derive: {one: 1, yes: true}\n  - cast: {age: 'decimal(10,2)'}\n",
        "limits: {bytes_per_second: 1024, dirty: {max_ratio: 0.5}, timeout: 1h 30m}\n",
        "apis:\n  - kv: {name: a, cache: {ttl: 5s}, limits: {size: 10MiB}}\n",
    ],
)
def test_what_the_loader_takes_the_schema_takes(validator: Draft202012Validator, section: str) -> None:
    text = with_section(section.replace("1h 30m", "1h30m"))
    assert errors(text) == []
    assert [error.message for error in validator.iter_errors(data(text))] == []


@pytest.mark.parametrize(
    "section",
    [
        "soruce: 1\n",
        "owner: 5\n",
        "limits: {channels: 0}\n",
        "limits: {timeout: 30}\n",
        "limits: {timeout: 30 minutes}\n",
        "limits: {bytes_per_second: 50mib}\n",
        "limits: {dirty: {max_ratio: 5}}\n",
        "priority: hihg\n",
        "transform:\n  - wher: x\n",
        "transform:\n  - {where: x, select: [a]}\n",
        "transform:\n  - {}\n",
        "checks:\n  - zzz: 1\n",
        "checks:\n  - severity: warn\n",
        "checks:\n  - {unique: [id], not_null: [id]}\n",
        "checks:\n  - expect_column_max_to_be_between: {max_value: 5}\n",
        "checks:\n  - expect_column_max_to_be_between: {column: age, mx: 5}\n",
        "alerts: [{on: [nothing], to: x}]\n",
        "apis:\n  - kv: {name: A}\n",
        "targets: []\n",
    ],
)
def test_what_is_wrong_in_form_is_wrong_for_schema_and_loader(validator: Draft202012Validator, section: str) -> None:
    text = MINIMAL.partition("targets:")[0] + section if section.startswith("targets") else with_section(section)
    assert errors(text)
    assert not validator.is_valid(data(text))


@pytest.mark.parametrize("key", ["version", "asset", "source", "targets"])
def test_required_keys_are_required(validator: Draft202012Validator, key: str) -> None:
    found = data(MINIMAL)
    del found[key]
    assert not validator.is_valid(found)


def test_the_options_of_every_installed_connector_are_in_it(validator: Draft202012Validator) -> None:
    definitions = validator.schema["$defs"]
    sources = {name for name, connector in connectors().items() if connector.source}
    targets = {name for name, connector in connectors().items() if connector.target}
    assert set(definitions["Source"]["properties"]) == sources
    assert set(definitions["Target"]["properties"]) == targets | {"name"}


def test_every_key_has_a_description_for_completion_in_editors(validator: Draft202012Validator) -> None:
    definitions = {"": validator.schema, **validator.schema["$defs"]}
    for owner, schema in definitions.items():
        for name, key in schema.get("properties", {}).items():
            referred = definitions.get(key.get("$ref", "/").rpartition("/")[2], {})
            assert "description" in {**referred, **key}, f"{owner}.{name}"


def test_the_schema_is_plain_json_and_the_same_every_time() -> None:
    assert json.dumps(json_schema()) == json.dumps(json_schema())
