"""What is not printed and not recorded: secrets, terminal codes, and other processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from receiver.investigate.report import Report
from tests.live.commands import run

pytestmark = pytest.mark.live
SPILLS = """
import ctypes, os, subprocess, sys
folder, token = sys.argv[1], "ghp_" + "hunter2X" * 4
open(f"{folder}/token=hunter2file", "w").write("x")
open(f"{folder}/{token}", "w").write("x")
os.rename(f"{folder}/{token}", f"{folder}/password=hunter2new")
for name in ("api_key=hunter2gone", "a?sig=hunter2sig0"):
    try:
        open(f"{folder}/{name}")
    except OSError:
        pass
ctypes.CDLL(None).prctl(15, b"pwd=hunter2com", 0, 0, 0)
subprocess.run(["sh", "-c", "true; curl -su u:hunter2curl http://127.0.0.1:9/ || :"], check=False)
subprocess.run(["sh", "-c", "exit 3", "docker", "run", "--env=DB_PASSWORD=hunter2env"], check=False)
secrets = ["--password", "hunter2argv", '{"token": "hunter2json"}', "postgres://u:hunter2url@h/d"]
os.execv("/bin/sh", ["sh", "-c", "exit 4", *secrets])
"""


def test_secrets_and_terminal_codes_of_command_lines_are_not_printed(live: None) -> None:
    done = run(
        "run", "--", "sh", "-c", "sleep 0.06; exit 3", "--password=hunter2", "\x1b]0;title\x07"
    )
    assert "hunter2" not in done.stderr
    assert "\x1b" not in done.stderr
    assert "\x07" not in done.stderr


def test_a_recording_of_a_command_says_nothing_of_its_neighbours(
    live: None, tmp_path: Path
) -> None:
    """A process that lived before and one that starts beside it, with arguments,
    a title and a file of their own."""
    tape, report, secret_file = (
        tmp_path / "tape.kw",
        tmp_path / "report.json",
        tmp_path / "neighbours-file",
    )
    secret_file.touch()
    neighbour = subprocess.Popen(
        ["sh", "-c", f"while :; do cat {secret_file} neighbours-argument; sleep 0.02; done"],
        stderr=subprocess.DEVNULL,
    )
    try:
        done = run(
            "record",
            "-o",
            str(tape),
            "--report",
            str(report),
            "--",
            "sh",
            "-c",
            "PGPASSWORD='hunter2 x' sleep 0.3; exit 3",
            "own",
        )
    finally:
        neighbour.kill()
        neighbour.wait()
    assert done.returncode == 3
    raw = tape.read_bytes()
    assert b"neighbours-" not in raw and b"hunter2" not in raw and b"PGPASSWORD" in raw
    again = tmp_path / "again.json"
    assert run("replay", str(tape), "--report", str(again)).returncode == 0
    assert f"{tape} holds the command and its children" in done.stderr
    live_report, replayed_report = (
        msgspec.json.decode(path.read_bytes(), type=Report) for path in (report, again)
    )
    assert replayed_report == live_report


def recorded(files: dict[str, Path], place: Path) -> subprocess.CompletedProcess[str]:
    """Runs the script with all outputs to files, and with what is not printed by default."""
    config = place / "kwitness.toml"
    config.write_text("[core]\ninclude_argv = true\nexit_events = true\n")
    work = place / "work"
    work.mkdir()
    (work / "script.py").write_text(SPILLS)
    return run(
        "record",
        "-o",
        str(files["tape"]),
        "--report",
        str(files["report"]),
        "--facts",
        str(files["facts"]),
        "--otlp-json",
        str(files["otlp"]),
        "--timeline",
        "-c",
        str(config),
        "--",
        "env",
        "OTEL_RESOURCE_ATTRIBUTES=team=x,db.password=hunter2attribute",
        sys.executable,
        str(work / "script.py"),
        str(work),
    )


def printed(
    files: dict[str, Path], done: subprocess.CompletedProcess[str], page: Path
) -> dict[str, str]:
    """The text of each output by its name, and that of a replay of the recording."""
    outputs = {name: path.read_text("utf-8", "replace") for name, path in files.items()}
    outputs |= {
        "stdout": done.stdout,
        "stderr": done.stderr,
        "dump": run("replay", "--dump", str(files["tape"])).stdout,
    }
    outputs["replay"] = run("replay", str(files["tape"]), "--details", "--page", str(page)).stdout
    outputs["page"] = page.read_text()
    return outputs


def test_no_secret_comes_out_anywhere(live: None, tmp_path: Path) -> None:
    """In arguments, names of files that are written, missing or renamed, a title, a comm and an
    identifier: facts, report, OTLP, timeline, summary, recording, its dump and its page."""
    files = {name: tmp_path / f"out.{name}" for name in ("tape", "report", "facts", "otlp")}
    done = recorded(files, tmp_path)
    assert done.returncode == 4
    outputs = printed(files, done, tmp_path / "page.html")
    leaks = [
        (name, text[max(0, at - 60) : at + 40])
        for name, text in outputs.items()
        for at in [text.find("hunter2")]
        if at >= 0
    ]
    assert leaks == []
    for name in ("tape", "facts", "otlp", "dump", "stderr"):
        assert "[redacted" in outputs[name], name
