"""The calendar that readers can hold (Python's, Java's `LocalDate` of ISO texts): years 1 to 9999."""

from __future__ import annotations

MIN_DAY = -719_162  # 0001-01-01, days since 1970-01-01
MAX_DAY = 2_932_896  # 9999-12-31
MIN_MICROSECOND = MIN_DAY * 86_400_000_000
MAX_MICROSECOND = (MAX_DAY + 1) * 86_400_000_000 - 1
