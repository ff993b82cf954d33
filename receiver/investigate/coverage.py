"""What could be observed of a case. Only then does the absence of an event mean something."""

from __future__ import annotations

from receiver.investigate.case import Case
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import counted
from receiver.units import SECOND

# Events that one look a second finds. What happens between two looks is not among them.
_OF_LOOKS = frozenset(("process_sample", "thread_wait", "wait_stack", "neighbour", "memory_wait"))
_LOOKS = 2  # a change shows from the second look on


def why_unseen(case: Case, kinds: tuple[str, ...], subject: ProcessSnapshot | None) -> str:
    """Why events of these kinds can be missing, as a phrase; empty if they would have been seen."""
    lost = [w for w in case.losses if w.kind in kinds]
    if lost:
        count = sum(w.count for w in lost)
        return f"{counted(count, 'event of that kind was', 'events of that kind were')} lost"
    hidden = next((each for each in case.unseen if set(kinds).intersection(each.kinds)), None)
    if hidden is not None:
        return f"not observed here: {hidden.text}"
    if subject is not None and _OF_LOOKS.intersection(kinds) and not _was_looked_at(subject):
        end = subject.end_ns or case.now_ns
        return (
            f"{subject.who} lived for {(end - subject.start_ns) / SECOND:.2f} s, and the observer "
            "looked at it less than twice"
        )
    return ""


def _was_looked_at(subject: ProcessSnapshot) -> bool:
    usage = subject.usage
    return usage is not None and len(usage.recent) >= _LOOKS
