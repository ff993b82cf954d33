"""The cause card kill.heartbeat."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.events import Signal
from receiver.facts.peers import Peer
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.common import (
    at_work,
    chosen_by_oom_killer,
    sender_text,
    shells,
    signal_facts,
)
from receiver.investigate.causes.killings import killings
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    Candidate,
    Culprit,
    Evidence,
    facts,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import signal_name
from receiver.units import SECOND


def heartbeats(case: Case) -> Iterator[Candidate]:
    """Finds a supervisor that waited itself just before it ended a working process."""
    for killing in killings(case):
        yield from _heartbeat(case, killing.victim, killing.event)


def _heartbeat(case: Case, victim: ProcessSnapshot, event: Signal) -> Iterator[Candidate]:
    """Finds a supervisor that waited for an answer just before it ended its child."""
    sender = case.get(event.sender)
    if sender is None or sender not in case.above(victim) or shells(sender):
        return
    at = event.time_boottime_ns
    late, evidence = _late_answer(sender, at)
    if late is None:
        return  # that it waited for a CPU at some time is no reason
    text = f"{sender_text(event)}: the sender is its own supervisor."
    evidence.append(
        supports("kill.heartbeat.by_supervisor", SOME, text, signal_facts(victim, event))
    )
    work = at_work(case, victim)
    if work:
        text = f"{victim.who} was working when it was ended."
        evidence.append(supports("kill.heartbeat.was_working", SOME, text, work))
    evidence += chosen_by_oom_killer(victim)
    culprit = Culprit(
        type="process",
        name=sender.script or sender.name,
        pid=sender.pid,
        start_boottime_ns=sender.start_ns,
        address=f"{late.endpoint[0]}:{late.endpoint[1]}",
        signal=signal_name(event.signal),
    )
    working = ", although that was working" if work else ""
    summary = (
        f"{sender.who} ended {victim.who}{working}: its own answer from {culprit.address} was late."
    )
    yield Candidate(
        cause="kill.heartbeat",
        culprit=culprit,
        summary=summary,
        remedy=(
            f"Set the threshold of {sender.who} to at least three times the interval of its "
            f"heartbeat, and remove the reason of its late answer."
        ),
        evidence=tuple(evidence),
        subject=victim.key,
        at_ns=at,
    )


def _late_answer(sender: ProcessSnapshot, at_ns: int) -> tuple[Peer | None, list[Evidence]]:
    """Returns the peer that the sender waited for before the signal, and the evidence for it."""
    for peer in sender.peers:
        for sample in (*peer.notable_facts, *([peer.last] if peer.last is not None else [])):
            sent_ns = sample.last_send_boottime_ns
            open_ns = at_ns - sent_ns if sent_ns > sample.last_receive_boottime_ns else 0
            if peer.longest_gap_ns < SECOND and open_ns <= SECOND:
                continue
            wait = max(peer.longest_gap_ns, at_ns - sent_ns if sent_ns < at_ns else 0)
            text = (
                f"{sender.who} waited {wait / 1e9:.1f} s for {peer.endpoint[0]}:{peer.endpoint[1]} "
                "before it sent the signal."
            )
            return peer, [
                supports("kill.heartbeat.late_answer", CLEAR + SLIGHT, text, facts(sample))
            ]
    return None, []


CARD = cause_class(
    name="kill.heartbeat",
    title="its supervisor ended it because a heartbeat was late, although it was working",
    predicts="a late answer to its supervisor, then a signal by it",
    rivals="kill.supervisor kill.drain kill.timeout_orphan mem.cgroup_oom",
    tag="heartbeat_threshold",
    fix=(
        "Set the heartbeat's threshold to at least three times its interval, and "
        "remove the reason of the late answer."
    ),
    visible="P",
    brings=(
        to("fs.truncated", Via.SAME),
        to("kill.supervisor kill.timeout_orphan net.silent_peer", Via.SIGNAL),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
    ),
    find=(heartbeats,),
)
