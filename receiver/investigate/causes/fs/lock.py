"""The cause card fs.lock."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from receiver.detect.calls import is_own_business
from receiver.events import CallFailed, CallKind, HeldObject, HolderFlag
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.last_calls import directness
from receiver.investigate.causes.refusals import holder_culprit
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    Evidence,
    ends,
    fact,
    facts,
    facts_of_use,
    file_culprit,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.call_text import subject_of
from receiver.units import SECOND


def locks(case: Case) -> Iterator[Candidate]:
    """Finds refused locks with their holder, and lock files that a killed process left behind."""
    for actor in case:
        calls = [
            c
            for c in actor.calls
            if c.call == CallKind.LOCK
            and c.error in (errno.EAGAIN, errno.EACCES)
            and not is_own_business(c)
        ]
        gave_up = (
            actor.failed
            and actor.end.code < 128
            and calls
            and actor.end_ns - calls[-1].last_boottime_ns < 10 * SECOND
            and not _went_on(actor, calls[-1])
        )
        if gave_up:
            yield _refused_lock(case, actor, calls)
        yield from _stale_lock(case, actor)


def _went_on(actor: ProcessSnapshot, refused: CallFailed) -> bool:
    """Whether its last failures show that it did other work after the last refusal of this lock."""
    latest = next(
        (
            c
            for c in reversed(actor.last_failures)
            if c.call == CallKind.LOCK and subject_of(c) == subject_of(refused)
        ),
        None,
    )
    return latest is not None and not directness(actor, latest)


def _refused_lock(case: Case, actor: ProcessSnapshot, calls: list[CallFailed]) -> Candidate:
    call = calls[-1]
    what = subject_of(call)
    text = f"{actor.who} was refused a lock on {what or 'a file'}."
    evidence = [supports("fs.lock.refused", CLEAR, text, facts(*calls[:2]))]
    culprit, who, held = _holder(case, actor, call, what)
    evidence += held
    text = f"After that it {actor.end.words}."
    evidence.append(supports("fs.lock.then_ended", SOME, text, ends(actor)))
    summary = f"{actor.who} could not lock {what or 'a file'}"
    summary += f": {who} held the lock." if who else "."
    return Candidate(
        cause="fs.lock",
        culprit=culprit,
        summary=summary,
        remedy=(
            f"Run {actor.who} and {who} one after the other, or end {who}, which has the lock on "
            f"{what or 'a file'}."
            if who
            else ""
        ),
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=call.first_boottime_ns,
    )


def _holder(
    case: Case, actor: ProcessSnapshot, call: CallFailed, what: str
) -> tuple[Culprit, str, list[Evidence]]:
    """Returns the process that had the lock when it was refused, its name, and the evidence.

    A process that had asked for the lock and ended by then is never named.
    """
    living = [h for h in actor.holders if h.held == HeldObject.LOCK and h.path == what]
    took = [h for h in living if h.holder_flags & HolderFlag.TOOK_IT]
    if living:
        chosen = (took or living)[0]
        culprit, who = holder_culprit(case, chosen, what)
        text = f"{who} had the open file that the lock belongs to."
        if not took:
            text = (
                f"{who} had inherited the open file that the lock belongs to; the process that "
                "had asked for the lock did not have it any more."
            )
        return culprit, who, [supports("fs.lock.holder_inherited", CLEAR, text, facts(chosen))]
    pid = call.holder.tgid
    if not pid:
        return Culprit(type="file", path=what), "", []
    holder = case.by_pid(pid, call.first_boottime_ns)
    who = holder.who if holder is not None else f"process {pid}"
    culprit = (
        process_culprit(holder)
        if holder is not None
        else Culprit(type="process", pid=pid, path=what)
    )
    return culprit, who, [supports("fs.lock.holder_seen", CLEAR, f"{who} held it.", [fact(call)])]


def _stale_lock(case: Case, actor: ProcessSnapshot) -> Iterator[Candidate]:
    """Finds a process that saw the lock file of a dead process and gave up."""
    if not actor.failed or actor.end.signal:
        return
    for use in actor.uses:
        if not (
            use.reading
            and not use.writing
            and re.search(r"(?i)(^|[./_-])(lock|lck|locks)([./]|$)", use.path)
        ):
            continue
        maker = case.get(use.source.writer.key) if use.source is not None else None
        if use.source is not None and maker is not None and (maker.end.signal or maker.failed):
            text = (
                f"{maker.who} created {use.path}, ended (it {maker.end.words}) and did not "
                "remove the file."
            )
            evidence = [
                supports(
                    "fs.lock.maker_left_file", STRONG, text, [*facts_of_use(use), *ends(maker)]
                )
            ]
            evidence.append(
                supports(
                    "fs.lock.read_then_ended",
                    SOME,
                    f"{actor.who} read it, and then {actor.end.words}.",
                    ends(actor),
                )
            )
            summary = (
                f"{actor.who} gave up because of the lock file {use.path}, which "
                f"{maker.who} had not removed."
            )
            yield Candidate(
                cause="fs.lock",
                culprit=file_culprit(use),
                summary=summary,
                remedy=(
                    f"Remove {use.path} after you have checked that {maker.who} does not run, and "
                    "let it remove the file at its end."
                ),
                evidence=tuple(evidence),
                subject=actor.key,
                at_ns=use.first_ns,
            )


CARD = cause_class(
    name="fs.lock",
    title="a lock that another process holds was refused",
    predicts="a lock that was refused",
    rivals="fs.eacces fs.concurrent_writers db.lock_wait",
    tag="serialise",
    fix=(
        "Run the two one after the other, or open read-only. Remove a stale lock "
        "after you have checked its owner."
    ),
    needs="call_failed",
    brings=(to("net.reset_short", Via.CONNECTION_ENDS),),
    find=(locks,),
)
