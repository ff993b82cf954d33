"""Open connections of watched processes: their two ends, and how long each side waited.

A connection is keyed by (process, begin time). The counters are the kernel's. Gaps and plateaus are
computed once a second, when the connections are sampled.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from receiver.events import Connection as Fact
from receiver.events import ConnectionFlag, ConnectionStage, ProcessKey
from receiver.facts.peers import Endpoint, Peer, PeerTable
from receiver.facts.process import Process
from receiver.facts.table import Table
from receiver.text.names import address_of

CONNECTIONS = 65_536  # connections followed at a time; past it the oldest one is evicted


class TrackedConnection(msgspec.Struct, eq=False, kw_only=True):
    """One connection.

    Mutable; owned by the table. Times are boot ns, 0 when the event has not happened.
    """

    process: Process
    id: int
    peer: Endpoint
    family: int
    accepted: bool
    last: Fact
    longest_gap_ns: int = 0
    stall_reported: bool = False

    @property
    def owed_since_ns(self) -> int:
        """Since when the peer owes an answer; 0 when it does not.

        Only the side that sent a request is owed one.
        """
        fact = self.last
        if self.accepted:
            return 0
        if not fact.established_boottime_ns:
            return fact.connection_id
        return (
            fact.last_send_boottime_ns
            if fact.last_send_boottime_ns > fact.last_receive_boottime_ns
            else 0
        )


class ConnectionTable(Table[set[int]]):
    """The open connections. A row holds the ids of those of one process.

    `drops` counts evicted connections.
    """

    def __init__(self, keys: set[ProcessKey], peers: PeerTable) -> None:
        super().__init__(keys)
        self.peers = peers
        self.open: OrderedDict[tuple[ProcessKey, int], TrackedConnection] = OrderedDict()

    def note(self, process: Process, fact: Fact) -> TrackedConnection:
        """Applies one fact about one connection. No end is missed: the kernel reports every one."""
        key = (fact.process, fact.connection_id)
        link = self.open.get(key)
        if link is None:
            peer = (address_of(fact.family, fact.peer_high, fact.peer_low), fact.peer_port)
            accepted = bool(fact.connection_flags & ConnectionFlag.ACCEPTED)
            if accepted:
                peer = (peer[0], 0)  # a client's port identifies no service
            link = TrackedConnection(
                process=process,
                id=fact.connection_id,
                peer=peer,
                family=fact.family,
                accepted=accepted,
                last=fact,
            )
            if fact.stage in (ConnectionStage.CONNECTED, ConnectionStage.SAMPLED):
                self._add(key, link)
        peer_of = self.peers.peer(process.key, link.peer)
        if (
            fact.unacknowledged_bytes
            and (fact is link.last or not link.last.unacknowledged_bytes)
            and peer_of is not None
        ):
            since = fact.last_receive_boottime_ns or fact.established_boottime_ns
            peer_of.idle_ns = max(0, fact.last_send_boottime_ns - since) if since else 0
        link.last = fact
        if peer_of is not None:
            peer_of.first, peer_of.last = peer_of.first or fact, fact
        if fact.stage in (ConnectionStage.CLOSED, ConnectionStage.FAILED):
            was_open = self._remove(key) is not None
            if peer_of is not None:
                self._settle(peer_of, link, was_open=was_open)
        elif peer_of is not None:
            peer_of.rtt_us = fact.rtt_us or peer_of.rtt_us
            if fact.established_boottime_ns:
                peer_of.connect_ns = max(
                    peer_of.connect_ns, fact.established_boottime_ns - fact.connection_id
                )
        return link

    def _add(self, key: tuple[ProcessKey, int], link: TrackedConnection) -> None:
        self.open[key] = link
        (self.rows.get(key[0]) or self.put(key[0], set())).add(key[1])
        peer = self.peers.peer(key[0], link.peer)
        if peer is not None:
            peer.made += 1
            peer.open += 1
            peer.most = max(peer.most, peer.open)
        if len(self.open) > CONNECTIONS:
            oldest = self._remove(next(iter(self.open)))
            self.drops["forgotten_connection"] += 1
            left = self.peers.known(oldest.process.key, oldest.peer) if oldest is not None else None
            if left is not None:
                left.open = max(0, left.open - 1)

    def _remove(self, key: tuple[ProcessKey, int]) -> TrackedConnection | None:
        link = self.open.pop(key, None)
        if link is not None:
            own = self.rows[key[0]]
            own.discard(key[1])
            if not own:
                del self.rows[key[0]]
        return link

    def _settle(self, peer: Peer, link: TrackedConnection, *, was_open: bool) -> None:
        fact = link.last
        if was_open:
            peer.open = max(0, peer.open - 1)
        else:
            peer.made += 1
        peer.sent_bytes += fact.sent_bytes
        peer.received_bytes += fact.received_bytes
        peer.retransmits += fact.retransmits
        peer.rtt_us = fact.rtt_us or peer.rtt_us
        peer.longest_gap_ns = max(peer.longest_gap_ns, link.longest_gap_ns)

    def release(self, key: ProcessKey) -> None:
        """The process has ended. Its sockets can outlive it for a short time, but nothing reads
        them any more.
        """
        for number in list(self.rows.get(key, ())):
            link = self._remove((key, number))
            peer = self.peers.known(key, link.peer) if link is not None else None
            if link is not None and peer is not None:
                self._settle(peer, link, was_open=True)

    def forget(self, key: ProcessKey) -> None:
        self.release(key)
        super().forget(key)
