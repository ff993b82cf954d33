"""What causes about connections that were never established share."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import msgspec

from receiver.events import Connection
from receiver.facts.peers import Endpoint, Peer
from receiver.investigate.case import Case
from receiver.investigate.causes.peers import clients, notable_samples
from receiver.investigate.snapshot import ProcessSnapshot


class EarlierClient(msgspec.Struct, frozen=True, eq=False):
    """A process whose connection to an endpoint was established and brought no byte."""

    actor: ProcessSnapshot
    first: Connection


class Unanswered(msgspec.Struct, frozen=True, eq=False):
    """The connections of a process to one endpoint that were not established."""

    actor: ProcessSnapshot
    peer: Peer
    samples: tuple[Connection, ...]
    # the observed process that listens there, and its full accept queue
    full_listener: tuple[ProcessSnapshot, Connection] | None
    earliest: EarlierClient | None  # of all processes, also of later ones

    @property
    def silent(self) -> list[Connection]:
        """Those whose SYN was repeated, and got no answer."""
        return [m for m in self.samples if m.retransmits and m.error != errno.ECONNREFUSED]

    @property
    def refused(self) -> list[Connection]:
        return [m for m in self.samples if m.error == errno.ECONNREFUSED]

    @property
    def seconds(self) -> float:
        """How long the last one without an answer was tried."""
        last = self.silent[-1]
        return (last.time_boottime_ns - last.connection_id) / 1e9

    @property
    def kept_waiting(self) -> EarlierClient | None:
        """Who had been connected before the last one without an answer began, and got no byte."""
        found = self.earliest
        # a connection's id is the time at which it began
        before = found is not None and (
            found.first.established_boottime_ns <= self.silent[-1].connection_id
        )
        return found if before else None


def unanswered(case: Case) -> Iterator[Unanswered]:
    full: dict[int, tuple[ProcessSnapshot, Connection]] = {}
    for actor in case:
        for queue in actor.queues:
            full.setdefault(queue.local_port, (actor, queue))
    earliest = _earliest_clients(case)
    for actor, peer in clients(case):
        found = [m for m in notable_samples(peer) if not m.established_boottime_ns]
        endpoint = peer.endpoint
        yield Unanswered(actor, peer, tuple(found), full.get(endpoint[1]), earliest.get(endpoint))


def _earliest_clients(case: Case) -> dict[Endpoint, EarlierClient]:
    """Returns, for each endpoint, who was connected first among those that got no byte from it."""
    out: dict[Endpoint, EarlierClient] = {}
    for actor, peer in clients(case):
        first, known = peer.first, out.get(peer.endpoint)
        if (
            first is not None
            and first.established_boottime_ns
            and peer.made > sum(peer.failed.values())
            and not peer.received_bytes
            and not any(m.received_bytes for m in notable_samples(peer))
            and (
                known is None or first.established_boottime_ns < known.first.established_boottime_ns
            )
        ):
            out[peer.endpoint] = EarlierClient(actor, first)
    return out
