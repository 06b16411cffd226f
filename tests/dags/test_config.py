"""`airflow.yaml`: what it may say, and that errors name their line."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from millrace.dags.config import load_config
from millrace.errors import ConfigError
from millrace.spec.priority import Priority

TEXT = """\
pools:
  slots: {high: 12}
  lines:
    growth: {high: 16, low: 1}
retries: {count: 5, wait: 10s, longest_wait: 1h}
links:
  owners: {growth@example.com: https://example.com/teams/growth}
  data_docs: https://docs.example.com/{asset}/
spark: {connection: spark_main}
"""


def test_everything_can_be_set(tmp_path: Path) -> None:
    path = tmp_path / "airflow.yaml"
    path.write_text(TEXT)
    config = load_config(path)
    assert config.slots == {Priority.HIGH: 12, Priority.MEDIUM: 4, Priority.LOW: 2}
    assert [config.slots_of("growth", p) for p in Priority] == [16, 4, 1]
    assert [config.slots_of("web", p) for p in Priority] == [12, 4, 2]
    assert (config.retries, config.retry_wait, config.longest_wait) == (5, timedelta(seconds=10), timedelta(hours=1))
    assert config.owner_links == {"growth@example.com": "https://example.com/teams/growth"}
    assert (config.data_docs, config.spark_connection) == ("https://docs.example.com/{asset}/", "spark_main")


def test_everything_has_a_default(tmp_path: Path) -> None:
    path = tmp_path / "airflow.yaml"
    path.write_text("# nothing\n")
    assert load_config(path) == load_config(None)
    assert load_config(None).retries == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pool: {}\n", "airflow.yaml:1:1: unknown key 'pool', did you mean 'pools'?"),
        ("pools:\n  slots: {high: 0}\n", "airflow.yaml:2:17: expected"),
        ("retries: {wait: soon}\n", "airflow.yaml:1:17: "),
        ("links:\n  owners: {a: 'javascript:alert(1)'}\n", "airflow.yaml:2:15: "),
        ("- pools\n", "airflow.yaml:1:1: expected a mapping of sections, got a list"),
        ("pools: [\n", "airflow.yaml:"),
    ],
)
def test_an_error_names_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "airflow.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    assert says in str(raised.value)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "airflow.yaml")
