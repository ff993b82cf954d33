"""Sections of a report beside its hypotheses: memory curves, crashes, and what is unusual."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from receiver.investigate import report as rp
from receiver.investigate.aftermath import redone_by, written_alike
from receiver.investigate.case import Case, task_key
from receiver.investigate.causes.common import died_of, sender_text
from receiver.investigate.causes.kill_context import is_stranger
from receiver.investigate.citations import Citations
from receiver.investigate.coverage import why_unseen
from receiver.investigate.engine import Ranked
from receiver.investigate.evidence import (
    Fact,
    ends,
    fact,
    fact_of_loss,
    fact_of_point,
    facts,
    facts_of_use,
)
from receiver.model import POLITE
from receiver.text.names import counted, mib, signal_name
from receiver.text.printable import printable
from receiver.units import SECOND
from receiver.work.children import ExitSeverity

_CURVES = 6
_CRASHES = 8
_ASKED_NS = 10 * SECOND  # a process that lived on for longer did not end for that reason


def curves(case: Case, lead: Ranked | None, events: Citations) -> tuple[rp.CurveLine, ...]:
    """Returns the memory curves of the victim and of the processes in the same memory cgroup.

    Without a victim, it returns the curves of the largest processes.
    """
    subject = case.get(lead.candidate.subject) if lead is not None else None
    out: list[rp.CurveLine] = []
    if subject is not None and subject.oom is not None:
        for competitor in subject.cgroup_processes[:_CURVES]:
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


def crashes(case: Case, events: Citations) -> tuple[rp.CrashLine, ...]:
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


def _normal_exits(case: Case) -> Iterator[tuple[str, Iterable[Fact]]]:
    root = case.root
    if root is None or root.exit is None:
        return
    well = sum(1 for a in case if a.exit is not None and not a.failed)
    yield (
        (
            f"{well + case.left_out} of {len(case.actors) + case.left_out} processes "
            f"exited with status 0; {root.who} {root.end.words}."
        ),
        ends(root),
    )
    if not any(died_of(a) for a in case) and not why_unseen(case, ("signal", "exit"), None):
        yield "No process was killed, and none crashed.", ends(root)


def _failures_made_good(case: Case) -> Iterator[tuple[str, Iterable[Fact]]]:
    """Yields what failed inside of a run that is healthy all the same."""
    for actor in case:
        if not actor.failed or actor.exit_severity < ExitSeverity.FAILED:
            continue
        again = redone_by(case, actor)
        if again is not None:
            what = "ran the same command later"
            if again.argv != actor.argv:
                path = min(written_alike(case, actor, again), default="the same file")
                what = f"opened {path} for writing later, too"
            text = f"{actor.who} {actor.end.words}; {again.who} {what}, and {again.end.words}."
            yield text, [*ends(actor), *ends(again)]


def _normal_files(case: Case) -> Iterator[tuple[str, Iterable[Fact]]]:
    # a file that several processes wrote is one file
    written = {
        u.key: u
        for a in case
        for u in a.uses
        if u.writing and u.written_bytes and u.state == "complete"
    }
    whole = list(written.values())
    if whole:
        shown = [f for u in whole[:2] for f in facts_of_use(u)]
        yield (
            (f"{counted(len(whole), 'file was', 'files were')} written and closed by the writers."),
            shown,
        )
    peers = [p for a in case for p in a.peers if p.endpoint[1] and p.last is not None]
    if peers and not any(p.failed for p in peers):
        text = (
            f"{counted(sum(p.made for p in peers), 'connection', 'connections')} to "
            f"{counted(len(peers), 'endpoint', 'endpoints')} were made, and none failed."
        )
        yield text, facts(*(p.last for p in peers[:2]))


def _normal_memory(case: Case) -> Iterator[tuple[str, Iterable[Fact]]]:
    samples = [
        a.usage.last
        for a in case
        if a.usage is not None and a.usage.last is not None and a.usage.last.memory_limit_bytes
    ]
    if samples:
        fullest = max(samples, key=lambda s: s.memory_usage_bytes / s.memory_limit_bytes)
        text = (
            f"Memory use stayed at or below {mib(fullest.memory_usage_bytes)} of "
            f"{mib(fullest.memory_limit_bytes)}."
        )
        yield text, [fact(fullest)]


def _normal_duration(case: Case) -> Iterator[tuple[str, Iterable[Fact]]]:
    history = case.history
    known = history.duration(task_key(case.execution.identity)) if history is not None else None
    if known is not None and not known.is_far_above(case.seconds):
        text = (
            f"It took {case.seconds:.1f} s; the median of its last {known.count} runs is "
            f"{known.median:.1f} s."
        )
        yield text, ends(case.root) if case.root is not None else ()


def _signals_to_others(case: Case) -> Iterator[tuple[str, Iterable[Fact]]]:
    """Yields the signals that left the run: it may have ended what somebody else needs."""
    sent = [(a, s) for a in case for s in a.moments.sent]
    for actor, state in sent[:_CRASHES]:
        text = (
            f"{actor.who} sent {signal_name(state.signal)} to {state.target_comm} "
            f"({state.target.tgid}), which is not part of this run."
        )
        yield text, [fact(state)]


def _ends_that_were_asked_for(case: Case) -> Iterator[tuple[str, Iterable[Fact]]]:
    """Yields the processes that ended well because somebody outside of this run asked them to."""
    for actor in case:
        asked = [
            s
            for s in actor.signals
            if s.handled
            and s.signal in POLITE
            and s.code <= 0
            and is_stranger(case, actor, s)
            and 0 <= actor.end_ns - s.time_boottime_ns <= _ASKED_NS
        ]
        if asked and not actor.failed:
            after = (actor.end_ns - asked[-1].time_boottime_ns) / 1e9
            text = (
                f"{actor.who} {actor.end.words} {after:.2f} s after it had handled "
                f"{sender_text(asked[-1])}, which is not part of this run."
            )
            yield text, [fact(asked[-1]), *ends(actor)]


def normality(case: Case, events: Citations) -> tuple[rp.EvidenceLine, ...]:
    """Describes what was normal: exits, signals, files, connections, memory and duration."""
    out: list[rp.EvidenceLine] = []

    def add(text: str, found: Iterable[Fact]) -> None:
        out.append(rp.EvidenceLine("context", 0.0, printable(text), events.cite(list(found)[:6])))

    for text, found in (
        *_normal_exits(case),
        *itertools.islice(_failures_made_good(case), _CRASHES),
        *_normal_files(case),
        *_normal_memory(case),
        *_normal_duration(case),
        *itertools.islice(_ends_that_were_asked_for(case), _CRASHES),
        *_signals_to_others(case),
    ):
        add(text, found)
    for loss in case.losses[:2]:
        add(f"{loss.count} {loss.kind} events were lost ({loss.reason}).", [fact_of_loss(loss)])
    return tuple(out)
