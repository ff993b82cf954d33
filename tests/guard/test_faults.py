"""Interrupts, and faults of ours: one line, and the traceback in a file."""

from __future__ import annotations

import errno
import logging
import os
import random
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from receiver.cli import guard
from receiver.errors import DataError
from tests.guard.commands import ENTRY, GOLDEN, ROOT, one_line, run


def test_ctrl_c_at_any_moment_is_no_traceback() -> None:
    """From the first line of ours on. Before it there is only the interpreter, which is asked to
    tell when it is there."""
    dice = random.Random(1)
    started = "import os; os.write(1, b'x'); " + ENTRY
    for _ in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", started, "replay", "--json", GOLDEN],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            preexec_fn=_interruptible,
        )
        assert process.stdout is not None
        process.stdout.read(1)
        time.sleep(dice.uniform(0.005, 0.4))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGINT, 130)
        assert err == b""


def _interruptible() -> None:
    """Under a runner in the background SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "import signal; from receiver.cli import guard; guard.prepare(); "
                "print(signal.getsignal(2).name)"
            ),
        ],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert done.stdout == "SIG_IGN\n"


def _fails(error: BaseException) -> int:
    raise error


def test_a_fault_of_ours_is_one_line_with_its_traceback_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("KWITNESS_DEBUG", raising=False)
    for number in range(3):
        fault = ArithmeticError(f"a\nb {number}")
        assert guard.guarded(lambda fault=fault: _fails(fault)) == 70  # type: ignore[misc]
        err = capsys.readouterr().err
        assert err.startswith(
            f"kwitness: internal error: ArithmeticError at {Path(__file__).name}:"
        )
        assert err[:-1].isprintable()
    (kept,) = tmp_path.iterdir()  # a service that is started again and again keeps the last one
    assert str(kept) in err
    assert "ArithmeticError: a\nb 2" in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    monkeypatch.setenv("KWITNESS_DEBUG", "1")
    assert guard.guarded(lambda: _fails(ArithmeticError("x"))) == 70
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "hard link", "set-user-ID"])
def test_a_file_that_is_not_ours_takes_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path, target = tmp_path / f"kwitness-{os.geteuid()}.traceback", tmp_path / "target"
    target.write_text("mine")
    match kind:
        case "link":
            path.symlink_to(target)
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "set-user-ID":
            path.write_text("mine")
            path.chmod(0o4700)
        case _:
            path.hardlink_to(target)
    before = path.lstat()
    assert guard.keep("a traceback") == ""
    assert target.read_text() == "mine"
    assert path.lstat() == before


def test_what_else_ends_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert guard.guarded(lambda: _fails(DataError("x\x1b[2J"))) == 65
    assert guard.guarded(lambda: _fails(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "kwitness: x\\x1b[2J\n"


def test_what_the_system_refuses_is_no_fault_of_ours() -> None:
    script = (
        "import sys; from receiver.cli import guard\n"
        "def f(): raise OSError(28, 'No space left on device', '/x')\n"
    )
    script += "sys.exit(guard.guarded(f))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )
    one_line(done, guard.EX_IOERR, "/x: No space left on device; free some space")
    assert errno.ENOSPC == 28


def test_a_logged_exception_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KWITNESS_DEBUG", raising=False)
    try:
        raise ValueError("a\nb")
    except ValueError:
        record = logging.makeLogRecord(
            {"msg": "x\x1b[2J", "levelname": "ERROR", "exc_info": sys.exc_info()}
        )
    assert (
        guard.OneLine(guard.FORMAT).format(record)
        == "kwitness: ERROR: x\\x1b[2J: ValueError: a\\x0ab"
    )
    monkeypatch.setenv("KWITNESS_DEBUG", "1")
    assert "Traceback" in guard.OneLine(guard.FORMAT).format(record)


@pytest.mark.parametrize("option", ["--otlp-json", "--report", "--page", "--history"])
def test_a_replay_does_not_write_into_its_own_recording(tmp_path: Path, option: str) -> None:
    copy = tmp_path / "recording"
    copy.write_bytes(Path(GOLDEN).read_bytes())
    done = run("replay", str(copy), option, str(tmp_path / "." / "recording"))
    one_line(done, 64, f"the recording and {option} are the same file")
    assert copy.read_bytes() == Path(GOLDEN).read_bytes()
