"""The processes in a report: how each ended, what it used, and which of them used most."""

from __future__ import annotations

from receiver.investigate import report as rp
from receiver.investigate.case import Case
from receiver.investigate.causes.common import died_of, sent_by_process
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import describe_end, signal_name
from receiver.text.printable import printable


def _by(actor: ProcessSnapshot) -> str:
    """Names the sender of the signal or the kernel component that ended the process."""
    if actor.oom is not None:
        return "the kernel's OOM killer"
    event = died_of(actor)
    if event is None:
        return ""
    if sent_by_process(actor, event):
        return f"{signal_name(event.signal)} from {event.sender_comm} ({event.sender.tgid})"
    return "the kernel" if event.code > 0 else "itself"


def end_of(actor: ProcessSnapshot) -> str:
    return (
        describe_end(actor.end.cause, actor.end.code, actor.end.signal)
        if actor.exit is not None
        else "still running"
    )


def process_line(case: Case, actor: ProcessSnapshot) -> rp.ProcessLine:
    last = actor.usage.last if actor.usage is not None else None
    cpu = (
        actor.exit.cpu_runtime_ns
        if actor.exit is not None
        else last.cpu_runtime_ns
        if last is not None
        else 0
    )
    read, written = (
        (actor.exit.read_call_bytes, actor.exit.write_call_bytes)
        if actor.exit is not None
        else (last.read_call_bytes, last.write_call_bytes)
        if last is not None
        else (0, 0)
    )
    return rp.ProcessLine(
        pid=actor.pid,
        name=printable(actor.name),
        command=printable(" ".join(actor.argv)[:200]),
        end=end_of(actor),
        by=printable(_by(actor)),
        seconds=round(((actor.end_ns or case.now_ns) - actor.start_ns) / 1e9, 3),
        cpu_seconds=round(cpu / 1e9, 3),
        peak_bytes=actor.peak_bytes,
        read_bytes=read,
        written_bytes=written,
        network_bytes=sum(p.sent_bytes + p.received_bytes for p in actor.peers),
        execution=printable(actor.execution.identity.task),
    )
