"""The status of a running command, on a terminal, and with the command's own output:
every byte of it arrives, in order."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.bare import CLEAN, KWITNESS, ROOT
from tests.live.screens import Open, Screen, observer_of, opened

pytestmark = pytest.mark.live

TITLE = re.compile(rb"\x1b\]2;[^\x07]*\x07|\x1b\[2[23];2t")
REPORT = re.compile(rb"\r\n(?:\x1b\[[0-9;]*m)?kwitness  ")


@pytest.fixture
def screens(live: None) -> Iterator[Open]:
    with opened() as found:
        yield found


def shown(screen: Screen) -> bytes:
    assert screen.end() == 0, screen.seen
    return screen.seen


def command_part(seen: bytes) -> bytes:
    """What the command wrote, without the titles and without the report that follows."""
    return REPORT.split(TITLE.sub(b"", seen))[0]


PROGRAMS = {
    "lines in bursts": "for i in 1 2 3; do seq 500; sleep 0.6; done",
    "half lines": "for i in 1 2 3 4 5; do printf 'part %s ... ' $i; sleep 0.4; done; echo done",
    "a progress bar": "for i in $(seq 20); do printf '\\r%3d%%' $i; sleep 0.1; done; echo",
    "colours and wide characters": (
        "for i in 1 2 3 4; do printf '\\033[31m数据 é\\033[0m\\n'; sleep 0.4; done"
    ),
    "stderr and stdout": "for i in 1 2 3; do echo out; echo err >&2; sleep 0.4; done",
    "nothing": "sleep 1.2",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_byte_of_the_command_arrives_in_order(screens: Open, program: str) -> None:
    argv = ("sh", "-c", PROGRAMS[program])
    bare, seen = shown(screens(*argv)), shown(screens(*KWITNESS, "run", "--", *argv))
    assert command_part(seen) == bare
    titles = TITLE.findall(seen)
    if program == "a progress bar":  # the terminal is never quiet
        assert titles == []
        return
    assert titles[0] == b"\x1b[22;2t" and titles[-2:] == [b"\x1b]2;\x07", b"\x1b[23;2t"]
    assert re.match(rb"\x1b\]2;kwitness \d:\d\d, \d+ process(es)?, command task sh, 0 f", titles[1])


@pytest.mark.parametrize("way", [("--no-status",), ("--quiet",), ()])
def test_without_a_status_nothing_is_added(screens: Open, way: tuple[str, ...]) -> None:
    seen = shown(
        screens(*KWITNESS, "run", *way, "--", "sleep", "0.8", kind="xterm" if way else "dumb")
    )
    assert not TITLE.search(seen)
    assert b"\x1b" not in seen or way == ("--no-status",)  # the report has colours


def test_a_setting_turns_it_off(screens: Open, tmp_path: Path) -> None:
    config = tmp_path / "kwitness.toml"
    config.write_text("[run]\nstatus = false\n")
    assert not TITLE.search(
        shown(screens(*KWITNESS, "run", "-c", str(config), "--", "sleep", "0.8"))
    )


def test_stderr_that_is_no_terminal_gets_nothing(live: None) -> None:
    main, side = pty.openpty()
    done = subprocess.run(
        [*KWITNESS, "run", "--", "sleep", "0.8"],
        stdin=side,
        stdout=side,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=CLEAN | {"TERM": "xterm"},
        check=True,
    )
    os.set_blocking(main, False)
    with pytest.raises(BlockingIOError):
        os.read(main, 1)
    assert b"\x1b" not in done.stderr
    os.close(main)
    os.close(side)


@pytest.mark.parametrize(
    ("program", "ready", "leave"),
    [
        (("less", "LICENSE"), rb"LICENSE", b"q"),
        (("vi", "-u", "NONE", "LICENSE"), rb"Apache", b":q!\r"),
    ],
)
def test_a_full_screen_program_has_the_terminal_for_itself(
    screens: Open, program: tuple[str, ...], ready: bytes, leave: bytes
) -> None:
    screen = screens(*KWITNESS, "run", "--", *program)
    screen.until(ready)
    begin = len(screen.seen)
    for _ in range(3):  # it is used for longer than the status waits
        screen.type(b"j")
        screen.rest(0.5)
    assert not TITLE.search(screen.seen[begin:])
    screen.type(leave)
    assert screen.end() == 0
    assert b"success" in screen.seen


def test_a_prompt_without_echo_is_left_alone(screens: Open) -> None:
    code = "stty -echo; printf 'Password: '; read x; stty echo; echo; echo \"got $x\""
    screen = screens(*KWITNESS, "run", "--", "sh", "-c", code)
    screen.until(b"Password: ")
    assert screen.rest(1) == b""
    screen.type(b"open sesame\n")
    assert screen.end() == 0
    assert b"got open sesame" in screen.seen


def test_a_new_size_reaches_the_command_once(screens: Open) -> None:
    code = (
        "trap 'echo size: $(stty size)' WINCH; echo ready; i=0; while [ $i -lt 15 ]; do sleep 0.1; "
        "i=$((i+1)); done"
    )
    screen = screens(*KWITNESS, "run", "--", "sh", "-c", code)
    screen.until(b"ready")
    screen.resize(77)
    assert screen.end() == 0
    assert re.findall(rb"\nsize: (.*?)\r", screen.seen) == [b"30 77"]
    report = REPORT.split(TITLE.sub(b"", screen.seen))[1].decode()
    lines = re.sub(r"\x1b\[[0-9;]*m", "", report).splitlines()
    assert len(lines) > 3 and max(map(len, lines)) <= 77


def test_a_job_in_the_background_writes_no_title(screens: Open) -> None:
    line = " ".join((*KWITNESS, "run", "--", "sleep", "1.2"))
    screen = screens("bash", "--norc", "--noprofile", "-i", kind="xterm")
    screen.type(b"PS1='ready> '; stty -echo\n")
    screen.until(rb"ready> $")
    screen.type(f"{line} & sleep 0\n".encode())
    screen.until(rb"kwitness  sleep: success")
    assert not TITLE.search(screen.seen)
    screen.type(b"exit\n")
    assert screen.end() == 0


def test_a_stopped_job_is_continued_with_its_status(screens: Open) -> None:
    line = " ".join((*KWITNESS, "run", "--", "sh", "-c", "'sleep 1; sleep 1; echo over'"))
    screen = screens("bash", "--norc", "--noprofile", "-i", kind="xterm")
    screen.type(b"PS1='ready> '\n")
    screen.until(rb"ready> $")
    screen.type(f"{line}\n".encode())
    screen.until(rb"\x1b\]2;kwitness")
    screen.type(b"\x1a")
    screen.until(rb"Stopped")
    before = screen.seen[: screen.seen.index(b"Stopped")]
    assert TITLE.findall(before)[-2:] == [b"\x1b]2;\x07", b"\x1b[23;2t"]
    stopped = len(screen.seen)
    assert not TITLE.search(screen.rest(1))
    screen.type(b"fg\n")
    screen.until(rb"kwitness  sh: success")
    assert TITLE.search(screen.seen[stopped:])
    screen.type(b"exit\n")
    assert screen.end() == 0


def test_the_launcher_restores_the_title_of_an_observer_that_was_killed(screens: Open) -> None:
    screen = screens(*KWITNESS, "run", "--", "sh", "-c", "read x; echo got $x")
    screen.until(rb"\x1b\]2;kwitness")
    os.kill(observer_of(screen.pid), signal.SIGKILL)
    screen.until(rb"the observer has exited")
    assert TITLE.findall(screen.seen)[-2:] == [b"\x1b]2;\x07", b"\x1b[23;2t"]
    screen.type(b"on\n")
    assert screen.end() == 0 and b"got on" in screen.seen
