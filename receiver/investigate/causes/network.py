"""What causes about connections that were never established share."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import msgspec

from receiver.events import Connection
from receiver.facts.peers import Peer
from receiver.investigate.case import Case
from receiver.investigate.causes.peers import clients, notable_samples
from receiver.investigate.snapshot import ProcessSnapshot


class Unanswered(msgspec.Struct, frozen=True, eq=False):
    """The connections of a process to one endpoint that were not established."""

    actor: ProcessSnapshot
    peer: Peer
    samples: tuple[Connection, ...]

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


def unanswered(case: Case) -> Iterator[Unanswered]:
    for actor, peer in clients(case):
        found = [m for m in notable_samples(peer) if not m.established_boottime_ns]
        yield Unanswered(actor, peer, tuple(found))


def full_listener(case: Case, peer: Peer) -> tuple[ProcessSnapshot, Connection] | None:
    """Returns the observed process that listens there, and its full accept queue."""
    return next(((a, q) for a in case for q in a.queues if q.local_port == peer.endpoint[1]), None)


def kept_waiting(case: Case, peer: Peer) -> tuple[ProcessSnapshot, Peer] | None:
    """Returns who made a connection to the same endpoint that nobody accepted, as far as a client
    can tell: it is established, and no byte came.
    """
    return next(
        (
            (a, p)
            for a, p in clients(case)
            if p.endpoint == peer.endpoint
            and p.made > sum(p.failed.values())
            and not p.received_bytes
            and not any(m.received_bytes for m in notable_samples(p))
            and p.first is not None
            and p.first.established_boottime_ns
        ),
        None,
    )
