"""The cause card net.blackhole."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.investigate.cards import cause_class
from receiver.investigate.case import Case
from receiver.investigate.causes.network import Unanswered, unanswered
from receiver.investigate.causes.peers import blame, endpoint, failed_soon_after, where
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    Candidate,
    contradicts,
    facts,
    supports,
)

_NO_ROUTE = (errno.EHOSTUNREACH, errno.ENETUNREACH)


def lost_packets(case: Case) -> Iterator[Candidate]:
    """Finds SYNs without an answer, where no full accept queue explains it, and missing routes."""
    for each in unanswered(case):
        if each.silent:
            if each.full_listener is None and each.kept_waiting is None:
                yield _vanished(each)
        elif each.samples and not each.refused and each.samples[-1].error in _NO_ROUTE:
            yield _no_route(each)


def _vanished(each: Unanswered) -> Candidate:
    actor, peer, sample = each.actor, each.peer, each.silent[-1]
    tried = f"{sample.retransmits + 1} SYNs to {where(peer)} in {each.seconds:.1f} s"
    text = f"{actor.who} sent {tried}, and got no answer."
    evidence = [
        supports("net.blackhole.syns_unanswered", CLEAR + SLIGHT, text, facts(*each.silent[-2:])),
        *failed_soon_after(actor, sample.time_boottime_ns),
    ]
    if peer.made > len(each.samples) and peer.received_bytes:
        text = "It had answered before."
        evidence.append(
            contradicts("net.blackhole.answered_before", SLIGHT, text, facts(peer.first))
        )
    return blame(
        actor,
        "net.blackhole",
        endpoint(peer),
        summary=(
            f"Packets from {actor.who} to {where(peer)} are lost: {sample.retransmits + 1} "
            f"SYNs in {each.seconds:.1f} s got no answer."
        ),
        remedy=f"Allow the traffic to {where(peer)} (security group, route, firewall).",
        evidence=evidence,
        sample=sample,
    )


def _no_route(each: Unanswered) -> Candidate:
    actor, peer, sample = each.actor, each.peer, each.samples[-1]
    text = f"There is no route to {where(peer)}."
    return blame(
        actor,
        "net.blackhole",
        endpoint(peer),
        summary=f"There is no route from {actor.who} to {where(peer)}.",
        evidence=[
            supports("net.blackhole.no_route", CLEAR, text, facts(sample)),
            *failed_soon_after(actor, sample.time_boottime_ns),
        ],
        sample=sample,
    )


CARD = cause_class(
    name="net.blackhole",
    title="packets to a peer are lost",
    predicts="SYNs without an answer",
    rivals="net.backlog_refused net.dns net.silent_peer",
    may_be_remote=True,
    tag="open_the_way",
    fix="Allow the traffic (security group, route, firewall), and set a connect timeout.",
    needs="connection",
    find=(lost_packets,),
)
