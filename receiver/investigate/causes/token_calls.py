"""Connections that a process held while it waited for another call: for credentials, or for another
answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from receiver.events import Connection, ThreadWait
from receiver.facts.peers import Peer
from receiver.investigate.case import Case
from receiver.investigate.causes.peers import (
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
from receiver.units import SECOND

_TOKENS = re.compile(
    r"(?i)(^|[./_-])(sts|iam|oauth2?|auth|login|token|metadata|credentials?|vault|sso|identity)"
    r"([./_:-]|$)"
)
_CREDENTIAL_FILES = re.compile(
    r"(?i)(/\.aws/|/\.azure/|/\.config/gcloud/|web[-_]?identity|/serviceaccount/|credential|token)"
)
_METADATA = {"169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254"}


def token_calls(case: Case) -> Iterator[Candidate]:
    """Finds a slow call to another endpoint while connections were idle and threads waited."""
    names = case.names
    for actor, peer in clients(case):
        gap, sample = longest_gap(peer), last_notable_sample(peer)
        if sample is None or gap < 2 * SECOND:
            continue
        read = refresh(case, actor, peer)
        token = _is_token_service(peer, names)
        others = [
            p
            for p in actor.peers
            if (p is not peer and p.endpoint[1] and p.received_bytes + p.sent_bytes)
            or (p is not peer and p.open)
        ]
        if not read and not token:
            yield from _held_by_a_call(actor, peer, sample, others)
            continue
        text = f"{actor.who} waited {gap / 1e9:.1f} s for {where(peer)}."
        evidence = [supports("net.credential.waited_for_service", CLEAR, text, facts(sample))]
        if token:
            name = names.get(peer.endpoint[0], "a metadata service's address")
            text = f"That is a token service ({name})."
            evidence.append(
                supports("net.credential.token_service", CLEAR, text, facts(peer.first))
            )
        evidence += read
        evidence += waited_for_lock(actor)
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


def _held_by_a_call(
    actor: ProcessSnapshot, call: Peer, sample: Connection, others: list[Peer]
) -> Iterator[Candidate]:
    """Finds connections with unread answers that a process held until another call was answered.

    What that call was for is not visible, so this is no refresh of credentials.
    """
    gap = longest_gap(call)
    for peer in others:
        held = _held_meanwhile([peer], gap, call)
        if len(held) < 2 or peer.quiet is None or not peer.quiet.unread_bytes or peer.most < 2:
            continue
        late = failed_soon_after(actor, sample.time_boottime_ns)
        text = f"{actor.who} waited {gap / 1e9:.1f} s for {where(call)}."
        yield blame(
            actor,
            "net.pool",
            endpoint(call),
            summary=(
                f"{actor.who} left an answer of {where(peer)} unread for "
                f"{peer.quiet_ns / 1e9:.1f} s while it waited for {where(call)}; it had "
                f"{peer.most} connections there."
            ),
            remedy=(
                f"Read or close the answers of {where(peer)} before the call to {where(call)}, "
                f"which took {gap / 1e9:.1f} s, or make that call beforehand: a connection that "
                "holds an answer is no free slot."
            ),
            evidence=[
                supports("net.credential.waited_for_call", CLEAR, text, facts(sample)),
                *held,
                *late,
            ],
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
        one = "Its connection" if peer.most == 1 else f"One of its {peer.most} connections"
        text = (
            f"{one} to {where(peer)} was idle for {peer.quiet_ns / 1e9:.1f} s during that "
            f"time{unread}."
        )
        out = [supports("net.credential.other_was_idle", CLEAR, text, facts(peer.first, quiet))]
        answered = refresh.last.last_receive_boottime_ns if refresh.last is not None else 0
        resumed = last.last_receive_boottime_ns or last.time_boottime_ns
        if answered and -TICK_NS <= resumed - answered < SECOND:
            text = (
                f"Data from {where(peer)} moved again {max(0, resumed - answered) / 1e6:.0f} ms "
                "after the answer had come."
            )
            out.append(
                supports(
                    "net.credential.resumed_after_answer", SOME, text, facts(refresh.last, last)
                )
            )
        return out
    return []


def refresh(case: Case, actor: ProcessSnapshot, peer: Peer) -> list[Evidence]:
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
                        "net.credential.tool_read_file",
                        SOME + SLIGHT,
                        f"{each.who} read {use.path} for it.",
                        facts_of_use(use),
                    )
                )
                break
        if each is not actor and _TOKENS.search(" ".join(each.argv[:4])):
            out.append(
                supports(
                    "net.credential.tool_ran", SOME, f"{each.who} ran during that time.", ends(each)
                )
            )
    return out[:2]


def _is_token_service(peer: Peer, names: Mapping[str, str]) -> bool:
    return peer.endpoint[0] in _METADATA or bool(_TOKENS.search(names.get(peer.endpoint[0], "")))


def waited_for_lock(actor: ProcessSnapshot) -> list[Evidence]:
    waits = lock_waits(actor)
    if not waits:
        return []
    text = f"{len(waits)} of its threads waited for a lock during that time."
    return [supports("net.credential.threads_wait", SOME, text, facts(*waits[:3]))]


def lock_waits(actor: ProcessSnapshot) -> list[ThreadWait]:
    idle_period = actor.usage.idle_period if actor.usage is not None else None
    return [
        w for w in (idle_period.waits if idle_period is not None else ()) if wait_of(w) == "futex"
    ]
