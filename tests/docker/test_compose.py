"""docker/: what the compose file, the Dockerfile, Prometheus and Grafana name is there."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from millrace.serving.http.problems import _TITLES as PROBLEMS
from millrace.spec.connection import resolve
from tests.servers.offers import OFFERS
from tests.test_style import ROOT

DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: Mapping[str, Mapping[str, Any]] = COMPOSE["services"]
OURS = {"jobs", "serving", "hbase"}
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
VARIABLE = re.compile(r"\$\{(\w+)(:?[?-])?[^}]*\}")


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What docker/secrets writes, into a copy of its own."""
    folder = tmp_path_factory.mktemp("docker")
    shutil.copy(DOCKER / "secrets", folder)
    subprocess.run([folder / "secrets"], check=True, capture_output=True)
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    return dict(line.split("=", 1) for line in (folder / ".env").read_text().splitlines())


def images() -> Iterator[tuple[str, str]]:
    for name, service in SERVICES.items():
        yield name, service["image"]


def test_it_has_every_store_and_what_reads_and_watches_them() -> None:
    stores = {"mariadb", "redis", "kafka", "hbase", "clickhouse", "druid-coordinator", "druid-broker"}
    assert stores | {"airflow", "serving", "prometheus", "grafana"} <= set(SERVICES)


def test_every_image_is_pinned_or_ours() -> None:
    for name, image in images():
        if image.startswith("millrace-"):
            target = SERVICES[name]["build"]["target"]
            assert target in OURS
            assert image.startswith(f"millrace-{target}:")
        else:
            assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", image), image


def test_the_dockerfile_is_pinned_and_without_root() -> None:
    (base,) = re.findall(r"^ARG BASE=(.*)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    final = {match[1]: stage for stage in stages if (match := re.match(r"\$\{BASE\} AS (\w+)\n", stage))}
    assert set(final) >= OURS
    for target in OURS:
        assert re.search(r"^USER 10001:10001$", final[target], re.MULTILINE), target
    assert "HEALTHCHECK" in final["serving"]
    assert DOCKERFILE.count("pip install") == DOCKERFILE.count("--require-hashes") + DOCKERFILE.count("--no-deps")


@pytest.mark.parametrize(("lock", "extras"), [("jobs", ("jobs", "quality", "airflow")), ("serving", ("serving",))])
def test_the_lock_of_an_image_holds_what_its_extras_ask_for(lock: str, extras: Sequence[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(text for extra in extras for text in project["optional-dependencies"][extra])]
    held = locked(lock)
    wrong = [r for r in map(Requirement, asked) if not any(r.specifier.contains(v) for n, v in held if n == r.name)]
    assert not wrong, "run scripts/lock"
    assert held <= locked("dev"), "what is tested is what is shipped"


def locked(name: str) -> set[tuple[str, str]]:
    """Names and versions; some have another version for another Python."""
    text = (ROOT / f"requirements/{name}.txt").read_text()
    return set(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", text, re.MULTILINE))


def test_what_the_dockerfile_copies_is_there_and_not_ignored() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert all((ROOT / path).exists() for path in allowed)
    copied = [words for words in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE) if words != ". ."]
    for source in (word for words in copied for word in words.split()[:-1]):
        assert (ROOT / source).exists(), source
        assert any(source == path or source.startswith(f"{path}/") for path in allowed), source


def test_every_file_that_is_mounted_is_there() -> None:
    mounted = [
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if volume[0] == "."
    ]
    assert len(mounted) > 5
    assert [path for path in mounted if not (DOCKER / path).exists()] == []
    files = [file for service in SERVICES.values() for file in service.get("env_file", ())]
    assert [file for file in files if not (DOCKER / file).exists()] == []


def test_every_volume_is_declared_and_used() -> None:
    used = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if volume[0] != "."
    }
    assert used == set(COMPOSE["volumes"])


def test_every_port_is_one_of_its_own_on_this_machine() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    defaults = [re.fullmatch(r"127\.0\.0\.1:\$\{\w+_PORT:-(\d+)\}:\d+", port) for port in ports]
    assert all(defaults), ports
    assert len({match[1] for match in defaults if match}) == len(ports)


def test_every_server_has_a_health_check_and_is_waited_for_only_if_it_is_there() -> None:
    for name, service in SERVICES.items():
        stays = "restart" in service
        in_image = service["image"].startswith(("millrace-serving", "millrace-hbase"))
        assert not stays or in_image or "healthcheck" in service, name
        assert set(service.get("depends_on", {})) <= set(SERVICES), name


def test_every_secret_is_made_and_none_is_committed(secrets: Mapping[str, str]) -> None:
    text = (DOCKER / "compose.yaml").read_text()
    needed = {name for name, how in VARIABLE.findall(text) if how == ":?"}
    assert needed == set(secrets) - {"COMPOSE_PROJECT_NAME"}
    assert all(len(secrets[name]) == 48 for name in needed)
    tracked = re.findall(r"PASSWORD: (?!\$\{)\S+", text)
    assert tracked == []
    assert "docker/.env" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("service", ["jobs", "airflow", "serving", "examples"])
def test_the_connections_are_those_of_the_example_specs(service: str, secrets: Mapping[str, str]) -> None:
    given = {
        name: VARIABLE.sub(lambda match: secrets.get(match[1], ""), value)
        for name, value in SERVICES[service]["environment"].items()
    }
    for name in ("mysql_main", "redis_online", "events", "hbase_main", "clickhouse_main", "druid_main"):
        connection = resolve(name, given, Path("none"))
        assert connection.host in SERVICES, name
    assert {name for offer in OFFERS.values() for name in offer.connections} - {"redis_cluster"} <= {
        name.removeprefix("MILLRACE_CONNECTION_").lower() for name in given
    }


def test_scripts_in_images_can_be_called_and_parsed() -> None:
    for path in (DOCKER / "secrets", DOCKER / "hbase/start", *(DOCKER / "build").glob("[!.]*")):
        if path.suffix:
            continue
        assert os.access(path, os.X_OK), path
        shell = path.read_text().splitlines()[0].removeprefix("#!")
        assert subprocess.run([shell, "-n", path], check=False).returncode == 0, path


def test_hbase_of_the_image_is_set_up_as_that_of_the_tests() -> None:
    from tests.servers.hbase import HBase

    hbase = HBase()
    try:
        hbase._configure()
        tested = set(re.findall(r"<name>(.*?)</name>", (hbase.conf / "hbase-site.xml").read_text()))
    finally:
        hbase.stop()
    image = set(re.findall(r"<name>(.*?)</name>", (DOCKER / "hbase/hbase-site.xml").read_text()))
    assert image <= tested


def expressions() -> list[str]:
    dashboard = json.loads((DOCKER / "grafana/dashboards/serving.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [variable["query"]["query"] for variable in dashboard["templating"]["list"]]
    alerts = yaml.safe_load((DOCKER / "prometheus/alerts.yml").read_text())
    return asked + [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]


def test_codes_that_panels_and_alerts_ask_for_are_ones_that_the_server_gives() -> None:
    asked = {
        code
        for text in expressions()
        for codes in re.findall(r'code[!=]~?"([^"]*)"', text)
        for code in codes.split("|")
    }
    assert {"store-unavailable", "ok"} <= asked
    assert asked <= {*PROBLEMS, "ok"}


def test_panels_do_not_lie_on_each_other() -> None:
    panels = json.loads((DOCKER / "grafana/dashboards/serving.json").read_text())["panels"]
    places = sorted((panel["gridPos"] for panel in panels), key=lambda place: (place["y"], place["x"]))
    for one, next_one in pairwise(places):
        beside = one["y"] == next_one["y"] and one["x"] + one["w"] <= next_one["x"]
        assert beside or one["y"] + one["h"] <= next_one["y"]
    assert all(place["x"] + place["w"] <= 24 for place in places)


def test_prometheus_asks_the_server_and_grafana_asks_prometheus() -> None:
    scraped = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())
    (job,) = scraped["scrape_configs"]
    assert job["static_configs"][0]["targets"] == ["serving:8080"]
    assert all((DOCKER / "prometheus" / name).exists() for name in scraped["rule_files"])
    (source,) = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    dashboard = (DOCKER / "grafana/dashboards/serving.json").read_text()
    assert set(re.findall(r'"uid": "(prom\w+)"', dashboard)) == {source["uid"]}
