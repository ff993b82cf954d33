"""Symptoms: the task failed, hid a failure, hangs, or took longer than all earlier runs."""

from __future__ import annotations

import msgspec

from receiver import semconv as sc
from receiver.detect.findings import spec_of
from receiver.investigate.case import Case, task_key
from receiver.investigate.evidence import Candidate, Fact, ends, facts, facts_of_use
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.work.children import ExitSeverity


class Symptom(msgspec.Struct, frozen=True):
    """One symptom.

    `kind` is task_failed, result_mismatch, slow, or the symptom of a finding (`detect.findings`).
    """

    kind: str
    at_ns: int
    text: str
    facts: tuple[Fact, ...]


def symptoms(case: Case) -> list[Symptom]:
    """Returns the symptoms of the case in order of time."""
    out: list[Symptom] = []
    root, execution = case.root, case.execution
    if root is not None and root.failed:
        out.append(Symptom("task_failed", root.end_ns, f"{root.who} {root.end.words}.", ends(root)))
    elif (
        execution.masked
        or execution.failed_by
        or any(f.kind == sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH for f in execution.findings)
        or _failed_inside(case)
    ):
        lost = next((a for a in case.path if a.failed), None)
        if lost is not None:
            text = f"{lost.who} {lost.end.words}, and the task reported success."
            out.append(Symptom("result_mismatch", lost.end_ns, text, ends(lost)))
    for actor in case:
        for kind in actor.findings:
            if symptom := spec_of(kind).symptom:
                shown = _shown(actor, kind)
                out.append(
                    Symptom(
                        symptom,
                        shown[0].at_ns if shown else actor.end_ns,
                        f"{actor.who}: {kind}.",
                        shown,
                    )
                )
    slow = _slow_execution(case)
    return sorted([*out, *([slow] if slow is not None else [])], key=lambda s: (s.at_ns, s.kind))


def _failed_inside(case: Case) -> bool:
    """Whether a nested task failed and no later attempt succeeded.

    The root, such as a scheduler, may report success nevertheless.
    """
    inner = {
        each
        for actor in case
        for each in actor.execution.chain()
        if each is not case.execution and each.identity.type == "task"
    }
    good = {e.identity.key[:4] for e in inner if e.closed and e.result == "success"}
    return any(e.result == "failure" and e.identity.key[:4] not in good for e in inner)


def _shown(actor: ProcessSnapshot, kind: str) -> tuple[Fact, ...]:
    if kind == sc.EVENT_FILE_TAINTED_READ:
        return next((facts_of_use(u) for u in actor.uses if u.reported), ())
    if kind == sc.EVENT_PROCESS_HANG:
        idle_period = actor.usage.idle_period if actor.usage is not None else None
        return facts(*(idle_period.waits[:1] if idle_period is not None else ()))
    return next((facts(*p.notable_facts[-1:]) for p in actor.peers if p.notable_facts), ())


def _slow_execution(case: Case) -> Symptom | None:
    if case.history is None or case.root is None or case.root.failed:
        return None
    known = case.history.duration(task_key(case.execution.identity))
    if known is None or not known.is_far_above(case.seconds):
        return None
    text = (
        f"It took {case.seconds:.1f} s. All of its last {known.count} runs took less; "
        f"their median is {known.median:.1f} s."
    )
    return Symptom("slow", case.end_ns, text, ends(case.root))


def symptom_affinity(case: Case, candidate: Candidate) -> tuple[float, str, tuple[Fact, ...]]:
    """Returns how directly a candidate reaches the failure: a weight, a sentence and the facts."""
    subject = case.get(candidate.subject)
    path = case.path
    if subject is None or not path:
        return 0.0, "", ()
    if subject in path:
        what = (
            "this was the first failure of the task"
            if subject is path[-1]
            else "this failure is in the chain that failed the task"
        )
        return 1.5, f"{subject.who} failed, and {what}.", ends(subject)
    failed_work = {id(a.execution) for a in path}
    if (
        subject.exit_severity >= ExitSeverity.FAILED
        and id(subject.execution) in failed_work
        and _before(subject, path[0])
    ):
        return 0.7, f"{subject.who} failed before the task did.", ends(subject)
    if subject.failed and _before(subject, path[0]):
        return 0.3, f"{subject.who} failed before the task did.", ends(subject)
    if path[-1] in case.above(subject) or subject in case.above(path[-1]):
        return 0.0, "", ()
    if subject.exit is not None and not subject.failed:
        return (
            -2.0,
            f"{subject.who} itself did not fail; another process did.",
            ends(subject),
        )
    return -0.7, f"{subject.who} is not the process that failed.", ends(path[-1])


def _before(actor: ProcessSnapshot, other: ProcessSnapshot) -> bool:
    return bool(actor.end_ns) and (not other.end_ns or actor.end_ns <= other.end_ns)
