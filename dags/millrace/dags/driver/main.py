"""One step as a Spark application: `spark-submit main.py REQUEST OUTCOME`."""

from __future__ import annotations

import sys

from millrace.dags.step import main

if __name__ == "__main__":
    sys.exit(main())
