"""The bounded queue before an exporter. Full: the least important goes first, the oldest of those, and all of it is counted."""

from __future__ import annotations

from collections import Counter, deque

from receiver.signals import Block, Importance

Item = tuple[Block, bytes, Importance]  # resource, encoded record


class ImportanceQueue:
    """Encoded items by importance. `max_bytes` counts encoded bytes; `dropped` counts by importance name."""

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self.max_items = max_items
        self.max_bytes = max_bytes
        self.bytes = 0
        self.enqueued = 0
        self.peak_items = 0
        self.dropped: Counter[str] = Counter()
        self._queues: dict[Importance, deque[Item]] = {i: deque() for i in sorted(Importance, reverse=True)}

    def __len__(self) -> int:
        return sum(len(q) for q in self._queues.values())

    def put(self, item: Item) -> None:
        """Takes the item, or drops something for it, or drops it."""
        self.enqueued += 1
        size = len(item[1])
        while len(self) >= self.max_items or self.bytes + size > self.max_bytes:
            # what is larger than the whole queue must not empty it first
            if size > self.max_bytes or not self._drop_below(item[2]):
                self.dropped[item[2].name.lower()] += 1
                return
        self._queues[item[2]].append(item)
        self.bytes += size
        self.peak_items = max(self.peak_items, len(self))

    def _drop_below(self, importance: Importance) -> bool:
        """Drops the oldest of the least important, if that is no more important than what wants in."""
        for level in reversed(self._queues):
            if level > importance:
                return False
            if self._queues[level]:
                _, encoded, _ = self._queues[level].popleft()
                self.bytes -= len(encoded)
                self.dropped[level.name.lower()] += 1
                return True
        return False

    def take(self, max_items: int, max_bytes: int) -> list[Item]:
        """The most important first, in order within one importance; at least one item if there is any."""
        out: list[Item] = []
        size = 0
        for queue in self._queues.values():
            while queue and len(out) < max_items:
                if out and size + len(queue[0][1]) > max_bytes:
                    return out
                item = queue.popleft()
                size += len(item[1])
                self.bytes -= len(item[1])
                out.append(item)
        return out
