"""Findings, starts, heartbeats and ends as event records: the synthetic logs."""

from __future__ import annotations

from receiver import semconv as sc
from receiver.detect.deaths import last_partition
from receiver.facts.ending import Ending
from receiver.model import Finding
from receiver.signals import Attributes, Importance, LogRecord, Severity
from receiver.synthesis.observer_logs import ObserverLogs
from receiver.synthesis.outcomes import run_result, task_error
from receiver.synthesis.resources import identity_items
from receiver.work.execution import Execution
from receiver.work.runs import Run
from receiver.work.worker import Worker


class Logs(ObserverLogs):
    """Builds log records."""

    def finding(
        self, finding: Finding, process: Worker, observed_ns: int, incomplete: bool
    ) -> LogRecord:
        trace_id, span_id = self._resources.process_context(process)
        execution = process.execution
        severity = Severity(finding.severity)
        if finding.kind == sc.EVENT_PROCESS_OOM_KILLED and execution is None:
            severity = Severity.WARN  # a neighbour, not an observed task
        items: Attributes = finding.facts
        if partition := last_partition(process):
            items = (*items, (sc.PIPELINE_DATASET_PARTITION, partition))
        if finding.kind == sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH:
            items = (*items, *self._resources.exit_items(process, process.end))
        return self._event(
            finding.kind,
            severity,
            finding.sentence,
            at_ns=finding.time_boottime_ns,
            observed_ns=observed_ns,
            shared=(
                self._resources.task_attributes(execution)
                if execution
                else self._resources.unattributed,
                self._resources.process_attributes(process),
            ),
            items=items,
            trace_id=trace_id,
            span_id=span_id,
            event=finding.evidence[-1],
            origin=finding.origin,
            importance=Importance.FINDING,
            resource=self._resources.resource_of(process),
            incomplete=incomplete,
        )

    def exit_event(
        self, process: Worker, end: Ending, event: str, observed_ns: int, incomplete: bool
    ) -> LogRecord:
        assert process.exit is not None and process.execution is not None
        trace_id, span_id = self._resources.process_context(process)
        how = f"{process.name} ({process.key.tgid}) ended with {end.error or 'status 0'}."
        return self._event(
            sc.EVENT_PROCESS_EXIT,
            Severity.ERROR if end.failed else Severity.INFO,
            how,
            at_ns=process.exit.time_boottime_ns,
            observed_ns=observed_ns,
            shared=(
                self._resources.task_attributes(process.execution),
                self._resources.process_attributes(process),
            ),
            items=self._resources.exit_items(process, end),
            trace_id=trace_id,
            span_id=span_id,
            event=event,
            origin="kernel",
            importance=Importance.NORMAL if end.failed else Importance.ROUTINE,
            resource=self._resources.resource_of(process),
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
            shared=(self._resources.task_attributes(execution),),
            items=items,
            trace_id=execution.trace_id,
            span_id=execution.span_id,
            origin="kernel",
            importance=Importance.ROUTINE if verb == "heartbeat" else Importance.NORMAL,
            resource=self._resources.resource_of_work(execution),
        )

    def of_execution(
        self,
        name: str,
        severity: Severity,
        body: str,
        execution: Execution,
        *,
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
            shared=(self._resources.task_attributes(execution),),
            items=items,
            trace_id=execution.trace_id,
            span_id=execution.span_id,
            origin="inferred",
            importance=importance,
            resource=self._resources.resource_of_work(execution),
        )

    def reference(self, event: str) -> str:
        """The prefix of the log.record.uid of every record about that kernel event."""
        return f"{self._resources.host.session}-{event}"

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
            shared=(),
            items=items,
            trace_id=run.trace_id,
            span_id=run.span_id,
            origin="inferred",
            importance=Importance.NORMAL,
            resource=self._resources.resource(run.identity.system),
        )
