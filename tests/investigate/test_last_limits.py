"""Ports, open files, limits and full disks in calls that ended a process, each with a near miss."""

from __future__ import annotations

import errno

import pytest

from receiver.events import (
    CallFailed,
    CallKind,
    HeldObject,
    Holder,
    ProcessKey,
    SubjectKind,
)
from receiver.units import MIB
from tests.investigate.jobs import ORDERS, Job


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
