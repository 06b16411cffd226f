"""Answers as bytes, in the format that a request accepts."""

from __future__ import annotations

from millrace.serving.formats.accept import Format, negotiate
from millrace.serving.formats.rows import encode_row, encode_rows

__all__ = ["Format", "encode_row", "encode_rows", "negotiate"]
