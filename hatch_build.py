"""Compiles what of millrace runs in C, where there are a C compiler and Python's headers; else it is left out.

`MILLRACE_SPEEDUPS=off` leaves it out anyway, `=required` fails where it can't be compiled. `CC` and `CFLAGS` are
followed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VARIABLE = "MILLRACE_SPEEDUPS"
SOURCE = Path("connectors/millrace/connectors/wire/_speedups.c")
IN_WHEEL = "millrace/connectors/wire/"


class CustomBuildHook(BuildHookInterface[Any]):
    """Adds the compiled module to a wheel, or puts it beside its source for an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        wanted = os.environ.get(VARIABLE, "").lower()
        source = Path(self.root) / SOURCE
        editable = version == "editable"
        if wanted in ("off", "0", "no", "false") or not source.exists():
            return
        self._folder = tempfile.mkdtemp(prefix="millrace-build-")
        module = (source.parent if editable else Path(self._folder)) / module_name()
        problem = compile_module(source, module)
        if problem:
            if wanted == "required":
                raise RuntimeError(f"{source.name} could not be compiled: {problem}")
            self.app.display_warning(f"{source.name} is left out, Python does its work: {problem}")
        elif not editable:
            build_data["force_include"][str(module)] = IN_WHEEL + module.name
            build_data["pure_python"] = False
            build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        shutil.rmtree(getattr(self, "_folder", ""), ignore_errors=True)


def module_name() -> str:
    """The compiled module's file name for this Python."""
    return f"{SOURCE.stem}{sysconfig.get_config_var('EXT_SUFFIX') or '.so'}"


def compile_module(source: Path, module: Path, *flags: str) -> str:
    """Compile for the Python that runs this; what hinders it, "" when it is done."""
    headers = sysconfig.get_path("include")
    if not Path(headers, "Python.h").exists():
        return f"there is no Python.h in {headers} (Debian: python3-dev)"
    compiler = shlex.split(os.environ.get("CC", "")) or next(
        ([found] for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), []
    )
    if not compiler or shutil.which(compiler[0]) is None:
        return "there is no C compiler (Debian: gcc, libc6-dev)"
    link = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
    unfinished = module.with_name(f".{module.name}.{os.getpid()}")
    command = [*compiler, "-std=c11", "-O2", "-fPIC", "-DNDEBUG", *link, f"-I{headers}", *flags]
    command += [*shlex.split(os.environ.get("CFLAGS", "")), str(source), "-o", str(unfinished)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{shlex.join(command)} ended with code {done.returncode}\n{done.stderr}".strip()
        unfinished.replace(module)  # who has the old one open keeps it
        return ""
    except OSError as error:
        return str(error)
    finally:
        unfinished.unlink(missing_ok=True)
