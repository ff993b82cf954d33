"""The cause card lim.inotify."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.calls import call_name
from receiver.investigate.cards import cause_class
from receiver.investigate.case import Case
from receiver.investigate.causes.refusals import INOTIFY, reaches_inotify_limit
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    Candidate,
    ends,
    facts,
    process_culprit,
    supports,
)
from receiver.text.call_text import subject_of
from receiver.text.names import error_name, times

_OWN_LIMITS = {
    errno.ENOSPC: "max_inotify_watches",
    errno.EMFILE: "max_inotify_instances",
}


def inotify(case: Case) -> Iterator[Candidate]:
    """Finds inotify calls that reached a limit of the user, which no disk and no process has."""
    for actor in case:
        calls = [c for c in actor.calls if reaches_inotify_limit(actor, c)]
        if not calls:
            continue
        call = calls[0]
        limit = INOTIFY[call.error]
        name, error = call_name(call.call_number), error_name(call.error)
        what = subject_of(call)
        about = f" for {what}" if what else ""
        text = f"{name}{about} failed with {error} {times(call.failures)}: the limit {limit}."
        evidence = [supports("lim.inotify.call_refused", CLEAR + SLIGHT, text, facts(*calls[:2]))]
        if actor.failed:
            evidence.append(
                supports(
                    "lim.inotify.then_ended",
                    SOME,
                    f"{actor.who} then {actor.end.words}.",
                    ends(actor),
                )
            )
        summary = f"{actor.who} reached {limit}: {name}{about} failed with {error}."
        yield Candidate(
            cause="lim.inotify",
            culprit=process_culprit(actor),
            summary=summary,
            remedy=(
                f"Raise {limit} with sysctl for uid {actor.uid}, or watch fewer directories. A "
                f"user namespace has its own limit, user.{_OWN_LIMITS[call.error]}."
            ),
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=call.first_boottime_ns,
        )


CARD = cause_class(
    name="lim.inotify",
    title="a limit of inotify was reached",
    predicts="ENOSPC of inotify_add_watch or EMFILE of inotify_init",
    rivals="fs.enospc lim.emfile",
    tag="raise_inotify",
    fix=(
        "Raise fs.inotify.max_user_watches (ENOSPC of inotify_add_watch) or "
        "fs.inotify.max_user_instances (EMFILE of inotify_init) with sysctl, or watch fewer "
        "directories. A user namespace has its own in user.max_inotify_*."
    ),
    needs="call_failed",
    find=(inotify,),
)
