"""No traceback for any input: usage, surroundings, output that nobody takes, Ctrl-C at any moment,
and faults of ours."""

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
from typing import Any

import pytest

from receiver.cli import guard
from receiver.cli.main import main
from receiver.errors import DataError

GOLDEN = str(Path(__file__).parent / "scenarios" / "demo.kw")
ENTRY = "import sys; from receiver.__main__ import main; sys.exit(main())"
ROOT = Path(__file__).parent.parent


def run(*arguments: str, **other: Any) -> subprocess.CompletedProcess[str]:
    """The command as it is installed."""
    values: dict[str, Any] = {
        "capture_output": True,
        "text": True,
        "timeout": 60,
        "stdin": subprocess.DEVNULL,
    }
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **other.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-c", ENTRY, *arguments], env=environment, check=False, **(values | other)
    )


def one_line(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    assert done.returncode == status, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("kwitness: ")
    assert done.stderr[:-1].isprintable()
    for word in words:
        assert word in done.stderr


USAGE = [
    ["--nonsense"],
    ["nonsense"],
    ["replay"],
    ["replay", "a", "b"],
    ["record"],
    ["serve", "--mode", "x"],
    ["check", "--explain"],
    ["incidents", "burn"],
    ["run", "--source", "x", "--", "true"],
    ["replay", "--report"],
    ["nonsense\x1b[2J\n"],
]


@pytest.mark.parametrize(
    "arguments", USAGE, ids=lambda a: " ".join(a).encode("unicode_escape").decode()
)
def test_a_wrong_command_line_is_one_line_and_64(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("kwitness: ")
    assert err[:-1].isprintable()


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["replay", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0


ENVIRONMENTS = [
    {"TERM": "\x1b[2J"},
    {"LANG": "xx_YY.nonsense", "LC_ALL": "xx_YY.nonsense"},
    {"COLUMNS": "-1"},
    {"COLUMNS": "x"},
    {"COLUMNS": "99999999999999999999"},
    {"COLUMNS": "0", "LINES": "0"},
    {"OTEL_LOG_LEVEL": "loud"},
    {"NO_COLOR": "\n"},
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"TZ": "nonsense"},
]


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
def test_odd_surroundings_change_nothing(environment: dict[str, str]) -> None:
    done = run("replay", GOLDEN, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nightly_export: failure" in done.stdout


def test_no_home_no_working_directory_no_standard_streams(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for closed in ("0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"):
        gone = f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone; unset HOME"
        script = (
            f"{gone}; exec {sys.executable} -c '{ENTRY}' replay --report {file} {GOLDEN} {closed}"
        )
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, check=False, env=environment
        )
        assert (done.returncode, done.stderr) == (0, ""), closed
        assert file.read_text().startswith("{")
        assert (
            "nightly_export: failure" not in file.read_text()
        )  # nothing that was printed has come into it


@pytest.mark.parametrize(
    "arguments",
    [["replay", GOLDEN], ["replay", "--json", GOLDEN], ["replay", "--dump", GOLDEN], ["--help"]],
)
def test_a_reader_that_leaves_is_no_failure(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = run(*arguments, capture_output=False, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_output_that_nobody_can_take_is_one_line_and_74() -> None:
    with open("/dev/full", "w") as full:
        one_line(
            run(
                "replay",
                "--dump",
                GOLDEN,
                capture_output=False,
                stdout=full,
                stderr=subprocess.PIPE,
            ),
            74,
            "No space left",
        )
        done = run(
            "replay", "--nonsense", capture_output=False, stdout=subprocess.DEVNULL, stderr=full
        )
    assert done.returncode == 64


BAD_ENVIRONMENT = [
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:b"},
    {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20hunter2%0A"},
    {"OTEL_EXPORTER_OTLP_PROTOCOL": "\x1b[2J"},
    {"OTEL_TRACES_EXPORTER": "x\ny"},
    {"OTEL_SERVICE_NAME": os.fsdecode(b"\xff")},
]


@pytest.mark.parametrize("environment", BAD_ENVIRONMENT, ids=ascii)
def test_variables_that_cannot_be_meant_are_one_line_and_78(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["replay", GOLDEN]) == 78
    err = capsys.readouterr().err
    assert err.startswith("kwitness: OTEL_")
    assert err[:-1].isprintable()
    assert "hunter2" not in err


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
        assert err.startswith("kwitness: internal error: ArithmeticError at test_guard.py:")
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
