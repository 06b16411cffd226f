"""The command line of the driver's JVM: which JDK, which class path, which flags, which class-data-sharing archive."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from millrace.errors import ConfigError
from millrace.jobs import class_sharing

JAVA_VERSION = 17
GATEWAY_CLASS = "org.apache.spark.api.python.PythonGatewayServer"
DEFAULT_DRIVER_MEMORY = "2g"

LOGGING = Path(__file__).with_name("log4j2.properties")

#: Each session would load these jars' services: those of other masters, of Spark Connect, and MLlib's, which starts
#: Scala's reflection and so takes a second.
_NOT_NEEDED = ("spark-mllib_", "spark-connect_", "spark-hive-thriftserver_", "spark-kubernetes_", "spark-yarn_")

#: Code is compiled in haste for nothing while a run starts: C2 took half of the CPU time of a small one. These are
#: twenty times HotSpot's own values, which a loop over rows still reaches in well under a second.
LATE_C2 = (
    "-XX:Tier4InvocationThreshold=100000", "-XX:Tier4MinInvocationThreshold=12000",
    "-XX:Tier4CompileThreshold=300000", "-XX:Tier4BackEdgeThreshold=800000",
)  # fmt: skip

#: What Spark's own launcher opens on JDK 17 (org.apache.spark.launcher.JavaModuleOptions).
OPENS = (
    "java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util",
    "java.util.concurrent", "java.util.concurrent.atomic", "jdk.internal.ref", "sun.nio.ch", "sun.nio.cs",
    "sun.security.action", "sun.util.calendar",
)  # fmt: skip


def spark_home() -> Path:
    """SPARK_HOME, or the pyspark package itself."""
    if "SPARK_HOME" in os.environ:
        return Path(os.environ["SPARK_HOME"])
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        raise ConfigError("pyspark is not installed", hint="install it with `pip install 'millrace[jobs]'`")
    return Path(found.origin).parent


@cache
def java() -> Path:
    """A Java 17 from MILLRACE_JAVA_HOME, JAVA_HOME, the PATH or /usr/lib/jvm, in this order.

    Raises ConfigError that lists every place that was looked at.
    """
    looked = []
    for candidate in _candidates():
        version = _version(candidate)
        looked.append(f"{candidate} ({'not there' if version is None else f'Java {version}'})")
        if version == JAVA_VERSION:
            return candidate
    raise ConfigError(
        f"no Java {JAVA_VERSION} was found; looked at: {', '.join(looked)}",
        hint="install one (Debian: openjdk-17-jre-headless), or name it in JAVA_HOME",
    )


def _candidates() -> Iterator[Path]:
    for name in ("MILLRACE_JAVA_HOME", "JAVA_HOME"):
        if name in os.environ:
            yield Path(os.environ[name]) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path)
    yield from sorted(Path("/usr/lib/jvm").glob("*17*/bin/java"))


def _version(binary: Path) -> int | None:
    if not binary.exists():
        return None
    release = binary.resolve().parent.parent / "release"
    text = release.read_text() if release.exists() else _asked(binary)
    found = re.search(r'(?:JAVA_VERSION=|version )"(\d+)', text)
    return int(found.group(1)) if found else None


def _asked(binary: Path) -> str:
    return subprocess.run([str(binary), "-version"], capture_output=True, text=True, check=False).stderr


def extra_jars() -> list[Path]:
    """Jars that connectors need, such as a JDBC driver: those in MILLRACE_JARS, a list of folders or files."""
    found: list[Path] = []
    for entry in filter(None, os.environ.get("MILLRACE_JARS", "").split(os.pathsep)):
        path = Path(entry)
        found += sorted(path.glob("*.jar")) if path.is_dir() else [path]
    return found


def spark_jars() -> list[Path]:
    """Spark's own jars for a local driver, in a fixed order."""
    jars = sorted((spark_home() / "jars").glob("*.jar"))
    return [class_sharing.shareable(jar) for jar in jars if not jar.name.startswith(_NOT_NEEDED)]


def command(conf: Mapping[str, str]) -> list[str]:
    """The whole command line for a local driver."""
    jars = spark_jars()
    class_path = [*map(str, jars), conf.get("spark.driver.extraClassPath", "")]
    return [
        str(java()),
        *class_sharing.flags(java(), jars),
        "-XX:+IgnoreUnrecognizedVMOptions",
        *LATE_C2,
        *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENS),
        "-Djdk.reflect.useDirectMethodHandle=false",
        "-Dio.netty.tryReflectionSetAccessible=true",
        f"-Dlog4j2.configurationFile={LOGGING}",
        f"-Xmx{conf.get('spark.driver.memory', DEFAULT_DRIVER_MEMORY)}",
        "-cp",
        ":".join(filter(None, class_path)),
        *conf.get("spark.driver.extraJavaOptions", "").split(),
        GATEWAY_CLASS,
    ]
