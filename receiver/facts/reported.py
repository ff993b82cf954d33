"""The kinds of the findings that were reported about a process."""

from __future__ import annotations

from receiver.events import ProcessKey
from receiver.facts.process import Process
from receiver.facts.table import Table

KEPT_FINDINGS = 256


class ReportedTable(Table[tuple[str, ...]]):
    def of(self, key: ProcessKey) -> tuple[str, ...]:
        return self.rows.get(key, ())

    def add(self, process: Process, kind: str) -> None:
        """A finding about a process that is forgotten belongs to its work only."""
        known = self.of(process.key)
        if len(known) >= KEPT_FINDINGS:
            self.drops["too_many_findings"] += 1
        elif not process.forgotten:
            self.put(process.key, (*known, kind))
