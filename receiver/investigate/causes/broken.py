"""Connections that broke, and answers that were too short."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.events import Connection, ConnectionFlag, ConnectionStage
from receiver.facts.peers import Peer
from receiver.investigate.case import Case
from receiver.investigate.causes.peers import (
    IDLE_NS,
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
    contradicts,
    ends,
    facts,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.units import SECOND


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
            idle = idle_before(peer, sample)
            if idle >= IDLE_NS and sample.received_bytes + sample.sent_bytes:
                how = "reset" if reset else "lost"
                text = (
                    f"The connection to {where(peer)} had been idle for {idle / 1e9:.1f} s "
                    f"when {actor.who} used it again."
                )
                evidence = [supports(CLEAR + SLIGHT, text, facts(peer.first, sample))]
                evidence.append(supports(SOME, f"The new request was {how}.", facts(sample)))
                evidence += failed_soon_after(actor, sample.time_boottime_ns)
                summary = (
                    f"An idle connection of {actor.who} to {where(peer)} was dropped after "
                    f"{idle / 1e9:.0f} s."
                )
                yield blame(
                    actor,
                    "net.idle_drop",
                    endpoint(peer),
                    summary=summary,
                    remedy=(
                        f"Enable TCP keep-alive in {actor.who} for {where(peer)} with an interval "
                        f"below {idle / 1e9:.0f} s, or recycle idle connections earlier."
                    ),
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
    evidence += failed_soon_after(actor, sample.time_boottime_ns)
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


CAUSES = (broken, short_answers)
