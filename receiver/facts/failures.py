"""The last failed calls of processes, and who held what a process needed."""

from __future__ import annotations

from receiver.events import Holder, LastFailure, ProcessKey
from receiver.facts.table import Table

KEPT_LAST_FAILURES = 8
KEPT_HOLDERS = 32


class FailureTable(Table[tuple[LastFailure, ...]]):
    """A row is made at the end of a process: its last failed calls, the oldest first."""

    def failed(self, event: LastFailure) -> None:
        row = self.of(event.process)
        if len(row) >= KEPT_LAST_FAILURES:
            self.drops["too_many_last_failures"] += 1
            return
        ordered = sorted((*row, event), key=lambda each: each.failed_boottime_ns)
        self.put(event.process, tuple(ordered))

    def of(self, key: ProcessKey) -> tuple[LastFailure, ...]:
        return self.rows.get(key, ())


class HolderTable(Table[tuple[Holder, ...]]):
    """By the process that was refused, or waited; the oldest first."""

    def held(self, event: Holder) -> None:
        row = self.of(event.process)
        if len(row) >= KEPT_HOLDERS:
            self.drops["too_many_holders"] += 1
            return
        self.put(event.process, (*row, event))

    def of(self, key: ProcessKey) -> tuple[Holder, ...]:
        return self.rows.get(key, ())
