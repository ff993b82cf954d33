"""The core turns kernel events into signals. It is pure and synchronous; everything it knows
arrives as an event, time included.

    feed(batch, read_at)   applies records, in order of time
    tick(now)              closes finished work, and emits heartbeats
    finish(now)            ends the observing: open work is "unfinished"
    take()                 returns the signals since the last call

The same calls in the same order give the same signals, in the live service, in a replay and in a
test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from receiver import semconv as sc
from receiver.attribution.context import remote_context
from receiver.attribution.frameworks import RECOGNISERS, Recognisers
from receiver.attribution.rules import Rule, Rules
from receiver.detect import oom_killed
from receiver.detect.deaths import Ending
from receiver.errors import DecodeError
from receiver.events import (
    Connection,
    Crash,
    Event,
    Exec,
    Existing,
    Exit,
    FileChanged,
    FileOpened,
    Fork,
    LossReason,
    OomKill,
    OpenFile,
    ProcessKey,
    Signal,
    Title,
)
from receiver.facts.blind import BlindTimes
from receiver.facts.tree import KEPT_FILES, KEPT_SIGNALS, Process, ProcessTree
from receiver.investigate.case import Case, Casebook
from receiver.investigate.history import History
from receiver.investigate.incidents import Incidents
from receiver.kernel.decode import decode
from receiver.model import Blind, CoreOptions, Finding, Gap, Host, Identity, Watch
from receiver.observe.activity import HANDLERS, Activity
from receiver.observe.attempts import Attempts
from receiver.observe.bindings import Bindings
from receiver.observe.exits import Exits
from receiver.observe.listeners import Listener, Listeners
from receiver.observe.scope import Scope
from receiver.signals import Metric, Point
from receiver.signals import Signal as Output
from receiver.synthesis.blocks import Blocks
from receiver.synthesis.logs import Logs
from receiver.synthesis.metrics import LAG_BOUNDS, MetricStore
from receiver.synthesis.spans import Spans
from receiver.text.names import event_id
from receiver.text.redact import Redactor
from receiver.work.execution import Execution, Executions

SECOND = 1_000_000_000
LOSS_WINDOW_NS = 60 * SECOND  # how long after a loss records are marked incomplete
# lost events of processes without work: no fact of an execution is missing
UNWATCHED = LossReason.UNWATCHED.name.lower()
CLOCK_STEP_NS = 50_000_000  # a larger change means that the wall clock was set, not slewed


class Core:
    """See the module's docstring. Not re-entrant; one owner."""

    def __init__(
        self,
        host: Host,
        options: CoreOptions | None = None,
        rules: tuple[Rule, ...] = (),
        *,
        explain: bool = False,
    ) -> None:
        """`explain`: keeps the reasons of all attributions in `bindings.reasons`."""
        self.listeners = Listeners()
        self.options = options = options or CoreOptions()
        self.host = host
        self.redactor = Redactor(options.redaction)
        self.tree = ProcessTree(options.process_limit, int(options.linger_seconds * SECOND))
        self.executions = Executions(
            int(options.task_grace_seconds * SECOND), int(options.run_grace_seconds * SECOND)
        )
        self._out: list[Output] = []
        self.recognisers = Recognisers((Rules(rules), *RECOGNISERS) if rules else RECOGNISERS)
        self.blocks = Blocks(
            host,
            include_argv=options.include_argv,
            resource_attributes=options.resource_attributes,
            service_name=options.service_name,
            value_length_limit=options.value_length_limit,
        )
        self._spans, self._logs = Spans(self.blocks), Logs(self.blocks)
        self.book = MetricStore()
        self.casebook = Casebook()
        self.incidents = Incidents(
            self._logs,
            book=self.book,
            emit=self._emit,
            case=self.case,
            forget=self.casebook.forget,
            wall=self.blocks.wall,
            told=self.listeners.report,
        )
        self.attempts = Attempts(
            self.tree,
            self.executions,
            spans=self._spans,
            logs=self._logs,
            book=self.book,
            emit=self._emit,
            listeners=self.listeners,
            evaluate=self.incidents.ended,
            elsewhere=options.orchestrator == "elsewhere",
        )
        self.bindings = Bindings(
            self.tree,
            self.attempts,
            self.recognisers,
            only_commands=options.only_commands,
            explain=explain,
        )
        self.activity = Activity(
            self.tree,
            self.attempts,
            self._report,
            self._repeat,
            stall_seconds=options.stall_seconds,
            hang_seconds=options.hang_seconds,
        )
        self.history: History | None = None  # the history of earlier runs, where one is kept
        # what the source cannot see on this host: its absence proves nothing
        self.blind: tuple[str, ...] = ()
        self.counts: Counter[str] = Counter()  # decoded events, by kind
        self.decode_errors: Counter[str] = Counter()
        self.policy_drops: Counter[str] = Counter()  # events that led to no signal, by reason
        self.exits = Exits(
            attempts=self.attempts,
            bindings=self.bindings,
            activity=self.activity,
            casebook=self.casebook,
            drops=self.policy_drops,
            report=self._report,
            log_exit=self._log_exit,
            emit_span=self._emit_process,
            ended=self.listeners.process_ended,
            every_exit=options.exit_events,
        )
        self._scope = Scope(host.pid_namespace, host.observer_pid)
        self._blind_times = BlindTimes()
        self._watches: dict[int, Watch] = {}
        self._watched: dict[int, Execution] = {}
        self.losses: dict[tuple[str, str], int] = {}
        self._lossy_until_ns = 0
        self._read_at_ns = 0
        self._events_in_book: Counter[str] = Counter()

    def feed(self, batch: Iterable[bytes], read_at_ns: int) -> None:
        """Applies records in order. Never raises, whatever the records hold."""
        self._read_at_ns = self.attempts.read_at_ns = read_at_ns
        existing: list[Existing] = []
        listened = self.listeners.of_events
        oldest = 0
        for raw in batch:
            try:
                event = decode(raw, self.redactor)
            except DecodeError as error:
                self.decode_errors[error.reason] += 1
                self._count_lost("unknown", f"decode_{error.reason}", 1)
                continue
            if not oldest:
                oldest = event.time_boottime_ns
            if not self._scope.has(event):
                self.policy_drops["other_namespace"] += 1
                continue
            name, handle = _HANDLERS[type(event)]
            self.counts[name] += 1
            handle(self, event)
            if self.incidents.waiting:
                self.incidents.look(event.time_boottime_ns)
            if listened:
                self.listeners.event(event)
            if type(event) is Existing:
                existing.append(event)
        if existing:
            self._settle(existing)
        elif oldest:
            self.book.record(
                sc.METRIC_PIPELINE_OBSERVER_LAG,
                (),
                max(0, read_at_ns - oldest) / SECOND,
                LAG_BOUNDS,
            )

    def tick(self, now_ns: int) -> None:
        """Called about once a second."""
        self.activity.tick(now_ns)
        self.attempts.tick(now_ns, int(self.options.heartbeat_seconds * SECOND))
        self.incidents.look(now_ns)
        self.tree.sweep(now_ns)
        forgotten, self.tree.forgotten = self.tree.forgotten, []
        for process in forgotten:
            self._release(process, now_ns)

    def finish(self, now_ns: int) -> None:
        """Ends open work; nothing may be fed afterwards."""
        self.activity.finish()
        for execution in self.executions.due(1 << 62):
            self.attempts.close(execution, now_ns)
        for process in self.tree.processes():
            if (
                process.exit is None
                and process.execution is not None
                and not process.execution.closed
            ):
                for thread in list(process.steps):
                    self.attempts.end_step(process, thread, now_ns, unknown=True)
                if process.execs:
                    self._emit_process(process, now_ns)
                    self.listeners.process_ended(process)
        self.attempts.finish(now_ns)
        self.incidents.look(now_ns, settle_ns=0)

    def case(self, execution: Execution, now_ns: int) -> Case:
        """All present knowledge of an execution."""
        return self.casebook.open(
            execution,
            self.tree.processes(),
            now_ns,
            blind=(*self.blind, *self._blind_times.of(execution, now_ns)),
            interrupted=self._blind_times.hides(execution, now_ns),
            strangers=self.activity.usage.neighbours.all(now_ns),
            beside=[
                e
                for e in self.executions.open.values()
                if e.outermost is not execution.outermost and e.outer is None
            ],
            names=self.activity.network.table.names,
            history=self.history,
        )

    def _emit(self, signal: Output) -> None:
        self._out.append(signal)

    def take(self) -> list[Output]:
        out, self._out = self._out, []
        return out

    def set_wall_offset(self, offset_ns: int, now_ns: int = 0) -> None:
        """Unix time minus boot time, for later signals. `now_ns`: when the change was found."""
        moved = offset_ns - self.blocks.wall_offset_ns
        if now_ns and self.blocks.wall_offset_ns and abs(moved) >= CLOCK_STEP_NS:
            self.casebook.stepped(now_ns, moved)
        self.blocks.wall_offset_ns = offset_ns

    def watch(self, watch: Watch) -> None:
        """Expects the fork of a command. It must be called before the fork event is fed."""
        self._watches[watch.pid] = watch

    def watched(self, pid: int) -> Execution | None:
        """The execution of a watched command, after its fork was seen."""
        return self._watched.get(pid)

    def note_losses(self, losses: dict[tuple[str, str], int], now_ns: int) -> None:
        """Cumulative counts of lost events by (kind, reason).

        Growth becomes a record, a metric, and a mark on the signals that follow.
        """
        for key, total in losses.items():
            grown = total - self.losses.get(key, 0)
            if grown <= 0:
                continue
            self.losses[key] = total
            if key[1] != UNWATCHED:
                self._lossy_until_ns = now_ns + LOSS_WINDOW_NS
            self.casebook.lost(now_ns, *key, grown)
            self._out.append(self._logs.lost_event(*key, grown, now_ns))
            self._count_lost(*key, grown)

    def resumed(self, gap: Gap, now_ns: int) -> None:
        """The gap before the observer started, and the unsent items of the previous service:
        records, and counts of the loss.
        """
        self._out.append(self._logs.gap_event(gap, now_ns))
        for kind, count in gap.unsent:
            self._out.append(self._logs.unsent_event(kind, gap.reason, count, now_ns))
            self._count_lost(kind, gap.reason, count)

    def note_blind(self, blind: Blind, now_ns: int) -> None:
        """System calls were not observed: of one process before its hooks were attached, or of all
        watched processes.
        """
        reason = ((sc.PIPELINE_OBSERVER_BLIND_REASON, blind.reason),)
        if blind.reason == "late_attach":
            process = self.tree.get(blind.process)
            if process is None or process.execution is None:
                return
            work = process.execution.outermost
            work.late_processes += 1
            work.late_ns = max(work.late_ns, blind.until_ns - blind.began_ns)
        else:
            self._blind_times.interrupted(blind)
            self._out.append(self._logs.blind_event(blind, now_ns))
        if blind.until_ns:
            self.book.add(sc.METRIC_PIPELINE_OBSERVER_BLIND_COUNT, reason)
            self.book.add(
                sc.METRIC_PIPELINE_OBSERVER_BLIND_TIME,
                reason,
                (blind.until_ns - blind.began_ns) / SECOND,
            )

    def _count_lost(self, kind: str, reason: str, count: int) -> None:
        labels = (
            (sc.PIPELINE_OBSERVER_EVENT_KIND, kind),
            (sc.PIPELINE_OBSERVER_LOSS_REASON, reason),
        )
        self.book.add(sc.METRIC_PIPELINE_OBSERVER_EVENTS_LOST, labels, count)

    @property
    def _lossy(self) -> bool:
        """Whether events were lost shortly before this batch, so that a fact may be missing."""
        return self._read_at_ns < self._lossy_until_ns

    def living(self) -> list[ProcessKey]:
        """Processes whose exit was not seen.

        After a loss, the caller checks on the host which of them are gone, and calls `vanished`.
        """
        return [p.key for p in self.tree.processes() if p.exit is None]

    def vanished(self, keys: Iterable[ProcessKey], now_ns: int) -> None:
        """These processes ended and their exits were lost: their spans have no outcome, and their
        execution is incomplete.
        """
        for key in keys:
            process = self.tree.vanished(key)
            if process is not None:
                self._release(process, now_ns)

    def _release(self, process: Process, now_ns: int) -> None:
        self.bindings.lost(process, now_ns)
        execution = process.execution
        if execution is None or process.exit is not None:
            return
        if process.execs:
            self._emit_process(process, now_ns)
        if process is execution.root:
            execution.incomplete = True
        self.attempts.leave(process, execution, now_ns)

    def metrics(self) -> tuple[Metric, ...]:
        for kind, count in self.counts.items():
            grown = count - self._events_in_book[kind]
            if grown:
                self.book.add(
                    sc.METRIC_PIPELINE_OBSERVER_EVENTS,
                    ((sc.PIPELINE_OBSERVER_EVENT_KIND, kind),),
                    grown,
                )
                self._events_in_book[kind] = count
        self.attempts.book_totals()
        drops = (
            self.policy_drops
            + self.tree.drops
            + self.attempts.drops
            + self.bindings.drops
            + self.activity.drops()
            + self.casebook.drops
        )
        for kind, failures in (
            ("broken_recogniser", self.recognisers.broken),
            ("failed_listener", self.listeners.failed),
        ):
            drops += Counter({f"{kind}_{name}": count for name, count in failures.items()})
        points = tuple(
            Point(((sc.PIPELINE_OBSERVER_LOSS_REASON, reason),), count)
            for reason, count in drops.items()
        )
        return (*self.book.metrics(), Metric(*sc.METRIC_PIPELINE_OBSERVER_DROPS, points))

    def _fork(self, event: Fork) -> None:
        process = self.tree.fork(event)
        pid = event.pid_namespace_pid if self.host.pid_namespace else event.process.tgid
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
                f"{self.host.session}-{event.process.tgid}-{event.process.start_boottime_ns}",
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
                self._watched[pid] = execution
        else:
            self.exits.inherit(process)
            self.bindings.forked(process, event.time_boottime_ns)
            self._note_unattributed(process)

    def _exec(self, event: Exec | Existing) -> None:
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

    def _settle(self, events: list[Existing]) -> None:
        """Called after the iterator's last record: links parents, and hands identities down to
        children that were read first.
        """
        self.tree.adopt_parents(events)
        for event in sorted(events, key=lambda e: e.process.start_boottime_ns):
            process = self.tree.get(event.process)
            if process is not None and process.parent is not None and process.exit is None:
                process.context = process.context or process.parent.context
                self.exits.inherit(process)

    def _title(self, event: Title) -> None:
        process = self.tree.title(event)
        self.bindings.titled(process, event.time_boottime_ns)
        self._note_unattributed(process)

    def _file_opened(self, event: FileOpened) -> None:
        """The file's work comes first: the file belongs to that work.

        A file of a package identifies the process, and is no input.
        """
        self.bindings.opened(self.tree.ensure(event.process, ""), event)
        if not event.path.rpartition("/")[2].startswith("__init__."):
            self.activity.files.file_opened(event)

    def _file_changed(self, event: FileChanged) -> None:
        self.activity.files.file_changed(event)
        self.bindings.changed(self.tree.ensure(event.process, ""), event)

    def _connection(self, event: Connection) -> None:
        self.activity.network.connection(event)
        self.bindings.connected(self.tree.ensure(event.process, ""), event)

    def _signal(self, event: Signal) -> None:
        target = self.tree.ensure(event.target, event.target_comm)
        sender = self.tree.get(event.sender)
        target.signals = (*target.signals[-KEPT_SIGNALS + 1 :], event)
        if (
            sender is not None
            and sender.execution is not None
            and sender.execution.is_part_of(target.execution)
        ):
            target.sibling_senders = (*target.sibling_senders[-KEPT_SIGNALS + 1 :], event.sender)

    def _open_file(self, event: OpenFile) -> None:
        process = self.tree.ensure(event.process, "")
        if process.exit is not None or len(process.open_files) >= KEPT_FILES:
            self.policy_drops["late_open_file" if process.exit else "too_many_open_files"] += 1
            return
        process.open_files = (*process.open_files, event)

    def _crash(self, event: Crash) -> None:
        self.tree.ensure(event.process, event.comm).crash = event

    def _oom_kill(self, event: OomKill) -> None:
        victim = self.tree.ensure(event.victim, event.victim_comm)
        if victim.oom is not None:
            return  # the OOM killer chose the same victim again before it was gone
        victim.oom = event
        for execution in victim.execution.chain() if victim.execution is not None else ():
            execution.oom_killed = True
        self._report(victim, oom_killed(victim, event))
        self.activity.oom_killed(victim, event)
        self.book.add(sc.METRIC_PIPELINE_TASK_OOM_KILLS, self.attempts.labels(victim.execution))

    def _exit(self, event: Exit) -> None:
        process = self.tree.exited(event)
        if process is not None:
            self.exits.apply(process, event)

    def _log_exit(self, process: Process, end: Ending, event: Exit) -> None:
        self._out.append(
            self._logs.exit_event(process, end, event_id(event), self._read_at_ns, self._lossy)
        )

    def _note_unattributed(self, process: Process) -> None:
        if process.execution is None:
            self.policy_drops["unattributed"] += 1

    def _emit_process(self, process: Process, now_ns: int = 0) -> None:
        process.spanned = True
        self._out.append(self._spans.process_span(process, process.folded, now_ns))

    def _report(self, process: Process, finding: Finding) -> None:
        if process.execution is None and finding.kind != sc.EVENT_PROCESS_OOM_KILLED:
            # a followed orchestrator: its own failures belong to no work
            self.policy_drops["unattributed"] += 1
            return
        process.findings = (*process.findings, finding.kind)
        if process.execution is not None:
            process.execution.add(finding)
            self.incidents.found(finding, process.execution)
        self._out.append(self._logs.finding(finding, process, self._read_at_ns, self._lossy))

    def _repeat(self, process: Process, finding: Finding) -> None:
        """A record that counts repetitions of a finding: it adds nothing to an investigation."""
        if process.execution is None:
            self.policy_drops["unattributed"] += 1
            return
        self._out.append(self._logs.finding(finding, process, self._read_at_ns, self._lossy))


def _of_activity(handle: Callable[[Activity, Any], object]) -> Callable[[Core, Any], object]:
    return lambda core, event: handle(core.activity, event)


_HANDLERS: dict[type, tuple[str, Callable[[Core, Any], object]]] = {
    Fork: ("fork", Core._fork),
    Exec: ("exec", Core._exec),
    Existing: ("existing", Core._exec),
    Title: ("title", Core._title),
    Exit: ("exit", Core._exit),
    Signal: ("signal", Core._signal),
    OomKill: ("oom_kill", Core._oom_kill),
    Crash: ("crash", Core._crash),
    OpenFile: ("open_file", Core._open_file),
    **{kind: (name, _of_activity(handle)) for kind, (name, handle) in HANDLERS.items()},
    FileOpened: ("file_opened", Core._file_opened),
    FileChanged: ("file_changed", Core._file_changed),
    Connection: ("connection", Core._connection),
}
__all__ = ["Core", "CoreOptions", "Event", "Listener", "ProcessKey", "Watch"]
