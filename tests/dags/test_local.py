"""The local Airflow: its configuration, and what it takes from the folder that it is started in."""

from __future__ import annotations

import configparser
import json
import os
from pathlib import Path

import pytest

from millrace.dags.local import server
from millrace.dags.local.configuration import LocalAirflow, text
from millrace.errors import ConfigError
from millrace.spec.settings import Settings
from tests.dags.test_outlines import SPEC

SECRET = "only of this test"


def settings(home: Path) -> Settings:
    return Settings.from_env({"MILLRACE_HOME": str(home / ".millrace"), "MILLRACE_CONNECTIONS": str(home / "c.yaml")})


def test_everything_of_it_is_in_its_home_and_on_this_machine(tmp_path: Path) -> None:
    parser = configparser.ConfigParser()
    parser.read_string(text(LocalAirflow(tmp_path / "100%", 8123, [tmp_path / "specs"]), SECRET))
    assert parser["api"]["host"] == "127.0.0.1"
    assert parser["api"]["base_url"] == "http://127.0.0.1:8123"
    assert f"{tmp_path}/100%/airflow.db" in parser["database"]["sql_alchemy_conn"]
    (bundle,) = json.loads(parser["dag_processor"]["dag_bundle_config_list"])
    assert bundle["kwargs"]["specs"] == [str(tmp_path / "specs")]
    assert {section for section in parser if "secret" in str(dict(parser[section]))} <= {"api", "api_auth"}


def test_stores_that_nobody_has_declared_are_embedded(tmp_path: Path) -> None:
    (tmp_path / "plays.yaml").write_text(SPEC)
    (tmp_path / "bad.yaml").write_text("version: 2")
    (tmp_path / "c.yaml").write_text("online: redis://127.0.0.1:6379\n")
    assert server.embed_what_is_not_declared([tmp_path], settings(tmp_path)) == ["reports"]
    assert os.environ.pop("MILLRACE_CONNECTION_REPORTS") == "embedded"


def test_it_does_not_start_on_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        server.up(settings(tmp_path), [tmp_path / "nowhere"])
    assert server.running(settings(tmp_path)) is None
    assert not server.down(settings(tmp_path))
