"""What is known of a spec is kept: an unchanged text is validated once, a changed one again, errors and all."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace import spec as spec_package
from millrace.dags.outline import Outline
from millrace.dags.outlines import Outlines
from millrace.errors import ConfigError, SpecError
from millrace.spec import Spec, parse_spec

SPEC = """\
version: 1
asset: plays
owner: web@example.com
business_line: web
priority: high
schedule: {cron: "@daily", timezone: Europe/Berlin, start: 2026-01-01, catch_up: true}
source:
  log: {path: "${LOGS:-logs}/*.log", format: combined}
checks:
  - not_null: [time]
targets:
  - redis: {connection: online, key: "{host}"}
  - name: history
    clickhouse: {connection: reports, order_by: [time]}
limits: {channels: 2, timeout: 30m}
alerts: [{on: run_failed, to: ops_webhook}]
apis:
  - kv: {name: plays, target: redis}
"""


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were validated."""
    texts: list[str] = []

    def counted(content: bytes, path: Path) -> Spec:
        texts.append(content.decode())
        return parse_spec(content, path)

    monkeypatch.setattr(spec_package, "parse_spec", counted, raising=False)
    return texts


def written(tmp_path: Path, text: str = SPEC) -> Path:
    path = tmp_path / "plays.yaml"
    path.write_text(text)
    return path


def test_an_outline_has_what_a_dag_shows(tmp_path: Path) -> None:
    outline = Outlines(tmp_path / "kept").of(written(tmp_path))
    assert (outline.asset, outline.owner, outline.priority, outline.cron) == (
        "plays",
        "web@example.com",
        "high",
        "@daily",
    )
    assert [(t.name, t.connector) for t in outline.targets] == [("redis", "redis"), ("history", "clickhouse")]
    assert outline.connections == ("online", "reports", "ops_webhook"), "a run's end is told from its task"
    assert (outline.start, outline.timeout_s, outline.apis) == ("2026-01-01", 1800, (("plays", "kv"),))
    assert Outline.from_json(outline.to_json()) == outline


def test_an_unchanged_spec_is_not_validated_again(tmp_path: Path, validated: list[str]) -> None:
    path = written(tmp_path)
    first = Outlines(tmp_path / "kept").of(path)
    assert Outlines(tmp_path / "kept").of(path) == first
    assert len(validated) == 1


def test_another_text_or_another_value_of_a_variable_is_validated(
    tmp_path: Path, validated: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outlines, path = Outlines(tmp_path / "kept"), written(tmp_path)
    outlines.of(path)
    monkeypatch.setenv("LOGS", "elsewhere")
    outlines.of(path)
    assert len(validated) == 2
    monkeypatch.setenv("SOMETHING_ELSE", "changes nothing")
    outlines.of(path)
    assert len(validated) == 2
    written(tmp_path, SPEC.replace("priority: high", "priority: low"))
    assert outlines.of(path).priority == "low"
    assert len(validated) == 3


def test_a_bad_spec_says_where_and_is_not_validated_again_either(tmp_path: Path, validated: list[str]) -> None:
    path = written(tmp_path, SPEC.replace("source:", "soruce:"))
    for _ in range(2):
        with pytest.raises(SpecError) as raised:
            Outlines(tmp_path / "kept").of(path)
        assert f"{path}:7:1: unknown key 'soruce', did you mean 'source'?" in str(raised.value)
        assert "    7 | soruce:" in str(raised.value)
    assert len(validated) == 1


def test_what_is_not_the_specs_own_fault_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_content: bytes, _path: Path) -> Spec:
        raise ConfigError("a connector can't be loaded")

    path = written(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(spec_package, "parse_spec", broken, raising=False)
        with pytest.raises(ConfigError):
            Outlines(tmp_path / "kept").of(path)
    assert Outlines(tmp_path / "kept").of(path).asset == "plays"


def test_a_spoilt_file_of_what_is_kept_is_written_anew(tmp_path: Path) -> None:
    outlines, path = Outlines(tmp_path / "kept"), written(tmp_path)
    first = outlines.of(path)
    (kept,) = (tmp_path / "kept").glob("*.json")
    for spoilt in ("", "{", '{"outline": {"asset": 1}}', "[]"):
        kept.write_text(spoilt)
        assert outlines.of(path) == first


def test_what_is_kept_of_other_specs_and_texts_is_forgotten(tmp_path: Path) -> None:
    outlines, path = Outlines(tmp_path / "kept"), written(tmp_path)
    outlines.of(path)
    written(tmp_path, SPEC.replace("high", "low"))
    outlines.of(path)
    assert len(list((tmp_path / "kept").glob("*.json"))) == 2
    outlines.keep_only([path, tmp_path / "gone.yaml"])
    assert len(list((tmp_path / "kept").glob("*.json"))) == 1
    assert outlines.of(path).priority == "low"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"a: &a [x]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]\n", "aliases", id="a bomb of aliases"),
        pytest.param(b"version: 1\n" * 200_000, "too large", id="a huge file"),
        pytest.param(b"[" * 5000, "deep", id="a deep one"),
        pytest.param(b"\xff\xfe\x00", "UTF-8", id="no text"),
        pytest.param(b"!!python/object/apply:os.system ['true']", "tags", id="a tag that makes objects"),
    ],
)
def test_hostile_files_are_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=says):
        Outlines(tmp_path / "kept").of(path)
