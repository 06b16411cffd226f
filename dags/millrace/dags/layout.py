"""The DAG files of a bundle: which spec files there are, the few lines of Python for each, and writing them.

A file's text is made of the spec's path and of its own text as comments, which Airflow shows as the DAG's code. Both
are data in it: the path as a Python literal, the comments line by line without control characters.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from millrace.dags.outline import Outline
from millrace.dags.outlines import MAX_BYTES
from millrace.errors import ConfigError

SUFFIXES = (".yaml", ".yml")
_SHOWN_BYTES = 64 << 10  # of a spec in its DAG file
_ODD = re.compile(r"[^A-Za-z0-9_-]+", re.ASCII)

_TEXT = """\
# The Airflow DAG of a millrace spec. Written by millrace: change the spec, not this file.
from millrace.dags.factory import spec_dag

dag = spec_dag({spec!r}, outlines={outlines!r}, config={config!r})

# The spec, sha256 {digest}:
{shown}"""
_LATE = """\
# The Airflow DAG that finds late assets. Written by millrace.
from millrace.dags.late import late_dag

dag = late_dag({specs!r}, outlines={outlines!r})
"""
_TWICE = """\
# The Airflow DAG of a millrace spec that names the asset of another one. Written by millrace.
from millrace.errors import SpecError

raise SpecError({message!r}, hint={hint!r})
"""


@dataclass(frozen=True)
class DagFile:
    """A file to be: its path within the bundle, and its text."""

    path: Path
    text: str


def spec_files(folders: Iterable[Path]) -> Iterator[Path]:
    """Every spec file below these folders, in the order of their paths. Hidden files and folders are left out.

    Raises ConfigError for a folder that isn't there: its DAGs must not vanish because a volume is not mounted.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(
                f"the folder of specs {folder} is not there", hint="make it, or mend the bundle's 'specs'"
            )
        for place, inside, names in os.walk(folder, followlinks=True):
            inside[:] = sorted(name for name in inside if not name.startswith("."))
            for name in sorted(names):
                if name.endswith(SUFFIXES) and not name.startswith("."):
                    yield Path(place, name)


def dag_files(
    folders: Sequence[Path], outlines: Mapping[Path, Outline], kept: Path, config: Path | None
) -> list[DagFile]:
    """The DAG file of each spec. Of specs that name the same asset, the first keeps it; the others' files raise."""
    first: dict[str, Path] = {}
    found = []
    for number, folder in enumerate(folders):
        for spec in spec_files([folder]):
            outline = outlines.get(spec)
            taken = first.setdefault(outline.asset, spec) if outline is not None else spec
            text = _text(spec, kept, config) if taken == spec else _declared_twice(outline, spec, taken)
            found.append(DagFile(_place(number, spec.relative_to(folder)), text))
    return found


def late_file(folders: Sequence[Path], kept: Path) -> DagFile:
    """The file of the DAG that finds late assets. No spec's DAG file has a dot before its `.py`."""
    text = _LATE.format(specs=[str(folder) for folder in folders], outlines=str(kept))
    return DagFile(Path("millrace.late.py"), text)


def lay_out(files: Iterable[DagFile], folder: Path, *, missing_only: bool = False) -> None:
    """Make the folder hold these files. Those that are as they should be are not touched.

    With `missing_only`, only files that aren't there are written, and none is removed.
    """
    wanted = set()
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        path = folder / file.path
        wanted.add(path)
        if path.exists() and (missing_only or path.read_text(encoding="utf-8") == file.text):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, file.text)
    if not missing_only:
        for path in folder.rglob("*.py"):
            if path not in wanted:
                path.unlink(missing_ok=True)


def _place(number: int, relative: Path) -> Path:
    """Where a spec's DAG file stands: like the spec below its folder, in names that are harmless anywhere."""
    parts = [*relative.parent.parts, relative.stem]
    plain = [_plain(part) for part in parts]
    top = f"{number + 1}" if number else ""
    return Path(top, *plain[:-1], f"{plain[-1]}{'' if relative.suffix == SUFFIXES[0] else '_yml'}.py")


def _plain(name: str) -> str:
    plain = _ODD.sub("_", name)
    return plain if plain == name else f"{plain[:60]}_{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


def _text(spec: Path, kept: Path, config: Path | None) -> str:
    try:
        with spec.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError:
        content = b""  # the DAG says why it can't be read
    return _TEXT.format(
        spec=str(spec),
        outlines=str(kept),
        config=str(config) if config else None,
        digest=hashlib.sha256(content).hexdigest(),
        shown=_comments(content) if len(content) <= _SHOWN_BYTES else "# (too long to be shown here)\n",
    )


def _comments(content: bytes) -> str:
    lines = content.decode("utf-8", "replace").splitlines()
    return "".join(f"# {''.join(c if c.isprintable() else '?' for c in line)}".rstrip() + "\n" for line in lines)


def _declared_twice(outline: Outline | None, spec: Path, first: Path) -> str:
    asset = outline.asset if outline is not None else ""
    return _TWICE.format(
        message=f"{spec}: the asset '{asset}' is already declared by {first}, whose DAG it keeps",
        hint="give one of them another name, or remove it",
    )


def _write(path: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=".", suffix=".new", encoding="utf-8", delete=False
    ) as draft:
        draft.write(text)
    os.chmod(draft.name, 0o644)
    os.replace(draft.name, path)
