"""The handlers of kernel events: each applies one event to the parts of the core that own its
facts. `receiver.observe.events` says which handler gets which kind.
"""

from __future__ import annotations

from collections import Counter

from receiver import semconv as sc
from receiver.attribution.context import remote_context
from receiver.detect import oom_killed
from receiver.events import (
    Connection,
    Crash,
    EarlySample,
    Exec,
    Existing,
    Exit,
    Fault,
    FileChanged,
    FileOpened,
    Fork,
    Holder,
    LastFailure,
    MemoryRefused,
    MemoryWait,
    OomKill,
    OomMember,
    OomMemory,
    OpenFile,
    PythonStack,
    Signal,
    SignalState,
    ThreadedFork,
    Title,
)
from receiver.facts.ending import decoded
from receiver.model import Host, Identity, Watch
from receiver.observe.activity import Activity
from receiver.observe.attempts import Attempts
from receiver.observe.bindings import Bindings
from receiver.observe.exits import Exits
from receiver.observe.files import EmitFinding
from receiver.text.python_text import of_process
from receiver.work.execution import Execution
from receiver.work.tables import Facts
from receiver.work.worker import Tree, Worker


class Handlers:
    """`report` takes findings; `drops` counts events that led to no signal, by reason."""

    def __init__(
        self,
        host: Host,
        tree: Tree,
        *,
        facts: Facts,
        attempts: Attempts,
        bindings: Bindings,
        activity: Activity,
        exits: Exits,
        drops: Counter[str],
        report: EmitFinding,
    ) -> None:
        self._host = host
        self.tree = tree
        self.facts = facts
        self.attempts = attempts
        self.bindings = bindings
        self.activity = activity
        self.exits = exits
        self.drops = drops
        self.report = report
        self.watched: dict[int, Execution] = {}  # watched commands whose fork was seen, by pid
        self._watches: dict[int, Watch] = {}

    def watch(self, watch: Watch) -> None:
        """Expects the fork of a command. It must be called before the fork event."""
        self._watches[watch.pid] = watch

    def fork(self, event: Fork) -> None:
        process = self.tree.fork(event)
        pid = event.pid_namespace_pid if self._host.pid_namespace else event.process.tgid
        watch = self._watches.get(pid)
        if (
            watch is not None
            and watch.parent_pid == event.parent.tgid
            and process.execution is None
        ):
            del self._watches[pid]
            identity = Identity(
                "command",
                watch.name,
                f"{self._host.session}-{event.process.tgid}-{event.process.start_boottime_ns}",
                watch.name,
                type="command",
                source="command",
                confidence=1.0,
                evidence="started by kwitness",
                owner=event.uid,
            )
            process.context = watch.context
            execution = self.attempts.enter(process, identity, event.time_boottime_ns)
            if execution is not None:
                execution.started_by = event.parent
                self.watched[pid] = execution
        else:
            self.exits.inherit(process)
            self.bindings.forked(process, event.time_boottime_ns)
            self._note_unattributed(process)

    def exec(self, event: Exec | Existing) -> None:
        process = self.tree.image(event)
        self.exits.inherit(process)
        if event.environ:
            process.context = remote_context(event.environ) or process.context
        is_old = type(event) is Existing
        self.bindings.image(
            process, process.key.start_boottime_ns if is_old else event.time_boottime_ns
        )
        # it had set its title before the observer started
        if is_old and len(event.argv) == 1 and " " in event.argv[0]:
            process.title = event.argv[0].strip()
            self.bindings.titled(process, event.time_boottime_ns)
        self._note_unattributed(process)

    def settle(self, events: list[Existing]) -> None:
        """Called after the iterator's last record: links parents, and hands identities down to
        children that were read first.
        """
        self.tree.adopt_parents(events)
        for event in sorted(events, key=lambda e: e.process.start_boottime_ns):
            process = self.tree.get(event.process)
            if process is not None and process.parent is not None and process.exit is None:
                process.context = process.context or process.parent.context
                self.exits.inherit(process)

    def title(self, event: Title) -> None:
        process = self.tree.title(event)
        self.bindings.titled(process, event.time_boottime_ns)
        self._note_unattributed(process)

    def file_opened(self, event: FileOpened) -> None:
        """The file's work comes first: the file belongs to that work.

        A file of a package identifies the process, and is no input.
        """
        self.bindings.opened(self.tree.ensure(event.process, ""), event)
        if not event.path.rpartition("/")[2].startswith("__init__."):
            self.activity.files.file_opened(event)

    def file_changed(self, event: FileChanged) -> None:
        self.activity.files.file_changed(event)
        self.bindings.changed(self.tree.ensure(event.process, ""), event)

    def connection(self, event: Connection) -> None:
        self.activity.network.connection(event)
        self.bindings.connected(self.tree.ensure(event.process, ""), event)

    def signal(self, event: Signal) -> None:
        target = self.tree.ensure(event.target, event.target_comm)
        sender = self.tree.get(event.sender)
        same_work = (
            sender is not None
            and sender.execution is not None
            and sender.execution.is_part_of(target.execution)
        )
        self.facts.signals.received(event, same_work=same_work)

    def signal_state(self, event: SignalState) -> None:
        target, sender = self.tree.get(event.target), self.tree.get(event.sender)
        if target is not None:
            self.facts.moments.received(event)
        ours = sender.execution if sender is not None else None
        theirs = target.execution if target is not None else None
        if ours is not None and (theirs is None or theirs.outermost is not ours.outermost):
            self.facts.moments.sent(event)

    def threaded_fork(self, event: ThreadedFork) -> None:
        if self.tree.get(event.process) is not None:
            self.facts.moments.forked(event)

    def early_sample(self, event: EarlySample) -> None:
        process = self.tree.get(event.process)
        if process is not None and process.exit is None:
            self.facts.usage.early(event)

    def fault(self, event: Fault) -> None:
        if self.tree.get(event.process) is not None:
            self.facts.moments.fault(event)

    def memory_refused(self, event: MemoryRefused) -> None:
        if self.tree.get(event.process) is not None:
            self.facts.moments.refused(event)

    def memory_wait(self, event: MemoryWait) -> None:
        if self.tree.get(event.process) is not None:
            self.facts.moments.waits(event)

    def open_file(self, event: OpenFile) -> None:
        process = self.tree.ensure(event.process, "")
        self.facts.deaths.open_file(event, ended=process.exit is not None)

    def crash(self, event: Crash) -> None:
        self.tree.ensure(event.process, event.comm)
        self.facts.deaths.crashed(event)

    def python_stack(self, event: PythonStack) -> None:
        process = self.tree.get(event.process)
        if process is None:
            self.drops["unattributed"] += 1
        else:
            told = () if process.stack is None else (process.stack,)
            process.stack = of_process((*told, event))

    def oom_member(self, event: OomMember) -> None:
        if self.tree.get(event.victim) is not None:
            self.facts.deaths.member(event)
        else:
            self.drops["unattributed"] += 1

    def oom_memory(self, event: OomMemory) -> None:
        if self.tree.get(event.victim) is not None:
            self.facts.deaths.memory(event)
        else:
            self.drops["unattributed"] += 1

    def oom_kill(self, event: OomKill) -> None:
        victim = self.tree.ensure(event.victim, event.victim_comm)
        if not self.facts.deaths.oom_killed(event):
            return
        if victim.exit is not None:  # its exit was read first
            victim.end = decoded(victim.exit.wait_status, oom_killed=True)
        for execution in victim.execution.chain() if victim.execution is not None else ():
            execution.oom_killed = True
        self.report(victim, oom_killed(victim, event))
        self.activity.oom_killed(victim, event)
        self.attempts.book.add(
            sc.METRIC_PIPELINE_TASK_OOM_KILLS, self.attempts.labels(victim.execution)
        )

    def last_failure(self, event: LastFailure) -> None:
        self.tree.ensure(event.process, "")
        self.facts.failures.failed(event)

    def holder(self, event: Holder) -> None:
        self.tree.ensure(event.process, "")
        self.facts.holders.held(event)

    def exit(self, event: Exit) -> None:
        process = self.tree.exited(event)
        if process is not None:
            self.exits.apply(process, event)

    def _note_unattributed(self, process: Worker) -> None:
        if process.execution is None:
            self.drops["unattributed"] += 1
