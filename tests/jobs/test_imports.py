"""What a run imports before Spark is there."""

from __future__ import annotations

import subprocess
import sys


def test_the_step_plan_brings_no_spark() -> None:
    """It runs beside the thread that imports Spark: a part of pyspark asked for meanwhile breaks both."""
    modules = "millrace.jobs.actions, millrace.jobs.check, millrace.jobs.runner, millrace.jobs.steps"
    code = f"import sys, {modules}; sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
