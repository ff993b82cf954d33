"""What a process tree is drawn from: one row for each ended process of a run.

Nothing here draws, so that a command can collect from its first moment on and import the drawing
at its end.
"""

from __future__ import annotations

import msgspec

from receiver.detect.usage import peak
from receiver.events import ProcessKey
from receiver.render.details import Details, details_of
from receiver.text.names import describe_end
from receiver.work.execution import Execution
from receiver.work.tables import Facts
from receiver.work.worker import Worker

KEPT_ROWS = 2000


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One ended process, as the tree shows it. Seconds and bytes."""

    pid: int
    parent: ProcessKey | None
    key: ProcessKey
    command: str
    started: float
    seconds: float
    end: str
    failed: bool
    cpu_seconds: float
    peak_bytes: int
    read_bytes: int
    written_bytes: int
    findings: tuple[str, ...]
    details: Details
    partition: str = ""
    role: str = ""
    execution: Execution | None = None  # the innermost; its names can still change to better ones


class Views:
    """One RunView per outermost execution.

    The number of kept executions bounds it: `pop` each one when it closes.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._views: dict[int, RunView] = {}

    def process_ended(self, process: Worker) -> None:
        if process.execution is not None:
            run = id(process.execution.outermost)
            self._views.setdefault(run, RunView(self._facts)).process_ended(process)

    def closed(self, execution: Execution) -> None:
        """Work inside of other work is shown in its tree."""
        if execution.outer is not None:
            self._views.setdefault(id(execution.outermost), RunView(self._facts)).closed(execution)

    def pop(self, execution: Execution) -> RunView:
        return self._views.pop(id(execution), None) or RunView(self._facts)


class RunView:
    """Collects the rows of one execution.

    Bounded: past the limit, unremarkable rows are only counted.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self.rows: dict[ProcessKey, Row] = {}
        self.work: dict[ProcessKey, list[Execution]] = {}  # by the process that does it
        self._works = 0
        self.left_out = 0

    def closed(self, execution: Execution) -> None:
        if self._works < KEPT_ROWS:
            self._works += 1
            self.work.setdefault(execution.root.key, []).append(execution)
        row = self.rows.get(execution.root.key)
        if row is not None and row.execution is execution.outer and execution.entered_late:
            # it got its name after its end
            self.rows[row.key] = msgspec.structs.replace(row, execution=execution)

    def process_ended(self, process: Worker) -> None:
        end = process.end
        remarkable = (
            end.failed
            or process.key in self._facts.reported.rows
            or (process.execution is not None and process is process.execution.root)
        )
        if len(self.rows) >= KEPT_ROWS and not remarkable:
            self.left_out += 1
            return
        event = process.exit
        still = process.execution.end_ns if process.execution is not None else 0
        last = event.time_boottime_ns if event else max(still, process.key.start_boottime_ns)
        self.rows[process.key] = Row(
            pid=process.key.tgid,
            parent=process.parent.key if process.parent else None,
            key=process.key,
            command=process.command if process.execs else f"({process.name})",
            started=process.key.start_boottime_ns / 1e9,
            seconds=(last - process.key.start_boottime_ns) / 1e9,
            end="still running" if event is None else describe_end(end.cause, end.code, end.signal),
            failed=end.failed,
            cpu_seconds=event.cpu_runtime_ns / 1e9 if event else 0.0,
            peak_bytes=peak(process, self._facts.usage.of(process.key)),
            read_bytes=event.read_call_bytes if event else 0,
            written_bytes=event.write_call_bytes if event else 0,
            findings=self._facts.reported.of(process.key),
            details=details_of(process, self._facts),
            partition=process.partition,
            role=process.role,
            execution=process.execution,
        )
