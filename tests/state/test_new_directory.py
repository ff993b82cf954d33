"""A state directory that is made, by root, by its user, or not at all."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.errors import ConfigError
from receiver.kernel.privileges import account
from receiver.service.state import StateDirectory, directory, read_token
from receiver.service.state.token import make_token
from tests.safe.files import need_root
from tests.small_disk import run_on_small_disk

NOBODY = pwd.getpwnam("nobody")


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
