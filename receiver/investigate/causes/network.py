"""Causes in the network: unreachable, silent or broken peers, and names that do not resolve."""

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
from receiver.text.names import address_of, name_in, times

_IDLE_NS = 4 * SECOND  # a connection is idle after this time without a byte in either direction
SILENT_NS = 3 * SECOND
# the kernel stamps sends and receives with ticks of at most 10 ms (CONFIG_HZ=100)
TICK_NS = 10_000_000
# A peer that acknowledged the whole request may take this long to answer.
_PATIENCE_NS = 60 * SECOND
_LARGE = 1200  # bytes: more than fits into the smallest packets
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
    """Yields the peers that a process connected to. The peers of a listener have no port."""
    for actor in case:
        for peer in actor.peers:
            if peer.endpoint[1]:
                yield actor, peer


def after(actor: ProcessSnapshot, at_ns: int) -> list[Evidence]:
    """Returns evidence if the process failed soon after this time."""
    if not actor.failed or actor.end.signal:
        return []
    soon = actor.end_ns - at_ns
    if soon < 0 or soon > 10 * SECOND:
        return []
    weight = SOME if soon < 2 * SECOND else SLIGHT
    return [
        supports(
            weight,
            f"{soon / 1e9:.1f} s later {actor.who} {actor.end.words}.",
            ends(actor),
        )
    ]


def notable_samples(peer: Peer) -> list[Connection]:
    """Returns the notable samples of the peer and the last one."""
    return [
        *peer.moments,
        *([peer.last] if peer.last is not None and peer.last not in peer.moments else []),
    ]


def last_notable_sample(peer: Peer) -> Connection | None:
    return peer.moments[-1] if peer.moments else peer.last


def unreachable(case: Case) -> Iterator[Candidate]:
    """Finds unanswered SYNs, refused connections, and listeners that do not accept."""
    for actor, peer in clients(case):
        unanswered = [m for m in notable_samples(peer) if not m.established_boottime_ns]
        silent = [m for m in unanswered if m.retransmits and m.error not in (errno.ECONNREFUSED,)]
        refused = [m for m in unanswered if m.error == errno.ECONNREFUSED]
        full = _full_listener(case, peer)
        if silent:
            sample = silent[-1]
            lasted = (sample.time_boottime_ns - sample.connection_id) / 1e9
            text = (
                f"{actor.who} sent {sample.retransmits + 1} SYNs to {where(peer)} in "
                f"{lasted:.1f} s, and got no answer."
            )
            evidence = [supports(CLEAR + SLIGHT, text, facts(*silent[-2:]))]
            evidence += after(actor, sample.time_boottime_ns)
            if peer.made > len(unanswered) and peer.received_bytes:
                evidence.append(contradicts(SLIGHT, "It had answered before.", facts(peer.first)))
            if full is not None:
                server, fact_of_queue = full
                text = (
                    f"{server.who} listens there, and its accept queue is full "
                    f"({fact_of_queue.queued} of {fact_of_queue.backlog})."
                )
                evidence = [
                    *evidence[:1],
                    supports(STRONG, text, facts(fact_of_queue)),
                    *evidence[1:],
                ]
                summary = (
                    f"{where(peer)} accepts no connections: the accept queue of "
                    f"{server.who} is full."
                )
                yield blame(
                    actor,
                    "net.backlog_refused",
                    endpoint(peer),
                    summary=summary,
                    evidence=evidence,
                    sample=sample,
                )
            else:
                summary = (
                    f"Packets from {actor.who} to {where(peer)} are lost: "
                    f"{sample.retransmits + 1} SYNs in {lasted:.1f} s got no answer."
                )
                yield blame(
                    actor,
                    "net.blackhole",
                    endpoint(peer),
                    summary=summary,
                    evidence=evidence,
                    sample=sample,
                )
        elif refused or (peer.failed.get("refused") and not peer.received_bytes):
            sample_or_none = refused[-1] if refused else last_notable_sample(peer)
            if sample_or_none is None:
                continue
            text = (
                f"{where(peer)} refused {actor.who} "
                f"{times(max(1, peer.failed['refused']))}: no process listened there."
            )
            evidence = [
                supports(CLEAR, text, facts(*refused[-2:])),
                *after(actor, sample_or_none.time_boottime_ns),
            ]
            if peer.received_bytes:
                evidence.append(
                    contradicts(CLEAR, "A later connection was accepted.", facts(peer.last))
                )
            yield blame(
                actor,
                "net.backlog_refused",
                endpoint(peer),
                summary=(
                    f"No process listened on {where(peer)}: the connection of "
                    f"{actor.who} was refused."
                ),
                evidence=evidence,
                sample=sample_or_none,
            )
        elif unanswered and unanswered[-1].error in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            sample = unanswered[-1]
            evidence = [
                supports(CLEAR, f"There is no route to {where(peer)}.", facts(sample)),
                *after(actor, sample.time_boottime_ns),
            ]
            yield blame(
                actor,
                "net.blackhole",
                endpoint(peer),
                summary=f"There is no route from {actor.who} to {where(peer)}.",
                evidence=evidence,
                sample=sample,
            )


def blame(
    actor: ProcessSnapshot,
    cause: str,
    culprit: Culprit,
    *,
    summary: str,
    evidence: list[Evidence],
    sample: Connection,
    silent: bool = False,
) -> Candidate:
    return Candidate(
        cause=cause,
        culprit=culprit,
        summary=summary,
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=sample.time_boottime_ns,
        silent=silent,
    )


def _full_listener(case: Case, peer: Peer) -> tuple[ProcessSnapshot, Connection] | None:
    return next(((a, q) for a in case for q in a.queues if q.local_port == peer.endpoint[1]), None)


def longest_gap(peer: Peer) -> int:
    """Returns the longest wait in ns for an answer on an established connection."""
    longest = peer.longest_gap_ns
    for sample in notable_samples(peer):
        # The data was retransmitted, so the time of the last send says nothing.
        if sample.unacknowledged_bytes and sample.retransmits:
            since = max(
                sample.last_receive_boottime_ns or sample.established_boottime_ns,
                sample.time_boottime_ns - 60 * SECOND,
            )
            longest = max(longest, sample.time_boottime_ns - since - peer.idle_ns)
        elif (
            sample.established_boottime_ns
            and sample.last_send_boottime_ns > sample.last_receive_boottime_ns
        ):
            longest = max(longest, sample.time_boottime_ns - sample.last_send_boottime_ns)
    return longest


def _answer(peer: Peer, sample: Connection) -> Connection | None:
    """Returns the sample that shows that the peer answered after this wait."""
    later = [
        m
        for m in (*peer.moments, *((peer.last,) if peer.last is not None else ()))
        if m.time_boottime_ns >= sample.time_boottime_ns
    ]
    return next(
        (m for m in later if m.last_receive_boottime_ns > sample.last_send_boottime_ns > 0), None
    )


def silence(case: Case) -> Iterator[Candidate]:
    """Finds peers that acknowledged a request and did not answer it, and a possible reason."""
    for actor, peer in clients(case):
        sample = next((m for m in reversed(peer.moments) if m.established_boottime_ns), peer.last)
        gap = longest_gap(peer)
        if gap < SILENT_NS and (waited := _waits_for(actor, peer)):
            gap, sample = waited, peer.quiet
        if sample is None or not sample.established_boottime_ns or gap < SILENT_NS:
            continue
        if _internal(case, actor, sample):
            continue
        owed = sample.unacknowledged_bytes
        idle = _idle_before(peer, sample)
        lost = sample.retransmits >= 2 and owed
        if (
            lost
            and owed > _LARGE
            and sample.received_bytes + sample.sent_bytes > 0
            and (sample.sent_bytes - owed > 0 or sample.received_bytes)
        ):
            yield _mtu(actor, peer, sample, owed, idle)
        if (lost or sample.error in (errno.ETIMEDOUT, errno.ECONNRESET)) and idle >= _IDLE_NS:
            # This is a dropped idle connection, which `broken` reports.
            continue
        text = f"{actor.who} waited {gap / 1e9:.1f} s for an answer from {where(peer)}."
        evidence = [supports(CLEAR, text, facts(sample))]
        if not owed:
            evidence.append(
                supports(
                    SOME,
                    "The peer acknowledged all data that it had sent, so the network worked.",
                    facts(sample),
                )
            )
        else:
            evidence.append(
                contradicts(SOME, f"{owed} bytes were never acknowledged.", facts(sample))
            )
        evidence += after(actor, sample.time_boottime_ns)
        whole = gap / max(1, (actor.end_ns or case.now_ns) - actor.start_ns)
        if whole > 0.5:
            evidence.append(
                supports(
                    SLIGHT, f"That is {whole:.0%} of its run time.", ends(actor) or facts(sample)
                )
            )
        summary = (
            f"{where(peer)} received the request of {actor.who} and did not answer for "
            f"{gap / 1e9:.1f} s."
        )
        if (answer := _answer(peer, sample)) is not None:
            evidence.append(contradicts(SLIGHT, "It answered in the end.", facts(answer)))
        # A data warehouse may need minutes for an answer. Without a failure, only a wait that
        # still goes on is an incident.
        patience = 10 * SECOND if owed or lost else _PATIENCE_NS
        silent = actor.exit is None and answer is None and gap >= patience
        yield blame(
            actor,
            "net.silent_peer",
            endpoint(peer),
            summary=summary,
            evidence=evidence,
            sample=sample,
            silent=silent or (case.slow and gap >= 10 * SECOND),
        )
        if peer.endpoint[1] in DATABASES:
            yield _lock_wait(case, actor, peer, sample, evidence)


def _waits_for(actor: ProcessSnapshot, peer: Peer) -> int:
    """Returns how long the process has waited for this peer, or 0.

    The timestamps cannot tell if it sent its request in the same tick in which it received the last
    answer. But it has been idle since, and it has no other connection to wait for.
    """
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


def _internal(case: Case, actor: ProcessSnapshot, sample: Connection) -> bool:
    """Whether the other end is a related process of the same case that has no unread data."""
    for other in case:
        for peer in other.peers:
            last = peer.last
            if (
                last is None
                or other is actor
                or not last.connection_flags & ConnectionFlag.ACCEPTED
            ):
                continue
            if last.local_port == sample.peer_port and last.peer_port == sample.local_port:
                return not last.unread_bytes and case.related(other, actor)
    return False


def _idle_before(peer: Peer, sample: Connection) -> int:
    """Returns how long in ns nothing had been received at the time of the last send."""
    if sample.retransmits:
        return peer.idle_ns
    last = sample.last_receive_boottime_ns or sample.established_boottime_ns
    return max(0, sample.last_send_boottime_ns - last) if last else 0


def _mtu(actor: ProcessSnapshot, peer: Peer, sample: Connection, owed: int, idle: int) -> Candidate:
    acked = max(0, sample.sent_bytes - owed)
    text = (
        f"{owed} bytes to {where(peer)} were sent {sample.retransmits + 1} times and never "
        "acknowledged."
    )
    evidence = [supports(CLEAR, text, facts(sample))]
    text = (
        f"Small packets were acknowledged: {acked} bytes were sent and "
        f"{sample.received_bytes} received."
    )
    evidence.append(supports(SOME, text, facts(peer.first, sample)))
    if idle >= _IDLE_NS:
        evidence.append(
            contradicts(
                SOME, f"The connection had been idle for {idle / 1e9:.0f} s before.", facts(sample)
            )
        )
    evidence += after(actor, sample.time_boottime_ns)
    summary = f"Large packets from {actor.who} to {where(peer)} are lost, while small ones arrive."
    return blame(
        actor, "net.mtu", endpoint(peer), summary=summary, evidence=evidence, sample=sample
    )


def _lock_wait(
    case: Case, actor: ProcessSnapshot, peer: Peer, sample: Connection, silent: list[Evidence]
) -> Candidate:
    """Returns a candidate for another client that holds a transaction open in the same database."""
    name = DATABASES[peer.endpoint[1]]
    evidence = [
        *silent,
        supports(SOME, f"Port {peer.endpoint[1]} is the port of {name}.", facts(peer.first)),
    ]
    since = sample.last_send_boottime_ns
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
        # It sent nothing in that time.
        if theirs.quiet_ns >= SECOND and quiet.time_boottime_ns > since:
            holder, seen = other, quiet
    if holder is not None:
        text = (
            f"{holder.who} was already connected to the same database, and was silent "
            "during that time."
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
                    SOME,
                    "The answer came as soon as that client continued.",
                    facts(done, peer.last),
                )
            )
    culprit = process_culprit(holder) if holder is not None else endpoint(peer)
    by = f", while {holder.who} has an open transaction there" if holder is not None else ""
    summary = f"The database {where(peer)} delayed its answer to {actor.who}{by}."
    return blame(
        actor,
        "db.lock_wait",
        culprit,
        summary=summary,
        evidence=evidence,
        sample=sample,
        silent=True,
    )


def broken(case: Case) -> Iterator[Candidate]:
    """Finds connections that were reset, after a long idle time or during a transfer."""
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
            if not reset and not lost:
                continue
            idle = _idle_before(peer, sample)
            if idle >= _IDLE_NS and sample.received_bytes + sample.sent_bytes:
                how = "reset" if reset else "lost"
                text = (
                    f"The connection to {where(peer)} had been idle for {idle / 1e9:.1f} s "
                    f"when {actor.who} used it again."
                )
                evidence = [supports(CLEAR + SLIGHT, text, facts(peer.first, sample))]
                evidence.append(supports(SOME, f"The new request was {how}.", facts(sample)))
                evidence += after(actor, sample.time_boottime_ns)
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
                    sample=sample,
                )
            elif reset:
                yield from _reset(case, actor, peer, sample)
            break


def _reset(
    case: Case, actor: ProcessSnapshot, peer: Peer, sample: Connection
) -> Iterator[Candidate]:
    text = (
        f"{where(peer)} reset a connection of {actor.who} after {sample.sent_bytes} bytes "
        f"sent and {sample.received_bytes} received."
    )
    evidence = [supports(CLEAR, text, facts(sample))]
    evidence += after(actor, sample.time_boottime_ns)
    dead = _server(case, sample)
    if dead is not None and dead.end.signal:
        text = (
            f"The process at the other end, {dead.who}, had ended before (it "
            f"{dead.end.words}), so the reset is an effect of that."
        )
        evidence.append(contradicts(CLEAR, text, ends(dead)))
    summary = (
        f"{where(peer)} broke a connection of {actor.who} after {sample.received_bytes} bytes."
    )
    yield blame(
        actor, "net.reset_short", endpoint(peer), summary=summary, evidence=evidence, sample=sample
    )


def _server(case: Case, sample: Connection) -> ProcessSnapshot | None:
    """Returns the process that accepted the connection, if it belongs to the case."""
    for other in case:
        for theirs in other.peers:
            last = theirs.last
            if (
                last is not None
                and last.local_port == sample.peer_port
                and last.connection_flags & ConnectionFlag.ACCEPTED
            ):
                return other
    return None


def short_answers(case: Case) -> Iterator[Candidate]:
    """Finds servers that closed in order after little data, and the client failed at once.

    The client had asked for much more data.
    """
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
            f"{actor.who} failed directly after an answer of {last.received_bytes} bytes "
            f"from {where(peer)}."
        )
        yield blame(
            actor,
            "net.reset_short",
            endpoint(peer),
            summary=summary,
            evidence=evidence,
            sample=last,
        )


def names(case: Case) -> Iterator[Candidate]:
    """Finds name servers that return errors or do not answer."""
    for actor in case:
        if not actor.name_failures:
            continue
        query = actor.name_failures[-1]
        server = address_of(query.family, query.server_high, query.server_low)
        name = name_in(query.labels)
        silent = not query.query_flags & 0x8000
        text = (
            f"{actor.who} asked {server} for {name} and got "
            f"{'no answer' if silent else 'an error'}."
        )
        evidence = [
            supports(CLEAR + SLIGHT, text, facts(*actor.name_failures[-3:])),
            *after(actor, query.time_boottime_ns),
        ]
        if not actor.failed:
            evidence.append(contradicts(SLIGHT, f"{actor.who} continued without it.", ends(actor)))
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
