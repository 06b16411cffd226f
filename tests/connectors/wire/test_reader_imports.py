from __future__ import annotations

import subprocess
import sys

READING = """
import sys
from millrace.connectors.base import Field
from millrace.connectors.wire import compression, json, key_template, msgpack, protobuf, replies, text
from millrace.spec.types import column
fields = [Field(column("id", "int"), 1), Field(column("at", "map<string,timestamp>"), 2)]
assert protobuf.decoder(fields)(bytes.fromhex("0805")) == {"id": 5, "at": None}
assert json.decoder(fields)(b'{"id":5}') == {"id": 5, "at": None}
assert msgpack.decoder(fields)(bytes.fromhex("81a2696405")) == {"id": 5, "at": None}
assert text.decoder(fields)({b"id": b"5"}) == {"id": 5, "at": None}
assert key_template.KeyTemplate.parse("{id}").fill({"id": fields[0].column.type}, [5]) == b"5"
for method in compression.Compression:
    compression.decompressor(method)
print(sorted({"pyarrow", "numpy", "pandas", "pyspark"} & set(sys.modules)))
"""


def test_a_reader_needs_neither_pyarrow_nor_numpy() -> None:
    found = subprocess.run([sys.executable, "-c", READING], capture_output=True, text=True, check=False)
    assert (found.stdout.strip(), found.stderr) == ("[]", "")
