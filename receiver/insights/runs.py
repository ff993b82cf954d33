"""Collects what the agents of all hosts report about a run.

The module does no I/O and reads no clock: the caller passes the time. A run is a trace. Its id is
made from the names of the run (receiver.synthesis.ids), so each host computes the same id.
"""

from __future__ import annotations

import math
import sys
from collections import Counter, OrderedDict
from collections.abc import Iterator

import msgspec

from receiver import semconv as sc
from receiver.detect.findings import spec_of
from receiver.signals import Severity, Value
from receiver.units import MIB

RUNS = 5000  # above this number, the least recently updated run is dropped
BYTES = 96 * MIB  # memory of all facts in this process
RUN_BYTES = MIB
FACTS_PER_RUN = 512
HOSTS_PER_RUN = 256
# A run is due after this time without a new fact: by then the other hosts have reported, too.
SETTLE_SECONDS = 5.0
PATIENCE_SECONDS = 60.0  # a run is due after this time at the latest
# Records that are kept and are no findings; `detect.findings` says which findings are kept.
_KEPT = {
    sc.EVENT_PIPELINE_INCIDENT_OPENED,
    sc.EVENT_PIPELINE_INCIDENT_HYPOTHESIS,
    sc.EVENT_PIPELINE_INCIDENT_EVIDENCE,
    sc.EVENT_PIPELINE_OBSERVER_EVENTS_LOST,
}
_KEPT_WHEN_FAILED = {sc.EVENT_PROCESS_EXIT, sc.EVENT_PIPELINE_TASK_END}
# Records that start an investigation.
STARTING = {sc.EVENT_PIPELINE_INCIDENT_OPENED, sc.EVENT_PIPELINE_TASK_END}


def is_kept(kind: str, severity: int) -> bool:
    """Whether records of this kind can help to explain a failure."""
    if kind in _KEPT or spec_of(kind).kept:
        return True
    return kind in _KEPT_WHEN_FAILED and severity >= Severity.ERROR


class RemoteFact(msgspec.Struct, frozen=True, kw_only=True):
    """One event record of one host.

    `at_ns` is Unix time by that host's clock; `uid` is its log.record.uid.
    """

    host: str
    addresses: tuple[str, ...]  # of the host, if its agent reports them
    uid: str
    at_ns: int
    kind: str
    severity: int
    text: str
    trace_id: str  # hexadecimal
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
        """Returns the attribute as an integer below 2**63; 0 if it is none."""
        value = self.number(name)
        return int(value) if 0 <= value < 1 << 63 else 0

    @property
    def cost(self) -> int:
        """The approximate memory of the fact in bytes: its strings and their containers."""
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
    """The facts that the agents reported about one run."""

    __slots__ = ("asked_since", "bytes", "changed_at", "concluded", "facts", "hosts")

    def __init__(self) -> None:
        self.facts: list[RemoteFact] = []
        self.bytes = 0
        self.hosts: dict[str, tuple[str, ...]] = {}  # host → addresses
        self.concluded: tuple[object, ...] = ()  # the last conclusion
        # The time of the first record in STARTING; None if there was none.
        self.asked_since: float | None = None
        self.changed_at = 0.0


class RemoteRuns:
    """All runs, bounded. `drops` counts dropped facts and runs by reason."""

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self.received = 0
        self.bytes = 0
        self._runs: OrderedDict[str, RemoteRun] = OrderedDict()
        self._due: dict[str, None] = {}  # runs that wait for an investigation, in order

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, fact: RemoteFact, now: float) -> None:
        """Adds a fact.

        `now` is in seconds of a steady clock. OTLP delivers at least once, so a repeated record is
        dropped.
        """
        self.received += 1
        if not fact.trace_id or not fact.host:
            self.drops["without_run"] += 1
            return
        if not is_kept(fact.kind, fact.severity):
            self.drops["uninteresting"] += 1
            return
        run = self._runs.get(fact.trace_id)
        if run is None:
            run = self._runs[fact.trace_id] = RemoteRun()
        self._runs.move_to_end(fact.trace_id)
        if any(f.uid == fact.uid and f.host == fact.host for f in run.facts):
            self.drops["repeated"] += 1
            return
        cost = fact.cost
        full = len(run.facts) >= FACTS_PER_RUN or run.bytes + cost > RUN_BYTES
        if full or (fact.host not in run.hosts and len(run.hosts) >= HOSTS_PER_RUN):
            self.drops["run_full"] += 1
            return
        run.facts.append(fact)
        run.bytes += cost
        self.bytes += cost
        run.hosts[fact.host] = fact.addresses or run.hosts.get(fact.host, ())
        run.changed_at = now
        if fact.kind in STARTING and run.asked_since is None:
            run.asked_since = now
        if run.asked_since is not None:
            self._due[fact.trace_id] = None
        while len(self._runs) > RUNS or self.bytes > BYTES:
            self._forget(next(iter(self._runs)), "forgotten_run")

    def set_aside(self, trace_id: str) -> None:
        """Drops a run that cannot be evaluated."""
        if trace_id in self._runs:
            self._forget(trace_id, "failed_run")

    def _forget(self, trace_id: str, reason: str) -> None:
        self.bytes -= self._runs.pop(trace_id).bytes
        self._due.pop(trace_id, None)
        self.drops[reason] += 1

    def due(self, now: float) -> Iterator[tuple[str, RemoteRun]]:
        """Yields the runs that are due. A run is due again only after a new fact."""
        for trace_id in list(self._due):
            run = self._runs.get(trace_id)
            if run is None:  # it was dropped while another run was evaluated
                continue
            if (
                now - run.changed_at >= SETTLE_SECONDS
                or now - (run.asked_since or 0.0) >= PATIENCE_SECONDS
            ):
                del self._due[trace_id]
                run.asked_since = now
                yield trace_id, run
