"""The types of the report (design, section 7). `docs/report.schema.json` is generated from them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from receiver.investigate.evidence import Culprit

SCHEMA = "kwitness.report/1"
EXPLAINED = ("incident", "degraded")  # the verdicts whose first hypothesis is the cause
Verdict = Literal["incident", "degraded", "healthy", "not_visible", "incomplete"]


class EvidenceLine(msgspec.Struct, frozen=True):
    """One piece of evidence: a sentence, its weight in log-odds, and the events that show it.

    `clue` is the id of its meaning, and `n` the number of runs that its weight was counted from. A
    line without a weight may have neither.
    """

    role: Literal["supports", "contradicts", "missing", "context"]
    weight: float
    text: str
    refs: tuple[str, ...]
    clue: str = ""
    n: int = 0


class RuledOut(msgspec.Struct, frozen=True):
    """A rival, and the fact that decides against it."""

    cause: str
    because: str
    evidence: tuple[str, ...]


class FixLine(msgspec.Struct, frozen=True):
    tag: str
    text: str


class Hypothesis(msgspec.Struct, frozen=True, kw_only=True):
    """A possible cause.

    `cause` is a class of docs/causes.md, `score` is the sum of the weights of the evidence, and
    `confidence` is a probability.
    """

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
    """One event of the timeline. `at` is the number of seconds since the start of the execution."""

    at: float
    id: str
    text: str


class ChainLink(msgspec.Struct, frozen=True):
    """One step from cause to effect. `by` is memory, signal, exit, pipe, socket, file or wait."""

    cause: str
    effect: str
    by: str
    evidence: tuple[str, ...]


class ProcessLine(msgspec.Struct, frozen=True, kw_only=True):
    """How one process ended and which resources it used."""

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
    """The memory of one process over time, as pairs of seconds and bytes."""

    pid: int
    name: str
    role: str
    limit_bytes: int
    points: tuple[tuple[float, int], ...]


class CrashLine(msgspec.Struct, frozen=True, kw_only=True):
    """The location of a crash.

    `offset` is an offset in the file `module`. `function` is set only if symbols are available.
    """

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
    """The answers to five questions that logs cannot answer."""

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
    """Another incident, which is independent of the first one."""

    hypotheses: tuple[Hypothesis, ...]
    signature: str


class TimeLine(msgspec.Struct, frozen=True):
    """A part of the time of the critical path.

    `what` is cpu, run_queue, quota, disk, endpoint, name_server, lock, pipe, sleep, child or
    unknown; `on` names the object that it waited for, if it is known.
    """

    what: str
    on: str
    seconds: float


class Unnoticed(msgspec.Struct, frozen=True):
    """How a failure stayed unnoticed: who did not pass it on, and what changes that."""

    text: str
    culprit: Culprit
    fix: FixLine
    evidence: tuple[str, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The report. Every id in `evidence`, `refs` and `timeline` is a key of `events`."""

    schema: str
    id: str
    verdict: Verdict
    summary: str
    ended: str  # RFC 3339; empty while the execution runs
    execution: ExecutionLine
    symptoms: tuple[Moment, ...]
    hypotheses: tuple[Hypothesis, ...]
    unnoticed: Unnoticed | None
    timeline: tuple[Moment, ...]
    answers: Answers
    time: tuple[TimeLine, ...]
    memory: tuple[CurveLine, ...]
    crashes: tuple[CrashLine, ...]
    normality: tuple[EvidenceLine, ...]
    other_incidents: tuple[Incident, ...]
    events: dict[str, dict[str, str | int | float]]
    completeness: Completeness
    signature: str
    seen_before: int


def to_json(report: Report) -> bytes:
    """Encodes the report as one line.

    The order of the fields is fixed, so the same report gives the same bytes.
    """
    return msgspec.json.encode(report)


def json_schema() -> dict[str, Any]:
    return msgspec.json.schema(Report)


def cited(report: Report) -> set[str]:
    """Returns all event ids that the report refers to."""
    out = {m.id for m in (*report.timeline, *report.symptoms)}
    groups = (report.hypotheses, *(i.hypotheses for i in report.other_incidents))
    for hypothesis in (h for group in groups for h in group):
        out |= set(hypothesis.evidence) | {r for w in hypothesis.weighed for r in w.refs}
        out |= {e for r in hypothesis.ruled_out for e in r.evidence}
    out |= {e for link in report.answers.what_started_it for e in link.evidence}
    out |= {c.event for c in report.crashes}
    out |= set(report.unnoticed.evidence) if report.unnoticed is not None else set()
    return out | {r for line in report.normality for r in line.refs}
