"""`kwitness run` changes nothing: a signal reaches the command once,
and a kill of us does not end it."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.bare import KWITNESS, ROOT

pytestmark = pytest.mark.live
HANDLER = r"""
import os, signal, sys, time
def note(number, _):
    os.write(1, b"%d\n" % number)
    if number == signal.SIGTERM:
        sys.exit(9)
for number in (1, 2, 3, 10, 12, 14, 15, 18, 20, 23, 28, 35):
    signal.signal(number, note)
print("ready", flush=True)
while True:
    time.sleep(60)
"""


def handler(**options: object) -> subprocess.Popen[str]:
    """A command that prints each signal that it gets and ends with status 9 on SIGTERM."""
    command = [*KWITNESS, "run", "--quiet", "--", sys.executable, "-I", "-S", "-c", HANDLER]
    start: Callable[..., subprocess.Popen[str]] = subprocess.Popen
    child = start(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, **options)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    return child


def test_every_signal_reaches_the_command_once(live: None) -> None:
    """Sent to us alone, then to the whole group, as `timeout` and a shell's `kill %1` send it."""
    child = handler(start_new_session=True)
    assert child.stdout
    sent, seen = [], []
    for send in (os.kill, os.killpg):
        for number in (1, 2, 3, 10, 12, 14, 18, 20, 23, 28, 35):
            send(child.pid, number)
            sent.append(number)
            seen.append(int(child.stdout.readline()))
    os.killpg(child.pid, signal.SIGTERM)
    rest, _ = child.communicate(timeout=30)
    assert child.returncode == 9
    assert (seen, rest) == (sent, "15\n")  # and none of the others a second time


@pytest.mark.abuse
def test_one_sender_that_signals_us_and_then_our_group_is_heard_once(live: None) -> None:
    """As timeout(1) does it. Alone, the command has both as one pending signal."""
    child = handler(start_new_session=True)
    assert child.stdout
    for number in (10, 12, 1, 2) * 3:
        os.kill(child.pid, number)
        while (
            int(
                re.findall(r"ShdPnd:\s*(\w+)", Path(f"/proc/{child.pid}/status").read_text())[0], 16
            )
            >> (number - 1)
            & 1
        ):
            continue  # it has read the first when the second comes
        os.killpg(child.pid, number)
        assert int(child.stdout.readline()) == number
    os.killpg(child.pid, signal.SIGTERM)
    rest, _ = child.communicate(timeout=30)
    assert (child.returncode, rest) == (9, "15\n")


@pytest.mark.abuse
@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM, signal.SIGHUP],
)
def test_a_signal_to_us_alone_ends_the_command_and_us(live: None, number: signal.Signals) -> None:
    child = subprocess.Popen(
        [*KWITNESS, "run", "--quiet", "--", "sh", "-c", "echo ready; exec sleep 60"],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdout and child.stdout.readline() == b"ready\n"
    child.send_signal(number)
    child.communicate(timeout=30)
    assert child.returncode == -number


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_command_outlives_an_observer_that_is_killed(live: None) -> None:
    child = handler(stderr=subprocess.PIPE)
    observer, command = children(child.pid)
    assert (
        Path(f"/proc/{command}/cmdline").read_bytes().startswith(sys.executable.encode() + b"\0-I")
    )
    os.kill(observer, signal.SIGKILL)
    assert child.stderr and "the command continues" in child.stderr.readline()
    child.terminate()
    out, _ = child.communicate(timeout=30)
    assert (child.returncode, out) == (9, "15\n")


@pytest.mark.abuse
def test_who_kills_us_ends_the_observation_and_not_the_command(live: None, tmp_path: Path) -> None:
    report = tmp_path / "facts.json"
    fifo = tmp_path / "go"
    os.mkfifo(fifo)
    child = subprocess.Popen(
        [
            *KWITNESS,
            "run",
            "--quiet",
            "--facts",
            str(report),
            "--",
            "sh",
            "-c",
            f"echo ready; read go < {fifo}; exit 6",
        ],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdout and child.stdout.readline() == b"ready\n"
    observer, _ = children(child.pid)
    handle = os.pidfd_open(observer)
    child.kill()
    child.wait()
    fifo.write_text("\n")
    assert select.select([handle], [], [], 30)[0]
    os.close(handle)
    child.stdout.close()
    assert json.loads(report.read_text())["processes"][0]["end"] == "exit 6"
