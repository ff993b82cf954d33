"""The bounded queue before an exporter.

A full queue drops its least important items first, and of those the oldest. Every drop is counted.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

from receiver.signals import Importance, ResourceAttributes


class Item(NamedTuple):
    """One encoded record.

    The loss of a record that itself reports a loss is counted and causes no further record.
    """

    resource: ResourceAttributes
    encoded: bytes
    importance: Importance
    reports_loss: bool = False


class ImportanceQueue:
    """Encoded items by importance.

    `max_bytes` limits the encoded bytes. `dropped` counts by the name of the importance, `lost` all
    of these except records of losses.
    """

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
        """Enqueues the item.

        When full, drops less important items for it, or drops the item itself.
        """
        self.enqueued += 1
        size = len(item.encoded)
        while len(self) >= self.max_items or self.bytes + size > self.max_bytes:
            # reject an item larger than the whole queue before others are dropped for it
            if size > self.max_bytes or not self._drop_below(item.importance):
                self._count(item)
                return
        self._queues[item.importance].append(item)
        self.bytes += size
        self.peak_items = max(self.peak_items, len(self))

    def _drop_below(self, importance: Importance) -> bool:
        """Drops the oldest of the least important items, if it is no more important than the new
        one.
        """
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
        """The most important first, in order within one importance; at least one item unless the
        queue is empty.
        """
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
