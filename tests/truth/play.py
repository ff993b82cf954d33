"""One command under kwitness and the witnesses."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.truth.check import Verdicts, check
from tests.truth.forms import Scene
from tests.truth.polls import Polls
from tests.truth.strace import TRACED, read

# The command waits until strace is attached, and then becomes the one that is asked for.
_HOLD = 'read -r _ < "$0.go"; exec "$@"'
_SECONDS = 180


class Played(msgspec.Struct):
    report: dict[str, Any]
    verdicts: Verdicts
    status: int


class Witnesses:
    """strace and the polls of one run. `close` ends both."""

    def __init__(self, folder: Path) -> None:
        self._hold, self._trace = folder / "hold", folder / "trace"
        os.mkfifo(f"{self._hold}.go")
        self._polls = Polls()
        self._tracer: subprocess.Popen[bytes] | None = None
        self._root, self._began = 0, 0.0

    def held(self, command: Sequence[str]) -> list[str]:
        """The command, which waits for `attach`."""
        return ["bash", "-c", _HOLD, str(self._hold), *command]

    def attach(self, running: subprocess.Popen[Any]) -> None:
        """Waits for the held command below `running`, attaches, and lets it go on."""
        try:
            self._root = _held(str(self._hold), running)
        except RuntimeError:
            running.kill()  # it waits for what does not come
            raise
        self._polls.start(self._root)
        self._began = _start_of(self._root)
        self._tracer = _strace(self._root, self._trace)
        Path(f"{self._hold}.go").write_text("\n")

    def verdicts(self, report: dict[str, Any]) -> Verdicts:
        """After the end of the command."""
        assert self._tracer is not None
        try:
            self._tracer.wait(20)  # processes that outlive the command are still traced
        except subprocess.TimeoutExpired:
            self._tracer.terminate()
            self._tracer.wait(20)
        self._polls.stop()
        with self._trace.open(errors="replace") as lines:
            witness = read(lines, self._root, self._began)
        return check(Scene(witness, self._polls, self._root, report))

    def close(self) -> None:
        self._polls.stop()
        if self._tracer is not None:
            self._tracer.kill()
            self._tracer.wait()
            assert self._tracer.stderr is not None
            self._tracer.stderr.close()


def play(command: Sequence[str], *, cwd: Path | None = None) -> Played:
    with tempfile.TemporaryDirectory(prefix="kwitness-truth-") as name:
        folder = Path(name)
        witnesses, out = Witnesses(folder), folder / "report.json"
        observed = [sys.executable, "-m", "receiver", "run", "--report", str(out), "--"]
        with (
            (folder / "out").open("wb") as said,
            subprocess.Popen(
                [*observed, *witnesses.held(command)],
                cwd=cwd,
                env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
                stdout=said,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            ) as running,
        ):
            try:
                witnesses.attach(running)
                status = running.wait(_SECONDS)
                if not out.exists():
                    raise RuntimeError(f"no report: {(folder / 'out').read_text()[-2000:]}")
                report = json.loads(out.read_text())
                return Played(report, witnesses.verdicts(report), status)
            finally:
                witnesses.close()


def _held(name: str, running: subprocess.Popen[Any]) -> int:
    """The pid of the shell that waits. It writes no file: that would be a fact of the run."""
    start = b"\0".join((b"bash", b"-c", _HOLD.encode(), name.encode(), b""))
    for _ in range(6000):
        for pid in (running.pid, *_below(running.pid)):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(start):
                    if pid == running.pid:
                        raise RuntimeError("kwitness runs the command without observing it")
                    return pid
        if running.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError("the command did not start")


def _below(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            children = Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
            for child in map(int, children):
                yield child
                yield from _below(child)


def _start_of(pid: int) -> float:
    """As time.time() has it."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age


def _strace(pid: int, trace: Path) -> subprocess.Popen[bytes]:
    """Attached to the process before this returns."""
    command = ["strace", "-f", "-ttt", "-y", "--pidns-translation", "-s", "512"]
    command += ["-e", f"trace={TRACED}"]
    tracer = subprocess.Popen(
        [*command, "-o", str(trace), "-p", str(pid)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert tracer.stderr is not None
    said = tracer.stderr.readline()
    if b"attached" not in said:
        raise RuntimeError(f"strace: {said.decode()}")
    return tracer
