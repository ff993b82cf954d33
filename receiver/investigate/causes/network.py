"""Peers: not reached, silent, broken; slots, ports and names that ran out."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.events import Connection, ConnectionFlag, ConnectionStage
from receiver.facts.connections import Peer
from receiver.investigate.case import Case, ProcessSnapshot
from receiver.investigate.causes.common import SECOND
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    Evidence,
    contradicts,
    ends,
    facts,
    process_culprit,
    supports,
)
from receiver.text.event_text import wait_of
from receiver.text.names import address_of, name_in

_IDLE_NS = 4 * SECOND  # without a byte either way: an idle connection
SILENT_NS = 3 * SECOND
TICK_NS = 10_000_000  # stamps of sends and receives are to the tick, at most 10 ms (CONFIG_HZ=100)
_PATIENCE_NS = 60 * SECOND  # with a peer that took the request
_LARGE = 1200  # bytes: more than fits the smallest packets
DATABASES = {
    5432: "PostgreSQL",
    3306: "MySQL",
    1433: "SQL Server",
    1521: "Oracle",
    27017: "MongoDB",
    6379: "Redis",
    5439: "Redshift",
    6432: "pgbouncer",
    26257: "CockroachDB",
    3307: "MySQL",
    5433: "PostgreSQL",
}


def where(peer: Peer) -> str:
    host = f"[{peer.endpoint[0]}]" if ":" in peer.endpoint[0] else peer.endpoint[0]
    return f"{host}:{peer.endpoint[1]}"


def endpoint(peer: Peer) -> Culprit:
    return Culprit(type="endpoint", address=where(peer))


def clients(case: Case) -> Iterator[tuple[ProcessSnapshot, Peer]]:
    """Peers that a process connected to; who listens has peers without a port."""
    for actor in case:
        for peer in actor.peers:
            if peer.endpoint[1]:
                yield actor, peer


def after(actor: ProcessSnapshot, at_ns: int) -> list[Evidence]:
    """Whether its process failed soon after that."""
    if not actor.failed or actor.end.signal:
        return []
    soon = actor.end_ns - at_ns
    if soon < 0 or soon > 10 * SECOND:
        return []
    weight = SOME if soon < 2 * SECOND else SLIGHT
    return [
        supports(
            weight,
            f"{actor.who} ended with {actor.end.error} {soon / 1e9:.1f} s later.",
            ends(actor),
        )
    ]


def moments(peer: Peer) -> list[Connection]:
    """What was remarkable of it, and its last look."""
    return [
        *peer.moments,
        *([peer.last] if peer.last is not None and peer.last not in peer.moments else []),
    ]


def last_moment(peer: Peer) -> Connection | None:
    return peer.moments[-1] if peer.moments else peer.last


def unreachable(case: Case) -> Iterator[Candidate]:
    """SYNs that nobody answers; a refusal; a listener that does not accept."""
    for actor, peer in clients(case):
        unanswered = [m for m in moments(peer) if not m.established_boottime_ns]
        silent = [m for m in unanswered if m.retransmits and m.error not in (errno.ECONNREFUSED,)]
        refused = [m for m in unanswered if m.error == errno.ECONNREFUSED]
        full = _full_listener(case, peer)
        if silent:
            moment = silent[-1]
            lasted = (moment.time_boottime_ns - moment.connection_id) / 1e9
            text = (
                f"{actor.who} sent {moment.retransmits + 1} SYNs to {where(peer)} in {lasted:.1f} "
                "s, and nobody answered."
            )
            evidence = [supports(CLEAR + SLIGHT, text, facts(*silent[-2:]))]
            evidence += after(actor, moment.time_boottime_ns)
            if peer.made > len(unanswered) and peer.received_bytes:
                evidence.append(contradicts(SLIGHT, "It had answered before.", facts(peer.first)))
            if full is not None:
                server, fact_of_queue = full
                text = (
                    f"{server.who} listens there, with a queue that is full "
                    f"({fact_of_queue.queued} of {fact_of_queue.backlog})."
                )
                evidence = [
                    *evidence[:1],
                    supports(STRONG, text, facts(fact_of_queue)),
                    *evidence[1:],
                ]
                summary = (
                    f"{where(peer)} takes no connections: the accept queue of {server.who} is full."
                )
                yield blame(
                    actor,
                    "net.backlog_refused",
                    endpoint(peer),
                    summary=summary,
                    evidence=evidence,
                    moment=moment,
                )
            else:
                summary = (
                    f"Packets from {actor.who} to {where(peer)} vanish: {moment.retransmits + 1} "
                    f"SYNs in {lasted:.1f} s."
                )
                yield blame(
                    actor,
                    "net.blackhole",
                    endpoint(peer),
                    summary=summary,
                    evidence=evidence,
                    moment=moment,
                )
        elif refused or (peer.failed.get("refused") and not peer.received_bytes):
            moment_or_none = refused[-1] if refused else last_moment(peer)
            if moment_or_none is None:
                continue
            text = (
                f"{where(peer)} refused {actor.who} {max(1, peer.failed['refused'])} times: nobody "
                "listened there."
            )
            evidence = [
                supports(CLEAR, text, facts(*refused[-2:])),
                *after(actor, moment_or_none.time_boottime_ns),
            ]
            if peer.received_bytes:
                evidence.append(contradicts(CLEAR, "It was let in later.", facts(peer.last)))
            yield blame(
                actor,
                "net.backlog_refused",
                endpoint(peer),
                summary=f"Nobody listened on {where(peer)}: {actor.who} was refused.",
                evidence=evidence,
                moment=moment_or_none,
            )
        elif unanswered and unanswered[-1].error in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            moment = unanswered[-1]
            evidence = [
                supports(CLEAR, f"No way leads to {where(peer)}.", facts(moment)),
                *after(actor, moment.time_boottime_ns),
            ]
            yield blame(
                actor,
                "net.blackhole",
                endpoint(peer),
                summary=f"No way leads from {actor.who} to {where(peer)}.",
                evidence=evidence,
                moment=moment,
            )


def blame(
    actor: ProcessSnapshot,
    cause: str,
    culprit: Culprit,
    *,
    summary: str,
    evidence: list[Evidence],
    moment: Connection,
    silent: bool = False,
) -> Candidate:
    return Candidate(
        cause=cause,
        culprit=culprit,
        summary=summary,
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=moment.time_boottime_ns,
        silent=silent,
    )


def _full_listener(case: Case, peer: Peer) -> tuple[ProcessSnapshot, Connection] | None:
    return next(((a, q) for a in case for q in a.queues if q.local_port == peer.endpoint[1]), None)


def longest_gap(peer: Peer) -> int:
    """The longest wait for an answer on an established connection."""
    longest = peer.longest_gap_ns
    for moment in moments(peer):
        if (
            moment.unacknowledged_bytes and moment.retransmits
        ):  # sent again and again: the last send says nothing
            since = max(
                moment.last_receive_boottime_ns or moment.established_boottime_ns,
                moment.time_boottime_ns - 60 * SECOND,
            )
            longest = max(longest, moment.time_boottime_ns - since - peer.idle_ns)
        elif (
            moment.established_boottime_ns
            and moment.last_send_boottime_ns > moment.last_receive_boottime_ns
        ):
            longest = max(longest, moment.time_boottime_ns - moment.last_send_boottime_ns)
    return longest


def _answer(peer: Peer, moment: Connection) -> Connection | None:
    """The look at the connection that shows that the peer spoke after that wait."""
    later = [
        m
        for m in (*peer.moments, *((peer.last,) if peer.last is not None else ()))
        if m.time_boottime_ns >= moment.time_boottime_ns
    ]
    return next(
        (m for m in later if m.last_receive_boottime_ns > moment.last_send_boottime_ns > 0), None
    )


def silence(case: Case) -> Iterator[Candidate]:
    """Established, asked, acknowledged, and no answer: who is silent, and what it may be waiting for."""
    for actor, peer in clients(case):
        moment = next((m for m in reversed(peer.moments) if m.established_boottime_ns), peer.last)
        gap = longest_gap(peer)
        if gap < SILENT_NS and (waited := _waits_for(actor, peer)):
            gap, moment = waited, peer.quiet
        if moment is None or not moment.established_boottime_ns or gap < SILENT_NS:
            continue
        if _internal(case, actor, moment):
            continue
        owed = moment.unacknowledged_bytes
        idle = _idle_before(peer, moment)
        lost = moment.retransmits >= 2 and owed
        if (
            lost
            and owed > _LARGE
            and moment.received_bytes + moment.sent_bytes > 0
            and (moment.sent_bytes - owed > 0 or moment.received_bytes)
        ):
            yield _mtu(actor, peer, moment, owed, idle)
        if (lost or moment.error in (errno.ETIMEDOUT, errno.ECONNRESET)) and idle >= _IDLE_NS:
            continue  # a dropped idle connection, below
        text = f"{actor.who} waited {gap / 1e9:.1f} s for an answer of {where(peer)}."
        evidence = [supports(CLEAR, text, facts(moment))]
        if not owed:
            evidence.append(
                supports(
                    SOME,
                    "All that it had sent was acknowledged: the network delivered.",
                    facts(moment),
                )
            )
        else:
            evidence.append(
                contradicts(SOME, f"{owed} bytes were never acknowledged.", facts(moment))
            )
        evidence += after(actor, moment.time_boottime_ns)
        whole = gap / max(1, (actor.end_ns or case.now_ns) - actor.start_ns)
        if whole > 0.5:
            evidence.append(
                supports(SLIGHT, f"That is {whole:.0%} of its life.", ends(actor) or facts(moment))
            )
        summary = (
            f"{where(peer)} took the request of {actor.who} and did not answer for {gap / 1e9:.1f} "
            "s."
        )
        if (answer := _answer(peer, moment)) is not None:
            evidence.append(contradicts(SLIGHT, "It did answer in the end.", facts(answer)))
        # a warehouse may think for minutes: as long as nothing failed, that is no incident; a wait that goes on is a question
        patience = 10 * SECOND if owed or lost else _PATIENCE_NS
        silent = actor.exit is None and answer is None and gap >= patience
        yield blame(
            actor,
            "net.silent_peer",
            endpoint(peer),
            summary=summary,
            evidence=evidence,
            moment=moment,
            silent=silent or (case.slow and gap >= 10 * SECOND),
        )
        if peer.endpoint[1] in DATABASES:
            yield _lock_wait(case, actor, peer, moment, evidence)


def _waits_for(actor: ProcessSnapshot, peer: Peer) -> int:
    """It asked in the tick in which it was last answered, so that stamps do not tell; but it has done nothing since, and this is
    the only connection that it can be waiting for."""
    quiet, spell = peer.quiet, actor.usage.spell if actor.usage is not None else None
    if (
        quiet is None
        or spell is None
        or quiet.last_receive_boottime_ns - quiet.last_send_boottime_ns > TICK_NS
    ):
        return 0
    alone = all(p is peer or not p.endpoint[1] for p in actor.peers)
    waits = any(wait_of(w) in ("poll", "socket") for w in spell.waits)
    return peer.quiet_ns if alone and waits and spell.ns >= 0.7 * peer.quiet_ns else 0


def _internal(case: Case, actor: ProcessSnapshot, moment: Connection) -> bool:
    """The other end is a process of the same case that has nothing to say, or one that does the waiting itself."""
    for other in case:
        for peer in other.peers:
            last = peer.last
            if (
                last is None
                or other is actor
                or not last.connection_flags & ConnectionFlag.ACCEPTED
            ):
                continue
            if last.local_port == moment.peer_port and last.peer_port == moment.local_port:
                return not last.unread_bytes and case.related(other, actor)
    return False


def _idle_before(peer: Peer, moment: Connection) -> int:
    """How long nothing had come when the last send went out."""
    if moment.retransmits:
        return peer.idle_ns
    last = moment.last_receive_boottime_ns or moment.established_boottime_ns
    return max(0, moment.last_send_boottime_ns - last) if last else 0


def _mtu(actor: ProcessSnapshot, peer: Peer, moment: Connection, owed: int, idle: int) -> Candidate:
    acked = max(0, moment.sent_bytes - owed)
    text = (
        f"{owed} bytes to {where(peer)} went out {moment.retransmits + 1} times and were never "
        "acknowledged."
    )
    evidence = [supports(CLEAR, text, facts(moment))]
    text = f"Small ones were: {acked} bytes out, {moment.received_bytes} in."
    evidence.append(supports(SOME, text, facts(peer.first, moment)))
    if idle >= _IDLE_NS:
        evidence.append(
            contradicts(
                SOME, f"The connection had been idle for {idle / 1e9:.0f} s before.", facts(moment)
            )
        )
    evidence += after(actor, moment.time_boottime_ns)
    summary = f"Large packets from {actor.who} to {where(peer)} vanish, small ones arrive."
    return blame(
        actor, "net.mtu", endpoint(peer), summary=summary, evidence=evidence, moment=moment
    )


def _lock_wait(
    case: Case, actor: ProcessSnapshot, peer: Peer, moment: Connection, silent: list[Evidence]
) -> Candidate:
    """Another client of the same database that was in the middle of something."""
    name = DATABASES[peer.endpoint[1]]
    evidence = [*silent, supports(SOME, f"Port {peer.endpoint[1]} is {name}'s.", facts(peer.first))]
    since = moment.last_send_boottime_ns
    holder, seen = None, None
    for other, theirs in clients(case):
        quiet = theirs.quiet
        if (
            other is actor
            or theirs.endpoint[1] != peer.endpoint[1]
            or quiet is None
            or quiet.connection_id > since
        ):
            continue
        if (
            theirs.quiet_ns >= SECOND and quiet.time_boottime_ns > since
        ):  # it said nothing in that time
            holder, seen = other, quiet
    if holder is not None:
        text = (
            f"{holder.who} was connected to the same database since before, and said nothing in "
            "that time."
        )
        evidence.append(supports(CLEAR, text, facts(seen)))
        done = next(
            (p.last for p in holder.peers if p.last is not None and p.endpoint == peer.endpoint),
            None,
        )
        answered = peer.last.last_receive_boottime_ns if peer.last is not None else 0
        if done is not None and answered and 0 <= answered - done.last_send_boottime_ns < SECOND:
            evidence.append(
                supports(
                    SOME, "The answer came as soon as that one went on.", facts(done, peer.last)
                )
            )
    culprit = process_culprit(holder) if holder is not None else endpoint(peer)
    by = f" while {holder.who} is in the middle of something there" if holder is not None else ""
    summary = f"The database {where(peer)} held its answer to {actor.who} back{by}."
    return blame(
        actor,
        "db.lock_wait",
        culprit,
        summary=summary,
        evidence=evidence,
        moment=moment,
        silent=True,
    )


def broken(case: Case) -> Iterator[Candidate]:
    """Resets: after a long silence, or in the middle."""
    for actor, peer in clients(case):
        for moment in reversed(moments(peer)):
            if not moment.established_boottime_ns:
                continue
            reset = moment.error in (errno.ECONNRESET, errno.EPIPE) or bool(
                moment.connection_flags & ConnectionFlag.RESET_BY_PEER
            )
            lost = moment.error == errno.ETIMEDOUT or (
                moment.retransmits >= 2 and moment.unacknowledged_bytes
            )
            if not reset and not lost:
                continue
            idle = _idle_before(peer, moment)
            if idle >= _IDLE_NS and moment.received_bytes + moment.sent_bytes:
                how = "reset" if reset else "lost"
                text = (
                    f"Nothing had come over the connection to {where(peer)} for {idle / 1e9:.1f} s "
                    f"when {actor.who} used it again."
                )
                evidence = [supports(CLEAR + SLIGHT, text, facts(peer.first, moment))]
                evidence.append(supports(SOME, f"That use was {how}.", facts(moment)))
                evidence += after(actor, moment.time_boottime_ns)
                summary = (
                    f"An idle connection of {actor.who} to {where(peer)} was dropped after "
                    f"{idle / 1e9:.0f} s."
                )
                yield blame(
                    actor,
                    "net.idle_drop",
                    endpoint(peer),
                    summary=summary,
                    evidence=evidence,
                    moment=moment,
                )
            elif reset:
                yield from _reset(case, actor, peer, moment)
            break


def _reset(
    case: Case, actor: ProcessSnapshot, peer: Peer, moment: Connection
) -> Iterator[Candidate]:
    text = (
        f"{where(peer)} reset a connection of {actor.who} after {moment.sent_bytes} bytes out and "
        f"{moment.received_bytes} in."
    )
    evidence = [supports(CLEAR, text, facts(moment))]
    evidence += after(actor, moment.time_boottime_ns)
    dead = _server(case, moment)
    if dead is not None and dead.end.signal:
        text = f"The other end, {dead.who}, had died of {dead.end.error}: it broke off nothing."
        evidence.append(contradicts(CLEAR, text, ends(dead)))
    summary = (
        f"{where(peer)} broke off a connection of {actor.who} after {moment.received_bytes} bytes."
    )
    yield blame(
        actor, "net.reset_short", endpoint(peer), summary=summary, evidence=evidence, moment=moment
    )


def _server(case: Case, moment: Connection) -> ProcessSnapshot | None:
    """Who accepted it, if it is of the case."""
    for other in case:
        for theirs in other.peers:
            last = theirs.last
            if (
                last is not None
                and last.local_port == moment.peer_port
                and last.connection_flags & ConnectionFlag.ACCEPTED
            ):
                return other
    return None


def short_answers(case: Case) -> Iterator[Candidate]:
    """The server closed in order, after much less than it had been asked for: the client failed at once."""
    for actor, peer in clients(case):
        last = peer.last
        if (
            last is None
            or not actor.failed
            or actor.end.signal
            or peer.moments
            or not last.established_boottime_ns
        ):
            continue
        if (
            last.stage != ConnectionStage.CLOSED
            or not 0 <= actor.end_ns - last.time_boottime_ns < SECOND
            or peer.endpoint[1] in (53,)
        ):
            continue
        lived = (last.time_boottime_ns - last.established_boottime_ns) / 1e9
        if peer.made >= 3 and lived < 0.2 and peer.most >= 2:
            continue
        text = (
            f"Its last connection, to {where(peer)}, ended "
            f"{(actor.end_ns - last.time_boottime_ns) / 1e9:.2f} s before it did."
        )
        evidence = [supports(SLIGHT, text, [*facts(last), *ends(actor)])]
        summary = (
            f"{actor.who} failed right after {where(peer)} had answered with {last.received_bytes} "
            "bytes."
        )
        yield blame(
            actor,
            "net.reset_short",
            endpoint(peer),
            summary=summary,
            evidence=evidence,
            moment=last,
        )


def names(case: Case) -> Iterator[Candidate]:
    """Name servers that fail or stay silent."""
    for actor in case:
        if not actor.name_failures:
            continue
        query = actor.name_failures[-1]
        server = address_of(query.family, query.server_high, query.server_low)
        name = name_in(query.labels)
        silent = not query.query_flags & 0x8000
        text = (
            f"{actor.who} asked {server} for {name} and got "
            f"{'no answer' if silent else 'a failure'}."
        )
        evidence = [
            supports(CLEAR + SLIGHT, text, facts(*actor.name_failures[-3:])),
            *after(actor, query.time_boottime_ns),
        ]
        if not actor.failed:
            evidence.append(contradicts(SLIGHT, f"{actor.who} got on without it.", ends(actor)))
        summary = f"{name} could not be resolved: {server} " + (
            "did not answer." if silent else "failed."
        )
        yield Candidate(
            cause="net.dns",
            culprit=Culprit(type="endpoint", address=f"{server}:{query.port}", name=name),
            summary=summary,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=query.time_boottime_ns,
        )


CAUSES = (unreachable, silence, broken, short_answers, names)
