"""Writes a conclusion as a report.

The report lists the processes and how each ended, the chain from cause to symptom, the timeline,
and the events that it cites.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from receiver.investigate import report as rp
from receiver.investigate.answers import answers
from receiver.investigate.case import Case
from receiver.investigate.citations import Citations, evidence_line
from receiver.investigate.classes import CLASSES, NOT_VISIBLE
from receiver.investigate.code_place import with_place
from receiver.investigate.engine import Conclusion, Explanation, Ranked, conclude
from receiver.investigate.entries import Sighting
from receiver.investigate.evidence import Candidate, Culprit, Fact, ends
from receiver.investigate.history import signature
from receiver.investigate.ruled_out import rule_out
from receiver.investigate.sections import crashes, curves, normality
from receiver.investigate.symptoms import MISMATCH
from receiver.investigate.time_account import time_account
from receiver.text.printable import printable
from receiver.work.execution import Execution

_ON_AXIS = 24
_DELAYS = 2  # in one report
_SHORTEST_NS = 500_000  # a shorter part rounds to 0.000 s or 0.001 s


def investigate(case: Case, ended_unix_ns: int = 0) -> rp.Report:
    """Evaluates every cause on the case and returns the report.

    It also counts the incident's signature in the history.
    """
    found = conclude(case)
    events = Citations(case)
    lead = found.ranked[0] if found.verdict in rp.EXPLAINED else None
    key = _signature(case, found)
    seen = _seen(case, found, key, ended_unix_ns)
    return rp.Report(
        schema=rp.SCHEMA,
        id=report_id(case.execution),
        verdict=found.verdict,  # type: ignore[arg-type]
        summary=printable(_summary(case, found)),
        ended=_rfc3339(ended_unix_ns),
        execution=_execution(case),
        symptoms=tuple(
            rp.Moment(round(case.at(s.at_ns), 3), events.cite(s.facts)[0], printable(s.text))
            for s in found.symptoms
            if s.facts
        ),
        hypotheses=_hypotheses(case, found.first, found.considered, events),
        timeline=_axis(case, found, events),
        unnoticed=_unnoticed(found.first, events) if lead is not None else None,
        answers=answers(case, found.first if lead is not None else None, events, seen),
        time=_time(case),
        memory=curves(case, lead, events),
        crashes=crashes(case, events),
        normality=_normality(case, found, events),
        other_incidents=tuple(
            rp.Incident(
                _hypotheses(case, other, found.considered, events),
                _signature_of(case, other.ranked[0]),
            )
            for other in found.others
        ),
        events=events.as_json(),
        completeness=_completeness(case),
        signature=key,
        seen_before=seen.count if seen is not None else 0,
    )


def _normality(case: Case, found: Conclusion, events: Citations) -> tuple[rp.EvidenceLine, ...]:
    """What was normal, and delays that ended nothing."""
    if found.verdict not in ("healthy", "not_visible"):
        return ()
    delays = tuple(
        rp.EvidenceLine(
            "context",
            0.0,
            printable(f"{each.summary} That cost time; no deadline came of it."),
            events.cite(each.evidence[0].facts),
        )
        for each in found.context[:_DELAYS]
    )
    return (*normality(case, events), *delays)


def _time(case: Case) -> tuple[rp.TimeLine, ...]:
    return tuple(
        rp.TimeLine(each.what, printable(each.on), round(each.ns / 1e9, 3))
        for each in time_account(case)
        if each.ns >= _SHORTEST_NS
    )


def _completeness(case: Case) -> rp.Completeness:
    losses = (*case.losses, *case.unwatched_losses)
    return rp.Completeness(
        tuple(
            {"kind": h.kind, "reason": h.reason, "count": h.count, "at": round(case.at(h.at_ns), 3)}
            for h in losses
        ),
        tuple(each.text for each in case.unseen),
        case.left_out,
    )


def report_id(execution: Execution) -> str:
    """Returns an id that is the same for all reports on one execution."""
    return hashlib.sha256(execution.trace_id + execution.span_id).hexdigest()[:16]


def _execution(case: Case) -> rp.ExecutionLine:
    execution, identity = case.execution, case.execution.identity
    return rp.ExecutionLine(
        system=printable(identity.system),
        pipeline=printable(identity.pipeline),
        run_id=printable(identity.run_id),
        task=printable(identity.task),
        attempt=identity.attempt,
        outcome=execution.result,
        reported_outcome=None if execution.incomplete else execution.reported,
        seconds=round(case.seconds, 3),
        trace_id=execution.trace_id.hex(),
    )


def _summary(case: Case, found: Conclusion) -> str:
    if found.verdict in rp.EXPLAINED:
        return found.ranked[0].candidate.summary
    root = case.root
    end = (
        f"{root.who} {root.end.words}"
        if root is not None and root.exit is not None
        else "It is still running"
    )
    if found.verdict == "healthy":
        return (
            f"The kernel events show no failure. {end} after {case.seconds:.1f} s, "
            f"{len(case.actors) + case.left_out} processes."
        )
    if found.verdict == "incomplete":
        missed = (
            "Events were lost"
            if case.losses
            else ("System calls were not observed for part of the time")
        )
        return f"{missed}, and they could change the answer. {end}."
    hidden = next((s.text for s in found.symptoms if s.kind == MISMATCH), "")
    if hidden:
        return f"{hidden} No kernel event shows why. {NOT_VISIBLE.fix.text}"
    return f"{end}, and no kernel event shows why. {NOT_VISIBLE.fix.text}"


def _hypotheses(
    case: Case, incident: Explanation, considered: Iterable[Candidate], events: Citations
) -> tuple[rp.Hypothesis, ...]:
    out = []
    for number, each in enumerate(incident.ranked, 1):
        candidate = each.candidate
        known = CLASSES[candidate.cause]
        weighed = tuple(
            evidence_line(e, events)
            for e in with_place(
                case, candidate, sorted(candidate.evidence, key=lambda e: -abs(e.weight))
            )
        )
        rivals = rule_out(case, incident, considered) if number == 1 else []
        out.append(
            rp.Hypothesis(
                rank=number,
                cause=candidate.cause,
                culprit=_safe(candidate.culprit),
                confidence=each.confidence,
                score=round(candidate.score, 2),
                summary=printable(candidate.summary),
                evidence=tuple(
                    dict.fromkeys(r for w in weighed if w.role == "supports" for r in w.refs)
                ),
                weighed=weighed,
                ruled_out=tuple(
                    rp.RuledOut(name, printable(e.text), events.cite(e.facts)) for name, e in rivals
                ),
                fix=rp.FixLine(known.fix.tag, printable(candidate.remedy or known.fix.text)),
            )
        )
    return tuple(out)


def _unnoticed(incident: Explanation, events: Citations) -> rp.Unnoticed | None:
    facet = incident.unnoticed
    if facet is None:
        return None
    fix = CLASSES[facet.cause].fix
    return rp.Unnoticed(
        printable(facet.summary),
        _safe(facet.culprit),
        rp.FixLine(fix.tag, printable(facet.remedy or fix.text)),
        events.cite(facet.evidence[0].facts),
    )


def _safe(culprit: Culprit) -> Culprit:
    """Replaces unprintable characters. Users choose the names of processes and files freely."""
    words = {
        f: printable(v)
        for f in culprit.__struct_fields__
        if isinstance(v := getattr(culprit, f), str) and v
    }
    sender = _safe(culprit.sender) if culprit.sender is not None else None
    return msgspec.structs.replace(culprit, **words, sender=sender)


def _axis(case: Case, found: Conclusion, events: Citations) -> tuple[rp.Moment, ...]:
    """Returns the timeline: facts of the first hypothesis, symptoms and failed processes."""
    facts_: dict[str, Fact] = {}
    lead = found.ranked[0].candidate if found.ranked and found.verdict != "healthy" else None
    for symptom in found.symptoms:
        facts_.update({f.id: f for f in symptom.facts})
    for evidence in sorted(lead.evidence if lead is not None else (), key=lambda e: -abs(e.weight)):
        facts_.update({f.id: f for f in evidence.facts})
    for actor in case.path or ([case.root] if case.root is not None else []):
        facts_.update({f.id: f for f in ends(actor)})
    chosen = sorted(list(facts_.values())[:_ON_AXIS], key=lambda f: (f.at_ns, f.id))
    events.cite(chosen)
    return tuple(
        rp.Moment(round(case.at(f.at_ns), 3), f.id, printable(f.text))
        for f in chosen
        if f.id in events.found
    )


def _signature(case: Case, found: Conclusion) -> str:
    return _signature_of(case, found.ranked[0]) if found.verdict == "incident" else ""


def _signature_of(case: Case, lead: Ranked) -> str:
    subject = case.get(lead.candidate.subject)
    kinds = {f.kind for e in lead.candidate.evidence if e.role == "supports" for f in e.facts} - {
        "process_sample"
    }
    executable = subject.name if subject is not None else ""
    error = subject.end.error if subject is not None and subject.exit is not None else ""
    return signature(lead.candidate.cause, case.execution.identity.task, executable, error, kinds)


def _seen(case: Case, found: Conclusion, key: str, at_unix_ns: int) -> Sighting | None:
    """Returns the earlier sightings of this signature. Only a finished run adds to their number."""
    if case.history is None or not key:
        return None
    if not at_unix_ns:
        return case.history.seen(key, case.execution.identity.owner)
    return case.history.saw(
        Sighting(
            signature=key,
            cause=found.ranked[0].candidate.cause,
            count=1,
            first_unix_ns=at_unix_ns,
            last_unix_ns=at_unix_ns,
            last_run=case.execution.identity.run_id,
            owner=case.execution.identity.owner,
        )
    )


def _rfc3339(unix_ns: int) -> str:
    return (
        datetime.fromtimestamp(unix_ns / 1e9, UTC).isoformat(timespec="milliseconds")
        if unix_ns
        else ""
    )
