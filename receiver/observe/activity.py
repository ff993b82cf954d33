"""The activity of watched processes from their start to their end: tables, findings, metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from receiver.detect.deaths import Ending
from receiver.events import (
    CallFailed,
    Connection,
    FileChanged,
    FileClosed,
    FileOpened,
    FileTotals,
    NameQuery,
    Neighbour,
    OomKill,
    ProcessSample,
    ThreadWait,
    UnixConnected,
    WaitStack,
)
from receiver.facts.tree import Process, ProcessTree
from receiver.observe.attempts import Attempts
from receiver.observe.files import EmitFinding, FileActivity
from receiver.observe.network import NetworkActivity
from receiver.observe.usage import UsageActivity

SECOND = 1_000_000_000


class Activity:
    """Combines the three tables for the core."""

    def __init__(
        self,
        tree: ProcessTree,
        attempts: Attempts,
        report: EmitFinding,
        repeat: EmitFinding,
        *,
        stall_seconds: float,
        hang_seconds: float,
    ) -> None:
        """`report` takes findings, and `repeat` takes records of failures that were findings
        before.
        """
        self.files = FileActivity(tree, attempts, report)
        self.network = NetworkActivity(tree, attempts, report, repeat, int(stall_seconds * SECOND))
        self.usage = UsageActivity(tree, attempts, report, int(hang_seconds * SECOND))

    def call_failed(self, event: CallFailed) -> None:
        process, is_first = self.files.call_failed(event)
        if is_first:
            self.network.call_failed(process, event)

    def oom_killed(self, victim: Process, event: OomKill) -> None:
        self.usage.oom_killed(victim, event)

    def ended(self, process: Process, end: Ending) -> None:
        """Called after the findings about its death and its torn files are made."""
        # most short processes have none of these
        if process.files or process.failed_calls or process.open_files:
            self.files.ended(process, end)
        if process.peers or process.name_failures or self.network.table.questions:
            self.network.ended(process, end)

    def tick(self, now_ns: int) -> None:
        self.network.tick(now_ns)
        self.usage.tick(now_ns)

    def finish(self) -> None:
        """Called when the observer stops."""
        self.network.finish()

    def drops(self) -> Counter[str]:
        tables = (
            self.files.drops,
            self.files.table.drops,
            self.network.drops,
            self.network.table.drops,
            self.network.repeats.drops,
            self.usage.drops,
        )
        return sum(tables, Counter(self.usage.neighbours.drops))


HANDLERS: dict[type, tuple[str, Callable[[Activity, Any], object]]] = {
    FileOpened: ("file_opened", lambda a, event: a.files.file_opened(event)),
    FileClosed: ("file_closed", lambda a, event: a.files.file_closed(event)),
    FileChanged: ("file_changed", lambda a, event: a.files.file_changed(event)),
    FileTotals: ("file_totals", lambda a, event: a.files.file_totals(event)),
    CallFailed: ("call_failed", Activity.call_failed),
    Connection: ("connection", lambda a, event: a.network.connection(event)),
    NameQuery: ("name_query", lambda a, event: a.network.name_query(event)),
    UnixConnected: ("unix_connected", lambda a, event: a.network.unix_connected(event)),
    ProcessSample: ("process_sample", lambda a, event: a.usage.process_sample(event)),
    ThreadWait: ("thread_wait", lambda a, event: a.usage.thread_wait(event)),
    WaitStack: ("wait_stack", lambda a, event: a.usage.wait_stack(event)),
    Neighbour: ("neighbour", lambda a, event: a.usage.neighbour(event)),
}
__all__ = ["HANDLERS", "Activity", "EmitFinding"]
