"""Which state directory is ours. What is not is refused with one line, and nothing in or
around it changes."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from receiver.errors import BusyError, ConfigError
from receiver.kernel.privileges import UserIdentity, account
from receiver.service.state import HistoryStore, StateDirectory, directory, read_token
from receiver.service.state.token import make_token
from tests.safe.files import OTHER, need_root
from tests.small_disk import run_on_small_disk
from tests.state.test_history_store import SCHEMA_0_1, old_store, sqlite_of_somebody_else

NOBODY = pwd.getpwnam("nobody")


def tree(folder: Path) -> dict[str, tuple[int, int, int, int, int, bytes]]:
    """Everything about everything below: nothing of it may change."""
    out = {}
    for path in (folder, *folder.rglob("*")):
        found = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        out[str(path)] = (
            found.st_mode,
            found.st_uid,
            found.st_gid,
            found.st_ino,
            found.st_mtime_ns,
            content,
        )
    return out


def refused(path: Path, why: str, *, user: UserIdentity | None = None) -> None:
    with pytest.raises(ConfigError, match=why) as error:
        StateDirectory(str(path), user=user)
    assert error.value.status == 78 and "\n" not in str(error.value)
    assert str(error.value).startswith(f"state.directory {path}: ")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A directory that other users can enter; pytest's own is closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="kwitness-state-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def srv(open_folder: Path) -> Path:
    """A directory of root as there is one on any host: a key, a setuid tool, a folder,
    a link out of it."""
    folder = open_folder / "srv"
    (folder / "sub").mkdir(parents=True)
    (folder / "key").write_text("secret")
    (folder / "key").chmod(0o600)
    shutil.copy("/bin/true", folder / "tool")
    (folder / "tool").chmod(0o4755)
    (folder / "link").symlink_to("/etc/passwd")
    return folder


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


def check_made(path: Path, uid: int) -> None:
    found = path.stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (uid, 0o700)
    assert stat.S_IMODE((path / directory.MARKER).stat().st_mode) == 0o600
    assert (path / directory.MARKER).stat().st_uid == uid


def test_it_is_made_and_used_again(tmp_path: Path) -> None:
    path = tmp_path / "new/state"
    made = StateDirectory(str(path))
    check_made(path, os.geteuid())
    token = make_token(made.fd)
    made.close()
    again = StateDirectory(str(path))
    assert make_token(again.fd) == token == read_token(path / "admin.token") and len(token) > 30
    again.close()
    (path / "admin.token").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_token(path / "admin.token")


def test_root_makes_it_for_the_user_that_it_becomes_and_remains_root(open_folder: Path) -> None:
    need_root()
    made = StateDirectory(str(open_folder / "new/state"), user=account("nobody"))
    made.close()
    assert (os.geteuid(), os.getegid(), os.getuid()) == (0, 0, 0)
    check_made(open_folder / "new/state", NOBODY.pw_uid)
    assert (open_folder / "new").stat().st_uid == 0  # what is above it stays root's
    again = StateDirectory(str(open_folder / "new/state"), user=account("nobody"))
    again.close()


def test_the_user_makes_it_where_he_may(open_folder: Path) -> None:
    """An emptyDir of Kubernetes: root's and open to all, and no CAP_CHOWN to give anything away."""
    need_root()
    (open_folder / "volume").mkdir()
    (open_folder / "volume").chmod(0o777)
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from receiver.service.state import StateDirectory\n"
        "from receiver.kernel.privileges import account\n"
        "StateDirectory(sys.argv[1], user=account('nobody')).close(); "
        "StateDirectory(sys.argv[1], user=account('nobody')).close()"
    )
    few = "-all,+setuid,+setgid"
    done = subprocess.run(
        [
            "setpriv",
            f"--bounding-set={few}",
            f"--inh-caps={few}",
            sys.executable,
            "-c",
            code,
            str(open_folder / "volume/state"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    check_made(open_folder / "volume/state", NOBODY.pw_uid)
    (open_folder / "closed").mkdir(mode=0o755)
    done = subprocess.run(
        [
            "setpriv",
            f"--bounding-set={few}",
            f"--inh-caps={few}",
            sys.executable,
            "-c",
            code,
            str(open_folder / "closed/state"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        "create it for the user nobody: root may not change owners here (CAP_CHOWN)" in done.stderr
    )
    assert not list((open_folder / "closed").iterdir())


def test_an_empty_one_of_the_user_is_adopted(open_folder: Path) -> None:
    """As systemd makes it with StateDirectory=, and as the image has it."""
    need_root()
    path = open_folder / "state"
    path.mkdir(mode=0o700)
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    StateDirectory(str(path), user=account("nobody")).close()
    check_made(path, NOBODY.pw_uid)


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


def of_0_1(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    old_store(folder / "history.db")
    (folder / "history.db").chmod(0o644)
    (folder / "incidents").mkdir(mode=0o700)
    (folder / "admin.token").write_text("t" * 43 + "\n")
    (folder / "admin.token").chmod(0o600)
    (folder / "history.db.unreadable-1700000000").write_text("x")


def test_one_of_version_0_1_is_adopted(tmp_path: Path) -> None:
    of_0_1(tmp_path / "s")
    adopted = StateDirectory(str(tmp_path / "s"))
    assert make_token(adopted.fd) == "t" * 43
    adopted.close()
    assert (tmp_path / "s" / directory.MARKER).exists()
    store = HistoryStore(tmp_path / "s/history.db")
    assert store.load().tasks
    store.close()


def more(folder: Path) -> None:
    (folder / "thesis.doc").touch()


def open_token(folder: Path) -> None:
    (folder / "admin.token").chmod(0o644)


def other_database(folder: Path) -> None:
    (folder / "history.db").unlink()
    sqlite_of_somebody_else(folder / "history.db")


def linked_database(folder: Path) -> None:
    (folder / "history.db").rename(folder.parent / "elsewhere")
    (folder / "history.db").symlink_to(folder.parent / "elsewhere")


def no_token(folder: Path) -> None:
    (folder / "admin.token").unlink()


def reports_are_a_file(folder: Path) -> None:
    (folder / "incidents").rmdir()
    (folder / "incidents").touch()


@pytest.mark.parametrize(
    "change", [more, open_token, other_database, linked_database, no_token, reports_are_a_file]
)
def test_what_only_looks_like_one_of_version_0_1_is_not(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    of_0_1(tmp_path / "s")
    change(tmp_path / "s")
    before = tree(tmp_path)
    refused(tmp_path / "s", "contains files that kwitness did not create")
    assert tree(tmp_path) == before


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


_ON_A_BAD_DISK = """
import subprocess, sys
sys.path.insert(0, ".")
from receiver.errors import ConfigError
from receiver.service.state import StateDirectory
folder, how = sys.argv[1:]
if "used" in how:
    StateDirectory(folder + "/s").close()
if "empty" in how:
    import os
    os.mkdir(folder + "/s", 0o700)
if "read-only" in how:
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
try:
    StateDirectory(folder + "/s").close()
except ConfigError as error:
    print(error)
else:
    print("used")
"""


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("read-only", "it cannot be made: Read-only"),
        ("read-only empty", "mounted read-only"),
        ("read-only used", "used"),
    ],
)
def test_on_a_read_only_disk(tmp_path: Path, how: str, said: str) -> None:
    done = run_on_small_disk(tmp_path, [sys.executable, "-c", _ON_A_BAD_DISK, str(tmp_path), how])
    assert said in done.stdout and not done.stderr, done


def test_schema_0_1_is_what_the_mark_looks_for() -> None:
    from receiver.service.state.mark import RUNS_TABLE, SIGHTINGS_TABLE

    assert f"{RUNS_TABLE};" in SCHEMA_0_1 and f"{SIGHTINGS_TABLE};" in SCHEMA_0_1
