"""The life cycle of incidents.

The first symptom opens an incident, later symptoms of the same cascade join it, and the end of the
execution publishes its final report. Every ended execution is evaluated; a healthy one only adds a
summary to the history.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable

import msgspec

from receiver import semconv as sc
from receiver.detect.findings import spec_of
from receiver.investigate.case import Case, task_key
from receiver.investigate.compose import investigate
from receiver.investigate.evidence import Culprit
from receiver.investigate.history import summarise
from receiver.investigate.report import CrashLine, Hypothesis, Report
from receiver.model import BACKED, Finding
from receiver.signals import Attributes, Importance, LogRecord, Severity, Signal
from receiver.synthesis.logs import Logs
from receiver.synthesis.metrics import MetricStore
from receiver.text.printable import printable
from receiver.work.execution import Execution

KEPT_REPORTS = 256
PENDING = 4096  # ended executions that wait for their evaluation
# A symptom without an incident is evaluated again after this time while the execution runs.
REVISIT_NS = 60_000_000_000
# The delay after an end: the last events of its processes may arrive this much later.
SETTLE_NS = 400_000_000
_EVIDENCE = 8  # evidence records for the first hypothesis


class Incidents:
    """All open and recent incidents.

    `reports` holds the reports by incident id, the latest one last. `drops` counts dropped entries.
    """

    def __init__(
        self,
        logs: Logs,
        *,
        book: MetricStore,
        emit: Callable[[Signal], None],
        case: Callable[[Execution, int], Case],
        forget: Callable[[Execution], None],
        wall: Callable[[int], int],
        told: Callable[[str, Report], None],
    ) -> None:
        """`told` is called with each new or revised report and the id of its incident."""
        self.reports: OrderedDict[str, Report] = OrderedDict()
        self._told = told
        self.drops: Counter[str] = Counter()
        self._logs, self._book, self._emit, self._case, self._forget, self._wall = (
            logs,
            book,
            emit,
            case,
            forget,
            wall,
        )
        # Ended executions that wait for their evaluation, with the time of their end.
        self._ended: OrderedDict[int, tuple[Execution, int]] = OrderedDict()
        # Running executions with a symptom, and the time since which they have had it.
        self._symptomatic: dict[int, tuple[Execution, int]] = {}
        self._open: dict[int, str] = {}  # execution → its incident
        # Ended executions: a reader of their files joins their incident.
        self._by_span: OrderedDict[bytes, str] = OrderedDict()
        self._by_culprit: OrderedDict[tuple[object, ...], str] = OrderedDict()
        self.owners: dict[str, int] = {}  # of each report: the user whose work it is about

    def found(self, finding: Finding, execution: Execution) -> None:
        """Records a symptom. The next call of `look` may open an incident."""
        outermost = execution.outermost
        if (
            spec_of(finding.kind).opens_incident
            and not outermost.closed
            and not outermost.is_quiet
            and id(outermost) not in self._open
        ):
            self._symptomatic.setdefault(id(outermost), (outermost, finding.time_boottime_ns))

    def ended(self, execution: Execution, now_ns: int) -> None:
        """Records an end. A nested execution is evaluated together with its outermost one."""
        if execution.outer is not None or execution.is_quiet:
            if execution.identity.is_ambiguous:
                self._symptomatic.pop(id(execution), None)
                self._open.pop(id(execution), None)
                self._forget(execution)
            return
        self._symptomatic.pop(id(execution), None)
        self._ended[id(execution)] = (execution, now_ns)
        if len(self._ended) > PENDING:
            self._conclude(*self._ended.popitem(last=False)[1])
            self.drops["hurried_investigation"] += 1

    @property
    def waiting(self) -> bool:
        return bool(self._symptomatic or self._ended)

    def look(self, now_ns: int, *, settle_ns: int = SETTLE_NS) -> None:
        """Investigates all executions that are due.

        Call it with the time of every event, so that the result does not depend on how events are
        batched.
        """
        for key, (execution, since_ns) in (
            list(self._symptomatic.items()) if self._symptomatic else ()
        ):
            if now_ns - since_ns < settle_ns:
                continue
            del self._symptomatic[key]
            self._conclude_sources(execution)
            report = investigate(self._case(execution, now_ns))
            if report.verdict == "incident":
                self._open[key] = self._publish(execution, report, now_ns, over=False)
            else:
                self._symptomatic[key] = (execution, now_ns + REVISIT_NS)
        while self._ended:
            execution, ended_ns = next(iter(self._ended.values()))
            if now_ns - ended_ns < settle_ns:
                return
            self._ended.popitem(last=False)
            self._conclude(execution, max(ended_ns, execution.end_ns))

    def _conclude_sources(self, execution: Execution) -> None:
        """First evaluates the executions whose files it read: its incident may join theirs."""
        spans = {span for _, span in execution.reads_from}
        for key, (writer, ended_ns) in list(self._ended.items()):
            if writer.span_id in spans:
                del self._ended[key]
                self._conclude(writer, max(ended_ns, writer.end_ns))

    def alerted(self, execution: Execution, now_ns: int) -> Report:
        """Investigates an execution now, because an alert named it."""
        report = investigate(self._case(execution, now_ns))
        if report.verdict == "incident" and id(execution) not in self._open:
            self._open[id(execution)] = self._publish(execution, report, now_ns, over=False)
        return report

    def name_functions(self, number: str, crashes: tuple[CrashLine, ...]) -> None:
        """Sets the crashes of a report, in which functions have their names."""
        report = self.reports.get(number)
        if report is not None:
            self.reports[number] = msgspec.structs.replace(report, crashes=crashes)

    def _conclude(self, execution: Execution, now_ns: int) -> None:
        case = self._case(execution, now_ns)
        if not case.actors and not execution.findings:
            self._forget(execution)
            return
        ended = self._wall(case.end_ns)
        report = investigate(case, ended)
        if case.history is not None and not execution.incomplete:
            case.history.add(task_key(execution.identity), summarise(case, ended))
        if report.verdict != "healthy" or id(execution) in self._open:
            self._publish(execution, report, now_ns, over=True)
        self._open.pop(id(execution), None)
        if report.verdict == "healthy" and execution.identity.source != "command":
            self._forget(execution)
        if execution.identity.source == "command":
            self.reports[report.id] = report  # `kwitness run` prints it whatever the verdict is
            self.owners.setdefault(report.id, execution.identity.owner)
        else:
            execution.findings = []

    def _publish(self, execution: Execution, report: Report, now_ns: int, *, over: bool) -> str:
        """Publishes a new incident or the end of one. Returns the incident id."""
        incident_id = self._joined(execution, report) or report.id
        known = incident_id in self.reports
        self.reports[incident_id] = report
        self.reports.move_to_end(incident_id)
        self.owners.setdefault(incident_id, execution.identity.owner)
        self._forget_reports()
        lead = report.hypotheses[0] if report.verdict == "incident" else None
        self._remember(execution, lead, incident_id)
        if not known:
            self._book.add(
                sc.METRIC_PIPELINE_INCIDENTS,
                (
                    *self._book.task(execution.identity),
                    (
                        sc.PIPELINE_INCIDENT_CAUSE,
                        lead.cause if lead is not None else "none.not_visible",
                    ),
                ),
            )
            self._emit_record(
                sc.EVENT_PIPELINE_INCIDENT_OPENED,
                Severity.ERROR,
                body=_body(report, lead),
                execution=execution,
                items=_items(report, lead, incident_id, full=True),
                now_ns=now_ns,
            )
        if over or not known:
            self._emit_hypotheses(execution, report, incident_id, now_ns)
        if over:
            summary = printable(report.summary)
            self._emit_record(
                sc.EVENT_PIPELINE_INCIDENT_RESOLVED,
                Severity.INFO,
                body=_sentence(summary),
                execution=execution,
                items=_items(report, lead, incident_id, full=False),
                now_ns=now_ns,
            )
        self._told(incident_id, report)
        return incident_id

    def _forget_reports(self) -> None:
        """The oldest of the user who has most: another user's failures, however many, take no report from him."""
        while len(self.reports) > KEPT_REPORTS:
            held = Counter(self.owners[number] for number in self.reports)
            most = held.most_common(1)[0][0]
            oldest = next(number for number in self.reports if self.owners[number] == most)
            del self.reports[oldest], self.owners[oldest]
            self.drops["forgotten_report"] += 1

    def _joined(self, execution: Execution, report: Report) -> str:
        """Returns the id of the incident that this report belongs to, or an empty string.

        This is the incident of a task whose file it read, or an incident with the same culprit. The
        report replaces the earlier one, so work of another user joins only when it is proven:
        reading a file and failing proves nothing.
        """
        if id(execution) in self._open:
            return self._open[id(execution)]
        found = [self._by_span[span] for _, span in execution.reads_from if span in self._by_span]
        if report.verdict == "incident" and report.hypotheses:
            found.append(self._by_culprit.get(_who(report.hypotheses[0].culprit), ""))
        return next(
            (number for number in found if number and self._may_join(execution, number)), ""
        )

    def _may_join(self, execution: Execution, number: str) -> bool:
        owner = execution.identity.owner
        return execution.identity.confidence >= BACKED or self.owners.get(number, owner) == owner

    def _remember(self, execution: Execution, lead: Hypothesis | None, incident_id: str) -> None:
        self._by_span[execution.span_id] = incident_id
        if lead is not None:
            self._by_culprit[_who(lead.culprit)] = incident_id
        for table in (self._by_span, self._by_culprit):
            while len(table) > KEPT_REPORTS:
                table.popitem(last=False)

    def _emit_hypotheses(
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
            name, severity, body, execution, items, now_ns, Importance.FINDING
        )
        self._emit(record)


def _who(culprit: Culprit) -> tuple[object, ...]:
    return culprit.identity


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
