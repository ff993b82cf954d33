"""Connections, DNS queries and unix sockets: each event goes to the table, and becomes a finding
where it matters.
"""

from __future__ import annotations

from collections import Counter

from receiver import semconv as sc
from receiver.detect.network import (
    connection_failed,
    exhausted_by_call,
    name_failed,
    queue_full,
    slots_exhausted,
    stalled,
)
from receiver.events import (
    CallFailed,
    Connection,
    ConnectionStage,
    NameQuery,
    ProcessKey,
    UnixConnected,
)
from receiver.facts.connections import TrackedConnection
from receiver.facts.ending import Ending
from receiver.facts.peers import Endpoint, Peer
from receiver.observe.attempts import Attempts
from receiver.observe.files import EmitFinding
from receiver.observe.refusals import Refusals
from receiver.observe.repeats import Repeats
from receiver.observe.servers import Servers
from receiver.synthesis.metrics import STALL_BOUNDS
from receiver.text.names import address_of, event_id
from receiver.units import SECOND
from receiver.work.tables import Facts
from receiver.work.worker import Tree, Worker

NAME_NS = 5 * SECOND  # the resolver's own timeout (resolv.conf(5), timeout)
PATIENCE_NS = SECOND  # the shortest timeout that a resolver can be given
FULL_NS = 5 * SECOND
GAP_NS = 2 * SECOND  # a wait that an investigation may need
NEXT_USE_NS = SECOND


class NetworkActivity:
    """Owns the connection table."""

    def __init__(
        self,
        tree: Tree,
        attempts: Attempts,
        *,
        facts: Facts,
        report: EmitFinding,
        repeat: EmitFinding,
        stall_ns: int,
    ) -> None:
        self.tree = tree
        self.attempts = attempts
        self.facts = facts
        self.table = facts.connections
        self.peers = facts.peers
        self.names = facts.names
        self.drops: Counter[str] = Counter()
        self._report = report
        self._stall_ns = stall_ns
        self.repeats = Repeats(report, repeat)
        self.servers = Servers()
        self.refusals = Refusals(self.peers, self.servers, self.repeats, report)

    def connection(self, fact: Connection) -> None:
        process = self.tree.ensure(fact.process, "")
        if fact.stage == ConnectionStage.LISTENING:
            self._listening(process, fact)
            return
        link = self.table.note(process, fact)
        if link.accepted:
            self.servers.accepted(process, fact)
        peer = self.peers.known(process.key, link.peer)
        if fact.established_boottime_ns:
            self.refusals.connected(process.key, link.peer[1])
        match fact.stage:
            case ConnectionStage.SAMPLED:
                self._look(process, link, fact)
            case ConnectionStage.CONNECTED:
                if peer is not None:
                    self._used_again(process, peer, fact)
            case _:
                self._ended(process, link, peer, fact)

    def _listening(self, process: Worker, fact: Connection) -> None:
        link = TrackedConnection(
            process=process,
            id=fact.connection_id,
            peer=("", 0),
            family=fact.family,
            accepted=True,
            last=fact,
        )
        finding = queue_full(link, fact)
        if finding is None:
            self.peers.queue_empty(fact)
        elif self.peers.queue_full(fact):
            self._report(process, finding)

    def _look(self, process: Worker, link: TrackedConnection, fact: Connection) -> None:
        """Called once a second: which side owes an answer, and for how long."""
        now = fact.time_boottime_ns
        owed = link.owed_since_ns
        peer = self.peers.known(process.key, link.peer)
        used = max(
            fact.last_send_boottime_ns, fact.last_receive_boottime_ns, fact.established_boottime_ns
        )
        if peer is not None and used and now - used > peer.quiet_ns:
            peer.quiet_ns, peer.quiet = now - used, fact
        if owed:
            link.longest_gap_ns = max(link.longest_gap_ns, now - owed)
        elif link.stall_reported:
            self._stall_over(process, link)
        if (
            owed
            and not link.stall_reported
            and now - owed >= self._stall_ns
            and not self._is_internal(process, link, fact)
        ):
            finding = stalled(link, self.names.name_of(link.peer[0]), now, self._stall_ns)
            if finding is not None:
                link.stall_reported = True
                self.peers.remark(process.key, link.peer, fact)
                self._report(process, finding)
                self.attempts.book.add(
                    sc.METRIC_PIPELINE_NETWORK_STALLS, self.attempts.labels(process.execution)
                )

    def _is_internal(self, process: Worker, link: TrackedConnection, fact: Connection) -> bool:
        """The other end does the same work and has read all that it was sent.

        It owes nothing, because it may have nothing to answer (the messages of Spark's driver and
        executors go one way).
        """
        for other in self.table.open.values():
            if (
                other.last.local_port != fact.peer_port
                or other.last.peer_port != fact.local_port
                or other is link
            ):
                continue
            peer = self.tree.get(other.process.key)
            ours, theirs = process.execution, peer.execution if peer is not None else None
            if ours is not None and theirs is not None and ours.outermost is theirs.outermost:
                return not other.last.unread_bytes
        return False

    def _stall_over(self, process: Worker, link: TrackedConnection) -> None:
        link.stall_reported = False
        labels = self.attempts.labels(process.execution)
        self.attempts.book.record(
            sc.METRIC_PIPELINE_NETWORK_STALL_TIME,
            labels,
            link.longest_gap_ns / SECOND,
            STALL_BOUNDS,
        )

    def _ended(
        self, process: Worker, link: TrackedConnection, peer: Peer | None, fact: Connection
    ) -> None:
        name = self.names.name_of(link.peer[0])
        labels = self.attempts.labels(process.execution)
        if link.stall_reported:
            self._stall_over(process, link)
        for direction, count in (("transmit", fact.sent_bytes), ("receive", fact.received_bytes)):
            if count:
                self.attempts.book.add(
                    sc.METRIC_PIPELINE_TASK_NETWORK_IO,
                    (*labels, (sc.NETWORK_IO_DIRECTION, direction)),
                    count,
                )
        finding = connection_failed(link, name, fact)
        if finding is not None or fact.error or link.longest_gap_ns >= GAP_NS:
            self.peers.remark(process.key, link.peer, fact)
        if finding is not None and self.servers.says_farewell(process, fact):
            self.drops["reset_among_own"] += 1
        elif finding is not None:
            error = str(dict(finding.facts)[sc.ERROR_TYPE])
            self.attempts.book.add(
                sc.METRIC_PIPELINE_NETWORK_FAILURES, (*labels, (sc.ERROR_TYPE, error))
            )
            self.refusals.failed(process, link, finding, error)
            if peer is not None:
                peer.failed[error] += 1
        if peer is not None and peer.full_since_ns and fact.stage == ConnectionStage.CLOSED:
            peer.released_ns = fact.time_boottime_ns
            peer.released_after_ns = fact.time_boottime_ns - peer.full_since_ns
            peer.release_event = event_id(fact)
            peer.full_since_ns = 0

    def _used_again(self, process: Worker, peer: Peer, fact: Connection) -> None:
        """A connection made right after one of a full set was given up: a caller had waited for the
        slot.
        """
        waited = (
            0 < fact.connection_id - peer.released_ns < NEXT_USE_NS if peer.released_ns else False
        )
        if waited and peer.released_after_ns >= FULL_NS and not peer.reported:
            peer.reported = True
            self._report(process, slots_exhausted(process, peer, fact))

    def tick(self, now_ns: int) -> None:
        """Called after the second's samples: reports endpoints whose connections all wait, and
        names that are not reported yet.
        """
        busy: Counter[tuple[ProcessKey, Endpoint]] = Counter()
        for link in self.table.open.values():
            if link.owed_since_ns and link.last.established_boottime_ns:
                busy[(link.process.key, link.peer)] += 1
        for key in {process: None for process, _ in busy}:
            for peer in self.peers.of(key).peers.values():
                count = busy[(key, peer.endpoint)]
                # one connection above the usual number can exist for a moment, while an old one is
                # closed
                if count >= 2 and count == peer.open and count >= peer.most - 1:
                    peer.full_since_ns = peer.full_since_ns or now_ns
                    peer.longest_full_ns = max(peer.longest_full_ns, now_ns - peer.full_since_ns)
                else:
                    peer.full_since_ns = 0
        self.refusals.tick(now_ns)
        self.repeats.tick(now_ns)
        for query in self.names.unanswered(now_ns, NAME_NS):
            asker = self.tree.get(query.process)
            if asker is not None:
                self._name(asker, query, None)

    def name_query(self, event: NameQuery) -> None:
        process = self.tree.ensure(event.process, "")
        _, question = self.names.asked(event)
        if question is not None:
            self._name(process, question, event)

    def _name(self, process: Worker, query: NameQuery, answer: NameQuery | None) -> None:
        finding = name_failed(process, query, answer)
        if finding is None:
            return
        self.peers.name_failed(process.key, answer or query)
        labels = (
            *self.attempts.labels(process.execution),
            (sc.ERROR_TYPE, str(dict(finding.facts)[sc.ERROR_TYPE])),
        )
        self.attempts.book.add(sc.METRIC_PIPELINE_NETWORK_FAILURES, labels)
        facts = dict(finding.facts)
        asked = (facts[sc.NETWORK_PEER_ADDRESS], facts[sc.DNS_QUESTION_NAME])
        self.repeats.add(
            process, self.repeats.kind(process, asked, str(facts[sc.ERROR_TYPE])), finding
        )

    def unix_connected(self, event: UnixConnected) -> None:
        """It is in the timeline only."""
        self.tree.ensure(event.process, "")

    def call_failed(self, process: Worker, event: CallFailed) -> None:
        """Failures that show that a resource had run out: the first record of each series, which
        need not be the first failure.
        """
        in_use = 0
        if event.port:
            endpoint = (address_of(event.family, event.address_high, event.address_low), event.port)
            found = self.peers.known(process.key, endpoint)
            in_use = found.open if found is not None else 0
        last = self.facts.usage.last(process.key)
        limit = last.descriptor_max if last is not None else 0
        if finding := exhausted_by_call(process, event, in_use, limit):
            self._report(process, finding)

    def process_ended(self, process: Worker, end: Ending) -> None:
        """Reports connections that were refused to the end; for a failed process, also the names
        that were not resolved.
        """
        self.refusals.report(process.key)
        if end.failed and process.exit is not None:
            for query in self.names.unanswered_by(
                process.key, process.exit.time_boottime_ns - PATIENCE_NS
            ):
                self._name(process, query, None)
        self.repeats.process_ended(process)
        self.table.release(process.key)

    def forget(self, key: ProcessKey) -> None:
        """Reports its refused connections and the rest of its counts, and frees them."""
        self.refusals.report(key)
        self.repeats.forget(key)

    def finish(self) -> None:
        """The observer stops: reports what was counted.

        A living process that is still refused may succeed later.
        """
        self.refusals.finish()
        self.repeats.finish()
