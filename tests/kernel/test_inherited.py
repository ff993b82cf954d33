"""How a command is found and executed, in a forked child: execvp(3), with what a shell
does on top."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from pathlib import Path

import pytest

from receiver.kernel.inherited import Inherited, execute, exit_status


def outcome(words: list[bytes], path: str | None = None) -> int:
    """The errno that keeps it from running, or minus its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            if path is not None:
                os.environ["PATH"] = path
            execute(words)
        except OSError as error:
            os._exit(100 + (error.errno or 0))
        finally:
            os._exit(99)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status - 100 if status > 100 else -status


def program(path: Path, text: str, mode: int = 0o755) -> None:
    path.write_text(text)
    path.chmod(mode)


def test_the_path_is_searched_as_execvp_does(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    program(first / "job", "exit 3\n", 0o644)  # found, and not executable: the search goes on
    search = f"{tmp_path}/missing:{first}:{second}"
    assert outcome([b"job"], search) == errno.EACCES
    program(second / "job", "exit 4\n")
    assert outcome([b"job"], search) == -4
    assert outcome([b"other"], search) == errno.ENOENT
    assert outcome([b"job"], "") == errno.ENOENT
    (tmp_path / "loop").symlink_to("loop")
    search = f"{tmp_path}/loop:{tmp_path}/{'x' * 300}:{second}"  # a shell goes on searching
    assert outcome([b"job"], search) == -4
    assert outcome([b"x" * 300], search) == errno.ENOENT


@pytest.mark.parametrize(
    ("words", "error", "status"),
    [
        ([b""], errno.ENOENT, 127),
        ([b"/bin/true", b"x" * (128 << 10)], errno.E2BIG, 126),  # MAX_ARG_STRLEN
        ([b"/etc/passwd/x"], errno.ENOTDIR, 126),
        ([b"/tmp/" + b"x" * 256], errno.ENAMETOOLONG, 126),
        ([b"/tmp"], errno.EACCES, 126),
    ],
)
def test_what_cannot_run_says_why(words: list[bytes], error: int, status: int) -> None:
    assert outcome(words) == error
    assert exit_status(OSError(error, "")) == status


def test_what_python_changed_before_us_is_taken_from_a_parent_that_hands_it_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Our parent in these tests is a shell that sleeps."""
    for trap, expected in (
        ("PIPE", {signal.SIGPIPE}),
        ("PIPE XFSZ", {signal.SIGPIPE, signal.SIGXFSZ}),
        ("INT", set()),
    ):
        shell = subprocess.Popen(
            ["sh", "-c", f"trap '' {trap}; echo; read line"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert shell.stdout and shell.stdout.read(1) == b"\n"
        monkeypatch.setattr(os, "getppid", lambda pid=shell.pid: pid)
        assert Inherited().ignored & {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGUSR1} == expected
        shell.communicate(b"\n")


def test_a_parent_that_resets_them_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """This very process: Python ignores both, and resets them for its children."""
    monkeypatch.setattr(os, "getppid", os.getpid)
    assert not Inherited().ignored & {signal.SIGPIPE, signal.SIGXFSZ}
