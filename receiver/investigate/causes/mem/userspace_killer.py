"""The cause card mem.userspace_killer."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from receiver.events import Signal
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.absences import no_sender
from receiver.investigate.causes.common import died_of, sender_culprit
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    Candidate,
    Evidence,
    fact,
    fact_of_point,
    facts_of_use,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import mib
from receiver.units import MIB, SECOND

_GUARDS = ("earlyoom", "oomd", "nohang", "memwatch", "memory_guard", "memguard", "bustd")


_GUARDED_GROWTH = 0.3  # of its peak, within its last samples


def guards(case: Case) -> Iterator[Candidate]:
    """Finds a SIGKILL by another process while the victim's memory was high or growing.

    A known memory guard may send SIGTERM.
    """
    for victim in case:
        event = died_of(victim)
        if (
            event is None
            or event.code > 0
            or event.sender == victim.key
            or event.signal not in (signal.SIGKILL, signal.SIGTERM)
        ):
            continue
        is_guard = any(g in event.sender_comm for g in _GUARDS)
        grown, growth = _growth(victim, event)
        torn = [u for u in victim.uses if u.written_bytes > grown // 8 and u.state != "complete"]
        if not is_guard and (event.signal != signal.SIGKILL or torn or not growth):
            # A sender of SIGTERM, or one that kills a process while it writes its output, is no
            # memory guard: the memory of every process grows at its start.
            continue
        text = f"{event.sender_comm} ({event.sender.tgid}) sent the signal; the kernel did not."
        evidence = [supports("mem.userspace_killer.sent_by_process", SOME, text, [fact(event)])]
        if is_guard:
            text = f"{event.sender_comm} is a known user-space OOM killer."
            evidence.append(supports("mem.userspace_killer.known_name", CLEAR, text, [fact(event)]))
        evidence += growth
        sender = case.by_pid(event.sender.tgid, event.time_boottime_ns)
        uses = sender.uses if sender is not None else ()
        reads = [u for u in uses if "memory" in u.path or "meminfo" in u.path]
        if reads:
            text = f"The sender reads {reads[0].path}."
            evidence.append(
                supports("mem.userspace_killer.reads_pressure", SOME, text, facts_of_use(reads[0]))
            )
        yield Candidate(
            cause="mem.userspace_killer",
            culprit=sender_culprit(event),
            summary=(
                f"{event.sender_comm} ({event.sender.tgid}) killed {victim.who} when its memory "
                f"was {mib(victim.peak_bytes)}."
            ),
            remedy=(
                f"Give {victim.who} more memory or less work than {mib(victim.peak_bytes)}, or "
                f"raise the threshold of {event.sender_comm}."
            ),
            evidence=tuple(evidence),
            subject=victim.key,
            at_ns=event.time_boottime_ns,
        )


def _growth(victim: ProcessSnapshot, event: Signal) -> tuple[int, list[Evidence]]:
    """Returns the growth before the signal in bytes, and evidence if it was large."""
    points = victim.usage.curve.points if victim.usage is not None else []
    recent = [p for p in points if event.time_boottime_ns - p[0] < 20 * SECOND]
    grown = (recent[-1][1] - recent[0][1]) if len(recent) > 1 else 0
    if grown <= max(32 * MIB, _GUARDED_GROWTH * victim.peak_bytes):
        return grown, []
    text = f"{victim.who} had grown by {mib(grown)} to {mib(recent[-1][1])} when the signal came."
    shown = [fact_of_point(victim.pid, victim.name, p) for p in recent[-4:]]
    return grown, [
        supports(
            "mem.userspace_killer.victim_grew", CLEAR if len(recent) > 2 else SOME, text, shown
        )
    ]


CARD = cause_class(
    name="mem.userspace_killer",
    title="a user-space OOM killer killed it",
    predicts="a SIGKILL by a process while its memory was growing",
    rivals="mem.cgroup_oom kill.supervisor mem.host_oom",
    tag="tune_memory_killer",
    fix=(
        "Give the step more memory or less work, or raise the threshold of the "
        "user-space OOM killer."
    ),
    needs="signal process_sample",
    brings=(
        to("fs.truncated", Via.SAME),
        to("kill.", Via.SIGNAL),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        to("data.skew", Via.SAME),
    ),
    absence=no_sender,
    find=(guards,),
)
