"""Symptoms: the task failed, hid a failure, hangs, or took longer than all earlier runs."""

from __future__ import annotations

import msgspec

from receiver import semconv as sc
from receiver.detect.findings import spec_of
from receiver.investigate.case import Case, task_key
from receiver.investigate.evidence import Fact, ends, facts, facts_of_use
from receiver.investigate.snapshot import ProcessSnapshot

MISMATCH = "result_mismatch"  # the kind of a failure that the root did not report


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
        or case.failed_inside
    ):
        out += _mismatch(case)
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


def _mismatch(case: Case) -> list[Symptom]:
    """The failure that the root did not report."""
    lost = next((a for a in case.path if a.failed), None)
    if lost is not None:
        text = f"{lost.who} {lost.end.words}, and the task reported success."
        return [Symptom(MISMATCH, lost.end_ns, text, ends(lost))]
    shown = ends(case.root) if case.root is not None else ()
    return [
        Symptom(
            MISMATCH,
            each.end_ns,
            f"{each.identity.task} of {each.identity.system} failed, and the run reported success.",
            shown,
        )
        for each in case.failed_inside[:1]
    ]


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
