"""The cause card hang.gc_stall."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.events import ProcessSample
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.common import died_of, sent_by_process
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    Candidate,
    ends,
    fact,
    process_culprit,
    supports,
)
from receiver.units import MIB


def collector(case: Case) -> Iterator[Candidate]:
    """Finds a busy JVM with its memory at a plateau and no I/O, until another process kills it."""
    for actor in case:
        usage = actor.usage
        if actor.name != "java" or usage is None or usage.last is None or len(usage.recent) < 4:
            continue
        busy = _ready(usage.first or usage.last, usage.last)
        values = [v for _, v in usage.recent[-4:]]
        flat = max(values) - min(values) <= 0.05 * max(values)
        last, first = usage.last, usage.first or usage.last
        moved = (
            last.read_call_bytes
            + last.write_call_bytes
            - first.read_call_bytes
            - first.write_call_bytes
        )
        event = died_of(actor)
        given_up = actor.end.code == 56 or (event is not None and sent_by_process(actor, event))
        if busy < 0.8 or not flat or moved > MIB or not (given_up or actor.exit is None):
            continue
        text = (
            f"{actor.who} used {busy:.1f} CPUs, or waited for one, while its memory was constant, "
            f"and transferred {moved} bytes."
        )
        evidence = [
            supports("hang.gc_stall.busy_and_silent", CLEAR, text, [fact(first), fact(last)])
        ]
        if actor.end.code == 56:
            text = "It exited with status 56, which Spark uses for lost heartbeats."
            evidence.append(supports("hang.gc_stall.heartbeat_status", CLEAR, text, ends(actor)))
        elif event is not None:
            text = f"{event.sender_comm} ({event.sender.tgid}) then ended it."
            evidence.append(supports("hang.gc_stall.then_ended_by", SOME, text, [fact(event)]))
        summary = (
            f"{actor.who} spent its time on garbage collection: it used {busy:.1f} CPUs, or waited "
            "for one, and transferred no data."
        )
        yield Candidate(
            cause="hang.gc_stall",
            culprit=process_culprit(actor),
            summary=summary,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=last.time_boottime_ns,
        )


def _ready(first: ProcessSample, last: ProcessSample) -> float:
    """Returns how many threads ran or waited for a CPU: a busy host does not make it idle."""
    interval = last.time_boottime_ns - first.time_boottime_ns
    ran = last.cpu_runtime_ns - first.cpu_runtime_ns + last.run_delay_ns - first.run_delay_ns
    return max(0, ran) / interval if interval > 0 else 0.0


CARD = cause_class(
    name="hang.gc_stall",
    title="garbage collection used all the time",
    predicts="a busy JVM that transfers no data",
    rivals="mem.app_heap cpu.quota kill.heartbeat",
    tag="raise_heap",
    fix="Raise the heap limit or split the work; read the collector's log.",
    visible="P",
    needs="process_sample",
    brings=(
        to("kill.", Via.ANCESTOR),
        to("net.silent_peer", Via.CONNECTION_ENDS),
    ),
    find=(collector,),
)
