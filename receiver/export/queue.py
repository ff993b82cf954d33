"""The bounded queue before an exporter. Full: the least important goes first, the oldest of those, and all of it is counted."""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

from receiver.signals import Block, Importance


class Item(NamedTuple):
    """One record, encoded. The loss of an item that itself reports a loss is counted, and leads to no further record."""

    resource: Block
    encoded: bytes
    importance: Importance
    reports_loss: bool = False


class ImportanceQueue:
    """Encoded items by importance. `max_bytes` counts encoded bytes; `dropped` counts by importance name, and
    `lost` all of these but records of losses."""

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self.max_items = max_items
        self.max_bytes = max_bytes
        self.bytes = 0
        self.enqueued = 0
        self.peak_items = 0
        self.dropped: Counter[str] = Counter()
        self.lost = 0
        self._queues: dict[Importance, deque[Item]] = {
            i: deque() for i in sorted(Importance, reverse=True)
        }

    def __len__(self) -> int:
        return sum(len(q) for q in self._queues.values())

    def put(self, item: Item) -> None:
        """Takes the item, or drops something for it, or drops it."""
        self.enqueued += 1
        size = len(item.encoded)
        while len(self) >= self.max_items or self.bytes + size > self.max_bytes:
            # what is larger than the whole queue must not empty it first
            if size > self.max_bytes or not self._drop_below(item.importance):
                self._count(item)
                return
        self._queues[item.importance].append(item)
        self.bytes += size
        self.peak_items = max(self.peak_items, len(self))

    def _drop_below(self, importance: Importance) -> bool:
        """Drops the oldest of the least important, if that is no more important than what wants in."""
        for level in reversed(self._queues):
            if level > importance:
                return False
            if self._queues[level]:
                item = self._queues[level].popleft()
                self.bytes -= len(item.encoded)
                self._count(item)
                return True
        return False

    def _count(self, item: Item) -> None:
        self.dropped[item.importance.name.lower()] += 1
        self.lost += not item.reports_loss

    def take(self, max_items: int, max_bytes: int) -> list[Item]:
        """The most important first, in order within one importance; at least one item if there is any."""
        out: list[Item] = []
        size = 0
        for queue in self._queues.values():
            while queue and len(out) < max_items:
                if out and size + len(queue[0].encoded) > max_bytes:
                    return out
                item = queue.popleft()
                size += len(item.encoded)
                self.bytes -= len(item.encoded)
                out.append(item)
        return out
