"""Names that other processes choose cannot add fields to what /proc says of them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from receiver.attribution.declared import DECLARED
from receiver.kernel import proc

SEPARATORS = (
    "\v\f\x1c\x1d\x1e\x85\u2028\u2029\r"  # str.splitlines splits at these, the kernel does not
)


@pytest.mark.parametrize("separator", SEPARATORS)
def test_a_hostile_name_or_cgroup_adds_no_line(
    monkeypatch: pytest.MonkeyPatch, separator: str
) -> None:
    files = {
        "/proc/7/status": (
            f"Uid:\t5\t5\nGid:\t5\t5\nPPid:\t1\nName:\ta{separator}PPid:\t9\nVmSize:\t8 kB\n"
        ),
        "/proc/7/cgroup": f"9:memory:/a{separator}b\n0::/c{separator}8:memory:/d\n",
    }
    monkeypatch.setattr(proc, "_text", lambda path: files.get(path, ""))
    monkeypatch.setattr(proc, "_link", lambda path: "/bin/x")
    image = proc.ProcFs(lambda _: True).image(7)
    assert image is not None and image.parent_pid == 1
    assert image.memory_cgroup == f"/a{separator}b"


def test_the_fallback_reads_the_variables_of_the_users_rules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {
        "/proc/7/status": "Uid:\t5\t5\nGid:\t5\t5\nPPid:\t1\nName:\ta\nVmSize:\t8 kB\n",
        "/proc/7/environ": "LOADER_JOB_ID=7\0PATH=/bin\0",
    }
    monkeypatch.setattr(proc, "_text", lambda path: files.get(path, ""))
    monkeypatch.setattr(proc, "_link", lambda path: "/bin/x")
    capture = DECLARED.capture.with_binding(("LOADER_JOB_ID",))
    image = proc.ProcFs(capture.allow_list()).image(7)
    assert image is not None and image.environ == ("LOADER_JOB_ID=7",)


@pytest.mark.parametrize(
    ("entry", "passes"),
    [
        ("AIRFLOW_CTX_DAG_ID=x", True),
        ("AIRFLOW_CTX_MY_TOKEN=x", False),
        ("TRACEPARENT=x", True),
        ("LOADER_JOB_ID=x", True),  # named by a rule of the user
        ("PATH=x", False),
        ("X", False),
    ],
)
def test_the_allow_list_is_the_kernel_halfs(entry: str, passes: bool) -> None:
    capture = DECLARED.capture.with_binding(("LOADER_JOB_ID",))
    assert capture.allow_list()(entry) is passes


def test_only_a_pipe_or_socket_connects_processes(tmp_path: Path) -> None:
    """A file or /dev/null has the same inode for all that have it open."""
    with (tmp_path / "errors").open("wb") as errors:
        sleeper = subprocess.Popen(
            ["sleep", "60"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
    with sleeper:
        image = proc.ProcFs(lambda _: True).image(sleeper.pid)
        sleeper.kill()
        assert image is not None and sleeper.stdout is not None
        assert image.stdio == (0, os.stat(sleeper.stdout.fileno()).st_ino, 0)
