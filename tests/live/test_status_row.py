"""`--status-line`: the command's output on an emulated terminal, the signals, and the ends."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pyte
import pytest

from tests.live.bare import KWITNESS
from tests.live.screens import COLUMNS, ROWS, Open, Screen, observer_of, opened

pytestmark = pytest.mark.live

LINE = (*KWITNESS, "run", "--status-line", "--")
SHOWN = re.compile(rb"\x1b\[0;7mkwitness (?:\d+:)+\d\d, \d+ process")


@pytest.fixture
def screens(live: None) -> Iterator[Open]:
    with opened() as found:
        yield found


def emulated(seen: bytes, rows: int = ROWS) -> pyte.Screen:
    screen = pyte.Screen(COLUMNS, rows)
    pyte.ByteStream(screen).feed(seen)
    return screen


def cells(screen: pyte.Screen, rows: int) -> list[list[pyte.screens.Char]]:
    return [[screen.buffer[y][x] for x in range(COLUMNS)] for y in range(rows)]


# each waits for a line at its end, so that the status is shown behind all of its output
OUTPUTS = {
    "lines in bursts": "seq 50; sleep 0.6; seq 100",
    "long lines": "printf '%0500d\\n' 1 2 3; sleep 0.6; printf '%02000d\\n' 4 5 6",
    "half lines": "for i in 1 2 3; do printf 'part %s ... ' $i; sleep 0.6; done",
    "a progress bar": "seq 40; for i in $(seq 8); do printf '\\r%3d%%' $i; sleep 0.3; done",
    "colours and wide characters": (
        "for i in $(seq 40); do printf '\\033[31m数据 é\\n'; done; sleep 0.6; printf 字"
    ),
    "a block that is redrawn": (
        "seq 40; for i in 1 2 3; do printf 'a %s\\nb %s\\n' $i $i; sleep 0.4; "
        "printf '\\033[2A'; done"
    ),
    "nothing": "true",
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_output_is_shown_as_without_kwitness(screens: Open, name: str) -> None:
    argv = ("sh", "-c", f"{OUTPUTS[name]}; printf WAIT; read x; exit 3")
    bare, seen = screens(*argv, rows=ROWS - 1), screens(*LINE, *argv)
    bare.until(b"WAIT$")
    seen.wait(lambda: bool(SHOWN.search(seen.seen.partition(b"WAIT")[2])))
    expected, found = emulated(bare.seen, ROWS - 1), emulated(seen.seen)
    assert found.display[:-1] == expected.display
    assert cells(found, ROWS - 1) == cells(expected, ROWS - 1)
    assert (found.cursor.x, found.cursor.y) == (expected.cursor.x, expected.cursor.y)
    assert re.match(
        r"kwitness 0:\d\d, \d process(es)?, command task sh, 0 findings +$", found.display[-1]
    )
    for screen in (bare, seen):
        screen.type(b"\n")
        assert screen.end() == 3
    assert gone(seen)
    assert b"0:0" not in seen.seen.rpartition(b"kwitness  sh")[2]


def gone(screen: Screen) -> bool:
    """Whether the region is removed, and the row is free."""
    return (
        emulated(screen.seen).margins is None and b"\x1b[r\x1b[30;1H\x1b[0m\x1b[2K" in screen.seen
    )


def shows(screens: Open, code: str) -> Screen:
    screen = screens(*LINE, "sh", "-c", code)
    screen.until(SHOWN.pattern)
    return screen


def test_ctrl_c_clears_the_row(screens: Open) -> None:
    screen = shows(screens, "read x")
    screen.type(b"\x03")
    assert screen.end() == -signal.SIGINT
    assert gone(screen)


def test_a_signal_to_the_launcher_clears_the_row(screens: Open) -> None:
    screen = shows(screens, "read x")
    os.kill(screen.pid, signal.SIGTERM)
    assert screen.end() == -signal.SIGTERM
    assert gone(screen)


def test_the_launcher_clears_the_row_of_an_observer_that_was_killed(screens: Open) -> None:
    screen = shows(screens, "read x; echo got $x")
    os.kill(observer_of(screen.pid), signal.SIGKILL)
    screen.until(rb"the observer has exited")
    assert gone(screen)
    screen.type(b"on\n")
    assert screen.end() == 0
    assert emulated(screen.seen).display[-1].strip() == "" and b"got on" in screen.seen


def test_the_row_is_left_to_a_raw_program_when_the_observer_was_killed(screens: Open) -> None:
    screen = shows(
        screens, "read x; stty -icanon -echo; echo raw; read x; stty icanon echo; exit 4"
    )
    screen.type(b"\n")
    screen.until(rb"raw\r\n")
    os.kill(observer_of(screen.pid), signal.SIGKILL)
    screen.until(rb"the observer has exited")
    assert not gone(screen)
    screen.type(b"\n")
    assert screen.end() == 4
    assert gone(screen)


def test_a_raw_program_gets_no_byte(screens: Open) -> None:
    screen = shows(screens, "read x; stty raw -echo; printf raw; head -c1; stty sane; read x")
    screen.type(b"\n")
    screen.until(rb"raw$")
    assert screen.rest(1.2) == b""
    begin = len(screen.seen)
    screen.type(b"q")
    screen.wait(lambda: bool(SHOWN.search(screen.seen, begin)))
    screen.type(b"\n")
    assert screen.end() == 0
    assert gone(screen)


def test_a_new_size_moves_the_row(screens: Open) -> None:
    screen = shows(screens, "read x")
    screen.resize(100, 20)
    screen.until(rb"\x1b\[1;19r\x1b\[20;1H")
    screen.type(b"\n")
    assert screen.end() == 0
    assert b"\x1b[r\x1b[20;1H\x1b[0m\x1b[2K" in screen.seen


def test_a_stopped_job_gives_the_row_back(screens: Open) -> None:
    screen = screens("bash", "--norc", "--noprofile", "-i")
    screen.type(b"PS1='ready> '\n")
    screen.until(rb"ready> $")
    screen.type(" ".join((*LINE, "sh", "-c", "'read x; read x'")).encode() + b"\n")
    screen.until(SHOWN.pattern)
    screen.type(b"\x1a")
    screen.until(rb"Stopped")
    before = screen.seen[: screen.seen.index(b"Stopped")]
    assert emulated(before).margins is None and emulated(before).display[-1].strip() == ""
    assert not SHOWN.search(screen.rest(1))
    begin = len(screen.seen)
    screen.type(b"fg\n")
    screen.wait(lambda: bool(SHOWN.search(screen.seen, begin)))
    screen.type(b"\n\n")
    screen.until(rb"kwitness  sh: success")
    assert gone(screen)
    screen.type(b"exit\n")
    assert screen.end() == 0
