"""The failed call that ended a process, as far as its last calls show it.

A failed call is no cause by itself: interpreters probe hundreds of paths, and programs handle most
errors. A call is taken for the reason only if it was the last one that failed, and the process did
next to nothing between it and its own end.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator

import msgspec

from receiver.calls import call_name
from receiver.detect.calls import is_own_business
from receiver.events import CallKind, FailureFlag, LastFailure, SubjectKind
from receiver.investigate.case import Case
from receiver.investigate.causes.common import failed_with_it
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    Evidence,
    ends,
    facts,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.call_text import subject_of
from receiver.text.names import error_name, resolve
from receiver.units import SECOND
from receiver.work.children import ExitSeverity

_AT_ONCE_NS, _SOON_NS = SECOND, 5 * SECOND
_AT_ONCE_CPU_NS, _SOON_CPU_NS = 50_000_000, 300_000_000
_MESSAGE_CPU_NS = 20_000_000  # to print a message and to take down an interpreter
# A traceback reads the source files that it quotes; a program that starts reads far more.
_AT_ONCE_CODE, _SOON_CODE = 4, 20
_ANSWERS = {"test", "[", "grep", "diff", "cmp", "stat"}  # their status 1 is an answer
_OPTIONAL = ("/etc/", "/.config/")


class LastCall(msgspec.Struct, frozen=True):
    """The failed call, and how likely it is the reason for the end, as a weight and a sentence."""

    call: LastFailure
    ended: ProcessSnapshot  # the process that ended of it: the one that called, or its pool's
    weight: float
    path: str  # the absolute path that was asked for; empty for any other object
    shown: tuple[Evidence, ...]


def last_calls(case: Case, errors: Iterable[int]) -> Iterator[tuple[ProcessSnapshot, LastCall]]:
    """Yields the processes that ended because of one of these errors, with the call."""
    wanted = frozenset(errors)
    for actor in case:
        found = last_call(case, actor)
        if found is not None and found.call.error in wanted:
            yield actor, found


def last_call(case: Case, actor: ProcessSnapshot) -> LastCall | None:
    """Returns the failed call that ended the process, or that of the pool whose worker it was.

    It returns None if their end had another reason.
    """
    ended = actor if _failed_itself(actor) else _pool_of(case, actor)
    call = _demanded(actor)
    if ended is None or call is None or _child_failed_since(case, actor, call):
        return None
    if ended is not actor and not _is_last_word(case, ended, call):
        return None
    weight = directness(ended, call)
    if not weight:
        return None
    path = resolve(call.directory, call.path) if call.subject == SubjectKind.PATH_ASKED else ""
    name, error = call_name(call.call_number), error_name(call.error)
    what = path or subject_of(call)
    about = f" on {what}" if what else ""
    text = f"{name}{about} was the last call of {actor.who} that failed, with {error}."
    after = (ended.end_ns - call.failed_boottime_ns) / 1e9
    then = f"{ended.who} {ended.end.words} {after:.2f} s later{_in_between(call)}."
    if ended is not actor:
        then = f"{actor.who} worked for {ended.who}, which {ended.end.words} {after:.2f} s later."
    shown = [
        supports("last.call.last_failed", weight / 2, text, facts(call)),
        supports("last.call.ended_after", weight / 2, then, ends(ended)),
    ]
    return LastCall(call, ended, weight, path, (*shown, *_passed_on(case, actor, ended)))


def _failed_itself(actor: ProcessSnapshot) -> bool:
    return actor.failed and not actor.end.signal and actor.end.code <= 128


def _pool_of(case: Case, worker: ProcessSnapshot) -> ProcessSnapshot | None:
    """The program that failed, if this is a fork of it that ended well or was stopped by it.

    A worker of a pool hands an error on, waits for more work, and ends with its pool.
    """
    if worker.execs or worker.exit is None or worker.exit_severity > ExitSeverity.STOPPED:
        return None
    program = next((a for a in case.above(worker) if a.execs), None)
    return program if program is not None and _failed_itself(program) else None


def _is_last_word(case: Case, program: ProcessSnapshot, call: LastFailure) -> bool:
    """Whether nothing else failed in the program, or below it, after the call of its worker."""
    own = _demanded(program)
    last_ns = case.descendants.last_failure_ns(program)
    if own is not None:
        last_ns = max(last_ns, own.failed_boottime_ns)
    return last_ns < call.failed_boottime_ns


def _demanded(actor: ProcessSnapshot) -> LastFailure | None:
    """The last call that failed and that it needed, as far as that is to be seen."""
    calls = [
        c for c in actor.last_failures if not is_own_business(c) and not _is_own_search(actor, c)
    ]
    demands = [
        c for c in calls if c.call != CallKind.ASK and not c.failure_flags & FailureFlag.PROBE
    ]
    named = [c for c in calls if c.call == CallKind.ASK and is_argument(actor, c)]
    return max([*demands[-1:], *named[-1:]], key=lambda c: c.failed_boottime_ns, default=None)


def _passed_on(case: Case, actor: ProcessSnapshot, ended: ProcessSnapshot) -> list[Evidence]:
    """Returns evidence that a process above it failed because of it."""
    above = failed_with_it(case, actor) if ended is actor else ended
    if actor in case.path or above is None or above not in case.path:
        return []
    if ended is not actor:
        text = f"{ended.who} failed, and no failure of its processes after that call was seen."
        return [supports("last.call.of_a_worker", SOME, text, ends(ended))]
    after = above.end_ns - actor.end_ns
    whose = "Its parent " if above.key == actor.parent else ""
    text = f"{whose}{above.who} {above.end.words}, too, {after / 1e9:.2f} s later."
    return [supports("last.call.passed_on", SOME, text, ends(above))]


def directness(actor: ProcessSnapshot, call: LastFailure) -> float:
    """How directly the end followed on the failure: CLEAR, SOME or 0."""
    after = actor.end_ns - call.failed_boottime_ns
    data_files = call.later_files - _sources_quoted(actor, call)
    at_once = (
        after <= _AT_ONCE_NS
        and call.later_cpu_ns <= _AT_ONCE_CPU_NS
        and data_files <= 0
        and call.later_code_files <= (_AT_ONCE_CODE if _is_searched(call) else _SOON_CODE)
    )
    if at_once and (not _is_optional(call) or _told_and_ended(call)):
        return CLEAR
    soon = (
        after <= _SOON_NS
        and call.later_cpu_ns <= _SOON_CPU_NS
        and data_files <= 1
        and call.later_code_files <= _SOON_CODE
    )
    return SOME if soon else 0.0


def _sources_quoted(actor: ProcessSnapshot, call: LastFailure) -> int:
    """1 if it read its own script after the call: a traceback quotes it."""
    return int(
        bool(actor.script)
        and any(
            u.path.rpartition("/")[2] == actor.script
            and not u.writing
            and u.last_ns >= call.failed_boottime_ns
            for u in actor.uses
        )
    )


def _is_searched(call: LastFailure) -> bool:
    """Whether a program that starts gets the error while it looks for its parts."""
    return call.error in (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EACCES)


def _is_optional(call: LastFailure) -> bool:
    """Whether programs often look for such a file and go on without it."""
    name = call.path.rpartition("/")[2]
    missing = call.error in (errno.ENOENT, errno.ENOTDIR)
    exists = call.error == errno.EEXIST and call.call == CallKind.CHANGE
    if missing:
        return name.startswith(".") or any(p in call.path for p in _OPTIONAL)
    return exists and makes_directory(call)


def _told_and_ended(call: LastFailure) -> bool:
    """Whether nothing followed but a message, although it wanted a directory, which exists.

    Who accepts one goes on, or ends by an own decision without a word. Who needs a new one says so
    and ends. A search for an optional file is different: it says nothing about what was to follow.
    """
    made = call.error == errno.EEXIST and call.call == CallKind.CHANGE and makes_directory(call)
    return made and bool(call.later_written_bytes) and call.later_cpu_ns <= _MESSAGE_CPU_NS


def makes_directory(call: LastFailure) -> bool:
    """mkdir: a directory that exists is welcome to most who make one."""
    return call_name(call.call_number).startswith("mkdir")


def _is_own_search(actor: ProcessSnapshot, call: LastFailure) -> bool:
    """A search for parts of the program itself, or for the source of code without a file."""
    name = call.path.rpartition("/")[2]
    if name.startswith("<") and name.endswith(">"):
        return True
    folders = {actor.executable.rpartition("/")[0], *_folder_of(actor.argv[:1])}
    return call.error == errno.ENOENT and call.path.rpartition("/")[0] in folders


def _folder_of(command: tuple[str, ...]) -> tuple[str, ...]:
    folder = command[0].rpartition("/")[0] if command else ""
    return (folder,) if folder else ()


def _child_failed_since(case: Case, actor: ProcessSnapshot, call: LastFailure) -> bool:
    return any(
        c.failed and call.failed_boottime_ns <= c.end_ns <= actor.end_ns
        for c in case.children(actor)
    )


def _in_between(call: LastFailure) -> str:
    return "" if call.later_files else " and opened no data file in between"


def is_argument(actor: ProcessSnapshot, call: LastFailure) -> bool:
    """Whether the path is an argument of the command, which therefore needs it."""
    return bool(call.path) and call.path in actor.argv[1:] and actor.name not in _ANSWERS
