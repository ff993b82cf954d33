"""Findings, starts, heartbeats and ends as event records: the synthetic logs."""

from __future__ import annotations

from receiver import semconv as sc
from receiver.detect.deaths import partition_of
from receiver.facts.ending import Ending
from receiver.model import Blind, Finding, Gap
from receiver.signals import EMPTY, Attributes, Block, Importance, LogRecord, Severity, Value
from receiver.synthesis.blocks import Blocks, identity_items
from receiver.synthesis.outcomes import run_result, task_error
from receiver.text.printable import printable
from receiver.work.execution import Execution
from receiver.work.runs import Run
from receiver.work.worker import Worker

_GAPS = {
    "stopped": "the service was stopped",
    "killed": "the service ended without a shutdown (SIGKILL or a crash)",
    "host_restarted": "the host restarted",
}


class Logs:
    """Builds log records.

    Every record has a uid; `series` keeps the uids of two builders of one host apart.
    """

    def __init__(self, blocks: Blocks, series: str = "t") -> None:
        self._blocks = blocks
        self._series = series
        self._made = 0

    def finding(
        self, finding: Finding, process: Worker, observed_ns: int, incomplete: bool
    ) -> LogRecord:
        trace_id, span_id = self._blocks.process_context(process)
        execution = process.execution
        severity = Severity(finding.severity)
        if finding.kind == sc.EVENT_PROCESS_OOM_KILLED and execution is None:
            severity = Severity.WARN  # a neighbour, not an observed task
        items: Attributes = finding.facts
        if partition := partition_of(process):
            items = (*items, (sc.PIPELINE_DATASET_PARTITION, partition))
        if finding.kind == sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH:
            items = (*items, *self._blocks.exit_items(process, process.end))
        return self._event(
            finding.kind,
            severity,
            finding.sentence,
            at_ns=finding.time_boottime_ns,
            observed_ns=observed_ns,
            blocks=(
                self._blocks.task_block(execution) if execution else self._blocks.unattributed,
                self._blocks.process_block(process),
            ),
            items=items,
            trace_id=trace_id,
            span_id=span_id,
            event=finding.evidence[-1],
            origin=finding.origin,
            importance=Importance.FINDING,
            resource=self._blocks.resource_of(process),
            incomplete=incomplete,
        )

    def exit_event(
        self, process: Worker, end: Ending, event: str, observed_ns: int, incomplete: bool
    ) -> LogRecord:
        assert process.exit is not None and process.execution is not None
        trace_id, span_id = self._blocks.process_context(process)
        how = f"{process.name} ({process.key.tgid}) ended with {end.error or 'status 0'}."
        return self._event(
            sc.EVENT_PROCESS_EXIT,
            Severity.ERROR if end.failed else Severity.INFO,
            how,
            at_ns=process.exit.time_boottime_ns,
            observed_ns=observed_ns,
            blocks=(
                self._blocks.task_block(process.execution),
                self._blocks.process_block(process),
            ),
            items=self._blocks.exit_items(process, end),
            trace_id=trace_id,
            span_id=span_id,
            event=event,
            origin="kernel",
            importance=Importance.NORMAL if end.failed else Importance.ROUTINE,
            resource=self._blocks.resource_of(process),
            incomplete=incomplete,
        )

    def task_event(
        self, name: str, execution: Execution, at_ns: int, observed_ns: int
    ) -> LogRecord:
        """pipeline.task.start, .heartbeat, .end, with the ids that the span gets later."""
        verb = name.rpartition(".")[2]
        items: Attributes = ()
        severity = Severity.DEBUG if verb == "heartbeat" else Severity.INFO
        identity = execution.identity
        attempt = f", attempt {identity.attempt}" if identity.type in ("task", "command") else ""
        who = (
            f"{identity.type.capitalize() if attempt == '' else 'Task'} {identity.task} "
            f"({identity.system}){attempt}"
        )
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
            name,
            severity,
            sentence,
            at_ns=at_ns,
            observed_ns=observed_ns,
            blocks=(self._blocks.task_block(execution),),
            items=items,
            trace_id=execution.trace_id,
            span_id=execution.span_id,
            origin="kernel",
            importance=Importance.ROUTINE if verb == "heartbeat" else Importance.NORMAL,
            resource=self._blocks.resource_of_work(execution),
        )

    def of_execution(
        self,
        name: str,
        severity: Severity,
        body: str,
        execution: Execution,
        items: Attributes,
        at_ns: int,
        importance: Importance,
    ) -> LogRecord:
        """A statement about an attempt as a whole, in its trace."""
        return self._event(
            name,
            severity,
            body,
            at_ns=at_ns,
            observed_ns=at_ns,
            blocks=(self._blocks.task_block(execution),),
            items=items,
            trace_id=execution.trace_id,
            span_id=execution.span_id,
            origin="inferred",
            importance=importance,
            resource=self._blocks.resource_of_work(execution),
        )

    def reference(self, event: str) -> str:
        """The prefix of the log.record.uid of every record about that kernel event."""
        return f"{self._blocks.host.session}-{event}"

    def run_event(self, name: str, run: Run, at_ns: int, observed_ns: int) -> LogRecord:
        verb = name.rpartition(".")[2]
        items = identity_items(run.identity)
        severity = Severity.INFO
        sentence = (
            f"Run {run.identity.run_id} of {run.identity.pipeline} ({run.identity.system}): {verb}."
        )
        if verb == "end":
            result = run_result(run)
            items = (*items, (sc.PIPELINE_RUN_RESULT, result))
            if result == "failure":
                severity = Severity.ERROR
                items = (*items, (sc.ERROR_TYPE, "task_failed"))
            sentence = (
                f"Run {run.identity.run_id} of {run.identity.pipeline} ({run.identity.system}) "
                f"ended: {result}."
            )
        return self._event(
            name,
            severity,
            sentence,
            at_ns=at_ns,
            observed_ns=observed_ns,
            blocks=(),
            items=items,
            trace_id=run.trace_id,
            span_id=run.span_id,
            origin="inferred",
            importance=Importance.NORMAL,
            resource=self._blocks.resource(run.identity.system),
        )

    def lost_event(self, kind: str, reason: str, count: int, at_ns: int) -> LogRecord:
        sentence = f"{count} {kind} events were lost before they could be read ({reason})."
        return self._lost(sentence, kind, reason, count, at_ns)

    def unsent_event(self, kind: str, reason: str, count: int, at_ns: int) -> LogRecord:
        """`count` is the last known count; it misses the items that a killed service queued after
        that.
        """
        sentence = (
            f"{count} items ({kind}) in the export queue of the previous service were lost "
            f"({reason})."
        )
        return self._lost(sentence, kind, reason, count, at_ns)

    def gap_event(self, gap: Gap, at_ns: int) -> LogRecord:
        sentence = (
            f"Nothing was observed for {gap.seconds:.1f} s before this start: {_GAPS[gap.reason]}."
        )
        items: Attributes = (
            (sc.PIPELINE_OBSERVER_GAP_DURATION, gap.seconds),
            (sc.PIPELINE_OBSERVER_LOSS_REASON, gap.reason),
        )
        return self._event(
            sc.EVENT_PIPELINE_OBSERVER_GAP,
            Severity.WARN,
            sentence,
            at_ns=at_ns,
            observed_ns=at_ns,
            blocks=(EMPTY,),
            items=items,
            origin="inferred",
            importance=Importance.FINDING,
            resource=self._blocks.resource("unknown"),
        )

    def _lost(self, sentence: str, kind: str, reason: str, count: int, at_ns: int) -> LogRecord:
        items: Attributes = (
            (sc.PIPELINE_OBSERVER_EVENTS_LOST, count),
            (sc.PIPELINE_OBSERVER_EVENT_KIND, kind),
            (sc.PIPELINE_OBSERVER_LOSS_REASON, reason),
        )
        return self._event(
            sc.EVENT_PIPELINE_OBSERVER_EVENTS_LOST,
            Severity.WARN,
            sentence,
            at_ns=at_ns,
            observed_ns=at_ns,
            blocks=(EMPTY,),
            items=items,
            origin="kernel",
            importance=Importance.FINDING,
            resource=self._blocks.resource("unknown"),
        )

    def lost_items(self, what: str, reason: str, count: int, at_ns: int) -> LogRecord:
        """Spans, log records or metrics that could not be delivered.

        `what` is the singular, with underscores.
        """
        items_of = what.replace("_", " ") + ("" if count == 1 else "s")
        sentence = f"{count} {items_of} could not be delivered and will not come ({reason})."
        items: Attributes = (
            (sc.PIPELINE_OBSERVER_EVENTS_LOST, count),
            (sc.PIPELINE_OBSERVER_EVENT_KIND, what),
            (sc.PIPELINE_OBSERVER_LOSS_REASON, reason),
        )
        return self._event(
            sc.EVENT_PIPELINE_OBSERVER_EVENTS_LOST,
            Severity.WARN,
            sentence,
            at_ns=at_ns,
            observed_ns=at_ns,
            blocks=(EMPTY,),
            items=items,
            origin="inferred",
            importance=Importance.FINDING,
            resource=self._blocks.resource("unknown"),
        )

    def blind_event(self, blind: Blind, at_ns: int) -> LogRecord:
        seconds = max(0, blind.until_ns - blind.began_ns) / 1e9 if blind.until_ns else 0.0
        how = (
            f"were not observed for {seconds:.3f} s"
            if blind.until_ns
            else "are not observed any more"
        )
        items: Attributes = (
            (sc.PIPELINE_OBSERVER_BLIND_REASON, blind.reason),
            (sc.PIPELINE_OBSERVER_BLIND_DURATION, seconds),
        )
        return self._event(
            sc.EVENT_PIPELINE_OBSERVER_BLIND,
            Severity.WARN,
            f"System calls {how}: {printable(blind.why)}.",
            at_ns=at_ns,
            observed_ns=at_ns,
            blocks=(EMPTY,),
            items=items,
            origin="kernel",
            importance=Importance.FINDING,
            resource=self._blocks.resource("unknown"),
        )

    def _event(
        self,
        name: str,
        severity: Severity,
        body: str,
        *,
        at_ns: int,
        observed_ns: int,
        blocks: tuple[Block, ...],
        items: Attributes,
        origin: str,
        importance: Importance,
        resource: Block,
        trace_id: bytes = b"",
        span_id: bytes = b"",
        event: str = "",
        incomplete: bool = False,
    ) -> LogRecord:
        self._made += 1
        extra: list[tuple[str, Value]] = [
            (sc.EVENT_NAME, name),
            (
                sc.LOG_RECORD_UID,
                f"{self._blocks.host.session}-{event or self._series}-{self._made}",
            ),
            (sc.PIPELINE_LOG_ORIGIN, origin),
        ]
        if incomplete:
            extra.append((sc.PIPELINE_OBSERVER_INCOMPLETE, True))
        return LogRecord(
            resource=resource,
            time_ns=self._blocks.wall(at_ns),
            observed_ns=self._blocks.wall(observed_ns),
            severity=severity,
            event_name=name,
            body=printable(body),
            trace_id=trace_id,
            span_id=span_id if trace_id else b"",
            blocks=blocks,
            attributes=self._blocks.cut((*items, *extra)),
            importance=importance,
        )
