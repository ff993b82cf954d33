"""The cause card hang.fifo_partner."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.calls import call_name
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.stalls import ended_by, stalled
from receiver.investigate.evidence import (
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.event_text import frames_of
from receiver.text.names import resolve

_FIFO_FRAMES = ("fifo_open", "wait_for_partner")


def fifo(case: Case) -> Iterator[Candidate]:
    """Finds a process that waits in open(2) for the other end of a FIFO."""
    for actor, period in stalled(case):
        for wait in period.waits:
            stack = period.stack(wait)
            frames = frames_of(stack) if stack is not None else ()
            if not any(frame.startswith(_FIFO_FRAMES) for frame in frames):
                continue
            path, shown = _interrupted_open(actor)
            what = path or "a FIFO"
            text = (
                f"{actor.who} has waited for {period.ns / 1e9:.0f} s in "
                f"{call_name(wait.call_number)}, in the kernel's {' < '.join(frames[:3])}: no "
                "process has the other end of the FIFO open."
            )
            evidence = [
                supports("hang.fifo_partner.no_other_end", STRONG + SOME, text, facts(wait, stack))
            ]
            if path:
                text = f"A signal ended its wait to open {path}."
                evidence.append(supports("hang.fifo_partner.wait_interrupted", SLIGHT, text, shown))
            evidence += ended_by(actor)
            yield Candidate(
                cause="hang.fifo_partner",
                culprit=Culprit(type="file", path=path) if path else process_culprit(actor),
                summary=f"{actor.who} waited to open {what}, whose other end nobody had open.",
                remedy=f"Start the process first that opens the other end of {what}.",
                evidence=tuple(evidence),
                subject=actor.key,
                at_ns=period.since_ns,
                harms_without_failure=actor.exit is None,
            )
            break


def _interrupted_open(actor: ProcessSnapshot) -> tuple[str, tuple]:  # type: ignore[type-arg]
    """The path of the open that the signal interrupted which ended the process."""
    calls = [
        c
        for c in actor.last_failures
        if c.error == errno.EINTR and call_name(c.call_number).startswith("open") and c.path
    ]
    if not calls:
        return "", ()
    return resolve(calls[-1].directory, calls[-1].path), facts(calls[-1])


CARD = cause_class(
    name="hang.fifo_partner",
    title="it waited to open a FIFO that nobody opened on the other side",
    predicts="a thread in the kernel's fifo_open",
    rivals="hang.pipe_full hang.pipe_held fs.slow_io",
    tag="open_both_ends",
    fix=(
        "Start the other side first, or find out why it did not open the FIFO. Open with "
        "O_NONBLOCK or O_RDWR if it may be late."
    ),
    needs="thread_wait wait_stack",
    brings=(
        to("kill. hang.", Via.ANCESTOR),
        to("net.silent_peer", Via.CONNECTION_ENDS),
    ),
    find=(fifo,),
)
