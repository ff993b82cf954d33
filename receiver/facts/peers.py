"""What one process did on the network: its peers, its full accept queues, its failed name
queries."""

from __future__ import annotations

from collections import Counter

import msgspec

from receiver.events import Connection, NameQuery, ProcessKey
from receiver.facts.table import Table

PEERS_PER_PROCESS = 64
KEPT_MOMENTS = 8
KEPT_QUEUES = 16
KEPT_NAME_FAILURES = 4
Endpoint = tuple[str, int]  # address, port


class Peer(msgspec.Struct, eq=False, kw_only=True):
    """All connections of one process to one endpoint."""

    endpoint: Endpoint
    open: int = 0
    most: int = 0
    made: int = 0
    failed: Counter[str] = msgspec.field(default_factory=Counter)
    sent_bytes: int = 0
    received_bytes: int = 0
    retransmits: int = 0
    rtt_us: int = 0
    connect_ns: int = 0  # the longest
    longest_gap_ns: int = 0
    # it has reached its maximum number of connections, and every one waits for an answer
    full_since_ns: int = 0
    released_ns: int = 0  # one of them ended while it was full
    released_after_ns: int = 0  # it had been full for this long
    release_event: str = ""
    reported: bool = False
    longest_full_ns: int = 0
    # the time without received bytes at the start of the last send that was not acknowledged at
    # once
    idle_ns: int = 0
    quiet_ns: int = 0  # the longest time without a byte in either direction, from the samples
    quiet: Connection | None = None
    # notable events: failures, resets, the longest waits; the last few
    notable_facts: tuple[Connection, ...] = ()
    first: Connection | None = None
    last: Connection | None = None


class Network(msgspec.Struct, eq=False, kw_only=True):
    """The network facts of one process. Mutable; owned by the table."""

    peers: dict[Endpoint, Peer] = msgspec.field(default_factory=dict)
    queues: dict[int, Connection] = msgspec.field(default_factory=dict)  # once full, by port
    full: set[int] = msgspec.field(default_factory=set)  # ports whose queues are full now
    name_failures: tuple[NameQuery, ...] = ()  # DNS queries that got no answer or an error


_NOTHING = Network()


class PeerTable(Table[Network]):
    def of(self, key: ProcessKey) -> Network:
        """To be read only."""
        return self.rows.get(key, _NOTHING)

    def _row(self, key: ProcessKey) -> Network:
        return self.rows.get(key) or self.put(key, Network())

    def known(self, key: ProcessKey, endpoint: Endpoint) -> Peer | None:
        return self.of(key).peers.get(endpoint)

    def peer(self, key: ProcessKey, endpoint: Endpoint) -> Peer | None:
        """None, and counted, past the limit: a port scan is one process with many peers."""
        peers = self._row(key).peers
        found = peers.get(endpoint)
        if found is None:
            if len(peers) >= PEERS_PER_PROCESS:
                self.drops["too_many_peers"] += 1
                return None
            found = peers[endpoint] = Peer(endpoint=endpoint)
        return found

    def remark(self, key: ProcessKey, endpoint: Endpoint, fact: Connection) -> None:
        """Keeps an event that an investigation may need."""
        peer = self.known(key, endpoint)
        if peer is None:
            return
        if len(peer.notable_facts) == KEPT_MOMENTS:
            self.drops["older_moment"] += 1
        peer.notable_facts = (*peer.notable_facts[1 - KEPT_MOMENTS :], fact)

    def queue_full(self, fact: Connection) -> bool:
        """Whether the queue of this port was not full before."""
        row = self._row(fact.process)
        if fact.local_port in row.full:
            return False
        if len(row.full) >= KEPT_QUEUES:
            self.drops["too_many_queues"] += 1
            return False
        row.full.add(fact.local_port)
        if len(row.queues) < KEPT_QUEUES:
            row.queues[fact.local_port] = fact
        return True

    def queue_empty(self, fact: Connection) -> None:
        self.of(fact.process).full.discard(fact.local_port)

    def name_failed(self, key: ProcessKey, query: NameQuery) -> None:
        row = self._row(key)
        if len(row.name_failures) == KEPT_NAME_FAILURES:
            self.drops["older_name_failure"] += 1
        row.name_failures = (*row.name_failures[1 - KEPT_NAME_FAILURES :], query)
