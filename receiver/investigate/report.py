"""The report: design section 7 as types. `docs/report.schema.json` is made from them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from receiver.investigate.evidence import Culprit

SCHEMA = "kwitness.report/1"
Verdict = Literal["incident", "healthy", "not_visible", "incomplete"]


class EvidenceLine(msgspec.Struct, frozen=True):
    """One piece of evidence: what it says, how much it counts (log-odds), and the events that show it."""

    role: Literal["supports", "contradicts", "missing", "context"]
    weight: float
    text: str
    refs: tuple[str, ...]


class RuledOut(msgspec.Struct, frozen=True):
    """A rival, and the fact that decides against it."""

    cause: str
    because: str
    evidence: tuple[str, ...]


class FixLine(msgspec.Struct, frozen=True):
    tag: str
    text: str


class Hypothesis(msgspec.Struct, frozen=True, kw_only=True):
    """`cause` is a class of docs/causes.md. `score` is the sum of the evidence's weights; `confidence` a probability."""

    rank: int
    cause: str
    culprit: Culprit
    confidence: float
    score: float
    summary: str
    evidence: tuple[str, ...]
    weighed: tuple[EvidenceLine, ...]
    ruled_out: tuple[RuledOut, ...]
    fix: FixLine


class Moment(msgspec.Struct, frozen=True):
    """Seconds since the execution began."""

    at: float
    id: str
    text: str


class ChainLink(msgspec.Struct, frozen=True):
    """One step from cause to effect. `by`: memory, signal, exit, pipe, socket, file, wait."""

    cause: str
    effect: str
    by: str
    evidence: tuple[str, ...]


class ProcessLine(msgspec.Struct, frozen=True, kw_only=True):
    """How one process ended and what it used."""

    pid: int
    name: str
    command: str
    end: str
    by: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    read_bytes: int
    written_bytes: int
    network_bytes: int
    execution: str


class CurveLine(msgspec.Struct, frozen=True):
    """Memory over time: (seconds, bytes)."""

    pid: int
    name: str
    role: str
    limit_bytes: int
    points: tuple[tuple[float, int], ...]


class CrashLine(msgspec.Struct, frozen=True, kw_only=True):
    """Where native code stood as it died. `offset` in the file `module`; the function is named where symbols are to be had."""

    pid: int
    name: str
    signal: str
    module: str
    offset: int
    address: int
    event: str
    function: str = ""
    function_offset: int = 0
    build_id: str = ""


class Answers(msgspec.Struct, frozen=True):
    """The five questions that logs cannot answer."""

    what_else_ran: tuple[str, ...]
    how_each_ended: tuple[ProcessLine, ...]
    who_used_what: dict[str, str]
    what_started_it: tuple[ChainLink, ...]
    seen_before: str


class Completeness(msgspec.Struct, frozen=True):
    lost: tuple[dict[str, str | int | float], ...]
    blind: tuple[str, ...]
    processes_left_out: int


class ExecutionLine(msgspec.Struct, frozen=True, kw_only=True):
    system: str
    pipeline: str
    run_id: str
    task: str
    attempt: int
    outcome: str
    reported_outcome: str | None
    seconds: float
    trace_id: str


class Incident(msgspec.Struct, frozen=True):
    """Another one, independent of the first."""

    hypotheses: tuple[Hypothesis, ...]
    signature: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Every id in `evidence`, `refs`, `timeline` is a key of `events`."""

    schema: str
    id: str
    verdict: Verdict
    summary: str
    ended: str  # RFC 3339; empty while it runs
    execution: ExecutionLine
    symptoms: tuple[Moment, ...]
    hypotheses: tuple[Hypothesis, ...]
    timeline: tuple[Moment, ...]
    answers: Answers
    memory: tuple[CurveLine, ...]
    crashes: tuple[CrashLine, ...]
    normality: tuple[EvidenceLine, ...]
    other_incidents: tuple[Incident, ...]
    events: dict[str, dict[str, str | int | float]]
    completeness: Completeness
    signature: str
    seen_before: int


def to_json(report: Report) -> bytes:
    """One line, in the order of the fields: the same report is the same bytes."""
    return msgspec.json.encode(report)


def json_schema() -> dict[str, Any]:
    return msgspec.json.schema(Report)


def cited(report: Report) -> set[str]:
    """All event ids that anything in it refers to."""
    out = {m.id for m in (*report.timeline, *report.symptoms)}
    groups = (report.hypotheses, *(i.hypotheses for i in report.other_incidents))
    for hypothesis in (h for group in groups for h in group):
        out |= set(hypothesis.evidence) | {r for w in hypothesis.weighed for r in w.refs}
        out |= {e for r in hypothesis.ruled_out for e in r.evidence}
    out |= {e for link in report.answers.what_started_it for e in link.evidence}
    out |= {c.event for c in report.crashes}
    return out | {r for line in report.normality for r in line.refs}
