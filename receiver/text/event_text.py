"""One decoded event as one line for people."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

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
    Holder,
    LastFailure,
    NameQuery,
    Neighbour,
    OomKill,
    OomScope,
    OpenFile,
    ProcessSample,
    PythonStack,
    Signal,
    ThreadWait,
    Title,
    UnixConnected,
    WaitObject,
    WaitStack,
)
from receiver.text.call_text import call_failed_line, holder_line, last_failure_line
from receiver.text.moment_text import MOMENTS
from receiver.text.names import (
    address_of,
    describe_end,
    mib,
    name_in,
    resolve,
    signal_name,
)
from receiver.text.printable import printable
from receiver.text.python_text import python_stack_line
from receiver.units import SECOND


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
    what = _close(event, path) if isinstance(event, FileClosed) else LINES[type(event)](event)
    return f"{wall} {printable(what)}"


def _fork(event: Fork) -> str:
    return f"fork    {event.process.tgid} by {event.parent.tgid} ({event.comm})"


def _exec(event: Exec) -> str:
    return f"exec    {event.process.tgid} {' '.join(event.argv) or event.comm}"


def _existing(event: Existing) -> str:
    return f"exists  {event.process.tgid} {' '.join(event.argv) or event.comm}"


def _title(event: Title) -> str:
    return f"title   {event.process.tgid} {event.title or event.comm}"


def _exit(event: Exit) -> str:
    status = event.wait_status
    end = describe_end("exited", status >> 8 & 0xFF, status & 0x7F)
    return f"exit    {event.process.tgid} ({event.comm}) {end}, peak {mib(event.peak_rss_bytes)}"


def _signal(event: Signal) -> str:
    sender = f"{event.sender.tgid} ({event.sender_comm})"
    target = f"{event.target.tgid} ({event.target_comm})"
    return f"signal  {signal_name(event.signal)} from {sender} to {target}"


def _crash(event: Crash) -> str:
    where = f"address {event.address:#x}"
    if event.module:
        where = f"{event.module}+{event.module_offset:#x}"
    who = f"{event.process.tgid} thread {event.thread} ({event.comm})"
    return f"crash   {who} with {signal_name(event.signal)} at {where}"


def _oom_kill(event: OomKill) -> str:
    where = event.memory_cgroup if event.scope == OomScope.CGROUP else "the host"
    full = f"{mib(event.usage_bytes)} of {mib(event.limit_bytes)}"
    return f"oom     {event.victim.tgid} ({event.victim_comm}) in {where}, {full}"


def _file_opened(event: FileOpened) -> str:
    return f"opens   {event.process.tgid} {event.path} ({mode_of(event.open_flags)})"


def _close(event: FileClosed, path: str = "") -> str:
    file = path or f"file {event.device}:{event.inode}"
    did = f"read {event.read_bytes}, wrote {event.written_bytes} of {event.size_bytes} bytes"
    return f"closes  {event.process.tgid} {file}: {did}"


def _file_changed(event: FileChanged) -> str:
    new = f" to {resolve(event.new_directory, event.new_path)}" if event.new_path else ""
    verb = FileOperation(event.operation).name.lower()
    return f"{verb:<7} {event.process.tgid} {resolve(event.directory, event.path)}{new}"


def _file_totals(event: FileTotals) -> str:
    opened = f"opened {event.opened_files}, {event.noise_files} of them code"
    return f"files   {event.process.tgid} {opened}"


def _connection(event: Connection) -> str:
    peer = f"{address_of(event.family, event.peer_high, event.peer_low)}:{event.peer_port}"
    stage = ConnectionStage(event.stage).name.lower()
    sums = f"{event.sent_bytes} out, {event.received_bytes} in"
    return f"tcp     {event.process.tgid} {stage} {peer}, {sums}"


def _name_query(event: NameQuery) -> str:
    word = "answer" if event.query_flags & 0x8000 else "asks"
    return f"dns     {event.process.tgid} {word} {name_in(event.labels)}"


def _unix_connected(event: UnixConnected) -> str:
    to = f"{event.path or '(unnamed)'} of {event.peer_tgid}"
    return f"unix    {event.process.tgid} connects to {to}"


def _process_sample(event: ProcessSample) -> str:
    rss = event.anon_bytes + event.file_bytes + event.shmem_bytes
    used = f"{mib(rss)}, {event.cpu_runtime_ns / SECOND:.2f} s of CPU, {event.threads} threads"
    return f"sample  {event.process.tgid} {used}"


def _thread_wait(event: ThreadWait) -> str:
    call = call_name(event.call_number) if event.call_number < 1 << 16 else "-"
    who = f"{event.process.tgid} thread {event.thread} ({event.comm})"
    return f"waits   {who} in {call} for {wait_of(event)}"


def _wait_stack(event: WaitStack) -> str:
    who = f"{event.process.tgid} thread {event.thread}"
    return f"stands  {who} in the kernel's {' < '.join(frames_of(event))}"


def _neighbour(event: Neighbour) -> str:
    used = f"{mib(event.rss_bytes)}, {event.cpu_ns / SECOND:.2f} s of CPU"
    return f"nearby  {event.process.tgid} ({event.comm}) {used}"


def _open_file(event: OpenFile) -> str:
    at = f"{event.position_bytes} of {event.size_bytes}"
    return f"open    {event.process.tgid} is writing {event.path} at {at}"


# the text of each kind; `receiver.observe.events` has the other columns
LINES: dict[type, Callable[[Any], str]] = {
    **MOMENTS,
    Fork: _fork,
    Exec: _exec,
    Title: _title,
    Exit: _exit,
    Signal: _signal,
    OomKill: _oom_kill,
    OpenFile: _open_file,
    Existing: _existing,
    FileOpened: _file_opened,
    FileClosed: _close,
    FileChanged: _file_changed,
    FileTotals: _file_totals,
    CallFailed: call_failed_line,
    LastFailure: last_failure_line,
    Holder: holder_line,
    Connection: _connection,
    NameQuery: _name_query,
    UnixConnected: _unix_connected,
    ProcessSample: _process_sample,
    ThreadWait: _thread_wait,
    Neighbour: _neighbour,
    Crash: _crash,
    WaitStack: _wait_stack,
    PythonStack: python_stack_line,
}


_UNINTERRUPTIBLE = 2
_STOPPED = 4  # __TASK_STOPPED, include/linux/sched.h: by job control


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
    """stopped, futex, pipe, socket, child, disk, lock, timer, poll, signal or unknown."""
    if wait.thread_state & _STOPPED:
        return "stopped"
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
