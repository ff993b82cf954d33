"""Failed calls that ended a process, each with a near miss in which the same failure was
ordinary."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from receiver.events import (
    CallFailed,
    CallKind,
    FailureFlag,
    FileChanged,
    FileOperation,
    HeldObject,
    Holder,
    LastFailure,
    ProcessKey,
    SubjectKind,
)
from receiver.units import MIB, SECOND
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


def test_a_path_that_another_step_removed() -> None:
    job = Job()
    cleaner = job.story.spawn(job.root, "rm", "-f", ORDERS)
    job.changes(cleaner, FileOperation.UNLINK, ORDERS)
    job.story.exit(cleaner)
    job.story.step(500)
    job.failed("open", errno.ENOENT)
    cause, culprit, summary = job.ends()
    assert (cause, culprit) == ("fs.path_missing", "rm")
    assert f"rm ({cleaner.tgid}) had removed it" in summary


def test_a_path_that_was_made_again_was_not_missed_because_of_its_removal() -> None:
    job = Job()
    cleaner = job.story.spawn(job.root, "rm", "-f", ORDERS)
    job.changes(cleaner, FileOperation.UNLINK, ORDERS)
    job.story.writes(job.root, ORDERS)
    job.failed("open", errno.ENOENT, ago_ms=0)
    _, culprit, summary = job.ends()
    assert culprit == ORDERS and "removed" not in summary


def test_a_directory_above_it_was_renamed() -> None:
    job = Job()
    mover = job.story.spawn(job.root, "mv", "/data", "/old")
    job.changes(mover, FileOperation.RENAME, "/data", new_path="/old")
    job.failed("open", errno.ENOENT, ago_ms=0)
    cause, culprit, summary = job.ends()
    assert (cause, culprit) == ("fs.path_missing", "mv") and "renamed /data to /old" in summary


def test_a_path_that_is_made_too_late() -> None:
    job = Job()
    writer = job.story.spawn(job.root, "python3", "write.py")
    job.failed("open", errno.ENOENT, ago_ms=0)
    job.story.writes(writer, ORDERS)
    cause, culprit, summary = job.ends()
    assert (cause, culprit) == ("fs.path_missing", "write.py") and "did not exist yet" in summary


@pytest.mark.parametrize(
    "other",
    [
        {"ago_ms": 20_000},  # it went on for long
        {"later_files": 3},  # it read other data afterwards
        {"later_cpu_ns": SECOND},
        {"later_code_files": 60},  # a program that starts
        {"path": "/home/u/.netrc"},  # most have none
        {"path": "/etc/tool.conf", "failure_flags": int(FailureFlag.PROBE)},
        {"path": "/usr/bin/pyvenv.cfg"},
        {"path": "/work/<string>", "directory": ""},
    ],
    ids=lambda other: "-".join(other),
)
def test_a_probe_is_not_the_reason_for_an_own_decision(other: dict[str, Any]) -> None:
    job = Job()
    job.story.step(30_000)
    job.failed("open", errno.ENOENT, **other)
    assert job.ends()[0] == "none.not_visible"


def test_a_path_that_never_was_is_named_as_such() -> None:
    job = Job()
    job.failed("open", errno.ENOENT, later_written_bytes=200)
    cause, culprit, _ = job.ends()
    assert (cause, culprit) == ("fs.path_missing", ORDERS)


def test_a_path_that_it_then_made_itself_is_not_missed() -> None:
    job = Job()
    job.failed("open", errno.ENOENT, ago_ms=0)
    job.story.writes(job.step, ORDERS)
    assert job.ends()[0] == "none.not_visible"


def test_a_question_counts_only_for_an_argument_of_the_command() -> None:
    copy = Job("cp", ORDERS, "/tmp/x")
    copy.failed("stat", errno.ENOENT, ago_ms=1)
    assert copy.ends()[:2] == ("fs.path_missing", ORDERS)
    check = Job("python3", "check.py")
    check.failed("stat", errno.ENOENT, ago_ms=1)
    assert check.ends()[0] == "none.not_visible"


def test_a_step_that_failed_because_of_its_child_is_not_blamed_for_a_path() -> None:
    job = Job()
    job.story.step(1_000)
    failed_ns = job.story.now
    child = job.story.spawn(job.step, "python3", "part.py")
    job.story.exit(child, 3)
    job.failed("open", errno.ENOENT, failed_boottime_ns=failed_ns)
    assert job.ends()[0] == "none.not_visible"


def test_an_exclusive_file_of_somebody_who_failed() -> None:
    job = Job()
    before = job.story.spawn(job.root, "python3", "first.py")
    job.story.writes(before, "/run/job.pid", inode=77)
    job.story.exit(before, 9)
    job.story.step(2_000)
    job.failed("open", errno.EEXIST, "/run/job.pid")
    cause, culprit, summary = job.ends()
    assert (cause, culprit) == ("fs.path_exists", "first.py") and "left it" in summary


def test_a_directory_that_exists_is_ordinary_and_a_race_for_it_is_not() -> None:
    own = Job()
    own.failed("mkdir", errno.EEXIST, "/data/out")
    assert own.ends()[0] == "none.not_visible"
    race = Job()
    rival = race.story.spawn(race.root, "python3", "rival.py")
    race.changes(rival, FileOperation.MKDIR, "/data/out")
    race.failed("mkdir", errno.EEXIST, "/data/out", ago_ms=0)
    cause, culprit, summary = race.ends()
    assert (cause, culprit) == ("fs.path_exists", "rival.py") and "was running" in summary


def test_a_port_with_its_owner() -> None:
    job = Job()
    job.story.fact(
        Holder, job.step, held=HeldObject.PORT, port=8080, holder=ProcessKey(77, 5), comm="nginx"
    )
    job.failed(
        "bind",
        errno.EADDRINUSE,
        "",
        subject=SubjectKind.ENDPOINT,
        family=2,
        port=8080,
        address_low=int.from_bytes(bytes([127, 0, 0, 1]), "little"),
    )
    assert job.ends() == (
        "net.port_in_use",
        "nginx",
        (
            f"python3 ({job.step.tgid}) could not use 127.0.0.1:8080: the port was in use by nginx "
            "(77)."
        ),
    )


def test_a_port_that_it_could_do_without() -> None:
    job = Job()
    job.story.step(30_000)
    job.failed(
        "bind",
        errno.EADDRINUSE,
        "",
        subject=SubjectKind.ENDPOINT,
        family=2,
        port=8080,
        ago_ms=9_000,
        later_files=5,
    )
    assert job.ends()[0] == "none.not_visible"


def test_an_exec_that_somebodys_open_file_refuses() -> None:
    job = Job()
    child = job.story.fork(job.step)
    keeper = job.story.spawn(job.step, "sleep", "9")
    job.story.fact(
        Holder, child, held=HeldObject.TEXT, path="/work/tool.sh", holder=keeper, comm="sleep"
    )
    now = job.story.now
    job.story.fact(
        CallFailed,
        child,
        call=CallKind.EXEC,
        call_number=59,
        error=errno.ETXTBSY,
        failures=1,
        path="/work/tool.sh",
        subject=SubjectKind.PATH_ASKED,
        first_boottime_ns=now,
        last_boottime_ns=now,
    )
    job.story.exit(child, 255, after_ms=1)
    job.story.exit(keeper)
    cause, culprit, summary = job.ends()
    assert (cause, culprit) == ("proc.exec_refused", "sleep")
    assert "ETXTBSY" in summary and f"by sleep ({keeper.tgid})" in summary


def test_a_file_of_the_same_name_elsewhere_is_not_the_one_that_was_refused() -> None:
    job = Job()
    child = job.story.fork(job.step)
    job.story.fact(
        Holder,
        child,
        held=HeldObject.TEXT,
        path="/other/tool.sh",
        holder=ProcessKey(77, 5),
        comm="vi",
    )
    now = job.story.now
    job.story.fact(
        CallFailed,
        child,
        call=CallKind.EXEC,
        call_number=59,
        error=errno.ETXTBSY,
        failures=1,
        path="/work/tool.sh",
        subject=SubjectKind.PATH_ASKED,
        first_boottime_ns=now,
        last_boottime_ns=now,
    )
    job.story.exit(child, 255, after_ms=1)
    assert job.ends()[:2] == ("proc.exec_refused", "/work/tool.sh")


@pytest.mark.parametrize(
    ("call", "error", "limit"),
    [
        ("inotify_add_watch", errno.ENOSPC, "fs.inotify.max_user_watches"),
        ("inotify_init1", errno.EMFILE, "fs.inotify.max_user_instances"),
    ],
)
def test_a_limit_of_inotify_is_neither_a_full_disk_nor_a_lack_of_descriptors(
    call: str, error: int, limit: str
) -> None:
    job = Job()
    path = "/landing/2025" if call == "inotify_add_watch" else ""
    job.refused(call, error, path)
    job.failed(call, error, path, open_descriptors=9, descriptor_max=1024)
    cause, _, summary = job.ends()
    assert cause == "lim.inotify" and limit in summary


def test_inotify_without_a_free_descriptor_is_a_lack_of_descriptors() -> None:
    job = Job()
    job.refused("inotify_init1", errno.EMFILE)
    job.failed("inotify_init1", errno.EMFILE, "", open_descriptors=64, descriptor_max=64)
    assert job.ends()[0] == "lim.emfile"


def test_a_write_without_room_is_a_full_disk_still() -> None:
    job = Job()
    job.refused("open", errno.ENOSPC, "/landing/2025")
    assert job.ends()[0] in ("fs.enospc", "fs.inodes_quota")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (errno.ENAMETOOLONG, "fs.path_unusable"),
        (errno.EXDEV, "fs.path_unusable"),
        (errno.ELOOP, "fs.path_unusable"),
        (errno.ESTALE, "fs.gone"),
        (errno.ENODEV, "fs.gone"),
    ],
)
def test_errors_that_name_themselves(error: int, cause: str) -> None:
    job = Job()
    job.failed("rename", error)
    assert job.ends()[:2] == (cause, ORDERS)
    handled = Job()  # a copy followed the refused rename
    handled.story.step(10_000)
    handled.failed("rename", error, ago_ms=900, later_files=2, later_read_bytes=MIB)
    assert handled.ends()[0] == "none.not_visible"


@pytest.mark.parametrize("running", [True, False])
def test_a_program_that_runs_cannot_be_overwritten(running: bool) -> None:
    job = Job("cp", "new", "/opt/tool")
    tool = job.story.spawn(job.root, "tool", executable="/opt/tool")
    if not running:
        job.story.exit(tool)
        job.story.step(500)
    job.failed("open", errno.ETXTBSY, "/opt/tool", ago_ms=0)
    cause, culprit, summary = job.ends()
    assert cause == "fs.path_unusable"
    assert (culprit, str(tool.tgid) in summary) == (
        ("tool", True) if running else ("/opt/tool", False)
    )
