"""Connections that broke, and answers that were too short."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import msgspec

from receiver.events import Connection, ConnectionFlag
from receiver.facts.peers import Peer
from receiver.investigate.case import Case
from receiver.investigate.causes.peers import (
    IDLE_NS,
    clients,
    idle_before,
    notable_samples,
)
from receiver.investigate.snapshot import ProcessSnapshot


class Break(msgspec.Struct, frozen=True, eq=False):
    """A connection that broke: `reset` by the other end, or lost on the way."""

    actor: ProcessSnapshot
    peer: Peer
    sample: Connection
    reset: bool

    @property
    def idle_ns(self) -> int:
        return idle_before(self.peer, self.sample)

    @property
    def was_idle(self) -> bool:
        used = self.sample.received_bytes + self.sample.sent_bytes
        return self.idle_ns >= IDLE_NS and used > 0


def breaks(case: Case) -> Iterator[Break]:
    """Finds the last connection to each peer that was reset or lost."""
    for actor, peer in clients(case):
        for sample in reversed(notable_samples(peer)):
            if not sample.established_boottime_ns:
                continue
            reset = sample.error in (errno.ECONNRESET, errno.EPIPE) or bool(
                sample.connection_flags & ConnectionFlag.RESET_BY_PEER
            )
            lost = sample.error == errno.ETIMEDOUT or (
                sample.retransmits >= 2 and sample.unacknowledged_bytes
            )
            if reset or lost:
                yield Break(actor, peer, sample, reset)
                break
