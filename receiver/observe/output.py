"""What the core emits about processes: findings, ends and spans."""

from __future__ import annotations

from collections import Counter

from receiver import semconv as sc
from receiver.events import Exit
from receiver.facts.ending import Ending
from receiver.investigate.incidents import Incidents
from receiver.model import CoreOptions, Finding, Host
from receiver.observe.missing import Missing
from receiver.signals import OtlpSignal
from receiver.synthesis.logs import Logs
from receiver.synthesis.resources import ResourceFactory
from receiver.synthesis.spans import Spans
from receiver.text.names import event_id
from receiver.work.tables import Facts
from receiver.work.worker import Worker


def resources_of(host: Host, options: CoreOptions) -> ResourceFactory:
    return ResourceFactory(
        host,
        include_argv=options.include_argv,
        resource_attributes=options.resource_attributes,
        service_name=options.service_name,
        value_length_limit=options.value_length_limit,
    )


class SignalBuffer:
    """Collects signals until `take`."""

    def __init__(self) -> None:
        self._found: list[OtlpSignal] = []

    def emit(self, signal: OtlpSignal) -> None:
        self._found.append(signal)

    def take(self) -> list[OtlpSignal]:
        found, self._found = self._found, []
        return found


class Output:
    """`read_at_ns`: when the present batch was read. `drops` counts what belongs to no work."""

    def __init__(
        self,
        signals: SignalBuffer,
        *,
        facts: Facts,
        spans: Spans,
        logs: Logs,
        incidents: Incidents,
        missing: Missing,
        drops: Counter[str],
    ) -> None:
        self.read_at_ns = 0
        self._emit = signals.emit
        self._facts, self._spans, self._logs = facts, spans, logs
        self._incidents, self._missing, self._drops = incidents, missing, drops

    def finding(self, process: Worker, finding: Finding) -> None:
        """A record, and a symptom for the investigation."""
        if process.execution is None and finding.kind != sc.EVENT_PROCESS_OOM_KILLED:
            # a followed orchestrator: its own failures belong to no work
            self._drops["unattributed"] += 1
            return
        self._facts.reported.add(process, finding.kind)
        if process.execution is not None:
            process.execution.add(finding)
            self._incidents.found(finding, process.execution)
        self._record(process, finding)

    def repeated(self, process: Worker, finding: Finding) -> None:
        """A record that counts repetitions of a finding: it adds nothing to an investigation."""
        if process.execution is None:
            self._drops["unattributed"] += 1
            return
        self._record(process, finding)

    def _record(self, process: Worker, finding: Finding) -> None:
        lossy = self._missing.is_lossy(process, self.read_at_ns)
        self._emit(self._logs.finding(finding, process, self.read_at_ns, lossy))

    def exit(self, process: Worker, end: Ending, event: Exit) -> None:
        lossy = self._missing.is_lossy(process, self.read_at_ns)
        self._emit(self._logs.exit_event(process, end, event_id(event), self.read_at_ns, lossy))

    def span(self, process: Worker, now_ns: int = 0) -> None:
        """`now_ns`: the process has not ended."""
        self._emit(self._spans.process_span(process, now_ns))
