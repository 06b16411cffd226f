"""The scripts of the checkout: what they refuse, and how they follow the machine's configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from tests.test_style import ROOT

SHELL_SCRIPTS = [
    "scripts/setup",
    "scripts/install-packages",
    "scripts/lock",
    "scripts/servers",
    "scripts/check",
    "scripts/test",
    ".ci/run",
]


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("script", SHELL_SCRIPTS)
def test_scripts_can_be_called_and_parsed(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    shell = path.read_text().splitlines()[0].removeprefix("#!")
    assert run(shell, "-n", path).returncode == 0


def test_setup_says_what_it_can_be_asked_for() -> None:
    refused = run("scripts/setup", "everything")
    assert (refused.returncode, refused.stderr) == (2, "usage: scripts/setup [demo|check|test]\n")


def test_setup_refuses_an_old_python_and_says_how_to_name_another(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\n')
    old.chmod(0o755)
    refused = run("scripts/setup", "check", PYTHON=str(old))
    assert refused.returncode == 1
    assert "Python 3.9.2, and millrace needs 3.11 or newer" in refused.stderr
    assert "PYTHON=/path/to/python scripts/setup" in refused.stderr


def test_setup_has_nothing_to_do_the_second_time() -> None:
    assert run("scripts/setup", "check", PYTHON=sys.executable).returncode == 0
    again = run("scripts/setup", "check", PYTHON=sys.executable)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_a_bundle_of_authorities_becomes_a_trust_store_that_java_reads(tmp_path: Path) -> None:
    bundle, store = tmp_path / "bundle.pem", tmp_path / "store.p12"
    bundle.write_bytes(b"".join(trustme.CA(organization_name=name).cert_pem.bytes() for name in ("one", "two")))
    assert run(sys.executable, "scripts/jars/truststore.py", bundle, store).returncode == 0
    keytool = Path(os.environ["JAVA_HOME"], "bin/keytool")
    listed = run(keytool, "-list", "-v", "-keystore", store, "-storepass", "changeit").stdout
    assert listed.count("Entry type: trustedCertEntry") == 2
    assert "O=one" in listed
    assert "O=two" in listed
