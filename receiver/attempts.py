"""Runs and attempts as they open, gain and lose processes, and close: what leaves at each of these steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from receiver import semconv as sc
from receiver.attribution.tree import Process
from receiver.detect.deaths import Ending
from receiver.events import Exit
from receiver.model import Identity
from receiver.signals import Attributes, Signal
from receiver.synthesis.ids import run_span_id, run_trace_id, task_span_id
from receiver.synthesis.logs import Logs
from receiver.synthesis.metrics import DURATION_BOUNDS, Book, folded_error
from receiver.synthesis.outcomes import run_result, scaled_cpu, task_error
from receiver.synthesis.spans import Spans
from receiver.timeline.executions import Execution, Executions, Run, Totals

SECOND = 1_000_000_000


class Attempts:
    """Owns the open executions. `emit` takes what they say; `drops` counts what came too late."""

    def __init__(self, executions: Executions, spans: Spans, logs: Logs, book: Book, emit: Callable[[Signal], None]) -> None:
        self.executions = executions
        self.book = book
        self.drops: Counter[str] = Counter()
        self.read_at_ns = 0
        self.on_close: Callable[[Execution], None] = lambda _: None  # told of every execution as it closes
        self._to_watch: list[Process] = []
        self._spans, self._logs, self._emit = spans, logs, emit
        self._unbooked: dict[int, Execution] = {}  # their sums have moved since the metrics were last read

    def tick(self, now_ns: int, beat_ns: int) -> None:
        """Closes what is over, says what still runs."""
        for execution in self.executions.due(now_ns):
            self.close(execution, now_ns)
        for run in self.executions.due_runs(now_ns):
            self.close_run(run, now_ns)
        for execution in self.executions.open.values():
            if now_ns - execution.heartbeat_ns >= beat_ns:
                execution.heartbeat_ns = now_ns
                self._emit(self._logs.task_event(sc.EVENT_PIPELINE_TASK_HEARTBEAT, execution, now_ns, now_ns))

    def finish(self, now_ns: int) -> None:
        """The observer stops: what is open is unfinished, but for a command whose own process has ended."""
        for execution in list(self.executions.open.values()):
            if execution.identity.type != "command" or execution.root.exit is None:
                execution.incomplete, execution.end_ns = True, now_ns
            self.close(execution, now_ns)
        for run in list(self.executions.runs.values()):
            self.close_run(run, now_ns)

    def enter(self, process: Process, identity: Identity, start_ns: int) -> Execution | None:
        """The process is (or joins) an attempt of its own identity. None, and counted, when too many are open."""
        execution = self.executions.open.get(identity.key) or self.executions.ended(identity.key)
        if execution is None and self.executions.full:
            self.drops["too_many_executions"] += 1
            return None
        if execution is None:
            execution = self._open(process, identity, start_ns)
        elif execution.closed:
            self.drops["late_process"] += 1  # its span is out; the process still gets its own
        self.join(process, execution)
        return execution

    def _open(self, process: Process, identity: Identity, start_ns: int) -> Execution:
        context = process.context
        run = self.executions.runs.get((identity.system, identity.pipeline, identity.run_id))
        if run is None:
            run = Run(identity, run_trace_id(identity), run_span_id(identity), start_ns)
        execution = Execution(identity, run, task_span_id(identity, identity.attempt), process, start_ns)
        execution.context = context
        previous = self.executions.ended(msgspec.structs.replace(identity, attempt=identity.attempt - 1).key)
        if previous is not None:
            execution.previous_trace_id = previous.trace_id
        if context is not None and context.sampled:
            execution.trace_id = context.trace_id
        elif not run.announced:
            run.announced = True
            self._emit(self._logs.run_event(sc.EVENT_PIPELINE_RUN_START, run, start_ns, self.read_at_ns))
        self.executions.opened(execution)
        self.book.add(sc.METRIC_PIPELINE_TASK_ACTIVE, self.labels(execution), 1)
        self._emit(self._logs.task_event(sc.EVENT_PIPELINE_TASK_START, execution, start_ns, self.read_at_ns))
        return execution

    def join(self, process: Process, execution: Execution) -> None:
        process.execution = execution
        parent = process.parent
        if parent is not None and 0 < parent.watched_ns < process.key.start_boottime_ns:
            process.watched_ns = parent.watched_ns  # the kernel half handed it down with the fork
        else:
            process.watched_ns = self.read_at_ns
            self._to_watch.append(process)
        execution.live += 1
        execution.totals.processes += 1
        self._unbooked[id(execution)] = execution

    def to_watch(self) -> list[int]:
        """Pids of living processes that joined since the last call and that the kernel half may not follow yet."""
        joined, self._to_watch = self._to_watch, []
        return [p.key.tgid for p in joined if p.exit is None]

    def leave(self, process: Process, execution: Execution, at_ns: int, end: Ending | None = None) -> None:
        execution.live -= 1
        execution.end_ns = max(execution.end_ns, at_ns)
        self._unbooked[id(execution)] = execution
        if end is not None and (process is execution.root or process.parent is None or process.parent.execution is not execution):
            execution.root_failed, execution.error = end.failed, end.error
        if execution.identity.type == "command" and process is execution.root and not execution.closed and execution.live == 0:
            self.close(execution, at_ns)

    def account(self, execution: Execution, event: Exit) -> None:
        user, system = scaled_cpu(event.user_cpu_ns, event.system_cpu_ns, event.cpu_runtime_ns)
        totals = execution.totals
        totals.user_ns += user
        totals.system_ns += system
        totals.read_bytes += event.read_bytes
        totals.written_bytes += event.written_bytes

    def book_totals(self) -> None:
        """Moves the sums of executions into the metrics: once per reading of these, not once per process."""
        for execution in self._unbooked.values():
            labels, now, before = self.labels(execution), execution.totals, execution.booked
            for mode, amount in (("user", now.user_ns - before.user_ns), ("system", now.system_ns - before.system_ns)):
                if amount:
                    self.book.add(sc.METRIC_PIPELINE_TASK_CPU_TIME, (*labels, (sc.CPU_MODE, mode)), amount / 1e9)
            reads, writes = now.read_bytes - before.read_bytes, now.written_bytes - before.written_bytes
            for direction, amount in (("read", reads), ("write", writes)):
                if amount:
                    self.book.add(sc.METRIC_PIPELINE_TASK_DISK_IO, (*labels, (sc.DISK_IO_DIRECTION, direction)), amount)
            self.book.add(sc.METRIC_PIPELINE_TASK_PROCESS_COUNT, labels, execution.live - execution.booked_live)
            execution.booked_live = execution.live
            for name in Totals.__slots__:
                setattr(before, name, getattr(now, name))
        self._unbooked.clear()

    def close(self, execution: Execution, now_ns: int) -> None:
        if execution.closed:
            return
        self.executions.close(execution)
        self.on_close(execution)
        labels = self.labels(execution)
        result: Attributes = ((sc.PIPELINE_TASK_RUN_RESULT, execution.result),)
        error = task_error(execution)
        if error:
            result = (*result, (sc.ERROR_TYPE, folded_error(error)))
        seconds = max(0, execution.end_ns - execution.start_ns) / SECOND
        self.book.record(sc.METRIC_PIPELINE_TASK_DURATION, (*labels, *result), seconds, DURATION_BOUNDS)
        self.book.add(sc.METRIC_PIPELINE_TASK_ACTIVE, labels, -1)
        self._emit(self._logs.task_event(sc.EVENT_PIPELINE_TASK_END, execution, execution.end_ns, now_ns))
        self._emit(self._spans.task_span(execution))
        execution.run.incomplete |= execution.incomplete
        if execution.identity.type != "command":  # a command's are still to be shown
            execution.findings = []
        if execution.identity.type == "command":
            self.close_run(execution.run, now_ns)

    def close_run(self, run: Run, now_ns: int) -> None:
        if self.executions.runs.pop(run.key, None) is None or not run.announced:
            return  # the application has spans of its own for it
        labels = (
            (sc.PIPELINE_SYSTEM_NAME, run.identity.system),
            (sc.PIPELINE_NAME, dict(self.book.task(run.identity))[sc.PIPELINE_NAME]),
            (sc.PIPELINE_RUN_RESULT, run_result(run)),
        )
        self.book.record(sc.METRIC_PIPELINE_RUN_DURATION, labels, max(0, run.end_ns - run.start_ns) / SECOND, DURATION_BOUNDS)
        self._emit(self._logs.run_event(sc.EVENT_PIPELINE_RUN_END, run, run.end_ns, now_ns))
        self._emit(self._spans.run_span(run))

    def labels(self, execution: Execution | None) -> Attributes:
        return self.book.task(execution.identity if execution else None)
