"""Masked failures: a process died or failed, and its parent, which saw that, exited with 0."""

from __future__ import annotations

from receiver import semconv as sc
from receiver.detect.deaths import fatal_signal, sender_kind
from receiver.events import Signal
from receiver.model import POLITE, SHORT_NS, Finding
from receiver.signals import Severity
from receiver.text.names import event_id
from receiver.work.children import ChildEnd, Children, ExitSeverity, is_part_of_its_parent
from receiver.work.execution import Execution
from receiver.work.tables import Facts
from receiver.work.worker import Worker

# Status 1 is an answer, not a failure, from these programs, and from every very short process.
# A version manager's shim runs five of `readlink` for each command.
_PREDICATES = {
    "grep",
    "egrep",
    "fgrep",
    "zgrep",
    "rg",
    "diff",
    "cmp",
    "git",
    "pgrep",
    "pkill",
    "lsof",
    "fuser",
    "systemctl",
    "ping",
    "test",
    "[",
    "expr",
    "which",
    "readlink",
    "tty",
}
# Many tools ask "is this a repository?", and in most cases the answer is no.
_QUESTIONS = {
    "rev-parse",
    "describe",
    "config",
    "status",
    "remote",
    "branch",
    "symbolic-ref",
    "show-ref",
    "ls-files",
    "log",
    "tag",
}
_IDLE_NS = 2_000_000_000
TIME_LIMIT = "timeout"  # timeout(1), as the sender of a signal
_ABOVE = ("parent", "supervisor")


def exit_severity(process: Worker, facts: Facts) -> ExitSeverity:
    """Called after the process's own findings are made."""
    end = process.end
    if not end.failed:
        return ExitSeverity.SUCCESS
    if end.cause == "oom_killed" or sc.EVENT_FILE_PARTIAL_WRITE in facts.reported.of(process.key):
        return ExitSeverity.LOST_WORK
    if sc.EVENT_PROCESS_KILLED in facts.reported.of(process.key):
        event = fatal_signal(process, end, facts.signals)
        kind = sender_kind(process, event, facts.signals)
        if event is not None and event.sender_comm == TIME_LIMIT and kind in _ABOVE:
            return ExitSeverity.FAILED  # its script did not stop it: it was not done in time
        own = kind in ("parent", "sibling") or (
            event is not None and kind == "supervisor" and _shut_down(process, event, facts)
        )
        return ExitSeverity.STOPPED if own else ExitSeverity.LOST_WORK
    if end.signal:
        return ExitSeverity.STOPPED
    return ExitSeverity.ANSWER if _is_answer(process, end.code) else ExitSeverity.FAILED


def _shut_down(process: Worker, event: Signal, facts: Facts) -> bool:
    """An ancestor ended it together with its parent, when a stop had been requested or it had been
    idle for a while. This is how a program that started a service stops it.
    """
    parent = process.parent
    if parent is None or not (
        parent.exit is not None
        or any(s.sender == event.sender for s in facts.signals.of(parent.key))
    ):
        return False
    asked = any(
        s.sender == event.sender and s.signal in POLITE and s is not event
        for s in (*facts.signals.of(process.key), *facts.signals.of(parent.key))
    )
    idle_since = facts.waits.of(process.key).idle_since_ns
    return asked or bool(idle_since and event.time_boottime_ns - idle_since >= _IDLE_NS)


def _is_answer(process: Worker, code: int) -> bool:
    if process.name == "git" and len(process.argv) > 1 and process.argv[1] in _QUESTIONS:
        return True
    if process.exit is None or code != 1:
        return False
    # On a busy host the shortest command lives for long: the time on a run queue does not count.
    # Several threads wait for longer than their process lives.
    lived_ns = process.exit.time_boottime_ns - process.key.start_boottime_ns
    ran_ns = max(lived_ns - process.exit.run_delay_ns, min(lived_ns, process.exit.cpu_runtime_ns))
    return process.name in _PREDICATES or ran_ns < SHORT_NS


def masked_failures(parent: Worker, children: Children) -> list[tuple[Finding, Worker, bool]]:
    """Called when `parent` has exited with 0. Each finding has its culprit, and whether work was
    certainly lost.

    A failure is not masked when it was repeated with success, was an answer, or was an ordinary
    stop. An exit status after which the parent started another process, which succeeded, is not
    masked either: that process may be there for this very case (`A || B`). In a pipe, the status of
    its reader hides it.
    """
    assert parent.exit is not None
    if is_part_of_its_parent(parent, children.failed):
        return []  # that one will see it
    found = []
    for end in children.failed:
        culprit = _deepest(end)
        lost_work = culprit.exit_severity == ExitSeverity.LOST_WORK
        if culprit.exit_severity >= ExitSeverity.FAILED and (
            lost_work
            or not _went_on(parent, culprit.child, children)
            or culprit.child.stdout_inode in children.readers
        ):
            found.append((_finding(parent, end.child, culprit.child), culprit.child, lost_work))
    return found


def _went_on(parent: Worker, failed: Worker, children: Children) -> bool:
    """Whether it started another process, or became one: `sh -c "A; B"` becomes B."""
    last_ns = max(children.succeeded_start_ns, parent.exec_ns)
    return failed.exit is not None and last_ns >= failed.exit.time_boottime_ns


def _deepest(end: ChildEnd) -> ChildEnd:
    """Follows failures down to where they began. At each step, lost work comes first."""
    at = end
    for _ in range(32):
        below = [c for c in at.below if c.exit_severity >= ExitSeverity.FAILED]
        if not below:
            return at
        at = max(reversed(below), key=lambda c: c.exit_severity == ExitSeverity.LOST_WORK)
    return at


def _finding(parent: Worker, child: Worker, culprit: Worker) -> Finding:
    assert parent.exit is not None and culprit.exit is not None
    end = culprit.end
    what = {
        "oom_killed": "was OOM-killed",
        "signaled": f"was killed by {end.error}",
        "exited": f"exited with status {end.code}",
    }[end.cause]
    via = "" if culprit is child else f" below {child.name} ({child.key.tgid})"
    sentence = (
        f"{culprit.name} ({culprit.key.tgid}){via} {what}, but its parent {parent.name} "
        f"({parent.key.tgid}) reported success."
    )
    return Finding(
        kind=sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH,
        process=culprit.key,
        time_boottime_ns=parent.exit.time_boottime_ns,
        sentence=sentence,
        facts=(
            (sc.PIPELINE_TASK_RUN_RESULT, "failure"),
            (sc.PIPELINE_TASK_RUN_REPORTED_RESULT, "success"),
        ),
        severity=Severity.WARN,
        evidence=(event_id(culprit.exit), event_id(parent.exit)),
        origin="inferred",
    )


def holds_by_fork(process: Worker, execution: Execution) -> bool:
    """Whether it holds the work, or is a fork of its holder: the same program, whose status 0 means
    nothing.
    """
    at: Worker | None = process
    while at is not None and at.key not in execution.owner_processes and not at.execs:
        at = at.parent
    return at is not None and at.key in execution.owner_processes


def failure_below(children: Children) -> str:
    """error.type of the child that shows the result of a supervisor that always exits with 0.

    This is a child that lost work, or the last child, if it failed. Empty when there is none: the
    kernel shows only the children.
    """
    lost = [c for c in children.failed if c.exit_severity == ExitSeverity.LOST_WORK]
    last = children.last
    culprit = (
        lost[-1]
        if lost
        else last
        if last is not None and last.exit_severity == ExitSeverity.FAILED
        else None
    )
    return (culprit.child.end.error or "child_failed") if culprit is not None else ""
