"""Masked failures: a process died or failed, and the parent that saw it reported success."""

from __future__ import annotations

from receiver import semconv as sc
from receiver.attribution.tree import Process
from receiver.detect.deaths import ending, event_id, fatal_signal, sender_kind
from receiver.model import Finding
from receiver.signals import Severity
from receiver.text import printable

# Status 1 is an answer, not a failure, from these, and from whatever was done in no time (`readlink`, `test -f`, `which`:
# a version manager's shim alone runs five of them per command).
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
}
_NO_TIME_NS = 10_000_000


def masked_failures(parent: Process) -> list[tuple[Finding, bool]]:
    """Called when `parent` has exited with 0. Each finding comes with whether it is strong: the work was certainly not done.

    Strong: the failed one, or whoever made it fail, was OOM-killed, killed from outside its execution, crashed, or left a
    torn file. Weak: it left with a status other than 0, nobody repeated it with success, and the status is not an answer.
    """
    assert parent.exit is not None
    found = []
    for child in parent.failed_children:
        culprit = _deepest(child)
        strong = _is_strong(culprit)
        if not strong and (_is_answer(culprit) or _is_ordinary_stop(culprit)):
            continue
        found.append((_finding(parent, child, culprit), strong))
    return found


def _deepest(child: Process) -> Process:
    """Follows failures down to where they began, preferring a strong one at each step."""
    at = child
    for _ in range(32):
        below = [c for c in at.failed_children if not (not c.findings and _is_answer(c))]
        if not below:
            return at
        at = next((c for c in below if _is_strong(c)), below[-1])
    return at


def _is_strong(process: Process) -> bool:
    end = ending(process)
    if end.cause == "oom_killed" or sc.EVENT_FILE_PARTIAL_WRITE in process.findings:
        return True
    if sc.EVENT_PROCESS_KILLED not in process.findings:
        return False
    return sender_kind(process, fatal_signal(process, end)) not in ("parent", "sibling")


def _is_ordinary_stop(process: Process) -> bool:
    """A script that stops its own helper, or a writer whose reader had enough."""
    end = ending(process)
    return bool(end.signal) or sc.EVENT_PROCESS_KILLED in process.findings


def _is_answer(process: Process) -> bool:
    if process.exit is None or ending(process).code != 1:
        return False
    lived_ns = process.exit.time_boottime_ns - process.key.start_boottime_ns
    return process.name in _PREDICATES or lived_ns < _NO_TIME_NS


def _finding(parent: Process, child: Process, culprit: Process) -> Finding:
    assert parent.exit is not None and culprit.exit is not None
    end = ending(culprit)
    what = {"oom_killed": "was OOM-killed", "signaled": f"died of {end.error}", "exited": f"failed with status {end.code}"}[
        end.cause
    ]
    via = "" if culprit is child else f" below {child.name} ({child.key.tgid})"
    sentence = (
        f"{culprit.name} ({culprit.key.tgid}){via} {what}, but its parent {parent.name} ({parent.key.tgid}) reported success."
    )
    return Finding(
        sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH,
        culprit.key,
        parent.exit.time_boottime_ns,
        printable(sentence),
        ((sc.PIPELINE_TASK_RUN_RESULT, "failure"), (sc.PIPELINE_TASK_RUN_REPORTED_RESULT, "success")),
        Severity.WARN,
        (event_id(culprit.exit), event_id(parent.exit)),
        "inferred",
    )


def note_child_end(parent: Process, child: Process, failed: bool, limit: int) -> None:
    """Keeps what `masked_failures` will ask for. A success takes back earlier failures of the same command: it was a retry."""
    if failed:
        if len(parent.failed_children) < limit:
            parent.failed_children = (*parent.failed_children, child)
    elif parent.failed_children:
        parent.failed_children = tuple(c for c in parent.failed_children if c.argv != child.argv or _is_strong(c))
