"""HBase's Thrift service as happybase and thriftpy2 know it: the reference for our own encoding."""

from __future__ import annotations

import importlib
from typing import Any

importlib.import_module("happybase")  # which puts the module of the service into place

service: Any = importlib.import_module("Hbase_thrift")
protocol: Any = importlib.import_module("thriftpy2.protocol.binary")
transport: Any = importlib.import_module("thriftpy2.transport")
thrift: Any = importlib.import_module("thriftpy2.thrift")
