"""Samples of processes, their waits and their neighbours: they become curves, and findings where
they matter.
"""

from __future__ import annotations

from collections import Counter

from receiver import semconv as sc
from receiver.detect.usage import contention, growing, hanging, memory_taken
from receiver.events import Neighbour, OomKill, ProcessSample, ThreadWait, WaitObject, WaitStack
from receiver.facts.neighbours import Competitor
from receiver.facts.usage import resident
from receiver.observe.attempts import Attempts
from receiver.observe.company import company
from receiver.observe.files import EmitFinding
from receiver.signals import Attributes
from receiver.text.event_text import wait_of
from receiver.work.execution import Execution
from receiver.work.tables import Facts
from receiver.work.worker import Tree, Worker

# share of the limit: a neighbour is named at an OOM kill only if it took this much
_TAKEN_SHARE = 0.1


class UsageActivity:
    """Fills the tables of usage, waits and neighbours."""

    def __init__(
        self,
        tree: Tree,
        facts: Facts,
        attempts: Attempts,
        report: EmitFinding,
        hang_ns: int,
    ) -> None:
        self.tree = tree
        self.facts = facts
        self.attempts = attempts
        self.neighbours = facts.neighbours
        self._report = report
        self._hang_ns = hang_ns
        self._memory: dict[Attributes, int] = {}  # the part of it that is in the metrics already
        self._limits: dict[Attributes, int] = {}
        self.drops: Counter[str] = Counter()

    def process_sample(self, sample: ProcessSample) -> None:
        process = self.tree.get(sample.process)
        if process is None or process.exit is not None:
            return
        usage = self.facts.usage.sampled(sample)
        if finding := growing(process, usage, sample):
            self._report(process, finding)
        for resource, pressure in usage.pressed():
            taker = self._taker(resource, sample)
            own = taker is not None and self._is_own(process, taker.pid)
            if resource == "cpu" and (
                taker is None or own or taker.cpu_ns * 4 < sample.run_delay_ns
            ):
                # the execution's own threads and processes took it, which is expected
                self.drops["own_contention"] += 1
                continue
            self._report(process, contention(process, resource, pressure, sample, taker))

    def _is_own(self, process: Worker, pid: int) -> bool:
        """It was an unknown process in the first sample, and does the same execution's work now."""
        found = next(
            (p for p in self.tree.processes() if p.key.tgid == pid and p.exit is None), None
        )
        return (
            found is not None
            and found.execution is not None
            and process.execution is not None
            and (found.execution.outermost is process.execution.outermost)
        )

    def _taker(self, resource: str, sample: ProcessSample) -> Competitor | None:
        now = sample.time_boottime_ns
        if resource == "cpu":
            found = self.neighbours.top(now, by_cpu=True)
            return found if found is not None and found.cpu_ns else None
        if resource == "memory":
            return self.neighbours.top(
                now, memory_cgroup_id=sample.memory_cgroup_id if sample.memory_limit_bytes else 0
            )
        return None

    def thread_wait(self, wait: ThreadWait) -> None:
        if wait.process in self.facts.usage.rows:
            self.facts.waits.waits(wait)

    def wait_stack(self, stack: WaitStack) -> None:
        self.facts.waits.stack(stack)

    def neighbour(self, look: Neighbour) -> None:
        self.neighbours.add(look)

    def oom_killed(self, victim: Worker, event: OomKill) -> None:
        """Who else took the memory: a process that is not watched, or one of another task."""
        cgroup_processes = company(self.tree, self.facts, victim, event)
        self.facts.deaths.surrounded(victim.key, cgroup_processes)
        taker = max(
            (t for t in cgroup_processes[1:] if not t.own),
            key=lambda t: t.growth_bytes,
            default=None,
        )
        if (
            taker is not None
            and event.limit_bytes
            and taker.growth_bytes >= event.limit_bytes * _TAKEN_SHARE
        ):
            self._report(victim, memory_taken(victim, event, taker))

    def tick(self, now_ns: int) -> None:
        """Called after the second's samples: executions without progress, and memory by task."""
        members: dict[Execution, list[Worker]] = {}
        for process in self.tree.processes():
            if (
                process.key in self.facts.usage.rows
                and process.exit is None
                and process.execution is not None
            ):
                for each in reversed(
                    list(process.execution.chain())
                ):  # outer ones first: a hang is reported once, for the whole
                    members.setdefault(each, []).append(process)
        memory: dict[Attributes, int] = {}
        limits: dict[Attributes, int] = {}
        for execution, processes in members.items():
            self._note_hang(execution, processes, now_ns)
            labels = self.attempts.labels(execution)
            samples = [
                last for p in processes if (last := self.facts.usage.last(p.key)) is not None
            ]
            memory[labels] = memory.get(labels, 0) + sum(resident(s) for s in samples)
            bounds = [s.memory_limit_bytes for s in samples if s.memory_limit_bytes]
            if bounds:
                limits[labels] = min(bounds)
        self._book(sc.METRIC_PIPELINE_TASK_MEMORY_USAGE, self._memory, memory)
        self._book(sc.METRIC_PIPELINE_TASK_MEMORY_LIMIT, self._limits, limits)
        self._memory, self._limits = memory, limits

    def _book(
        self,
        metric: tuple[str, str, str, str],
        before: dict[Attributes, int],
        now: dict[Attributes, int],
    ) -> None:
        for labels in {**before, **now}:  # not a set: its order differs from run to run
            change = now.get(labels, 0) - before.get(labels, 0)
            if change:
                self.attempts.book.add(metric, labels, change)

    def _note_hang(self, execution: Execution, processes: list[Worker], now_ns: int) -> None:
        """Whether all of its processes are idle for long enough, and the one that all others wait
        for waits without a timeout.

        The time begins anew when one of them ends: a helper that was idle beside its parent at work
        hangs only if it stays when the parent is gone.
        """
        waits = self.facts.waits
        idle = [waits.of(p.key).idle_since_ns for p in processes]
        if not all(idle) or len(processes) < execution.live:
            execution.hang_reported = False
            return
        since = max(*idle, execution.end_ns)
        if any(e.hang_reported for e in execution.chain()) or now_ns - since < self._hang_ns:
            return
        for process in sorted(processes, key=lambda p: p.key.start_boottime_ns, reverse=True):
            wait = waits.main(process.key)
            if wait is None or wait_of(wait) == "child":
                continue
            if wait.timed and wait_of(wait) != "stopped":
                continue
            execution.hang_reported = True
            stack = waits.of(process.key).stacks.get(wait.thread)
            self._report(
                process,
                hanging(process, wait, now_ns - since, self._other_end(process, wait), stack),
            )
            return

    def _other_end(self, process: Worker, wait: ThreadWait) -> str:
        """For a pipe: the process that has the other end as standard input or output, as far as its
        exec showed that.
        """
        if wait.waits_on != WaitObject.PIPE:
            return ""
        for other in self.tree.processes():
            if other is process or other.exit is not None:
                continue
            if wait.inode in (other.stdin_inode, other.stdout_inode):
                return f"pipe held by {other.name} ({other.key.tgid})"
        return "pipe"
