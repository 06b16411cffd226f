"""`millrace test`: a whole run against a spec's own test connections, in its own catalog, taken down afterwards."""

from __future__ import annotations

import tempfile
from dataclasses import replace

from millrace.catalog import Catalog
from millrace.errors import ConfigError
from millrace.jobs import publishing, runner
from millrace.jobs.context import Driver, Observer
from millrace.jobs.session import SessionHolder
from millrace.spec import Spec
from millrace.spec.rules import connection_names
from millrace.spec.settings import Settings

TRIAL_SUFFIX = "__test"


def trial(spec: Spec, settings: Settings, observer: Observer, session: SessionHolder) -> runner.RunReport:
    """Run the spec under the name `<asset>__test` against `test.connections`, then remove all that it wrote.

    Raises ConfigError when a connection of the spec has no stand-in, so that a test never touches production.
    """
    renamed = spec.test.connections
    _refuse_production(spec)
    isolated = replace(spec, asset=spec.asset + TRIAL_SUFFIX, apis=(), alerts=())
    with tempfile.TemporaryDirectory(prefix="millrace-test-") as folder:
        own = replace(settings, catalog_url=f"sqlite:///{folder}/catalog.db", work_dir=f"{folder}/work")
        with Catalog.open(own.catalog_url) as catalog:
            driver = Driver(isolated, own, catalog, session, observer, renamed)
            try:
                request = runner.RunRequest(trigger="test", connections=renamed)
                return runner.run(isolated, own, catalog, session, request, observer)
            finally:
                _tear_down(driver)


def _refuse_production(spec: Spec) -> None:
    options = [spec.source.options, *(target.options for target in spec.targets)]
    used = {name for one in options for name in connection_names(one)}
    missing = sorted(used - set(spec.test.connections))
    if missing:
        raise ConfigError(
            f"testing {spec.asset}: no test connection stands in for {', '.join(missing)}",
            hint="name one for each under `test: {connections: {…}}` (the same name says that it is safe to use)",
        )


def _tear_down(driver: Driver) -> None:
    """Take the pointer away, then every version that the trial has left in a store."""
    asset = driver.spec.asset
    for entry in driver.spec.targets:
        target = driver.target(entry.name)
        try:
            target.unpublish(asset)
        finally:
            target.close()
    for record in driver.catalog.versions.list(asset, erased=False):
        publishing.erase_in_stores(driver, record)
