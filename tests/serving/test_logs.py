"""Structured logs: one object a line, whatever is logged."""

from __future__ import annotations

import json
import logging

import pytest

from millrace.serving import logs


def test_a_line_is_one_object_with_all_that_was_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", logging.WARNING)
    logs.set_up("json", "info")
    log = logging.getLogger("millrace.test")
    log.debug("not of this level")
    log.info("a key of %d bytes\nand two lines", 7, extra={"api": "user_profile"})
    try:
        raise ValueError("ü")
    except ValueError:
        log.exception("it failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["level"], first["logger"], first["api"]) == ("info", "millrace.test", "user_profile")
    assert first["message"] == "a key of 7 bytes\nand two lines"
    assert second["trace"].endswith("ValueError: ü")
