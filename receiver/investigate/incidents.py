"""Incidents as they come and go: opened at the first symptom, joined by the later ones of the same cascade, told again when
the execution is over. Every ended execution is looked at; one in which nothing went wrong leaves a summary in the history.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable

from receiver import semconv as sc
from receiver.investigate.case import Case, task_key
from receiver.investigate.compose import investigate
from receiver.investigate.evidence import Culprit
from receiver.investigate.history import summarise
from receiver.investigate.report import Hypothesis, Report
from receiver.model import Finding
from receiver.signals import Attributes, Importance, LogRecord, Severity, Signal
from receiver.synthesis.logs import Logs
from receiver.synthesis.metrics import MetricStore
from receiver.text.printable import printable
from receiver.work.execution import Execution

KEPT_REPORTS = 256
PENDING = 4096  # ended executions that wait to be looked at
REVISIT_NS = 60_000_000_000  # a symptom that was none yet is looked at again after this, for as long as the work goes on
SETTLE_NS = (
    400_000_000  # after an end: the last sums and closes of its processes come a moment later
)
_EVIDENCE = 8  # records for the first hypothesis
_OPENING = {  # findings that are a symptom by themselves, while the execution still runs
    sc.EVENT_PROCESS_OOM_KILLED,
    sc.EVENT_FILE_TAINTED_READ,
    sc.EVENT_PROCESS_HANG,
    sc.EVENT_NETWORK_CONNECTION_STALLED,
    sc.EVENT_NETWORK_CONNECTION_EXHAUSTED,
}


class Incidents:
    """`reports`: by id of the incident, the latest last. `on_report` hears of every new or better one; `drops` counts."""

    def __init__(
        self,
        logs: Logs,
        *,
        book: MetricStore,
        emit: Callable[[Signal], None],
        case: Callable[[Execution, int], Case],
        forget: Callable[[Execution], None],
        wall: Callable[[int], int],
    ) -> None:
        self.reports: OrderedDict[str, Report] = OrderedDict()
        self.on_report: Callable[[str, Report], None] = lambda *_: None
        self.drops: Counter[str] = Counter()
        self._logs, self._book, self._emit, self._case, self._forget, self._wall = (
            logs,
            book,
            emit,
            case,
            forget,
            wall,
        )
        self._ended: OrderedDict[int, tuple[Execution, int]] = (
            OrderedDict()
        )  # what is to be looked at, and when it ended
        self._struck: dict[
            int, tuple[Execution, int]
        ] = {}  # still running, with a symptom, and since when
        self._open: dict[int, str] = {}  # execution → its incident
        self._by_span: OrderedDict[bytes, str] = (
            OrderedDict()
        )  # ended ones: a reader of their files joins them
        self._by_culprit: OrderedDict[tuple[object, ...], str] = OrderedDict()

    def found(self, finding: Finding, execution: Execution) -> None:
        """A symptom opens an incident at the next look."""
        outermost = execution.outermost
        if (
            finding.kind in _OPENING
            and not outermost.closed
            and not outermost.is_quiet
            and id(outermost) not in self._open
        ):
            self._struck.setdefault(id(outermost), (outermost, finding.time_boottime_ns))

    def ended(self, execution: Execution, now_ns: int) -> None:
        """Call when an execution closes. Work inside of other work is looked at with the whole."""
        if execution.outer is not None or execution.is_quiet:
            if execution.identity.is_ambiguous:
                self._struck.pop(id(execution), None)
                self._open.pop(id(execution), None)
                self._forget(execution)
            return
        self._struck.pop(id(execution), None)
        self._ended[id(execution)] = (execution, now_ns)
        if len(self._ended) > PENDING:
            self._conclude(*self._ended.popitem(last=False)[1])
            self.drops["hurried_investigation"] += 1

    @property
    def waiting(self) -> bool:
        return bool(self._struck or self._ended)

    def look(self, now_ns: int, *, settle_ns: int = SETTLE_NS) -> None:
        """Investigates what is due. Call with the time of every event: how these are batched then changes nothing."""
        for key, (execution, since_ns) in list(self._struck.items()) if self._struck else ():
            if now_ns - since_ns < settle_ns:
                continue
            del self._struck[key]
            self._conclude_sources(execution)
            report = investigate(self._case(execution, now_ns))
            if report.verdict == "incident":
                self._open[key] = self._tell(execution, report, now_ns, over=False)
            else:
                self._struck[key] = (execution, now_ns + REVISIT_NS)
        while self._ended:
            execution, ended_ns = next(iter(self._ended.values()))
            if now_ns - ended_ns < settle_ns:
                return
            self._ended.popitem(last=False)
            self._conclude(execution, max(ended_ns, execution.end_ns))

    def _conclude_sources(self, execution: Execution) -> None:
        """What it has read from comes first: its incident is joined by the reader's."""
        spans = {span for _, span in execution.reads_from}
        for key, (writer, ended_ns) in list(self._ended.items()):
            if writer.span_id in spans:
                del self._ended[key]
                self._conclude(writer, max(ended_ns, writer.end_ns))

    def alerted(self, execution: Execution, now_ns: int) -> Report:
        """Somebody outside says that something is wrong with it: looks at it as it is now."""
        report = investigate(self._case(execution, now_ns))
        if report.verdict == "incident" and id(execution) not in self._open:
            self._open[id(execution)] = self._tell(execution, report, now_ns, over=False)
        return report

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
            self._tell(execution, report, now_ns, over=True)
        self._open.pop(id(execution), None)
        if report.verdict == "healthy" and execution.identity.source != "command":
            self._forget(execution)
        if execution.identity.source == "command":
            self.reports[report.id] = report  # `run` shows it, whatever it says
        else:
            execution.findings = []

    def _tell(self, execution: Execution, report: Report, now_ns: int, *, over: bool) -> str:
        """Records of a new incident, or of the end of one; gives its id."""
        number = self._joined(execution, report) or report.id
        known = number in self.reports
        self.reports[number] = report
        self.reports.move_to_end(number)
        while len(self.reports) > KEPT_REPORTS:
            self.reports.popitem(last=False)
            self.drops["forgotten_report"] += 1
        lead = report.hypotheses[0] if report.verdict == "incident" else None
        self._remember(execution, lead, number)
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
            self._say(
                sc.EVENT_PIPELINE_INCIDENT_OPENED,
                Severity.ERROR,
                body=_body(report, lead),
                execution=execution,
                items=_items(report, lead, number, full=True),
                now_ns=now_ns,
            )
        if over or not known:
            self._say_why(execution, report, number, now_ns)
        if over:
            summary = printable(report.summary)
            self._say(
                sc.EVENT_PIPELINE_INCIDENT_RESOLVED,
                Severity.INFO,
                body=_sentence(summary),
                execution=execution,
                items=_items(report, lead, number, full=False),
                now_ns=now_ns,
            )
        self.on_report(number, report)
        return number

    def _joined(self, execution: Execution, report: Report) -> str:
        """The incident of a task whose file it read, or of the same culprit: one cascade is one incident."""
        if id(execution) in self._open:
            return self._open[id(execution)]
        for _, span in execution.reads_from:
            if span in self._by_span:
                return self._by_span[span]
        if report.verdict == "incident" and report.hypotheses:
            return self._by_culprit.get(_who(report.hypotheses[0].culprit), "")
        return ""

    def _remember(self, execution: Execution, lead: Hypothesis | None, number: str) -> None:
        self._by_span[execution.span_id] = number
        if lead is not None:
            self._by_culprit[_who(lead.culprit)] = number
        for table in (self._by_span, self._by_culprit):
            while len(table) > KEPT_REPORTS:
                table.popitem(last=False)

    def _say_why(self, execution: Execution, report: Report, number: str, now_ns: int) -> None:
        for hypothesis in report.hypotheses:
            verdict = "likely" if hypothesis.rank == 1 else "possible"
            items: Attributes = (
                (sc.PIPELINE_INCIDENT_ID, number),
                (sc.PIPELINE_HYPOTHESIS_NAME, hypothesis.cause),
                (sc.PIPELINE_HYPOTHESIS_VERDICT, verdict),
                (sc.PIPELINE_HYPOTHESIS_SCORE, hypothesis.score),
                (sc.PIPELINE_HYPOTHESIS_CONFIDENCE, hypothesis.confidence),
                (sc.PIPELINE_HYPOTHESIS_RANK, hypothesis.rank),
                (sc.PIPELINE_HYPOTHESIS_CULPRIT, culprit_name(hypothesis.culprit)),
            )
            self._say(
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
                (sc.PIPELINE_INCIDENT_ID, number),
                (sc.PIPELINE_HYPOTHESIS_NAME, rival.cause),
                (sc.PIPELINE_HYPOTHESIS_VERDICT, "ruled_out"),
            )
            self._say(
                sc.EVENT_PIPELINE_INCIDENT_HYPOTHESIS,
                Severity.INFO,
                body=_sentence(rival.because),
                execution=execution,
                items=items,
                now_ns=now_ns,
            )
        self._say_evidence(execution, report, lead, number, now_ns)

    def _say_evidence(
        self,
        execution: Execution,
        report: Report,
        lead: Hypothesis | None,
        number: str,
        now_ns: int,
    ) -> None:
        told = 0
        for line in lead.weighed if lead is not None else ():
            for ref in line.refs[:1]:
                if told >= _EVIDENCE:
                    return
                told += 1
                items: Attributes = (
                    (sc.PIPELINE_INCIDENT_ID, number),
                    (sc.PIPELINE_HYPOTHESIS_NAME, lead.cause if lead is not None else ""),
                    (sc.PIPELINE_EVIDENCE_ROLE, line.role),
                    (sc.PIPELINE_EVIDENCE_KIND, str(report.events[ref]["kind"])),
                    (sc.PIPELINE_EVIDENCE_REF, self._logs.reference(ref)),
                    (sc.PIPELINE_EVIDENCE_WEIGHT, line.weight),
                )
                self._say(
                    sc.EVENT_PIPELINE_INCIDENT_EVIDENCE,
                    Severity.INFO,
                    body=_sentence(line.text),
                    execution=execution,
                    items=items,
                    now_ns=now_ns,
                )

    def _say(
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
    """In a few words."""
    name = f"{culprit.name} ({culprit.pid})" if culprit.pid else culprit.name
    return (
        f"{culprit.type} "
        f"{culprit.path or culprit.address or culprit.cgroup or name or culprit.task}"
    ).rstrip()


def _items(report: Report, lead: Hypothesis | None, number: str, *, full: bool) -> Attributes:
    items: Attributes = (
        (sc.PIPELINE_INCIDENT_ID, number),
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
    """The report in one paragraph."""
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
