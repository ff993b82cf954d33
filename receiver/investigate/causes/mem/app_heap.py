"""The cause card mem.app_heap."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from receiver.events import CallKind
from receiver.facts.usage import Point
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.common import died_of, progress
from receiver.investigate.causes.heap_growth import (
    JVM_BYTES,
    anonymous_at_end,
    grew_to_its_end,
    limit_of_command,
)
from receiver.investigate.causes.memory import on_processes
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    Candidate,
    Evidence,
    Fact,
    contradicts,
    ends,
    fact,
    fact_of_point,
    facts_of_use,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import mib, signal_name
from receiver.units import MIB

_NEAR = 0.85  # of a limit: memory above this share is close to it
_PLATEAU = 0.05
_WELL_FILLED = 0.4  # of a limit: large objects waste up to half of the heap
_SIGNALS = 128  # a JVM that a signal asks to end exits with this and the number of the signal
_ABORTS = (signal.SIGABRT, signal.SIGTRAP, signal.SIGILL)

# SparkExitCode.OOM, ExitOnOutOfMemoryError, and a heartbeat failure.
_HEAP_EXITS = {
    52: CLEAR + SOME,
    3: CLEAR,
    56: SLIGHT,
}


def heaps(case: Case) -> Iterator[Candidate]:
    """Finds programs that exited by themselves at a plateau of memory.

    Their cgroup still had room.
    """
    for actor in case:
        if not actor.failed or actor.end.signal or actor.oom is not None:
            continue
        java = actor.name == "java"
        dump = next((u for u in actor.uses if u.path.endswith(".hprof") and u.writing), None)
        weight = _HEAP_EXITS.get(actor.end.code, 0.0) if java else 0.0
        refused = any(c.call == CallKind.MEMORY for c in actor.calls)
        if refused or not (weight or dump or (java and actor.end.code == 1 and _plateau(actor))):
            continue
        evidence = []
        if weight:
            text = (
                f"{actor.who} exited by itself with status {actor.end.code}, which a JVM "
                'uses for "out of memory"; no signal was sent.'
            )
            evidence.append(supports("mem.app_heap.status", weight, text, ends(actor)))
        if dump is not None:
            text = f"It wrote a heap dump: {dump.path}."
            evidence.append(supports("mem.app_heap.heap_dump", CLEAR, text, facts_of_use(dump)))
        evidence += _shape_of_heap(actor)
        summary = (
            f"{actor.who} reached its own heap limit at {mib(actor.peak_bytes)} and exited "
            f"with status {actor.end.code}{on_processes(actor)}."
        )
        yield Candidate(
            cause="mem.app_heap",
            culprit=process_culprit(actor),
            summary=summary,
            remedy=_larger_heap(actor),
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=actor.end_ns,
        )


def outgrown_heaps(case: Case) -> Iterator[Candidate]:
    """Finds programs of a JVM that exited by themselves while they grew towards the heap limit of
    their command.

    An OutOfMemoryError ends the program with status 1, as any other exception does. Objects of
    half a region or more waste up to half of the heap.
    """
    for actor in case:
        limit = limit_of_command(actor) if actor.name == "java" else 0
        by_itself = actor.failed and actor.end.code <= _SIGNALS
        if not limit or not by_itself or actor.end.code in _HEAP_EXITS:
            continue
        held = anonymous_at_end(actor) - JVM_BYTES
        if held < _WELL_FILLED * limit or any(c.call == CallKind.MEMORY for c in actor.calls):
            continue
        grew = grew_to_its_end(actor)
        if actor.oom is not None or not grew:
            continue
        text = (
            f"Its anonymous memory had grown to {mib(held + JVM_BYTES)}, of which a JVM itself "
            f"needs about {mib(JVM_BYTES)}, and its command limits its heap to {mib(limit)}."
        )
        weight = CLEAR if held >= _NEAR * limit else SOME
        evidence = [supports("mem.app_heap.share_of_limit", weight, text, [*grew, *ends(actor)])]
        text = f"It grew until its end, when it exited by itself with status {actor.end.code}."
        evidence.append(
            supports("mem.app_heap.grew_to_its_end", SLIGHT, text, [*grew[-1:], *ends(actor)])
        )
        yield Candidate(
            cause="mem.app_heap",
            culprit=process_culprit(actor),
            summary=(
                f"{actor.who} grew towards its own heap limit of {mib(limit)} and exited with "
                f"status {actor.end.code}{on_processes(actor)}."
            ),
            remedy=_larger_heap(actor),
            evidence=(*evidence, *_shape_of_heap(actor)),
            subject=actor.key,
            at_ns=actor.end_ns,
        )


def aborted_heaps(case: Case) -> Iterator[Candidate]:
    """Finds runtimes that abort themselves at the heap limit of their command, as V8 does.

    A program that aborts itself far below its limit has another reason.
    """
    for actor in case:
        event, limit = died_of(actor), limit_of_command(actor)
        if event is None or not limit or not actor.end.signal or actor.oom is not None:
            continue
        if event.signal not in _ABORTS or not (event.sender == actor.key or event.code > 0):
            continue
        first = _first_look(actor)
        grown = actor.peak_bytes - first[1] if first is not None else 0
        if first is None or grown < limit or any(c.call == CallKind.MEMORY for c in actor.calls):
            continue
        text = f"{actor.who} ended itself with {signal_name(event.signal)}."
        evidence = [supports("mem.app_heap.aborted", CLEAR, text, [fact(event), *ends(actor)])]
        text = (
            f"Its resident set had grown by {mib(grown)} to {mib(actor.peak_bytes)}, and its "
            f"command limits its heap to {mib(limit)}."
        )
        evidence.append(
            supports(
                "mem.app_heap.grew_to_limit",
                CLEAR,
                text,
                [fact_of_point(actor.pid, actor.name, first), *ends(actor)],
            )
        )
        yield Candidate(
            cause="mem.app_heap",
            culprit=process_culprit(actor),
            summary=(
                f"{actor.who} reached its own heap limit of {mib(limit)} and aborted itself with "
                f"{signal_name(event.signal)}{on_processes(actor)}."
            ),
            remedy=_larger_heap(actor),
            evidence=(*evidence, *_shape_of_heap(actor)),
            subject=actor.key,
            at_ns=event.time_boottime_ns,
        )


def _first_look(actor: ProcessSnapshot) -> Point | None:
    """The first sample since it executed its program."""
    points = actor.usage.curve.points if actor.usage is not None else ()
    return next((p for p in points if p[0] >= actor.exec_ns), None)


def _larger_heap(actor: ProcessSnapshot) -> str:
    set_by = next((a for a in actor.argv if a.startswith(("-Xmx", "--max-old-space-size"))), "")
    named = f" ({set_by})" if set_by else ""
    return (
        f"Raise the heap limit of {actor.who}{named}: it reached it at a resident set of "
        f"{mib(actor.peak_bytes)}. Or split its work."
    )


def _shape_of_heap(actor: ProcessSnapshot) -> list[Evidence]:
    """Returns evidence from its samples: a plateau, a busy collector, room in its cgroup."""
    out = []
    if _plateau(actor):
        text = f"Its memory had stopped growing at {mib(actor.rss_bytes)}."
        out.append(supports("mem.app_heap.flat_memory", SOME, text, _points(actor)[-3:]))
    busy = progress(actor)
    if actor.name == "java" and busy is not None and busy > 0.8:
        text = (
            f"It used {busy:.1f} CPUs until its end, as the garbage collection of a full heap does."
        )
        out.append(supports("mem.app_heap.busy_to_the_end", SLIGHT, text, ends(actor)))
    limit = actor.limit_bytes
    if limit and actor.usage is not None and actor.usage.last is not None:
        used = actor.usage.last.memory_usage_bytes
        text = f"Its cgroup used {mib(used)} of {mib(limit)}."
        shown = [fact(actor.usage.last)]
        out.append(
            supports("mem.app_heap.cgroup_had_room", SLIGHT, text, shown)
            if used < _NEAR * limit
            else contradicts("mem.app_heap.cgroup_was_full", SLIGHT, text, shown)
        )
    return out


def _points(actor: ProcessSnapshot) -> list[Fact]:
    return [
        fact_of_point(actor.pid, actor.name, p)
        for p in (actor.usage.curve.points if actor.usage is not None else ())
    ]


def _plateau(actor: ProcessSnapshot) -> bool:
    recent = actor.usage.recent if actor.usage is not None else ()
    if len(recent) < 3:
        return False
    values = [v for _, v in recent[-3:]]
    return max(values) - min(values) <= _PLATEAU * max(values) and max(values) > 32 * MIB


CARD = cause_class(
    name="mem.app_heap",
    title="it reached its own heap limit, while the container had free memory",
    predicts="an exit or an abort by itself at its heap limit, or while its memory was constant",
    rivals="mem.cgroup_oom hang.gc_stall kill.supervisor",
    tag="raise_heap",
    fix=(
        "Raise the application's own heap limit (-Xmx, --max-old-space-size), or "
        "split its work. The container had free memory."
    ),
    visible="P",
    brings=(
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        to("hang.gc_stall data.skew crash.abort_ill", Via.SAME),
    ),
    find=(heaps, aborted_heaps, outgrown_heaps),
)
