"""Processes, executions, runs and findings as spans and log records."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from receiver import semconv as sc
from receiver.attribution.tree import Process
from receiver.detect.deaths import Ending, ending, signal_name
from receiver.model import Finding, Host, Identity
from receiver.signals import EMPTY, Attributes, Block, Importance, Link, LogRecord, Severity, Span, SpanEvent, SpanKind, Value
from receiver.synthesis.ids import process_span_id, task_span_id
from receiver.timeline.executions import Execution, Run

_CONTAINER = re.compile(r"(?:^|[/\-:])([0-9a-f]{64})(?:\.scope)?(?:/|$)")
_KEY_FACTS = {
    sc.EVENT_PROCESS_OOM_KILLED,
    sc.EVENT_PROCESS_KILLED,
    sc.EVENT_FILE_PARTIAL_WRITE,
    sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH,
}
_RESOURCES = 1024


class Records:
    """Builds signals. Holds the wall clock's offset, the resources, and nothing else that changes."""

    def __init__(
        self, host: Host, *, include_argv: bool, resource_attributes: Attributes, service_name: str, value_length_limit: int = 0
    ) -> None:
        self.host = host
        self.wall_offset_ns = 0
        self.include_argv = include_argv
        self._service_name = service_name
        self._limit = value_length_limit
        self._resource_attributes = resource_attributes
        self._resources: dict[str, Block] = {}
        self._unattributed = Block(
            ((sc.PIPELINE_SYSTEM_NAME, "unknown"), (sc.PIPELINE_MAPPING_SOURCE, "none"), (sc.PIPELINE_MAPPING_CONFIDENCE, 0.0))
        )
        self._made = 0
        self._second = (-1, "")  # the last second that was formatted

    def wall(self, boottime_ns: int) -> int:
        return boottime_ns + self.wall_offset_ns

    def iso(self, boottime_ns: int) -> str:
        """ISO 8601 UTC with microseconds, as process.creation.time wants it."""
        seconds, nanos = divmod(self.wall(boottime_ns), 1_000_000_000)
        if seconds != self._second[0]:
            self._second = (seconds, datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
        return f"{self._second[1]}.{nanos // 1000:06}Z"

    def resource(self, system: str) -> Block:
        """The observed workload, not us: service.name is the pipeline system unless the user named one."""
        block = self._resources.get(system)
        if block is None:
            if len(self._resources) >= _RESOURCES:
                return self._resources[next(iter(self._resources))]
            base: dict[str, Value] = {
                sc.SERVICE_NAME: self._service_name or system,
                sc.HOST_NAME: self.host.name,
                sc.OS_TYPE: "linux",
                sc.SERVICE_INSTANCE_ID: self.host.name,
            }
            base |= dict(self._resource_attributes)
            block = self._resources[system] = Block(tuple(base.items()))
        return block

    def task_block(self, execution: Execution) -> Block:
        if isinstance(execution.block, Block):
            return execution.block
        identity = execution.identity
        items: list[tuple[str, Value]] = [
            *_identity_items(identity),
            (sc.PIPELINE_TASK_NAME, identity.task),
            (sc.PIPELINE_TASK_TYPE, identity.type),
        ]
        items += [(sc.PIPELINE_TASK_ATTEMPT, identity.attempt), (sc.PIPELINE_MAPPING_SOURCE, identity.source)]
        if identity.map_index >= 0:
            items.append((sc.PIPELINE_TASK_MAP_INDEX, identity.map_index))
        items.append((sc.PIPELINE_MAPPING_CONFIDENCE, identity.confidence))
        execution.block = Block(self._cut(items))
        return execution.block

    def process_block(self, process: Process) -> Block:
        """What is true of the process for as long as its image stays."""
        if isinstance(process.block, Block):
            return process.block
        items: list[tuple[str, Value]] = [
            (sc.PROCESS_PID, process.key.tgid),
            (sc.PROCESS_EXECUTABLE_NAME, process.name),
            (sc.PROCESS_CREATION_TIME, self.iso(process.key.start_boottime_ns)),
            (sc.PROCESS_USER_ID, process.uid),
        ]
        if process.executable:
            items.append((sc.PROCESS_EXECUTABLE_PATH, process.executable))
        if process.parent is not None:
            items.append((sc.PROCESS_PARENT_PID, process.parent.key.tgid))
        if process.vpid and process.vpid != process.key.tgid:
            items.append((sc.PROCESS_VPID, process.vpid))
        if process.memory_cgroup:
            items.append((sc.PROCESS_LINUX_CGROUP, process.memory_cgroup))
            if found := _CONTAINER.search(process.memory_cgroup):
                items.append((sc.CONTAINER_ID, found[1]))
        if process.argc:
            items.append((sc.PROCESS_ARGS_COUNT, process.argc))
        if process.title:
            items.append((sc.PROCESS_TITLE, process.title))
        if self.include_argv:
            items += [(sc.PROCESS_COMMAND_ARGS, process.argv), (sc.PROCESS_WORKING_DIRECTORY, process.working_directory)]
        process.block = Block(self._cut(items))
        return process.block

    def exit_items(self, process: Process, end: Ending) -> Attributes:
        items: list[tuple[str, Value]] = [(sc.PROCESS_EXIT_CODE, end.code), (sc.PROCESS_EXIT_CAUSE, end.cause)]
        if process.exit is not None:
            items.append((sc.PROCESS_EXIT_TIME, self.iso(process.exit.time_boottime_ns)))
        if end.signal:
            items += [(sc.PROCESS_SIGNAL_NUMBER, end.signal), (sc.PROCESS_SIGNAL_NAME, signal_name(end.signal))]
        if end.core_dumped:
            items.append((sc.PROCESS_CORE_DUMPED, True))
        if end.cause == "oom_killed":
            items.append((sc.PROCESS_OOM_KILLED, True))
        if end.failed:
            items.append((sc.ERROR_TYPE, end.error))
        return tuple(items)

    def _cut(self, items: Iterable[tuple[str, Value]]) -> Attributes:
        """OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT, where one is set."""
        limit = self._limit
        if not limit:
            return tuple(items)
        return tuple(
            (k, v[:limit] if isinstance(v, str) else tuple(s[:limit] for s in v) if isinstance(v, tuple) else v) for k, v in items
        )

    def process_context(self, process: Process) -> tuple[bytes, bytes]:
        """Trace id and span id of the process's span."""
        span_id = process_span_id(self.host.boot_id, process.key)
        execution = process.execution
        if execution is None:
            return b"", b""
        if process.context is not None and process.context.sampled and process.context != execution.context:
            return process.context.trace_id, span_id
        return execution.trace_id, span_id

    def process_span(self, process: Process, folded: int, now_ns: int = 0) -> Span:
        """Of a process that has ended, or (without an exit) of one that we stop watching."""
        assert process.execution is not None
        execution = process.execution
        trace_id, span_id = self.process_context(process)
        end = ending(process)
        ended = process.exit
        items: list[tuple[str, Value]] = []
        if ended is None:
            items += [(sc.PROCESS_EXIT_CAUSE, "unknown"), (sc.PIPELINE_OBSERVER_INCOMPLETE, True)]
        else:
            items += self.exit_items(process, end)
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
        if folded:
            items.append((sc.PROCESS_CHILDREN_FOLDED, folded))
        parent_id, remote, state = self._parent_of(process, trace_id)
        own = [f for f in execution.findings if f.process == process.key]
        return Span(
            self.resource(execution.identity.system),
            trace_id,
            span_id,
            parent_id,
            process.name,
            SpanKind.INTERNAL,
            self.wall(process.key.start_boottime_ns),
            self.wall(ended.time_boottime_ns if ended else max(now_ns, process.key.start_boottime_ns)),
            (self.task_block(execution), self.process_block(process)),
            self._cut(items),
            events=self.span_events(own),
            error=end.error if end.failed else "",
            remote_parent=remote,
            trace_state=state,
            importance=Importance.NORMAL if end.failed or own else Importance.ROUTINE,
        )

    def _parent_of(self, process: Process, trace_id: bytes) -> tuple[bytes, bool, str]:
        """The nearest ancestor with a span in the same trace, else the application's span, else the task."""
        assert process.execution is not None
        at = process.parent
        for _ in range(64):
            if at is None or at.execution is not process.execution:
                break
            if at.context == process.context and (at.spanned or (at.execs and at.exit is None)):
                at.spanned = True
                return process_span_id(self.host.boot_id, at.key), False, ""
            at = at.parent
        if process.context is not None and process.context.trace_id == trace_id and process.context != process.execution.context:
            return process.context.span_id, True, process.context.trace_state
        return process.execution.span_id, False, ""

    def span_events(self, findings: Iterable[Finding]) -> tuple[SpanEvent, ...]:
        return tuple(SpanEvent(self.wall(f.time_boottime_ns), f.kind, self._cut(f.facts)) for f in findings if f.kind in _KEY_FACTS)

    def task_span(self, execution: Execution) -> Span:
        identity = execution.identity
        items: list[tuple[str, Value]] = [(sc.PIPELINE_TASK_RUN_RESULT, execution.result)]
        if execution.incomplete:
            items.append((sc.PIPELINE_OBSERVER_INCOMPLETE, True))
        else:
            items.append((sc.PIPELINE_TASK_RUN_REPORTED_RESULT, execution.reported))
        if execution.oom_killed:
            items.append((sc.PROCESS_OOM_KILLED, True))
        if execution.partial_write:
            items.append((sc.FILE_PARTIAL_WRITE, True))
        error = task_error(execution)
        if error:
            items.append((sc.ERROR_TYPE, error))
        links = []
        if identity.attempt > 1:
            previous = task_span_id(identity, identity.attempt - 1)
            links.append(Link(execution.previous_trace_id, previous, ((sc.PIPELINE_LINK_TYPE, "retry_of"),)))
        context = execution.context
        joined = context is not None and context.sampled
        if context is not None and not joined:
            links.append(Link(context.trace_id, context.span_id, ((sc.PIPELINE_LINK_TYPE, "application"),)))
        return Span(
            self.resource(identity.system),
            execution.trace_id,
            execution.span_id,
            context.span_id if context is not None and joined else execution.run.span_id,
            f"task {identity.task}",
            SpanKind.INTERNAL,
            self.wall(execution.start_ns),
            self.wall(max(execution.end_ns, execution.start_ns)),
            (self.task_block(execution),),
            self._cut(items),
            events=self.span_events(execution.findings),
            links=tuple(links),
            error=error,
            remote_parent=joined,
            trace_state=context.trace_state if context is not None and joined else "",
        )

    def run_span(self, run: Run) -> Span:
        result = run_result(run)
        items: list[tuple[str, Value]] = [*_identity_items(run.identity), (sc.PIPELINE_RUN_RESULT, result)]
        if run.incomplete:
            items.append((sc.PIPELINE_OBSERVER_INCOMPLETE, True))
        if result == "failure":
            items.append((sc.ERROR_TYPE, "task_failed"))
        return Span(
            self.resource(run.identity.system),
            run.trace_id,
            run.span_id,
            b"",
            f"run {run.identity.pipeline}",
            SpanKind.SERVER,
            self.wall(run.start_ns),
            self.wall(max(run.end_ns, run.start_ns)),
            (),
            self._cut(items),
            error="task_failed" if result == "failure" else "",
        )

    def finding(self, finding: Finding, process: Process, observed_ns: int, incomplete: bool) -> LogRecord:
        trace_id, span_id = self.process_context(process)
        execution = process.execution
        severity = Severity(finding.severity)
        if finding.kind == sc.EVENT_PROCESS_OOM_KILLED and execution is None:
            severity = Severity.WARN  # a neighbour, not a task of ours
        items: Attributes = finding.facts
        if finding.kind == sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH:
            items = (*items, *self.exit_items(process, ending(process)))
        return self._event(
            finding.kind, severity, finding.sentence, finding.time_boottime_ns, observed_ns,
            (self.task_block(execution) if execution else self._unattributed, self.process_block(process)),
            items, trace_id, span_id, finding.evidence[-1], finding.origin, Importance.FINDING,
            self.resource(execution.identity.system if execution else "unknown"), incomplete,
        )  # fmt: skip

    def exit_event(self, process: Process, end: Ending, event: str, observed_ns: int, incomplete: bool) -> LogRecord:
        assert process.exit is not None and process.execution is not None
        trace_id, span_id = self.process_context(process)
        how = f"{process.name} ({process.key.tgid}) ended with {end.error or 'status 0'}."
        return self._event(
            sc.EVENT_PROCESS_EXIT, Severity.ERROR if end.failed else Severity.INFO, how, process.exit.time_boottime_ns, observed_ns,
            (self.task_block(process.execution), self.process_block(process)), self.exit_items(process, end), trace_id, span_id,
            event, "kernel", Importance.NORMAL if end.failed else Importance.ROUTINE,
            self.resource(process.execution.identity.system), incomplete,
        )  # fmt: skip

    def task_event(self, name: str, execution: Execution, at_ns: int, observed_ns: int) -> LogRecord:
        """pipeline.task.start, .heartbeat, .end: with the ids that the span will have."""
        verb = name.rpartition(".")[2]
        items: Attributes = ()
        severity = Severity.DEBUG if verb == "heartbeat" else Severity.INFO
        who = f"Task {execution.identity.task} ({execution.identity.system}), attempt {execution.identity.attempt}"
        sentence = f"{who}: {verb}."
        if verb == "end":
            items = ((sc.PIPELINE_TASK_RUN_RESULT, execution.result),)
            if not execution.incomplete:
                items = (*items, (sc.PIPELINE_TASK_RUN_REPORTED_RESULT, execution.reported))
            if error := task_error(execution):
                items = (*items, (sc.ERROR_TYPE, error))
                severity = Severity.ERROR
            sentence = f"{who}, ended: {execution.result}."
        return self._event(
            name, severity, sentence, at_ns, observed_ns, (self.task_block(execution),), items,
            execution.trace_id, execution.span_id, "", "kernel",
            Importance.ROUTINE if verb == "heartbeat" else Importance.NORMAL, self.resource(execution.identity.system), False,
        )  # fmt: skip

    def run_event(self, name: str, run: Run, at_ns: int, observed_ns: int) -> LogRecord:
        verb = name.rpartition(".")[2]
        items = _identity_items(run.identity)
        severity = Severity.INFO
        sentence = f"Run {run.identity.run_id} of {run.identity.pipeline} ({run.identity.system}): {verb}."
        if verb == "end":
            result = run_result(run)
            items = (*items, (sc.PIPELINE_RUN_RESULT, result))
            if result == "failure":
                severity = Severity.ERROR
                items = (*items, (sc.ERROR_TYPE, "task_failed"))
            sentence = f"Run {run.identity.run_id} of {run.identity.pipeline} ({run.identity.system}) ended: {result}."
        return self._event(
            name, severity, sentence, at_ns, observed_ns, (), items, run.trace_id, run.span_id, "", "inferred", Importance.NORMAL,
            self.resource(run.identity.system), False,
        )  # fmt: skip

    def lost_event(self, kind: str, reason: str, count: int, at_ns: int) -> LogRecord:
        sentence = f"{count} {kind} events were lost before they could be read ({reason})."
        items: Attributes = (
            (sc.PIPELINE_OBSERVER_EVENTS_LOST, count),
            (sc.PIPELINE_OBSERVER_EVENT_KIND, kind),
            (sc.PIPELINE_OBSERVER_LOSS_REASON, reason),
        )
        return self._event(
            sc.EVENT_PIPELINE_OBSERVER_EVENTS_LOST, Severity.WARN, sentence, at_ns, at_ns, (EMPTY,), items, b"", b"",
            "", "kernel", Importance.FINDING, self.resource("unknown"), False,
        )  # fmt: skip

    def _event(
        self, name: str, severity: Severity, body: str, at_ns: int, observed_ns: int, blocks: tuple[Block, ...], items: Attributes,
        trace_id: bytes, span_id: bytes, event: str, origin: str, importance: Importance, resource: Block, incomplete: bool,
    ) -> LogRecord:  # fmt: skip
        self._made += 1
        extra: list[tuple[str, Value]] = [
            (sc.EVENT_NAME, name),
            (sc.LOG_RECORD_UID, f"{self.host.session}-{event or 't'}-{self._made}"),
            (sc.PIPELINE_LOG_ORIGIN, origin),
        ]
        if incomplete:
            extra.append((sc.PIPELINE_OBSERVER_INCOMPLETE, True))
        return LogRecord(
            resource, self.wall(at_ns), self.wall(observed_ns), severity, name, body, trace_id, span_id if trace_id else b"",
            blocks, self._cut((*items, *extra)), importance,
        )  # fmt: skip


def _identity_items(identity: Identity) -> Attributes:
    return (
        (sc.PIPELINE_SYSTEM_NAME, identity.system),
        (sc.PIPELINE_NAME, identity.pipeline),
        (sc.PIPELINE_RUN_ID, identity.run_id),
    )


def task_error(execution: Execution) -> str:
    """error.type of an attempt: its root's, or masked_failure when the root said success."""
    if execution.incomplete or execution.result == "success":
        return ""
    return execution.error if execution.root_failed else "masked_failure"


def run_result(run: Run) -> str:
    if run.incomplete:
        return "unknown"
    return "failure" if any(run.failed.values()) else "success"


def scaled_cpu(user_ns: int, system_ns: int, runtime_ns: int) -> tuple[int, int]:
    """Exact run time, shared out as the ticks fell: what getrusage(2) reports (kernel/sched/cputime.c, cputime_adjust)."""
    if system_ns == 0:
        return runtime_ns, 0
    if user_ns == 0:
        return 0, runtime_ns
    system = runtime_ns * system_ns // (user_ns + system_ns)
    return runtime_ns - system, system
