"""Outlines of specs, kept by digest: a spec that has not changed is never validated a second time.

The digest is over all that the answer depends on: the text, the values of the `${VAR}` that it names, the release of
millrace and the connectors that are installed. What is kept is JSON, and holds no secret: only names of connections.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points, version
from pathlib import Path

from millrace.dags.outline import Outline
from millrace.errors import SpecError

MAX_BYTES = 1 << 20  # of a spec; `millrace.spec.document` refuses what is larger
_FORMAT = 2
_SHOWN = 20  # errors of a spec that are told with their lines
_VARIABLE = re.compile(rb"\$\{([A-Za-z_][A-Za-z0-9_]*)")


class Outlines:
    """Outlines of spec files, with a folder that keeps them. Safe to use from several processes at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, path: Path) -> Outline:
        """The outline of a spec file. Raises SpecError with every error of the file, each with its line."""
        content = _content(path)
        kept = self._file(path, content)
        try:
            return _from_kept(kept.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError):
            pass  # not kept yet, or by a release that wrote it differently
        answer = _validated(content, path)
        _write(kept, answer)
        return _from_kept(answer)

    def keep_only(self, paths: Iterable[Path]) -> None:
        """Forget what is kept of other specs and of older texts."""
        wanted = set()
        for path in paths:
            try:
                wanted.add(self._file(path, _content(path)).name)
            except SpecError:
                continue
        for file in self._folder.glob("*.json"):
            if file.name not in wanted:
                file.unlink(missing_ok=True)

    def _file(self, path: Path, content: bytes) -> Path:
        names = sorted({name.decode() for name in _VARIABLE.findall(content)})
        facts = [_FORMAT, _release(), str(path), [[name, os.environ.get(name)] for name in names]]
        digest = hashlib.sha256(json.dumps(facts).encode() + b"\0" + content)
        return self._folder / f"{digest.hexdigest()}.json"


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError(f"reading the spec {path}: {error.strerror or error}") from None


def _validated(content: bytes, path: Path) -> str:
    """The answer to keep: an outline, or what is wrong with the spec."""
    from millrace.spec import parse_spec

    try:
        return json.dumps({"outline": Outline.of(parse_spec(content, path)).to_json()})
    except SpecError as error:
        if not error.diagnostics:
            raise  # not of this file alone, e.g. a connector that can't be loaded
        shown = "\n".join(d.full() for d in error.diagnostics[:_SHOWN])
        return json.dumps({"error": f"{error.message.partition(chr(10))[0]}\n{shown}"})


def _from_kept(text: str) -> Outline:
    answer = json.loads(text)
    if "error" in answer:
        raise SpecError(answer["error"])
    return Outline.from_json(answer["outline"])


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, encoding="utf-8", delete=False) as draft:
        draft.write(text)
    os.replace(draft.name, file)


@cache
def _release() -> str:
    """What decides how specs are read: this release, its own files where it runs from a checkout, the connectors."""
    from millrace.spec import __file__ as spec_package

    folder = Path(spec_package).parent
    newest = max(file.stat().st_mtime_ns for place in (folder, folder / "shape") for file in place.glob("*.py"))
    points = sorted(
        f"{point.name}={point.value}@{point.dist.version if point.dist else ''}"
        for point in entry_points(group="millrace.connectors")
    )
    return f"{version('millrace')} {newest} {' '.join(points)}"
