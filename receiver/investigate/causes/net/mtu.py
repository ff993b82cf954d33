"""The cause card net.mtu."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.events import Connection
from receiver.facts.peers import Peer
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.peers import (
    IDLE_NS,
    blame,
    endpoint,
    failed_soon_after,
    idle_before,
    where,
)
from receiver.investigate.causes.silence import silences
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    Candidate,
    contradicts,
    facts,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot

_LARGE = 1200  # bytes: more than fits into the smallest packets


def large_packets(case: Case) -> Iterator[Candidate]:
    """Finds large packets that were never acknowledged, on a connection that had worked."""
    for silence in silences(case):
        sample, owed = silence.sample, silence.owed
        worked = sample.sent_bytes - owed > 0 or sample.received_bytes
        if silence.is_lost and owed > _LARGE and worked:
            yield _mtu(silence.actor, silence.peer, sample, owed)


def _mtu(actor: ProcessSnapshot, peer: Peer, sample: Connection, owed: int) -> Candidate:
    idle = idle_before(peer, sample)
    acked = max(0, sample.sent_bytes - owed)
    text = (
        f"{owed} bytes to {where(peer)} were sent {sample.retransmits + 1} times and never "
        "acknowledged."
    )
    evidence = [supports("net.mtu.large_unacknowledged", CLEAR, text, facts(sample))]
    text = (
        f"Small packets were acknowledged: {acked} bytes were sent and "
        f"{sample.received_bytes} received."
    )
    evidence.append(supports("net.mtu.small_acknowledged", SOME, text, facts(peer.first, sample)))
    if idle >= IDLE_NS:
        evidence.append(
            contradicts(
                "net.mtu.was_idle",
                SOME,
                f"The connection had been idle for {idle / 1e9:.0f} s before.",
                facts(sample),
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


CARD = cause_class(
    name="net.mtu",
    title="large packets are lost, and small ones arrive",
    predicts="large packets that were not acknowledged while small ones were",
    rivals="net.silent_peer net.idle_drop net.blackhole",
    may_be_remote=True,
    tag="lowermtu",
    fix="Lower the MTU, or allow ICMP 'fragmentation needed'.",
    visible="P",
    needs="connection",
    brings=(to("net.silent_peer", Via.SAME_ENDPOINT),),
    find=(large_packets,),
)
