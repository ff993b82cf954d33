"""Short texts about the parts of a report that the terminal and the page have in common."""

from __future__ import annotations

from receiver.investigate.evidence import RARE, Culprit
from receiver.investigate.report import CrashLine, EvidenceLine, Report
from receiver.investigate.time_account import WORDS

VERDICTS = {
    "incident": "INCIDENT",
    "degraded": "DEGRADED",
    "healthy": "HEALTHY",
    "not_visible": "NOT VISIBLE FROM HERE",
    "incomplete": "INCOMPLETE",
}
CAUSE, CULPRIT, FIX, HISTORY = "cause", "culprit", "fix", "history"
EVIDENCE, RULED_OUT, UNNOTICED = "evidence", "ruled out", "how it stayed unnoticed"
CRASH, ALSO, TIME = "crash", "also", "time"
WEIGHED = "hypotheses, with their evidence (n: runs that a weight was counted from)"
_LONG_ENOUGH = 1.0  # seconds: the time of a shorter run needs no account
_NOTABLE = 0.02  # a smaller share of the time is not shown


def culprit_text(culprit: Culprit) -> str:
    """`process python3 (4711)`, `file /data/x.csv (inode 42); ended by …`."""
    match culprit.type:
        case "file":
            what = f"file {culprit.path}" + (f" (inode {culprit.inode})" if culprit.inode else "")
        case "endpoint":
            what = f"endpoint {culprit.address}" + (f" ({culprit.name})" if culprit.name else "")
        case "cgroup":
            what = f"cgroup {culprit.cgroup}"
        case "process":
            what = f"process {culprit.name} ({culprit.pid})".replace("  ", " ")
            what += (
                f" at {culprit.path}"
                if culprit.path
                else f" towards {culprit.address}"
                if culprit.address
                else ""
            )
        case _:
            what = f"{culprit.type} {culprit.name or culprit.task}".rstrip()
    if culprit.host:
        what += f" on {culprit.host}"
    if culprit.sender is not None:
        by = culprit.sender
        what += f"; {by.signal + ' from ' if by.signal else 'by '}{by.name} ({by.pid})"
    return what


def count_text(line: EvidenceLine) -> str:
    """`n=31`, `n=2, few`. Empty without a weight, or if it is not a clue of a cause card."""
    if not line.weight or not line.clue:
        return ""
    return f"n={line.n}" + (", few" if line.n < RARE else "")


def crash_text(crash: CrashLine) -> str:
    """`parse+0x8 in /opt/x/libwork.so (offset 0x1131, build id 0328…)`."""
    # no file is mapped there, or the mappings changed while they were read (counted as `busy`)
    if not crash.module:
        return f"{crash.name} ({crash.pid}) at address {crash.address:#x}"
    where = crash.module
    name = f"{crash.function}+{crash.function_offset:#x} in {where}" if crash.function else where
    identity = f", build id {crash.build_id}" if crash.build_id else ""
    return f"{crash.name} ({crash.pid}) at {name} (offset {crash.offset:#x}{identity})"


def outcome_text(report: Report) -> str:
    """`failure (reported: success)`."""
    execution = report.execution
    if execution.reported_outcome in (None, execution.outcome):
        return execution.outcome
    return f"{execution.outcome} (reported: {execution.reported_outcome})"


def unnoticed_text(report: Report) -> str:
    """How a failure was not passed on, and what changes that. Empty if it was passed on, or if the
    cause itself is the answer.
    """
    unnoticed = report.unnoticed
    return f"{unnoticed.text} {unnoticed.fix.text}" if unnoticed is not None else ""


def time_text(report: Report) -> str:
    """`4.10 s on a CPU, 7.90 s waiting for a CPU`. Empty for a short run."""
    if report.execution.seconds < _LONG_ENOUGH:
        return ""
    shown = [t for t in report.time if t.seconds >= _NOTABLE * report.execution.seconds]
    return ", ".join(
        f"{t.seconds:.2f} s {WORDS[t.what]}{f' {t.on}' if t.on else ''}" for t in shown
    )


def lost_texts(report: Report) -> list[str]:
    """`12 fork events (ring_full)`."""
    return [f"{e['count']} {e['kind']} events ({e['reason']})" for e in report.completeness.lost]
