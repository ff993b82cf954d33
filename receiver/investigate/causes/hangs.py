"""Processes that wait for ever: locks held over a fork, full pipes, a collector that never ends."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.events import ThreadWait
from receiver.facts.waits import IdlePeriod
from receiver.investigate.case import Case
from receiver.investigate.causes.common import HANG_NS
from receiver.investigate.evidence import (
    Fact,
    facts,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.event_text import frames_of
from receiver.units import SECOND


def idle_periods(case: Case) -> Iterator[tuple[ProcessSnapshot, IdlePeriod]]:
    """Yields long idle periods with their waits; not those after which a process succeeded."""
    for actor in case:
        period = actor.usage.idle_period if actor.usage is not None else None
        if period is None or period.ns < HANG_NS or not period.waits:
            continue
        went_on = actor.end_ns and actor.end_ns - (period.since_ns + period.ns) > 3 * SECOND
        if actor.failed or not (went_on or _came_free(actor, period)):
            yield actor, period


def _came_free(actor: ProcessSnapshot, period: IdlePeriod) -> bool:
    """Whether it exited with status 0, and nobody sent it a signal meanwhile: the wait had an end.

    An idle worker of a pool waits so for work, until its parent closes the queue.
    """
    return (
        actor.exit is not None
        and not actor.end.code
        and not actor.end.signal
        and not any(s.time_boottime_ns >= period.since_ns for s in actor.signals)
    )


def standing_at(idle_period: IdlePeriod, wait: ThreadWait) -> tuple[str, tuple[Fact, ...]]:
    """Describes the wait in the kernel as a part of a sentence, with the event that shows it."""
    stack = idle_period.stack(wait)
    frames = frames_of(stack) if stack is not None else ()
    return (
        (f" It waits in the kernel's {' < '.join(frames[:4])}.", facts(stack))
        if frames
        else ("", ())
    )
