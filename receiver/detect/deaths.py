"""Findings about how a process ended, and who ended it."""

from __future__ import annotations

import signal as signals
from collections.abc import Mapping
from typing import Literal

from receiver import semconv as sc
from receiver.attribution.frameworks.base import HelperRole
from receiver.events import OomKill, OomScope, ProcessKey, Signal
from receiver.facts.ending import Ending
from receiver.facts.process import Process
from receiver.facts.signals import SignalTable
from receiver.model import NOBODY, POLITE, Finding
from receiver.signals import Severity
from receiver.text.names import event_id, mib, signal_name
from receiver.text.python_text import leading, standing, traceback
from receiver.work.worker import Worker

SI_USER, SI_QUEUE, SI_TIMER, SI_TKILL, SI_KERNEL = 0, -1, -2, -6, 128  # sigaction(2)
# In a healthy `producer | head`, a pipe whose reader has left ends its writer this way.
_ORDINARY = {signals.SIGPIPE}
_KILL_COMMANDS = {
    "kill",
    "pkill",
    "killall",
    "skill",
    "slay",
    "htop",
    "top",
    "bash",
    "dash",
    "sh",
    "zsh",
    "fish",
    "ksh",
    "fuser",
}
# kinds of senders that belong to the work of the process
_OF_THE_WORK = ("parent", "sibling", "supervisor", "orchestrator")
SenderKind = Literal[
    "self", "parent", "sibling", "orchestrator", "supervisor", "operator", "kernel", "unknown"
]


def oom_killed(process: Worker, event: OomKill) -> Finding:
    """The finding at the OOM kill, before the exit."""
    in_cgroup = event.scope == OomScope.CGROUP
    rss = event.anon_rss_bytes + event.file_rss_bytes + event.shmem_rss_bytes
    facts: list[tuple[str, str | int | float | bool]] = [
        (sc.PROCESS_OOM_KILLED, True),
        (sc.PROCESS_OOM_SCOPE, "cgroup" if in_cgroup else "host"),
        (sc.PROCESS_OOM_MEMORY_ANON, event.anon_rss_bytes),
        (sc.PROCESS_OOM_MEMORY_FILE, event.file_rss_bytes),
        (sc.PROCESS_OOM_MEMORY_SHMEM, event.shmem_rss_bytes),
        (sc.PROCESS_OOM_HOST_TOTAL, event.host_total_bytes),
        (sc.PROCESS_OOM_HOST_FREE, event.host_free_bytes),
        (sc.PROCESS_OOM_SCORE_ADJ, event.oom_score_adj),
        (sc.PROCESS_OOM_TRIGGER_PID, event.trigger.tgid),
        (sc.PROCESS_OOM_TRIGGER_EXECUTABLE_NAME, event.trigger_comm),
    ]
    if in_cgroup:
        facts += [
            (sc.PROCESS_OOM_CGROUP, event.memory_cgroup),
            (sc.PROCESS_OOM_MEMORY_LIMIT, event.limit_bytes),
            (sc.PROCESS_OOM_MEMORY_USAGE, event.usage_bytes),
        ]
        where = (
            f"memory cgroup {event.memory_cgroup} was at {mib(event.usage_bytes)} of "
            f"{mib(event.limit_bytes)}"
        )
    else:
        where = f"the host had {mib(event.host_free_bytes)} of {mib(event.host_total_bytes)} left"
    trigger = (
        ""
        if event.trigger == event.victim
        else f"; the allocation that failed was {event.trigger_comm}'s ({event.trigger.tgid})"
    )
    who = f"{process.name} ({event.victim.tgid})"
    sentence = (
        f"The kernel's OOM killer killed {who}, which held {mib(rss)}: "
        f"{where}{trigger}{_at_work(process)}."
    )
    return Finding(
        kind=sc.EVENT_PROCESS_OOM_KILLED,
        process=process.key,
        time_boottime_ns=event.time_boottime_ns,
        sentence=sentence,
        facts=tuple(facts),
        severity=Severity.FATAL,
        evidence=(event_id(event),),
    )


def code_items(process: Worker) -> tuple[tuple[str, str | int | float | bool], ...]:
    """The place in the user's Python code at which a signal ended it; empty when not known."""
    stack = process.stack
    frame = leading(stack) if stack is not None else None
    if stack is None or frame is None:
        return ()
    line = ((sc.CODE_LINE_NUMBER, frame.line),) if frame.line else ()
    return (
        (sc.CODE_FUNCTION_NAME, frame.function),
        (sc.CODE_FILE_PATH, frame.file),
        *line,
        (sc.CODE_STACKTRACE, traceback(stack)),
    )


def last_partition(process: Worker) -> str:
    """The data partition that it touched last; empty when there was none.

    For a Python worker, this is its JVM's partition.
    """
    for each in (process, *process.ancestors(4)):
        if each.partition and (
            each is process
            or (each.execution is not None and each.execution.is_part_of(process.execution))
        ):
            return each.partition
    return ""


def _at_work(process: Worker) -> str:
    partition = last_partition(process)
    return f", while it worked on {partition}" if partition else ""


def fatal_signal(process: Worker, end: Ending, received: SignalTable) -> Signal | None:
    """The signal event behind an end: the last event of the signal that killed it, or that the
    status `128 + n` names.
    """
    return fatal_of(received.of(process.key), process.key, end)


def fatal_of(received: tuple[Signal, ...], key: ProcessKey, end: Ending) -> Signal | None:
    number = end.signal or (end.code - 128 if 128 < end.code <= 192 else 0)
    found = [event for event in received if event.signal == number]
    # A server that gets SIGTERM cleans up and then sends itself the same signal. The sender of the
    # first one is the culprit.
    others = [event for event in found if event.sender != key]
    return others[-1] if others else found[-1] if found else None


def killed(process: Worker, end: Ending, received: SignalTable) -> Finding | None:
    """A death by a signal, or an exit with 128 + n after another process sent signal n."""
    if (
        process.exit is None
        or end.expected_shutdown
        or end.cause == "oom_killed"
        or end.signal in _ORDINARY
    ):
        return None
    event = fatal_signal(process, end, received)
    if not end.signal and (
        event is None or (event.sender == process.key and event.code != SI_KERNEL)
    ):
        return None
    number = end.signal or (event.signal if event else 0)
    kind = sender_kind(process, event, received)
    facts: list[tuple[str, str | int | float | bool]] = [
        (sc.PROCESS_SIGNAL_NUMBER, number),
        (sc.PROCESS_SIGNAL_NAME, signal_name(number)),
        (sc.PROCESS_SIGNAL_SENDER_KIND, kind),
        (sc.PROCESS_EXIT_CODE, end.code),
        (sc.ERROR_TYPE, signal_name(number)),
    ]
    if event is not None:
        facts.append((sc.PROCESS_SIGNAL_CODE, code_name(event.code)))
    if event is not None and kind != "kernel":
        facts += [
            (sc.PROCESS_SIGNAL_SENDER_PID, event.sender.tgid),
            (sc.PROCESS_SIGNAL_SENDER_USER_ID, event.sender_uid),
            (sc.PROCESS_SIGNAL_SENDER_EXECUTABLE_NAME, event.sender_comm),
        ]
    polite = number in POLITE and kind in _OF_THE_WORK
    what = "was killed by" if end.signal else f"exited with status {end.code} after"
    sentence = (
        f"{process.name} ({process.key.tgid}) {what} {signal_name(number)} from "
        f"{_sender_words(event, kind)}{_at_work(process)}."
    )
    place = standing(process.stack) if end.signal else ""
    return Finding(
        kind=sc.EVENT_PROCESS_KILLED,
        process=process.key,
        time_boottime_ns=process.exit.time_boottime_ns,
        sentence=f"{sentence} {place}".rstrip(),
        facts=(*facts, *(code_items(process) if end.signal else ())),
        severity=Severity.WARN if polite else Severity.ERROR,
        evidence=tuple(event_id(e) for e in (event, process.exit) if e is not None),
    )


def _sender_words(event: Signal | None, kind: str) -> str:
    if event is None:
        return "nobody seen"
    if kind in ("kernel", "self"):
        return "the kernel" if kind == "kernel" else "itself"
    return f"{event.sender_comm} ({event.sender.tgid}), {_ROLES[kind]}"


def expected_shutdown(
    process: Worker, end: Ending, received: SignalTable, helpers: Mapping[str, HelperRole]
) -> bool:
    """Whether it is a helper that its own framework ended, as planned. Called at its exit.

    `helpers`: what the recognisers declare, by role.
    """
    if process.exit is None or not process.exit.wait_status:
        return False
    line = [p for p in (process, *process.ancestors(3)) if p is process or p.execution is not None]
    helper = next((p for p in line if p.role in helpers), None)
    if helper is None or not end.code or end.cause == "oom_killed":
        return False
    event = fatal_signal(process, end, received)
    if event is not None:
        return sender_kind(process, event, received) in _OF_THE_WORK
    goes = any(
        p.exit is not None or any(s.signal in POLITE for s in received.of(p.key)) for p in line
    )
    return end.code in helpers[helper.role].ends_with and goes


_ROLES = {
    "parent": "its parent",
    "sibling": "of the same execution",
    "orchestrator": "which started the execution",
    "supervisor": "an ancestor",
    "operator": "from outside the execution",
    "unknown": "whose role is not known",
}


def code_name(code: int) -> str:
    if code > 0:
        return "kernel"
    return {SI_USER: "user", SI_QUEUE: "queue", SI_TIMER: "timer", SI_TKILL: "tkill"}.get(
        code, "user"
    )


def sender_kind(process: Worker, event: Signal | None, received: SignalTable) -> SenderKind:
    """The relation of the sender to the process, as far as the tree shows it."""
    if event is None or event.sender == NOBODY:
        return "unknown"
    if event.code > 0 or event.code == SI_TIMER:
        return "kernel"
    if event.sender == process.key:
        return "self"
    execution = process.execution
    if execution is not None and event.sender == execution.started_by:
        return "orchestrator"
    for distance, ancestor in enumerate(process.ancestors()):
        if ancestor.key != event.sender:
            continue
        own = execution is None or execution.is_part_of(ancestor.execution)
        if (
            execution is not None
            and not own
            and (distance == 0 or _is_root(execution.outermost.root, ancestor))
        ):
            return "orchestrator"
        return "parent" if distance == 0 else "supervisor"
    if event.sender in received.siblings(process.key):
        return "sibling"
    return "operator" if event.sender_comm in _KILL_COMMANDS else "unknown"


def _is_root(root: Process, ancestor: Worker) -> bool:
    return root.parent is ancestor
