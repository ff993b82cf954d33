"""The cause card proc.sigpipe."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator

from receiver.investigate.cards import cause_class
from receiver.investigate.case import Case
from receiver.investigate.causes.common import died_of, shells
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    STRONG,
    Candidate,
    contradicts,
    ends,
    facts,
    process_culprit,
    supports,
)


def pipes(case: Case) -> Iterator[Candidate]:
    """Finds processes that died of SIGPIPE. If the reader failed, the reader is the culprit."""
    for actor in case:
        event = died_of(actor)
        epipe = [c for c in actor.calls if c.error == errno.EPIPE]
        if not (event is not None and event.signal == signal.SIGPIPE) and not (
            epipe and actor.failed and not actor.end.signal
        ):
            continue
        if event is not None and not actor.end.signal and shells(actor) and case.children(actor):
            continue
        reader = next(
            (
                a
                for a in case
                if a is not actor and a.stdin_inode and a.stdin_inode == actor.stdout_inode
            ),
            None,
        )
        text = (
            f"{actor.who} was killed by SIGPIPE: its output had no reader any more."
            if event is not None
            else f"A write of {actor.who} failed with EPIPE."
        )
        evidence = [
            supports(
                "proc.sigpipe.write_refused",
                CLEAR + SLIGHT,
                text,
                [*facts(event, *epipe[:1]), *ends(actor)],
            )
        ]
        if reader is not None and reader.failed:
            text = f"Its reader {reader.who} had failed: it {reader.end.words}."
            evidence.append(contradicts("proc.sigpipe.reader_failed", STRONG, text, ends(reader)))
        elif reader is not None:
            text = f"Its reader {reader.who} had exited with status 0 before."
            evidence.append(supports("proc.sigpipe.reader_done", CLEAR, text, ends(reader)))
        summary = (
            f"SIGPIPE ended {actor.who}: "
            f"{reader.who if reader is not None else 'its reader'} had stopped reading."
        )
        yield Candidate(
            cause="proc.sigpipe",
            culprit=process_culprit(actor),
            summary=summary,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=actor.end_ns,
        )


CARD = cause_class(
    name="proc.sigpipe",
    title="a writer was ended because its reader had stopped reading",
    predicts="a SIGPIPE after a reader that exited with status 0",
    rivals="kill.supervisor crash.abort_ill",
    tag="tolerate_141",
    fix="This is no error: accept status 141, or let the reader read to the end.",
    find=(pipes,),
)
