"""One decoded event as one line for people."""

from __future__ import annotations

import itertools
import os

from receiver.calls import call_name
from receiver.events import (
    CallFailed,
    Connection,
    ConnectionStage,
    Crash,
    Event,
    Exec,
    Existing,
    Exit,
    FileChanged,
    FileClosed,
    FileOpened,
    FileOperation,
    FileTotals,
    Fork,
    NameQuery,
    Neighbour,
    OomKill,
    OomScope,
    OpenFile,
    ProcessSample,
    Signal,
    SubjectKind,
    ThreadWait,
    Title,
    UnixConnected,
    WaitObject,
    WaitStack,
)
from receiver.text.names import (
    address_of,
    describe_end,
    error_name,
    mib,
    name_in,
    resolve,
    signal_name,
)
from receiver.text.printable import printable


def mode_of(flags: int) -> str:
    """The open(2) flags, in a word."""
    word = {os.O_RDONLY: "read", os.O_WRONLY: "write", os.O_RDWR: "read and write"}.get(
        flags & os.O_ACCMODE, "path"
    )
    return word + (", append" if flags & os.O_APPEND else "")


def event_line(event: Event, wall: str, path: str = "") -> str:
    """One decoded event for people.

    `path`: the path of a file that is closed, where the caller knows it.
    """
    match event:
        case Fork():
            what = f"fork    {event.process.tgid} by {event.parent.tgid} ({event.comm})"
        case Exec() | Existing():
            word = "exec   " if isinstance(event, Exec) else "exists "
            what = f"{word} {event.process.tgid} {' '.join(event.argv) or event.comm}"
        case Title():
            what = f"title   {event.process.tgid} {event.title or event.comm}"
        case Exit():
            status = event.wait_status
            end = describe_end("exited", status >> 8 & 0xFF, status & 0x7F)
            what = (
                f"exit    {event.process.tgid} ({event.comm}) {end}, peak "
                f"{mib(event.peak_rss_bytes)}"
            )
        case Signal():
            sender, target = (
                f"{event.sender.tgid} ({event.sender_comm})",
                f"{event.target.tgid} ({event.target_comm})",
            )
            what = f"signal  {signal_name(event.signal)} from {sender} to {target}"
        case Crash():
            where = (
                f"{event.module}+{event.module_offset:#x}"
                if event.module
                else f"address {event.address:#x}"
            )
            what = (
                f"crash   {event.process.tgid} thread {event.thread} ({event.comm}) with "
                f"{signal_name(event.signal)} at {where}"
            )
        case OomKill():
            where = event.memory_cgroup if event.scope == OomScope.CGROUP else "the host"
            full = f"{mib(event.usage_bytes)} of {mib(event.limit_bytes)}"
            what = f"oom     {event.victim.tgid} ({event.victim_comm}) in {where}, {full}"
        case FileOpened():
            what = f"opens   {event.process.tgid} {event.path} ({mode_of(event.open_flags)})"
        case FileClosed():
            did = (
                f"read {event.read_bytes}, wrote {event.written_bytes} of {event.size_bytes} bytes"
            )
            what = (
                f"closes  {event.process.tgid} {path or f'file {event.device}:{event.inode}'}: "
                f"{did}"
            )
        case FileChanged():
            new = f" to {resolve(event.new_directory, event.new_path)}" if event.new_path else ""
            verb = FileOperation(event.operation).name.lower()
            what = f"{verb:<7} {event.process.tgid} {resolve(event.directory, event.path)}{new}"
        case FileTotals():
            what = (
                f"files   {event.process.tgid} opened {event.opened_files}, {event.noise_files} "
                "of them code"
            )
        case CallFailed():
            error, about = error_name(event.error), subject_of(event)
            what = (
                f"fails   {event.process.tgid} {call_name(event.call_number)} {about} {error} "
                f"({event.failures}x)"
            )
        case Connection():
            peer = f"{address_of(event.family, event.peer_high, event.peer_low)}:{event.peer_port}"
            stage = ConnectionStage(event.stage).name.lower()
            what = (
                f"tcp     {event.process.tgid} {stage} {peer}, {event.sent_bytes} out, "
                f"{event.received_bytes} in"
            )
        case NameQuery():
            word = "answer" if event.query_flags & 0x8000 else "asks"
            what = f"dns     {event.process.tgid} {word} {name_in(event.labels)}"
        case UnixConnected():
            what = (
                f"unix    {event.process.tgid} connects to {event.path or '(unnamed)'} of "
                f"{event.peer_tgid}"
            )
        case ProcessSample():
            rss = event.anon_bytes + event.file_bytes + event.shmem_bytes
            what = (
                f"sample  {event.process.tgid} {mib(rss)}, {event.cpu_runtime_ns / 1e9:.2f} s of "
                f"CPU, {event.threads} threads"
            )
        case ThreadWait():
            call = call_name(event.call_number) if event.call_number < 1 << 16 else "-"
            what = (
                f"waits   {event.process.tgid} thread {event.thread} ({event.comm}) in {call} for "
                f"{wait_of(event)}"
            )
        case WaitStack():
            what = (
                f"stands  {event.process.tgid} thread {event.thread} in the kernel's "
                f"{' < '.join(frames_of(event))}"
            )
        case Neighbour():
            what = (
                f"nearby  {event.process.tgid} ({event.comm}) {mib(event.rss_bytes)}, "
                f"{event.cpu_ns / 1e9:.2f} s of CPU"
            )
        case OpenFile():
            what = (
                f"open    {event.process.tgid} is writing {event.path} at {event.position_bytes} "
                f"of {event.size_bytes}"
            )
    return f"{wall} {printable(what)}"


def subject_of(event: CallFailed) -> str:
    """The subject of the call, for people; empty when the BPF program could not read it."""
    if event.subject == SubjectKind.ENDPOINT:
        return f"{address_of(event.family, event.address_high, event.address_low)}:{event.port}"
    if not event.path:
        return ""
    return (
        resolve(event.directory, event.path)
        if event.directory or not event.path.startswith("/")
        else event.path
    )


_UNINTERRUPTIBLE = 2


_WAITS = {
    "futex": "futex",
    "wait4": "child",
    "waitid": "child",
    "flock": "lock",
    "fcntl": "lock",
    "nanosleep": "timer",
    "clock_nanosleep": "timer",
    "poll": "poll",
    "ppoll": "poll",
    "select": "poll",
    "pselect6": "poll",
    "epoll_wait": "poll",
    "epoll_pwait": "poll",
    "epoll_pwait2": "poll",
    "pause": "signal",
    "rt_sigsuspend": "signal",
    "rt_sigtimedwait": "signal",
    "sigwaitinfo": "signal",
}


def wait_of(wait: ThreadWait) -> str:
    """futex, pipe, socket, child, disk, lock, timer, poll, signal or unknown."""
    if wait.waits_on == WaitObject.PIPE:
        return "pipe"
    if wait.waits_on == WaitObject.SOCKET:
        return "socket"
    known = _WAITS.get(call_name(wait.call_number), "") if wait.call_number < 1 << 16 else ""
    if known:
        return known
    return "disk" if wait.thread_state & _UNINTERRUPTIBLE else "unknown"


_SCHEDULER = (
    "__schedule",
    "schedule",
    "io_schedule",
    "schedule_timeout",
    "schedule_hrtimeout_range",
    "schedule_preempt_disabled",
)


def frames_of(stack: WaitStack) -> tuple[str, ...]:
    """Kernel functions, without offsets, from the place where it went to sleep outwards: the first
    is the wait channel.
    """
    names = tuple(f.partition("+")[0] for f in stack.frames.split() if not f.startswith("0x"))
    return tuple(itertools.dropwhile(lambda name: name.startswith(_SCHEDULER), names)) or names
