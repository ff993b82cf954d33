"""One insights instance: it takes records and returns reports.

The caller passes the time, in seconds of a steady clock.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from itertools import islice

from receiver import semconv as sc
from receiver.insights.across import across
from receiver.insights.records import Batch
from receiver.insights.runs import RemoteFact, RemoteRun, RemoteRuns
from receiver.investigate.incident_records import culprit_name
from receiver.investigate.report import Report, to_json
from receiver.safe.log_limit import LogLimit
from receiver.signals import (
    EMPTY,
    Attributes,
    Importance,
    LogRecord,
    Metric,
    Point,
    ResourceAttributes,
    Severity,
)
from receiver.text.printable import printable
from receiver.units import MIB

log = logging.getLogger("kwitness.insights")
KEPT_REPORTS, REPORT_BYTES = 512, 64 * MIB  # size as JSON
# Runs that are evaluated before the event loop gets its turn.
LOOKS = 8


class Insights:
    """Evaluates runs.

    `keep_report` is called with each new or changed report and its id, and `emit` sends the record
    of this report to the back ends.
    """

    def __init__(
        self,
        resource: ResourceAttributes,
        emit: Callable[[LogRecord], None],
        keep_report: Callable[[str, Report], None] = lambda *_: None,
    ) -> None:
        self.runs = RemoteRuns()
        self.reports: OrderedDict[str, Report] = OrderedDict()
        self._resource, self._emit, self._keep_report = resource, emit, keep_report
        self._causes: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._limited = LogLimit(log)
        self._sizes: dict[str, int] = {}

    def take(self, fact: RemoteFact, now: float) -> None:
        self.runs.add(fact, now)

    def take_batch(self, batch: Batch, now: float) -> None:
        """Adds the records of one request and counts the refused and the skipped ones."""
        for fact in batch.facts:
            self.runs.add(fact, now)
        self.runs.received += batch.passed + batch.refused.total()
        self.runs.drops["uninteresting"] += batch.passed
        self.runs.drops["text_cut"] += batch.cut
        self._refused.update(batch.refused)

    def evaluate_due(self, now: float, unix_ns: int, most: int | None = None) -> bool:
        """Evaluates the runs that are due, at most `most` of them. Returns True if more may be due.

        A run that raises an exception is dropped, counted and logged, so that it cannot stop the
        evaluation of the others.
        """
        count = 0
        for trace_id, run in islice(self.runs.due(now), most):
            count += 1
            try:
                report = across(trace_id, run)
                if report is not None:
                    self._publish(run, report, unix_ns)
            except Exception as error:  # a record must never end the service
                self.runs.set_aside(trace_id)
                text = printable(f"{type(error).__name__}: {error}")[:200]
                self._limited.say(
                    logging.ERROR, "look", "a run could not be looked at and is forgotten: %s", text
                )
        return most is not None and count == most

    def keep(self, report: Report) -> None:
        """Keeps a report, bounded by number and bytes.

        The oldest report is dropped first; the newest one always stays.
        """
        self._forget_report(report.id)
        self.reports[report.id] = report
        self._sizes[report.id] = len(to_json(report))
        while len(self.reports) > KEPT_REPORTS or (
            len(self.reports) > 1 and sum(self._sizes.values()) > REPORT_BYTES
        ):
            self._forget_report(next(iter(self.reports)))
            self.runs.drops["forgotten_report"] += 1

    def _forget_report(self, number: str) -> None:
        self.reports.pop(number, None)
        self._sizes.pop(number, None)

    def _publish(self, run: RemoteRun, report: Report, unix_ns: int) -> None:
        lead = report.hypotheses[0]
        answer = (lead.cause, lead.culprit.identity)
        if run.concluded == answer:
            return
        known = bool(run.concluded)
        run.concluded = answer
        self.keep(report)
        self._causes[lead.cause] += not known
        self._emit(self._record(report, unix_ns))
        self._keep_report(report.id, report)

    def _record(self, report: Report, unix_ns: int) -> LogRecord:
        lead, execution = report.hypotheses[0], report.execution
        text = (
            f"{lead.summary.rstrip('.')}. Cause {lead.cause}, {lead.confidence:.0%} sure. Culprit: "
            f"{culprit_name(lead.culprit)} on {lead.culprit.host}. Fix: {lead.fix.text}"
        )
        items: Attributes = (
            (sc.PIPELINE_SYSTEM_NAME, execution.system),
            (sc.PIPELINE_NAME, execution.pipeline),
            (sc.PIPELINE_RUN_ID, execution.run_id),
            (sc.PIPELINE_TASK_NAME, execution.task),
            (sc.PIPELINE_INCIDENT_ID, report.id),
            (sc.PIPELINE_INCIDENT_VERDICT, report.verdict),
            (sc.PIPELINE_INCIDENT_CAUSE, lead.cause),
            (sc.PIPELINE_INCIDENT_HOST, lead.culprit.host),
            (sc.PIPELINE_INCIDENT_RECOMMENDATION, lead.fix.text),
            (sc.EVENT_NAME, sc.EVENT_PIPELINE_INCIDENT_OPENED),
            (sc.LOG_RECORD_UID, f"insights-{report.id}-{unix_ns}"),
            (sc.PIPELINE_LOG_ORIGIN, "inferred"),
        )
        return LogRecord(
            self._resource,
            unix_ns,
            unix_ns,
            Severity.ERROR,
            sc.EVENT_PIPELINE_INCIDENT_OPENED,
            text,
            bytes.fromhex(execution.trace_id),
            b"",
            (EMPTY,),
            items,
            Importance.FINDING,
        )

    def metrics(self) -> tuple[Metric, ...]:
        causes = tuple(
            Point(((sc.PIPELINE_INCIDENT_CAUSE, cause),), n)
            for cause, n in sorted(self._causes.items())
        )
        drops, refused = (
            tuple(
                Point(((sc.PIPELINE_OBSERVER_LOSS_REASON, reason),), n)
                for reason, n in sorted(counts.items())
                if n
            )
            for counts in (self.runs.drops, self._refused)
        )
        received = (Point((), self.runs.received),)
        return (
            Metric(*sc.METRIC_PIPELINE_INCIDENTS, causes),
            Metric(*sc.METRIC_PIPELINE_OBSERVER_DROPS, drops),
            Metric(*sc.METRIC_PIPELINE_INSIGHTS_RECEIVED, received),
            Metric(*sc.METRIC_PIPELINE_INSIGHTS_REFUSED, refused),
        )
