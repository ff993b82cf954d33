"""The metrics of runs and attempts: the sums over their processes, and their durations."""

from __future__ import annotations

from receiver import semconv as sc
from receiver.events import Exit
from receiver.signals import Attributes
from receiver.synthesis.metrics import DURATION_BOUNDS, MetricStore, folded_error
from receiver.synthesis.outcomes import run_result, scaled_cpu, task_error
from receiver.units import SECOND
from receiver.work.execution import Execution, Totals
from receiver.work.runs import Run


class Accounts:
    """Adds to `book`. Sums over processes are moved there once per reading of the metrics."""

    def __init__(self, book: MetricStore) -> None:
        self.book = book
        # their sums have changed since the metrics were last read
        self._unbooked: dict[int, Execution] = {}

    def labels(self, execution: Execution | None) -> Attributes:
        """The labels of its metrics.

        An ambiguous claim counts as unknown work, not under the names that it uses.
        """
        known = execution is not None and not execution.identity.is_ambiguous
        return self.book.task(execution.identity if execution is not None and known else None)

    def changed(self, execution: Execution) -> None:
        """Its sums or its number of living processes are not in the metrics yet."""
        self._unbooked[id(execution)] = execution

    def active(self, execution: Execution, change: int) -> None:
        self.book.add(sc.METRIC_PIPELINE_TASK_ACTIVE, self.labels(execution), change)

    def unbook(self, execution: Execution) -> None:
        """Its labels will change: takes back what counts under the present ones."""
        labels = self.labels(execution)
        if not execution.is_quiet:
            self.book.add(sc.METRIC_PIPELINE_TASK_ACTIVE, labels, -1)
        self.book.add(sc.METRIC_PIPELINE_TASK_PROCESS_COUNT, labels, -execution.booked_live)
        execution.booked_live = 0
        self.changed(execution)

    def account(self, execution: Execution, event: Exit) -> None:
        """Adds to the work and to all work around it."""
        user, system = scaled_cpu(event.user_cpu_ns, event.system_cpu_ns, event.cpu_runtime_ns)
        for each in execution.chain():
            totals = each.totals
            totals.user_ns += user
            totals.system_ns += system
            totals.read_bytes += event.read_bytes
            totals.written_bytes += event.written_bytes

    def book_totals(self) -> None:
        """Moves the sums of executions into the metrics: once per reading of the metrics, not once
        per process.
        """
        for execution in self._unbooked.values():
            labels, now, before = self.labels(execution), execution.totals, execution.booked
            for mode, amount in (
                ("user", now.user_ns - before.user_ns),
                ("system", now.system_ns - before.system_ns),
            ):
                if amount:
                    self.book.add(
                        sc.METRIC_PIPELINE_TASK_CPU_TIME,
                        (*labels, (sc.CPU_MODE, mode)),
                        amount / 1e9,
                    )
            reads, writes = (
                now.read_bytes - before.read_bytes,
                now.written_bytes - before.written_bytes,
            )
            for direction, amount in (("read", reads), ("write", writes)):
                if amount:
                    self.book.add(
                        sc.METRIC_PIPELINE_TASK_DISK_IO,
                        (*labels, (sc.DISK_IO_DIRECTION, direction)),
                        amount,
                    )
            self.book.add(
                sc.METRIC_PIPELINE_TASK_PROCESS_COUNT,
                labels,
                execution.live - execution.booked_live,
            )
            execution.booked_live = execution.live
            for name in Totals.__slots__:
                setattr(before, name, getattr(now, name))
        self._unbooked.clear()

    def closed(self, execution: Execution) -> None:
        labels = self.labels(execution)
        result: Attributes = ((sc.PIPELINE_TASK_RUN_RESULT, execution.result),)
        error = task_error(execution)
        if error:
            result = (*result, (sc.ERROR_TYPE, folded_error(error)))
        if not execution.end_is_bound:
            seconds = max(0, execution.end_ns - execution.start_ns) / SECOND
            self.book.record(
                sc.METRIC_PIPELINE_TASK_DURATION, (*labels, *result), seconds, DURATION_BOUNDS
            )
        self.active(execution, -1)

    def run_closed(self, run: Run) -> None:
        labels = (
            (sc.PIPELINE_SYSTEM_NAME, run.identity.system),
            (sc.PIPELINE_NAME, dict(self.book.task(run.identity))[sc.PIPELINE_NAME]),
            (sc.PIPELINE_RUN_RESULT, run_result(run)),
        )
        seconds = max(0, run.end_ns - run.start_ns) / SECOND
        self.book.record(sc.METRIC_PIPELINE_RUN_DURATION, labels, seconds, DURATION_BOUNDS)
