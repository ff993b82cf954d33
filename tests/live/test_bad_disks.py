"""A disk that is full or read-only costs an output, never the observing, and never shows a
traceback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.small_disk import run_on_small_disk

ROOT = Path(__file__).parent.parent.parent
DEMO = "tests/scenarios/demo.kw"
_SCRIPT = """
import subprocess, sys
folder, how, *command = sys.argv[1:]
if how == "full":
    with open(folder + "/ballast", "wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(512))
        except OSError:
            pass
else:
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
sys.exit(subprocess.run([sys.executable, "-m", "receiver", *command], check=False).returncode)
"""


def on_bad_disk(folder: Path, how: str, *command: str) -> tuple[int, str]:
    done = run_on_small_disk(folder, [sys.executable, "-c", _SCRIPT, str(folder), how, *command])
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("how", ["full", "read-only"])
@pytest.mark.parametrize("option", ["--report", "--page", "--otlp-json"])
def test_what_replay_cannot_write_is_one_line(tmp_path: Path, how: str, option: str) -> None:
    status, said = on_bad_disk(tmp_path, how, "replay", DEMO, option, str(tmp_path / "out"))
    assert (
        status == 73
        and len(said.splitlines()) <= 3
        and ("No space left" in said or "Read-only" in said)
    ), said


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_replay_works_without_its_history(tmp_path: Path, how: str) -> None:
    status, said = on_bad_disk(tmp_path, how, "replay", DEMO, "--history", str(tmp_path / "h.db"))
    assert status == 0 and "cannot use history" in said, said


@pytest.mark.live
@pytest.mark.parametrize("how", ["full", "read-only"])
def test_run_works_without_its_history(live: None, tmp_path: Path, how: str) -> None:
    status, said = on_bad_disk(
        tmp_path,
        how,
        "run",
        "--quiet",
        "--history",
        str(tmp_path / "h.db"),
        "--",
        "sh",
        "-c",
        "exit 4",
    )
    assert status == 4 and "cannot use history" in said, said


@pytest.mark.live
@pytest.mark.parametrize("how", ["full", "read-only"])
@pytest.mark.parametrize("option", ["--report", "--facts", "--otlp-json"])
def test_what_run_cannot_write_is_no_traceback(
    live: None, tmp_path: Path, how: str, option: str
) -> None:
    on_bad_disk(tmp_path, how, "run", "--quiet", option, str(tmp_path / "out"), "--", "true")


@pytest.mark.live
@pytest.mark.parametrize("how", ["full", "read-only"])
def test_a_recording_that_cannot_be_written_ends_with_one_line(
    live: None, tmp_path: Path, how: str
) -> None:
    status, said = on_bad_disk(tmp_path, how, "record", "-o", str(tmp_path / "tape"))
    assert status == 73, said
    assert (
        "is incomplete: No space left" if how == "full" else "Read-only file system"
    ) in said.splitlines()[-1]
