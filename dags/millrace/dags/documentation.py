"""What a DAG's page says of its asset, as Markdown, and its tags. Pure.

Whatever stands in a spec is text here and never markup: names and descriptions are escaped, so that no spec can bring
a link, an image or HTML into Airflow's pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from millrace.dags.config import DagConfig
from millrace.dags.outline import Outline

_MAX_TAG = 100  # characters, of Airflow's tables
_MARKUP = re.compile(r"([\\`*_\[\]<>#|~&$]|:(?=//)|(?<=\bwww)\.)")


def documentation(outline: Outline, config: DagConfig) -> str:
    """Owner, description, what feeds the asset, what reads it, and links."""
    blocks = [
        escaped(outline.description) or "No description.",
        *_facts(outline),
        *_links(outline, config),
        f"Spec: {escaped(outline.path)}, sha256 {outline.digest[:12]}",
    ]
    return "\n\n".join(blocks) + "\n"


def tags(outline: Outline) -> set[str]:
    """What the DAG is found by: business line, priority, mode, and each store."""
    found = {f"priority: {outline.priority}", f"mode: {outline.mode}"}
    if outline.business_line:
        found.add(f"line: {outline.business_line}")
    found.update(f"store: {target.connector}" for target in outline.targets)
    return {tag[:_MAX_TAG] for tag in found}


def escaped(text: str) -> str:
    """Text as Markdown that shows exactly it, on one line."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def _facts(outline: Outline) -> list[str]:
    feeds = [_endpoint(outline.source.connector, outline.source.connection)]
    if outline.after:
        feeds.append(f"runs after {_list(outline.after)}")
    stores = [
        _endpoint(target.name if target.name == target.connector else f"{target.name} ({target.connector})",
                  target.connection)
        for target in outline.targets
    ]  # fmt: skip
    readers = [f"{escaped(name)} ({escaped(kind)})" for name, kind in outline.apis] or ["no API yet"]
    checks = f"{outline.checks} checks" if outline.checks != 1 else "1 check"
    return [
        f"**Owner:** {escaped(outline.owner) or 'nobody'} · "
        f"**business line:** {escaped(outline.business_line) or 'none'} · **priority:** {outline.priority}",
        f"**Fed by:** {', '.join(feeds)}",
        f"**Loaded into:** {', '.join(stores)}, by {escaped(outline.mode)}, after {checks}",
        f"**Read by:** {', '.join(readers)}",
    ]


def _endpoint(name: str, connection: str) -> str:
    return escaped(name) + (f" through {escaped(connection)}" if connection else "")


def _list(names: Iterable[str]) -> str:
    return ", ".join(escaped(name) for name in names)


def _links(outline: Outline, config: DagConfig) -> list[str]:
    links = [
        f"[{title}]({address.replace('{asset}', outline.asset)})"
        for title, address in (
            ("runs and versions", config.catalog),
            ("data docs", config.data_docs if outline.checks else ""),
        )
        if address
    ]
    return [" · ".join(links)] if links else []
