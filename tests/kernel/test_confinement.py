"""What a confined process cannot do, that each refusal is counted, and that what the service needs
still works."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver.calls import NUMBERS
from receiver.kernel import landlock, seccomp
from receiver.kernel.denials import Denied
from tests.conftest import missing
from tests.kernel.attacker import THREADS, TIMES

ROOT = Path(__file__).parent.parent.parent
NOBODY = pwd.getpwnam("nobody").pw_uid


@pytest.fixture
def places() -> Iterator[tuple[Path, Path]]:
    """A state directory, and one that the same user may use but the service has no business in.
    Not below pytest's own temporary directory, which every session closes to others."""
    if os.geteuid() != 0:
        missing("live", "needs root, to become nobody")
    if why := seccomp.missing():
        missing("live", why)
    base = Path(tempfile.mkdtemp(prefix="kwitness-", dir="/var/tmp"))
    base.chmod(0o755)
    state, outside = base / "state", base / "outside"
    for place in (state, outside):
        place.mkdir(mode=0o700)
    (outside / "theirs").write_text("secret")
    for place in (state, outside, outside / "theirs"):
        os.chown(place, NOBODY, NOBODY)
    yield state, outside
    shutil.rmtree(base)


class Attack:
    """A running attacker, and what it prints."""

    def __init__(self, places: tuple[Path, Path], victim: int, *options: str) -> None:
        command = [
            sys.executable,
            "-m",
            "tests.kernel.attacker",
            *map(str, places),
            str(victim),
            *options,
        ]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.lines = iter(self.process.stdout)

    def line(self) -> str:
        for line in self.lines:
            return line
        raise AssertionError(self.process.communicate()[1])

    def end(self) -> str:
        """The rest of its errors; it must have ended well."""
        _, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, errors
        return errors


def signal_threads(pid: int) -> None:
    """Sends signals to each thread: none may make one call count twice."""
    tgkill = NUMBERS["tgkill"]
    for _ in range(200):
        for task in Path(f"/proc/{pid}/task").iterdir():
            ctypes.CDLL(None).syscall(tgkill, pid, int(task.name), int(signal.SIGUSR1))


def rings_are_forbidden() -> bool:
    """Whether a command that ran in this process has forbidden io_uring for its life."""
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.syscall(NUMBERS["io_uring_setup"], 0, None) < 0
    return failed and ctypes.get_errno() == errno.ENOSYS


def attack(places: tuple[Path, Path]) -> dict[str, Any]:
    victim = subprocess.Popen(
        ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "sleep", "60"]
    )
    try:
        running = Attack(places, victim.pid)
        assert running.line() == "storm\n"
        signal_threads(running.process.pid)
        found: dict[str, Any] = json.loads(running.line())
        found["log"] = running.end()
        assert victim.poll() is None, "it could kill another process of its user"
        return found
    finally:
        victim.kill()
        victim.wait()


def test_a_confined_service_cannot_do_harm_and_every_refusal_is_counted(
    places: tuple[Path, Path],
) -> None:
    found = attack(places)
    assert found["notes"] == []
    forbidden = {"io_uring_setup"} if rings_are_forbidden() else set()
    assert {name for name, said in found["refused"].items() if said != "EPERM"} == forbidden
    assert {
        name: said for name, said in found["needed"].items() if said not in ("done", "EFAULT")
    } == {}
    expected = Counter(name.partition(".")[0] for name in found["refused"].keys() - forbidden)
    storm = Counter(found["storm"])
    assert storm.total() == THREADS * TIMES
    assert storm.keys() <= {"EPERM", "EINTR"}
    expected |= {"syncfs": storm["EPERM"], "syscall_500": 1, "other": 1}
    assert found["counts"] == dict(expected)
    assert (
        "confinement refused execve(2) to the service, which does not need it; refused so far: 1\n"
        in found["log"]
    )
    assert (found["newer"], found["x32"]) == ("ENOSYS", "EPERM")


def test_landlock_keeps_it_out_of_other_directories_of_its_user(places: tuple[Path, Path]) -> None:
    if not landlock.version():
        missing("landlock", "this kernel has no Landlock")
    found = attack(places)
    assert set(found["files"].values()) == {"EACCES"}, found["files"]
    assert (places[1] / "theirs").read_text() == "secret"


def test_when_the_counter_dies_refused_calls_fail_and_nothing_waits(
    places: tuple[Path, Path],
) -> None:
    running = Attack(places, os.getpid(), "--then-kill-counter")
    assert running.line() == "storm\n"
    running.line()
    os.kill(int(running.line()), signal.SIGKILL)
    assert json.loads(running.line()) == {"after": "ENOSYS", "alive": False}
    assert "are not counted" in running.end()


def test_counts_are_in_order() -> None:
    assert (
        sorted([Denied("service", "b", 1), Denied("helper", "z", 2), Denied("service", "a", 3)])[
            0
        ].who
        == "helper"
    )
