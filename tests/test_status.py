"""The status in the terminal's title: when it is written, and that it changes nothing else.

The other end of the terminal is read here, as a terminal emulator reads it.
"""

from __future__ import annotations

import os
import pty
import termios
from collections.abc import Callable, Iterator

import pytest

from receiver.cli.status import Status
from receiver.cli.status_places import TITLE_LENGTH, TerminalTitle
from receiver.cli.terminal import Undo
from receiver.kernel.inotify import Writes
from receiver.render.live import status
from tests.builders import Story

OUT = os.O_WRONLY | os.O_CREAT


class Terminal:
    """`side` is what the command has; `shown` reads what arrived."""

    def __init__(self) -> None:
        self.main, self.side = pty.openpty()
        os.set_blocking(self.main, False)

    def shown(self) -> bytes:
        found = b""
        while True:
            try:
                found += os.read(self.main, 65_536)
            except BlockingIOError:
                return found

    def close(self) -> None:
        os.close(self.main)
        os.close(self.side)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    found = Terminal()
    yield found
    found.close()


def opened(terminal: Terminal, text: Callable[[], str], kind: str = "xterm") -> Status | None:
    return Status.open(terminal.side, kind, TerminalTitle(), text, Undo())


@pytest.fixture
def texts() -> list[str]:
    return ["one"]


@pytest.fixture
def line(terminal: Terminal, texts: list[str]) -> Iterator[Status]:
    found = opened(terminal, lambda: texts[-1], "xterm-256color")
    assert found is not None
    yield found
    found.close()


def title(text: str) -> bytes:
    return b"\x1b]2;" + text.encode() + b"\x07"


KEEP, CLEAR_AND_RESTORE = b"\x1b[22;2t", b"\x1b]2;\x07\x1b[23;2t"


def test_the_title_is_kept_set_and_restored(
    terminal: Terminal, line: Status, texts: list[str]
) -> None:
    line.tick()
    assert terminal.shown() == KEEP + title("one")
    texts.append("two")
    line.tick()  # it sees its own write, which is no reason to write again at once
    assert terminal.shown() == b""
    line.tick()
    assert terminal.shown() == title("two")
    for _ in range(3):  # nothing new
        line.tick()
    assert terminal.shown() == b""


def test_the_end_restores_what_was_there(terminal: Terminal) -> None:
    for text, expected in (("", b""), ("x", CLEAR_AND_RESTORE)):
        line = opened(terminal, lambda text=text: text)  # type: ignore[misc]
        assert line is not None
        line.tick()
        terminal.shown()
        line.close()
        assert terminal.shown() == expected


def test_nothing_is_written_until_the_terminal_is_quiet(terminal: Terminal, line: Status) -> None:
    for part in (b"a line\r", b"half a line", b"\x1b[3", b"1m", b"\xe5\xad"):
        os.write(terminal.side, part)
        line.tick()
        assert terminal.shown() == part
    line.tick()
    assert terminal.shown() == KEEP + title("one")


def change(terminal: Terminal, index: int, flag: int) -> None:
    state = termios.tcgetattr(terminal.side)
    state[index] &= ~flag
    termios.tcsetattr(terminal.side, termios.TCSANOW, state)


@pytest.mark.parametrize(
    ("index", "flag"), [(3, termios.ICANON), (3, termios.ECHO), (1, termios.OPOST)]
)
def test_nothing_is_written_to_a_terminal_that_a_program_has_changed(
    terminal: Terminal, line: Status, index: int, flag: int
) -> None:
    """A full-screen program clears all three; a prompt for a password clears ECHO."""
    before = termios.tcgetattr(terminal.side)
    change(terminal, index, flag)
    line.tick()
    line.tick()
    assert terminal.shown() == b""
    termios.tcsetattr(terminal.side, termios.TCSANOW, before)
    line.tick()
    assert terminal.shown() == KEEP + title("one")


def test_nothing_is_written_while_another_job_has_the_terminal(
    terminal: Terminal, line: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.cli.terminal.os.tcgetpgrp", lambda _: os.getpgrp() + 1)
    line.tick()
    line.tick()
    assert terminal.shown() == b""


def test_no_name_can_end_the_title_early(
    terminal: Terminal, line: Status, texts: list[str]
) -> None:
    texts.append("a\x07b\x1b]0;c\x9c\n" + "字" * 500)
    line.tick()
    found = terminal.shown().removeprefix(KEEP)
    assert found.startswith(b"\x1b]2;a\\x07b\\x1b]0;c\\x9c\\x0a") and found.endswith(b"\x07")
    inside = found[4:-1].decode()
    assert inside.isprintable() and len(inside) == TITLE_LENGTH


@pytest.mark.parametrize("kind", ["", "dumb", "linux", "vt100", "unknown", "emacs"])
def test_a_terminal_without_a_title_gets_nothing(terminal: Terminal, kind: str) -> None:
    assert opened(terminal, str, kind) is None
    assert terminal.shown() == b""


def test_what_is_no_terminal_gets_nothing() -> None:
    reader, writer = os.pipe()
    assert Status.open(writer, "xterm", TerminalTitle(), str, Undo()) is None
    os.close(reader)
    os.close(writer)


def test_a_terminal_that_takes_nothing_delays_nobody(terminal: Terminal, line: Status) -> None:
    """Its reader has stopped (Ctrl-S): the write would block, and is made up for later."""
    termios.tcflow(terminal.side, termios.TCOOFF)
    line.tick()
    assert terminal.shown() == b""
    termios.tcflow(terminal.side, termios.TCOON)
    line.tick()
    assert terminal.shown() == KEEP + title("one")


def test_the_flags_of_the_commands_own_terminal_do_not_change(
    terminal: Terminal, line: Status
) -> None:
    line.tick()
    assert os.get_blocking(terminal.side)


def test_writes_are_seen_and_echoes_are_not(terminal: Terminal) -> None:
    writes = Writes(terminal.side)
    assert not writes.happened()
    os.write(terminal.main, b"typed\n")
    assert not writes.happened()
    for _ in range(10_000):
        os.write(terminal.side, b"x")
        terminal.shown()
    assert writes.happened()
    assert not writes.happened()
    writes.close()


def test_the_text_of_the_status() -> None:
    story = Story()
    root = story.command("bash", "job.sh", name="nightly")
    execution = story.core.watched(root.tgid)
    assert execution is not None

    def now(seconds: int) -> str:
        return status(execution, story.core.executions.open.values(), seconds)

    assert now(5) == "kwitness 0:05, 1 process, command task nightly, 0 findings"
    task = story.task("load", parent=root)
    assert now(3723).startswith("kwitness 1:02:03, ") and "airflow task load of " in now(1)
    story.opens(task, "/data/x.csv", OUT, inode=7)
    story.open_file(task, "/data/x.csv", inode=7)
    story.exit(task, signal=9)
    assert now(9).endswith(f", {len(execution.findings)} findings")
    assert len(execution.findings) > 1
