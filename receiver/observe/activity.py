"""The activity of watched processes from their start to their end: tables, findings, metrics."""

from __future__ import annotations

from collections import Counter

from receiver.attribution.declared import Declared
from receiver.events import CallFailed, OomKill, ProcessKey
from receiver.facts.ending import Ending
from receiver.observe.attempts import Attempts
from receiver.observe.files import EmitFinding, FileActivity
from receiver.observe.network import NetworkActivity
from receiver.observe.usage import UsageActivity
from receiver.units import SECOND
from receiver.work.tables import Facts
from receiver.work.worker import Tree, Worker


class Activity:
    """Combines the three tables for the core."""

    def __init__(
        self,
        tree: Tree,
        attempts: Attempts,
        *,
        facts: Facts,
        report: EmitFinding,
        repeat: EmitFinding,
        declared: Declared,
        stall_seconds: float,
        hang_seconds: float,
    ) -> None:
        """`report` takes findings, and `repeat` takes records of failures that were findings
        before.
        """
        self.facts = facts
        self.files = FileActivity(tree, attempts, facts=facts, report=report, declared=declared)
        self.network = NetworkActivity(
            tree,
            attempts,
            facts=facts,
            report=report,
            repeat=repeat,
            stall_ns=int(stall_seconds * SECOND),
        )
        self.usage = UsageActivity(tree, facts, attempts, report, int(hang_seconds * SECOND))

    def call_failed(self, event: CallFailed) -> None:
        process, is_first = self.files.call_failed(event)
        if is_first:
            self.network.call_failed(process, event)

    def oom_killed(self, victim: Worker, event: OomKill) -> None:
        self.usage.oom_killed(victim, event)

    def process_ended(self, process: Worker, end: Ending) -> None:
        """Called after the findings about its death and its torn files are made."""
        # most short processes have none of these
        if (
            process.key in self.facts.files.rows
            or process.key in self.facts.calls.rows
            or process.key in self.facts.deaths.rows
        ):
            self.files.process_ended(process, end)
        if process.key in self.facts.peers.rows or process.key in self.facts.names.rows:
            self.network.process_ended(process, end)

    def forget(self, key: ProcessKey) -> None:
        """The process is gone: reports what waited for more events of it."""
        self.network.forget(key)

    def tick(self, now_ns: int) -> None:
        self.network.tick(now_ns)
        self.usage.tick(now_ns)

    def finish(self) -> None:
        """Called when the observer stops."""
        self.network.finish()

    def drops(self) -> Counter[str]:
        tables = (
            self.files.drops,
            self.network.drops,
            self.network.repeats.drops,
            self.network.refusals.drops,
            self.network.servers.drops,
            self.usage.drops,
        )
        return sum(tables, self.facts.drops())


__all__ = ["Activity", "EmitFinding"]
