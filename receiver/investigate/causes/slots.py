"""Causes in limited resources: connections of a pool, slots of a server and local ports.

Each candidate names the holder of the resource.
"""

from __future__ import annotations

from collections.abc import Iterator

from receiver.events import Connection, ConnectionStage
from receiver.facts.peers import Peer
from receiver.investigate.case import Case
from receiver.investigate.causes.peers import (
    SILENT_NS,
    blame,
    clients,
    endpoint,
    failed_soon_after,
    last_notable_sample,
    where,
)
from receiver.investigate.causes.silence import longest_gap
from receiver.investigate.causes.token_calls import lock_waits, refresh, waited_for_lock
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    Candidate,
    Evidence,
    facts,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import counted
from receiver.units import SECOND

# Runtimes whose idle threads wait for locks.
_THREADED = (
    "java",
    "node",
    "scala",
)


def slots(case: Case) -> Iterator[Candidate]:
    """Finds exhausted pools: all connections to one endpoint wait for an answer at once.

    It also finds servers that close every connection above their limit.
    """
    for actor, peer in clients(case):
        sample = last_notable_sample(peer)
        if sample is not None:
            yield from _exhausted(case, actor, peer, sample)
    yield from _turned_away(case)


def _exhausted(
    case: Case, actor: ProcessSnapshot, peer: Peer, sample: Connection
) -> Iterator[Candidate]:
    """Finds a pool of connections that were all in use, and a refresh that held them."""
    held = peer.longest_full_ns
    alone = (
        peer.most == 1
        and bool(lock_waits(actor))
        and actor.name not in _THREADED
        and longest_gap(peer) >= SILENT_NS
    )
    if not (alone or (peer.most >= 2 and held >= 2 * SECOND)):
        return
    held = max(held, longest_gap(peer) if alone else 0)
    evidence = _all_waiting(actor, peer, sample, held, alone=alone)
    late = failed_soon_after(actor, sample.time_boottime_ns)
    yield blame(
        actor,
        "net.pool",
        endpoint(peer),
        summary=(
            f"{actor.who} used all its {peer.most} connections to {where(peer)} for "
            f"{held / 1e9:.0f} s; further requests waited."
        ),
        remedy=(
            f"Make the pool of {actor.who} for {where(peer)} larger than {peer.most}"
            f"{_waiters(actor)}, and close responses after reading."
        ),
        evidence=evidence + late,
        sample=sample,
        harms_without_failure=peer.reported or held >= 5 * SECOND,
        gave_up=bool(late),
    )
    read = refresh(case, actor, peer)
    if read:
        yield blame(
            actor,
            "net.credential",
            endpoint(peer),
            summary=(
                f"A refresh of credentials held all {peer.most} connections of {actor.who} to "
                f"{where(peer)} for {held / 1e9:.0f} s."
            ),
            evidence=[*evidence, *read, *late],
            sample=sample,
            harms_without_failure=True,
            gave_up=bool(late),
        )


def _all_waiting(
    actor: ProcessSnapshot, peer: Peer, sample: Connection, held_ns: int, *, alone: bool
) -> list[Evidence]:
    text = (
        f"{actor.who} held all its {peer.most} connections to {where(peer)} for "
        f"{held_ns / 1e9:.0f} s, and waited on each."
    )
    shown = facts(*peer.notable_facts[-3:] or (sample,))
    evidence = [supports("net.pool.all_waiting", SLIGHT if alone else CLEAR, text, shown)]
    evidence += waited_for_lock(actor)
    if peer.reported:
        text = "The next connection was made as soon as one was free."
        evidence.append(
            supports("net.pool.next_when_free", CLEAR, text, facts(*peer.notable_facts[-2:]))
        )
    return evidence


def _waiters(actor: ProcessSnapshot) -> str:
    waits = len(lock_waits(actor))
    return (
        f" connections: {counted(waits, 'thread', 'threads')} waited for one"
        if waits
        else (" connections")
    )


def _turned_away(case: Case) -> Iterator[Candidate]:
    """Finds servers without a free slot.

    Such a server closes new connections after a few bytes, while others stay open.
    """
    by: dict[tuple[str, int], list[tuple[ProcessSnapshot, Peer]]] = {}
    for actor, peer in clients(case):
        by.setdefault(peer.endpoint, []).append((actor, peer))
    for pairs in by.values():
        turned = [
            (a, p, last) for a, p in pairs if a.failed and (last := _closed_at_once(p)) is not None
        ]
        stay = [(a, p) for a, p in pairs if p.most and (p.open or _open_ns(p) > SECOND)]
        held = sum(p.most for _, p in stay)
        if not turned or held < 2:
            continue
        actor, peer, last = turned[0]
        text = (
            f"{where(peer)} accepted {actor.who}, sent {last.received_bytes} bytes and "
            "closed the connection at once."
        )
        evidence = [supports("net.pool.turned_away", CLEAR, text, facts(last))]
        text = f"{held} other connections to it stayed open all the time."
        evidence.append(
            supports("net.pool.others_open", CLEAR, text, facts(*(p.last for _, p in stay[:3])))
        )
        evidence += failed_soon_after(actor, last.time_boottime_ns)
        summary = (
            f"All slots of {where(peer)} were in use ({held} connections): {actor.who} was "
            "rejected."
        )
        yield blame(
            actor,
            "net.pool",
            endpoint(peer),
            summary=summary,
            remedy=(
                f"Raise the number of slots of {where(peer)} above {held + 1}, or use fewer "
                "connections: all were in use."
            ),
            evidence=evidence,
            sample=last,
            gave_up=True,  # it was rejected, and did not wait
        )


def _open_ns(peer: Peer) -> int:
    """Returns how long the last connection to the peer was open; 0 if it never was."""
    last = peer.last
    if last is None or not last.established_boottime_ns:
        return 0
    return last.time_boottime_ns - last.established_boottime_ns


def _closed_at_once(peer: Peer) -> Connection | None:
    """Returns the last connection, if it was closed after a few bytes."""
    last = peer.last
    if (
        last is None
        or last.stage != ConnectionStage.CLOSED
        or not last.established_boottime_ns
        or _open_ns(peer) >= SECOND // 5
        or not 0 < last.received_bytes < 1024
    ):
        return None
    return last
