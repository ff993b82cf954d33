"""What may be written and what is refused: each refusal leaves the thing as it was."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from receiver.errors import OutputError, UsageError
from receiver.safe.directories import RefusedError
from receiver.safe.files import open_input
from receiver.safe.outputs import check_distinct
from tests.safe.files import STRANGE, WRITERS, identity, opened, written
from tests.small_disk import run_on_small_disk


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(("make", "why"), STRANGE)
def test_what_is_no_file_of_ours_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], object], why: str, write: Callable[[str], None]
) -> None:
    path = tmp_path / "x"
    make(path)
    before, precious = identity(path), (tmp_path / "precious")
    with pytest.raises(
        OutputError, match=f"^cannot write {path}: {why}.*; name a regular file of your own$"
    ) as refused:
        write(str(path))
    assert refused.value.status == 73
    assert identity(path) == before
    assert not precious.exists() or precious.read_bytes() == b"precious"
    assert {p.name for p in tmp_path.iterdir()} <= {"x", "precious"}


@pytest.mark.parametrize("write", [opened, written])
def test_a_new_file_is_private_and_an_old_one_of_ours_is_replaced(
    tmp_path: Path, write: Callable[[str], None]
) -> None:
    path = tmp_path / "x"
    old_mask = os.umask(0)
    try:
        write(str(path))
        assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)
        path.write_bytes(b"older and longer")
        path.chmod(0o644)
        write(str(path))
    finally:
        os.umask(old_mask)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("path", ["", "-", ".", "..", "folder/", "a\0b", "missing/x", "file/x"])
@pytest.mark.parametrize("write", WRITERS)
def test_a_name_that_names_no_file_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, write: Callable[[str], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write(path)
    assert {p.name for p in tmp_path.iterdir()} == {"folder", "file"}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("path", ["/dev/null", "/dev/stdout", "/proc/self/fd/1", "/dev/full"])
def test_devices_and_magic_links_are_refused(path: str, write: Callable[[str], None]) -> None:
    before = identity(Path("/dev/null"))
    with pytest.raises(OutputError, match="not a regular file"):
        write(path)
    assert identity(Path("/dev/null")) == before


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "fifo", "."])
def test_only_a_regular_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    with pytest.raises(RefusedError, match="not a regular file"):
        open_input(path)


_FILL = """
import sys
from receiver.errors import OutputError, UsageError
from receiver.safe.outputs import open_output, write_output
folder = sys.argv[1]
write_output(folder + "/why.json", b"before")
try:
    write_output(folder + "/why.json", bytes(1 << 20))
except OutputError as error:
    print(error)
print(open(folder + "/why.json").read())
import os
print(sorted(os.listdir(folder)))
"""


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    done = run_on_small_disk(tmp_path, [sys.executable, "-c", _FILL, str(tmp_path)])
    assert done.stdout.splitlines() == [
        f"cannot write {tmp_path}/why.json: No space left on device",
        "before",
        "['why.json']",
    ]
    assert not done.stderr


_READ_ONLY = """
import subprocess, sys
from receiver.errors import OutputError, UsageError
from receiver.safe.outputs import check_output, open_output, write_output
folder = sys.argv[1]
write_output(folder + "/old", b"before")
subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
for name in ("old", "new"):
    for write in (open_output, lambda path: write_output(path, b"x")):
        try:
            write(folder + "/" + name)
        except OutputError as error:
            print(error)
print(open(folder + "/old").read())
"""


def test_a_read_only_disk_is_one_line(tmp_path: Path) -> None:
    done = run_on_small_disk(tmp_path, [sys.executable, "-c", _READ_ONLY, str(tmp_path)])
    lines = done.stdout.splitlines()
    assert (
        len(lines) == 5
        and all(line.startswith("cannot write") for line in lines[:4])
        and lines[4] == "before"
    ), done
    assert not done.stderr


_MOUNTED = """
import subprocess, sys
from receiver.safe.outputs import write_output
folder = sys.argv[1]
for name in ("one", "source"):
    write_output(folder + "/" + name, b"before")
subprocess.run(["mount", "--bind", folder + "/source", folder + "/one"], check=True)
write_output(folder + "/one", b"after")
print(open(folder + "/one").read(), open(folder + "/source").read())
"""


def test_a_single_mounted_file_is_written_in_place(tmp_path: Path) -> None:
    done = run_on_small_disk(tmp_path, [sys.executable, "-c", _MOUNTED, str(tmp_path)])
    assert (done.stdout, done.stderr) == ("after after\n", "")


@pytest.mark.parametrize("there", [True, False])
def test_two_options_for_one_file_are_found_by_the_file_and_not_by_its_name(
    tmp_path: Path, there: bool
) -> None:
    if there:
        (tmp_path / "a").write_text("x")
    (tmp_path / "link").symlink_to("a")
    for other in ("a", "./a", "link", f"../{tmp_path.name}/a"):
        with pytest.raises(UsageError, match="--one and --two are the same file"):
            check_distinct(
                {"--one": str(tmp_path / "a"), "--none": None, "--two": str(tmp_path / other)}
            )
    check_distinct(
        {"--one": str(tmp_path / "a"), "--two": str(tmp_path / "b"), "--three": "", "--four": None}
    )
