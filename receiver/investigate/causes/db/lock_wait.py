"""The cause card db.lock_wait."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.events import Connection
from receiver.facts.peers import Peer
from receiver.investigate.cards import Nature, Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.peers import (
    DATABASES,
    blame,
    clients,
    endpoint,
    where,
)
from receiver.investigate.causes.silence import Silence, silences
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    Candidate,
    Evidence,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.units import SECOND


def lock_waits(case: Case) -> Iterator[Candidate]:
    """Finds a silent database, and another client of it with an open transaction."""
    for silence in silences(case):
        if silence.peer.endpoint[1] in DATABASES and not silence.is_idle_drop:
            yield _lock_wait(case, silence)


def _lock_wait(case: Case, silence: Silence) -> Candidate:
    actor, peer, sample = silence.actor, silence.peer, silence.sample
    name = DATABASES[peer.endpoint[1]]
    text = f"Port {peer.endpoint[1]} is the port of {name}."
    evidence = [
        *silence.evidence(case),
        supports("db.lock_wait.port_of_database", SOME, text, facts(peer.first)),
    ]
    holder, seen = _quiet_client(case, actor, peer, sample.last_send_boottime_ns)
    if holder is not None:
        evidence += _of_the_holder(holder, peer, seen)
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
        gave_up=silence.gave_up,
        goes_on=silence.goes_on,
    )


def _of_the_holder(holder: ProcessSnapshot, peer: Peer, seen: Connection | None) -> list[Evidence]:
    text = (
        f"{holder.who} was already connected to the same database, and was silent during that time."
    )
    out = [supports("db.lock_wait.holder_was_silent", CLEAR, text, facts(seen))]
    done = next(
        (p.last for p in holder.peers if p.last is not None and p.endpoint == peer.endpoint), None
    )
    answered = peer.last.last_receive_boottime_ns if peer.last is not None else 0
    if done is not None and answered and 0 <= answered - done.last_send_boottime_ns < SECOND:
        text = "The answer came as soon as that client continued."
        out.append(
            supports("db.lock_wait.answered_after_holder", SOME, text, facts(done, peer.last))
        )
    return out


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


CARD = cause_class(
    name="db.lock_wait",
    title="a database delayed its answer because of a lock",
    predicts="a silent database while another client has an open transaction",
    rivals="net.silent_peer net.pool fs.lock",
    tag="end_the_holder",
    fix="End or commit the transaction of the other client; set lock_timeout.",
    visible="P",
    needs="connection",
    nature=Nature.DELAY,
    brings=(
        to("net.silent_peer", Via.SAME_ENDPOINT),
        to("kill.supervisor kill.timeout_orphan", Via.ANCESTOR),
    ),
    find=(lock_waits,),
)
