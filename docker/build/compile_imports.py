"""Import what `millrace serve` imports, so that its bytecode is in the image, and that of nothing else."""

import compileall
import importlib
import pkgutil
from pathlib import Path

import millrace.serving

#: What is imported only where a store, a setting or a request asks for it.
LATER = (
    "aiomysql",
    "clickhouse_connect.driver.asyncclient",
    "grpc_health.v1.health_pb2",
    "grpc_reflection.v1alpha.reflection",
    "httpx",
    "millrace.cli.app",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk.trace.export",
    "pyarrow.compute",
    "redis.asyncio.cluster",
    "sqlalchemy.dialects.mysql.pymysql",
    "sqlalchemy.dialects.sqlite",
    "thriftpy2.protocol",
    "uvloop",
)

for found in pkgutil.walk_packages(millrace.serving.__path__, "millrace.serving."):
    importlib.import_module(found.name)
for name in LATER:
    importlib.import_module(name)
compileall.compile_dir(Path(millrace.serving.__path__[0]).parent, quiet=1)
