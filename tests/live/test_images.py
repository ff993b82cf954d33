"""Exec and title on the real kernel: what a process runs, where, and with what."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from receiver.events import Exec, Exit, ImageFlag, OpenFile, ProcessKey, StdioKind, Title
from tests.live.conftest import Witness, python

pytestmark = pytest.mark.live


def test_exec_tells_argv_paths_ids_and_parent(witness: Witness, tmp_path: Path) -> None:
    child = subprocess.Popen(["/bin/sleep", "0.01", "0"], cwd=tmp_path, user=65534, group=65534)
    child.wait()
    event = witness.one(child.pid, Exec)
    assert event.argv == ("/bin/sleep", "0.01", "0")
    assert event.argc == 3
    assert event.executable == str(Path("/bin/sleep").resolve())
    assert event.working_directory == str(tmp_path)
    assert (event.uid, event.gid, event.parent.tgid) == (65534, 65534, os.getpid())
    assert event.real_parent == ProcessKey(0, 0)
    assert event.pid_namespace_inode == Path("/proc/self/ns/pid").stat().st_ino
    assert event.mount_namespace_inode == Path("/proc/self/ns/mnt").stat().st_ino
    assert event.network_namespace_inode == Path("/proc/self/ns/net").stat().st_ino
    assert event.comm == "sleep"
    assert event.image_flags & ~(ImageFlag.ROOT_OWNS | ImageFlag.USER_OWNS) == 0


def test_paths_are_those_that_the_process_sees(witness: Witness, tmp_path: Path) -> None:
    """In a root directory of its own, as in a container."""
    code = (
        f"import os; os.chroot({str(tmp_path)!r}); os.chdir('/in'); os.open('/in/out', "
        "os.O_CREAT | os.O_WRONLY); os.abort()"
    )
    (tmp_path / "in").mkdir()
    child = python(code)
    child.wait()
    assert "/in/out" in {e.path for e in witness.of(child.pid, OpenFile)}


def test_cgroup_paths_are_those_of_proc(witness: Witness) -> None:
    child = python("print(open('/proc/self/cgroup').read())", stdout=subprocess.PIPE)
    out, _ = child.communicate()
    rows = [line.split(":", 2) for line in out.split()]
    paths = [p for _, controllers, p in rows if "memory" in controllers.split(",")] or [
        p for h, _, p in rows if h == "0"
    ]
    assert witness.of(child.pid, Exec)[-1].memory_cgroup == paths[0]


def test_stdio_inodes_link_the_stages_of_a_pipe(witness: Witness, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with out.open("w") as target:
        first = subprocess.Popen(["/bin/echo", "x"], stdout=subprocess.PIPE)
        second = subprocess.Popen(
            ["/bin/cat"], stdin=first.stdout, stdout=target, stderr=subprocess.DEVNULL
        )
        assert first.stdout
        first.stdout.close()
        first.wait()
        second.wait()
    left, right = witness.one(first.pid, Exec), witness.one(second.pid, Exec)
    assert (left.stdout_kind, right.stdin_kind) == (StdioKind.PIPE, StdioKind.PIPE)
    assert left.stdout_inode == right.stdin_inode != 0
    assert (right.stdout_kind, right.stdout_inode) == (StdioKind.FILE, out.stat().st_ino)
    assert right.stderr_kind == StdioKind.DEVICE


def test_long_command_lines_are_cut_and_say_so(witness: Witness) -> None:
    many = subprocess.Popen(["/bin/true", *("a" * 8 for _ in range(100))])
    long = subprocess.Popen(["/bin/true", "b" * 100_000, "c", "Main", "--name", "etl"])
    many.wait()
    long.wait()
    event = witness.one(many.pid, Exec)
    assert (len(event.argv), event.argc) == (64, 101)
    event = witness.one(long.pid, Exec)
    assert (event.argc, event.image_flags & ImageFlag.ARGV_CUT) == (6, ImageFlag.ARGV_CUT)
    assert len("".join(event.argv)) <= 4096
    assert event.argv[0] == "/bin/true" and event.argv[2:] == ("…", "Main", "--name", "etl")


def test_only_allow_listed_variables_leave_the_kernel(witness: Witness) -> None:
    given = {
        "AIRFLOW_CTX_DAG_ID": "etl",
        "AIRFLOW_CTX_TASK_ID": "load",
        "AIRFLOW_CTX_API_TOKEN": "no",
        "AIRFLOW_CTX_db_Password": "no",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "no",
        "TRACEPARENT": "00-x",
        "TRACEPARENTS": "no",
        "TRACE": "no",
        "DBT_PASSWORD": "no",
        "DBT_CLOUD_RUN_ID": "7",
        "SPARK_SECRET": "no",
        "PATH": "/bin",
        "LONG": "x" * 5000,
        "POD_NAME": "p" * 3000,
    }
    child = subprocess.Popen(["/bin/true"], env=given)
    child.wait()
    event = witness.one(child.pid, Exec)
    names = {entry.partition("=")[0] for entry in event.environ}
    assert names == {
        "AIRFLOW_CTX_DAG_ID",
        "AIRFLOW_CTX_TASK_ID",
        "TRACEPARENT",
        "DBT_CLOUD_RUN_ID",
        "POD_NAME",
    }
    assert "AIRFLOW_CTX_DAG_ID=etl" in event.environ
    assert event.image_flags & ImageFlag.ENVIRON_CUT  # the long POD_NAME
    assert "no" not in {entry.partition("=")[2] for entry in event.environ}


def test_a_thread_that_execs_becomes_the_process(witness: Witness) -> None:
    child = python(
        "import os, threading, time\nthreading.Thread(target=os.execv, args=('/bin/true', ['true', "
        "'x'])).start()\ntime.sleep(30)"
    )
    child.wait()
    events = witness.of(child.pid, Exec)
    assert [e.argv for e in events][-1] == ("true", "x")
    assert events[0].process == events[-1].process == witness.one(child.pid, Exit).process


def test_a_title_is_read_past_the_end_of_argv(witness: Witness) -> None:
    """What setproctitle does: overwrite argv and what follows, then prctl(PR_SET_NAME)."""
    title = "worker: task 0190-aaaa-bbbb " + "x" * 60
    code = f"""
import ctypes
libc = ctypes.CDLL(None)
fields = open('/proc/self/stat').read().rpartition(')')[2].split()
start = int(fields[45])  # arg_start
title = {title!r}.encode()
ctypes.memmove(start, title + bytes(1), len(title) + 1)
libc.prctl(15, title[:15], 0, 0, 0)
"""
    child = python(code, env={"PADDING": "y" * 200})
    child.wait()
    event = witness.of(child.pid, Title)[-1]
    assert event.title == title
    assert event.comm == title[:15]
    # before 6.14 the exit hook comes after the memory is gone:
    # only the rename tells the title there
    late = any(c.program == "on_exit_legacy" and c.attached for c in witness.source.coverage())
    assert witness.one(child.pid, Exit).title == ("" if late else title)
