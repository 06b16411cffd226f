"""Importing Great Expectations: quietly, without the network, and without the parts that a check never touches."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from millrace.errors import ConfigError

#: Imported by Great Expectations for two rare expectations and for drawing; each is loaded when it is first used.
_DEFERRED = ("altair", "scipy.stats", "scipy.sparse")
#: Spark Connect is optional to Great Expectations. Where its own packages are missing, PySpark ends the whole process
#: with exit code 0 if the main module has no file (`python -c`, an embedded interpreter), instead of raising.
_NOT_NEEDED = ("pyspark.sql.connect.dataframe", "pyspark.sql.connect.session")
#: Imported whole before anything within them: while another thread is importing one, a part of it would be entered
#: with its parent half made, and either thread may then fail. Asking for the whole waits for the other thread.
_WHOLE = ("pyspark", "pandas")
_lock = threading.RLock()  # whoever imports Great Expectations, or what imports it, holds this meanwhile


def warm_up() -> None:
    """Import what the checks need, so that a later `run_checks` starts at once.

    Takes a second or two of one core; meant for a background thread while Spark's JVM starts. A second call waits for
    the first: two threads that import parts of one library by different ways may both be given half of it. Raises
    ConfigError when Great Expectations is not installed.
    """
    with _lock:
        from millrace.quality.gx import asking  # noqa: F401  # with all that it imports


def load_great_expectations() -> None:
    """Import Great Expectations. Safe to call from several threads; a second call does nothing."""
    with _lock:
        if "great_expectations" not in sys.modules:
            _import_great_expectations()


def _import_great_expectations() -> None:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    if importlib.util.find_spec("great_expectations") is None:
        raise ConfigError(
            "checks need the Python package 'great_expectations', which is not installed",
            hint="pip install 'millrace[quality]'",
        )
    for name in _WHOLE:
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
    shown = warnings.showwarning
    with _stand_ins({**{name: _Deferred(name) for name in _DEFERRED}, **dict.fromkeys(_NOT_NEEDED)}):
        import great_expectations.execution_engine.sparkdf_execution_engine
        import great_expectations.validator.validator  # noqa: F401
    if warnings.showwarning is not shown:
        logging.captureWarnings(False)  # its import sends every warning of the process to the log
    logging.getLogger("great_expectations").addHandler(logging.NullHandler())  # what matters comes in the results


class _Deferred(ModuleType):
    """Stands in for a module until something is taken from it; whoever holds it is then given the real one's."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # the import system asks for __path__ of a submodule's parent
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def _stand_ins(modules: Mapping[str, ModuleType | None]) -> Iterator[None]:
    """Put these in the place of modules that aren't imported yet; None makes an import fail as if there were none."""
    placed = {name: module for name, module in modules.items() if name not in sys.modules}
    sys.modules.update(placed)  # type: ignore[arg-type]  # None is how the import system itself marks a missing module
    try:
        yield
    finally:
        for name, module in placed.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
