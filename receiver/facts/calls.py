"""System calls of a process that failed."""

from __future__ import annotations

import msgspec

from receiver.events import CallFailed, ProcessKey
from receiver.facts.table import Table

KEPT_FAILURES = 32

Failures = dict[tuple[int, int], CallFailed]  # by call and errno, the latest event


class CallTable(Table[Failures]):
    def failed(self, event: CallFailed) -> tuple[CallFailed, CallFailed | None] | None:
        """The event with its details, and the event before it of the same call and errno.

        None, and counted, past the limit.
        """
        row = self.rows.get(event.process)
        if row is None:
            row = self.put(event.process, {})
        key = (event.call_number, event.error)
        before = row.get(key)
        if before is None and len(row) >= KEPT_FAILURES:
            self.drops["too_many_failures"] += 1
            return None
        if before is not None and not event.subject:
            # The last event of a series is only a count; the first one has the details.
            event = _with_object(event, before)
        row[key] = event
        return event, before

    def of(self, key: ProcessKey) -> tuple[CallFailed, ...]:
        return tuple(self.rows.get(key, {}).values())


def _with_object(event: CallFailed, first: CallFailed) -> CallFailed:
    return msgspec.structs.replace(
        event,
        subject=first.subject,
        path=first.path,
        directory=first.directory,
        address_high=first.address_high,
        address_low=first.address_low,
        family=first.family,
        port=first.port,
        holder=first.holder,
    )
