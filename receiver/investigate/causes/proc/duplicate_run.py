"""The cause card proc.duplicate_run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    Candidate,
    Evidence,
    ends,
    facts_of_use,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot


def _both_wrote(one: ProcessSnapshot, other: ProcessSnapshot, path: str) -> Evidence:
    shown = [f for a in (one, other) for u in a.uses if u.path == path for f in facts_of_use(u)]
    return supports("proc.duplicate_run.both_wrote", CLEAR, f"Both wrote {path}.", shown)


def twice(case: Case) -> Iterator[Candidate]:
    """Finds two processes with the same command line at the same time that write the same path.

    They were started independently.
    """
    same: dict[tuple[str, ...], list[ProcessSnapshot]] = defaultdict(list)
    for actor in case:
        if actor.execs and len(actor.argv) > 1:
            same[(actor.executable, *actor.argv)].append(actor)
    for actors in same.values():
        for one, other in pairwise(actors):
            if one.end_ns and one.end_ns <= other.start_ns:
                continue
            apart = (other.start_ns - one.start_ns) / 1e9
            if apart < 0.5 or other in case.below(one):
                continue
            paths = {u.path for u in one.uses if u.written_bytes} & {
                u.path for u in other.uses if u.written_bytes
            }
            paths = {p for p in paths if not p.startswith("/dev/") and not p.endswith(".log")}
            if not paths:
                continue
            text = (
                f"{one.who} and {other.who} are the same command. They started {apart:.1f} "
                "s apart and ran at the same time."
            )
            shown, path = [*ends(one), *ends(other)], min(paths)
            same_command = supports("proc.duplicate_run.same_command", CLEAR + SOME, text, shown)
            summary = (
                f"The same command ran twice at once: {one.who} and {other.who} started "
                f"{apart:.1f} s apart, and both wrote {path}."
            )
            yield Candidate(
                cause="proc.duplicate_run",
                culprit=process_culprit(other),
                summary=summary,
                remedy=(
                    f"Let only one of {one.who} and {other.who} run at a time (a lock), set the "
                    "redelivery time above that of the longest task, or write idempotently."
                ),
                evidence=(same_command, _both_wrote(one, other, path)),
                subject=other.key,
                at_ns=other.start_ns,
                harms_without_failure=True,
            )
            break


CARD = cause_class(
    name="proc.duplicate_run",
    title="the same work ran twice at once",
    predicts="a second process tree that does the same work",
    rivals="fs.concurrent_writers kill.timeout_orphan",
    tag="idempotent_or_locked",
    fix=(
        "Set the redelivery time above that of the longest task, use a lock, or write idempotently."
    ),
    visible="P",
    spreads=True,
    brings=(
        to("fs.", Via.SAME_FILE),
        to("fs.", Via.SAME),
    ),
    find=(twice,),
)
