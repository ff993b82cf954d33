"""One attempt of a task: its processes, its result, and what it read and wrote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from receiver.events import ProcessKey
from receiver.facts.process import Process
from receiver.facts.versions import Version
from receiver.model import Finding, Identity, RemoteContext
from receiver.work.runs import Run

KEPT_FINDINGS = 256
KEPT_LINKS = 64  # tasks whose outputs one attempt read
KEPT_ROOTS = 64
KEPT_PATHS = 256  # inputs, and outputs, that one attempt is told to have


Names = tuple[str, str, str, str, str, int]


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


# How the end of a step is known: it was seen, it had happened by then, or its result is not known.
StepEnd: TypeAlias = Literal["seen", "bound", "unknown"]


class Execution:
    """One attempt of one task, or another piece of work inside of it (`outer`): an application, a
    model, a check.
    """

    def __init__(
        self,
        identity: Identity,
        run: Run,
        span_id: bytes,
        root: Process,
        start_ns: int,
        *,
        outer: Execution | None = None,
    ) -> None:
        self.identity = identity
        self.own_run = True  # it is not inside of other work's trace
        self.slot: object = identity.slot  # under which it is found while it is open
        self.names: Names | None = None  # under which it is found, whatever its map index
        # (trace id, span id) of the proven work whose names it claims
        self.rival: tuple[bytes, bytes] | None = None
        self.outer = outer
        self.run = run  # of the outermost work in the same trace
        self.span_id = span_id
        self.root = root  # the first process of it that was seen
        # living processes that have a claim of their own to this work, not by ancestry
        self.owner_processes: dict[ProcessKey, None] = {}
        # it has holders that end it; otherwise it continues as long as one of its processes lives
        self.has_owner = False
        self.inside: dict[Execution, None] = {}  # open work inside of it
        self.step_thread = 0  # for a step: the thread that does it
        self.claimed = False  # the orchestrator runs on another host, which exports its span
        # how often the same attempt had ended before (Airflow defers a task and resumes it)
        self.resumed = 0
        self.start_ns = start_ns
        self.end_ns = start_ns
        self.live = 0
        self.findings: list[Finding] = []
        self.findings_dropped = 0
        self.totals = Totals()
        self.booked = Totals()  # the part of them that is in the metrics already
        self.booked_live = 0
        self.heartbeat_ns = start_ns
        # the trace context that the application handed to its first process
        self.context: RemoteContext | None = None
        self.trace_id = run.trace_id  # or the application's
        self.previous_trace_id = run.trace_id  # of the attempt before
        self.attributes: object = None  # synthesis keeps its ResourceAttributes here
        # (trace id, span id) of the tasks that wrote what it read
        self.reads_from: dict[tuple[bytes, bytes], None] = {}
        self.inputs: dict[str, None] = {}  # in order of first use
        self.written: dict[int, Version[Execution]] = {}
        self.paths_dropped = 0
        self.hang_reported = False
        self._start()

    def _start(self) -> None:
        """It has no result yet."""
        # its end was not seen: it had ended by `end_ns`, so its duration is not known
        self.end_is_bound = False
        self.root_failed = False  # by the exit statuses of its root processes
        # command line → the process that failed last with it, and its error
        self.lost_roots: dict[tuple[str, ...], tuple[ProcessKey, str]] = {}
        self.error = ""
        self.masked = False
        # error.type of the child that shows the failure, where status 0 means nothing
        self.failed_by = ""
        self.oom_killed = False
        self.partial_write = False
        # the parent of its first process, when that fork was seen
        self.started_by: ProcessKey | None = None
        self.closed = False
        self.entered_late = False  # its process was found to have done it after its end
        self.incomplete = False
        # of an outermost one: the users whose lost events may concern it (receiver.facts.losses)
        self.accounts: set[int] = set()
        # processes whose first calls were not observed, and the longest such time
        self.late_processes, self.late_ns = 0, 0

    def root_ended(self, process: Process, *, failed: bool, error: str) -> None:
        """One of the root processes, whose exit status is the work's status.

        A parent outside of the work can start several, one after another. Each counts: one that
        failed is made good by a success of the same command line, and by nothing else.
        """
        if self.has_owner:
            self.root_failed, self.error = failed, error
            return
        self.lost_roots.pop(process.argv, None)
        if failed and len(self.lost_roots) < KEPT_ROOTS:
            self.lost_roots[process.argv] = (process.key, error)
        self.root_failed = failed or bool(self.lost_roots)
        self.error = error or next((e for _, e in reversed(self.lost_roots.values())), "")

    @property
    def deciding_root(self) -> ProcessKey:
        """The root process whose end was the outcome: the last that failed for good, or the first
        of all.
        """
        return next((key for key, _ in reversed(self.lost_roots.values())), self.root.key)

    def read(self, path: str) -> None:
        """A file that it read and did not write."""
        if len(self.inputs) < KEPT_PATHS:
            self.inputs[path] = None
        elif path not in self.inputs:
            self.paths_dropped += 1

    def wrote(self, version: Version[Execution]) -> None:
        if len(self.written) < KEPT_PATHS:
            self.written[id(version)] = version
        elif id(version) not in self.written:
            self.paths_dropped += 1

    @property
    def outputs(self) -> list[Version[Execution]]:
        """The files that it wrote and did not remove, each once, by their present names."""
        left = {v.path: v for v in self.written.values() if not v.deleted}
        return list(left.values())

    def chain(self) -> Iterator[Execution]:
        """The execution itself, then the work around it."""
        at: Execution | None = self
        while at is not None:
            yield at
            at = at.outer

    @property
    def outermost(self) -> Execution:
        at = self
        while at.outer is not None:
            at = at.outer
        return at

    def is_part_of(self, other: Execution | None) -> bool:
        """The same work, or one inside of the other: neither is an outside cause for the other."""
        return other is not None and (other in self.chain() or self in other.chain())

    @property
    def is_step(self) -> bool:
        return bool(self.step_thread)

    @property
    def is_quiet(self) -> bool:
        """It has no start, end, heartbeat, metric or incident of its own: another host exports its
        spans, or its names belong to work that is proven.
        """
        return self.claimed or self.identity.is_ambiguous

    @property
    def reported(self) -> str:
        """The result of its own exit status; "unknown" where failures also exit with 0."""
        if self.root_failed:
            return "failure"
        return "unknown" if self.identity.unreliable_exit_status or self.is_step else "success"

    @property
    def result(self) -> str:
        if self.incomplete:
            return "unknown"
        return "failure" if self.root_failed or self.masked or self.failed_by else "success"

    def add(self, finding: Finding) -> None:
        """Also adds to the work around it."""
        if self.outer is not None:
            self.outer.add(finding)
        if len(self.findings) >= KEPT_FINDINGS:
            self.findings_dropped += 1
            return
        self.findings.append(finding)
