"""Links a cause on one host to its symptom on another by address, path and time.

The agent of each host has investigated what it could see. If a peer or a file of another host
failed, the agent can only name the peer or the file. Here the facts of the other host are known,
too.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice

import msgspec

from receiver import semconv as sc
from receiver.insights.runs import RemoteFact, RemoteRun
from receiver.investigate import report as rp
from receiver.investigate.classes import CLASSES, NOT_VISIBLE
from receiver.investigate.engine import CONFIDENT, OFFSET, SLOPE
from receiver.investigate.evidence import CLEAR, SLIGHT, SOME, STRONG, Culprit
from receiver.signals import Severity
from receiver.text.printable import printable
from receiver.units import SECOND

WINDOW_NS = 60 * SECOND  # the longest time from a cause to its symptom
SKEW_NS = SECOND // 2  # the largest expected difference between the clocks of two hosts
_CEILING = 0.99
# Causes of one run that are examined. The cost is their number times the number of facts.
SOURCES = 32
# A pid has at most seven digits (PID_MAX_LIMIT).
_CULPRIT = re.compile(
    r"^(process|file|endpoint|cgroup|task|host)(?: (.*?))?(?: \(([0-9]{1,7})\))?$"
)
_DEATHS = {
    sc.EVENT_PROCESS_OOM_KILLED: "mem.cgroup_oom",
    sc.EVENT_PROCESS_KILLED: "kill.supervisor",
    sc.EVENT_PROCESS_HANG: "",
}
# The classes that an agent reports if the real cause is on another host.
_OTHER_SIDE = (
    "net.",
    "none.",
    "fs.truncated",
    "fs.read_early",
    "fs.stale_input",
    "proc.exit_masked",
)
_NETWORK = {sc.EVENT_NETWORK_CONNECTION_FAILED, sc.EVENT_NETWORK_CONNECTION_STALLED}
_FILES = {sc.EVENT_FILE_PARTIAL_WRITE, sc.EVENT_FILE_TAINTED_READ, sc.EVENT_FILE_CONFLICT}


class RemoteCause(msgspec.Struct, frozen=True, kw_only=True):
    """The cause that one agent found: its incident, or a death without an incident."""

    fact: RemoteFact
    cause: str
    culprit: Culprit
    confidence: float
    score: float
    summary: str
    support: tuple[RemoteFact, ...]


class _Link(msgspec.Struct, frozen=True):
    source: RemoteCause
    lines: tuple[rp.EvidenceLine, ...]
    by: str
    symptom: RemoteFact

    @property
    def score(self) -> float:
        return sum(line.weight for line in self.lines)


def across(trace_id: str, run: RemoteRun) -> rp.Report | None:
    """Returns a report if a symptom on one host has its cause on another host, else None."""
    facts = _by_host(run)
    sources = list(
        islice((s for host in sorted(run.hosts) for s in _sources(facts[host], host)), SOURCES)
    )
    paths = {host: {f.word(sc.FILE_PATH) for f in mine} for host, mine in facts.items()}
    best: _Link | None = None
    for host in sorted(run.hosts):
        local = next((s for s in sources if s.fact.host == host), None)
        if local is not None and not local.cause.startswith(_OTHER_SIDE):
            continue  # its own facts explain the failure
        for source in sources:
            if source.fact.host != host and not source.cause.startswith("net."):
                for link in _links(
                    facts[host], local, source, run.hosts[source.fact.host], paths[source.fact.host]
                ):
                    if best is None or (link.score, -link.source.fact.at_ns) > (
                        best.score,
                        -best.source.fact.at_ns,
                    ):
                        best = link
    if best is None or best.by == "" or _confidence(best.score) < CONFIDENT:
        return None
    return _report(trace_id, run, best, sources)


def _by_host(run: RemoteRun) -> dict[str, list[RemoteFact]]:
    found: dict[str, list[RemoteFact]] = {host: [] for host in run.hosts}
    for fact in run.facts:
        found[fact.host].append(fact)
    return found


def _sources(mine: list[RemoteFact], host: str) -> Iterator[RemoteCause]:
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
        for death in (f for f in mine if _DEATHS.get(f.kind)):
            pid = death.whole(sc.PROCESS_PID)
            culprit = Culprit(
                type="process", name=death.word(sc.PROCESS_EXECUTABLE_NAME), pid=pid, host=host
            )
            yield RemoteCause(
                fact=death,
                cause=_DEATHS[death.kind],
                culprit=culprit,
                confidence=0.5,
                score=CLEAR,
                summary=death.text,
                support=(),
            )


def _first_of(facts: Iterable[RemoteFact], opened: RemoteFact) -> RemoteFact:
    """Returns the death or hang that the incident is about. It precedes the opening record."""
    same = [f for f in facts if f.kind in _DEATHS and f.span_id and f.at_ns <= opened.at_ns]
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


def _links(
    mine: list[RemoteFact],
    local: RemoteCause | None,
    source: RemoteCause,
    addresses: tuple[str, ...],
    paths: set[str],
) -> Iterator[_Link]:
    """Yields each possible link from the source to the facts of this host.

    `addresses` and `paths` are those of the source's host.
    """
    for symptom in mine:
        host = symptom.host
        lines, by = [], ""
        peer = symptom.word(sc.NETWORK_PEER_ADDRESS) or symptom.word(sc.SERVER_ADDRESS)
        path = symptom.word(sc.FILE_PATH)
        if symptom.kind in _NETWORK and peer in addresses:
            by = "socket"
            where = f"{peer}:{symptom.word(sc.NETWORK_PEER_PORT) or symptom.word(sc.SERVER_PORT)}"
            lines.append(
                rp.EvidenceLine(
                    "supports",
                    STRONG,
                    (
                        f"The connection of {host} broke ({where}), and {peer} is an address "
                        f"of {source.fact.host}."
                    ),
                    (_id(symptom),),
                )
            )
        elif symptom.kind in _FILES and path and path in paths:
            by = "file"
            lines.append(
                rp.EvidenceLine(
                    "supports", CLEAR, f"Both hosts report {printable(path)}.", (_id(symptom),)
                )
            )
        elif symptom.kind != sc.EVENT_PIPELINE_TASK_END:
            continue
        before = (symptom.at_ns - source.fact.at_ns) / SECOND
        both = (_id(source.fact), _id(symptom))
        if -SKEW_NS <= symptom.at_ns - source.fact.at_ns <= WINDOW_NS:
            text = (
                f"{source.fact.host} reported this {max(0.0, before):.2f} s before: "
                f"{source.fact.text.rstrip('.')}."
            )
            lines.append(rp.EvidenceLine("supports", SOME if by else SLIGHT, text, both))
        else:
            text = (
                f"On {source.fact.host} it happened {abs(before):.1f} s "
                f"{'before' if before > 0 else 'after'} this."
            )
            lines.append(rp.EvidenceLine("contradicts", -STRONG, text, both))
        if source.confidence >= 0.5:
            text = (
                f"On that host the cause is {source.cause}, {source.confidence:.0%} sure: "
                f"{source.summary}"
            )
            lines.append(
                rp.EvidenceLine(
                    "supports",
                    SOME,
                    text,
                    tuple(_id(f) for f in source.support[:4]) or (_id(source.fact),),
                )
            )
        if local is not None:
            text = (
                f"The cause that {host} found ({local.cause}) is how such a failure "
                "appears on the other host."
            )
            lines.append(rp.EvidenceLine("supports", SLIGHT, text, (_id(local.fact),)))
        yield _Link(source, tuple(lines), by, symptom)


def _id(fact: RemoteFact) -> str:
    return f"{fact.host}/{fact.uid}"


def _confidence(score: float) -> float:
    # The exponent is bounded, because exp(710) overflows.
    return min(_CEILING, 1 / (1 + math.exp(-max(-700.0, min(700.0, SLOPE * score + OFFSET)))))


def _report(trace_id: str, run: RemoteRun, link: _Link, sources: list[RemoteCause]) -> rp.Report:
    facts = sorted(run.facts, key=lambda f: (f.at_ns, f.host, f.uid))
    first = facts[0].at_ns
    known = {_id(f): f for f in facts}
    symptom, source = link.symptom, link.source
    local = next((s for s in sources if s.fact.host == symptom.host), None)
    summary = f"The failure began on {source.fact.host}: {source.summary}"
    hypotheses = [
        _hypothesis(
            1,
            source.cause,
            source.culprit,
            score=link.score,
            summary=summary,
            lines=link.lines,
            rival=local,
            by=source,
        )
    ]
    if local is not None:
        because = f"It is an effect of {source.cause} on {source.fact.host}."
        line = rp.EvidenceLine("contradicts", -link.score, because, (_id(source.fact),))
        own = rp.EvidenceLine(
            "supports",
            local.score,
            local.summary,
            tuple(_id(f) for f in local.support[:4]) or (_id(local.fact),),
        )
        hypotheses.append(
            _hypothesis(
                2,
                local.cause,
                local.culprit,
                score=local.score - link.score,
                summary=local.summary,
                lines=(own, line),
                rival=None,
                by=None,
            )
        )
    timeline = tuple(
        rp.Moment(round((f.at_ns - first) / SECOND, 6), _id(f), f"{f.host}: {f.text}")
        for f in facts
        if _on_axis(f)
    )[:40]
    began, effect = _moment(source.fact, first), _moment(symptom, first)
    chain = rp.ChainLink(began.text, effect.text, link.by or "time", (began.id, effect.id))
    events: dict[str, dict[str, str | int | float]] = {
        name: {
            "kind": f.kind,
            "at": round((f.at_ns - first) / SECOND, 6),
            "host": f.host,
            "pid": f.whole(sc.PROCESS_PID),
            "text": f.text,
        }
        for name, f in known.items()
    }
    return rp.Report(
        schema=rp.SCHEMA,
        id=hashlib.sha256(f"{trace_id} across".encode()).hexdigest()[:16],
        verdict="incident",
        summary=summary,
        ended=datetime.fromtimestamp(facts[-1].at_ns / SECOND, UTC).isoformat(),
        execution=_execution(trace_id, symptom, facts),
        symptoms=(effect,),
        hypotheses=tuple(hypotheses),
        timeline=timeline,
        answers=rp.Answers(
            tuple(
                f"{h}: {', '.join(a) or 'addresses unknown'}" for h, a in sorted(run.hosts.items())
            ),
            (),
            {},
            (chain,),
            "not compared across hosts",
        ),
        memory=(),
        crashes=(),
        normality=(),
        other_incidents=(),
        events=events,
        completeness=rp.Completeness(tuple(_lost(facts)), (), 0),
        signature="",
        seen_before=0,
    )


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
            f"{rival.fact.host} saw only its own side; the other side, on {by.fact.host}, "
            "had ended before"
        )
        ruled = (rp.RuledOut(rival.cause, because, (_id(by.fact),)),)
    evidence = tuple(dict.fromkeys(r for line in lines for r in line.refs))
    return rp.Hypothesis(
        rank=rank,
        cause=cause,
        culprit=culprit,
        confidence=round(_confidence(score), 3),
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
        round((fact.at_ns - first_ns) / SECOND, 6), _id(fact), f"{fact.host}: {fact.text}"
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
