from __future__ import annotations

import pytest
import yaml

from millrace.errors import ConfigError
from millrace.spec.connector import connectors
from millrace.spec.starter import meaning, starter_spec
from millrace.spec.yaml_text import flow
from tests.core.spec.texts import diagnostics, loaded

SOURCES = [name for name, connector in connectors().items() if connector.source]
TARGETS = [name for name, connector in connectors().items() if connector.target]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", SOURCES)
def test_a_starter_is_a_valid_spec_for_every_pair(source: str, target: str) -> None:
    text = starter_spec("my_asset", source, target)
    assert [d.full() for d in diagnostics(text)] == []
    spec = loaded(text)
    assert (spec.asset, spec.source.connector, spec.targets[0].connector) == ("my_asset", source, target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_option_stands_in_it_with_its_meaning(source: str, target: str) -> None:
    text = starter_spec("my_asset", source, target)
    for role in (connectors()[source].source, connectors()[target].target):
        assert role is not None
        for name, field in role.options.model_fields.items():
            assert f"{field.alias or name}: " in text
            assert meaning(field) in text


def test_an_embedded_server_is_taken_where_there_is_one() -> None:
    assert "connection: embedded" in starter_spec("a", "kafka", "redis")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "kafak", "redis"), "no source 'kafak', did you mean 'kafka'?"),
        (("a", "kafka", "rediss"), "no target 'rediss', did you mean 'redis'?"),
        (("a", "redis", "redis"), "no source 'redis'"),
        (("My Asset", "kafka", "redis"), "bad asset name 'My Asset'"),
    ],
)
def test_a_wrong_name_is_an_error_that_says_what_there_is(names: tuple[str, str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        starter_spec(*names)
    assert message in str(caught.value)
    if names[0] != "a":
        assert "'my_asset'" in caught.value.hint


TEXTS = ["a", "a b", "it's", "5", "5m", "1e3", "0x1", "true", "null", "No", "", "a: b", "- a", "{x}", "#", "ä", "a\nb"]
TEXTS += ['"', "\\", "20%", "0.1%", "@daily", "*", "&a", "!x", "a,b", "[", "~", "2026-01-31", "12:30"]
OTHERS = [5, 1.5, True, None, [1, "a"], {"a": {"b c": ["x", 2]}, "on": 1}]


TEXTS = ["a", "a b", "it's", "5", "5m", "1e3", "0x1", "true", "null", "No", "", "a: b", "- a", "{x}", "#", "ä", "a\nb"]
TEXTS += ['"', "\\", "20%", "0.1%", "@daily", "*", "&a", "!x", "a,b", "[", "~", "2026-01-31", "12:30"]
OTHERS = [5, 1.5, True, None, [1, "a"], {"a": {"b c": ["x", 2]}, "on": 1}]


@pytest.mark.parametrize("value", [*TEXTS, *OTHERS])
def test_values_written_as_yaml_are_read_back(value: object) -> None:
    assert yaml.safe_load(f"{{x: {flow(value)}}}") == {"x": value}
