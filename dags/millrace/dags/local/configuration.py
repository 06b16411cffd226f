"""The configuration of a local Airflow, `airflow.cfg`: SQLite, few processes, everything on 127.0.0.1. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

USER = "admin"
BUNDLE = "millrace"


@dataclass(frozen=True)
class LocalAirflow:
    """What differs from one local Airflow to the next."""

    home: Path
    port: int
    specs: Sequence[Path]
    config: Path | None = None
    parallelism: int = 4
    changes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # over the values below


def passwords_file(home: Path) -> Path:
    """Where the password of the one user stands."""
    return home / "passwords.json"


def sections(airflow: LocalAirflow, secret: str) -> dict[str, dict[str, object]]:
    """`airflow.cfg` by section; everything else is as Airflow has it. `secret` signs what its parts tell each other."""
    home = airflow.home
    address = f"http://127.0.0.1:{airflow.port}"
    bundle = {
        "name": BUNDLE,
        "classpath": "millrace.dags.bundle.SpecBundle",
        "kwargs": {
            "specs": [str(folder) for folder in airflow.specs],
            "config": str(airflow.config) if airflow.config else None,
            "refresh_interval": 5,
        },
    }
    made: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": home / "dags",
            "executor": "LocalExecutor",
            "parallelism": airflow.parallelism,
            "load_examples": False,
            "auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
            "simple_auth_manager_users": f"{USER}:admin",
            "simple_auth_manager_passwords_file": passwords_file(home),
            "execution_api_server_url": f"{address}/execution/",
            "fernet_key": base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest()).decode(),
            "dagbag_import_error_traceback_depth": 1,
        },
        "database": {
            "sql_alchemy_conn": f"sqlite:///{home / 'airflow.db'}?timeout=60",
            "load_default_connections": False,
        },
        "api": {
            "host": "127.0.0.1",
            "port": airflow.port,
            "base_url": address,
            "workers": 1,
            "secret_key": secret,
            "expose_config": False,
            "instance_name": "millrace",
        },
        "api_auth": {"jwt_secret": secret},
        "dag_processor": {
            "dag_bundle_config_list": json.dumps([bundle]),
            "dag_bundle_storage_path": home / "bundles",
            "bundle_refresh_check_interval": 2,
            "parsing_processes": 1,
            "file_parsing_sort_mode": "modified_time",
            "print_stats_interval": 0,
        },
        "scheduler": {
            "task_instance_heartbeat_timeout": 60,
            "task_instance_heartbeat_timeout_detection_interval": 10,
            "orphaned_tasks_check_interval": 60,
        },
        "logging": {"base_log_folder": home / "logs", "dag_processor_child_process_log_directory": home / "logs/dags"},
        "usage_data_collection": {"enabled": False},
    }
    for name, values in airflow.changes.items():
        made.setdefault(name, {}).update(values)
    return made


def text(airflow: LocalAirflow, secret: str) -> str:
    """The file. `%` is doubled: Airflow reads it with interpolation."""
    lines = ["# Written by `millrace airflow up`, anew at each start."]
    for name, values in sections(airflow, secret).items():
        lines.append(f"\n[{name}]")
        lines += [f"{key} = {str(value).replace('%', '%%')}" for key, value in values.items()]
    return "\n".join(lines) + "\n"
