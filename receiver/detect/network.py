"""Findings about connections: failed, broken, silent, or too few of them."""

from __future__ import annotations

import errno

from receiver import semconv as sc
from receiver.events import CallFailed, Connection, ConnectionFlag, ConnectionStage, NameQuery
from receiver.facts.connections import TrackedConnection
from receiver.facts.peers import Peer
from receiver.model import Finding
from receiver.signals import Severity
from receiver.text.names import AF_INET, address_of, event_id, name_in
from receiver.units import SECOND
from receiver.work.worker import Worker

_WORDS = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EPIPE: "reset",
}
_RCODES = {2: "dns_server_failure", 5: "dns_refused"}
_ABANDONED_NS = SECOND  # an earlier connect that was given up was one of several at once
Facts = tuple[tuple[str, str | int | float | bool], ...]


def connection_facts(link: TrackedConnection, name: str) -> Facts:
    fact = link.last
    facts: list[tuple[str, str | int | float | bool]] = [
        (sc.NETWORK_PEER_ADDRESS, link.peer[0]),
        (sc.NETWORK_PEER_PORT, fact.peer_port),
        (sc.NETWORK_TRANSPORT, "tcp"),
        (sc.NETWORK_TYPE, "ipv4" if link.family == AF_INET else "ipv6"),
        (sc.NETWORK_TCP_RETRANSMITS, fact.retransmits),
        (sc.NETWORK_TCP_RTT, fact.rtt_us / 1e6),
    ]
    if name:
        facts.append((sc.SERVER_ADDRESS, name))
    return tuple(facts)


def _target(link: TrackedConnection, name: str) -> str:
    host = f"[{link.peer[0]}]" if ":" in link.peer[0] else link.peer[0]
    return f"{host}:{link.last.peer_port}" + (f" ({name})" if name else "")


def connection_failed(link: TrackedConnection, name: str, fact: Connection) -> Finding | None:
    """The connect failed, or an error or a reset ended the connection before a pending answer
    arrived.
    """
    process = link.process
    if fact.stage == ConnectionStage.FAILED:
        lasted = fact.time_boottime_ns - fact.connection_id
        if not fact.error and lasted < _ABANDONED_NS:
            return None
        error = _WORDS.get(fact.error, f"errno_{fact.error}") if fact.error else "abandoned"
        what = {
            "abandoned": "gave up connecting to",
            "timeout": "could not reach",
            "refused": "was refused by",
        }
        sentence = (
            f"{process.name} ({process.key.tgid}) "
            f"{what.get(error, f'could not connect ({error}) to')} {_target(link, name)} "
            f"after {lasted / 1e9:.3f} s and {fact.retransmits} SYN retransmits."
        )
        more: Facts = ((sc.ERROR_TYPE, error), (sc.NETWORK_CONNECT_DURATION, lasted / 1e9))
    else:
        if link.accepted:
            return None  # clients disconnect at any time
        reset = fact.error in (errno.ECONNRESET, errno.EPIPE) or (
            fact.connection_flags & ConnectionFlag.RESET_BY_PEER
            and (link.owed_since_ns or fact.unread_bytes)
        )
        if not reset and fact.error != errno.ETIMEDOUT:
            return None
        error = "reset" if reset else "timeout"
        how = "was reset by" if reset else "timed out towards"
        sentence = (
            f"A connection of {process.name} ({process.key.tgid}) {how} "
            f"{_target(link, name)} after {fact.sent_bytes} bytes sent and "
            f"{fact.received_bytes} received."
        )
        more = ((sc.ERROR_TYPE, error),)
    return Finding(
        kind=sc.EVENT_NETWORK_CONNECTION_FAILED,
        process=process.key,
        time_boottime_ns=fact.time_boottime_ns,
        sentence=sentence,
        facts=(*connection_facts(link, name), *more),
        severity=Severity.ERROR if fact.stage == ConnectionStage.FAILED else Severity.WARN,
        evidence=(event_id(fact),),
    )


def stalled(link: TrackedConnection, name: str, now_ns: int, after_ns: int) -> Finding | None:
    """The peer has not answered for that long."""
    since = link.owed_since_ns
    if not since or now_ns - since < after_ns:
        return None
    fact, process = link.last, link.process
    owed = fact.unacknowledged_bytes
    if not fact.established_boottime_ns:
        what = f"has had no answer to its SYN ({fact.retransmits} retransmits) from"
    elif owed:
        what = f"has {owed} bytes that were not acknowledged ({fact.retransmits} retransmits) by"
    else:
        what = "sent a request that was acknowledged, and has had no answer from"
    return Finding(
        kind=sc.EVENT_NETWORK_CONNECTION_STALLED,
        process=process.key,
        time_boottime_ns=now_ns,
        sentence=(
            f"{process.name} ({process.key.tgid}) {what} {_target(link, name)} for "
            f"{(now_ns - since) / 1e9:.1f} s."
        ),
        facts=(
            *connection_facts(link, name),
            (sc.NETWORK_STALL_DURATION, (now_ns - since) / 1e9),
            (sc.NETWORK_STALL_BYTES, owed or fact.sent_bytes),
        ),
        severity=Severity.WARN,
        evidence=(event_id(fact),),
    )


def slots_exhausted(process: Worker, peer: Peer, fact: Connection) -> Finding:
    """All connections to one endpoint were waiting for answers, and the next use followed the first
    release at once.
    """
    lasted = peer.released_after_ns / 1e9
    address, port = peer.endpoint
    return Finding(
        kind=sc.EVENT_NETWORK_CONNECTION_EXHAUSTED,
        process=process.key,
        time_boottime_ns=fact.time_boottime_ns,
        sentence=(
            f"{process.name} ({process.key.tgid}) held all its {peer.most} connections to "
            f"{address}:{port} for {lasted:.1f} s, and used the next one "
            f"{(fact.time_boottime_ns - peer.released_ns) / 1e6:.0f} ms after one was free."
        ),
        facts=(
            (sc.NETWORK_EXHAUSTION_RESOURCE, "connection_slots"),
            (sc.NETWORK_EXHAUSTION_LIMIT, peer.most),
            (sc.NETWORK_EXHAUSTION_USED, peer.most),
            (sc.NETWORK_EXHAUSTION_DURATION, lasted),
            (sc.NETWORK_PEER_ADDRESS, address),
            (sc.NETWORK_PEER_PORT, port),
        ),
        severity=Severity.WARN,
        evidence=(peer.release_event, event_id(fact)),
        origin="inferred",
    )


def queue_full(link: TrackedConnection, fact: Connection) -> Finding | None:
    """A listener does not accept its connections, so the kernel drops new ones
    (tcp_v4_syn_recv_sock, sk_acceptq_is_full).
    """
    if fact.queued <= fact.backlog:
        return None
    process = link.process
    return Finding(
        kind=sc.EVENT_NETWORK_CONNECTION_EXHAUSTED,
        process=process.key,
        time_boottime_ns=fact.time_boottime_ns,
        sentence=(
            f"{process.name} ({process.key.tgid}) has {fact.queued} connections on port "
            f"{fact.local_port} that it has not accepted; its backlog is {fact.backlog}."
        ),
        facts=(
            (sc.NETWORK_EXHAUSTION_RESOURCE, "accept_queue"),
            (sc.NETWORK_EXHAUSTION_LIMIT, fact.backlog),
            (sc.NETWORK_EXHAUSTION_USED, fact.queued),
        ),
        severity=Severity.ERROR,
        evidence=(event_id(fact),),
    )


def exhausted_by_call(
    process: Worker, event: CallFailed, in_use: int, limit: int
) -> Finding | None:
    """EMFILE: the process has no free descriptor.

    EADDRNOTAVAIL of a connect: no local port is free towards the endpoint. `limit`: of its
    descriptors, 0 when it is not known.
    """
    facts: list[tuple[str, str | int | float | bool]]
    if event.error == errno.EMFILE:
        facts = [
            (sc.NETWORK_EXHAUSTION_RESOURCE, "file_descriptors"),
            (sc.NETWORK_EXHAUSTION_USED, limit or in_use),
        ]
        if limit:
            facts.append((sc.NETWORK_EXHAUSTION_LIMIT, limit))
        what = "has no free file descriptor" + (f" of {limit}" if limit else "")
    elif event.error == errno.EADDRNOTAVAIL and event.port:
        address = address_of(event.family, event.address_high, event.address_low)
        facts = [
            (sc.NETWORK_EXHAUSTION_RESOURCE, "ephemeral_ports"),
            (sc.NETWORK_EXHAUSTION_USED, in_use),
            (sc.NETWORK_PEER_ADDRESS, address),
            (sc.NETWORK_PEER_PORT, event.port),
        ]
        what = f"has no free local port for {address}:{event.port}, and {in_use} connections to it"
    else:
        return None
    return Finding(
        kind=sc.EVENT_NETWORK_CONNECTION_EXHAUSTED,
        process=process.key,
        time_boottime_ns=event.last_boottime_ns,
        sentence=f"{process.name} ({process.key.tgid}) {what}.",
        facts=tuple(facts),
        severity=Severity.ERROR,
        evidence=(event_id(event),),
    )


def name_failed(process: Worker, query: NameQuery, answer: NameQuery | None) -> Finding | None:
    """The name server failed, or did not answer at all. "No such name" is an answer."""
    error = "dns_timeout" if answer is None else _RCODES.get(answer.query_flags & 0xF, "")
    if not error:
        return None
    name, server = (
        name_in(query.labels),
        address_of(query.family, query.server_high, query.server_low),
    )
    what = "got no answer" if answer is None else f"got {error.removeprefix('dns_')}"
    return Finding(
        kind=sc.EVENT_NETWORK_CONNECTION_FAILED,
        process=process.key,
        time_boottime_ns=(answer or query).time_boottime_ns,
        sentence=f"{process.name} ({process.key.tgid}) asked {server} for {name} and {what}.",
        facts=(
            (sc.NETWORK_PEER_ADDRESS, server),
            (sc.NETWORK_PEER_PORT, query.port),
            (sc.NETWORK_TRANSPORT, "udp"),
            (sc.NETWORK_TYPE, "ipv4" if query.family == AF_INET else "ipv6"),
            (sc.DNS_QUESTION_NAME, name),
            (sc.ERROR_TYPE, error),
        ),
        severity=Severity.WARN,
        evidence=(event_id(answer or query),),
    )
