"""What may be written and what is refused: each refusal leaves the thing as it was."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from receiver.errors import OutputError, UsageError
from receiver.safe import directories
from receiver.safe.directories import RefusedError, open_directory
from receiver.safe.files import open_input
from receiver.safe.outputs import check_distinct, check_output, open_output, write_output
from tests.conftest import missing
from tests.small_disk import run_on_small_disk

OTHER = 12345  # a user who is neither root nor us


def need_root() -> None:
    if os.geteuid() != 0:
        missing("live", "making files of other users needs root")


def identity(path: Path) -> tuple[int, int, int, int, int, int]:
    found = path.lstat()
    return found.st_mode, found.st_uid, found.st_gid, found.st_ino, found.st_rdev, found.st_nlink


def opened(path: str) -> None:
    with open_output(path) as output:
        output.write(b"new")


def written(path: str) -> None:
    write_output(path, b"new")


WRITERS = [opened, written, check_output]


def make_device(path: Path) -> None:
    need_root()
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def make_foreign(path: Path) -> None:
    need_root()
    path.write_bytes(b"theirs")
    os.chown(path, OTHER, OTHER)


def make_hard_link(path: Path) -> None:
    (path.parent / "precious").write_bytes(b"precious")
    os.link(path.parent / "precious", path)


def make_link(path: Path) -> None:
    (path.parent / "precious").write_bytes(b"precious")
    path.symlink_to("precious")


def make_setuid(path: Path) -> None:
    path.write_bytes(b"#!/bin/sh\n")
    path.chmod(0o4755)


STRANGE: list[tuple[Callable[[Path], object], str]] = [
    (make_device, "it is a device"),
    (os.mkfifo, "it is a FIFO"),
    (make_socket, "it is a socket"),
    (Path.mkdir, "it is a directory"),
    (make_link, "it is a symbolic link"),
    (make_hard_link, "it has 2 names"),
    (make_foreign, "it belongs to another user"),
    (make_setuid, "it is a set-user-ID"),
]


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


@pytest.fixture(params=["openat2", "walk"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With openat2(2), and as on a kernel before 5.6 or under a filter that refuses it."""
    if request.param == "walk":

        def refused(path: str, flags: int) -> int:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

        monkeypatch.setattr(directories, "open_without_links", refused)
    return str(request.param)


def test_no_link_is_followed_on_the_way_to_a_strict_directory(tmp_path: Path, kernel: str) -> None:
    (tmp_path / "real/below").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "loop").symlink_to("loop")
    os.close(open_directory(str(tmp_path / "real/below")))
    os.close(open_directory(str(tmp_path / "real/below/../below/./")))
    for path in ("link", "link/below", "loop", "/proc/self/cwd", "/proc/self/root/etc"):
        with pytest.raises(OSError, match="symbolic links") as refused:
            open_directory(str(tmp_path / path))
        assert refused.value.errno == errno.ELOOP
    with pytest.raises(ValueError, match="null"):
        open_directory(f"{tmp_path}/real\0/below")
    for path, number in (("real/none", errno.ENOENT), ("real/none/more", errno.ENOENT)):
        with pytest.raises(OSError, match="No such") as absent:
            open_directory(str(tmp_path / path))
        assert absent.value.errno == number


def test_a_link_on_the_way_is_followed_when_nobody_else_can_change_it(
    tmp_path: Path, kernel: str
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "relative").symlink_to("real")
    (tmp_path / "absolute").symlink_to(tmp_path / "relative")
    (tmp_path / "loop").symlink_to("loop")
    for number, name in enumerate(("relative", "absolute")):
        write_output(str(tmp_path / name / str(number)), b"x")
    assert {p.name for p in (tmp_path / "real").iterdir()} == {"0", "1"}
    with pytest.raises(OutputError, match="Too many levels"):
        write_output(str(tmp_path / "loop/x"), b"x")


@pytest.mark.parametrize(("folder_mode", "owner"), [(0o1777, OTHER), (0o777, 0), (0o755, OTHER)])
def test_a_link_that_another_user_can_change_is_not_followed(
    tmp_path: Path, kernel: str, folder_mode: int, owner: int
) -> None:
    """In a sticky folder by who made it, in an open folder by who may rename;
    also where fs.protected_symlinks is off."""
    need_root()
    (tmp_path / "target").mkdir()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(folder_mode)
    link = tmp_path / "open/link"
    link.symlink_to(tmp_path / "target")
    os.chown(link, owner, owner, follow_symlinks=False)
    for write in WRITERS:
        with pytest.raises(
            OutputError, match=r"symbolic link that another user can change|Permission denied"
        ):
            write(str(link / "x"))
    assert not list((tmp_path / "target").iterdir())


def test_what_changes_between_two_looks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check by name and the open descriptor must be of one file."""
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "other").write_bytes(b"other")
    opened_first = os.open

    def swapped(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "mine":
            (tmp_path / "other").rename(tmp_path / "mine")
        return opened_first(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(OutputError, match="replaced while"):
        open_output(str(tmp_path / "mine"))
    assert (tmp_path / "mine").read_bytes() == b"other"


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
