"""What touches Great Expectations. Importing this imports that library, in the way that `loading` describes."""

from millrace.quality.loading import load_great_expectations

load_great_expectations()
