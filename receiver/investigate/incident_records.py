"""The log records of an incident: opened, its hypotheses with their evidence, and resolved."""

from __future__ import annotations

from collections.abc import Callable

from receiver import semconv as sc
from receiver.investigate.evidence import Culprit
from receiver.investigate.report import Hypothesis, Report
from receiver.signals import Attributes, Importance, LogRecord, OtlpSignal, Severity
from receiver.synthesis.logs import Logs
from receiver.text.printable import printable
from receiver.work.execution import Execution

_EVIDENCE = 8  # evidence records for the first hypothesis


class IncidentRecords:
    """Emits the records. Their fields: conventions, section 8."""

    def __init__(self, logs: Logs, emit: Callable[[OtlpSignal], None]) -> None:
        self._logs, self._emit = logs, emit

    def opened(self, execution: Execution, report: Report, incident_id: str, now_ns: int) -> None:
        lead = _lead(report)
        self._emit_record(
            sc.EVENT_PIPELINE_INCIDENT_OPENED,
            Severity.ERROR,
            body=_body(report, lead),
            execution=execution,
            items=_items(report, lead, incident_id, full=True),
            now_ns=now_ns,
        )

    def resolved(self, execution: Execution, report: Report, incident_id: str, now_ns: int) -> None:
        self._emit_record(
            sc.EVENT_PIPELINE_INCIDENT_RESOLVED,
            Severity.INFO,
            body=_sentence(printable(report.summary)),
            execution=execution,
            items=_items(report, _lead(report), incident_id, full=False),
            now_ns=now_ns,
        )

    def hypotheses(
        self, execution: Execution, report: Report, incident_id: str, now_ns: int
    ) -> None:
        for hypothesis in report.hypotheses:
            verdict = "likely" if hypothesis.rank == 1 else "possible"
            items: Attributes = (
                (sc.PIPELINE_INCIDENT_ID, incident_id),
                (sc.PIPELINE_HYPOTHESIS_NAME, hypothesis.cause),
                (sc.PIPELINE_HYPOTHESIS_VERDICT, verdict),
                (sc.PIPELINE_HYPOTHESIS_SCORE, hypothesis.score),
                (sc.PIPELINE_HYPOTHESIS_CONFIDENCE, hypothesis.confidence),
                (sc.PIPELINE_HYPOTHESIS_RANK, hypothesis.rank),
                (sc.PIPELINE_HYPOTHESIS_CULPRIT, culprit_name(hypothesis.culprit)),
            )
            self._emit_record(
                sc.EVENT_PIPELINE_INCIDENT_HYPOTHESIS,
                Severity.INFO,
                body=_sentence(hypothesis.summary),
                execution=execution,
                items=items,
                now_ns=now_ns,
            )
        lead = report.hypotheses[0] if report.hypotheses else None
        for rival in lead.ruled_out if lead is not None else ():
            items = (
                (sc.PIPELINE_INCIDENT_ID, incident_id),
                (sc.PIPELINE_HYPOTHESIS_NAME, rival.cause),
                (sc.PIPELINE_HYPOTHESIS_VERDICT, "ruled_out"),
            )
            self._emit_record(
                sc.EVENT_PIPELINE_INCIDENT_HYPOTHESIS,
                Severity.INFO,
                body=_sentence(rival.because),
                execution=execution,
                items=items,
                now_ns=now_ns,
            )
        self._emit_evidence(execution, report, lead, incident_id, now_ns)

    def _emit_evidence(
        self,
        execution: Execution,
        report: Report,
        lead: Hypothesis | None,
        incident_id: str,
        now_ns: int,
    ) -> None:
        emitted = 0
        for line in lead.weighed if lead is not None else ():
            for ref in line.refs[:1]:
                if emitted >= _EVIDENCE:
                    return
                emitted += 1
                items: Attributes = (
                    (sc.PIPELINE_INCIDENT_ID, incident_id),
                    (sc.PIPELINE_HYPOTHESIS_NAME, lead.cause if lead is not None else ""),
                    (sc.PIPELINE_EVIDENCE_ROLE, line.role),
                    (sc.PIPELINE_EVIDENCE_KIND, str(report.events[ref]["kind"])),
                    (sc.PIPELINE_EVIDENCE_REF, self._logs.reference(ref)),
                    (sc.PIPELINE_EVIDENCE_WEIGHT, line.weight),
                )
                self._emit_record(
                    sc.EVENT_PIPELINE_INCIDENT_EVIDENCE,
                    Severity.INFO,
                    body=_sentence(line.text),
                    execution=execution,
                    items=items,
                    now_ns=now_ns,
                )

    def _emit_record(
        self,
        name: str,
        severity: Severity,
        *,
        body: str,
        execution: Execution,
        items: Attributes,
        now_ns: int,
    ) -> None:
        record: LogRecord = self._logs.of_execution(
            name,
            severity,
            body,
            execution,
            items=items,
            at_ns=now_ns,
            importance=Importance.FINDING,
        )
        self._emit(record)


def _lead(report: Report) -> Hypothesis | None:
    return report.hypotheses[0] if report.verdict == "incident" else None


def _sentence(text: str) -> str:
    return text if text.endswith(".") else text + "."


def culprit_name(culprit: Culprit) -> str:
    """Describes the culprit in one short phrase."""
    name = f"{culprit.name} ({culprit.pid})" if culprit.pid else culprit.name
    return (
        f"{culprit.type} "
        f"{culprit.path or culprit.address or culprit.cgroup or name or culprit.task}"
    ).rstrip()


def _items(report: Report, lead: Hypothesis | None, incident_id: str, *, full: bool) -> Attributes:
    items: Attributes = (
        (sc.PIPELINE_INCIDENT_ID, incident_id),
        (sc.PIPELINE_INCIDENT_VERDICT, report.verdict),
    )
    if lead is not None:
        items = (
            *items,
            (sc.PIPELINE_INCIDENT_CAUSE, lead.cause),
            (sc.PIPELINE_INCIDENT_SIGNATURE, report.signature),
        )
        if full:
            items = (*items, (sc.PIPELINE_INCIDENT_RECOMMENDATION, lead.fix.text))
        if full and report.seen_before:
            items = (*items, (sc.PIPELINE_INCIDENT_RECURRENCE_COUNT, report.seen_before))
    return items


def _body(report: Report, lead: Hypothesis | None) -> str:
    """Writes the report as one paragraph."""
    if lead is None:
        return _sentence(report.summary)
    strongest = " ".join(_sentence(line.text) for line in lead.weighed[:3])
    rivals = "; ".join(f"not {r.cause}: {r.because.rstrip('.')}" for r in lead.ruled_out[:2])
    text = (
        f"{_sentence(lead.summary)} Cause {lead.cause}, {lead.confidence:.0%} sure. Culprit: "
        f"{culprit_name(lead.culprit)}. "
        f"Evidence: {strongest} Ruled out: {rivals or 'nothing'}. Fix: {lead.fix.text}"
    )
    return _sentence(text)
