"""The core turns kernel events into signals. It is pure; even the time arrives as an event.

    feed(batch, read_at)   applies records, in order of time
    tick(now)              closes finished work, and emits heartbeats
    finish(now)            ends the observing: open work is "unfinished"
    take()                 returns the signals since the last call

The same calls in the same order give the same signals: live, in a replay and in a test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from receiver.attribution.declared import declared
from receiver.attribution.frameworks import RECOGNISERS, Recognisers
from receiver.attribution.frameworks.base import Recogniser
from receiver.attribution.rules import Rule, Rules
from receiver.errors import DecodeError
from receiver.events import Existing, ProcessKey
from receiver.investigate.alerts import AlertQuery
from receiver.investigate.case import Case
from receiver.investigate.casebook import Casebook
from receiver.investigate.history import History
from receiver.investigate.incidents import Incidents
from receiver.investigate.report import Report
from receiver.kernel.decode import decode
from receiver.model import CoreOptions, Host, Watch
from receiver.observe.accounts import Accounts
from receiver.observe.activity import Activity
from receiver.observe.attempts import Attempts
from receiver.observe.bindings import Bindings
from receiver.observe.counts import book_events, book_lag, drops_metric
from receiver.observe.events import EVENTS
from receiver.observe.exits import Exits
from receiver.observe.handlers import Handlers
from receiver.observe.listeners import Listeners
from receiver.observe.members import Members
from receiver.observe.missing import Missing
from receiver.observe.output import Output, SignalBuffer, resources_of
from receiver.observe.scope import Scope
from receiver.observe.unended import Unended
from receiver.signals import Metric, OtlpSignal
from receiver.synthesis.logs import Logs
from receiver.synthesis.metrics import MetricStore
from receiver.synthesis.spans import Spans
from receiver.text.redact import Redactor
from receiver.units import SECOND
from receiver.work.execution import Execution
from receiver.work.executions import Executions
from receiver.work.tables import Facts
from receiver.work.worker import Tree, Worker

ALERTED = 5  # executions that one alert investigates
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
        self.host, self.options = host, options or CoreOptions()
        self.listeners = Listeners()
        self.redactor = Redactor(self.options.redaction)
        asked = (Rules(rules), *recognisers) if rules else recognisers
        self.recognisers, self.declared = Recognisers(asked), declared(asked)
        self.history: History | None = None  # the history of earlier runs, where one is kept
        self.counts, self._booked = Counter[str](), Counter[str]()  # decoded events, by kind
        self.decode_errors, self.policy_drops = Counter[str](), Counter[str]()  # by reason
        self._scope = Scope(host.pid_namespace, host.observer_pid)
        self._keep_facts(self.options)
        self._make_signals(self.options)
        self._bind_work(self.options, explain=explain)
        self._handle_events(self.options)

    def _keep_facts(self, options: CoreOptions) -> None:
        self.facts = Facts()
        self.tree = Tree(
            Worker, options.process_limit, int(options.linger_seconds * SECOND), self._forget
        )
        self.executions = Executions(
            int(options.task_grace_seconds * SECOND), int(options.run_grace_seconds * SECOND)
        )
        self.casebook = Casebook(self.facts)

    def _make_signals(self, options: CoreOptions) -> None:
        self.resources = resources_of(self.host, options)
        self._spans = Spans(self.resources, self.facts, self.declared.attributes)
        self._logs = Logs(self.resources)
        self.book = MetricStore()
        self._signals = SignalBuffer()
        self.incidents = Incidents(
            self._logs,
            book=self.book,
            emit=self._signals.emit,
            case=self.case,
            forget=self.casebook.forget,
            wall=self.resources.wall,
            told=self.listeners.report,
        )
        self.missing = Missing(
            self.tree,
            logs=self._logs,
            book=self.book,
            casebook=self.casebook,
            emit=self._signals.emit,
        )
        self._output = Output(
            self._signals,
            facts=self.facts,
            spans=self._spans,
            logs=self._logs,
            incidents=self.incidents,
            missing=self.missing,
            drops=self.policy_drops,
        )

    def _bind_work(self, options: CoreOptions, *, explain: bool) -> None:
        self.members = Members(self.tree, Accounts(self.book))
        self.attempts = Attempts(
            self.executions,
            self.members,
            spans=self._spans,
            logs=self._logs,
            emit=self._signals.emit,
            listeners=self.listeners,
            evaluate=self.incidents.execution_ended,
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

    def _handle_events(self, options: CoreOptions) -> None:
        self.activity = Activity(
            self.tree,
            self.attempts,
            facts=self.facts,
            report=self._output.finding,
            repeat=self._output.repeated,
            declared=self.declared,
            stall_seconds=options.stall_seconds,
            hang_seconds=options.hang_seconds,
        )
        self.exits = Exits(
            attempts=self.attempts,
            bindings=self.bindings,
            facts=self.facts,
            activity=self.activity,
            casebook=self.casebook,
            drops=self.policy_drops,
            report=self._output.finding,
            log_exit=self._output.exit,
            emit_span=self._output.span,
            drop_attributes=self.resources.forget,
            process_ended=self.listeners.process_ended,
            helpers=self.declared.helpers,
            every_exit=options.exit_events,
        )
        self._handlers = Handlers(
            self.host,
            self.tree,
            facts=self.facts,
            attempts=self.attempts,
            bindings=self.bindings,
            activity=self.activity,
            exits=self.exits,
            drops=self.policy_drops,
            report=self._output.finding,
        )
        self.unended = Unended(self.tree, self.attempts, self.bindings, self.activity, self._output)

    def feed(self, batch: Iterable[bytes], read_at_ns: int) -> None:
        """Applies records in order. Never raises, whatever the records hold."""
        self._output.read_at_ns = self.members.read_at_ns = read_at_ns
        existing: list[Existing] = []
        listened = self.listeners.of_events
        oldest = 0
        for raw in batch:
            try:
                event = decode(raw, self.redactor)
            except DecodeError as error:
                self.decode_errors[error.reason] += 1
                self.missing.count_lost("unknown", f"decode_{error.reason}", 1)
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
                self.incidents.evaluate_due(event.time_boottime_ns)
            if listened:
                self.listeners.event(event)
            if type(event) is Existing:
                existing.append(event)
        if existing:
            self._handlers.settle(existing)
        elif oldest:
            book_lag(read_at_ns - oldest, self.book)

    def passed(self, at_ns: int) -> None:
        """The time of an event that was not recorded: an investigation that is due starts then."""
        self.incidents.evaluate_due(at_ns)

    def tick(self, now_ns: int) -> None:
        """Called about once a second."""
        self.activity.tick(now_ns)
        self.attempts.tick(now_ns, int(self.options.heartbeat_seconds * SECOND))
        self.incidents.evaluate_due(now_ns)
        self.unended.sweep(now_ns)

    def finish(self, now_ns: int) -> None:
        """Ends open work; nothing may be fed afterwards."""
        self.activity.finish()
        for execution in self.executions.due(1 << 62):
            self.attempts.close(execution, now_ns)
        self.unended.finish(now_ns, self.listeners.process_ended)
        self.attempts.finish(now_ns)
        self.incidents.finish(now_ns)

    def alert(self, query: AlertQuery, now_ns: int) -> list[Report]:
        """Investigates the running executions that an alert is about, at most ALERTED of them."""
        return [self.incidents.alerted(each, now_ns) for each in self.running(query)[:ALERTED]]

    def running(self, query: AlertQuery) -> list[Execution]:
        """The executions that an alert is about."""
        return [e for e in self.outermost() if query.concerns(e, self.resources.wall(e.start_ns))]

    def outermost(self) -> list[Execution]:
        """The open executions that are in no other one."""
        return [e for e in self.executions.open.values() if e.outer is None]

    def case(self, execution: Execution, now_ns: int) -> Case:
        """All present knowledge of an execution."""
        return self.casebook.open(
            execution,
            self.tree.processes(),
            now_ns,
            unseen=self.missing.unseen_of(execution, now_ns),
            interrupted=self.missing.interrupted(execution, now_ns),
            strangers=self.activity.usage.neighbours.all(now_ns),
            beside=[e for e in self.outermost() if e is not execution.outermost],
            names=self.facts.names.names,
            history=self.history,
        )

    def take(self) -> list[OtlpSignal]:
        return self._signals.take()

    def set_wall_offset(self, offset_ns: int, now_ns: int = 0) -> None:
        """Unix time minus boot time, for later signals. `now_ns`: when the change was found."""
        moved = offset_ns - self.resources.wall_offset_ns
        if now_ns and self.resources.wall_offset_ns and abs(moved) >= CLOCK_STEP_NS:
            self.casebook.stepped(now_ns, moved)
        self.resources.wall_offset_ns = offset_ns

    def watch(self, watch: Watch) -> None:
        """Expects the fork of a command. It must be called before the fork event is fed."""
        self._handlers.watch(watch)

    def watched(self, pid: int) -> Execution | None:
        """Of a watched command, after its fork was seen."""
        return self._handlers.watched.get(pid)

    def _forget(self, key: ProcessKey) -> None:
        """No table keeps a row of a process that the tree has forgotten."""
        if key in self.facts.keys:
            self.activity.forget(key)
            self.facts.forget(key)
        self.bindings.forget(key)
        self.resources.forget(key)

    def metrics(self) -> tuple[Metric, ...]:
        book_events(self.counts, self._booked, self.book)
        self.members.accounts.book_totals()
        owners = (self.tree, self.attempts, self.members, self.bindings, self.casebook)
        drops = [self.policy_drops, self.activity.drops(), *(each.drops for each in owners)]
        drops += [self.incidents.drops, *([self.history.drops] if self.history else [])]
        broken, failed = self.recognisers.broken, self.listeners.failed
        failures = {"broken_recogniser": broken, "failed_listener": failed}
        return (*self.book.metrics(), drops_metric(drops, failures))
