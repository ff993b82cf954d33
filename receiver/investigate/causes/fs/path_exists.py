"""The cause card fs.path_exists."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.investigate.cards import cause_class
from receiver.investigate.case import Case
from receiver.investigate.causes.last_calls import (
    LastCall,
    is_argument,
    last_calls,
    makes_directory,
)
from receiver.investigate.causes.missing_paths import Change, maker_text, makings
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    Candidate,
    Culprit,
    Evidence,
    ends,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import error_name
from receiver.units import SECOND

_RACE_NS = 2 * SECOND


def existing(case: Case) -> Iterator[Candidate]:
    """Finds a process that ended because a path existed that it wanted to create."""
    for actor, last in last_calls(case, (errno.EEXIST, errno.ENOTEMPTY, errno.EADDRINUSE)):
        if not last.path:
            continue
        yield _existing(case, actor, last)


def _existing(case: Case, actor: ProcessSnapshot, last: LastCall) -> Candidate:
    at = last.call.failed_boottime_ns
    made = [m for m in makings(case, last.path) if m.at_ns <= at]
    maker = max(made, key=lambda m: m.at_ns, default=None)
    evidence = list(last.shown)
    if is_argument(actor, last.call) and makes_directory(last.call):
        text = f"{last.path} is an argument of its command."
        evidence.append(supports("fs.path_exists.in_arguments", SOME, text, last.shown[0].facts))
    culprit = Culprit(type="file", path=last.path)
    summary = f"{actor.who} could not create {last.path}, which exists"
    if maker is not None and maker.actor is not actor:
        known, how = _maker(last, maker)
        evidence.append(known)
        culprit = maker_text(maker.actor, last.path)
        summary += f": {how}"
    return Candidate(
        cause="fs.path_exists",
        culprit=culprit,
        summary=f"{summary} ({error_name(last.call.error)}).",
        remedy=(
            f"Give {actor.who} a path of its own instead of {last.path}, or let it accept one that "
            "exists."
        ),
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=at,
    )


def _maker(last: LastCall, maker: Change) -> tuple[Evidence, str]:
    """Who made it: a competitor that still ran, or one that ended and left it behind."""
    at, who = last.call.failed_boottime_ns, maker.actor
    ago = (at - maker.at_ns) / 1e9
    if who.end_ns and who.end_ns <= at:
        text = f"{who.who} {maker.what} {ago:.2f} s before, {who.end.words} and left it."
        weight = CLEAR if who.failed or not makes_directory(last.call) else 0.0
        return (
            supports("fs.path_exists.maker_left_it", weight, text, [*maker.shown, *ends(who)]),
            f"{who.who} {maker.what} and left it",
        )
    text = f"{who.who} {maker.what} {ago:.2f} s before, and was running at that time."
    weight = CLEAR if at - maker.at_ns <= _RACE_NS or not makes_directory(last.call) else 0.0
    return supports(
        "fs.path_exists.maker_lives", weight, text, maker.shown
    ), f"{who.who}, which was running, {maker.what}"


CARD = cause_class(
    name="fs.path_exists",
    title="a path existed that it wanted to create",
    predicts="a path that existed in the last call that failed",
    rivals="fs.lock fs.path_missing fs.eacces",
    tag="unique_path",
    fix=(
        "Give each run a path of its own, or accept one that exists. Remove a stale pid, lock "
        "or socket file after you have checked that its maker has ended."
    ),
    needs="last_failure file_changed",
    find=(existing,),
)
