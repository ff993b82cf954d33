"""`kwitness run` changes nothing: an interactive shell stops, continues and ends the command."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from collections.abc import Iterator

import pytest

from tests.live.bare import CLEAN, KWITNESS, ROOT

pytestmark = pytest.mark.live


class Terminal:
    """An interactive shell on a terminal of its own."""

    def __init__(self) -> None:
        self.pid, self._main = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execve(
                "/bin/bash",
                ["bash", "--norc", "--noprofile", "-i"],
                CLEAN | {"PS1": "$ ", "TERM": "dumb"},
            )
        self._seen = ""
        self.expect("$ ")
        self.type(f'run() {{ {" ".join(KWITNESS)} run --quiet -- "$@"; }}; stty -echo\n', "$ ")

    def expect(self, text: str) -> str:
        """Reads until `text` comes; gives what came before it."""
        deadline = time.monotonic() + 40
        while text not in self._seen:
            assert time.monotonic() < deadline, f"no {text!r} in {self._seen!r}"
            assert select.select([self._main], [], [], 30)[0], f"no {text!r} in {self._seen!r}"
            self._seen += os.read(self._main, 4096).decode()
        before, _, self._seen = self._seen.partition(text)
        return before

    def type(self, keys: str, *expected: str) -> str:
        os.write(self._main, keys.encode())
        return "".join(self.expect(text) for text in expected)

    def close(self) -> None:
        os.close(self._main)  # hangs up
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture
def terminal(live: None) -> Iterator[Terminal]:
    found = Terminal()
    yield found
    found.close()


WAITING = "run sh -c 'echo up $$; exec cat'\n"


def test_job_control(terminal: Terminal) -> None:
    terminal.type(WAITING, "up ")
    assert "Stopped" in terminal.type("\x1a", "$ ")
    assert terminal.type("echo status $?\n", "$ ").split()[-2:] == [
        "status",
        "148",
    ]  # 128 + SIGTSTP
    terminal.type("fg\n", '"$@"')
    terminal.type("hello\n", "hello")  # the command has its terminal back
    terminal.type("\x03", "$ ")
    assert terminal.type("echo status $?\n", "$ ").split()[-2:] == ["status", "130"]
    terminal.type("run sh -c 'echo up; exec sleep 60'\n", "up")
    terminal.type("\x1a", "Stopped", "$ ")
    terminal.type("bg\n", "$ ")
    assert "Running" in terminal.type("jobs\n", "$ ")
    terminal.type("kill %1; wait %1\n", "$ ")
    assert terminal.type("echo status $?\n", "$ ").split()[-2:] == ["status", "143"]


@pytest.mark.abuse
def test_a_loop_ends_with_ctrl_c(terminal: Terminal) -> None:
    """A shell goes on with its loop after a command that handled SIGINT, and ends it after one that
    died of it."""
    terminal.type(
        (
            f"for i in 1 2 3; do {' '.join(KWITNESS)} run --quiet -- sh -c 'echo up; "
            "exec sleep 60'; done\n"
        ),
        "up",
    )
    assert "up" not in terminal.type("\x03", "$ ")
    assert terminal.type("echo status $?\n", "$ ").split()[-2:] == ["status", "130"]


@pytest.mark.abuse
def test_a_command_that_somebody_stops_and_continues(terminal: Terminal) -> None:
    pid = int(terminal.type(WAITING, "up ", "\r\n"))
    os.kill(pid, signal.SIGSTOP)
    terminal.expect("Stopped")
    os.kill(pid, signal.SIGKILL)  # the command alone; nobody continues us but our observer
    while "Killed" not in terminal.type("jobs\n", "$ "):
        time.sleep(0.05)


@pytest.mark.abuse
def test_in_the_background_it_stops_when_it_reads_the_terminal(terminal: Terminal) -> None:
    terminal.type("run sh -c 'read line; echo got $line' &\n", "$ ")
    while "Stopped" not in terminal.type("jobs\n", "$ "):
        time.sleep(0.05)
    terminal.type("fg\n", "line'")
    terminal.type("word\n", "got word")
