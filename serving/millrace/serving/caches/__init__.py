"""Answers that are kept: in the process (L1), and in a Redis that servers share (L2).

Keys carry the version of the asset, so a publish needs no purge: a new version's answers have new keys.
"""

from __future__ import annotations

from millrace.serving.caches.layers import Cache, Unkept
from millrace.serving.caches.local import Entry, LocalCache
from millrace.serving.caches.policy import Policy

__all__ = ["Cache", "Entry", "LocalCache", "Policy", "Unkept"]
