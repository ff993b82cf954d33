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
from receiver.investigate.classes import NOT_VISIBLE
from receiver.investigate.compose import investigate
from receiver.investigate.history import summarise
from receiver.investigate.incident_records import IncidentRecords
from receiver.investigate.report import CrashLine, Hypothesis, Report
from receiver.investigate.waiting import Budget, Entry, Waiting
from receiver.model import BACKED, Finding
from receiver.signals import OtlpSignal
from receiver.synthesis.logs import Logs
from receiver.synthesis.metrics import MetricStore
from receiver.work.execution import Execution
from receiver.work.fair_table import FairTable

KEPT_REPORTS = 256
LAST = 1024  # investigations at the end, of what then waits; the rest is counted
# A symptom without an incident is evaluated again after this time while the execution runs.
REVISIT_NS = 60_000_000_000
# The delay after an end: the last events of its processes may arrive this much later.
SETTLE_NS = 400_000_000
_QUIET = ("healthy", "degraded")  # verdicts that open no incident


class Incidents:
    """All open and recent incidents.

    `reports` holds the reports by incident id, the latest one last. `drops` counts dropped entries.
    """

    def __init__(
        self,
        logs: Logs,
        *,
        book: MetricStore,
        emit: Callable[[OtlpSignal], None],
        case: Callable[[Execution, int], Case],
        forget: Callable[[Execution], None],
        wall: Callable[[int], int],
        told: Callable[[str, Report], None],
    ) -> None:
        """`told` is called with each new or revised report and the id of its incident."""
        self.reports: OrderedDict[str, Report] = OrderedDict()
        self._told = told
        self._drops: Counter[str] = Counter()
        self._records = IncidentRecords(logs, emit)
        self._book, self._case, self._forget, self._wall = book, case, forget, wall
        self._waiting = Waiting()
        self._budget = Budget()
        self._open: dict[int, str] = {}  # execution → its incident
        # Ended executions: a reader of their files joins their incident.
        self._by_span: FairTable[bytes, str] = FairTable(KEPT_REPORTS)
        self._by_culprit: FairTable[tuple[object, ...], str] = FairTable(KEPT_REPORTS)
        self.owners: dict[str, int] = {}  # of each report: the user whose work it is about

    @property
    def drops(self) -> Counter[str]:
        return self._drops + self._waiting.drops

    def found(self, finding: Finding, execution: Execution) -> None:
        """Records a symptom. A later call of `look` may open an incident."""
        outermost = execution.outermost
        if (
            spec_of(finding.kind).opens_incident
            and not outermost.closed
            and not outermost.is_quiet
            and id(outermost) not in self._open
            and not self._waiting.has(outermost)
        ):
            self._wait(Entry(outermost, finding.time_boottime_ns, ended=False))

    def execution_ended(self, execution: Execution, now_ns: int) -> None:
        """Records an end. A nested execution is evaluated together with its outermost one."""
        if execution.outer is not None or execution.is_quiet:
            if execution.identity.is_ambiguous:
                self._waiting.remove(execution)
                self._open.pop(id(execution), None)
                self._forget(execution)
            return
        self._waiting.remove(execution)
        self._wait(Entry(execution, now_ns, ended=True))

    def _wait(self, entry: Entry) -> None:
        for execution in self._waiting.add(entry):
            self._give_up(execution)

    def _give_up(self, execution: Execution) -> None:
        """An ended execution that is not investigated: what is kept about it goes."""
        self._open.pop(id(execution), None)
        self._forget(execution)
        execution.findings = []

    @property
    def waiting(self) -> bool:
        return bool(self._waiting)

    def is_behind(self, now_ns: int) -> bool:
        """Whether the budget left something over that is due: call `look` again soon."""
        return self._waiting.is_due(now_ns - SETTLE_NS)

    def evaluate_due(self, now_ns: int) -> None:
        """Investigates executions that are due, as many as the budget allows.

        Call it with the time of every event, so that the result does not depend on how events are
        batched.
        """
        until_ns = now_ns - SETTLE_NS
        while self._waiting.is_due(until_ns) and self._budget.allows(now_ns):
            entry = self._waiting.take(until_ns)
            if entry is not None:
                self._budget.spend()
                self._investigate(entry, now_ns)

    def finish(self, now_ns: int) -> None:
        """Investigates at most LAST of the executions that wait, whenever they ended."""
        for _ in range(LAST):
            entry = self._waiting.take(now_ns)
            if entry is None:
                return
            self._investigate(entry, now_ns)
        while (entry := self._waiting.take(now_ns)) is not None:
            if entry.ended:
                self._drops["uninvestigated_end"] += 1
                self._give_up(entry.execution)

    def _investigate(self, entry: Entry, now_ns: int) -> None:
        execution, since_ns = entry.execution, entry.since_ns
        if entry.ended:
            self._conclude(execution, max(since_ns, execution.end_ns))
            return
        self._conclude_sources(execution)
        report = investigate(self._case(execution, now_ns))
        if report.verdict == "incident":
            self._open[id(execution)] = self._publish(execution, report, now_ns, over=False)
        else:
            self._waiting.again(Entry(execution, now_ns + REVISIT_NS, ended=False))

    def _conclude_sources(self, execution: Execution) -> None:
        """First evaluates the executions whose files it read: its incident may join theirs."""
        spans = {span for _, span in execution.reads_from}
        for entry in self._waiting.ended_entries() if spans else ():
            writer = entry.execution
            if writer.span_id in spans:
                self._waiting.remove(writer)
                self._budget.spend()
                self._conclude(writer, max(entry.since_ns, writer.end_ns))

    def alerted(self, execution: Execution, now_ns: int) -> Report:
        """Investigates an execution now, because an alert named it."""
        report = investigate(self._case(execution, now_ns))
        if report.verdict == "incident" and id(execution) not in self._open:
            self._open[id(execution)] = self._publish(execution, report, now_ns, over=False)
        return report

    def name_functions(self, incident_id: str, crashes: tuple[CrashLine, ...]) -> None:
        """Sets the crashes of a report, in which functions have their names."""
        report = self.reports.get(incident_id)
        if report is not None:
            self.reports[incident_id] = msgspec.structs.replace(report, crashes=crashes)

    def _conclude(self, execution: Execution, now_ns: int) -> None:
        case = self._case(execution, now_ns)
        if not case.actors and not execution.findings:
            self._forget(execution)
            return
        ended = self._wall(case.end_ns)
        report = investigate(case, ended)
        if case.history is not None and not execution.incomplete:
            case.history.add(task_key(execution.identity), summarise(case, ended))
        if report.verdict not in _QUIET or id(execution) in self._open:
            self._publish(execution, report, now_ns, over=True)
        self._open.pop(id(execution), None)
        if report.verdict in _QUIET and execution.identity.source != "command":
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
                        lead.cause if lead is not None else NOT_VISIBLE.name,
                    ),
                ),
            )
            self._records.opened(execution, report, incident_id, now_ns)
        if over or not known:
            self._records.hypotheses(execution, report, incident_id, now_ns)
        if over:
            self._records.resolved(execution, report, incident_id, now_ns)
        self._told(incident_id, report)
        return incident_id

    def _forget_reports(self) -> None:
        """Drops the oldest of the user who has most: one user's failures, however many, take no
        report from another.
        """
        while len(self.reports) > KEPT_REPORTS:
            held = Counter(self.owners[incident_id] for incident_id in self.reports)
            most = held.most_common(1)[0][0]
            oldest = next(
                incident_id for incident_id in self.reports if self.owners[incident_id] == most
            )
            del self.reports[oldest], self.owners[oldest]
            self._drops["forgotten_report"] += 1

    def _joined(self, execution: Execution, report: Report) -> str:
        """Returns the id of the incident that this report belongs to, or an empty string.

        This is the incident of a task whose file it read, or an incident with the same culprit. The
        report replaces the earlier one, so work of another user joins only when it is proven:
        reading a file and failing proves nothing.
        """
        if id(execution) in self._open:
            return self._open[id(execution)]
        found = [self._by_span.get(span) for _, span in execution.reads_from]
        if report.verdict == "incident" and report.hypotheses:
            found.append(self._by_culprit.get(report.hypotheses[0].culprit.identity))
        return next(
            (
                incident_id
                for incident_id in found
                if incident_id and self._may_join(execution, incident_id)
            ),
            "",
        )

    def _may_join(self, execution: Execution, incident_id: str) -> bool:
        owner = execution.identity.owner
        return (
            execution.identity.confidence >= BACKED or self.owners.get(incident_id, owner) == owner
        )

    def _remember(self, execution: Execution, lead: Hypothesis | None, incident_id: str) -> None:
        owner = execution.identity.owner
        self._by_span.put(execution.span_id, incident_id, owner)
        if lead is not None:
            self._by_culprit.put(lead.culprit.identity, incident_id, owner)
