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

PRESSED_NS = SECOND
SLOW_NS = 5 * SECOND
_SHARE = 0.4


def explains_slowness(
    case: Case, actor: ProcessSnapshot, evidence: list[Evidence], lasted: int
) -> bool:
    """Whether this is a sufficient reason for a task to be too slow, or to meet a time limit.

    A time limit may be short: of a process that failed, the share of its life decides.
    """
    share = lasted / max(1, (actor.end_ns or case.now_ns) - actor.start_ns)
    if share > _SHARE:
        evidence.append(
            supports(
                "wait.share.of_run", SLIGHT, f"That was {share:.0%} of its run time.", ends(actor)
            )
        )
    return share > _SHARE and (lasted >= SLOW_NS or actor.failed)
