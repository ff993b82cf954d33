"""The causes that agents have found: their incidents, and deaths without an incident."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from receiver import semconv as sc
from receiver.insights.runs import RemoteFact
from receiver.investigate.causes import CARDS
from receiver.investigate.classes import NOT_VISIBLE
from receiver.investigate.evidence import CLEAR, Culprit

# A pid has at most seven digits (PID_MAX_LIMIT).
_CULPRIT = re.compile(
    r"^(process|file|endpoint|cgroup|task|host)(?: (.*?))?(?: \(([0-9]{1,7})\))?$"
)
# The class that a finding shows; a hang alone shows none.
DEATHS = {card.finding: card.name for card in CARDS if card.finding} | {sc.EVENT_PROCESS_HANG: ""}


class RemoteCause(msgspec.Struct, frozen=True, kw_only=True):
    """The cause that one agent found: its incident, or a death without an incident."""

    fact: RemoteFact
    cause: str
    culprit: Culprit
    confidence: float
    score: float
    summary: str
    support: tuple[RemoteFact, ...]


def remote_causes(mine: list[RemoteFact], host: str) -> Iterator[RemoteCause]:
    for opened in (f for f in mine if f.kind == sc.EVENT_PIPELINE_INCIDENT_OPENED):
        incident_id = opened.word(sc.PIPELINE_INCIDENT_ID)
        about = [f for f in mine if f.word(sc.PIPELINE_INCIDENT_ID) == incident_id]
        lead = next((f for f in about if f.number(sc.PIPELINE_HYPOTHESIS_RANK) == 1), None)
        cause = opened.word(sc.PIPELINE_INCIDENT_CAUSE) or NOT_VISIBLE.name
        support = tuple(f for f in about if f.kind == sc.EVENT_PIPELINE_INCIDENT_EVIDENCE)
        yield RemoteCause(
            fact=_first_of(mine, opened),
            cause=cause,
            culprit=_culprit(
                lead.word(sc.PIPELINE_HYPOTHESIS_CULPRIT) if lead is not None else "", host
            ),
            confidence=lead.number(sc.PIPELINE_HYPOTHESIS_CONFIDENCE) if lead is not None else 0.0,
            score=lead.number(sc.PIPELINE_HYPOTHESIS_SCORE) if lead is not None else 0.0,
            summary=lead.text if lead is not None else opened.text,
            support=support,
        )
    if not any(f.kind == sc.EVENT_PIPELINE_INCIDENT_OPENED for f in mine):
        for death in (f for f in mine if DEATHS.get(f.kind)):
            pid = death.whole(sc.PROCESS_PID)
            culprit = Culprit(
                type="process", name=death.word(sc.PROCESS_EXECUTABLE_NAME), pid=pid, host=host
            )
            yield RemoteCause(
                fact=death,
                cause=DEATHS[death.kind],
                culprit=culprit,
                confidence=0.5,
                score=CLEAR,
                summary=death.text,
                support=(),
            )


def _first_of(facts: Iterable[RemoteFact], opened: RemoteFact) -> RemoteFact:
    """Returns the death or hang that the incident is about. It precedes the opening record."""
    same = [f for f in facts if f.kind in DEATHS and f.span_id and f.at_ns <= opened.at_ns]
    return min(same, key=lambda f: (f.at_ns, f.uid), default=opened)


def _culprit(text: str, host: str) -> Culprit:
    """Parses the culprit from the agent's description."""
    found = _CULPRIT.match(text)
    if found is None:
        return Culprit(type="unknown", host=host)
    kind, name, pid = found[1], found[2] or "", int(found[3] or 0)
    match kind:
        case "file":
            return Culprit(type="file", path=name, host=host)
        case "endpoint":
            return Culprit(type="endpoint", address=name, host=host)
        case "cgroup":
            return Culprit(type="cgroup", cgroup=name, host=host)
        case "process":
            return Culprit(type="process", name=name, pid=pid, host=host)
    return Culprit(type="task" if kind == "task" else "host", name=name, host=host)
