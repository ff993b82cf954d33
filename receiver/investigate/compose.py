"""Writes a conclusion as a report.

The report lists the processes and how each ended, the chain from cause to symptom, the timeline,
and the events that it cites.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import msgspec

from receiver.investigate import report as rp
from receiver.investigate.case import Case, ProcessSnapshot, task_key
from receiver.investigate.causes.common import died_of, sent_by_process
from receiver.investigate.classes import CLASSES, NOT_VISIBLE
from receiver.investigate.engine import Conclusion, Ranked, conclude
from receiver.investigate.evidence import (
    Candidate,
    Culprit,
    Evidence,
    Fact,
    ends,
    fact,
    fact_of_loss,
    fact_of_point,
    facts,
    facts_of_use,
)
from receiver.investigate.history import Sighting, signature
from receiver.investigate.ruled_out import rule_out
from receiver.text.names import counted, describe_end, mib, signal_name
from receiver.text.printable import printable
from receiver.work.execution import Execution

_LISTED = 40  # processes in a report; the most important ones come first
_ON_AXIS = 24
_CURVES = 6
_BESIDE = 12
_FILES = 3
_CRASHES = 8
_FACTS = 400  # events in a report
_STATES = {"partial": "incomplete", "in_progress": "unfinished"}  # of a file, facts.files.State


class _Events:
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
                "text": f.text,
            }
            for f in ordered
        }


def investigate(case: Case, ended_unix_ns: int = 0) -> rp.Report:
    """Evaluates every cause on the case and returns the report.

    It also counts the incident's signature in the history.
    """
    found = conclude(case)
    events = _Events(case)
    lead = found.ranked[0] if found.verdict == "incident" else None
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
        hypotheses=_hypotheses(case, found.ranked, found.considered, events),
        timeline=_axis(case, found, events),
        answers=_answers(case, lead, events, seen),
        memory=_curves(case, lead, events),
        crashes=_crashes(case, events),
        normality=_normality(case, events) if found.verdict in ("healthy", "not_visible") else (),
        other_incidents=tuple(
            rp.Incident(
                _hypotheses(case, group, found.considered, events), _signature_of(case, group[0])
            )
            for group in found.others
        ),
        events=events.as_json(),
        completeness=rp.Completeness(
            tuple(
                {
                    "kind": h.kind,
                    "reason": h.reason,
                    "count": h.count,
                    "at": round(case.at(h.at_ns), 3),
                }
                for h in (*case.losses, *case.unwatched_losses)
            ),
            case.blind,
            case.left_out,
        ),
        signature=key,
        seen_before=seen.count if seen is not None else 0,
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
    if found.verdict == "incident":
        return found.ranked[0].candidate.summary
    root = case.root
    end = (
        f"{root.who} {root.end.words}"
        if root is not None and root.exit is not None
        else "it is still running"
    )
    if found.verdict == "healthy":
        return (
            f"The kernel events show no failure: {end} after {case.seconds:.1f} s, "
            f"{len(case.actors) + case.left_out} processes."
        )
    if found.verdict == "incomplete":
        missed = (
            "Events were lost"
            if case.losses
            else ("System calls were not observed for part of the time")
        )
        return f"{missed}, and they could change the answer: {end}."
    return f"{end[0].upper()}{end[1:]}, and no kernel event shows why. {NOT_VISIBLE.fix.text}"


def _hypotheses(
    case: Case, ranked: Iterable[Ranked], considered: Iterable[Candidate], events: _Events
) -> tuple[rp.Hypothesis, ...]:
    every = list(ranked)
    out = []
    for number, each in enumerate(every, 1):
        candidate = each.candidate
        known = CLASSES[candidate.cause]
        weighed = tuple(
            _line(e, events) for e in sorted(candidate.evidence, key=lambda e: -abs(e.weight))
        )
        rivals = rule_out(case, candidate, considered) if number == 1 else []
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
                fix=rp.FixLine(known.fix.tag, known.fix.text),
            )
        )
    return tuple(out)


def _safe(culprit: Culprit) -> Culprit:
    """Replaces unprintable characters. Users choose the names of processes and files freely."""
    words = {
        f: printable(v)
        for f in culprit.__struct_fields__
        if isinstance(v := getattr(culprit, f), str) and v
    }
    sender = _safe(culprit.sender) if culprit.sender is not None else None
    return msgspec.structs.replace(culprit, **words, sender=sender)


def _line(evidence: Evidence, events: _Events) -> rp.EvidenceLine:
    return rp.EvidenceLine(
        evidence.role,
        round(evidence.weight, 2),
        printable(evidence.text),
        events.cite(evidence.facts),
    )


def _axis(case: Case, found: Conclusion, events: _Events) -> tuple[rp.Moment, ...]:
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


def _by(actor: ProcessSnapshot) -> str:
    """Names the sender of the signal or the kernel component that ended the process."""
    if actor.oom is not None:
        return "the kernel's OOM killer"
    event = died_of(actor)
    if event is None:
        return ""
    if sent_by_process(actor, event):
        return f"{signal_name(event.signal)} from {event.sender_comm} ({event.sender.tgid})"
    return "the kernel" if event.code > 0 else "itself"


def _end(actor: ProcessSnapshot) -> str:
    return (
        describe_end(actor.end.cause, actor.end.code, actor.end.signal)
        if actor.exit is not None
        else "still running"
    )


def _process(case: Case, actor: ProcessSnapshot) -> rp.ProcessLine:
    last = actor.usage.last if actor.usage is not None else None
    cpu = (
        actor.exit.cpu_runtime_ns
        if actor.exit is not None
        else last.cpu_runtime_ns
        if last is not None
        else 0
    )
    read, written = (
        (actor.exit.read_call_bytes, actor.exit.write_call_bytes)
        if actor.exit is not None
        else (last.read_call_bytes, last.write_call_bytes)
        if last is not None
        else (0, 0)
    )
    return rp.ProcessLine(
        pid=actor.pid,
        name=printable(actor.name),
        command=printable(" ".join(actor.argv)[:200]),
        end=_end(actor),
        by=printable(_by(actor)),
        seconds=round(((actor.end_ns or case.now_ns) - actor.start_ns) / 1e9, 3),
        cpu_seconds=round(cpu / 1e9, 3),
        peak_bytes=actor.peak_bytes,
        read_bytes=read,
        written_bytes=written,
        network_bytes=sum(p.sent_bytes + p.received_bytes for p in actor.peers),
        execution=printable(actor.execution.identity.task),
    )


def _answers(case: Case, lead: Ranked | None, events: _Events, seen: Sighting | None) -> rp.Answers:
    lines = {a.key: _process(case, a) for a in case}
    order = sorted(
        case, key=lambda a: (a not in case.path, not a.failed, -_weight(a), a.start_ns, a.pid)
    )
    beside = [
        f"{e.identity.system} {e.identity.task} of {e.identity.pipeline}"
        for e in case.beside[:_BESIDE]
    ]
    beside += [
        f"{t.name} ({t.pid}): {mib(t.rss_bytes)}, {t.cpu_ns / 1e9:.1f} s of CPU in the last minute"
        for t in sorted(case.strangers, key=lambda t: (-t.cpu_ns - t.rss_bytes, t.pid))[:_BESIDE]
    ]
    return rp.Answers(
        tuple(printable(b) for b in beside),
        tuple(lines[a.key] for a in order[:_LISTED]),
        _most(list(lines.values())),
        _chain(case, lead, events),
        _history_line(seen),
    )


def _weight(actor: ProcessSnapshot) -> int:
    return (actor.exit.cpu_runtime_ns if actor.exit is not None else 0) // 1000 + actor.peak_bytes


def _most(lines: list[rp.ProcessLine]) -> dict[str, str]:
    """Names the process that used most of each resource."""
    if not lines:
        return {}
    out: dict[str, str] = {}
    for name, (of, words) in _RESOURCES.items():
        top = max(lines, key=lambda p: (of(p), -p.pid))
        if of(top):
            out[name] = f"{top.name} ({top.pid}): {words(top)}"
    return out


_RESOURCES: dict[str, tuple[Callable[[rp.ProcessLine], float], Callable[[rp.ProcessLine], str]]] = {
    "memory": (lambda p: p.peak_bytes, lambda p: mib(p.peak_bytes)),
    "cpu": (lambda p: p.cpu_seconds, lambda p: f"{p.cpu_seconds:.2f} s"),
    "calls": (
        lambda p: p.read_bytes + p.written_bytes,
        lambda p: f"{mib(p.read_bytes)} read, {mib(p.written_bytes)} written",
    ),
    "network": (lambda p: p.network_bytes, lambda p: mib(p.network_bytes)),
}


def _chain(case: Case, lead: Ranked | None, events: _Events) -> tuple[rp.ChainLink, ...]:
    """Returns the links from cause to effect, the first cause first."""
    out: list[rp.ChainLink] = []
    if lead is None:
        return ()
    candidate = lead.candidate
    subject = case.get(candidate.subject)
    what = CLASSES[candidate.cause].title
    if subject is not None:
        hit = f"{subject.who} " + (
            f"{subject.end.words}"
            if subject.exit is not None and subject.failed
            else "was affected"
        )
        out.append(
            rp.ChainLink(
                printable(_name(candidate)),
                printable(hit),
                _link_kind(candidate.cause),
                events.cite(candidate.evidence[0].facts),
            )
        )
    else:
        out.append(
            rp.ChainLink(
                printable(_name(candidate)),
                what,
                _link_kind(candidate.cause),
                events.cite(candidate.evidence[0].facts),
            )
        )
    at = subject
    for above in case.above(subject) if subject is not None else ():
        if at is None or above.exit is None or not at.failed:
            break
        how = f"{above.who} {above.end.words}" if above.failed else f"{above.who} reported success"
        out.append(
            rp.ChainLink(
                f"{at.who} {at.end.words}",
                printable(how),
                "exit",
                events.cite([*ends(at), *ends(above)]),
            )
        )
        if not above.failed:
            break
        at = above
    out += _reads(case, events)
    return tuple(out)


def _reads(case: Case, events: _Events) -> list[rp.ChainLink]:
    """Returns a link for each incomplete file that another process read."""
    out: list[rp.ChainLink] = []
    for actor in case:
        for use in actor.uses:
            if use.told and use.source is not None and len(out) < _FILES:
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


def _link_kind(cause: str) -> str:
    family = cause.partition(".")[0]
    return {
        "mem": "memory",
        "kill": "signal",
        "fs": "file",
        "net": "socket",
        "db": "socket",
        "cpu": "cpu",
        "hang": "wait",
        "crash": "signal",
        "proc": "exit",
        "lim": "limit",
        "data": "file",
        "time": "clock",
    }.get(family, "exit")


def _curves(case: Case, lead: Ranked | None, events: _Events) -> tuple[rp.CurveLine, ...]:
    """Returns the memory curves of the victim and of the processes in the same memory cgroup.

    Without a victim, it returns the curves of the largest processes.
    """
    subject = case.get(lead.candidate.subject) if lead is not None else None
    out: list[rp.CurveLine] = []
    if subject is not None and subject.oom is not None:
        for competitor in subject.company[:_CURVES]:
            role = "victim" if competitor.key == subject.key else "in the same memory cgroup"
            final = (
                [(subject.oom.time_boottime_ns, competitor.rss_bytes)] if role == "victim" else []
            )
            points = [(round(case.at(at), 2), held) for at, held, _ in competitor.points] + [
                (round(case.at(a), 2), h) for a, h in final
            ]
            events.cite(
                fact_of_point(competitor.pid, competitor.name, p) for p in competitor.points[-4:]
            )
            out.append(
                rp.CurveLine(
                    competitor.pid,
                    printable(competitor.name),
                    role,
                    subject.oom.limit_bytes,
                    tuple(points),
                )
            )
        return tuple(out)
    largest = sorted(
        (a for a in case if a.usage is not None and len(a.usage.curve.points) > 1),
        key=lambda a: (-a.peak_bytes, a.pid),
    )
    if subject is not None and subject in largest:
        largest = [subject, *(a for a in largest if a is not subject)]
    for actor in largest[:3]:
        curve = actor.usage.curve.points if actor.usage is not None else []
        points = [(round(case.at(at), 2), held) for at, held, _ in curve]
        out.append(
            rp.CurveLine(
                actor.pid,
                printable(actor.name),
                "subject" if actor is subject else "",
                actor.limit_bytes,
                tuple(points),
            )
        )
    return tuple(out)


def _crashes(case: Case, events: _Events) -> tuple[rp.CrashLine, ...]:
    """Returns the processes that died of a fault of their own, such as SIGSEGV."""
    dead = [
        a for a in case if a.crash is not None and a.failed and a.end.signal in (0, a.crash.signal)
    ]
    return tuple(
        rp.CrashLine(
            pid=a.pid,
            name=printable(a.name),
            signal=signal_name(a.crash.signal),
            module=printable(a.crash.module),
            offset=a.crash.module_offset,
            address=a.crash.address,
            event=events.cite(facts(a.crash))[0],
        )
        for a in dead[:_CRASHES]
        if a.crash is not None
    )


def _normality(case: Case, events: _Events) -> tuple[rp.EvidenceLine, ...]:
    """Describes what was normal: exits, signals, files, connections, memory and duration."""
    out: list[rp.EvidenceLine] = []

    def add(text: str, found: Iterable[Fact]) -> None:
        out.append(rp.EvidenceLine("context", 0.0, printable(text), events.cite(list(found)[:6])))

    root = case.root
    if root is not None and root.exit is not None:
        well = sum(1 for a in case if a.exit is not None and not a.failed)
        add(
            (
                f"{well + case.left_out} of {len(case.actors) + case.left_out} processes "
                f"exited with status 0; {root.who} {root.end.words}."
            ),
            ends(root),
        )
        if not any(died_of(a) for a in case):
            add("No process was killed, and none crashed.", ends(root))
    whole = [
        (a, u)
        for a in case
        for u in a.uses
        if u.writing and u.written_bytes and u.state == "complete"
    ]
    if whole:
        add(
            (f"{counted(len(whole), 'file was', 'files were')} written and closed by the writers."),
            [f for _, u in whole[:2] for f in facts_of_use(u)],
        )
    peers = [p for a in case for p in a.peers if p.endpoint[1] and p.last is not None]
    if peers and not any(p.failed for p in peers):
        add(
            (
                f"{counted(sum(p.made for p in peers), 'connection', 'connections')} to "
                f"{counted(len(peers), 'endpoint', 'endpoints')} were made, and none "
                "failed."
            ),
            facts(*(p.last for p in peers[:2])),
        )
    looks = [
        a.usage.last
        for a in case
        if a.usage is not None and a.usage.last is not None and a.usage.last.memory_limit_bytes
    ]
    if looks:
        fullest = max(looks, key=lambda s: s.memory_usage_bytes / s.memory_limit_bytes)
        add(
            (
                f"Memory use stayed at or below {mib(fullest.memory_usage_bytes)} of "
                f"{mib(fullest.memory_limit_bytes)}."
            ),
            [fact(fullest)],
        )
    known = (
        case.history.duration(task_key(case.execution.identity))
        if case.history is not None
        else None
    )
    if known is not None and not known.is_far_above(case.seconds):
        add(
            (
                f"It took {case.seconds:.1f} s; the median of its last {known.count} runs "
                f"is {known.median:.1f} s."
            ),
            ends(root) if root is not None else (),
        )
    for loss in case.losses[:2]:
        add(f"{loss.count} {loss.kind} events were lost ({loss.reason}).", [fact_of_loss(loss)])
    return tuple(out)


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
        return case.history.sightings.get(key)
    return case.history.saw(
        key, found.ranked[0].candidate.cause, at_unix_ns, case.execution.identity.run_id
    )


def _rfc3339(unix_ns: int) -> str:
    return (
        datetime.fromtimestamp(unix_ns / 1e9, UTC).isoformat(timespec="milliseconds")
        if unix_ns
        else ""
    )


def _history_line(seen: Sighting | None) -> str:
    if seen is None:
        return "this problem was not seen before"
    since = datetime.fromtimestamp(seen.first_unix_ns / 1e9, UTC).strftime("%Y-%m-%d")
    times = f"{seen.count} times" if seen.count != 1 else "once"
    note = f"; the fix noted then: {printable(seen.note)}" if seen.note else ""
    return f"seen {times} since {since}, last in run {printable(seen.last_run)}{note}"
