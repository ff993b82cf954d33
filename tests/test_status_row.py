"""The status in the last row: an emulated terminal shows the command's output as one without that
row does."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from collections.abc import Callable, Iterator

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wcwidth import wcswidth

from receiver.cli.status import Status
from receiver.cli.status_places import LastRow, fitting
from receiver.cli.terminal import Undo

ROWS, COLUMNS = 12, 40


def cells(screen: pyte.Screen, rows: int) -> list[list[pyte.screens.Char]]:
    return [[screen.buffer[y][x] for x in range(screen.columns)] for y in range(rows)]


class Emulator:
    """A terminal with the status in its last row, and one that is a row shorter and has none."""

    def __init__(self, kind: str = "xterm", *, colour: bool = True) -> None:
        self._main, self.side = pty.openpty()
        os.set_blocking(self._main, False)
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self.bare = pyte.Screen(COLUMNS, ROWS - 1)
        self._streams = [pyte.ByteStream(s) for s in (self.screen, self.bare)]
        self.resize(ROWS)
        self.undo = Undo()
        self.text = "one"
        place = LastRow(colour=colour)
        self.status = Status.open(self.side, kind, place, lambda: self.text, self.undo)

    def resize(self, rows: int) -> None:
        fcntl.ioctl(self._main, termios.TIOCSWINSZ, struct.pack("4H", rows, COLUMNS, 0, 0))

    def arrived(self) -> bytes:
        found = b""
        while True:
            try:
                found += os.read(self._main, 65_536)
            except BlockingIOError:
                self._streams[0].feed(found)
                return found

    def command(self, output: bytes) -> None:
        """Less than the kernel holds for a terminal that nobody reads."""
        for begin in range(0, len(output), 1000):
            os.write(self.side, output[begin : begin + 1000])
            self._streams[1].feed(self.arrived())

    def pause(self) -> bytes:
        """Long enough for a new status: the first tick may see what was written before."""
        assert self.status is not None
        self.text += "+"
        self.status.tick()
        self.status.tick()
        return self.arrived()

    def same(self) -> None:
        here = ROWS - 1
        assert cells(self.screen, here) == cells(self.bare, here)
        place = [(s.cursor.x, s.cursor.y, s.cursor.attrs) for s in (self.screen, self.bare)]
        assert place[0] == place[1]

    def close(self) -> None:
        if self.status is not None:
            self.status.close()
        os.close(self._main)
        os.close(self.side)


@pytest.fixture
def terminal() -> Iterator[Emulator]:
    found = Emulator()
    yield found
    found.close()


def last_row(terminal: Emulator) -> str:
    """Cell by cell: the emulator cannot put a row into words that half a wide character is in."""
    row = terminal.screen.buffer[terminal.screen.lines - 1]
    return "".join(row[x].data for x in range(terminal.screen.columns)).rstrip()


def has_region(terminal: Emulator) -> bool:
    return terminal.screen.margins is not None


OUTPUTS = {
    "nothing": [b""],
    "one line": [b"hello\n"],
    "more lines than rows": [b"".join(b"%d\n" % n for n in range(50)), b"more\n"],
    "lines one by one": [b"%d\n" % n for n in range(30)],
    "the last row is reached before the first status": [
        b"\n" * (ROWS - 1) + b"bottom",
        b" and on\n",
    ],
    "long lines": [b"x" * 500 + b"\n", b"y" * 1010, b"z\n"],
    "half lines": [b"part 1 ... ", b"part 2 ... ", b"done\n", b"and no newline at the end"],
    "a progress bar": [
        b"\n" * 20,
        *(b"\r%3d%% %s" % (n, b"#" * (n // 4)) for n in range(0, 101, 10)),
        b"\n",
    ],
    "wide characters": ["数据é\n".encode() * 9, "字".encode() * 30, b"\n"],
    "half of a wide character": ["字\rw".encode()],
    "colours that stay on": [b"\x1b[31;1mred ", b"still red\n", b"\x1b[0mplain\n"],
    "a block that is redrawn": [
        b"\n" * 20 + b"a\nb\nc\n",
        b"\x1b[3A\x1b[Kd\n\x1b[Ke\n\x1b[Kf\n",
        b"g\n",
    ],
    "the screen is cleared": [b"a\nb\n", b"\x1b[H\x1b[2J", b"c\n"],
    "the region is removed": [b"\n" * 20 + b"a\n", b"\x1b7\x1b[r\x1b8", b"b\n"],
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_output_is_shown_as_without_the_row(terminal: Emulator, name: str) -> None:
    for part in OUTPUTS[name]:
        terminal.command(part)
        terminal.pause()
        terminal.same()
        assert last_row(terminal) == terminal.text


PARTS = st.lists(
    st.sampled_from(
        (b"\n", b"\r", b"\t", b"\x1b[2A", b"\x1b[K", b"\x1b[7m", b"\x1b[0m", b"\x1b[32m")
    )
    | st.integers(0, 3 * COLUMNS).map(lambda n: b"w" * n)
    | st.integers(0, COLUMNS).map(lambda n: "字".encode() * n)
    | st.integers(0, 2 * ROWS).map(lambda n: b"line\n" * n),
    max_size=6,
).map(b"".join)


@settings(deadline=None, max_examples=60)
@given(st.lists(PARTS, max_size=6))
def test_any_output_is_shown_as_without_the_row(parts: list[bytes]) -> None:
    """A pause directly behind the last column is left out: docs/run.md names this limit."""
    terminal = Emulator()
    try:
        terminal.pause()
        for part in parts:
            terminal.command(part)
            if terminal.bare.cursor.x < COLUMNS:
                terminal.pause()
                terminal.same()
    finally:
        terminal.close()


def test_the_end_clears_the_row_and_removes_the_region(terminal: Emulator) -> None:
    terminal.command(b"\n" * 20 + b"a\nb")
    terminal.pause()
    assert has_region(terminal)
    assert terminal.status is not None
    terminal.status.hold()
    terminal.arrived()
    assert last_row(terminal) == "" and not has_region(terminal)
    terminal.same()
    assert terminal.undo.kept() == b""
    assert terminal.pause() == b""  # the command is stopped
    terminal.status.release()
    assert terminal.pause() and last_row(terminal) == terminal.text
    terminal.same()


def test_a_program_in_raw_mode_gets_no_byte(terminal: Emulator) -> None:
    terminal.pause()
    before = termios.tcgetattr(terminal.side)
    raw = termios.tcgetattr(terminal.side)
    raw[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(terminal.side, termios.TCSANOW, raw)
    assert terminal.pause() == terminal.pause() == b""
    terminal.resize(ROWS + 3)
    assert terminal.pause() == b""
    termios.tcsetattr(terminal.side, termios.TCSANOW, before)
    assert b"\x1b[1;%dr" % (ROWS + 2) in terminal.pause()


def test_a_new_size_moves_the_region(terminal: Emulator) -> None:
    assert b"\x1b[1;%dr\x1b[%d;1H" % (ROWS - 1, ROWS) in terminal.pause()
    terminal.resize(30)
    assert b"\x1b[1;29r\x1b[30;1H" in terminal.pause()
    terminal.resize(4)  # no row to spare
    assert terminal.pause() == LastRow(colour=True).undo(os.terminal_size((COLUMNS, 30)))
    assert terminal.pause() == b""
    terminal.resize(5)
    assert b"\x1b[1;4r\x1b[5;1H" in terminal.pause()


@pytest.mark.parametrize("kind", ["", "dumb", "unknown", "emacs"])
def test_a_terminal_without_a_region_gets_nothing(kind: str) -> None:
    terminal = Emulator(kind)
    assert terminal.status is None
    terminal.close()


@pytest.mark.parametrize("colour", [True, False])
def test_the_row_is_reversed_where_colours_are_wanted(colour: bool) -> None:
    terminal = Emulator(colour=colour)
    terminal.command(b"\x1b[31mred")
    terminal.pause()
    cell = terminal.screen.buffer[ROWS - 1][0]
    assert (cell.reverse, cell.fg) == (colour, "default")
    terminal.close()


@pytest.mark.parametrize(
    "name",
    [
        "a\x1b[2J\x1b[5;5Hb\n\rc\x9b",
        "字" * 300,
        "é" * 300,
        "👨\u200d👩\u200d👧" * 90,
        "🇩🇪❤\ufe0f" * 99,
        "±" * 90,
    ],
)
def test_no_name_leaves_the_row(terminal: Emulator, name: str) -> None:
    terminal.command(b"above\n")
    terminal.text = name
    terminal.pause()
    terminal.same()
    shown = last_row(terminal)
    assert shown and shown.isprintable() and wcswidth(shown) < COLUMNS


@given(st.text(max_size=60), st.integers(1, 60))
def test_a_text_is_cut_to_the_width(text: str, columns: int) -> None:
    short = fitting(text, columns)
    assert text.startswith(short)
    assert wcswidth(short) <= columns
    if text.isascii():
        assert short == text[:columns]


def in_child(action: Callable[[], object]) -> None:
    pid = os.fork()
    if not pid:
        action()
        os._exit(0)
    os.waitpid(pid, 0)


def test_the_process_that_survives_restores_the_terminal_once(terminal: Emulator) -> None:
    terminal.command(b"text")
    in_child(terminal.pause)  # and it ends without a clean-up
    os.write(terminal.side, terminal.undo.kept())
    assert terminal.undo.kept().startswith(b"\x1b7\x1b[r")
    terminal.undo.write(terminal.side)
    assert terminal.undo.kept() == b"" and terminal.arrived()
    terminal.undo.write(terminal.side)
    assert terminal.arrived() == b""
