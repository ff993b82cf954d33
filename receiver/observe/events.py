"""The table of kernel events: `EVENTS` has one row for each kind, with all that is specific to it.

The rooms below own the values of two columns: the texts (text.event_text), and what a finding is
for (detect.findings).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Any

import msgspec

from receiver import semconv as sc
from receiver.detect.findings import spec_of
from receiver.events import (
    CallFailed,
    Connection,
    Crash,
    EarlySample,
    Exec,
    Existing,
    Exit,
    Fault,
    FileChanged,
    FileClosed,
    FileOpened,
    FileTotals,
    Fork,
    Holder,
    LastFailure,
    MemoryRefused,
    MemoryWait,
    NameQuery,
    Neighbour,
    OomKill,
    OomMember,
    OomMemory,
    OpenFile,
    ProcessSample,
    PythonStack,
    Signal,
    SignalState,
    ThreadedFork,
    ThreadWait,
    Title,
    UnixConnected,
    WaitStack,
)
from receiver.observe.handlers import Handlers
from receiver.text.event_text import LINES


class Kept(Enum):
    """What a recording of one command keeps of an event that is about another process."""

    WHOLE = auto()  # it has only numbers, and names of executables
    NAMED = auto()  # without arguments, environment, working directory and files
    WITHOUT_TITLE = auto()
    WITHOUT_GROUPS = auto()  # without the names of other commands' control groups
    OTHER_END = auto()  # only a connection whose other end is the command's
    NOTHING = auto()


class EventSpec(msgspec.Struct, frozen=True):
    """name: as in bpf/events.h; it counts the events. handle: applies one. line: its text
    for people. kept: see `Kept`. findings: the kinds of findings that it can lead to, at once or in
    the check that follows once a second.
    """

    name: str
    handle: Callable[[Handlers, Any], object]
    line: Callable[[Any], str]
    kept: Kept = Kept.NOTHING
    findings: tuple[str, ...] = ()

    @property
    def key_fact(self) -> bool:
        """Whether a span can have it as an event."""
        return any(spec_of(kind).key_fact for kind in self.findings)

    @property
    def opens_incident(self) -> bool:
        """Whether it can start an investigation while its task still runs."""
        return any(spec_of(kind).opens_incident for kind in self.findings)


EVENTS: dict[type, EventSpec] = {
    Fork: EventSpec("fork", Handlers.fork, LINES[Fork], Kept.WHOLE),
    Exec: EventSpec("exec", Handlers.exec, LINES[Exec], Kept.NAMED),
    Existing: EventSpec("existing", Handlers.exec, LINES[Existing], Kept.NAMED),
    Title: EventSpec("title", Handlers.title, LINES[Title]),
    Exit: EventSpec(
        "exit",
        Handlers.exit,
        LINES[Exit],
        Kept.WITHOUT_TITLE,
        (
            sc.EVENT_PROCESS_KILLED,
            sc.EVENT_FILE_PARTIAL_WRITE,
            sc.EVENT_PROCESS_CALL_FAILED,
            sc.EVENT_NETWORK_CONNECTION_FAILED,
            sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH,
        ),
    ),
    Signal: EventSpec("signal", Handlers.signal, LINES[Signal], Kept.WHOLE),
    OomKill: EventSpec(
        "oom_kill",
        Handlers.oom_kill,
        LINES[OomKill],
        Kept.WITHOUT_GROUPS,
        (sc.EVENT_PROCESS_OOM_KILLED, sc.EVENT_PIPELINE_TASK_CONTENTION),
    ),
    SignalState: EventSpec("signal_state", Handlers.signal_state, LINES[SignalState], Kept.WHOLE),
    ThreadedFork: EventSpec(
        "threaded_fork", Handlers.threaded_fork, LINES[ThreadedFork], Kept.WHOLE
    ),
    Fault: EventSpec(
        "fault",
        Handlers.fault,
        LINES[Fault],
    ),
    MemoryRefused: EventSpec(
        "memory_refused",
        Handlers.memory_refused,
        LINES[MemoryRefused],
    ),
    EarlySample: EventSpec("early_sample", Handlers.early_sample, LINES[EarlySample]),
    MemoryWait: EventSpec(
        "memory_wait",
        Handlers.memory_wait,
        LINES[MemoryWait],
    ),
    OomMember: EventSpec("oom_member", Handlers.oom_member, LINES[OomMember], Kept.WHOLE),
    OomMemory: EventSpec("oom_memory", Handlers.oom_memory, LINES[OomMemory], Kept.WHOLE),
    Crash: EventSpec("crash", Handlers.crash, LINES[Crash]),
    PythonStack: EventSpec("python_stack", Handlers.python_stack, LINES[PythonStack]),
    OpenFile: EventSpec("open_file", Handlers.open_file, LINES[OpenFile]),
    FileOpened: EventSpec(
        "file_opened",
        Handlers.file_opened,
        LINES[FileOpened],
        findings=(sc.EVENT_FILE_TAINTED_READ, sc.EVENT_FILE_CONFLICT),
    ),
    FileClosed: EventSpec(
        "file_closed",
        lambda on, event: on.activity.files.file_closed(event),
        LINES[FileClosed],
        findings=(sc.EVENT_FILE_PARTIAL_WRITE,),
    ),
    FileChanged: EventSpec(
        "file_changed",
        Handlers.file_changed,
        LINES[FileChanged],
        findings=(sc.EVENT_FILE_CONFLICT,),
    ),
    FileTotals: EventSpec(
        "file_totals",
        lambda on, event: on.activity.files.file_totals(event),
        LINES[FileTotals],
    ),
    CallFailed: EventSpec(
        "call_failed",
        lambda on, event: on.activity.call_failed(event),
        LINES[CallFailed],
        findings=(sc.EVENT_PROCESS_CALL_FAILED, sc.EVENT_NETWORK_CONNECTION_EXHAUSTED),
    ),
    Connection: EventSpec(
        "connection",
        Handlers.connection,
        LINES[Connection],
        Kept.OTHER_END,
        (
            sc.EVENT_NETWORK_CONNECTION_FAILED,
            sc.EVENT_NETWORK_CONNECTION_STALLED,
            sc.EVENT_NETWORK_CONNECTION_EXHAUSTED,
        ),
    ),
    NameQuery: EventSpec(
        "name_query",
        lambda on, event: on.activity.network.name_query(event),
        LINES[NameQuery],
        findings=(sc.EVENT_NETWORK_CONNECTION_FAILED,),
    ),
    UnixConnected: EventSpec(
        "unix_connected",
        lambda on, event: on.activity.network.unix_connected(event),
        LINES[UnixConnected],
    ),
    ProcessSample: EventSpec(
        "process_sample",
        lambda on, event: on.activity.usage.process_sample(event),
        LINES[ProcessSample],
        findings=(sc.EVENT_PROCESS_MEMORY_GROWTH, sc.EVENT_PIPELINE_TASK_CONTENTION),
    ),
    ThreadWait: EventSpec(
        "thread_wait",
        lambda on, event: on.activity.usage.thread_wait(event),
        LINES[ThreadWait],
        findings=(sc.EVENT_PROCESS_HANG,),
    ),
    WaitStack: EventSpec(
        "wait_stack",
        lambda on, event: on.activity.usage.wait_stack(event),
        LINES[WaitStack],
    ),
    LastFailure: EventSpec(
        "last_failure",
        Handlers.last_failure,
        LINES[LastFailure],
    ),
    Holder: EventSpec(
        "holder",
        Handlers.holder,
        LINES[Holder],
    ),
    Neighbour: EventSpec(
        "neighbour",
        lambda on, event: on.activity.usage.neighbour(event),
        LINES[Neighbour],
        Kept.WHOLE,
    ),
}
