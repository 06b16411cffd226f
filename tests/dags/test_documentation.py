"""What a DAG's page says, and that nothing in a spec is markup there."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from millrace.dags.config import DagConfig
from millrace.dags.documentation import documentation, escaped, tags
from millrace.dags.outline import Endpoint, Outline
from millrace.spec.priority import Priority

CONFIG = DagConfig(slots=dict.fromkeys(Priority, 1), data_docs="https://docs.example.com/{asset}/")
OUTLINE = Outline(
    asset="plays",
    path="specs/plays.yaml",
    digest="0123456789abcdef",
    source=Endpoint("kafka", "kafka", "events"),
    targets=(Endpoint("redis", "redis", "online"), Endpoint("history", "clickhouse", "reports")),
    owner="web@example.com",
    description="One row a play.",
    business_line="web",
    priority="high",
    after=("tracks", "users"),
    checks=3,
    apis=(("plays", "kv"),),
)


def test_the_page_says_who_what_from_where_and_for_whom() -> None:
    assert documentation(OUTLINE, CONFIG) == (
        "One row a play.\n\n"
        "**Owner:** web@example.com · **business line:** web · **priority:** high\n\n"
        "**Fed by:** kafka through events, runs after tracks, users\n\n"
        "**Loaded into:** redis through online, history (clickhouse) through reports, by replace, after 3 checks\n\n"
        "**Read by:** plays (kv)\n\n"
        "[data docs](https://docs.example.com/plays/)\n\n"
        "Spec: specs/plays.yaml, sha256 0123456789ab\n"
    )


def test_tags_are_what_a_dag_is_looked_for_by() -> None:
    assert tags(OUTLINE) == {"line: web", "priority: high", "mode: replace", "store: redis", "store: clickhouse"}
    assert all(len(tag) <= 100 for tag in tags(replace(OUTLINE, business_line="x" * 200)))


@pytest.mark.parametrize(
    "text",
    ["[click](javascript:alert(1))", "<script>x</script>", "![x](http://evil/x.png)", "https://evil", "www.evil.com",
     "`code`", "# head", "a\n\n# head\n<b>", "| a | b |", "&lt;b&gt;", "{{ ds }}", "$x^2$", "docs.md"],
)  # fmt: skip
def test_nothing_in_a_spec_is_markup(text: str) -> None:
    shown = escaped(text)
    assert re.sub(r"\\(.)", r"\1", shown) == " ".join(text.split()), "it still says what it says"
    assert not re.search(r"[`*_\[\]<>#|~&$]|https?:(?=//)|www\.", re.sub(r"\\.", "", shown))
    page = documentation(replace(OUTLINE, description=text, owner=text, business_line=text), CONFIG)
    assert page.count("\n\n") == documentation(OUTLINE, CONFIG).count("\n\n"), "no paragraph of its own"
    assert not page.endswith(".md"), "Airflow would open it as a file"
