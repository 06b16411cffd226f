"""The reading half of sorted sets, lists and sets: an answer as the row with its arrays. No Arrow here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from millrace.connectors.redis.layout import Manifest
from millrace.connectors.redis.options import ValueLayout
from millrace.connectors.wire import text
from millrace.connectors.wire.values import readable
from millrace.spec.types import DataType, Kind

_WHOLE = frozenset({Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT})


def collection_decoder(manifest: Manifest) -> Callable[[tuple[bytes, Sequence[bytes]]], dict[str, Any]]:
    """A function from (whole key, members) to the row, in the order of the fields: the key's columns and the arrays.

    Members of a sorted set come with their scores, the highest first.
    """
    assert manifest.members is not None
    member = text.parser(manifest.types[manifest.members].fields[0].type)
    score = None if manifest.scores is None else _number(manifest.types[manifest.scores].fields[0].type)
    template = manifest.whole_key
    parsers = {name: text.parser(manifest.types[name]) for name in template.columns}
    names = [field.name for field in manifest.fields]

    def decode(stored: tuple[bytes, Sequence[bytes]]) -> dict[str, Any]:
        key, found = stored
        row: dict[str, Any] = {name: parsers[name](part) for name, part in template.parts(key).items()}
        row[str(manifest.members)] = [member(raw) for raw in (found if score is None else found[::2])]
        if score is not None:
            row[str(manifest.scores)] = [score(raw) for raw in found[1::2]]
        return {name: row.get(name) for name in names}

    return readable(decode, f"a {manifest.value}")


def comparable(manifest: Manifest, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row as far as its layout keeps it: a set has no order and nothing twice, a sorted set its scores' order."""
    if manifest.members is None or manifest.value is ValueLayout.LIST or row[manifest.members] is None:
        return row
    members = row[manifest.members]
    if manifest.scores is None:
        return {**row, manifest.members: sorted({repr(member) for member in members})}
    pairs = dict(zip(map(repr, members), map(float, row[manifest.scores] or ()), strict=False))
    return {**row, manifest.members: sorted(pairs.items()), manifest.scores: None}


def _number(type_: DataType) -> Callable[[bytes], Any]:
    if type_.kind in _WHOLE:
        return lambda raw: int(float(raw))
    if type_.kind is Kind.DECIMAL:
        parse = text.parser(type_)
        return lambda raw: parse(b"%.*f" % (type_.scale, float(raw)))
    return float
