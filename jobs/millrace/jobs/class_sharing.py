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
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession


def cache_folder() -> Path:
    """MILLRACE_CACHE, or ~/.cache/millrace."""
    return Path(os.environ.get("MILLRACE_CACHE") or Path.home() / ".cache" / "millrace")


def archive(java: Path, jars: list[Path]) -> Path:
    """Where the archive for this JDK and class path is, or would be."""
    release = java.resolve().parent.parent / "release"
    digest = hashlib.sha256(release.read_bytes() if release.exists() else str(java.resolve()).encode())
    for jar in jars:
        digest.update(f"{jar}:{jar.stat().st_size}\n".encode())
    return cache_folder() / f"spark-{digest.hexdigest()[:16]}.jsa"


def flags(java: Path, jars: list[Path]) -> list[str]:
    """JVM flags that use the archive, or that make it when this process was started to do so; none without it."""
    made_at = os.environ.get("MILLRACE_MAKE_ARCHIVE")
    if made_at:
        return [f"-XX:ArchiveClassesAtExit={made_at}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
    found = archive(java, jars)
    return [f"-XX:SharedArchiveFile={found}", "-Xlog:cds=off"] if found.exists() else []


def make() -> Path:
    """Make the archive by letting a session do a little of everything, unless it is there already. Takes 20 s."""
    from millrace.jobs import jvm

    wanted = archive(jvm.java(), jvm.spark_jars())
    if wanted.exists():
        return wanted
    wanted.parent.mkdir(parents=True, exist_ok=True)
    unfinished = wanted.with_name(f"{wanted.name}.{os.getpid()}")
    os.environ["MILLRACE_MAKE_ARCHIVE"] = str(unfinished)
    with tempfile.TemporaryDirectory(prefix="millrace-classes-") as folder:
        _train(Path(folder))
    _wait_for(unfinished)
    unfinished.replace(wanted)
    return wanted


def _train(folder: Path) -> None:
    from millrace.jobs import session as sessions
    from millrace.spec.settings import Settings

    spark = sessions.spark_session(Settings.from_env(), "millrace class sharing")
    _work(spark, folder)
    spark.stop()
    sessions.end_jvm()


def _work(spark: SparkSession, folder: Path) -> None:
    """What runs do: text and Parquet, expressions, windows, aggregates, Arrow to Python and back, JDBC's classes."""
    (folder / "lines.txt").write_text("a\nb\n")
    lines = spark.read.text(str(folder / "lines.txt"))
    frame = lines.selectExpr(
        "value", "length(value) AS n", "current_timestamp() AS at", "cast(n AS decimal(20,2)) AS d"
    )
    frame.createOrReplaceTempView("input")
    ranked = spark.sql("SELECT *, row_number() OVER (PARTITION BY n ORDER BY value) AS r FROM input WHERE n > 0")
    ranked.mapInArrow(_same, ranked.schema).write.mode("overwrite").parquet(str(folder / "stage"))
    staged = spark.read.parquet(str(folder / "stage"))
    staged.groupBy("n").agg({"value": "max", "d": "sum"}).collect()
    staged.selectExpr("count(1)", "count_if(value IS NULL)", "min(n)", "approx_count_distinct(value)").collect()
    staged.coalesce(1).mapInArrow(_same, staged.schema).collect()


def _same(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches


def _wait_for(path: Path, seconds: float = 300.0) -> None:
    """The JVM writes the archive while it ends."""
    deadline = time.monotonic() + seconds
    size = -1
    while time.monotonic() < deadline:
        now = path.stat().st_size if path.exists() else -1
        if now > 0 and now == size:
            return
        size = now
        time.sleep(0.5)
    raise TimeoutError(f"the JVM did not write {path} within {seconds:.0f} s")


if __name__ == "__main__":
    print(f"class-data-sharing archive: {make()}", file=sys.stderr)
