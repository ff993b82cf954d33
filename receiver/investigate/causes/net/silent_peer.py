"""The cause card net.silent_peer."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.events import Connection
from receiver.facts.peers import Peer
from receiver.investigate.cards import Nature, Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.peers import blame, endpoint, where
from receiver.investigate.causes.silence import silences
from receiver.investigate.evidence import Candidate
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.units import SECOND

_SLOW_SECONDS = 10.0  # of a wait that explains a slow run


def silent_peers(case: Case) -> Iterator[Candidate]:
    """Finds peers that acknowledged a request and did not answer it."""
    for silence in silences(case):
        if silence.is_idle_drop:
            continue
        actor, peer = silence.actor, silence.peer
        seconds = silence.gap_ns / SECOND
        yield blame(
            actor,
            "net.silent_peer",
            endpoint(peer),
            summary=(
                f"{where(peer)} received the request of {actor.who} and did not answer for "
                f"{seconds:.1f} s."
            ),
            remedy=_read_timeout(actor, peer, silence.answer, silence.gap_ns),
            evidence=silence.evidence(case),
            sample=silence.sample,
            harms_without_failure=silence.goes_on or (case.slow and seconds >= _SLOW_SECONDS),
            gave_up=silence.gave_up,
            goes_on=silence.goes_on,
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


CARD = cause_class(
    name="net.silent_peer",
    title="a peer received the request and did not answer",
    predicts="a request that was acknowledged and not answered",
    rivals="net.idle_drop db.lock_wait net.blackhole net.pool",
    may_be_remote=True,
    tag="read_timeout",
    fix="Set a read timeout, and examine the peer: the network delivered the request.",
    needs="connection",
    nature=Nature.DELAY,
    brings=(to("kill.supervisor kill.timeout_orphan", Via.ANCESTOR),),
    find=(silent_peers,),
)
