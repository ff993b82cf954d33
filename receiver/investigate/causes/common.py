"""Helpers that several causes use."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from receiver.detect.deaths import code_name, fatal_of
from receiver.events import Signal, SignalFlag
from receiver.facts.usage import Usage
from receiver.investigate.case import Case, task_key
from receiver.investigate.evidence import (
    SOME,
    STRONG,
    Culprit,
    Evidence,
    Fact,
    context,
    contradicts,
    ends,
    fact,
    facts,
    facts_of_use,
    supports,
)
from receiver.investigate.history import partition_bytes, place
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.event_text import wait_of
from receiver.text.names import mib, signal_name
from receiver.units import SECOND

_SHELLS = {
    "bash",
    "sh",
    "dash",
    "zsh",
    "ksh",
    "busybox",
    "timeout",
    "env",
    "nice",
    "sudo",
    "make",
    "xargs",
    "time",
}
HANG_NS = 5 * SECOND  # a process that waited longer may hang
LARGE = 3.0  # times the usual value: the threshold for an outlier


def shells(actor: ProcessSnapshot) -> bool:
    """Whether the program only starts other programs and returns their exit status."""
    return actor.name in _SHELLS


def died_of(actor: ProcessSnapshot) -> Signal | None:
    """Returns the signal that killed the process, or the one in its exit status 128 + n."""
    if actor.exit is None or not (actor.end.signal or actor.end.code > 128):
        return None
    return fatal_of(actor.signals, actor.key, actor.end)


def failed_with_it(case: Case, actor: ProcessSnapshot) -> ProcessSnapshot | None:
    """The nearest process above that failed at once after this one, with the same status or with
    the one that an exception gives any program.

    A worker between the two may have handed the result on and ended well.
    """
    above = next((a for a in case.above(actor) if a.failed), None)
    if above is None or above.end.code not in (1, actor.end.code):
        return None
    return above if 0 <= above.end_ns - actor.end_ns <= SECOND else None


def sent_by_process(actor: ProcessSnapshot, event: Signal) -> bool:
    """Whether another process sent the signal by kill(2) or a similar call.

    The kernel sends some in the name of a process that ends: to those that asked for a signal at
    the end of their parent, and to all of a pid namespace.
    """
    return event.code <= 0 and event.sender != actor.key and not _of_an_end(actor, event)


def _of_an_end(actor: ProcessSnapshot, event: Signal) -> bool:
    ends_with = SignalFlag.PARENT_DEATH | SignalFlag.NAMESPACE_ENDS
    return any(
        s.state_flags & ends_with
        for s in actor.moments.received
        if s.signal == event.signal and s.sender == event.sender
    )


def sender_culprit(event: Signal) -> Culprit:
    name = event.sender_comm
    return Culprit(
        type="process",
        name=name,
        pid=event.sender.tgid,
        start_boottime_ns=event.sender.start_boottime_ns,
        signal=signal_name(event.signal),
    )


def sender_text(event: Signal) -> str:
    return (
        f"{signal_name(event.signal)} ({code_name(event.code)}) from {event.sender_comm} "
        f"({event.sender.tgid}, uid {event.sender_uid})"
    )


def progress(actor: ProcessSnapshot, window_ns: int = 5 * SECOND) -> float | None:
    """Returns the number of CPUs that it used between its last samples.

    It is None with fewer than two samples. Of a process that ended young, these are the looks
    between the samples.
    """
    usage = actor.usage
    if usage is None:
        return None
    if usage.last is None or usage.first is None or usage.last is usage.first:
        return _early_progress(usage)
    last = usage.last
    if actor.exit is not None and actor.end_ns - last.time_boottime_ns < window_ns:
        since, cpu = last.time_boottime_ns, actor.exit.cpu_runtime_ns - last.cpu_runtime_ns
        if actor.end_ns - since >= SECOND // 4:
            return max(0, cpu) / (actor.end_ns - since)
    interval = last.time_boottime_ns - usage.first.time_boottime_ns
    return (
        max(0, last.cpu_runtime_ns - usage.first.cpu_runtime_ns) / interval
        if interval > 0
        else None
    )


def _early_progress(usage: Usage) -> float | None:
    if len(usage.early) < 2:
        return None
    first, last = usage.early[0], usage.early[-1]
    interval = last.time_boottime_ns - first.time_boottime_ns
    used = last.cpu_runtime_ns - first.cpu_runtime_ns
    return max(0, used) / interval if interval > 0 else None


def idle_ns(actor: ProcessSnapshot, until_ns: int) -> int:
    """Returns how long the process had been idle at this time."""
    idle_period = actor.usage.idle_period if actor.usage is not None else None
    if (
        idle_period is not None
        and idle_period.waits
        and all(wait_of(w) == "timer" for w in idle_period.waits)
    ):
        return 0  # it slept on purpose, as a `sleep` command does
    return (
        idle_period.ns
        if idle_period is not None
        and idle_period.since_ns + idle_period.ns >= until_ns - 3 * SECOND
        else 0
    )


def partition_share(case: Case, actor: ProcessSnapshot) -> list[Evidence]:
    """Compares the size of the current partition with the other partitions of this run."""
    sizes = partition_bytes(case)
    if actor.partition not in sizes:
        return []
    size, uses = sizes[actor.partition]
    others = [s for name, (s, _) in sizes.items() if name != actor.partition]
    whose = f" of {len(others)} other partitions of this run."
    known = (
        case.history.partition(task_key(case.execution.identity))
        if case.history is not None
        else None
    )
    if not others and known is not None:
        others, whose = [int(known.median)], f" of {known.count} partitions of earlier runs."
    found: list[Fact] = [f for use in uses[:3] for f in facts_of_use(use)]
    if not others:
        return [
            context(
                "data.partition.of_the_process",
                f"It worked on {actor.partition} ({mib(size)}).",
                found,
            )
        ]
    usual = statistics.median(others)
    text = (
        f"It worked on {actor.partition}: {mib(size)}, which is {size / max(1, usual):.1f} "
        f"times the median of {mib(int(usual))}"
    )
    weight = SOME if size >= LARGE * usual else 0.0
    return [
        supports("data.partition.larger_share", weight, text + whose, found)
        if weight
        else context("data.partition.usual_share", text + whose, found)
    ]


def shorter(case: Case, path: str, size: int, found: Iterable[Fact]) -> list[Evidence]:
    """Compares the size of the file with its size after earlier runs."""
    known = (
        case.history.output(task_key(case.execution.identity), place(path))
        if case.history is not None
        else None
    )
    if known is None or not known.median or size > 0.9 * known.median:
        return []
    return [
        supports(
            "data.input.shorter_than_before",
            SOME,
            f"That is {size / known.median:.0%} of the median of {known.count} earlier runs.",
            found,
        )
    ]


def signal_facts(actor: ProcessSnapshot, event: Signal) -> list[Fact]:
    return [fact(event), *([fact(actor.exit)] if actor.exit is not None else [])]


def at_work(case: Case, victim: ProcessSnapshot) -> list[Fact]:
    """Returns facts that show work by the process or its descendants in its last seconds.

    The list is empty if there are none.
    """
    for actor in (victim, *case.below(victim)):
        used = progress(actor)
        if used is not None and used > 0.05:
            return [*facts(actor.usage.last if actor.usage is not None else None), *ends(actor)]
        recent = [
            u for u in actor.uses if u.written_bytes and victim.end_ns - u.last_ns < 5 * SECOND
        ]
        if recent:
            return [*facts_of_use(recent[0])]
    return []


def chosen_by_oom_killer(victim: ProcessSnapshot) -> list[Evidence]:
    """Returns evidence against any other cause of a death, if the OOM killer chose the process."""
    if victim.oom is None:
        return []
    return [
        contradicts(
            "mem.oom.chosen_by_kernel",
            STRONG,
            "The kernel's OOM killer had chosen it.",
            facts(victim.oom),
        )
    ]
