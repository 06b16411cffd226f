"""Side-by-side measurements: `python -m benchmarks.NAME [--rows N]` prints a line of JSON for each measure."""
