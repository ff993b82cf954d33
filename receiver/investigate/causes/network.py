"""Causes in the network: unreachable, silent or broken peers, and names that do not resolve."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.events import Connection
from receiver.facts.peers import Peer
from receiver.investigate.case import Case
from receiver.investigate.causes.peers import (
    blame,
    clients,
    endpoint,
    failed_soon_after,
    last_notable_sample,
    notable_samples,
    where,
)
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    STRONG,
    Candidate,
    contradicts,
    facts,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import times


def unreachable(case: Case) -> Iterator[Candidate]:
    """Finds unanswered SYNs, refused connections, and listeners that do not accept."""
    for actor, peer in clients(case):
        unanswered = [m for m in notable_samples(peer) if not m.established_boottime_ns]
        silent = [m for m in unanswered if m.retransmits and m.error not in (errno.ECONNREFUSED,)]
        refused = [m for m in unanswered if m.error == errno.ECONNREFUSED]
        if silent:
            yield _vanished(case, actor, peer, silent, len(unanswered))
        elif refused or (peer.failed.get("refused") and not peer.received_bytes):
            sample = refused[-1] if refused else last_notable_sample(peer)
            if sample is not None:
                yield _refused(actor, peer, refused, sample)
        elif unanswered and unanswered[-1].error in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            yield _no_route(actor, peer, unanswered[-1])


def _vanished(
    case: Case, actor: ProcessSnapshot, peer: Peer, silent: list[Connection], unanswered: int
) -> Candidate:
    """Returns a candidate for SYNs without an answer: lost, or refused by a full queue."""
    sample = silent[-1]
    lasted = (sample.time_boottime_ns - sample.connection_id) / 1e9
    text = (
        f"{actor.who} sent {sample.retransmits + 1} SYNs to {where(peer)} in {lasted:.1f} "
        "s, and got no answer."
    )
    evidence = [
        supports("net.blackhole.syns_unanswered", CLEAR + SLIGHT, text, facts(*silent[-2:]))
    ]
    cause = "net.blackhole"
    summary = (
        f"Packets from {actor.who} to {where(peer)} are lost: {sample.retransmits + 1} "
        f"SYNs in {lasted:.1f} s got no answer."
    )
    full = _full_listener(case, peer)
    if full is not None:
        server, queue = full
        text = (
            f"{server.who} listens there, and its accept queue is full ({queue.queued} of "
            f"{queue.backlog})."
        )
        evidence.append(supports("net.backlog_refused.queue_full", STRONG, text, facts(queue)))
        cause = "net.backlog_refused"
        summary = f"{where(peer)} accepts no connections: the accept queue of {server.who} is full."
    evidence += failed_soon_after(actor, sample.time_boottime_ns)
    if peer.made > unanswered and peer.received_bytes:
        evidence.append(
            contradicts(
                "net.blackhole.answered_before",
                SLIGHT,
                "It had answered before.",
                facts(peer.first),
            )
        )
    remedy = f"Allow the traffic to {where(peer)} (security group, route, firewall)."
    if full is not None:
        remedy = f"Let {full[0].who} accept faster, or enlarge its backlog of {full[1].backlog}."
    return blame(
        actor,
        cause,
        endpoint(peer),
        summary=summary,
        remedy=remedy,
        evidence=evidence,
        sample=sample,
    )


def _refused(
    actor: ProcessSnapshot, peer: Peer, refused: list[Connection], sample: Connection
) -> Candidate:
    text = (
        f"{where(peer)} refused {actor.who} {times(max(1, peer.failed['refused']))}: no "
        "process listened there."
    )
    evidence = [
        supports("net.backlog_refused.refused", CLEAR, text, facts(*refused[-2:])),
        *failed_soon_after(actor, sample.time_boottime_ns),
    ]
    if peer.received_bytes:
        evidence.append(
            contradicts(
                "net.backlog_refused.accepted_later",
                CLEAR,
                "A later connection was accepted.",
                facts(peer.last),
            )
        )
    return blame(
        actor,
        "net.backlog_refused",
        endpoint(peer),
        summary=(
            f"No process listened on {where(peer)}: the connection of {actor.who} was refused."
        ),
        remedy=(f"Start the server of {where(peer)} first, and wait until it listens."),
        evidence=evidence,
        sample=sample,
    )


def _no_route(actor: ProcessSnapshot, peer: Peer, sample: Connection) -> Candidate:
    evidence = [
        supports(
            "net.blackhole.no_route", CLEAR, f"There is no route to {where(peer)}.", facts(sample)
        ),
        *failed_soon_after(actor, sample.time_boottime_ns),
    ]
    return blame(
        actor,
        "net.blackhole",
        endpoint(peer),
        summary=f"There is no route from {actor.who} to {where(peer)}.",
        evidence=evidence,
        sample=sample,
    )


def _full_listener(case: Case, peer: Peer) -> tuple[ProcessSnapshot, Connection] | None:
    return next(((a, q) for a in case for q in a.queues if q.local_port == peer.endpoint[1]), None)
