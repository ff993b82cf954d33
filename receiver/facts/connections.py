"""Connections of watched processes: their two ends, how long each side waited, and how many exist
at a time.

A connection is keyed by (process, begin time). The counters are the kernel's. Gaps and plateaus are
computed once a second, when the connections are sampled.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

import msgspec

from receiver.events import Connection as Fact
from receiver.events import ConnectionFlag, ConnectionStage, NameQuery, ProcessKey
from receiver.facts.tree import Process
from receiver.text.names import AF_INET, address_of, name_in

CONNECTIONS = 65_536  # connections followed at a time; past it the oldest one is evicted
PEERS_PER_PROCESS = 64
KEPT_MOMENTS = 8
NAMES = 4096
QUESTIONS = 4096
Endpoint = tuple[str, int]  # address, port


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
    answered_ns: int = 0  # the last sample at which the peer owed no answer
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
    told: bool = False
    longest_full_ns: int = 0
    # the time without received bytes at the start of the last send that was not acknowledged at
    # once
    idle_ns: int = 0
    quiet_ns: int = 0  # the longest time without a byte in either direction, from the samples
    quiet: Fact | None = None
    # notable events: failures, resets, the longest waits; the last few
    moments: tuple[Fact, ...] = ()
    first: Fact | None = None
    last: Fact | None = None


class ConnectionTable:
    """Open links, peers by process, and the DNS names of addresses.

    `drops` counts what was evicted.
    """

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self.open: OrderedDict[tuple[ProcessKey, int], TrackedConnection] = OrderedDict()
        self._of: dict[ProcessKey, set[int]] = {}  # ids of the open links, by process
        self._names: OrderedDict[str, str] = OrderedDict()
        self._questions: OrderedDict[tuple[ProcessKey, int, str], NameQuery] = OrderedDict()

    def name_of(self, address: str) -> str:
        """The DNS name whose query returned this address; empty when there was no query."""
        return self._names.get(address, "")

    @property
    def names(self) -> dict[str, str]:
        """DNS names by address."""
        return dict(self._names)

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
        peer_of = self.peer(process, link.peer)
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
                self._settle(peer_of, link, was_open)
        elif peer_of is not None:
            peer_of.rtt_us = fact.rtt_us or peer_of.rtt_us
            if fact.established_boottime_ns:
                peer_of.connect_ns = max(
                    peer_of.connect_ns, fact.established_boottime_ns - fact.connection_id
                )
        return link

    def _add(self, key: tuple[ProcessKey, int], link: TrackedConnection) -> None:
        self.open[key] = link
        self._of.setdefault(key[0], set()).add(key[1])
        peer = self.peer(link.process, link.peer)
        if peer is not None:
            peer.made += 1
            peer.open += 1
            peer.most = max(peer.most, peer.open)
        if len(self.open) > CONNECTIONS:
            oldest = self._remove(next(iter(self.open)))
            self.drops["forgotten_connection"] += 1
            left = oldest.process.peers.get(oldest.peer) if oldest is not None else None
            if left is not None:
                left.open = max(0, left.open - 1)

    def _remove(self, key: tuple[ProcessKey, int]) -> TrackedConnection | None:
        link = self.open.pop(key, None)
        if link is not None:
            own = self._of[key[0]]
            own.discard(key[1])
            if not own:
                del self._of[key[0]]
        return link

    def _settle(self, peer: Peer, link: TrackedConnection, was_open: bool) -> None:
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

    def peer(self, process: Process, endpoint: Endpoint) -> Peer | None:
        """None, and counted, past the limit: a port scan is one process with many peers."""
        found = process.peers.get(endpoint)
        if found is None:
            if len(process.peers) >= PEERS_PER_PROCESS:
                self.drops["too_many_peers"] += 1
                return None
            found = process.peers[endpoint] = Peer(endpoint=endpoint)
        return found

    def remark(self, link: TrackedConnection, fact: Fact) -> None:
        """Keeps an event that an investigation may need."""
        peer = link.process.peers.get(link.peer)
        if peer is not None:
            peer.moments = (*peer.moments[1 - KEPT_MOMENTS :], fact)

    def asked(self, query: NameQuery) -> tuple[str, NameQuery | None]:
        """A DNS query or an answer: the name, and for an answer its query.

        Addresses in an answer get that name.
        """
        name = name_in(query.labels)
        key = (query.process, query.query_id, query.labels)
        if not query.query_flags & 0x8000:
            self._questions.setdefault(key, query)  # repeated: the first time counts
            if len(self._questions) > QUESTIONS:
                self._questions.popitem(last=False)
                self.drops["forgotten_question"] += 1
            return name, None
        family = AF_INET if query.question_type == 1 else 0
        for high, low in (
            (query.first_high, query.first_low),
            (query.second_high, query.second_low),
        ):
            if high or low:
                address = address_of(family, high, low)
                self._names[address] = name
                self._names.move_to_end(address)
        while len(self._names) > NAMES:
            self._names.popitem(last=False)
        return name, self._questions.pop(key, None)

    def unanswered(self, now_ns: int, after_ns: int) -> list[NameQuery]:
        """Removes and returns the queries that are older than that."""
        late = []
        while self._questions:
            key, query = next(iter(self._questions.items()))
            if now_ns - query.time_boottime_ns < after_ns:
                break
            del self._questions[key]
            late.append(query)
        return late

    @property
    def questions(self) -> int:
        """The number of open links."""
        return len(self._questions)

    def unanswered_by(self, process: Process, before_ns: int) -> list[NameQuery]:
        """Removes and returns its open queries from before that time."""
        found = [
            k
            for k, q in self._questions.items()
            if k[0] == process.key and q.time_boottime_ns <= before_ns
        ]
        return [self._questions.pop(k) for k in found]

    def forget_process(self, process: Process) -> None:
        """Its sockets can outlive it for a short time, but nothing reads them any more."""
        for number in list(self._of.get(process.key, ())):
            link = self._remove((process.key, number))
            peer = process.peers.get(link.peer) if link is not None else None
            if link is not None and peer is not None:
                self._settle(peer, link, True)
