"""A class-data-sharing archive for Spark's classes, which halves the start of the driver's JVM (JEP 350).

    python -m millrace.jobs.class_sharing        makes it once; sessions on a local master then use it by themselves

An archive fits one JDK and one class path, so its name carries a digest of both. It is about 180 MB and lies in
MILLRACE_CACHE, by default ~/.cache/millrace.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import zipfile
from pathlib import Path

from millrace.jobs.cache import cache_folder, sweep, unfinished, used

_SIGNED = ("janino-", "commons-compiler-")  # Spark's compiler of generated code: 350 classes, checked one by one
_WRITING_S = 300.0  # the JVM writes the archive while it ends
_TRAINING = b"2"  # of `class_training`: another one makes another archive


def archive(java: Path, jars: list[Path]) -> Path:
    """Where the archive for this JDK and class path is, or would be."""
    release = java.resolve().parent.parent / "release"
    digest = hashlib.sha256(_TRAINING)
    digest.update(release.read_bytes() if release.exists() else str(java.resolve()).encode())
    for jar in jars:
        digest.update(f"{jar}:{jar.stat().st_size}\n".encode())
    return cache_folder() / f"spark-{digest.hexdigest()[:16]}.jsa"


def shareable(jar: Path) -> Path:
    """The copy that `make` has made of a signed jar, whose own classes can't be in an archive; otherwise the jar."""
    if not jar.name.startswith(_SIGNED):
        return jar
    return _copy(jar) if _copy(jar).exists() else jar


def flags(java: Path, jars: list[Path]) -> list[str]:
    """JVM flags that use the archive, or that make it when this process was started to do so; none without it."""
    made_at = os.environ.get("MILLRACE_MAKE_ARCHIVE")
    if made_at:
        return [f"-XX:ArchiveClassesAtExit={made_at}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
    found = archive(java, jars)
    return [f"-XX:SharedArchiveFile={used(found)}", "-Xlog:cds=off"] if found.exists() else []


def without_signature(jar: Path, copy: Path) -> None:
    """Write a copy of a jar that nobody has signed."""
    with zipfile.ZipFile(jar) as signed, zipfile.ZipFile(unfinished(copy), "w", zipfile.ZIP_DEFLATED) as plain:
        for entry in signed.infolist():
            if not entry.filename.upper().endswith((".SF", ".DSA", ".RSA", ".EC")):
                plain.writestr(entry, signed.read(entry))
    unfinished(copy).replace(copy)


def make() -> Path:
    """Make the archive by letting a session do the work of a run, unless it is there already. Takes half a minute.

    Raises TransientError when its JVM does not end well: there is no archive then.
    """
    from millrace.jobs import jvm

    for jar in jvm.spark_jars():
        if jar.name.startswith(_SIGNED) and jar != _copy(jar):
            without_signature(jar, _copy(jar))
    wanted = archive(jvm.java(), jvm.spark_jars())
    if wanted.exists():
        return wanted
    os.environ["MILLRACE_MAKE_ARCHIVE"] = str(unfinished(wanted))
    with tempfile.TemporaryDirectory(prefix="millrace-classes-") as folder:
        _train(Path(folder))
    unfinished(wanted).replace(wanted)
    sweep()
    return wanted


def _copy(jar: Path) -> Path:
    return cache_folder() / "unsigned" / jar.name


def _train(folder: Path) -> None:
    from millrace.jobs import class_training, launch
    from millrace.jobs.session import spark_session
    from millrace.spec.settings import Settings

    os.environ["MILLRACE_JARS"] = ""  # an archive serves class paths that begin with its own: Spark's jars
    spark = spark_session(Settings.from_env(), "millrace class sharing")
    class_training.work(spark, folder)
    spark.stop()
    launch.end_jvm(_WRITING_S)


if __name__ == "__main__":
    print(f"class-data-sharing archive: {make()}", file=sys.stderr)
