"""Links on the way to a file or directory, and changes between two looks."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from receiver.errors import OutputError
from receiver.safe import directories
from receiver.safe.directories import open_directory
from receiver.safe.outputs import open_output, write_output
from tests.safe.files import OTHER, WRITERS, need_root


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
