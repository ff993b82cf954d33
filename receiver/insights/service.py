"""One insights instance: records in, reports out. Times are seconds of a steady clock, given by who calls."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable

from receiver import semconv as sc
from receiver.insights.across import across
from receiver.insights.runs import Run, Runs, Told
from receiver.investigate.incidents import culprit_name
from receiver.investigate.report import Report
from receiver.signals import EMPTY, Attributes, Block, Importance, LogRecord, Metric, Point, Severity

KEPT_REPORTS = 512


class Insights:
    """`on_report` hears of every new or changed report; `emit` gets the record that says so to the backends."""

    def __init__(self, resource: Block, emit: Callable[[LogRecord], None]) -> None:
        self.runs = Runs()
        self.reports: OrderedDict[str, Report] = OrderedDict()
        self.on_report: Callable[[str, Report], None] = lambda *_: None
        self._resource, self._emit = resource, emit
        self._causes: Counter[str] = Counter()

    def take(self, told: Told, now: float) -> None:
        self.runs.add(told, now)

    def look(self, now: float, unix_ns: int) -> None:
        """Concludes about runs of which enough was told."""
        for trace_id, run in self.runs.due(now):
            report = across(trace_id, run)
            if report is not None:
                self._tell(run, report, unix_ns)

    def _tell(self, run: Run, report: Report, unix_ns: int) -> None:
        lead = report.hypotheses[0]
        answer = (lead.cause, lead.culprit.identity)
        if run.told == answer:
            return
        known = bool(run.told)
        run.told = answer
        self.reports[report.id] = report
        self.reports.move_to_end(report.id)
        if len(self.reports) > KEPT_REPORTS:
            self.reports.popitem(last=False)
        self._causes[lead.cause] += not known
        self._emit(self._record(report, unix_ns))
        self.on_report(report.id, report)

    def _record(self, report: Report, unix_ns: int) -> LogRecord:
        lead, execution = report.hypotheses[0], report.execution
        text = f"{lead.summary.rstrip('.')}. Cause {lead.cause}, {lead.confidence:.0%} sure. Culprit: {culprit_name(lead.culprit)} on {lead.culprit.host}. Fix: {lead.fix.text}"
        items: Attributes = (
            (sc.PIPELINE_SYSTEM_NAME, execution.system), (sc.PIPELINE_NAME, execution.pipeline), (sc.PIPELINE_RUN_ID, execution.run_id),
            (sc.PIPELINE_TASK_NAME, execution.task), (sc.PIPELINE_INCIDENT_ID, report.id), (sc.PIPELINE_INCIDENT_VERDICT, report.verdict),
            (sc.PIPELINE_INCIDENT_CAUSE, lead.cause), (sc.PIPELINE_INCIDENT_HOST, lead.culprit.host),
            (sc.PIPELINE_INCIDENT_RECOMMENDATION, lead.fix.text), (sc.EVENT_NAME, sc.EVENT_PIPELINE_INCIDENT_OPENED),
            (sc.LOG_RECORD_UID, f"insights-{report.id}-{unix_ns}"), (sc.PIPELINE_LOG_ORIGIN, "inferred"),
        )  # fmt: skip
        return LogRecord(
            self._resource, unix_ns, unix_ns, Severity.ERROR, sc.EVENT_PIPELINE_INCIDENT_OPENED, text,
            bytes.fromhex(execution.trace_id), b"", (EMPTY,), items, Importance.FINDING,
        )  # fmt: skip

    def metrics(self) -> tuple[Metric, ...]:
        causes = tuple(Point(((sc.PIPELINE_INCIDENT_CAUSE, cause),), n) for cause, n in sorted(self._causes.items()))
        drops = tuple(Point(((sc.PIPELINE_OBSERVER_LOSS_REASON, reason),), n) for reason, n in sorted(self.runs.drops.items()))
        received = (Point((), self.runs.received),)
        return (
            Metric(*sc.METRIC_PIPELINE_INCIDENTS, causes), Metric(*sc.METRIC_PIPELINE_OBSERVER_DROPS, drops),
            Metric(*sc.METRIC_PIPELINE_INSIGHTS_RECEIVED, received),
        )  # fmt: skip
