"""What the threads of an idle process wait for."""

from __future__ import annotations

import msgspec

from receiver.events import ProcessKey, ThreadWait, WaitStack
from receiver.facts.table import Table

KEPT_WAITS = 64


class IdlePeriod(msgspec.Struct, frozen=True):
    """An interval in which a process neither used CPU nor moved a byte, and what its threads waited
    for.
    """

    since_ns: int
    ns: int
    waits: tuple[ThreadWait, ...]
    stacks: tuple[WaitStack, ...] = ()

    def stack(self, wait: ThreadWait) -> WaitStack | None:
        return next((s for s in self.stacks if s.thread == wait.thread), None)


class Waits(msgspec.Struct, eq=False, kw_only=True):
    """The present idle time of one process. Mutable; owned by the table."""

    idle_since_ns: int = 0  # neither CPU nor bytes since then; 0: it works
    threads: dict[int, ThreadWait] = msgspec.field(default_factory=dict)  # the latest of each
    stacks: dict[int, WaitStack] = msgspec.field(default_factory=dict)  # of the same threads

    def period(self, now_ns: int) -> IdlePeriod | None:
        """None where it works."""
        if not self.idle_since_ns:
            return None
        waits, stacks = tuple(self.threads.values()), tuple(self.stacks.values())
        return IdlePeriod(self.idle_since_ns, now_ns - self.idle_since_ns, waits, stacks)


_WORKING = Waits()


class WaitTable(Table[Waits]):
    def of(self, key: ProcessKey) -> Waits:
        """To be read only."""
        return self.rows.get(key, _WORKING)

    def _row(self, key: ProcessKey) -> Waits:
        return self.rows.get(key) or self.put(key, Waits())

    def worked(self, key: ProcessKey) -> None:
        self.forget(key)

    def idle(self, key: ProcessKey, since_ns: int) -> None:
        row = self._row(key)
        row.idle_since_ns = row.idle_since_ns or since_ns

    def waits(self, wait: ThreadWait) -> None:
        threads = self._row(wait.process).threads
        if len(threads) < KEPT_WAITS or wait.thread in threads:
            threads[wait.thread] = wait
        else:
            self.drops["too_many_waits"] += 1

    def stack(self, stack: WaitStack) -> None:
        row = self.rows.get(stack.process)
        if row is not None and stack.thread in row.threads:
            row.stacks[stack.thread] = stack

    def main(self, key: ProcessKey) -> ThreadWait | None:
        """What the process as a whole waits for: its first thread's wait, or that of a thread which
        waits without a timeout.
        """
        return min(
            self.of(key).threads.values(),
            key=lambda wait: (bool(wait.timed), wait.thread != key.tgid),
            default=None,
        )
