"""Writes the report on a cause that is on another host than its symptom."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import msgspec

from receiver import semconv as sc
from receiver.insights.remote_causes import RemoteCause
from receiver.insights.runs import RemoteFact, RemoteRun
from receiver.investigate import report as rp
from receiver.investigate.classes import CLASSES, NOT_VISIBLE
from receiver.investigate.engine import OFFSET, SLOPE
from receiver.investigate.evidence import Culprit
from receiver.signals import Severity
from receiver.units import SECOND

_CEILING = 0.99


class CausalLink(msgspec.Struct, frozen=True):
    source: RemoteCause
    lines: tuple[rp.EvidenceLine, ...]
    by: str
    symptom: RemoteFact

    @property
    def score(self) -> float:
        return sum(line.weight for line in self.lines)


def report_on(
    trace_id: str, run: RemoteRun, link: CausalLink, sources: list[RemoteCause]
) -> rp.Report:
    """The report on a symptom whose cause `link` found; `sources` are the causes of all hosts."""
    facts = sorted(run.facts, key=lambda f: (f.at_ns, f.host, f.uid))
    first = facts[0].at_ns
    hypotheses = _hypotheses(link, sources)
    began, effect = _moment(link.source.fact, first), _moment(link.symptom, first)
    chain = rp.ChainLink(began.text, effect.text, link.by or "time", (began.id, effect.id))
    return rp.Report(
        schema=rp.SCHEMA,
        id=hashlib.sha256(f"{trace_id} across".encode()).hexdigest()[:16],
        verdict="incident",
        summary=hypotheses[0].summary,
        ended=datetime.fromtimestamp(facts[-1].at_ns / SECOND, UTC).isoformat(),
        execution=_execution(trace_id, link.symptom, facts),
        symptoms=(effect,),
        hypotheses=hypotheses,
        unnoticed=None,
        timeline=tuple(_moment(f, first) for f in facts if _on_axis(f))[:40],
        answers=rp.Answers(
            tuple(
                f"{h}: {', '.join(a) or 'addresses unknown'}" for h, a in sorted(run.hosts.items())
            ),
            (),
            {},
            (chain,),
            "not compared across hosts",
        ),
        time=(),
        memory=(),
        crashes=(),
        normality=(),
        other_incidents=(),
        events=_events(facts, first),
        completeness=rp.Completeness(tuple(_lost(facts)), (), 0),
        signature="",
        seen_before=0,
    )


def _hypotheses(link: CausalLink, sources: list[RemoteCause]) -> tuple[rp.Hypothesis, ...]:
    """The cause on the other host, and what the symptom's own host took for the cause."""
    source = link.source
    local = next((s for s in sources if s.fact.host == link.symptom.host), None)
    lead = _hypothesis(
        1,
        source.cause,
        source.culprit,
        score=link.score,
        summary=f"The failure began on {source.fact.host}: {source.summary}",
        lines=link.lines,
        rival=local,
        by=source,
    )
    if local is None:
        return (lead,)
    because = f"It is an effect of {source.cause} on {source.fact.host}."
    line = rp.EvidenceLine("contradicts", -link.score, because, (fact_id(source.fact),))
    refs = tuple(fact_id(f) for f in local.support[:4]) or (fact_id(local.fact),)
    own = rp.EvidenceLine("supports", local.score, local.summary, refs)
    second = _hypothesis(
        2,
        local.cause,
        local.culprit,
        score=local.score - link.score,
        summary=local.summary,
        lines=(own, line),
        rival=None,
        by=None,
    )
    return (lead, second)


def _events(facts: list[RemoteFact], first_ns: int) -> dict[str, dict[str, str | int | float]]:
    return {
        fact_id(f): {
            "kind": f.kind,
            "at": round((f.at_ns - first_ns) / SECOND, 6),
            "host": f.host,
            "pid": f.whole(sc.PROCESS_PID),
            "text": f.text,
        }
        for f in facts
    }


def _hypothesis(
    rank: int,
    cause: str,
    culprit: Culprit,
    *,
    score: float,
    summary: str,
    lines: tuple[rp.EvidenceLine, ...],
    rival: RemoteCause | None,
    by: RemoteCause | None,
) -> rp.Hypothesis:
    fix = (CLASSES.get(cause) or NOT_VISIBLE).fix
    ruled: tuple[rp.RuledOut, ...] = ()
    if rival is not None and by is not None:
        because = (
            f"{rival.fact.host} saw only its own side; the other side had ended before on "
            f"{by.fact.host}"
        )
        ruled = (rp.RuledOut(rival.cause, because, (fact_id(by.fact),)),)
    evidence = tuple(dict.fromkeys(r for line in lines for r in line.refs))
    return rp.Hypothesis(
        rank=rank,
        cause=cause,
        culprit=culprit,
        confidence=round(confidence_of(score), 3),
        score=round(score, 3),
        summary=summary,
        evidence=evidence,
        weighed=lines,
        ruled_out=ruled,
        fix=rp.FixLine(fix.tag, fix.text),
    )


def _on_axis(fact: RemoteFact) -> bool:
    return fact.kind not in (
        sc.EVENT_PIPELINE_INCIDENT_HYPOTHESIS,
        sc.EVENT_PIPELINE_INCIDENT_EVIDENCE,
    )


def _moment(fact: RemoteFact, first_ns: int) -> rp.Moment:
    return rp.Moment(
        round((fact.at_ns - first_ns) / SECOND, 6), fact_id(fact), f"{fact.host}: {fact.text}"
    )


def _execution(trace_id: str, symptom: RemoteFact, facts: list[RemoteFact]) -> rp.ExecutionLine:
    end = next(
        (f for f in facts if f.kind == sc.EVENT_PIPELINE_TASK_END and f.host == symptom.host), None
    )
    fact = end or symptom
    outcome = fact.word(sc.PIPELINE_TASK_RUN_RESULT) or (
        "failure" if fact.severity >= Severity.ERROR else "unknown"
    )
    seconds = (facts[-1].at_ns - facts[0].at_ns) / SECOND
    return rp.ExecutionLine(
        system=fact.word(sc.PIPELINE_SYSTEM_NAME),
        pipeline=fact.word(sc.PIPELINE_NAME),
        run_id=fact.word(sc.PIPELINE_RUN_ID),
        task=fact.word(sc.PIPELINE_TASK_NAME),
        attempt=fact.whole(sc.PIPELINE_TASK_ATTEMPT) or 1,
        outcome=outcome,
        reported_outcome=fact.word(sc.PIPELINE_TASK_RUN_REPORTED_RESULT) or None,
        seconds=round(seconds, 6),
        trace_id=trace_id,
    )


def _lost(facts: Iterable[RemoteFact]) -> Iterator[dict[str, str | int | float]]:
    for fact in facts:
        if fact.kind == sc.EVENT_PIPELINE_OBSERVER_EVENTS_LOST:
            yield {
                "kind": fact.word(sc.PIPELINE_OBSERVER_EVENT_KIND),
                "reason": f"{fact.word(sc.PIPELINE_OBSERVER_LOSS_REASON)} on {fact.host}",
                "count": fact.whole(sc.PIPELINE_OBSERVER_EVENTS_LOST),
            }


def fact_id(fact: RemoteFact) -> str:
    return f"{fact.host}/{fact.uid}"


def confidence_of(score: float) -> float:
    # The exponent is bounded, because exp(710) overflows.
    return min(_CEILING, 1 / (1 + math.exp(-max(-700.0, min(700.0, SLOPE * score + OFFSET)))))
