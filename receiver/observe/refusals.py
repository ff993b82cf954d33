"""Refused connections: a client that retries until its server is up is refused at first."""

from __future__ import annotations

from collections import Counter

import msgspec

from receiver.events import ProcessKey
from receiver.facts.connections import TrackedConnection
from receiver.facts.peers import PeerTable
from receiver.model import Finding
from receiver.observe.files import EmitFinding
from receiver.observe.repeats import Kind, Repeats, counted
from receiver.observe.servers import Servers
from receiver.units import SECOND
from receiver.work.worker import Worker

KEPT_REFUSALS = 1024  # past it they are reported at once
OTHER_PORTS = -1  # of endpoints beyond those that are followed singly
REFUSED_NS = 30 * SECOND  # a server that is not up by then is not expected any more


class UnreportedRefusals(msgspec.Struct, eq=False):
    """Refused connections to one endpoint that are not reported yet. Mutable."""

    process: Worker
    first: Finding
    kind: Kind
    last_ns: int
    count: int = 1


class Refusals:
    """Holds a refusal back until its success fails to come; `drops` counts those that were made
    good.
    """

    def __init__(
        self, peers: PeerTable, servers: Servers, repeats: Repeats, report: EmitFinding
    ) -> None:
        self.drops: Counter[str] = Counter()
        self.peers = peers
        self.servers = servers
        self.repeats = repeats
        self._report = report
        # by the process that asked, and the port
        self._refused: dict[tuple[ProcessKey, int], UnreportedRefusals] = {}

    def connected(self, key: ProcessKey, port: int) -> None:
        """A connection to this port succeeded."""
        if self._refused and self._refused.pop((key, port), None) is not None:
            self.drops["refused_at_first"] += 1

    def failed(
        self, process: Worker, link: TrackedConnection, finding: Finding, error: str
    ) -> None:
        """The same failure of the same endpoint is a record once, and then a count.

        A client that retries until a server is up is refused at first, which is normal: a refusal
        is not reported until its success fails to come.
        """
        kind = self.repeats.kind(
            process, link.peer if link.peer in self.peers.of(process.key).peers else None, error
        )
        if error != "refused" or self.repeats.knows(process, kind):
            self.repeats.add(process, kind, finding)
            return
        key = (process.key, link.peer[1] if kind[0] is not None else OTHER_PORTS)
        waiting = self._refused.get(key)
        if waiting is not None:
            if waiting.kind == kind:
                waiting.count += 1
                waiting.last_ns = finding.time_boottime_ns
        elif len(self._refused) >= KEPT_REFUSALS:
            self.repeats.add(process, kind, finding)
        else:
            self._refused[key] = UnreportedRefusals(
                process, finding, kind, finding.time_boottime_ns
            )

    def _report_refused(self, key: tuple[ProcessKey, int]) -> None:
        refusal = self._refused.pop(key)
        if self.servers.has_shut_down(refusal.process, key[1]):
            self.drops["refused_after_shutdown"] += refusal.count
            return
        finding = refusal.first
        self.repeats.begin(refusal.process, refusal.kind)
        self._report(
            refusal.process,
            counted(finding, refusal.count, finding.time_boottime_ns, refusal.last_ns),
        )

    def tick(self, now_ns: int) -> None:
        for key, refusal in list(self._refused.items()):
            if now_ns - refusal.first.time_boottime_ns >= REFUSED_NS:
                self._report_refused(key)

    def report(self, key: ProcessKey) -> None:
        """The process has ended: its server was never up."""
        for refused in [k for k in self._refused if k[0] == key] if self._refused else ():
            self._report_refused(refused)

    def finish(self) -> None:
        """The observer stops. A living process that is still refused may succeed later."""
        for key, refusal in list(self._refused.items()):
            if refusal.process.exit is not None:
                self._report_refused(key)
            else:
                self.drops["refused_at_first"] += 1
