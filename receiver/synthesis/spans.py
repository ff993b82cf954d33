"""Processes, attempts and runs as spans. Each span is made once, at the end."""

from __future__ import annotations

from collections.abc import Iterable

from receiver import semconv as sc
from receiver.detect.findings import spec_of
from receiver.model import Finding, Identity
from receiver.signals import Importance, Span, SpanEvent, SpanKind, SpanLink, Value
from receiver.synthesis.ids import process_span_id, task_span_id
from receiver.synthesis.outcomes import run_result, scaled_cpu, task_error
from receiver.synthesis.resources import ResourceFactory, identity_items
from receiver.work.execution import Execution
from receiver.work.runs import Run
from receiver.work.tables import Facts
from receiver.work.worker import Worker

SHOWN_PATHS = 32


class Spans:
    """Builds spans from the facts and the executions."""

    def __init__(
        self, resources: ResourceFactory, facts: Facts, attributes: tuple[str, ...] = ()
    ) -> None:
        """`attributes`: the notes of recognisers that are exported, by their names."""
        self._facts = facts
        self._resources = resources
        self._attributes = attributes

    def process_span(self, process: Worker, now_ns: int = 0) -> Span:
        """For a process that has ended, or (without an exit) for one that is no longer watched."""
        assert process.execution is not None
        execution = process.execution
        process.spanned = True
        trace_id, span_id = self._resources.process_context(process)
        end = process.end
        ended = process.exit
        items = self._process_items(process)
        parent_id, remote, state = self._parent_of(process, trace_id)
        own = [f for f in execution.findings if f.process == process.key]
        return Span(
            resource=self._resources.resource_of(process),
            trace_id=trace_id,
            span_id=span_id,
            parent_id=parent_id,
            name=process.name,
            kind=SpanKind.INTERNAL,
            start_ns=self._resources.wall(process.key.start_boottime_ns),
            end_ns=self._resources.wall(
                ended.time_boottime_ns if ended else max(now_ns, process.key.start_boottime_ns)
            ),
            shared=(
                self._resources.task_attributes(execution),
                self._resources.process_attributes(process),
            ),
            attributes=self._resources.cut(items),
            events=self.span_events(own),
            error=end.error if end.failed else "",
            remote_parent=remote,
            trace_state=state,
            importance=Importance.NORMAL if end.failed or own else Importance.ROUTINE,
        )

    def _process_items(self, process: Worker) -> list[tuple[str, Value]]:
        """How it ended, and what it used."""
        ended = process.exit
        items: list[tuple[str, Value]] = []
        if ended is None:
            items += [(sc.PROCESS_EXIT_CAUSE, "unknown"), (sc.PIPELINE_OBSERVER_INCOMPLETE, True)]
        else:
            items += self._resources.exit_items(process, process.end)
            user, system = scaled_cpu(ended.user_cpu_ns, ended.system_cpu_ns, ended.cpu_runtime_ns)
            items += [
                (sc.PROCESS_USAGE_CPU_USER, user / 1e9),
                (sc.PROCESS_USAGE_CPU_SYSTEM, system / 1e9),
                (sc.PROCESS_USAGE_RUN_DELAY, ended.run_delay_ns / 1e9),
                (sc.PROCESS_USAGE_MEMORY_PEAK, ended.peak_rss_bytes),
                (sc.PROCESS_USAGE_DISK_READ, ended.read_bytes),
                (sc.PROCESS_USAGE_DISK_WRITE, ended.written_bytes),
                (sc.PROCESS_USAGE_IO_READ, ended.read_call_bytes),
                (sc.PROCESS_USAGE_IO_WRITE, ended.write_call_bytes),
            ]
        files = self._facts.files.of(process.key)
        totals = files.totals
        if totals is not None:
            written = sum(1 for use in files.uses.values() if use.written_bytes)
            items += [
                (sc.PROCESS_USAGE_FILES_OPENED, totals.opened_files),
                (sc.PROCESS_USAGE_FILES_WRITTEN, written),
            ]
        if process.partition:
            items.append((sc.PIPELINE_DATASET_PARTITION, process.partition))
        if notes := process.notes:
            items += [(a, notes[a]) for a in self._attributes if a in notes]
        if peers := self._facts.peers.of(process.key).peers:
            items.append((sc.PROCESS_USAGE_CONNECTIONS, sum(p.made for p in peers.values())))
        if collapsed := self._facts.children.of(process.key).collapsed:
            items.append((sc.PROCESS_CHILDREN_FOLDED, collapsed))
        return items

    def _parent_of(self, process: Worker, trace_id: bytes) -> tuple[bytes, bool, str]:
        """The nearest ancestor with a span in the same trace, else the application's span, else the
        task.
        """
        assert process.execution is not None
        at = process.parent
        for _ in range(64):
            if at is None or at.execution is not process.execution:
                break
            if at.context == process.context and (at.spanned or (at.execs and at.exit is None)):
                at.spanned = True
                return process_span_id(self._resources.host.boot_id, at.key), False, ""
            at = at.parent
        if (
            process.context is not None
            and process.context.trace_id == trace_id
            and process.context != process.execution.context
        ):
            return process.context.span_id, True, process.context.trace_state
        return process.execution.span_id, False, ""

    def span_events(self, findings: Iterable[Finding]) -> tuple[SpanEvent, ...]:
        return tuple(
            SpanEvent(
                self._resources.wall(f.time_boottime_ns), f.kind, self._resources.cut(f.facts)
            )
            for f in findings
            if spec_of(f.kind).key_fact
        )

    def task_span(self, execution: Execution) -> Span:
        identity = execution.identity
        error = task_error(execution)
        context = execution.context
        joined = context is not None and context.sampled
        return Span(
            resource=self._resources.resource_of_work(execution),
            trace_id=execution.trace_id,
            span_id=execution.span_id,
            parent_id=context.span_id if context is not None and joined else _parent_id(execution),
            name=work_name(identity),
            kind=SpanKind.INTERNAL,
            start_ns=self._resources.wall(execution.start_ns),
            end_ns=self._resources.wall(max(execution.end_ns, execution.start_ns)),
            shared=(self._resources.task_attributes(execution),),
            attributes=self._resources.cut(_task_items(execution, error)),
            events=self.span_events(execution.findings),
            links=tuple(_links(execution)),
            error=error,
            remote_parent=joined,
            trace_state=context.trace_state if context is not None and joined else "",
        )

    def run_span(self, run: Run) -> Span:
        result = run_result(run)
        items: list[tuple[str, Value]] = [
            *identity_items(run.identity),
            (sc.PIPELINE_RUN_RESULT, result),
        ]
        if run.incomplete:
            items.append((sc.PIPELINE_OBSERVER_INCOMPLETE, True))
        if result == "failure":
            items.append((sc.ERROR_TYPE, "task_failed"))
        return Span(
            resource=self._resources.resource(run.identity.system),
            trace_id=run.trace_id,
            span_id=run.span_id,
            parent_id=b"",
            name=f"run {run.identity.pipeline}",
            kind=SpanKind.SERVER,
            start_ns=self._resources.wall(run.start_ns),
            end_ns=self._resources.wall(max(run.end_ns, run.start_ns)),
            shared=(),
            attributes=self._resources.cut(items),
            error="task_failed" if result == "failure" else "",
        )


def work_name(identity: Identity) -> str:
    """The name of its span: `task load`, `model users`, `check users_suite`.

    An executor's own name identifies it.
    """
    if identity.type == "executor":
        return identity.task
    return f"{'task' if identity.type == 'command' else identity.type} {identity.task}"


def _parent_id(execution: Execution) -> bytes:
    """The work around it, in the same trace; else its run."""
    if execution.outer is not None and not execution.own_run:
        return execution.outer.span_id
    return execution.run.span_id if execution.run.announced else b""


def _task_items(execution: Execution, error: str) -> list[tuple[str, Value]]:
    items: list[tuple[str, Value]] = [(sc.PIPELINE_TASK_RUN_RESULT, execution.result)]
    if execution.incomplete:
        items.append((sc.PIPELINE_OBSERVER_INCOMPLETE, True))
    else:
        items.append((sc.PIPELINE_TASK_RUN_REPORTED_RESULT, execution.reported))
    if execution.end_is_bound:
        items.append((sc.PIPELINE_OBSERVER_END_UNSEEN, True))
    if execution.oom_killed:
        items.append((sc.PROCESS_OOM_KILLED, True))
    if execution.partial_write:
        items.append((sc.FILE_PARTIAL_WRITE, True))
    if execution.inputs:
        items.append((sc.PIPELINE_TASK_INPUTS, tuple(list(execution.inputs)[:SHOWN_PATHS])))
    if outputs := execution.outputs:
        items.append((sc.PIPELINE_TASK_OUTPUTS, tuple(v.path for v in outputs[:SHOWN_PATHS])))
    if error:
        items.append((sc.ERROR_TYPE, error))
    return items


def _links(execution: Execution) -> list[SpanLink]:
    """Other spans that it belongs to: what it read, its earlier attempt, the work around it."""
    identity = execution.identity
    links = [
        SpanLink(trace, span, ((sc.PIPELINE_LINK_TYPE, "reads_from"),))
        for trace, span in execution.reads_from
    ]
    if identity.attempt > 1:
        previous = task_span_id(identity, identity.attempt - 1)
        links.append(
            SpanLink(execution.previous_trace_id, previous, ((sc.PIPELINE_LINK_TYPE, "retry_of"),))
        )
    if execution.resumed:
        before = task_span_id(identity, identity.attempt, execution.resumed - 1)
        links.append(SpanLink(execution.trace_id, before, ((sc.PIPELINE_LINK_TYPE, "resumes"),)))
    if execution.outer is not None and execution.own_run:
        outer = execution.outer
        links.append(
            SpanLink(outer.trace_id, outer.span_id, ((sc.PIPELINE_LINK_TYPE, "inside_of"),))
        )
    if execution.rival is not None:
        links.append(SpanLink(*execution.rival, ((sc.PIPELINE_LINK_TYPE, "claims_to_be"),)))
    context = execution.context
    if context is not None and not context.sampled:
        links.append(
            SpanLink(context.trace_id, context.span_id, ((sc.PIPELINE_LINK_TYPE, "application"),))
        )
    return links
