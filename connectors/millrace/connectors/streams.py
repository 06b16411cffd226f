"""What a store can do besides that reads sources by itself, all the time: a part of its `Target`.

Its role says `streams`. What it reads goes where no version is: it is neither checked nor rolled back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence


class Streams(ABC):
    """What the store reads by itself for an asset, by the options of this target. Called on the driver."""

    @abstractmethod
    def streams(self, asset: str) -> Sequence[str]:
        """A line for each source that is read, for a person: what is read, how it goes, how far it is behind."""

    @abstractmethod
    def stream_name(self, asset: str) -> str | None:
        """What the store calls its reading; None when the options have none. Asks nobody."""

    @abstractmethod
    def end_stream(self, asset: str) -> str | None:
        """End the reading that `stream_name` names, if this asset's; what was read stays. What was ended, in words.

        Called of options that a spec no longer has, before the `publish` of those that it has now.
        """
