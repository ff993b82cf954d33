"""A bounded table that many users fill.

When it is full, the oldest entry of the user who holds most is dropped (max-min fairness). So what
one user adds, however much, drops entries of that user only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class FairTable(Generic[K, V]):
    """At most `limit` units. An entry weighs one unit, unless its weight is given."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # with the owner and the weight; read only, and always the same dict
        self.by_key: dict[K, tuple[V, int, int]] = {}
        self._keys: dict[int, dict[K, None]] = {}  # of each owner, the oldest first
        self._held: dict[int, int] = {}  # units of each owner
        self._total = 0

    def put(self, key: K, value: V, owner: int, weight: int = 1) -> list[tuple[K, V]]:
        """Adds or replaces an entry, which becomes the newest. Returns the dropped entries.

        The new entry stays, unless it alone is larger than the table.
        """
        self.pop(key)
        self.by_key[key] = (value, owner, weight)
        self._keys.setdefault(owner, {})[key] = None
        self._held[owner] = self._held.get(owner, 0) + weight
        self._total += weight
        dropped = []
        while self._total > self._limit:
            oldest = next(iter(self._keys[self._largest(owner)]))
            dropped.append((oldest, self.by_key[oldest][0]))
            self.pop(oldest)
        return dropped

    def _largest(self, newcomer: int) -> int:
        """The owner who holds most. Of several, the one who added the newest entry."""
        return max(self._held, key=lambda owner: (self._held[owner], owner == newcomer))

    def pop(self, key: K) -> V | None:
        found = self.by_key.pop(key, None)
        if found is None:
            return None
        value, owner, weight = found
        del self._keys[owner][key]
        self._held[owner] -= weight
        self._total -= weight
        if not self._keys[owner]:
            del self._keys[owner], self._held[owner]
        return value

    def get(self, key: K) -> V | None:
        found = self.by_key.get(key)
        return found[0] if found is not None else None

    def __getitem__(self, key: K) -> V:
        return self.by_key[key][0]

    def holds(self, owner: int) -> bool:
        """Whether this owner has an entry."""
        return owner in self._keys

    def oldest_of(self, owner: int) -> tuple[K, V]:
        key = next(iter(self._keys[owner]))
        return key, self.by_key[key][0]

    def oldest(self) -> tuple[K, V] | None:
        for key, (value, _, _) in self.by_key.items():
            return key, value
        return None

    def items(self) -> Iterator[tuple[K, V]]:
        """The oldest first."""
        for key, (value, _, _) in self.by_key.items():
            yield key, value

    def values(self) -> Iterator[V]:
        for value, _, _ in self.by_key.values():
            yield value

    def __contains__(self, key: object) -> bool:
        return key in self.by_key

    def __iter__(self) -> Iterator[K]:
        return iter(self.by_key)

    def __len__(self) -> int:
        return len(self.by_key)
