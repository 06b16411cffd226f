"""An Airflow on this machine for trying specs: one command starts it, one ends it. Not for production."""
