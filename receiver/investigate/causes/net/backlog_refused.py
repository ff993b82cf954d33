"""The cause card net.backlog_refused."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.network import Unanswered, unanswered
from receiver.investigate.causes.peers import (
    blame,
    endpoint,
    failed_soon_after,
    last_notable_sample,
    where,
)
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    STRONG,
    Candidate,
    Evidence,
    contradicts,
    facts,
    supports,
)
from receiver.text.names import times


def not_accepted(case: Case) -> Iterator[Candidate]:
    """Finds refused connections, and listeners whose accept queue is full."""
    for each in unanswered(case):
        if each.silent:
            yield from _full_queue(each)
        elif each.refused or (each.peer.failed.get("refused") and not each.peer.received_bytes):
            yield from _refused(each)


def _full_queue(each: Unanswered) -> Iterator[Candidate]:
    """A full queue drops SYNs: its clients get no answer."""
    actor, peer, sample = each.actor, each.peer, each.silent[-1]
    full, kept = each.full_listener, each.kept_waiting
    if full is not None:
        server, queue = full
        text = (
            f"{server.who} listens there, and its accept queue is full ({queue.queued} of "
            f"{queue.backlog})."
        )
        why = supports("net.backlog_refused.queue_full", STRONG, text, facts(queue))
        summary = f"{where(peer)} accepts no connections: the accept queue of {server.who} is full."
        remedy = f"Let {server.who} accept faster, or enlarge its backlog of {queue.backlog}."
    elif kept is not None:
        text = (
            f"{kept.actor.who} had connected to it before, and got no byte: its host answers. So "
            "does a host whose server accepts nothing, until the accept queue is full."
        )
        why = supports("net.backlog_refused.none_accepted", CLEAR, text, facts(kept.first))
        summary = (
            f"{where(peer)} accepts no connections: {kept.actor.who} had connected to it before, "
            "and got no byte."
        )
        remedy = f"Let the server of {where(peer)} accept faster, or enlarge its backlog."
    else:
        return
    tried = f"{sample.retransmits + 1} SYNs to {where(peer)} in {each.seconds:.1f} s"
    text = f"{actor.who} sent {tried}, and got no answer."
    shown = facts(*each.silent[-2:])
    evidence: list[Evidence] = [
        supports("net.backlog_refused.syns_unanswered", CLEAR + SLIGHT, text, shown),
        why,
        *failed_soon_after(actor, sample.time_boottime_ns),
    ]
    yield blame(
        actor,
        "net.backlog_refused",
        endpoint(peer),
        summary=summary,
        remedy=remedy,
        evidence=evidence,
        sample=sample,
    )


def _refused(each: Unanswered) -> Iterator[Candidate]:
    actor, peer = each.actor, each.peer
    sample = each.refused[-1] if each.refused else last_notable_sample(peer)
    if sample is None:
        return
    text = (
        f"{where(peer)} refused {actor.who} {times(max(1, peer.failed['refused']))}: no "
        "process listened there."
    )
    evidence = [
        supports("net.backlog_refused.refused", CLEAR, text, facts(*each.refused[-2:])),
        *failed_soon_after(actor, sample.time_boottime_ns),
    ]
    if peer.received_bytes:
        text = "A later connection was accepted."
        evidence.append(
            contradicts("net.backlog_refused.accepted_later", CLEAR, text, facts(peer.last))
        )
    yield blame(
        actor,
        "net.backlog_refused",
        endpoint(peer),
        summary=(
            f"No process listened on {where(peer)}: the connection of {actor.who} was refused."
        ),
        remedy=f"Start the server of {where(peer)} first, and wait until it listens.",
        evidence=evidence,
        sample=sample,
    )


CARD = cause_class(
    name="net.backlog_refused",
    title="no process accepted the connection",
    predicts="a refused connection, or a full accept queue",
    rivals="net.blackhole net.dns",
    may_be_remote=True,
    tag="readiness",
    fix="Start the server first and wait until it listens; enlarge its backlog.",
    needs="connection",
    brings=(to("net.silent_peer", Via.SAME_ENDPOINT),),
    find=(not_accepted,),
)
