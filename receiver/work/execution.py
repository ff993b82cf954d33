"""Runs and task attempts: their start, the processes that do their work, and their end."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from receiver.events import ProcessKey
from receiver.facts.process import Process
from receiver.facts.versions import Version
from receiver.model import BACKED, CERTAIN, Finding, Identity, RemoteContext, RunKey, Slot
from receiver.work.fair_table import FairTable
from receiver.work.shares import Rates, Share

# attempts whose span is exported: a late process of theirs must not open a second one; and proven
# runs
REMEMBERED_ENDED = 4096
KEPT_FINDINGS = 256
KEPT_LINKS = 64  # tasks whose outputs one attempt read
KEPT_ROOTS = 64
KEPT_PATHS = 256  # inputs, and outputs, that one attempt is told to have
# attempts, and runs, at a time: an environment can name any number of them; one user gets half
OPEN_LIMIT = 20_000


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


class Run:
    """One run of a pipeline: its attempts share a trace."""

    def __init__(self, identity: Identity, trace_id: bytes, span_id: bytes, start_ns: int) -> None:
        self.identity = identity
        self.key: RunKey = identity.run_key  # the identity of its first claim
        self.trace_id = trace_id
        self.span_id = span_id
        self.start_ns = start_ns
        self.end_ns = start_ns
        self.active = 0
        self.failed: dict[tuple[str, int], bool] = {}  # last result of each task
        # some attempt is not in an application's own trace, so the run has a span
        self.announced = False
        self.incomplete = False


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
        self.rival: tuple[bytes, bytes] | None = (
            None  # (trace id, span id) of the proven work whose names it claims
        )
        self.outer = outer
        self.run = run  # of the outermost work in the same trace
        self.span_id = span_id
        self.root = root  # the first process of it that was seen
        # living processes that have a claim of their own to this work, not by ancestry
        self.holders: dict[ProcessKey, None] = {}
        # it has holders that end it; otherwise it continues as long as one of its processes lives
        self.held = False
        self.inside: dict[Execution, None] = {}  # open work inside of it
        self.step_thread = 0  # for a step: the thread that does it
        self.claimed = False  # the orchestrator runs on another host, which exports its span
        # how often the same attempt had ended before (Airflow defers a task and resumes it)
        self.resumed = 0
        self.start_ns = start_ns
        self.end_ns = start_ns
        self.live = 0
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
        self.block: object = None  # synthesis keeps the shared attributes here
        # (trace id, span id) of the tasks that wrote what it read
        self.reads_from: dict[tuple[bytes, bytes], None] = {}
        self.inputs: dict[str, None] = {}  # in order of first use
        self.written: dict[int, Version[Execution]] = {}
        self.paths_dropped = 0
        self.hang_reported = False

    def root_ended(self, process: Process, *, failed: bool, error: str) -> None:
        """One of the root processes, whose exit status is the work's status.

        A parent outside of the work can start several, one after another. Each counts: one that
        failed is made good by a success of the same command line, and by nothing else.
        """
        if self.held:
            self.root_failed, self.error = failed, error
            return
        self.lost_roots.pop(process.argv, None)
        if failed and len(self.lost_roots) < KEPT_ROOTS:
            self.lost_roots[process.argv] = (process.key, error)
        self.root_failed = failed or bool(self.lost_roots)
        self.error = error or next((e for _, e in reversed(self.lost_roots.values())), "")

    @property
    def speaker(self) -> ProcessKey:
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
        return "unknown" if self.identity.status_lies or self.is_step else "success"

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


def _names(identity: Identity) -> Names:
    return (identity.scope, *identity.key[:5])


def _run_names(identity: Identity) -> tuple[str, str, str]:
    return (identity.system, identity.pipeline, identity.run_id)


class Executions:
    """The open executions, by identity, and the keys of those that are over."""

    def __init__(self, grace_ns: int, run_grace_ns: int) -> None:
        self.grace_ns = grace_ns
        self.run_grace_ns = run_grace_ns
        self.open: dict[object, Execution] = {}
        self.runs: dict[RunKey, Run] = {}
        self._named: dict[Names, dict[int, Execution]] = {}  # of `open`, by map index
        self._open_share, self._run_share, self._rates = Share(), Share(), Rates()
        self._ended: FairTable[Slot, Execution] = FairTable(REMEMBERED_ENDED)
        self._proven: OrderedDict[tuple[str, str, str], dict[int, tuple[bytes, bytes]]] = (
            OrderedDict()
        )

    def ended(self, slot: Slot) -> Execution | None:
        return self._ended.get(slot)

    def proven_for_others(self, identity: Identity) -> tuple[int, tuple[bytes, bytes]] | None:
        """Another user who provably owns this run, with the trace and span id of the run."""
        owners = self._proven.get(_run_names(identity))
        return (
            next(((o, ids) for o, ids in owners.items() if o != identity.owner), None)
            if owners
            else None
        )

    def refuses(self, identity: Identity, outer: Execution | None, at_ns: int) -> str:
        """Why no more work of this user can be opened now; empty when it can. Proven work, and work that
        kwitness itself has started, is limited by the room alone."""
        owner = identity.owner
        if not (
            self._open_share.has_room(owner, OPEN_LIMIT)
            and self._run_share.has_room(owner, OPEN_LIMIT)
        ):
            return "too_many_executions"
        ours = identity.source == "command" or (
            outer is not None and outer.outermost.identity.source == "command"
        )
        return (
            ""
            if ours or identity.confidence >= BACKED or self._rates.allows(owner, at_ns)
            else "too_many_claims"
        )

    def like(self, identity: Identity) -> Execution | None:
        """Open work of the same names and scope. A map index that only one of them states does not
        tell them apart."""
        found = self._named.get(_names(identity))
        if not found:
            return None
        if identity.map_index >= 0:
            return found.get(identity.map_index) or found.get(-1)
        return found.get(-1) or next(iter(found.values()))

    def place(self, execution: Execution) -> None:
        """Under its slot and its names. Whoever has these names already keeps them."""
        identity = execution.identity
        self.open[execution.slot] = execution
        execution.names = _names(identity)
        if not execution.claimed:
            self._named.setdefault(execution.names, {}).setdefault(identity.map_index, execution)

    def displace(self, execution: Execution) -> None:
        self.open.pop(execution.slot, None)
        if execution.names is None:
            return
        found, index = self._named.get(execution.names, {}), execution.identity.map_index
        if found.get(index) is execution:
            del found[index]
            if not found:
                del self._named[execution.names]

    def opened(self, execution: Execution) -> None:
        self.place(execution)
        self._open_share.take(execution.identity.owner)
        if execution.outer is not None:
            execution.outer.inside[execution] = None
        if execution.run.key not in self.runs:
            self._run_share.take(execution.run.identity.owner)
        self.runs[execution.run.key] = execution.run
        execution.run.active += 1
        identity = execution.identity
        if identity.confidence >= CERTAIN and identity.portable:
            owners = self._proven.setdefault(_run_names(identity), {})
            owners.setdefault(identity.owner, (execution.run.trace_id, execution.run.span_id))
            self._proven.move_to_end(_run_names(identity))
            if len(self._proven) > REMEMBERED_ENDED:
                self._proven.popitem(last=False)

    def close(self, execution: Execution) -> None:
        execution.closed = True
        self.displace(execution)
        self._open_share.give_back(execution.identity.owner)
        if execution.outer is not None:
            execution.outer.inside.pop(execution, None)
        if not execution.claimed and not execution.is_step:
            identity = execution.identity
            self._ended.put(identity.slot, execution, identity.owner)
        run = execution.run
        run.active -= 1
        run.end_ns = max(run.end_ns, execution.end_ns)
        if execution.own_run:  # the work around it reports for it
            run.failed[(execution.identity.task, execution.identity.map_index)] = (
                execution.result == "failure"
            )

    def close_run(self, run: Run) -> bool:
        """Whether it was open."""
        if self.runs.pop(run.key, None) is None:
            return False
        self._run_share.give_back(run.identity.owner)
        return True

    def due(self, now_ns: int) -> list[Execution]:
        """The executions that are over, inner ones first.

        With holders: when the last of them has ended, at once if no process of it lives, else after
        the grace period; then the living processes are released. Without: when none of its
        processes has lived for the grace period. A command ends with its own process.
        """
        found = [e for e in self.open.values() if not e.is_step and self._is_due(e, now_ns)]
        return sorted(found, key=lambda e: sum(1 for _ in e.chain()), reverse=True)

    def _is_due(self, execution: Execution, now_ns: int) -> bool:
        if execution.identity.type == "command" and execution.identity.source == "command":
            return not execution.live
        late = now_ns - execution.end_ns >= self.grace_ns
        if execution.held:
            return not execution.holders and (late or not execution.live)
        return late and not execution.live

    def due_runs(self, now_ns: int) -> list[Run]:
        """Runs without an open attempt for the grace period: in most cases their real end is not
        visible.
        """
        return [
            r
            for r in self.runs.values()
            if not r.active
            and (r.identity.type == "command" or now_ns - r.end_ns >= self.run_grace_ns)
        ]
