"""Run by tests in a process of its own: `python build_dags.py KEPT SPEC…` prints each spec's DAG as Airflow keeps it.

Prints one JSON document: `dags` by file (a serialised DAG, or the error that building it raised), and `modules`, the
top-level packages that were imported on the way to the DAG objects.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    from millrace.dags.factory import spec_dag
    from millrace.errors import SpecError

    kept, *specs = sys.argv[1:]
    built: dict[str, Any] = {}
    for spec in specs:
        try:
            built[spec] = spec_dag(spec, kept)
        except SpecError as error:
            built[spec] = str(error)
    modules = sorted({name.partition(".")[0] for name in sys.modules})

    from airflow.serialization.serialized_objects import DagSerialization

    dags = {
        Path(spec).name: dag if isinstance(dag, str) else DagSerialization.to_dict(dag) for spec, dag in built.items()
    }
    print(json.dumps({"dags": dags, "modules": modules}))


if __name__ == "__main__":
    main()
