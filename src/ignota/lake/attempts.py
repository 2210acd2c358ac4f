"""How often each piece of work was begun: a module of its own, as the process that counts needs nothing else."""

from __future__ import annotations

from collections import Counter


class Attempts:
    """Counts how often each piece of work was begun: an actor beside the workers, so that it outlives them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def begin(self, key: str) -> int:
        """The number of this attempt, from 1."""
        self.counts[key] += 1
        return self.counts[key]

    def end(self, key: str) -> None:
        del self.counts[key]
