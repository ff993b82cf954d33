"""Times in which system calls were not observed, and what a report says of them."""

from __future__ import annotations

from receiver.model import OF_CALLS, Blind, Unseen
from receiver.work.execution import Execution

KEPT = 32  # interruptions; past it the oldest is forgotten


class BlindTimes:
    """Interruptions concern all work of their time. What ran before its hooks were attached is kept
    with its execution."""

    def __init__(self) -> None:
        self._interruptions: dict[int, Blind] = {}

    def interrupted(self, blind: Blind) -> None:
        """A later one that began at the same time says how it ended."""
        self._interruptions[blind.began_ns] = blind
        if len(self._interruptions) > KEPT:
            del self._interruptions[next(iter(self._interruptions))]

    def of(self, execution: Execution, now_ns: int) -> tuple[Unseen, ...]:
        """What was not observed of this work, as far as it has gone: each a phrase."""
        work = execution.outermost
        out = []
        if work.late_processes:
            who = "1 process" if work.late_processes == 1 else f"{work.late_processes} processes"
            most = "" if work.late_processes == 1 else "at most "
            out.append(
                f"the first {most}{work.late_ns / 1e9:.3f} s of system calls of {who} "
                "(the hooks were attached later)"
            )
        for each in self._meanwhile(work, now_ns):
            since = max(0.0, (each.began_ns - work.start_ns) / 1e9)
            until = (
                f" to {(each.until_ns - work.start_ns) / 1e9:.3f} s" if each.until_ns else " s on"
            )
            out.append(f"system calls from {since:.3f}{until} ({each.why})")
        return tuple(Unseen(text, OF_CALLS) for text in out)

    def hides(self, execution: Execution, now_ns: int) -> bool:
        """Whether hooks that were needed for this work were missing for a time."""
        return bool(self._meanwhile(execution.outermost, now_ns))

    def _meanwhile(self, work: Execution, now_ns: int) -> list[Blind]:
        end = work.end_ns if work.closed else now_ns
        return [
            b for b in self._interruptions.values()
            if b.began_ns <= end
            and (not b.until_ns or (b.until_ns > b.began_ns and b.until_ns >= work.start_ns))
        ]  # fmt: skip
