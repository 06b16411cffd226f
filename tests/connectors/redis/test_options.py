"""What a spec may say of a Redis target."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest
from pydantic import ValidationError

from millrace.connectors.redis import connector
from millrace.connectors.redis.options import RedisOptions
from millrace.spec.connector import Mode


def options(**given: object) -> RedisOptions:
    return RedisOptions.model_validate({"connection": "c", "key": "{id}", **given})


def test_defaults_are_protobuf_uncompressed_and_for_ever() -> None:
    found = options()
    assert (found.value, found.compression, found.ttl) == ("protobuf", "none", None)


def test_a_ttl_has_a_unit() -> None:
    assert options(ttl="7d").ttl == timedelta(days=7)
    with pytest.raises(ValidationError, match="unit"):
        options(ttl=7)


@pytest.mark.parametrize("ttl", ["0s", "999us"])
def test_a_ttl_below_what_redis_can_count_is_refused(ttl: str) -> None:
    with pytest.raises(ValidationError, match="ttl"):
        options(ttl=ttl)


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip"])
def test_a_hash_is_not_compressed(compression: str) -> None:
    with pytest.raises(ValidationError, match=f"compression: {compression}.*value: hash"):
        options(value="hash", compression=compression)


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("user", "names no column"),
        ("{id", "expected '}'"),
        ("{}", "column names in braces"),
        ("{id:>5}", "column names in braces"),
        ("{a}{b}", "must be text"),
        ("{a}1{b}", "must be text"),
    ],
)
def test_a_bad_key_template_is_a_clear_error(key: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        options(key=key)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ValidationError, match="expiry"):
        options(expiry="7d")


def test_the_key_refers_to_its_columns_once() -> None:
    assert options(key="{country}:{id}:{country}").referenced_columns() == {"key": ("country", "id")}


def test_every_option_is_described_and_has_an_example() -> None:
    for name, field in RedisOptions.model_fields.items():
        assert field.description, name
        assert field.examples, name


def test_the_connector_says_what_it_can() -> None:
    role = connector.target
    assert role is not None
    assert role.modes == {Mode.REPLACE, Mode.MERGE}
    assert role.layouts == ("protobuf", "json", "msgpack", "hash", "sorted_set", "list", "set")
    assert role.lookups == {"get", "multi_get", "rows"}
    assert connector.source is None


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("millrace.connectors.redis", "hiredis redis pyarrow numpy pandas pyspark google.protobuf asyncio"),
        ("millrace.connectors.redis.lookup", "pyarrow numpy pandas pyspark"),
    ],
)
def test_importing_pulls_in_no_driver_that_it_does_not_need(module: str, absent: str) -> None:
    code = f"import sys, {module}; print([m for m in {absent.split()!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
