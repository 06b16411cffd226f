"""Where millrace keeps its things and which Spark it uses: read once from the environment into frozen values."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from millrace.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """Settings of one process.

    | field | environment variable | default |
    |---|---|---|
    | `home` | `MILLRACE_HOME` | `.millrace` in the working directory |
    | `catalog_url` | `MILLRACE_CATALOG` | `sqlite:///<home>/catalog.db` |
    | `work_dir` | `MILLRACE_WORK_DIR` | `<home>/work`; any Hadoop path |
    | `connections_file` | `MILLRACE_CONNECTIONS` | `connections.yaml` in the working directory |
    | `signing_key_file` | `MILLRACE_SIGNING_KEY_FILE` | `<home>/signing.key`, made when there is none |
    | `alert_links` | `MILLRACE_ALERT_LINKS` | none; `name=URL` pairs; URLs may hold `{asset}` and `{run}` |
    | `data_docs_url` | `MILLRACE_DATA_DOCS_URL` | none: where `<work_dir>/_docs` is served, for links to data docs |
    | `spark_master` | `MILLRACE_SPARK_MASTER` | `local[*]` |
    | `admin_token` | `MILLRACE_ADMIN_TOKEN` | none: nobody may change access over HTTP |
    | `spark_conf` | `MILLRACE_SPARK_CONF` | none; `key=value` pairs with spaces between, quoted as in a shell |
    """

    home: Path
    catalog_url: str
    work_dir: str
    connections_file: Path
    signing_key_file: Path
    spark_master: str = "local[*]"
    spark_conf: Mapping[str, str] = field(default_factory=dict)
    admin_token: str = field(default="", repr=False)
    alert_links: Mapping[str, str] = field(default_factory=dict)
    data_docs_url: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Settings of this environment (`os.environ` by default); an empty variable counts as unset.

        Raises ConfigError for a malformed `MILLRACE_SPARK_CONF` or `MILLRACE_ALERT_LINKS`. Nothing is created on disk.
        """
        env = os.environ if env is None else env
        home = Path(env.get("MILLRACE_HOME") or ".millrace").expanduser().absolute()
        return cls(
            home=home,
            catalog_url=env.get("MILLRACE_CATALOG") or f"sqlite:///{home / 'catalog.db'}",
            work_dir=env.get("MILLRACE_WORK_DIR") or str(home / "work"),
            connections_file=Path(env.get("MILLRACE_CONNECTIONS") or "connections.yaml").expanduser().absolute(),
            signing_key_file=Path(env.get("MILLRACE_SIGNING_KEY_FILE") or home / "signing.key").expanduser().absolute(),
            spark_master=env.get("MILLRACE_SPARK_MASTER") or "local[*]",
            admin_token=env.get("MILLRACE_ADMIN_TOKEN", ""),
            spark_conf=_pairs("MILLRACE_SPARK_CONF", env, "spark.executor.memory=4g spark.ui.enabled=false"),
            data_docs_url=env.get("MILLRACE_DATA_DOCS_URL", ""),
            alert_links=_pairs("MILLRACE_ALERT_LINKS", env, "runs=https://airflow.example.com/dags/{asset}"),
        )


def _pairs(variable: str, env: Mapping[str, str], example: str) -> dict[str, str]:
    hint = f"write it like {variable}='{example}'"
    try:
        words = shlex.split(env.get(variable, ""))
    except ValueError as error:
        raise ConfigError(f"reading {variable}: {str(error).lower()}", hint=hint) from None
    found: dict[str, str] = {}
    for number, word in enumerate(words, start=1):
        key, separator, value = word.partition("=")
        if not separator or not key:
            raise ConfigError(f"reading {variable}: word {number} is not a `key=value` pair", hint=hint)
        found[key] = value
    return found
