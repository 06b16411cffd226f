"""Folders that say what is in them, `dt=2024-05-01/country=de`: their columns, values and types. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from urllib.parse import unquote

from millrace.spec.types import Column, DataType, Kind

NULL = "__HIVE_DEFAULT_PARTITION__"
_FOLDER = re.compile(r"([^/=]+)=([^/]*)")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_MOST_INT = (1 << 31) - 1

Values = tuple[tuple[str, str | None], ...]
"""The partition columns of a file with their values, in the order of its folders."""


def folder_value(name: str) -> tuple[str, str | None] | None:
    """What a folder's name says: column and value; None for a folder that is no partition."""
    found = _FOLDER.fullmatch(name)
    if found is None:
        return None
    column, value = unquote(found.group(1)), unquote(found.group(2))
    return column, None if value == NULL else value


def values_of(path: str) -> Values:
    """The partition that a file is in, by the folders of its path."""
    return tuple(value for name in path.split("/")[:-1] if (value := folder_value(name)))


def base_of(path: str) -> str:
    """The folder above a path's partitions."""
    folders = path.split("/")[:-1]
    first = next((i for i, name in enumerate(folders) if folder_value(name)), len(folders))
    return "/".join(folders[:first])


def is_wanted(name: str, wanted: Mapping[str, str]) -> bool:
    """Whether a folder may hold files of the wanted partitions."""
    value = folder_value(name)
    return value is None or value[0] not in wanted or wanted[value[0]] == (NULL if value[1] is None else value[1])


def partition_columns(partitions: Sequence[Values]) -> tuple[Column, ...]:
    """The columns of some partitions, typed as Spark types them: whole numbers, dates, else texts.

    Raises ValueError when the partitions don't have the same columns.
    """
    names = {tuple(name for name, _ in values) for values in partitions}
    if len(names) > 1:
        shown = " and ".join(sorted("/".join(found) or "none" for found in names)[:2])
        raise ValueError(f"the files have different partition columns: {shown}")
    columns = names.pop() if names else ()
    return tuple(
        Column(name, _type({values[i][1] for values in partitions} - {None})) for i, name in enumerate(columns)
    )


def _type(values: Iterable[str | None]) -> DataType:
    texts = [value for value in values if value is not None]
    if texts and all(_INTEGER.fullmatch(text) for text in texts):
        fits = all(abs(int(text)) <= _MOST_INT for text in texts)
        return DataType(Kind.INT if fits else Kind.BIGINT)
    if texts and all(_is_date(text) for text in texts):
        return DataType(Kind.DATE)
    return DataType(Kind.STRING)


def _is_date(text: str) -> bool:
    try:
        return len(text) == 10 and bool(date.fromisoformat(text))
    except ValueError:
        return False
