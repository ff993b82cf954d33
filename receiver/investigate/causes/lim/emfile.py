"""The cause card lim.emfile."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.refusals import reaches_inotify_limit
from receiver.investigate.evidence import (
    SLIGHT,
    STRONG,
    Candidate,
    ends,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import error_name, times


def descriptors(case: Case) -> Iterator[Candidate]:
    """Finds EMFILE and ENFILE."""
    for actor in case:
        files = [
            c
            for c in actor.calls
            if c.error in (errno.EMFILE, errno.ENFILE) and not reaches_inotify_limit(actor, c)
        ]
        if files:
            look = actor.usage.last if actor.usage is not None else None
            limit = (
                f" of its {look.descriptor_max}" if look is not None and look.descriptor_max else ""
            )
            text = (
                f"{actor.who} got {error_name(files[0].error)} {times(files[0].failures)}: "
                f"it had no free descriptor{limit}."
            )
            evidence = [supports("lim.emfile.call_refused", STRONG, text, facts(*files[:2]))]
            if actor.failed:
                evidence.append(
                    supports(
                        "lim.emfile.then_ended", SLIGHT, f"It then {actor.end.words}.", ends(actor)
                    )
                )
            kinds = _held(actor)
            if kinds:
                evidence.append(
                    supports(
                        "lim.emfile.held", SLIGHT, kinds, facts(*(p.last for p in actor.peers[:1]))
                    )
                )
            summary = f"{actor.who} had no free file descriptor{limit}."
            yield Candidate(
                cause="lim.emfile",
                culprit=process_culprit(actor),
                summary=summary,
                remedy=(
                    f"Close files and sockets of {actor.who} after use, or raise its limit"
                    f"{f' (ulimit -n) above {look.descriptor_max}' if limit and look else ''}."
                ),
                evidence=tuple(evidence),
                subject=actor.key,
                at_ns=files[0].first_boottime_ns,
                harms_without_failure=True,
            )


def _held(actor: ProcessSnapshot) -> str:
    """Describes how many connections and files were open."""
    sockets, files = sum(p.open for p in actor.peers), sum(u.open for u in actor.uses)
    if not sockets and not files:
        return ""
    return f"It had {sockets} connections and {files} files open."


CARD = cause_class(
    name="lim.emfile",
    title="no file descriptor was free",
    predicts="a call that failed with EMFILE",
    rivals="lim.pids net.ports fs.eacces",
    tag="close_descriptors",
    fix="Close files and sockets after use, or raise the limit (ulimit -n).",
    needs="call_failed",
    brings=(
        to("net.dns", Via.SAME),
        to("net.reset_short", Via.CONNECTION_ENDS),
    ),
    find=(descriptors,),
)
