"""docs/redis.md says what is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

from millrace.connectors.redis.endpoint import PARAMS
from millrace.connectors.redis.options import RedisOptions
from tests.connectors.loads import people
from tests.connectors.redis.stores import publish, target
from tests.connectors.redis.test_load_failures import RIGHTS
from tests.servers.redis import RedisServer

PAGE = (Path(__file__).parents[3] / "docs/redis.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_example_is_valid() -> None:
    (entry,) = yaml.safe_load(block("yaml"))["targets"]
    assert RedisOptions.model_validate(entry["redis"]).key == "{country}:{id}"


def test_every_option_and_parameter_is_on_the_page() -> None:
    shown = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))))
    assert set(RedisOptions.model_fields) | set(PARAMS) <= shown


def test_the_documented_rights_are_those_that_are_tested() -> None:
    assert block("text").split() == RIGHTS.split()


def test_any_client_can_read_a_row_by_the_pointer(redis_server: RedisServer) -> None:
    publish(target(redis_server.url, value="json"), "v1", people(50))
    environment = {"REDIS_URL": redis_server.url}
    ran = subprocess.run(
        [sys.executable, "-c", block("python")], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "person 42\n"
