"""Runs and task attempts: when they began, which processes do their work, how they ended."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from receiver.attribution.tree import Process
from receiver.events import ProcessKey
from receiver.model import Finding, Identity, RemoteContext

if TYPE_CHECKING:
    from receiver.timeline.files import Version

REMEMBERED_ENDED = 4096  # attempts whose span is out: a late process of theirs must not open a second one
KEPT_FINDINGS = 256
KEPT_LINKS = 64  # tasks that one attempt read from
KEPT_PATHS = 256  # inputs, and outputs, that one attempt is told to have
OPEN_LIMIT = 10_000  # attempts, and runs, at a time: an environment can name any number of them

RunKey = tuple[str, str, str]


class Totals:
    """Sums over the processes of an execution that have ended."""

    __slots__ = ("processes", "read_bytes", "system_ns", "user_ns", "written_bytes")

    def __init__(self) -> None:
        self.user_ns = 0
        self.system_ns = 0
        self.read_bytes = 0
        self.written_bytes = 0
        self.processes = 0

    @property
    def cpu_ns(self) -> int:
        return self.user_ns + self.system_ns


class Run:
    """One run of a pipeline: its attempts share a trace."""

    def __init__(self, identity: Identity, trace_id: bytes, span_id: bytes, start_ns: int) -> None:
        self.identity = identity
        self.trace_id = trace_id
        self.span_id = span_id
        self.start_ns = start_ns
        self.end_ns = start_ns
        self.active = 0
        self.failed: dict[tuple[str, int], bool] = {}  # last result of each task
        self.announced = False  # some attempt is not in an application's own trace, so the run has a span
        self.incomplete = False

    @property
    def key(self) -> RunKey:
        return (self.identity.system, self.identity.pipeline, self.identity.run_id)


class Execution:
    """One attempt of one task."""

    def __init__(self, identity: Identity, run: Run, span_id: bytes, root: Process, start_ns: int) -> None:
        self.identity = identity
        self.run = run
        self.span_id = span_id
        self.root = root  # the first process of it that was seen
        self.start_ns = start_ns
        self.end_ns = start_ns
        self.live = 0
        self.root_failed = False  # what the last root process reported
        self.error = ""
        self.masked = False
        self.oom_killed = False
        self.partial_write = False
        self.started_by: ProcessKey | None = None  # who forked its first process, when that was seen
        self.closed = False
        self.incomplete = False
        self.findings: list[Finding] = []
        self.findings_dropped = 0
        self.totals = Totals()
        self.booked = Totals()  # what of them is in the metrics already
        self.booked_live = 0
        self.heartbeat_ns = start_ns
        self.context: RemoteContext | None = None  # what the application handed to its first process
        self.trace_id = run.trace_id  # or the application's
        self.previous_trace_id = run.trace_id  # of the attempt before
        self.block: object = None  # synthesis keeps the shared attributes here
        self.reads_from: dict[tuple[bytes, bytes], None] = {}  # (trace id, span id) of the tasks that wrote what it read
        self.inputs: dict[str, None] = {}  # in order of first use
        self.written: dict[int, Version] = {}
        self.paths_dropped = 0
        self.hang_told = False

    def read(self, path: str) -> None:
        """A file that it read and did not write."""
        if len(self.inputs) < KEPT_PATHS:
            self.inputs[path] = None
        elif path not in self.inputs:
            self.paths_dropped += 1

    def wrote(self, version: Version) -> None:
        if len(self.written) < KEPT_PATHS:
            self.written[id(version)] = version
        elif id(version) not in self.written:
            self.paths_dropped += 1

    @property
    def outputs(self) -> list[Version]:
        """What it wrote and left behind, each file once, by the names that they have now."""
        left = {v.path: v for v in self.written.values() if not v.deleted}
        return list(left.values())

    @property
    def reported(self) -> str:
        return "failure" if self.root_failed else "success"

    @property
    def result(self) -> str:
        if self.incomplete:
            return "unknown"
        return "failure" if self.root_failed or self.masked else "success"

    def add(self, finding: Finding) -> None:
        if len(self.findings) >= KEPT_FINDINGS:
            self.findings_dropped += 1
            return
        self.findings.append(finding)


class Executions:
    """The open ones, by identity, and which ones are over."""

    def __init__(self, grace_ns: int, run_grace_ns: int) -> None:
        self.grace_ns = grace_ns
        self.run_grace_ns = run_grace_ns
        self.open: dict[tuple[str, str, str, str, int, int], Execution] = {}
        self.runs: dict[RunKey, Run] = {}
        self._ended: OrderedDict[object, Execution] = OrderedDict()

    def ended(self, key: object) -> Execution | None:
        return self._ended.get(key)

    @property
    def full(self) -> bool:
        return len(self.open) >= OPEN_LIMIT or len(self.runs) >= OPEN_LIMIT

    def opened(self, execution: Execution) -> None:
        self.open[execution.identity.key] = execution
        self.runs[execution.run.key] = execution.run
        execution.run.active += 1

    def close(self, execution: Execution) -> None:
        execution.closed = True
        self.open.pop(execution.identity.key, None)
        self._ended[execution.identity.key] = execution
        if len(self._ended) > REMEMBERED_ENDED:
            self._ended.popitem(last=False)
        run = execution.run
        run.active -= 1
        run.end_ns = max(run.end_ns, execution.end_ns)
        run.failed[(execution.identity.task, execution.identity.map_index)] = execution.result == "failure"

    def due(self, now_ns: int) -> list[Execution]:
        """Attempts without a living process for the grace period. A command ends with its own process: no grace."""
        return [
            e for e in self.open.values() if not e.live and (e.identity.type == "command" or now_ns - e.end_ns >= self.grace_ns)
        ]

    def due_runs(self, now_ns: int) -> list[Run]:
        """Runs without an open attempt for the grace period: their real end is often invisible."""
        return [
            r
            for r in self.runs.values()
            if not r.active and (r.identity.type == "command" or now_ns - r.end_ns >= self.run_grace_ns)
        ]
