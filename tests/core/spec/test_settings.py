from __future__ import annotations

import re
from pathlib import Path

import pytest

from millrace.errors import ConfigError
from millrace.spec.settings import Settings


def test_without_any_variable_everything_lives_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_env({})
    assert settings.home == tmp_path / ".millrace"
    assert settings.catalog_url == f"sqlite:///{tmp_path}/.millrace/catalog.db"
    assert settings.work_dir == str(tmp_path / ".millrace/work")
    assert settings.connections_file == tmp_path / "connections.yaml"
    assert settings.spark_master == "local[*]"
    assert settings.spark_conf == {}
    assert not (tmp_path / ".millrace").exists()


def test_variables_win_over_defaults() -> None:
    settings = Settings.from_env(
        {
            "MILLRACE_HOME": "/var/lib/millrace",
            "MILLRACE_CATALOG": "postgresql://db/millrace",
            "MILLRACE_WORK_DIR": "s3a://lake/millrace",
            "MILLRACE_CONNECTIONS": "/etc/millrace/connections.yaml",
            "MILLRACE_SPARK_MASTER": "spark://m:7077",
            "MILLRACE_SPARK_CONF": "spark.executor.memory=4g spark.app.name='my app'",
        }
    )
    assert settings.home == Path("/var/lib/millrace")
    assert settings.catalog_url == "postgresql://db/millrace"
    assert settings.work_dir == "s3a://lake/millrace"
    assert settings.connections_file == Path("/etc/millrace/connections.yaml")
    assert settings.spark_master == "spark://m:7077"
    assert settings.spark_conf == {"spark.executor.memory": "4g", "spark.app.name": "my app"}


def test_an_empty_variable_counts_as_unset() -> None:
    assert Settings.from_env({"MILLRACE_HOME": "", "MILLRACE_SPARK_MASTER": ""}) == Settings.from_env({})


@pytest.mark.parametrize("text", ["spark.ui.enabled", "=x", "a='b"])
def test_a_malformed_spark_conf_is_an_error_that_shows_the_form_and_no_value(text: str) -> None:
    with pytest.raises(ConfigError, match="MILLRACE_SPARK_CONF") as caught:
        Settings.from_env({"MILLRACE_SPARK_CONF": text})
    assert "spark.executor.memory=4g" in caught.value.hint


ROOT = Path(__file__).parents[3]
INTERNAL = {"MILLRACE_MAKE_ARCHIVE"}  # set by a process for its own child


def test_every_variable_that_the_code_reads_is_documented() -> None:
    folders = ("core", "connectors", "quality", "jobs", "serving", "cli")
    code = "\n".join(path.read_text() for folder in folders for path in ROOT.glob(f"{folder}/**/*.py"))
    read = set(re.findall(r"\bMILLRACE_[A-Z]+(?:_[A-Z]+)*(?![A-Z_{<])", code))
    page = (ROOT / "docs/settings.md").read_text()
    documented = set(re.findall(r"^\| `(MILLRACE_[A-Z_]+)", page, re.MULTILINE))
    assert read - INTERNAL - {"MILLRACE_CONNECTION"} <= documented
