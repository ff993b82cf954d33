"""Waits for somebody else: a pipe that a helper keeps open, a FIFO without a partner, a stop."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.facts.waits import IdlePeriod
from receiver.investigate.case import Case
from receiver.investigate.causes.common import HANG_NS, died_of, sent_by_process
from receiver.investigate.evidence import (
    SLIGHT,
    Evidence,
    fact,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.units import SECOND


def stalled(case: Case) -> Iterator[tuple[ProcessSnapshot, IdlePeriod]]:
    """Yields the processes that did nothing for long, and did not go on and succeed."""
    for actor in case:
        period = actor.usage.idle_period if actor.usage is not None else None
        if period is None or period.ns < HANG_NS or not period.waits:
            continue
        went_on = actor.end_ns - (period.since_ns + period.ns) > 3 * SECOND
        if actor.end_ns and not actor.failed and went_on:
            continue
        yield actor, period


def ended_by(actor: ProcessSnapshot) -> list[Evidence]:
    event = died_of(actor)
    if event is None or not sent_by_process(actor, event):
        return []
    text = f"{event.sender_comm} ({event.sender.tgid}) ended it in the end."
    return [supports("hang.stall.ended_by_watcher", SLIGHT, text, [fact(event)])]
