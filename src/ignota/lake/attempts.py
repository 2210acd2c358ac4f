"""How often each unit of work was begun; a separate module, so that the counting process loads nothing else."""

from __future__ import annotations

from collections import Counter


class Attempts:
    """Counts how often each unit of work was begun: an actor beside the workers that outlives them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def begin(self, key: str) -> int:
        """The number of this attempt, from 1."""
        self.counts[key] += 1
        return self.counts[key]

    def end(self, key: str) -> None:
        del self.counts[key]
