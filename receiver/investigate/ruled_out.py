"""Says for each rival of a conclusion which fact decides against it, or which trace is missing."""

from __future__ import annotations

from collections.abc import Iterable

from receiver.investigate.case import Case
from receiver.investigate.classes import CLASSES
from receiver.investigate.coverage import why_unseen
from receiver.investigate.engine import Explanation
from receiver.investigate.evidence import Candidate, Evidence, Fact, ends, missing
from receiver.investigate.relations import matches


def rule_out(
    case: Case, incident: Explanation, considered: Iterable[Candidate]
) -> list[tuple[str, Evidence]]:
    """Returns the fact that decides against each rival, or names the missing trace of the rival.

    A rival that the lead brought about is a part of the same incident.
    """
    lead = incident.ranked[0].candidate
    parts = {s.effect.cause: s for s in reversed(incident.steps)}
    by_cause = {s.cause: s for s in sorted(considered, key=lambda s: s.score)}
    out: list[tuple[str, Evidence]] = []
    for rival in CLASSES[lead.cause].rivals:
        known = by_cause.get(rival)
        against = [e for e in known.evidence if e.weight < 0] if known is not None else []
        worst = min(against, key=lambda e: e.weight, default=None)
        if worst is None and (step := parts.get(rival)) is not None:
            text = f"It is a part of the same incident. {step.tie.text}"
            shown = step.tie.facts or lead.evidence[0].facts
            out.append((rival, Evidence("contradicts", 0.0, text, shown)))
        elif known is not None:
            text = (
                worst.text
                if worst is not None
                else f"Its evidence is weaker: {known.score:.1f} against {lead.score:.1f}."
            )
            out.append(
                (rival, Evidence("contradicts", 0.0, text, (worst or lead.evidence[0]).facts))
            )
        elif rival in CLASSES:
            out.append(
                (
                    rival,
                    missing(
                        "rival.trace.absent",
                        0.0,
                        _absence(case, rival, lead),
                        _witnesses(case, lead),
                    ),
                )
            )
        else:
            out.append(
                (rival, Evidence("contradicts", 0.0, lead.evidence[0].text, lead.evidence[0].facts))
            )
    return out


def _absence(case: Case, rival: str, lead: Candidate) -> str:
    """A rival without a trace: what decides against it, or why a trace could be missing."""
    known = CLASSES[rival]
    if any(matches(rival, relation.names) for relation in CLASSES[lead.cause].brings):
        return "It would be a consequence of this cause, and not another one."
    if known.absence is not None and (found := known.absence(case, lead)):
        return found
    why = why_unseen(case, known.needs, case.get(lead.subject))
    if why:
        return f"An observation is missing for {known.predicts}: {why}."
    return f"No event shows {known.predicts}."


def _witnesses(case: Case, lead: Candidate) -> tuple[Fact, ...]:
    subject = case.get(lead.subject)
    found = ends(subject) if subject is not None else ()
    return found or lead.evidence[0].facts
