"""Peers that do not answer."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.events import Connection, ConnectionFlag
from receiver.facts.peers import Peer
from receiver.investigate.case import Case
from receiver.investigate.causes.peers import (
    DATABASES,
    IDLE_NS,
    SILENT_NS,
    TICK_NS,
    blame,
    clients,
    endpoint,
    failed_soon_after,
    idle_before,
    notable_samples,
    where,
)
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    Candidate,
    Evidence,
    contradicts,
    ends,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.event_text import wait_of
from receiver.units import SECOND

# A peer that acknowledged the whole request may take this long to answer.
_PATIENCE_NS = 60 * SECOND
_LARGE = 1200  # bytes: more than fits into the smallest packets


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
        for m in (*peer.notable_facts, *((peer.last,) if peer.last is not None else ()))
        if m.time_boottime_ns >= sample.time_boottime_ns
    ]
    return next(
        (m for m in later if m.last_receive_boottime_ns > sample.last_send_boottime_ns > 0), None
    )


def silence(case: Case) -> Iterator[Candidate]:
    """Finds peers that acknowledged a request and did not answer it, and a possible reason."""
    for actor, peer in clients(case):
        sample = next(
            (m for m in reversed(peer.notable_facts) if m.established_boottime_ns), peer.last
        )
        gap = longest_gap(peer)
        if gap < SILENT_NS and (waited := _waits_for(actor, peer)):
            gap, sample = waited, peer.quiet
        if sample is None or not sample.established_boottime_ns or gap < SILENT_NS:
            continue
        if _internal(case, actor, sample):
            continue
        owed = sample.unacknowledged_bytes
        idle = idle_before(peer, sample)
        lost = sample.retransmits >= 2 and owed
        if (
            lost
            and owed > _LARGE
            and sample.received_bytes + sample.sent_bytes > 0
            and (sample.sent_bytes - owed > 0 or sample.received_bytes)
        ):
            yield _mtu(actor, peer, sample, owed, idle)
        if (lost or sample.error in (errno.ETIMEDOUT, errno.ECONNRESET)) and idle >= IDLE_NS:
            # This is a dropped idle connection, which `broken` reports.
            continue
        evidence = _unanswered(case, actor, peer, sample, gap)
        summary = (
            f"{where(peer)} received the request of {actor.who} and did not answer for "
            f"{gap / 1e9:.1f} s."
        )
        if (answer := _answer(peer, sample)) is not None:
            evidence.append(contradicts(SLIGHT, "It answered in the end.", facts(answer)))
        # A data warehouse may need minutes for an answer. Without a failure, only a wait that
        # still goes on is an incident.
        patience = 10 * SECOND if owed or lost else _PATIENCE_NS
        gave_up = answer is None and bool(failed_soon_after(actor, sample.time_boottime_ns))
        silent = actor.exit is None and answer is None and gap >= patience
        yield blame(
            actor,
            "net.silent_peer",
            endpoint(peer),
            summary=summary,
            remedy=_read_timeout(actor, peer, answer, gap),
            evidence=evidence,
            sample=sample,
            harms_without_failure=silent or (case.slow and gap >= 10 * SECOND),
            gave_up=gave_up,
            goes_on=silent,
        )
        if peer.endpoint[1] in DATABASES:
            yield _lock_wait(
                case, actor, peer, sample, silent=evidence, gave_up=gave_up, goes_on=silent
            )


def _read_timeout(
    actor: ProcessSnapshot, peer: Peer, answer: Connection | None, gap_ns: int
) -> str:
    if answer is not None:
        return (
            f"Examine {where(peer)}: this answer took {gap_ns / 1e9:.1f} s, and a read timeout of "
            f"{actor.who} below that would have refused it."
        )
    return (
        f"Examine {where(peer)}, which had the request, and set a read timeout in {actor.who}: it "
        f"waited {gap_ns / 1e9:.1f} s."
    )


def _unanswered(
    case: Case, actor: ProcessSnapshot, peer: Peer, sample: Connection, gap_ns: int
) -> list[Evidence]:
    text = f"{actor.who} waited {gap_ns / 1e9:.1f} s for an answer from {where(peer)}."
    evidence = [supports(CLEAR, text, facts(sample))]
    owed = sample.unacknowledged_bytes
    if owed:
        evidence.append(contradicts(SOME, f"{owed} bytes were never acknowledged.", facts(sample)))
    else:
        text = "The peer acknowledged all data that it had sent, so the network worked."
        evidence.append(supports(SOME, text, facts(sample)))
    evidence += failed_soon_after(actor, sample.time_boottime_ns)
    whole = gap_ns / max(1, (actor.end_ns or case.now_ns) - actor.start_ns)
    if whole > 0.5:
        text = f"That is {whole:.0%} of its run time."
        evidence.append(supports(SLIGHT, text, ends(actor) or facts(sample)))
    return evidence


def _waits_for(actor: ProcessSnapshot, peer: Peer) -> int:
    """Returns how long the process has waited for this peer, or 0.

    The timestamps cannot tell if it sent its request in the same tick in which it received the last
    answer. But it has been idle since, and it has no other connection to wait for.
    """
    quiet, idle_period = peer.quiet, actor.usage.idle_period if actor.usage is not None else None
    if (
        quiet is None
        or idle_period is None
        or quiet.last_receive_boottime_ns - quiet.last_send_boottime_ns > TICK_NS
    ):
        return 0
    alone = all(p is peer or not p.endpoint[1] for p in actor.peers)
    waits = any(wait_of(w) in ("poll", "socket") for w in idle_period.waits)
    return peer.quiet_ns if alone and waits and idle_period.ns >= 0.7 * peer.quiet_ns else 0


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
    if idle >= IDLE_NS:
        evidence.append(
            contradicts(
                SOME, f"The connection had been idle for {idle / 1e9:.0f} s before.", facts(sample)
            )
        )
    evidence += failed_soon_after(actor, sample.time_boottime_ns)
    summary = f"Large packets from {actor.who} to {where(peer)} are lost, while small ones arrive."
    return blame(
        actor,
        "net.mtu",
        endpoint(peer),
        summary=summary,
        remedy=(
            f"Lower the MTU on the way to {where(peer)}, or allow ICMP 'fragmentation needed'."
        ),
        evidence=evidence,
        sample=sample,
    )


def _lock_wait(
    case: Case,
    actor: ProcessSnapshot,
    peer: Peer,
    sample: Connection,
    *,
    silent: list[Evidence],
    gave_up: bool,
    goes_on: bool,
) -> Candidate:
    """Returns a candidate for another client that holds a transaction open in the same database."""
    name = DATABASES[peer.endpoint[1]]
    evidence = [
        *silent,
        supports(SOME, f"Port {peer.endpoint[1]} is the port of {name}.", facts(peer.first)),
    ]
    holder, seen = _quiet_client(case, actor, peer, sample.last_send_boottime_ns)
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
        remedy=(
            f"End or commit the open transaction of {holder.who}, and set lock_timeout for "
            f"{actor.who}."
            if holder is not None
            else ""
        ),
        evidence=evidence,
        sample=sample,
        harms_without_failure=True,
        gave_up=gave_up,
        goes_on=goes_on,
    )


def _quiet_client(
    case: Case, actor: ProcessSnapshot, peer: Peer, since_ns: int
) -> tuple[ProcessSnapshot | None, Connection | None]:
    """Returns another client of that port that has sent nothing since that time."""
    holder, seen = None, None
    for other, theirs in clients(case):
        quiet = theirs.quiet
        if (
            other is actor
            or theirs.endpoint[1] != peer.endpoint[1]
            or quiet is None
            or quiet.connection_id > since_ns
        ):
            continue
        if theirs.quiet_ns >= SECOND and quiet.time_boottime_ns > since_ns:
            holder, seen = other, quiet
    return holder, seen


CAUSES = (silence,)
