"""Causes in waiting: a lack of CPU time, and waits that do not end."""

from __future__ import annotations

from receiver.investigate.case import Case
from receiver.investigate.evidence import (
    SLIGHT,
    Evidence,
    ends,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.units import SECOND

PRESSED_NS = 3 * SECOND
_SLOW_NS = 5 * SECOND


def explains_slowness(
    case: Case, actor: ProcessSnapshot, evidence: list[Evidence], lasted: int
) -> bool:
    """Whether this is a sufficient reason for a task to be too slow, or to meet a time limit."""
    share = lasted / max(1, (actor.end_ns or case.now_ns) - actor.start_ns)
    if share > 0.4:
        evidence.append(
            supports(
                "wait.share.of_run", SLIGHT, f"That was {share:.0%} of its run time.", ends(actor)
            )
        )
    return share > 0.4 and lasted >= _SLOW_NS
