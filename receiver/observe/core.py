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
from collections.abc import Iterable

from receiver import semconv as sc
from receiver.attribution.declared import declared
from receiver.attribution.frameworks import RECOGNISERS, Recognisers
from receiver.attribution.frameworks.base import Recogniser
from receiver.attribution.rules import Rule, Rules
from receiver.errors import DecodeError
from receiver.events import (
    Event,
    Existing,
    Exit,
    ProcessKey,
)
from receiver.facts.ending import Ending
from receiver.facts.losses import (
    LossAccount,
    Losses,
    LossesByUser,
    LossyTimes,
    accounts_of,
)
from receiver.investigate.alerts import AlertQuery
from receiver.investigate.case import UNWATCHED, Case, Casebook
from receiver.investigate.history import History
from receiver.investigate.incidents import Incidents
from receiver.investigate.report import Report
from receiver.kernel.decode import decode
from receiver.model import Blind, CoreOptions, Finding, Gap, Host, Watch
from receiver.observe.activity import Activity
from receiver.observe.attempts import Attempts
from receiver.observe.bindings import Bindings
from receiver.observe.events import EVENTS
from receiver.observe.exits import Exits
from receiver.observe.handlers import Handlers
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
from receiver.units import SECOND
from receiver.work.blind import BlindTimes
from receiver.work.execution import Execution, Executions
from receiver.work.tables import Facts
from receiver.work.worker import Tree, Worker

ALERTED = 5  # executions that one alert investigates
LOSS_WINDOW_NS = 60 * SECOND  # how long after a loss records are marked incomplete
CLOCK_STEP_NS = 50_000_000  # a larger change means that the wall clock was set, not slewed


class Core:
    """See the module's docstring. Not re-entrant; one owner."""

    def __init__(
        self,
        host: Host,
        options: CoreOptions | None = None,
        rules: tuple[Rule, ...] = (),
        *,
        recognisers: tuple[Recogniser, ...] = RECOGNISERS,
        explain: bool = False,
    ) -> None:
        """`explain`: keeps the reasons of all attributions in `bindings.reasons`."""
        self.listeners = Listeners()
        self.options = options = options or CoreOptions()
        self.host = host
        self.redactor = Redactor(options.redaction)
        self.facts = Facts()
        self.tree = Tree(
            Worker, options.process_limit, int(options.linger_seconds * SECOND), self._forget
        )
        self.executions = Executions(
            int(options.task_grace_seconds * SECOND), int(options.run_grace_seconds * SECOND)
        )
        self._out: list[Output] = []
        asked = (Rules(rules), *recognisers) if rules else recognisers
        self.recognisers, self.declared = Recognisers(asked), declared(asked)
        self.blocks = Blocks(
            host,
            include_argv=options.include_argv,
            resource_attributes=options.resource_attributes,
            service_name=options.service_name,
            value_length_limit=options.value_length_limit,
        )
        self._spans = Spans(self.blocks, self.facts, self.declared.attributes)
        self._logs = Logs(self.blocks)
        self.book = MetricStore()
        self.casebook = Casebook(self.facts)
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
            self.facts,
            self.attempts,
            self.recognisers,
            only_commands=options.only_commands,
            explain=explain,
        )
        self.activity = Activity(
            self.tree,
            self.attempts,
            facts=self.facts,
            report=self._report,
            repeat=self._repeat,
            declared=self.declared,
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
            facts=self.facts,
            activity=self.activity,
            casebook=self.casebook,
            drops=self.policy_drops,
            report=self._report,
            log_exit=self._log_exit,
            emit_span=self._emit_process,
            drop_attributes=self.blocks.forget,
            ended=self.listeners.process_ended,
            helpers=self.declared.helpers,
            every_exit=options.exit_events,
        )
        self._handlers = Handlers(
            host,
            self.tree,
            facts=self.facts,
            attempts=self.attempts,
            bindings=self.bindings,
            activity=self.activity,
            exits=self.exits,
            drops=self.policy_drops,
            report=self._report,
        )
        self._scope = Scope(host.pid_namespace, host.observer_pid)
        self._blind_times = BlindTimes()
        self.losses: dict[tuple[str, str], int] = {}
        self._loss_account = LossAccount()
        self._lossy_times = LossyTimes(LOSS_WINDOW_NS)
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
            spec = EVENTS[type(event)]
            self.counts[spec.name] += 1
            spec.handle(self._handlers, event)
            if self.incidents.waiting:
                self.incidents.look(event.time_boottime_ns)
            if listened:
                self.listeners.event(event)
            if type(event) is Existing:
                existing.append(event)
        if existing:
            self._handlers.settle(existing)
        elif oldest:
            self.book.record(
                sc.METRIC_PIPELINE_OBSERVER_LAG,
                (),
                max(0, read_at_ns - oldest) / SECOND,
                LAG_BOUNDS,
            )

    def passed(self, at_ns: int) -> None:
        """The time of an event that was not recorded: an investigation that is due starts then."""
        if self.incidents.waiting:
            self.incidents.look(at_ns)

    def tick(self, now_ns: int) -> None:
        """Called about once a second."""
        self.activity.tick(now_ns)
        self.attempts.tick(now_ns, int(self.options.heartbeat_seconds * SECOND))
        self.incidents.look(now_ns)
        self.tree.sweep(now_ns)
        forgotten, self.tree.forgotten = self.tree.forgotten, []
        for process in forgotten:
            self._release(process, now_ns)
            self.tree.free(process)

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

    def alert(self, query: AlertQuery, now_ns: int) -> list[Report]:
        """Investigates the running executions that an alert is about, at most ALERTED of them."""
        running = self.running(query)[:ALERTED]
        return [self.incidents.alerted(execution, now_ns) for execution in running]

    def running(self, query: AlertQuery) -> list[Execution]:
        """The outermost open executions that an alert is about."""
        return [e for e in self.executions.open.values() if e.outer is None and query.is_about(e)]

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
            names=self.facts.names.names,
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
        self._handlers.watch(watch)

    def watched(self, pid: int) -> Execution | None:
        """The execution of a watched command, after its fork was seen."""
        return self._handlers.watched.get(pid)

    def note_losses(self, losses: Losses, now_ns: int, by_user: LossesByUser | None = None) -> None:
        """Cumulative counts of lost events by (kind, reason), and by user those that concern one.

        Growth becomes a record, a metric, and a mark on the signals that follow and on the reports
        about the works that it may concern.
        """
        for key, total in losses.items():
            grown = total - self.losses.get(key, 0)
            if grown <= 0:
                continue
            self.losses[key] = total
            self._out.append(self._logs.lost_event(*key, grown, now_ns))
            self._count_lost(*key, grown)
        for lost in self._loss_account.grow(losses, by_user or {}, self._accounts):
            if lost.reason != UNWATCHED:
                self._lossy_times.lost(lost.user, now_ns)
            self.casebook.lost(now_ns, lost)

    def _accounts(self) -> set[int]:
        """The users of all known work."""
        return set().union(
            *(accounts_of(p) for p in self.tree.processes() if p.execution is not None)
        )

    def losses_of(self, execution: Execution) -> dict[tuple[str, str], int]:
        """The losses that may concern this work."""
        accounts = self.casebook.accounts(execution, self.tree.processes())
        return self._loss_account.concerning(self.losses, accounts)

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

    def _lossy(self, process: Worker) -> bool:
        """Whether events were lost shortly before this batch, so that a fact about the process may
        be missing.
        """
        return self._lossy_times.has(process, self._read_at_ns)

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
                self.tree.free(process)

    def _forget(self, key: ProcessKey) -> None:
        """No table keeps a row of a process that the tree has forgotten."""
        if key in self.facts.keys:
            self.activity.forget(key)
            self.facts.forget(key)
        self.bindings.forget(key)
        self.blocks.forget(key)

    def _release(self, process: Worker, now_ns: int) -> None:
        self.activity.forget(process.key)  # reports what waits for its end
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

    def _log_exit(self, process: Worker, end: Ending, event: Exit) -> None:
        self._out.append(
            self._logs.exit_event(
                process, end, event_id(event), self._read_at_ns, self._lossy(process)
            )
        )

    def _emit_process(self, process: Worker, now_ns: int = 0) -> None:
        process.spanned = True
        self._out.append(self._spans.process_span(process, now_ns))

    def _report(self, process: Worker, finding: Finding) -> None:
        if process.execution is None and finding.kind != sc.EVENT_PROCESS_OOM_KILLED:
            # a followed orchestrator: its own failures belong to no work
            self.policy_drops["unattributed"] += 1
            return
        self.facts.reported.add(process, finding.kind)
        if process.execution is not None:
            process.execution.add(finding)
            self.incidents.found(finding, process.execution)
        self._out.append(
            self._logs.finding(finding, process, self._read_at_ns, self._lossy(process))
        )

    def _repeat(self, process: Worker, finding: Finding) -> None:
        """A record that counts repetitions of a finding: it adds nothing to an investigation."""
        if process.execution is None:
            self.policy_drops["unattributed"] += 1
            return
        self._out.append(
            self._logs.finding(finding, process, self._read_at_ns, self._lossy(process))
        )


__all__ = ["Core", "CoreOptions", "Event", "Listener", "ProcessKey", "Watch"]
