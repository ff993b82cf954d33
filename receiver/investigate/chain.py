"""The chain from a root to its symptom, one sentence for each link."""

from __future__ import annotations

from receiver.investigate import report as rp
from receiver.investigate.case import Case
from receiver.investigate.citations import Citations
from receiver.investigate.classes import CLASSES
from receiver.investigate.engine import Explanation, Step
from receiver.investigate.evidence import Candidate, ends, facts, facts_of_use
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.printable import printable

_FILES = 3
_STEPS = 8
_STATES = {"partial": "incomplete", "in_progress": "unfinished"}  # of a file, facts.versions.State


def chain(case: Case, incident: Explanation | None, events: Citations) -> tuple[rp.ChainLink, ...]:
    """Returns the links from the root to the symptom, the root first."""
    if incident is None:
        return ()
    lead = incident.ranked[0].candidate
    steps = [s for s in incident.steps if not s.is_same_event][:_STEPS]
    before, after = [s for s in steps if s.tie.before], [s for s in steps if not s.tie.before]
    out = [_link(step, events) for step in before]
    if not any(s.cause is lead for s in after):
        out.append(_first(case, lead, events))
    out += [_link(step, events) for step in after]
    effects = [s.effect for s in reversed(incident.steps) if not s.tie.before]
    out += _exits(case, [case.get(each.subject) for each in (*effects, lead)], events)
    out += _reads(case, events)
    return tuple(out)


def _first(case: Case, lead: Candidate, events: Citations) -> rp.ChainLink:
    known, subject = CLASSES[lead.cause], case.get(lead.subject)
    effect = known.title
    if subject is not None:
        failed = subject.exit is not None and subject.failed
        effect = f"{subject.who} {subject.end.words if failed else 'was affected'}"
    name = printable(_name(lead))
    return rp.ChainLink(name, printable(effect), known.by, events.cite(lead.evidence[0].facts))


def _link(step: Step, events: Citations) -> rp.ChainLink:
    pair = (step.effect, step.cause) if step.tie.before else (step.cause, step.effect)
    return rp.ChainLink(
        printable(pair[0].summary.rstrip(".")),
        printable(pair[1].summary.rstrip(".")),
        step.tie.via.value,
        events.cite([*step.tie.facts, *step.effect.evidence[0].facts][:4]),
    )


def _exits(
    case: Case, subjects: list[ProcessSnapshot | None], events: Citations
) -> list[rp.ChainLink]:
    """Returns how the failure went up from the last process that it reached."""
    at = next((s for s in subjects if s is not None and s.failed), None)
    out: list[rp.ChainLink] = []
    for above in case.above(at) if at is not None else ():
        if at is None or above.exit is None or not at.failed:
            break
        how = f"{above.who} {above.end.words}" if above.failed else f"{above.who} reported success"
        out.append(
            rp.ChainLink(
                printable(f"{at.who} {at.end.words}"),
                printable(how),
                "exit",
                events.cite([*ends(at), *ends(above)]),
            )
        )
        if not above.failed:
            break
        at = above
    return out


def _reads(case: Case, events: Citations) -> list[rp.ChainLink]:
    """Returns a link for each incomplete file that another process read."""
    out: list[rp.ChainLink] = []
    for actor in case:
        for use in actor.uses:
            if use.reported and use.source is not None and len(out) < _FILES:
                writer = use.source.writer
                text = f"{actor.who} read it" + (f" and {actor.end.words}" if actor.failed else "")
                cause = (
                    f"{writer.name} ({writer.key.tgid}) left {use.path} "
                    f"{_STATES.get(use.source.state.value, use.source.state.value)}"
                )
                out.append(
                    rp.ChainLink(
                        printable(cause),
                        printable(text),
                        "file",
                        events.cite([*facts(use.source.opened), *facts_of_use(use)]),
                    )
                )
    return out


def _name(candidate: Candidate) -> str:
    c = candidate.culprit
    return (
        c.path
        or c.address
        or c.cgroup
        or (f"{c.name} ({c.pid})" if c.pid else c.name)
        or CLASSES[candidate.cause].title
    )
