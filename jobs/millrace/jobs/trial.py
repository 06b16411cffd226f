"""`millrace test`: a whole run against a spec's own test connections, in its own catalog, taken down afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from millrace.catalog import Catalog
from millrace.connectors.base import Target
from millrace.errors import ConfigError, MillraceError
from millrace.jobs import runner
from millrace.jobs.context import Observer, connections_of, open_target, store_version
from millrace.jobs.session import SessionHolder
from millrace.spec import Spec
from millrace.spec.settings import Settings

TRIAL_SUFFIX = "__test"


def trial(spec: Spec, settings: Settings, observer: Observer, session: SessionHolder | None = None) -> runner.RunReport:
    """Run the spec under the name `<asset>__test` against `test.connections`, then remove all that it wrote.

    Raises ConfigError when a connection of the spec has no stand-in, so that a test never touches production.
    """
    renamed = spec.test.connections
    _refuse_production(spec)
    isolated = replace(spec, asset=spec.asset + TRIAL_SUFFIX, apis=())
    session = session or SessionHolder(settings, f"millrace test {spec.asset}", spec.limits.channels)
    with tempfile.TemporaryDirectory(prefix="millrace-test-") as folder:
        home = Path(folder)
        own = replace(
            settings, home=settings.home, catalog_url=f"sqlite:///{home / 'catalog.db'}", work_dir=f"{home}/work"
        )
        with Catalog.open(own.catalog_url) as catalog:
            request = runner.RunRequest(trigger="test", connections=renamed)
            try:
                return runner.run(isolated, own, catalog, session, request, observer)
            finally:
                _tear_down(catalog, isolated, lambda name: open_target(isolated, name, connections_of(own, renamed)))


def _refuse_production(spec: Spec) -> None:
    used = [getattr(entry.options, "connection", None) for entry in (spec.source, *spec.targets)]
    missing = sorted({name for name in used if name and name not in spec.test.connections})
    if missing:
        raise ConfigError(
            f"testing {spec.asset}: no test connection stands in for {', '.join(missing)}",
            hint="name one for each under `test: {connections: {…}}` (the same name says that it is safe to use)",
        )


def _tear_down(catalog: Catalog, spec: Spec, target_of: Callable[[str], Target]) -> None:
    asset = catalog.assets.find(spec.asset)
    if asset is None:
        return
    for entry in spec.targets:
        target = target_of(entry.name)
        try:
            target.unpublish(spec.asset)
            for record in catalog.versions.list(spec.asset):
                target.drop(store_version(record))
        except MillraceError as error:
            raise type(error)(f"clearing away the test of {spec.asset} in {entry.name}: {error.message}") from error
        finally:
            target.close()
