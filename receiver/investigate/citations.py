"""The events that a report cites, each of them once."""

from __future__ import annotations

from collections.abc import Iterable

from receiver.investigate import report as rp
from receiver.investigate.case import Case
from receiver.investigate.evidence import Evidence, Fact
from receiver.text.printable import printable

_FACTS = 400  # events in a report
TEXT = 1000  # characters of one of them: a path alone may have 4096


class Citations:
    """The facts that the report cites, each of them once."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.found: dict[str, Fact] = {}

    def cite(self, found: Iterable[Fact]) -> tuple[str, ...]:
        out = []
        for each in found:
            if each.id in self.found or len(self.found) < _FACTS:
                self.found.setdefault(each.id, each)
                out.append(each.id)
        return tuple(dict.fromkeys(out))

    def as_json(self) -> dict[str, dict[str, str | int | float]]:
        ordered = sorted(self.found.values(), key=lambda f: (f.at_ns, f.id))
        return {
            f.id: {
                "kind": f.kind,
                "at": round(self._case.at(f.at_ns), 6),
                "boottime_ns": f.at_ns,
                "pid": f.pid,
                "text": _bounded(f.text),
            }
            for f in ordered
        }


def evidence_line(evidence: Evidence, events: Citations) -> rp.EvidenceLine:
    return rp.EvidenceLine(
        evidence.role,
        round(evidence.weight, 2),
        printable(evidence.text),
        events.cite(evidence.facts),
        evidence.clue,
        evidence.n,
    )


def _bounded(text: str) -> str:
    """Both ends of a long text: a path ends with the file's name."""
    half = (TEXT - 1) // 2
    return text if len(text) <= TEXT else f"{text[:half]}…{text[-half:]}"
