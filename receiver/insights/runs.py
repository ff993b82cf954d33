"""Runs, as the agents of all their hosts tell of them. No I/O and no clock: who calls says what time it is.

A run is a trace: its id is made from the names of the run (receiver.synthesis.ids), so every host comes to the same one.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator

import msgspec

from receiver import semconv as sc
from receiver.signals import Severity, Value

RUNS = 5000  # the one heard of least recently goes first
FACTS_PER_RUN = 512
HOSTS_PER_RUN = 256
SETTLE_SECONDS = 5.0  # without a further fact: what one host has told, the others have told by then, too
PATIENCE_SECONDS = 60.0  # … and at the latest
_KEPT = {
    sc.EVENT_PROCESS_OOM_KILLED, sc.EVENT_PROCESS_KILLED, sc.EVENT_PROCESS_HANG, sc.EVENT_PROCESS_MEMORY_GROWTH,
    sc.EVENT_PROCESS_CALL_FAILED, sc.EVENT_FILE_PARTIAL_WRITE, sc.EVENT_FILE_TAINTED_READ, sc.EVENT_FILE_CONFLICT,
    sc.EVENT_NETWORK_CONNECTION_FAILED, sc.EVENT_NETWORK_CONNECTION_STALLED, sc.EVENT_NETWORK_CONNECTION_EXHAUSTED,
    sc.EVENT_PIPELINE_TASK_CONTENTION, sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH, sc.EVENT_PIPELINE_INCIDENT_OPENED,
    sc.EVENT_PIPELINE_INCIDENT_HYPOTHESIS, sc.EVENT_PIPELINE_INCIDENT_EVIDENCE, sc.EVENT_PIPELINE_OBSERVER_EVENTS_LOST,
}  # fmt: skip
_KEPT_WHEN_FAILED = {sc.EVENT_PROCESS_EXIT, sc.EVENT_PIPELINE_TASK_END}
STARTING = {sc.EVENT_PIPELINE_INCIDENT_OPENED, sc.EVENT_PIPELINE_TASK_END}  # what makes anybody ask


class Told(msgspec.Struct, frozen=True):
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
        return float(found) if isinstance(found, int | float) else 0.0


class Run:
    """All that matters of what was told of one run."""

    __slots__ = ("asked_since", "changed_at", "facts", "hosts", "told")

    def __init__(self) -> None:
        self.facts: list[Told] = []
        self.hosts: dict[str, tuple[str, ...]] = {}  # name → addresses
        self.told: tuple[object, ...] = ()  # what was last concluded
        self.asked_since: float | None = None  # when the first of STARTING came; None: nobody asks
        self.changed_at = 0.0


class Runs:
    """Bounded; `drops` counts by reason what was not kept."""

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self.received = 0
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._due: dict[str, None] = {}  # runs with something to ask about, in order

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, told: Told, now: float) -> None:
        """`now`: seconds of any steady clock. The same record twice (OTLP delivers at least once) is one."""
        self.received += 1
        failed = told.kind in _KEPT_WHEN_FAILED and told.severity >= Severity.ERROR
        if not told.trace_id or not told.host:
            self.drops["without_run"] += 1
            return
        if not failed and told.kind not in _KEPT:
            self.drops["uninteresting"] += 1
            return
        run = self._runs.get(told.trace_id)
        if run is None:
            run = self._runs[told.trace_id] = Run()
            if len(self._runs) > RUNS:
                gone, _ = self._runs.popitem(last=False)
                self._due.pop(gone, None)
                self.drops["forgotten_run"] += 1
        self._runs.move_to_end(told.trace_id)
        if any(f.uid == told.uid and f.host == told.host for f in run.facts):
            self.drops["repeated"] += 1
            return
        if len(run.facts) >= FACTS_PER_RUN or (told.host not in run.hosts and len(run.hosts) >= HOSTS_PER_RUN):
            self.drops["run_full"] += 1
            return
        run.facts.append(told)
        run.hosts[told.host] = told.addresses or run.hosts.get(told.host, ())
        run.changed_at = now
        if told.kind in STARTING and run.asked_since is None:
            run.asked_since = now
        if run.asked_since is not None:
            self._due[told.trace_id] = None

    def due(self, now: float) -> Iterator[tuple[str, Run]]:
        """Runs about which enough was told, each once until more is told of it."""
        for trace_id in list(self._due):
            run = self._runs[trace_id]
            if now - run.changed_at >= SETTLE_SECONDS or now - (run.asked_since or 0.0) >= PATIENCE_SECONDS:
                del self._due[trace_id]
                run.asked_since = now
                yield trace_id, run
