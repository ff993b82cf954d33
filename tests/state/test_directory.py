"""Which state directory is ours. What is not is refused with one line, and nothing in or
around it changes."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from receiver.errors import BusyError, ConfigError
from receiver.kernel.privileges import UserIdentity, account
from receiver.service.state import StateDirectory, directory
from tests.safe.files import OTHER, need_root
from tests.state.directories import refused, tree

NOBODY = pwd.getpwnam("nobody")


@pytest.mark.parametrize("user", [None, UserIdentity(NOBODY.pw_uid, NOBODY.pw_gid)])
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_foreign_directory_is_refused_and_not_touched(
    srv: Path, user: UserIdentity | None, mode: int
) -> None:
    need_root()
    srv.chmod(mode)
    before = tree(srv)
    refused(
        srv,
        "it belongs to root and the service runs as nobody"
        if user
        else "contains files that kwitness did not create",
        user=user,
    )
    assert tree(srv) == before


def test_one_that_belongs_to_the_services_user_but_is_not_ours_is_refused(srv: Path) -> None:
    need_root()
    os.chown(srv, NOBODY.pw_uid, NOBODY.pw_gid)
    srv.chmod(0o700)
    before = tree(srv)
    refused(
        srv,
        r"contains files that kwitness did not create \('key', 'link', 'sub', …\)",
        user=account("nobody"),
    )
    assert tree(srv) == before


@pytest.mark.parametrize("where", ["itself", "parent", "above a missing one", "loop", "proc"])
def test_no_link_is_followed(srv: Path, where: str) -> None:
    (srv.parent / "empty").mkdir(mode=0o700)
    (srv.parent / "to_empty").symlink_to("empty")
    (srv.parent / "to_srv").symlink_to("srv")
    (srv.parent / "loop").symlink_to("loop")
    path = {
        "itself": srv.parent / "to_empty",
        "parent": srv.parent / "to_srv/sub",
        "above a missing one": srv.parent / "to_srv/new/state",
        "loop": srv.parent / "loop/state",
        "proc": Path(f"/proc/self/root{srv.parent}/empty"),
    }[where]
    before = tree(srv.parent)
    refused(path, "a symbolic link is on the way to it: name the directory itself")
    assert tree(srv.parent) == before


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Path.touch, "Not a directory"),
        (os.mkfifo, "Not a directory"),
        (lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3)), "Not a directory"),
    ],
)
def test_what_is_no_directory_is_refused(
    tmp_path: Path, make: Callable[[Path], object], why: str
) -> None:
    need_root()
    make(tmp_path / "s")
    before = tree(tmp_path)
    refused(tmp_path / "s", why)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("path", ["a\0b", "x" * 300, "missing/../x"])
def test_a_path_that_names_nothing_is_one_line(tmp_path: Path, path: str) -> None:
    with pytest.raises((ConfigError, OSError)) as error:
        StateDirectory(f"{tmp_path}/{path}")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_the_link_that_systemd_makes_is_followed_and_no_other(tmp_path: Path) -> None:
    """With DynamicUser= STATE_DIRECTORY is /var/lib/NAME, a link of root to private/NAME."""
    need_root()
    (tmp_path / "private/kwitness").mkdir(parents=True, mode=0o700)
    (tmp_path / "kwitness").symlink_to("private/kwitness")
    refused(tmp_path / "kwitness", "symbolic link")
    StateDirectory(str(tmp_path / "kwitness"), follow_trusted_links=True).close()
    os.chown(tmp_path / "kwitness", OTHER, OTHER, follow_symlinks=False)
    with pytest.raises(ConfigError, match="symbolic link that another user can change"):
        StateDirectory(str(tmp_path / "kwitness"), follow_trusted_links=True)


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o1777])
def test_one_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s").chmod(mode)
    before = tree(tmp_path)
    refused(tmp_path / "s", "other users can read or write it: chmod 700")
    assert tree(tmp_path) == before


def test_a_service_that_stays_root_needs_a_path_of_roots(tmp_path: Path) -> None:
    need_root()
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", OTHER, OTHER)
    refused(tmp_path / "theirs/s", f"another user can change {tmp_path}/theirs")
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    StateDirectory(str(tmp_path / "sticky/s")).close()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    refused(tmp_path / "open/s", "another user can change")


@pytest.mark.parametrize(
    "make",
    [
        Path.mkdir,
        os.mkfifo,
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.write_text("mine"),
    ],
)
def test_a_marker_that_is_not_ours_is_refused(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    (tmp_path / "s").mkdir(mode=0o700)
    make(tmp_path / "s" / directory.MARKER)
    before = tree(tmp_path)
    refused(tmp_path / "s", "its file .kwitness-state is not one of kwitness")
    assert tree(tmp_path) == before


def test_a_second_service_is_refused_with_75_and_a_forked_child_does_not_hold_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "_LOCK_SECONDS", 0.0)
    first = StateDirectory(str(tmp_path / "s"))
    with pytest.raises(BusyError, match="in use by another kwitness service") as busy:
        StateDirectory(str(tmp_path / "s"))
    assert busy.value.status == 75 and "\n" not in str(busy.value)
    ends, lives = os.pipe()
    runs, seen = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(lives)
        os.write(seen, b"x")
        os.read(ends, 1)
        os._exit(0)
    os.close(ends)
    os.read(runs, 1)
    first.close()
    StateDirectory(str(tmp_path / "s")).close()
    for fd in (lives, runs, seen):
        os.close(fd)
    os.waitpid(child, 0)
