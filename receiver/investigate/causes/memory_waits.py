"""Processes that the kernel lets wait for memory of a cgroup that is full."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.events import WaitStack
from receiver.investigate.case import Case
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    context,
    fact,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.event_text import frames_of
from receiver.text.names import mib
from receiver.units import SECOND

_OOM_WAIT = "mem_cgroup_oom_synchronize"  # mm/memcontrol.c: the OOM killer is off
_HIGH_WAIT = "mem_cgroup_handle_over_high"  # usage above memory.high, cgroup v2
_LASTS_NS = 2 * SECOND


def stack_with(actor: ProcessSnapshot, function: str) -> WaitStack | None:
    """Returns the first stack of a waiting thread that contains a kernel function."""
    period = actor.usage.idle_period if actor.usage is not None else None
    stacks = period.stacks if period is not None else ()
    names = (function, f"__{function}")
    return next((s for s in stacks if any(n.startswith(names) for n in frames_of(s))), None)


def waits_for_memory(actor: ProcessSnapshot) -> bool:
    """Whether it waits for memory of its cgroup, and so for no storage."""
    if any(stack_with(actor, f) is not None for f in (_OOM_WAIT, _HIGH_WAIT)):
        return True
    last = actor.usage.last if actor.usage is not None else None
    return bool(actor.moments.waits and last is not None and last.disk_threads)


def memory_waits(case: Case) -> Iterator[Candidate]:
    """Finds waits in a full cgroup whose OOM killer is off, and waits above memory.high."""
    for actor in case:
        high = stack_with(actor, _HIGH_WAIT)
        if high is not None:
            yield _above_high(actor, high)
        elif actor.moments.waits and waits_for_memory(actor):
            yield from _killer_off(actor)


def _killer_off(actor: ProcessSnapshot) -> Iterator[Candidate]:
    first, last = actor.moments.waits[0], actor.moments.waits[-1]
    lasted = (actor.end_ns or last.time_boottime_ns) - first.time_boottime_ns
    if lasted < _LASTS_NS:
        return
    where = actor.memory_cgroup or "its memory cgroup"
    text = (
        f"Memory cgroup {where} was at {mib(last.usage_bytes)} of {mib(last.limit_bytes)}, and its "
        f"OOM killer is off (memory.oom_control)."
    )
    evidence = [supports("mem.oom_disabled.full", STRONG, text, [fact(first), fact(last)])]
    stack = stack_with(actor, _OOM_WAIT)
    if stack is not None:
        text = f"{actor.who} waits for memory in the kernel's {_OOM_WAIT}."
        evidence.append(supports("mem.oom_disabled.waits", CLEAR, text, [fact(stack)]))
    look = actor.usage.last if actor.usage is not None else None
    if look is not None:
        text = f"{actor.who} itself held {mib(look.anon_bytes)} of anonymous memory."
        evidence.append(context("mem.oom_disabled.held", text, [fact(look)]))
    yield Candidate(
        cause="mem.oom_disabled",
        culprit=Culprit(type="cgroup", cgroup=actor.memory_cgroup)
        if actor.memory_cgroup
        else process_culprit(actor),
        summary=(
            f"{actor.who} waited {lasted / SECOND:.0f} s for memory: {where} reached its limit of "
            f"{mib(last.limit_bytes)}, and its OOM killer is off, so that nothing made room."
        ),
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=first.time_boottime_ns,
        harms_without_failure=True,
    )


def _above_high(actor: ProcessSnapshot, stack: WaitStack) -> Candidate:
    look = actor.usage.last if actor.usage is not None else None
    text = f"{actor.who} waits in {_HIGH_WAIT}: its memory cgroup is above memory.high."
    evidence = [supports("mem.high.waits", STRONG, text, [fact(stack)])]
    if look is not None:
        text = f"{actor.who} itself held {mib(look.anon_bytes)} of anonymous memory."
        evidence.append(supports("mem.high.held", SOME, text, facts(look)))
    return Candidate(
        cause="mem.high",
        culprit=Culprit(type="cgroup", cgroup=actor.memory_cgroup)
        if actor.memory_cgroup
        else process_culprit(actor),
        summary=(
            f"The kernel slowed {actor.who} down: {actor.memory_cgroup or 'its memory cgroup'} "
            "uses more than memory.high."
        ),
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=stack.time_boottime_ns,
        harms_without_failure=True,
    )
