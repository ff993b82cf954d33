"""The cause card net.idle_drop."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.broken import breaks
from receiver.investigate.causes.peers import blame, endpoint, failed_soon_after, where
from receiver.investigate.evidence import CLEAR, SLIGHT, SOME, Candidate, facts, supports
from receiver.units import SECOND


def idle_drops(case: Case) -> Iterator[Candidate]:
    """Finds connections that broke at the first use after a long idle time."""
    for each in breaks(case):
        if not each.was_idle:
            continue
        actor, peer, sample = each.actor, each.peer, each.sample
        idle = each.idle_ns / SECOND
        text = (
            f"The connection to {where(peer)} had been idle for {idle:.1f} s when {actor.who} used "
            "it again."
        )
        how = "reset" if each.reset else "lost"
        evidence = [
            supports("net.idle_drop.was_idle", CLEAR + SLIGHT, text, facts(peer.first, sample)),
            supports(
                "net.idle_drop.then_failed", SOME, f"The new request was {how}.", facts(sample)
            ),
            *failed_soon_after(actor, sample.time_boottime_ns),
        ]
        yield blame(
            actor,
            "net.idle_drop",
            endpoint(peer),
            summary=(
                f"An idle connection of {actor.who} to {where(peer)} was dropped after "
                f"{idle:.0f} s."
            ),
            remedy=(
                f"Enable TCP keep-alive in {actor.who} for {where(peer)} with an interval below "
                f"{idle:.0f} s, or recycle idle connections earlier."
            ),
            evidence=evidence,
            sample=sample,
        )


CARD = cause_class(
    name="net.idle_drop",
    title="a connection that had been idle was dropped on the way",
    predicts="an idle time before the connection broke",
    rivals="net.silent_peer net.reset_short net.blackhole",
    may_be_remote=True,
    tag="keepalive",
    fix=(
        "Enable TCP keep-alive with an interval below the idle limit of the network "
        "in between, or recycle idle connections."
    ),
    needs="connection",
    brings=(to("net.silent_peer net.reset_short", Via.SAME_ENDPOINT),),
    find=(idle_drops,),
)
