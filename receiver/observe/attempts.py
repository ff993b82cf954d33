"""Runs and attempts: how they open, gain and lose processes, and close, and the signals of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from receiver import semconv as sc
from receiver.facts.ending import Ending
from receiver.model import CERTAIN, Identity
from receiver.observe.listeners import Listeners
from receiver.observe.members import Members
from receiver.signals import OtlpSignal
from receiver.synthesis.ids import inner_span_id, run_span_id, run_trace_id, task_span_id
from receiver.synthesis.logs import Logs
from receiver.synthesis.spans import Spans
from receiver.work.disputes import contested, is_disputed_by
from receiver.work.execution import Execution, StepEnd
from receiver.work.executions import Executions
from receiver.work.runs import Run
from receiver.work.worker import Worker


class Attempts:
    """Owns the open executions.

    `emit` takes their signals; `drops` counts events that came too late.
    """

    def __init__(
        self,
        executions: Executions,
        members: Members,
        *,
        spans: Spans,
        logs: Logs,
        emit: Callable[[OtlpSignal], None],
        listeners: Listeners,
        evaluate: Callable[[Execution, int], None],
        elsewhere: bool = False,
    ) -> None:
        """`evaluate` is called with each closed execution, after its span was emitted.

        `elsewhere`: the orchestrator is on another host, which exports the spans of runs and
        tasks, each once.
        """
        self.executions = executions
        self.members = members
        self.accounts = members.accounts
        self.book, self.labels = self.accounts.book, self.accounts.labels
        self._listeners, self._evaluate, self._elsewhere = listeners, evaluate, elsewhere
        self.drops: Counter[str] = Counter()
        self._spans, self._logs, self._emit = spans, logs, emit

    def rename(self, execution: Execution, identity: Identity) -> None:
        """More is known of it now. Its ids stay."""
        self.executions.displace(execution)
        self.accounts.active(execution, -1)
        execution.identity, execution.slot, execution.attributes = identity, identity.slot, None
        # other work has these names already, and keeps its place
        if execution.slot in self.executions.open:
            execution.slot = (identity.slot, execution.span_id)
        self.executions.place(execution)
        self.accounts.active(execution, 1)
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
        self.accounts.unbook(execution)
        execution.identity, execution.slot, execution.attributes = (
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
            process.begin_step(thread, execution)
        return execution

    def end_step(
        self, process: Worker, thread: int, at_ns: int, error: str = "", *, end: StepEnd = "bound"
    ) -> None:
        """`end`: it ended now; it had ended by now; so it had, and its result is not known."""
        execution = process.end_step(thread)
        if execution is not None and not execution.closed:
            execution.end_ns, execution.error, execution.root_failed = at_ns, error, bool(error)
            execution.incomplete, execution.end_is_bound = end == "unknown", end != "seen"
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
            over = execution.has_owner and not execution.owner_processes
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
        earlier = self.executions.last_ended(identity.slot) if execution is None else None
        if earlier is not None and not (holds and identity.portable and identity.source == "file"):
            execution = earlier
        if execution is None:
            execution = self.open(process, identity, start_ns, outer, earlier)
            if execution is None:
                return None
        elif execution.closed:
            # its span is already exported; the process still gets its own
            self.drops["late_process"] += 1
        self.members.rebind(process, execution)
        if holds and not execution.closed:
            execution.has_owner = True
            execution.owner_processes[process.key] = None
        return execution

    def enter_late(self, process: Worker, identity: Identity, start_ns: int, end: Ending) -> None:
        """A process that has ended is found to have done this work: the work began and ended with
        it.
        """
        execution = self.open(process, identity, start_ns, process.execution)
        if execution is not None and process.exit is not None:
            self.members.enter_late(process, execution)
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
        run = inside.run if inside is not None else self._run_of(identity, start_ns)
        execution = Execution(identity, run, b"", process, start_ns, outer=outer)
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
            for other in [e for e in self.executions.open.values() if is_disputed_by(e, identity)]:
                self.dispute(other, execution)
        self._set_out(execution, inside is None, start_ns)
        return execution

    def _run_of(self, identity: Identity, start_ns: int) -> Run:
        run = self.executions.runs.get(identity.run_key)
        return run or Run(identity, run_trace_id(identity), run_span_id(identity), start_ns)

    def _set_out(self, execution: Execution, own_trace: bool, start_ns: int) -> None:
        identity, run, context = execution.identity, execution.run, execution.context
        previous = self.executions.last_ended(
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
                self._logs.run_event(
                    sc.EVENT_PIPELINE_RUN_START, run, start_ns, self.members.read_at_ns
                )
            )
        self.executions.opened(execution)
        self.accounts.active(execution, 1)
        self._emit(
            self._logs.task_event(
                sc.EVENT_PIPELINE_TASK_START, execution, start_ns, self.members.read_at_ns
            )
        )
        self._listeners.execution_started(execution)

    def leave(
        self, process: Worker, execution: Execution, at_ns: int, end: Ending | None = None
    ) -> None:
        """The process has ended (`end`: how; None: its end was not seen)."""
        for each in self.members.left(process, execution, at_ns, end):
            if not each.closed and each.live == 0:
                self.close(each, at_ns)

    def close(self, execution: Execution, now_ns: int) -> None:
        if execution.closed:
            return
        for inner in list(execution.inside):
            if not inner.live:
                self.close(inner, now_ns)
        self.executions.close(execution)
        self.drops += Counter({"too_many_paths": execution.paths_dropped})  # zero adds nothing
        if execution.live and execution.has_owner:
            self.members.release(execution)
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
        self.accounts.closed(execution)
        self._emit(
            self._logs.task_event(sc.EVENT_PIPELINE_TASK_END, execution, execution.end_ns, now_ns)
        )
        self._emit(self._spans.task_span(execution))

    def close_run(self, run: Run, now_ns: int) -> None:
        if not self.executions.close_run(run) or not run.announced:
            return  # the application has spans of its own for it
        # its start is already exported: it gets an end, and counts in no sum
        if not run.identity.is_ambiguous:
            self.accounts.run_closed(run)
            self._emit(self._logs.run_event(sc.EVENT_PIPELINE_RUN_END, run, run.end_ns, now_ns))
        self._emit(self._spans.run_span(run))
