"""Log files: what is known of them without importing a driver."""

from __future__ import annotations

from millrace.connectors.log.options import Format, LogOptions
from millrace.spec.connector import Connector, SourceRole

connector = Connector(
    name="log",
    summary="Text files, a record a line: access logs, JSON lines, CSV or a pattern; on disk or any Hadoop file system",
    source=SourceRole(
        options=LogOptions,
        implementation="millrace.connectors.log.source:LogSource",
        incremental=True,
        formats=tuple(format_.value for format_ in Format),
    ),
)
