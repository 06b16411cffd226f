"""How Airflow finds specs: a DAG bundle that lays out one small DAG file for each spec of some folders.

    [dag_processor]
    dag_bundle_config_list = [{"name": "millrace", "classpath": "millrace.dags.bundle.SpecBundle",
                               "kwargs": {"specs": ["/srv/specs"], "config": "/srv/airflow.yaml"}}]

A DAG file that raises loses all of its DAGs (apache/airflow#53971); with a file of its own, a bad spec takes away only
its own DAG, and shows as an import error with its file and line. A task's start builds the DAG of its own file only.

The DAG processor calls `refresh`: there specs are validated (each text once), files are laid out, and pools are made or
resized. A worker calls `initialize`, which only lays out files that aren't there yet.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.configuration import conf
from airflow.dag_processing.bundles.base import BaseDagBundle

from millrace.dags import factory, pools
from millrace.dags.config import load_config
from millrace.dags.layout import DagFile, dag_files, late_file, lay_out, spec_files
from millrace.dags.outline import Outline
from millrace.dags.outlines import Outlines
from millrace.errors import ConfigError, SpecError
from millrace.spec.priority import Priority

REFRESH_S = 30
#: What each DAG file calls. Named here so that it is imported once, before processes are forked to parse the files.
FACTORY = factory.spec_dag
_log = logging.getLogger(__name__)


class SpecBundle(BaseDagBundle):
    """DAGs of the specs in some folders. `specs`: the folders, all below them counts; `config`: airflow.yaml."""

    supports_versioning = False

    def __init__(
        self,
        *,
        specs: str | Sequence[str],
        config: str | None = None,
        refresh_interval: int = REFRESH_S,
        **arguments: Any,
    ) -> None:
        super().__init__(refresh_interval=refresh_interval, **arguments)
        self.specs = [Path(folder) for folder in ([specs] if isinstance(specs, str) else specs)]
        self.config = Path(config) if config else None

    @property
    def path(self) -> Path:
        """Where the DAG files are."""
        return Path(self.base_dir) / "dags"

    def initialize(self) -> None:
        """Lay out the DAG files that are missing; nothing is validated. Safe to call from many processes at once."""
        lay_out(self._files({}), self.path, missing_only=True)
        super().initialize()

    def refresh(self) -> None:
        """Bring DAG files and pools in line with the specs. A bad spec keeps its file, which then raises.

        Raises ConfigError for a folder of specs that isn't there; then everything stays as it is.
        """
        paths = list(spec_files(self.specs))
        kept = Outlines(self._outlines)
        outlines = {path: outline for path in paths if (outline := _outline(kept, path)) is not None}
        lay_out(self._files(outlines), self.path)
        kept.keep_only(paths)
        self._sync_pools(list(outlines.values()))

    def get_current_version(self) -> None:
        """There are no versions: a DAG is that of its spec as it is now."""
        return

    @property
    def _outlines(self) -> Path:
        return Path(self.base_dir) / "outlines"

    def _files(self, outlines: dict[Path, Outline]) -> list[DagFile]:
        specs = dag_files(self.specs, outlines, self._outlines, self.config)
        return [*specs, late_file(self.specs, self._outlines)]

    def _sync_pools(self, outlines: list[Outline]) -> None:
        try:
            config = load_config(self.config)
        except ConfigError as error:
            _log.error("pools are left as they are: %s", error)
            return
        lines = [(outline.business_line, Priority(outline.priority)) for outline in outlines]
        for change in pools.sync(pools.pools_for(lines, config, conf.getint("core", "parallelism"))):
            _log.info("pool %s", change)


def _outline(kept: Outlines, path: Path) -> Outline | None:
    try:
        return kept.of(path)
    except SpecError:
        return None  # its DAG file says so, as an import error
