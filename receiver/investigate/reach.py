"""How a candidate reaches the failure: directly, or through what it brought about."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from receiver.events import ProcessKey
from receiver.investigate.aftermath import overlooked, redone_by
from receiver.investigate.cards import Nature
from receiver.investigate.case import Case
from receiver.investigate.classes import CLASSES
from receiver.investigate.evidence import (
    CLEAR,
    HINT,
    SLIGHT,
    SOME,
    Candidate,
    Evidence,
    contradicts,
    ends,
    supports,
)
from receiver.investigate.relations import LATER_NS
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.work.children import ExitSeverity


def reach(case: Case, candidate: Candidate, failed: list[ProcessSnapshot]) -> Evidence | None:
    """Returns what the place of its process among the failed ones says for or against it.

    `failed` are the processes in which a failure began. A candidate about another one of them than
    the task's explains that one.
    """
    subject, path = case.get(candidate.subject), case.path
    if subject is None or not path:
        return _of_a_failure_that_failed_nothing(candidate, subject, failed)
    if subject in path:
        return _on_the_path(subject, path)
    if subject.failed and _before(subject, path[0]):
        worked = {id(a.execution) for a in path}
        same_work = subject.exit_severity >= ExitSeverity.FAILED and id(subject.execution) in worked
        text = f"{subject.who} failed before the task did."
        return supports(
            "place.time.failed_before", SLIGHT if same_work else HINT, text, ends(subject)
        )
    if path[-1] in case.above(subject) or subject in case.above(path[-1]):
        return None
    if candidate.harms_without_failure and CLASSES[candidate.cause].spreads:
        return None  # the failure may come from what it damaged
    if lineage(case, candidate, failed):
        return None
    if subject.exit is not None and not subject.failed:
        text = f"{subject.who} itself did not fail; another process did."
        return contradicts("place.other.did_not_fail", CLEAR, text, ends(subject))
    text = f"{subject.who} is not the process that failed."
    return contradicts("place.other.not_the_failed_one", SLIGHT, text, ends(path[-1]))


def _of_a_failure_that_failed_nothing(
    candidate: Candidate, subject: ProcessSnapshot | None, failed: list[ProcessSnapshot]
) -> Evidence | None:
    """Why it failed is asked first; that its parent went on is said beside it."""
    if subject not in failed or CLASSES[candidate.cause].nature is Nature.FACET:
        return None
    text = f"{subject.who} failed, and no process below it was seen to fail before."
    return supports("place.reach.failed_without_harm", SOME, text, ends(subject))


def _on_the_path(subject: ProcessSnapshot, path: list[ProcessSnapshot]) -> Evidence:
    what = "in the chain that failed the task"
    if subject is path[-1]:
        what = "the first failure of the task"
    return supports(
        "place.path.on_it", SOME, f"{subject.who} failed, and this was {what}.", ends(subject)
    )


def _before(actor: ProcessSnapshot, other: ProcessSnapshot) -> bool:
    return bool(actor.end_ns) and (not other.end_ns or actor.end_ns <= other.end_ns)


def through(
    own: Evidence | None, effects: Iterable[tuple[str, Evidence | None]]
) -> Evidence | None:
    """Returns the strongest reach of a candidate and of what it brought about, by class."""
    best, weight = own, own.weight if own is not None else 0.0
    for name, each in effects:
        if each is not None and each.weight > weight:
            text = f"It brought about {name}: {each.text}"
            best, weight = msgspec.structs.replace(each, text=text), each.weight
    return best


def came_after(case: Case, candidate: Candidate) -> Evidence | None:
    """Returns evidence against a candidate that happened after the failure."""
    failed = case.path[-1] if case.path else None
    subject = case.get(candidate.subject)
    if (
        failed is None
        or not failed.end_ns
        or subject is failed
        or candidate.at_ns <= failed.end_ns + LATER_NS
    ):
        return None
    text = f"{failed.who} had failed {(candidate.at_ns - failed.end_ns) / 1e9:.1f} s before."
    return contradicts("place.time.after_the_failure", CLEAR, text, ends(failed))


def failures(case: Case) -> list[ProcessSnapshot]:
    """The processes in which a failure began: none of their children failed before them."""
    failed = [
        a for a in case if a.failed and (a.exit_severity >= ExitSeverity.FAILED or a in case.path)
    ]
    known = {a.key for a in failed}
    return [
        a
        for a in failed
        if a.end.signal
        or not any(c.key in known and c.end_ns <= a.end_ns for c in case.children(a))
    ]


def survived(case: Case) -> set[ProcessKey]:
    """The failed processes that failed nothing: their work was done again, or their parent went on.

    What failed below them belongs to them.
    """
    again = (
        a
        for a in case
        if a.failed and a.exit_severity >= ExitSeverity.FAILED and redone_by(case, a) is not None
    )
    return {
        each.key
        for actor in (*again, *overlooked(case))
        for each in (actor, *case.below(actor))
        if each.failed
    }


def lineage(case: Case, candidate: Candidate, failed: list[ProcessSnapshot]) -> set[int]:
    """The numbers of those failures that are of the candidate's process, above it or below it."""
    subject = case.get(candidate.subject)
    if subject is None:
        return set(range(len(failed)))
    above = case.above(subject)
    return {
        number
        for number, each in enumerate(failed)
        if each is subject or each in above or subject in case.above(each)
    }
