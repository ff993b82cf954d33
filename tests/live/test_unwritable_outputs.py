"""An output of `kwitness run` that cannot be written, or that would overwrite another one."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.bare import CLEAN, KWITNESS, ROOT, some

pytestmark = pytest.mark.live


@pytest.fixture
def full_disk(live: None, tmp_path: Path) -> Path:
    """/dev/full would not do: it is no regular file."""
    place = tmp_path / "full"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)],
        check=False,
        capture_output=True,
    ).returncode:
        pytest.skip("cannot mount a tmpfs")
    (place / "ballast").write_bytes(b"\0" * (48 << 10))
    return place


@pytest.fixture(autouse=True)
def unmounted(tmp_path: Path) -> Iterator[None]:
    yield
    if (tmp_path / "full").is_mount():
        subprocess.run(["umount", str(tmp_path / "full")], check=True)


@pytest.mark.parametrize(
    "option",
    some(["--report", "--facts", "--history", "--otlp-json", "record"], "--report", "record"),
)
@pytest.mark.parametrize("place", some(["full", "missing"], "full"))
def test_an_output_that_cannot_be_written_is_a_warning(
    full_disk: Path, tmp_path: Path, option: str, place: str
) -> None:
    folder = full_disk if place == "full" else tmp_path / "no" / "such"
    if place == "full":
        with (full_disk / "rest").open("wb", buffering=0) as rest, contextlib.suppress(OSError):
            while rest.write(b"\0" * 4096):
                pass
    target = str(folder / "file")
    command = ["sh", "-c", "exit 5"]
    chosen = ["record", "-o", target] if option == "record" else ["run", option, target]
    plain = subprocess.run(
        [*KWITNESS, *chosen, "--quiet", "--", *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=CLEAN,
        check=False,
    )
    assert plain.returncode == 5, plain.stderr
    said = [line for line in plain.stderr.splitlines() if line.startswith("kwitness: ")]
    assert said and any(target in line or option == "--history" for line in said), plain.stderr
    assert len(said) == len(plain.stderr.splitlines()) <= 2, plain.stderr
    strict = subprocess.run(
        [*KWITNESS, *chosen, "--quiet", "--strict-output", "--", *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=CLEAN,
        check=False,
    )
    assert strict.returncode == 74, strict.stderr


@pytest.mark.parametrize(
    "options", [("--report", "--facts"), ("--history", "--report"), ("--otlp-json", "--history")]
)
def test_two_outputs_in_one_file_are_refused_before_the_start(
    live: None, tmp_path: Path, options: tuple[str, str]
) -> None:
    (tmp_path / "a").write_text("before")
    one, other = options
    command = [
        *KWITNESS,
        "run",
        one,
        str(tmp_path / "a"),
        other,
        str(tmp_path / "./a"),
        "--",
        "touch",
        str(tmp_path / "ran"),
    ]
    done = subprocess.run(command, cwd=ROOT, env=CLEAN, check=False, capture_output=True, text=True)
    assert done.returncode == 64 and done.stderr.count("\n") == 1, done.stderr
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "before"}
