"""Runs, as the agents of all their hosts tell of them. No I/O and no clock: who calls says what time it is.

A run is a trace: its id is made from the names of the run (receiver.synthesis.ids), so every host comes to the same one.
"""

from __future__ import annotations

import math
import sys
from collections import Counter, OrderedDict
from collections.abc import Iterator

import msgspec

from receiver import semconv as sc
from receiver.signals import Severity, Value

RUNS = 5000  # the one heard of least recently goes first
BYTES = 96 << 20  # of all facts, as this process holds them
RUN_BYTES = 1 << 20
FACTS_PER_RUN = 512
HOSTS_PER_RUN = 256
SETTLE_SECONDS = (
    5.0  # without a further fact: what one host has told, the others have told by then, too
)
PATIENCE_SECONDS = 60.0  # … and at the latest
_KEPT = {
    sc.EVENT_PROCESS_OOM_KILLED,
    sc.EVENT_PROCESS_KILLED,
    sc.EVENT_PROCESS_HANG,
    sc.EVENT_PROCESS_MEMORY_GROWTH,
    sc.EVENT_PROCESS_CALL_FAILED,
    sc.EVENT_FILE_PARTIAL_WRITE,
    sc.EVENT_FILE_TAINTED_READ,
    sc.EVENT_FILE_CONFLICT,
    sc.EVENT_NETWORK_CONNECTION_FAILED,
    sc.EVENT_NETWORK_CONNECTION_STALLED,
    sc.EVENT_NETWORK_CONNECTION_EXHAUSTED,
    sc.EVENT_PIPELINE_TASK_CONTENTION,
    sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH,
    sc.EVENT_PIPELINE_INCIDENT_OPENED,
    sc.EVENT_PIPELINE_INCIDENT_HYPOTHESIS,
    sc.EVENT_PIPELINE_INCIDENT_EVIDENCE,
    sc.EVENT_PIPELINE_OBSERVER_EVENTS_LOST,
}
_KEPT_WHEN_FAILED = {sc.EVENT_PROCESS_EXIT, sc.EVENT_PIPELINE_TASK_END}
STARTING = {sc.EVENT_PIPELINE_INCIDENT_OPENED, sc.EVENT_PIPELINE_TASK_END}  # what makes anybody ask


def is_kept(kind: str, severity: int) -> bool:
    """Whether records of that kind say anything about what went wrong."""
    return kind in _KEPT or (kind in _KEPT_WHEN_FAILED and severity >= Severity.ERROR)


class RemoteFact(msgspec.Struct, frozen=True, kw_only=True):
    """One event record of one host. `at_ns` is Unix time by that host's clock; `uid` is its log.record.uid."""

    host: str
    addresses: tuple[str, ...]  # of the host, where its agent tells them
    uid: str
    at_ns: int
    kind: str
    severity: int
    text: str
    trace_id: str  # hex
    span_id: str
    values: dict[str, Value]

    def word(self, name: str) -> str:
        found = self.values.get(name, "")
        return found if isinstance(found, str) else str(found)

    def number(self, name: str) -> float:
        found = self.values.get(name, 0)
        try:
            value = float(found) if isinstance(found, int | float) else 0.0
        except OverflowError:
            return 0.0
        return value if math.isfinite(value) else 0.0

    def whole(self, name: str) -> int:
        """As an integer that fits into 63 bits; 0 for what is none."""
        value = self.number(name)
        return int(value) if 0 <= value < 1 << 63 else 0

    @property
    def cost(self) -> int:
        """About how many bytes it holds: its strings, and what stands around them."""
        texts = (
            self.host,
            self.uid,
            self.kind,
            self.text,
            self.trace_id,
            self.span_id,
            *self.addresses,
        )
        values = (v for v in self.values.values() if isinstance(v, str))
        return 800 + sum(map(sys.getsizeof, texts)) + sum(map(sys.getsizeof, values))


class RemoteRun:
    """All that matters of what was told of one run."""

    __slots__ = ("asked_since", "bytes", "changed_at", "facts", "hosts", "told")

    def __init__(self) -> None:
        self.facts: list[RemoteFact] = []
        self.bytes = 0
        self.hosts: dict[str, tuple[str, ...]] = {}  # name → addresses
        self.told: tuple[object, ...] = ()  # what was last concluded
        self.asked_since: float | None = None  # when the first of STARTING came; None: nobody asks
        self.changed_at = 0.0


class RemoteRuns:
    """Bounded; `drops` counts by reason what was not kept."""

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self.received = 0
        self.bytes = 0
        self._runs: OrderedDict[str, RemoteRun] = OrderedDict()
        self._due: dict[str, None] = {}  # runs with something to ask about, in order

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, told: RemoteFact, now: float) -> None:
        """`now`: seconds of any steady clock. The same record twice (OTLP delivers at least once) is one."""
        self.received += 1
        if not told.trace_id or not told.host:
            self.drops["without_run"] += 1
            return
        if not is_kept(told.kind, told.severity):
            self.drops["uninteresting"] += 1
            return
        run = self._runs.get(told.trace_id)
        if run is None:
            run = self._runs[told.trace_id] = RemoteRun()
        self._runs.move_to_end(told.trace_id)
        if any(f.uid == told.uid and f.host == told.host for f in run.facts):
            self.drops["repeated"] += 1
            return
        cost = told.cost
        full = len(run.facts) >= FACTS_PER_RUN or run.bytes + cost > RUN_BYTES
        if full or (told.host not in run.hosts and len(run.hosts) >= HOSTS_PER_RUN):
            self.drops["run_full"] += 1
            return
        run.facts.append(told)
        run.bytes += cost
        self.bytes += cost
        run.hosts[told.host] = told.addresses or run.hosts.get(told.host, ())
        run.changed_at = now
        if told.kind in STARTING and run.asked_since is None:
            run.asked_since = now
        if run.asked_since is not None:
            self._due[told.trace_id] = None
        while len(self._runs) > RUNS or self.bytes > BYTES:
            self._forget(next(iter(self._runs)), "forgotten_run")

    def set_aside(self, trace_id: str) -> None:
        """Forgets a run that cannot be looked at."""
        if trace_id in self._runs:
            self._forget(trace_id, "failed_run")

    def _forget(self, trace_id: str, reason: str) -> None:
        self.bytes -= self._runs.pop(trace_id).bytes
        self._due.pop(trace_id, None)
        self.drops[reason] += 1

    def due(self, now: float) -> Iterator[tuple[str, RemoteRun]]:
        """Runs about which enough was told, each once until more is told of it."""
        for trace_id in list(self._due):
            run = self._runs.get(trace_id)
            if run is None:  # forgotten while others were looked at
                continue
            if (
                now - run.changed_at >= SETTLE_SECONDS
                or now - (run.asked_since or 0.0) >= PATIENCE_SECONDS
            ):
                del self._due[trace_id]
                run.asked_since = now
                yield trace_id, run
