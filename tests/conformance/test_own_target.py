"""The target of one file that docs/contributing.md shows, through the same suite as our own."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from millrace.spec.connector import Connector, Mode, TargetRole
from tests.conformance.folders import folder
from tests.conformance.loads import Loads
from tests.conformance.versions import Versions
from tests.docs.pages import pages

NAME = "folder_target"


@pytest.fixture(scope="class")
def server(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder, and the module of the page, which the connector's strings name."""
    (code,) = [b.text for p in pages() if p.name == "docs/contributing.md" for b in p.blocks if b.name == f"{NAME}.py"]
    module = ModuleType(NAME)
    with pytest.MonkeyPatch.context() as patch, request.cls.serve() as place:
        patch.setitem(sys.modules, NAME, module)
        exec(compile(code, NAME, "exec"), vars(module))
        yield place


class TestFolder(Loads, Versions):
    connector = "folder"

    @classmethod
    def serve(cls) -> AbstractContextManager[Path]:
        return folder()

    @property
    def role(self) -> TargetRole:
        connector = vars(sys.modules[NAME])["connector"]
        assert isinstance(connector, Connector)
        assert connector.target is not None
        return connector.target

    def url(self) -> str:
        return f"folder://localhost/{self.server}"

    def options(self, asset: str, mode: Mode = Mode.REPLACE) -> Mapping[str, Any]:
        return {"key": "id"}
