"""Causes in limited resources: connections of a pool, slots of a server and local ports.

Each candidate names the holder of the resource.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from receiver.events import Connection, ConnectionStage, ThreadWait
from receiver.facts.peers import Peer
from receiver.investigate.case import Case
from receiver.investigate.causes.peers import (
    SILENT_NS,
    TICK_NS,
    blame,
    clients,
    endpoint,
    failed_soon_after,
    last_notable_sample,
    where,
)
from receiver.investigate.causes.silence import longest_gap
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    Candidate,
    Evidence,
    ends,
    facts,
    facts_of_use,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.event_text import wait_of
from receiver.text.names import counted
from receiver.units import SECOND

_TOKENS = re.compile(
    r"(?i)(^|[./_-])(sts|iam|oauth2?|auth|login|token|metadata|credentials?|vault|sso|identity)"
    r"([./_:-]|$)"
)
_CREDENTIAL_FILES = re.compile(
    r"(?i)(/\.aws/|/\.azure/|/\.config/gcloud/|web[-_]?identity|/serviceaccount/|credential|token)"
)
# Runtimes whose idle threads wait for locks.
_THREADED = (
    "java",
    "node",
    "scala",
)
_METADATA = {"169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254"}


def slots(case: Case) -> Iterator[Candidate]:
    """Finds exhausted pools: all connections to one endpoint wait for an answer at once.

    It also finds servers that close every connection above their limit.
    """
    for actor, peer in clients(case):
        sample = last_notable_sample(peer)
        if sample is not None:
            yield from _exhausted(case, actor, peer, sample)
    yield from _turned_away(case)
    yield from _token_calls(case)


def _exhausted(
    case: Case, actor: ProcessSnapshot, peer: Peer, sample: Connection
) -> Iterator[Candidate]:
    """Finds a pool of connections that were all in use, and a refresh that held them."""
    held = peer.longest_full_ns
    alone = (
        peer.most == 1
        and bool(_lock_waits(actor))
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
    refresh = _refresh(case, actor, peer)
    if refresh:
        yield blame(
            actor,
            "net.credential",
            endpoint(peer),
            summary=(
                f"A refresh of credentials held all {peer.most} connections of {actor.who} to "
                f"{where(peer)} for {held / 1e9:.0f} s."
            ),
            evidence=[*evidence, *refresh, *late],
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
    evidence = [supports(SLIGHT if alone else CLEAR, text, shown)]
    evidence += _waited_for_lock(actor)
    if peer.reported:
        text = "The next connection was made as soon as one was free."
        evidence.append(supports(CLEAR, text, facts(*peer.notable_facts[-2:])))
    return evidence


def _waiters(actor: ProcessSnapshot) -> str:
    waits = len(_lock_waits(actor))
    return (
        f" connections: {counted(waits, 'thread', 'threads')} waited for one"
        if waits
        else (" connections")
    )


def _waited_for_lock(actor: ProcessSnapshot) -> list[Evidence]:
    waits = _lock_waits(actor)
    if not waits:
        return []
    text = f"{len(waits)} of its threads waited for a lock during that time."
    return [supports(SOME, text, facts(*waits[:3]))]


def _lock_waits(actor: ProcessSnapshot) -> list[ThreadWait]:
    idle_period = actor.usage.idle_period if actor.usage is not None else None
    return [
        w for w in (idle_period.waits if idle_period is not None else ()) if wait_of(w) == "futex"
    ]


def _refresh(case: Case, actor: ProcessSnapshot, peer: Peer) -> list[Evidence]:
    """Returns evidence for a refresh of credentials.

    Evidence is a token file, a helper or a call to a token service.
    """
    sample = last_notable_sample(peer)
    at = (sample.last_send_boottime_ns or sample.time_boottime_ns) if sample is not None else 0
    out: list[Evidence] = []
    for each in (actor, *case.below(actor)):
        for use in each.uses:
            if (
                use.reading
                and _CREDENTIAL_FILES.search(use.path)
                and abs(use.last_ns - at) < 60 * SECOND
            ):
                out.append(
                    supports(
                        SOME + SLIGHT, f"{each.who} read {use.path} for it.", facts_of_use(use)
                    )
                )
                break
        if each is not actor and _TOKENS.search(" ".join(each.argv[:4])):
            out.append(supports(SOME, f"{each.who} ran during that time.", ends(each)))
    return out[:2]


def _is_token_service(peer: Peer, names: Mapping[str, str]) -> bool:
    return peer.endpoint[0] in _METADATA or bool(_TOKENS.search(names.get(peer.endpoint[0], "")))


def _token_calls(case: Case) -> Iterator[Candidate]:
    """Finds a slow call to another endpoint while connections were idle and threads waited."""
    names = case.names
    for actor, peer in clients(case):
        gap, sample = longest_gap(peer), last_notable_sample(peer)
        if sample is None or gap < 2 * SECOND:
            continue
        read = _refresh(case, actor, peer)
        token = _is_token_service(peer, names)
        if not read and not token:
            continue
        others = [
            p
            for p in actor.peers
            if (p is not peer and p.endpoint[1] and p.received_bytes + p.sent_bytes)
            or (p is not peer and p.open)
        ]
        text = f"{actor.who} waited {gap / 1e9:.1f} s for {where(peer)}."
        evidence = [supports(CLEAR, text, facts(sample))]
        if token:
            name = names.get(peer.endpoint[0], "a metadata service's address")
            text = f"That is a token service ({name})."
            evidence.append(supports(CLEAR, text, facts(peer.first)))
        evidence += read
        evidence += _waited_for_lock(actor)
        evidence += _held_meanwhile(others, gap, peer)
        late = failed_soon_after(actor, sample.time_boottime_ns)
        evidence += late
        summary = (
            f"A refresh of credentials at {where(peer)} took {gap / 1e9:.1f} s and delayed "
            f"{actor.who}."
        )
        yield blame(
            actor,
            "net.credential",
            endpoint(peer),
            summary=summary,
            remedy=(
                f"Refresh the credentials at {where(peer)} before they expire, with a client and "
                f"a timeout of their own: this call took {gap / 1e9:.1f} s."
            ),
            evidence=evidence,
            sample=sample,
            harms_without_failure=True,
            gave_up=bool(late),
        )


def _held_meanwhile(others: list[Peer], gap: int, refresh: Peer) -> list[Evidence]:
    """Returns evidence for connections that were idle during the call.

    They continued after the answer of the call had arrived.
    """
    for peer in others:
        quiet, last = peer.quiet, peer.last
        if quiet is None or last is None or peer.quiet_ns < 0.6 * gap:
            continue
        unread = f", with {quiet.unread_bytes} bytes unread" if quiet.unread_bytes else ""
        text = (
            f"Its {peer.most} connections to {where(peer)} were idle for "
            f"{peer.quiet_ns / 1e9:.1f} s during that time{unread}."
        )
        out = [supports(CLEAR, text, facts(peer.first, quiet))]
        answered = refresh.last.last_receive_boottime_ns if refresh.last is not None else 0
        resumed = last.last_receive_boottime_ns or last.time_boottime_ns
        if answered and -TICK_NS <= resumed - answered < SECOND:
            text = (
                f"They continued {max(0, resumed - answered) / 1e6:.0f} ms after the "
                "answer had come."
            )
            out.append(supports(SOME, text, facts(refresh.last, last)))
        return out
    return []


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
        evidence = [supports(CLEAR, text, facts(last))]
        text = f"{held} other connections to it stayed open all the time."
        evidence.append(supports(CLEAR, text, facts(*(p.last for _, p in stay[:3]))))
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


CAUSES = (slots,)
