"""Commands that follow the host until they are stopped: `events` and `record`."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.live.commands import KWITNESS, ROOT, run

pytestmark = pytest.mark.live


def test_events_are_followed_until_interrupted(live: None) -> None:
    follower = subprocess.Popen(
        [*KWITNESS, "events", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert follower.stdout
    assert follower.stderr
    assert "following" in follower.stderr.readline()
    child = subprocess.Popen(["/bin/sh", "-c", "exit 5"])
    child.wait()
    mine = []
    for line in follower.stdout:
        event = json.loads(line)
        if event.get("process", {}).get("tgid") == child.pid:
            mine.append(event["kind"])
            if event["kind"] == "Exit":
                break
    follower.send_signal(signal.SIGINT)
    follower.communicate(timeout=20)
    assert follower.returncode == 0
    assert [kind for kind in mine if kind != "OpenFile"] == ["Fork", "Exec", "Exit"]


def test_record_without_a_command_and_its_dump(live: None, tmp_path: Path) -> None:
    tape = tmp_path / "tape.kw"
    recorder = subprocess.Popen(
        [*KWITNESS, "record", "-o", str(tape)], stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert recorder.stderr
    assert "recording" in recorder.stderr.readline()
    child = subprocess.Popen(["/bin/sh", "-c", "sleep 0.01; exit 5", "--token=sesame"])
    child.wait()
    recorder.terminate()
    recorder.communicate(timeout=20)
    assert recorder.returncode == 0
    assert b"sesame" not in tape.read_bytes()
    assert tape.stat().st_mode & 0o777 == 0o600
    lines = [
        line
        for line in run("replay", "--dump", str(tape)).stdout.splitlines()
        if f" {child.pid} " in line
    ]
    assert [line.split()[1] for line in lines][-1] == "exit"
    assert any("--token=[redacted:value]" in line for line in lines)
    assert "(sh) exit 5" in lines[-1]
