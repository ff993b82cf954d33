"""A job whose last call fails."""

from __future__ import annotations

from typing import Any

from receiver.events import (
    CallFailed,
    CallKind,
    FileChanged,
    FileOperation,
    LastFailure,
    ProcessKey,
    SubjectKind,
)
from tests.builders import MS, Story
from tests.investigate.telling import cause_of, report_of

NUMBERS = {
    "open": 2,
    "mkdir": 83,
    "stat": 4,
    "bind": 49,
    "execve": 59,
    "inotify_add_watch": 254,
    "inotify_init1": 294,
    "rename": 82,
}
KINDS = {
    "open": CallKind.OPEN,
    "mkdir": CallKind.CHANGE,
    "stat": CallKind.ASK,
    "bind": CallKind.BIND,
    "execve": CallKind.EXEC,
    "inotify_add_watch": CallKind.WATCH,
    "inotify_init1": CallKind.WATCH,
    "rename": CallKind.CHANGE,
}
ORDERS = "/data/orders.csv"


class Job:
    """A shell that runs one step, which fails."""

    def __init__(self, *command: str) -> None:
        self.story = Story()
        self.root = self.story.command("bash", "job.sh")
        self.step = self.story.spawn(self.root, *(command or ("python3", "step.py")))

    def failed(
        self, call: str, error: int, path: str = ORDERS, *, ago_ms: float = 10, **other: Any
    ) -> None:
        """The step's last failure, at its end."""
        values: dict[str, Any] = {
            "call_number": NUMBERS[call],
            "call": KINDS[call],
            "error": error,
            "path": path,
            "subject": SubjectKind.PATH_ASKED if path else SubjectKind.NONE,
            "failures": 1,
            "failed_boottime_ns": self.story.now - int(ago_ms * MS),
            "thread": self.step.tgid,
        }
        self.story.fact(LastFailure, self.step, **(values | other))

    def refused(self, call: str, error: int, path: str = "", **other: Any) -> None:
        """The record that comes at once."""
        now = self.story.now
        values: dict[str, Any] = {
            "call_number": NUMBERS[call],
            "call": KINDS[call],
            "error": error,
            "path": path,
            "subject": SubjectKind.PATH_ASKED if path else SubjectKind.NONE,
            "failures": 1,
            "first_boottime_ns": now,
            "last_boottime_ns": now,
        }
        self.story.fact(CallFailed, self.step, **(values | other))

    def changes(self, who: ProcessKey, operation: FileOperation, path: str, **other: Any) -> None:
        self.story.fact(FileChanged, who, operation=operation, path=path, **other)

    def ends(self, code: int = 1) -> tuple[str, str, str]:
        """The cause, the name of the culprit or its path, and the summary."""
        self.story.exit(self.step, code, after_ms=1)
        self.story.exit(self.root, code)
        report = report_of(self.story)
        if report.verdict != "incident":
            return cause_of(report), "", report.summary
        lead = report.hypotheses[0]
        return lead.cause, lead.culprit.name or lead.culprit.path, lead.summary
