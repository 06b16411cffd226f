"""A data lake: what is known of it without importing a driver."""

from __future__ import annotations

from millrace.connectors.lake.options import FileFormat, LakeOptions
from millrace.spec.connector import Connector, SourceRole

connector = Connector(
    name="lake",
    summary="Data lake: Parquet, ORC and CSV folders on any Hadoop file system, whole or what is new, by partitions",
    source=SourceRole(
        options=LakeOptions,
        implementation="millrace.connectors.lake.source:LakeSource",
        incremental=True,
        formats=tuple(form.value for form in FileFormat),
    ),
)

__all__ = ["LakeOptions", "connector"]
