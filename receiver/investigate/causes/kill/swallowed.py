"""The cause card kill.swallowed."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.detect.writes import is_output
from receiver.events import FileReason, OpenFile, Signal
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.common import (
    sender_text,
)
from receiver.investigate.causes.limits import is_time_limit
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    Candidate,
    Evidence,
    context,
    contradicts,
    ends,
    fact,
    facts_of_use,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.model import POLITE
from receiver.text.names import signal_name
from receiver.units import SECOND

# the smallest buffer of a stream that is no terminal: setvbuf(3) uses st_blksize
_BUFFER_BYTES = 4096


def swallowed(case: Case) -> Iterator[Candidate]:
    """Finds processes that handled SIGTERM, SIGINT or SIGHUP and exited with status 0.

    Their work stopped at that signal.
    """
    for actor in case:
        if actor.exit is None or actor.end.code != 0:
            continue
        event = next(
            (
                s
                for s in actor.signals
                if s.signal in POLITE and s.handled and s.sender != actor.key
            ),
            None,
        )
        if event is None:
            continue
        if _is_orderly(case, actor, event):
            continue
        at = event.time_boottime_ns
        stopped = _stopped_work(case, actor, at)
        if not stopped:
            continue
        text = f"{actor.who} handled {sender_text(event)}, and exited with status 0."
        shown = [fact(event), *ends(actor)]
        handled = supports("kill.swallowed.handled_exit_zero", SOME + SLIGHT, text, shown)
        evidence = [handled, *stopped]
        if (actor.end_ns - at) < 5 * SECOND:
            text = f"It ended {(actor.end_ns - at) / 1e9:.1f} s after the signal."
            evidence.append(supports("kill.swallowed.ended_soon", SLIGHT, text, ends(actor)))
        summary = (
            f"{actor.who} received {signal_name(event.signal)} from {event.sender_comm} "
            f"({event.sender.tgid}), stopped its work and reported success."
        )
        yield Candidate(
            cause="kill.swallowed",
            culprit=process_culprit(actor),
            summary=summary,
            remedy=(
                f"Let the handler of {actor.who} end with a failure (raise, exit 143), so that "
                "the task is not marked as a success."
            ),
            evidence=(*evidence, context("kill.swallowed.sender", "The sender.", [fact(event)])),
            subject=actor.key,
            at_ns=at,
            harms_without_failure=True,
        )


def _is_orderly(case: Case, actor: ProcessSnapshot, event: Signal) -> bool:
    """Whether its starter stopped it, by itself or by a short-lived command such as kill(1).

    A time limit stops what it has started, too, but for another reason.
    """
    sender = case.get(event.sender)
    if sender is None or is_time_limit(event, sender):
        return False
    above = case.above(actor)
    short = sender.exit is not None and sender.end_ns - sender.start_ns < SECOND
    return sender in above or (short and case.get(sender.parent) in above)


def _stopped_work(case: Case, actor: ProcessSnapshot, at_ns: int) -> list[Evidence]:
    """Returns evidence of work that the signal stopped; empty if there is none."""
    dead = [
        a
        for a in case.below(actor)
        if a.end.signal
        and a.exit is not None
        and 0 <= a.end_ns - at_ns < 5 * SECOND
        and not a.end.expected_shutdown
    ]
    torn = [
        f
        for f in actor.open_files
        if f.reason == FileReason.SIGNAL
        and f.position_bytes
        and actor.exit is not None
        and is_output(f, actor.exit)
        and not f.path.endswith(".log")
    ]
    out = [
        supports(
            "kill.swallowed.child_ended",
            CLEAR,
            f"Its child {each.who} {each.end.words} at that time.",
            ends(each),
        )
        for each in dead[:1]
    ]
    out += [e for f in torn if (e := _unfinished(actor, f, at_ns)) is not None][:1]
    wrote_on = [
        u for u in actor.uses if u.writing and u.written_bytes and u.last_ns > at_ns + SECOND
    ]
    if out and wrote_on and not dead:
        seconds = (wrote_on[0].last_ns - at_ns) / 1e9
        text = f"It continued to write for {seconds:.1f} s after the signal."
        out.append(contradicts("kill.swallowed.wrote_on", SOME, text, facts_of_use(wrote_on[0])))
    return out


def _unfinished(actor: ProcessSnapshot, file: OpenFile, at_ns: int) -> Evidence | None:
    """Returns evidence that the file was not complete when the signal came.

    Lines of a log prove nothing: the standard output counts only if it was written in whole
    buffers, and until then.
    """
    use = next((u for u in actor.uses if u.key == (file.device, file.inode)), None)
    if use is not None and use.write_calls:
        wrote_just_now = use.last_ns > at_ns - SECOND
        is_data = use.written_bytes >= _BUFFER_BYTES * use.write_calls
    else:
        wrote_just_now = is_data = False
    if wrote_just_now and (is_data or file.descriptor > 2):
        text = f"It was writing {file.path} at that moment, at byte {file.position_bytes}."
        return supports("kill.swallowed.was_writing", CLEAR, text, [fact(file)])
    if file.descriptor > 2:
        text = f"It had not closed {file.path}, and was at byte {file.position_bytes}."
        return supports("kill.swallowed.had_not_closed", CLEAR, text, [fact(file)])
    return None


CARD = cause_class(
    name="kill.swallowed",
    title="it was asked to end, did so, and reported success",
    predicts="a signal that was handled, followed by exit status 0",
    rivals="kill.supervisor proc.exit_masked",
    tag="fail_on_signal",
    fix=(
        "End the handler with a failure (raise, exit 143), so that the task is not "
        "marked as a success."
    ),
    brings=(
        to("kill.", Via.SIGNAL),
        to("fs.truncated", Via.SAME),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
    ),
    find=(swallowed,),
)
