"""What the dashboard and the alerts of docker/ ask Prometheus for is what a real server counts."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from millrace.spec.settings import Settings
from tests.connectors.loads import people
from tests.serving.http.running import serving
from tests.serving.publishing import Publisher
from tests.test_style import ROOT

#: Labels that Prometheus adds, or that are of no series of ours.
OF_PROMETHEUS = {"instance", "job"}
SERIES = re.compile(r"\b(millrace_\w+)(?:\{([^}]*)\})?")
GROUPING = re.compile(r"\bby \(([^)]*)\)")


def expressions() -> list[str]:
    dashboard = json.loads((ROOT / "docker/grafana/dashboards/serving.json").read_text())
    alerts = yaml.safe_load((ROOT / "docker/prometheus/alerts.yml").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return asked + [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]


def variables() -> list[tuple[str, str]]:
    """The metric and the label whose values a dashboard's variable lists."""
    dashboard = json.loads((ROOT / "docker/grafana/dashboards/serving.json").read_text())
    queries = [variable["query"]["query"] for variable in dashboard["templating"]["list"]]
    return [re.fullmatch(r"label_values\((\w+), (\w+)\)", query).groups() for query in queries]  # type: ignore[union-attr,misc]  # fails as it should


@pytest.fixture
def counted(settings: Settings, publisher: Publisher) -> dict[str, set[str]]:
    """The labels of every series that a server shows after a few calls, by the series' name."""
    publisher.publish(people(3))
    with serving(settings) as server, server.client() as client:
        for key in (1, 1, 99):
            client.get(f"/v1/kv/user_profile/{key}")
        page = client.get("/metrics").text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_every_metric_and_label_that_is_asked_for_is_there(counted: dict[str, set[str]]) -> None:
    assert len(expressions()) > 15
    for text in expressions():
        used = SERIES.findall(text)
        for name, selector in used:
            assert name in counted, text
            labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", selector))
            assert labels <= counted[name] | OF_PROMETHEUS, text
        for group in GROUPING.findall(text):
            labels = set(re.split(r",\s*", group))
            assert all(labels <= counted[name] | OF_PROMETHEUS for name, _ in used), text
    for name, label in variables():
        assert label in counted[name] | OF_PROMETHEUS
