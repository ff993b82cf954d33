"""The heap limit of a command line, and how a runtime grew towards it."""

from __future__ import annotations

import re

from receiver.events import EarlySample, ProcessSample
from receiver.facts.usage import resident
from receiver.investigate.evidence import Fact, fact
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.units import MIB, SECOND

JVM_BYTES = 16 * MIB  # anonymous memory of an idle JVM: 15.4 to 17.7 MiB were measured
_RECENT_NS = 3 * SECOND // 2
_GROWTH = 1.05
_HEAP_OPTION = re.compile(
    r"(?:--max[-_]old[-_]space[-_]size=|--max[-_]heap[-_]size=|-Xmx)(?P<size>[0-9]{1,12})"
    r"(?P<unit>[kKmMgG]?)"
)


def limit_of_command(actor: ProcessSnapshot) -> int:
    """Returns the heap limit in bytes that the command line gives; 0 if it gives none.

    What follows the script belongs to the script.
    """
    words = actor.argv[1:]
    script = next((n for n, w in enumerate(words) if w.rpartition("/")[2] == actor.script), None)
    for word in reversed(words[:script]):
        found = _HEAP_OPTION.fullmatch(word)
        if found:
            # Without a unit, V8 counts in MiB and a JVM in bytes.
            plain = MIB if word.startswith("--") else 1
            unit = {"k": 1 << 10, "m": MIB, "g": 1 << 30}.get(found["unit"].lower(), plain)
            return int(found["size"]) * unit
    return 0


def _looks(actor: ProcessSnapshot) -> list[EarlySample | ProcessSample]:
    """The first and the last looks at it since it executed its program, in order of time."""
    usage = actor.usage
    if usage is None:
        return []
    samples = (s for s in (usage.first, usage.last) if s is not None)
    found: list[EarlySample | ProcessSample] = [*usage.early, *samples]
    return sorted(
        (s for s in found if s.time_boottime_ns >= actor.exec_ns), key=lambda s: s.time_boottime_ns
    )


def anonymous_at_end(actor: ProcessSnapshot) -> int:
    """What it held at the last look, and what its resident set grew by until its peak."""
    looks = _looks(actor)
    if not looks:
        return 0
    return looks[-1].anon_bytes + _peak(actor, looks) - resident(looks[-1])


def _peak(actor: ProcessSnapshot, looks: list[EarlySample | ProcessSample]) -> int:
    """Its peak since the last look, as far as that is known: a peak before it is over."""
    curve = actor.usage.curve.peak if actor.usage is not None else 0
    before = max(curve, *(resident(s) for s in looks))
    last = resident(looks[-1])
    return max(last, actor.peak_bytes) if actor.peak_bytes > before else last


def grew_to_its_end(actor: ProcessSnapshot) -> list[Fact]:
    """Returns its last two looks, if it grew between them or after them."""
    looks = _looks(actor)
    if len(looks) < 2 or actor.end_ns - looks[-1].time_boottime_ns > _RECENT_NS:
        return []
    if _peak(actor, looks) < _GROWTH * resident(looks[-2]):
        return []
    return [fact(s) for s in looks[-2:]]
