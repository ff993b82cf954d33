"""The cause card net.reset_short."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.events import Connection, ConnectionFlag, ConnectionStage
from receiver.facts.peers import Peer
from receiver.investigate.cards import cause_class
from receiver.investigate.case import Case
from receiver.investigate.causes.broken import breaks
from receiver.investigate.causes.peers import (
    blame,
    clients,
    endpoint,
    failed_soon_after,
    where,
)
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    Candidate,
    contradicts,
    ends,
    facts,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.units import SECOND


def resets(case: Case) -> Iterator[Candidate]:
    """Finds connections that were reset during a transfer."""
    for each in breaks(case):
        if each.reset and not each.was_idle:
            yield from _reset(case, each.actor, each.peer, each.sample)


def _reset(
    case: Case, actor: ProcessSnapshot, peer: Peer, sample: Connection
) -> Iterator[Candidate]:
    text = (
        f"{where(peer)} reset a connection of {actor.who} after {sample.sent_bytes} bytes "
        f"sent and {sample.received_bytes} received."
    )
    evidence = [supports("net.reset_short.reset", CLEAR, text, facts(sample))]
    evidence += failed_soon_after(actor, sample.time_boottime_ns)
    dead = _server(case, sample)
    if dead is not None and dead.end.signal:
        text = (
            f"The process at the other end, {dead.who}, had ended before (it "
            f"{dead.end.words}), so the reset is an effect of that."
        )
        evidence.append(contradicts("net.reset_short.peer_had_ended", CLEAR, text, ends(dead)))
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
            or peer.notable_facts
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
        evidence = [
            supports(
                "net.reset_short.closed_before_end", SLIGHT, text, [*facts(last), *ends(actor)]
            )
        ]
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


CARD = cause_class(
    name="net.reset_short",
    title="a peer broke the connection before its end",
    predicts="a reset by the peer",
    rivals="mem.child_oom net.idle_drop net.backlog_refused",
    may_be_remote=True,
    tag="retry_and_check_peer",
    fix=(
        "Find out why the peer closed the connection. Retry idempotent requests, and check lengths."
    ),
    needs="connection",
    find=(
        resets,
        short_answers,
    ),
)
