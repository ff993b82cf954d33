"""Runs and attempts: how they open, gain and lose processes, and close, and the signals of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from receiver import semconv as sc
from receiver.events import Exit
from receiver.facts.ending import Ending
from receiver.model import AMBIGUOUS, BACKED, CERTAIN, Identity
from receiver.observe.listeners import Listeners
from receiver.signals import Attributes, Signal
from receiver.synthesis.ids import inner_span_id, run_span_id, run_trace_id, task_span_id
from receiver.synthesis.logs import Logs
from receiver.synthesis.metrics import DURATION_BOUNDS, MetricStore, folded_error
from receiver.synthesis.outcomes import run_result, scaled_cpu, task_error
from receiver.synthesis.spans import Spans
from receiver.units import SECOND
from receiver.work.execution import Execution, Executions, Run, Totals
from receiver.work.worker import Tree, Worker


class Attempts:
    """Owns the open executions.

    `emit` takes their signals; `drops` counts events that came too late.
    """

    def __init__(
        self,
        tree: Tree,
        executions: Executions,
        *,
        spans: Spans,
        logs: Logs,
        book: MetricStore,
        emit: Callable[[Signal], None],
        listeners: Listeners,
        evaluate: Callable[[Execution, int], None],
        elsewhere: bool = False,
    ) -> None:
        """`evaluate` is called with each closed execution, after its span was emitted.

        `elsewhere`: the orchestrator is on another host, which exports the spans of runs and
        tasks, each once.
        """
        self.executions = executions
        self._tree, self._listeners, self._evaluate = tree, listeners, evaluate
        self._elsewhere = elsewhere
        self.book = book
        self.drops: Counter[str] = Counter()
        self.read_at_ns = 0
        self._to_watch: list[Worker] = []
        # left out by the last `to_watch`: they had ended before
        self.ended_unwatched: list[Worker] = []
        self._spans, self._logs, self._emit = spans, logs, emit
        # their sums have changed since the metrics were last read
        self._unbooked: dict[int, Execution] = {}

    def rename(self, execution: Execution, identity: Identity) -> None:
        """More is known of it now. Its ids stay."""
        self.executions.displace(execution)
        self.book.add(sc.METRIC_PIPELINE_TASK_ACTIVE, self.labels(execution), -1)
        execution.identity, execution.slot, execution.block = identity, identity.slot, None
        # other work has these names already, and keeps its place
        if execution.slot in self.executions.open:
            execution.slot = (identity.slot, execution.span_id)
        self.executions.place(execution)
        self.book.add(sc.METRIC_PIPELINE_TASK_ACTIVE, self.labels(execution), 1)
        if execution.own_run:
            execution.run.identity = identity

    def dispute(self, execution: Execution, rival: Execution) -> None:
        """The open work claims the names of work that is proven, so it is ambiguous from now on.

        The ids stay.
        """
        identity = contested(
            execution.identity, f"a proven process of uid {rival.identity.owner} does that run"
        )
        self.executions.displace(execution)
        labels = self.labels(execution)
        if not execution.is_quiet:
            self.book.add(sc.METRIC_PIPELINE_TASK_ACTIVE, labels, -1)
        self.book.add(sc.METRIC_PIPELINE_TASK_PROCESS_COUNT, labels, -execution.booked_live)
        execution.booked_live = 0
        self._unbooked[id(execution)] = execution
        execution.identity, execution.slot, execution.block = (
            identity,
            (identity.slot, execution.span_id),
            None,
        )
        execution.rival = (rival.trace_id, rival.span_id)
        self.executions.place(execution)
        if execution.own_run:
            execution.run.identity = identity
        self.drops["disputed"] += 1

    def begin_step(
        self, process: Worker, identity: Identity, thread: int, start_ns: int
    ) -> Execution | None:
        """The work of one thread: it has no process of its own, and ends when a claim ends it."""
        execution = self.open(process, identity, start_ns, process.execution)
        if execution is not None:
            execution.step_thread = thread
            process.steps[thread] = execution
        return execution

    def end_step(
        self, process: Worker, thread: int, at_ns: int, error: str = "", *, unknown: bool = False
    ) -> None:
        execution = process.steps.pop(thread, None)
        if execution is not None and not execution.closed:
            execution.end_ns, execution.error, execution.root_failed = at_ns, error, bool(error)
            execution.incomplete = unknown
            self.close(execution, at_ns)

    def tick(self, now_ns: int, beat_ns: int) -> None:
        """Closes finished work, and emits heartbeats for the rest."""
        for execution in self.executions.due(now_ns):
            self.close(execution, now_ns)
        for run in self.executions.due_runs(now_ns):
            self.close_run(run, now_ns)
        for execution in self.executions.open.values():
            if now_ns - execution.heartbeat_ns >= beat_ns and not execution.is_quiet:
                execution.heartbeat_ns = now_ns
                self._emit(
                    self._logs.task_event(
                        sc.EVENT_PIPELINE_TASK_HEARTBEAT, execution, now_ns, now_ns
                    )
                )

    def finish(self, now_ns: int) -> None:
        """The observer stops: open work is unfinished, except a command whose own process has
        ended.
        """
        for execution in sorted(
            self.executions.open.values(), key=lambda e: sum(1 for _ in e.chain()), reverse=True
        ):
            over = execution.held and not execution.holders
            if not over and (execution.identity.source != "command" or execution.root.exit is None):
                execution.incomplete, execution.end_ns = True, now_ns
            self.close(execution, now_ns)
        for run in list(self.executions.runs.values()):
            self.close_run(run, now_ns)

    def enter(
        self,
        process: Worker,
        identity: Identity,
        start_ns: int,
        *,
        outer: Execution | None = None,
        holds: bool = False,
    ) -> Execution | None:
        """The process is (or joins) an attempt of its own identity.

        None, and counted, when too many are open.
        """
        execution = self.executions.open.get(identity.slot)
        ended = self.executions.ended(identity.slot) if execution is None else None
        if ended is not None and not (holds and identity.portable and identity.source == "file"):
            execution = ended
        if execution is None:
            execution = self.open(process, identity, start_ns, outer, ended)
            if execution is None:
                return None
        elif execution.closed:
            # its span is already exported; the process still gets its own
            self.drops["late_process"] += 1
        self.rebind(process, execution)
        if holds and not execution.closed:
            execution.held = True
            execution.holders[process.key] = None
        return execution

    def enter_late(self, process: Worker, identity: Identity, start_ns: int, end: Ending) -> None:
        """A process that has ended is found to have done this work: the work began and ended with
        it.
        """
        execution = self.open(process, identity, start_ns, process.execution)
        if execution is not None and process.exit is not None:
            process.execution = execution
            execution.entered_late = True
            execution.totals.processes = 1
            execution.root_failed, execution.error = end.failed, end.error
            execution.end_ns = process.exit.time_boottime_ns
            self.close(execution, execution.end_ns)

    def open(
        self,
        process: Worker,
        identity: Identity,
        start_ns: int,
        outer: Execution | None = None,
        before: Execution | None = None,
    ) -> Execution | None:
        """`before`: the same attempt had ended already."""
        if reason := self.executions.refuses(identity, outer, start_ns):
            self.drops[reason] += 1
            return None
        resumed = before.resumed + 1 if before is not None else 0
        inside = (
            outer
            if outer is not None
            and not (identity.portable and not any(e.identity.portable for e in outer.chain()))
            else None
        )
        execution = Execution(
            identity, self._run_of(identity, inside, start_ns), b"", process, start_ns, outer=outer
        )
        execution.resumed, execution.own_run = resumed, inside is None
        context = process.context if outer is None or process.context != outer.context else None
        execution.context = context if inside is None else None
        if inside is not None:
            execution.trace_id = inside.trace_id
            execution.span_id = inner_span_id(inside.span_id, identity)
        else:
            execution.span_id = task_span_id(identity, identity.attempt, resumed)
        execution.claimed = (
            self._elsewhere and inside is None and identity.source == "env" and identity.portable
        )
        if identity.confidence >= CERTAIN and identity.portable:
            for other in [
                e for e in self.executions.open.values() if self._is_disputed_by(e, identity)
            ]:
                self.dispute(other, execution)
        self._set_out(execution, inside is None, start_ns)
        return execution

    @staticmethod
    def _is_disputed_by(execution: Execution, identity: Identity) -> bool:
        """Whether it claims the same run for another user, without a proof."""
        other = execution.identity
        if other.confidence >= BACKED or other.is_ambiguous or other.owner == identity.owner:
            return False
        return (other.system, other.pipeline, other.run_id) == (
            identity.system,
            identity.pipeline,
            identity.run_id,
        )

    def _run_of(self, identity: Identity, inside: Execution | None, start_ns: int) -> Run:
        if inside is not None:
            return inside.run
        run = self.executions.runs.get(identity.run_key)
        return run or Run(identity, run_trace_id(identity), run_span_id(identity), start_ns)

    def _set_out(self, execution: Execution, own_trace: bool, start_ns: int) -> None:
        identity, run, context = execution.identity, execution.run, execution.context
        previous = self.executions.ended(
            msgspec.structs.replace(identity, attempt=identity.attempt - 1).slot
        )
        if previous is not None:
            execution.previous_trace_id = previous.trace_id
        if context is not None and context.sampled:
            execution.trace_id = context.trace_id
        if execution.is_quiet:
            self.executions.opened(execution)
            self._listeners.execution_started(execution)
            return
        if own_trace and not run.announced and not (context is not None and context.sampled):
            run.announced = True
            self._emit(
                self._logs.run_event(sc.EVENT_PIPELINE_RUN_START, run, start_ns, self.read_at_ns)
            )
        self.executions.opened(execution)
        self.book.add(sc.METRIC_PIPELINE_TASK_ACTIVE, self.labels(execution), 1)
        self._emit(
            self._logs.task_event(
                sc.EVENT_PIPELINE_TASK_START, execution, start_ns, self.read_at_ns
            )
        )
        self._listeners.execution_started(execution)

    def join(self, process: Worker, execution: Execution) -> None:
        """A process without work does this work from now on."""
        process.execution = execution
        parent = process.parent
        if parent is not None and 0 < parent.watched_ns < process.key.start_boottime_ns:
            process.watched_ns = parent.watched_ns  # the BPF program set the mark at the fork
        else:
            self.follow(process)
        for each in execution.chain():
            each.live += 1
            each.totals.processes += 1
            self._unbooked[id(each)] = each

    def follow(self, process: Worker) -> None:
        """Its system calls must be observed, although it may have no work: the files that it opens
        name work.
        """
        if not process.watched_ns:
            process.watched_ns = self.read_at_ns
            self._to_watch.append(process)

    def rebind(self, process: Worker, execution: Execution | None) -> None:
        """Moves a living process from its present work to `execution`.

        The work around both does not change.
        """
        old = list(process.execution.chain()) if process.execution is not None else []
        new = list(execution.chain()) if execution is not None else []
        if execution is not None and not old:
            self.join(process, execution)
            return
        process.execution = execution
        for each in old:
            if each not in new:
                each.live -= 1
                each.end_ns = max(each.end_ns, self.read_at_ns)
                self._unbooked[id(each)] = each
        for each in new:
            if each not in old:
                each.live += 1
                each.totals.processes += 1
                self._unbooked[id(each)] = each

    def to_watch(self) -> list[Worker]:
        """Living processes that joined since the last call and that the BPF programs may not watch
        yet.
        """
        joined, self._to_watch = self._to_watch, []
        self.ended_unwatched = [p for p in joined if p.exit is not None]
        return [p for p in joined if p.exit is None]

    def leave(
        self, process: Worker, execution: Execution, at_ns: int, end: Ending | None = None
    ) -> None:
        """The process has ended (`end`: how; None: its end was not seen)."""
        for each in execution.chain():
            each.live -= 1
            if process.key in each.holders or not each.held or each.holders:
                each.end_ns = max(each.end_ns, at_ns)
            self._unbooked[id(each)] = each
            if end is not None and self._speaks_for(process, each):
                each.root_ended(process, failed=end.failed, error=end.error)
            each.holders.pop(process.key, None)
        for each in list(execution.chain()):
            over = (each.held and not each.holders) or (
                each.identity.source == "command" and process is each.root
            )
            if over and not each.closed and each.live == 0:
                self.close(each, at_ns)

    def _speaks_for(self, process: Worker, execution: Execution) -> bool:
        """Whether its exit status is the outcome: it holds the work, or it is the first process of
        it.
        """
        if execution.held:
            return process.key in execution.holders
        parent = process.parent
        outside = (
            parent is None or parent.execution is None or execution not in parent.execution.chain()
        )
        return process is execution.root or outside

    def release(self, execution: Execution) -> None:
        """A process that outlives the work (a daemon that the work started) is released."""
        for process in list(self._tree.processes()):
            if (
                process.exit is None
                and process.execution is not None
                and (execution in process.execution.chain())
            ):
                process.released = (*process.released, execution.identity.key)
                process.steps.clear()
                self.rebind(
                    process,
                    next(
                        (e for e in execution.chain() if not e.closed and e is not execution), None
                    ),
                )
                self.drops["released"] += 1

    def account(self, execution: Execution, event: Exit) -> None:
        """Adds to the work and to all work around it."""
        user, system = scaled_cpu(event.user_cpu_ns, event.system_cpu_ns, event.cpu_runtime_ns)
        for each in execution.chain():
            totals = each.totals
            totals.user_ns += user
            totals.system_ns += system
            totals.read_bytes += event.read_bytes
            totals.written_bytes += event.written_bytes

    def book_totals(self) -> None:
        """Moves the sums of executions into the metrics: once per reading of the metrics, not once
        per process.
        """
        for execution in self._unbooked.values():
            labels, now, before = self.labels(execution), execution.totals, execution.booked
            for mode, amount in (
                ("user", now.user_ns - before.user_ns),
                ("system", now.system_ns - before.system_ns),
            ):
                if amount:
                    self.book.add(
                        sc.METRIC_PIPELINE_TASK_CPU_TIME,
                        (*labels, (sc.CPU_MODE, mode)),
                        amount / 1e9,
                    )
            reads, writes = (
                now.read_bytes - before.read_bytes,
                now.written_bytes - before.written_bytes,
            )
            for direction, amount in (("read", reads), ("write", writes)):
                if amount:
                    self.book.add(
                        sc.METRIC_PIPELINE_TASK_DISK_IO,
                        (*labels, (sc.DISK_IO_DIRECTION, direction)),
                        amount,
                    )
            self.book.add(
                sc.METRIC_PIPELINE_TASK_PROCESS_COUNT,
                labels,
                execution.live - execution.booked_live,
            )
            execution.booked_live = execution.live
            for name in Totals.__slots__:
                setattr(before, name, getattr(now, name))
        self._unbooked.clear()

    def close(self, execution: Execution, now_ns: int) -> None:
        if execution.closed:
            return
        for inner in list(execution.inside):
            if not inner.live:
                self.close(inner, now_ns)
        self.executions.close(execution)
        if execution.live and execution.held:
            self.release(execution)
        self._listeners.execution_finished(execution)
        if not execution.is_quiet:
            self._say_closed(execution, now_ns)
        elif not execution.claimed:
            self._emit(self._spans.task_span(execution))
        execution.run.incomplete |= execution.incomplete and execution.own_run
        self._evaluate(execution, now_ns)
        if (
            execution.own_run
            and execution.identity.type in ("command", "job")
            and not execution.run.active
        ):
            self.close_run(execution.run, now_ns)

    def _say_closed(self, execution: Execution, now_ns: int) -> None:
        labels = self.labels(execution)
        result: Attributes = ((sc.PIPELINE_TASK_RUN_RESULT, execution.result),)
        error = task_error(execution)
        if error:
            result = (*result, (sc.ERROR_TYPE, folded_error(error)))
        seconds = max(0, execution.end_ns - execution.start_ns) / SECOND
        self.book.record(
            sc.METRIC_PIPELINE_TASK_DURATION, (*labels, *result), seconds, DURATION_BOUNDS
        )
        self.book.add(sc.METRIC_PIPELINE_TASK_ACTIVE, labels, -1)
        self._emit(
            self._logs.task_event(sc.EVENT_PIPELINE_TASK_END, execution, execution.end_ns, now_ns)
        )
        self._emit(self._spans.task_span(execution))

    def close_run(self, run: Run, now_ns: int) -> None:
        if not self.executions.close_run(run) or not run.announced:
            return  # the application has spans of its own for it
        # its start is already exported: it gets an end, and counts in no sum
        if run.identity.is_ambiguous:
            self._emit(self._spans.run_span(run))
            return
        labels = (
            (sc.PIPELINE_SYSTEM_NAME, run.identity.system),
            (sc.PIPELINE_NAME, dict(self.book.task(run.identity))[sc.PIPELINE_NAME]),
            (sc.PIPELINE_RUN_RESULT, run_result(run)),
        )
        self.book.record(
            sc.METRIC_PIPELINE_RUN_DURATION,
            labels,
            max(0, run.end_ns - run.start_ns) / SECOND,
            DURATION_BOUNDS,
        )
        self._emit(self._logs.run_event(sc.EVENT_PIPELINE_RUN_END, run, run.end_ns, now_ns))
        self._emit(self._spans.run_span(run))

    def labels(self, execution: Execution | None) -> Attributes:
        """The labels of its metrics.

        An ambiguous claim counts as unknown work, not under the names that it uses.
        """
        known = execution is not None and not execution.identity.is_ambiguous
        return self.book.task(execution.identity if execution is not None and known else None)


def contested(identity: Identity, why: str) -> Identity:
    """The same claim, which another one contradicts."""
    evidence = f"{identity.evidence}; {why}"
    return msgspec.structs.replace(
        identity, confidence=AMBIGUOUS, source="ambiguous", evidence=evidence
    )
