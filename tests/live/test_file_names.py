"""Names and paths of files as the kernel resolves them, and what was done to them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from receiver.events import FileChanged, FileOpened, FileOperation
from tests.live.conftest import Watched
from tests.live.files import opened

pytestmark = pytest.mark.live
HOSTILE = [
    b"\x1b]0;gone\x07",
    b"line\nbreak",
    b"\xff\xfe\x80",
    b"n" * 255,
    "ÅΩ日本\u202e".encode(),
    b" ",
    b"a;rm -rf",
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_arrive_as_they_are(watched: Watched, tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    pid = watched.run(
        "import os, sys; os.close(os.open(os.fsencode(sys.argv[1]), 65))", os.fsdecode(path)
    )
    event = next(e for e in watched.witness.of(pid, FileOpened) if e.inode == os.stat(path).st_ino)
    assert event.path == path.decode("utf-8", "replace")


def test_relative_paths_are_resolved_by_the_kernel(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "target").mkdir()
    (tmp_path / "a" / "link").symlink_to(tmp_path / "target")
    pid = watched.run(
        """
import os, sys
os.chdir(sys.argv[1] + "/a")
os.close(os.open("b/../b/one", 65))
os.close(os.open("link/two", 65))
d = os.open("b", os.O_RDONLY | os.O_DIRECTORY)
os.close(os.open("three", 65, dir_fd=d))
os.rename("three", "four", src_dir_fd=d, dst_dir_fd=d)
""",
        str(tmp_path),
    )
    for name in ("a/b/one", "target/two", "a/b/three"):
        opened(watched, pid, tmp_path / name)
    (change,) = watched.witness.of(pid, FileChanged)
    assert (change.directory, change.path) == (str(tmp_path / "a/b"), "three")
    assert (change.new_directory, change.new_path) == (str(tmp_path / "a/b"), "four")


def test_a_path_string_that_the_kernel_half_could_not_read(
    watched: Watched, tmp_path: Path
) -> None:
    """The string lies in a page that is not there when the call begins, and is overwritten when it
    has ended."""
    (tmp_path / "name").write_bytes(os.fsencode(tmp_path / "real") + b"\0")
    pid = watched.run(
        """
import ctypes, mmap, os, sys
f = os.open(sys.argv[1], os.O_RDWR)
page = mmap.mmap(f, 0)
libc = ctypes.CDLL(None, use_errno=True)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
fd = libc.syscall(257, -100, ctypes.c_void_p(address), os.O_CREAT | os.O_WRONLY, 0o600)
assert fd >= 0
""",
        str(tmp_path / "name"),
    )
    opened(watched, pid, tmp_path / "real")


def test_what_was_done_to_names(watched: Watched, tmp_path: Path) -> None:
    pid = watched.run(
        """
import os, sys
os.chdir(sys.argv[1])
open("a", "w").close()
os.rename("a", "b"); os.link("b", "c"); os.symlink("b", "d"); os.unlink("c")
os.mkdir("e"); os.rmdir("e"); os.truncate("b", 100); os.chmod("b", 0o640); os.chown("b", 0, 0)
f = os.open("b", os.O_WRONLY); os.ftruncate(f, 7); os.fchmod(f, 0o600)
""",
        str(tmp_path),
    )
    seen = [
        (e.operation, e.path, e.new_path, e.size_bytes)
        for e in watched.witness.of(pid, FileChanged)
    ]
    own = str(tmp_path / "b")
    assert seen == [
        (FileOperation.RENAME, "a", "b", 0),
        (FileOperation.LINK, "b", "c", 0),
        (FileOperation.SYMLINK, "b", "d", 0),
        (FileOperation.UNLINK, "c", "", 0),
        (FileOperation.MKDIR, "e", "", 0),
        (FileOperation.RMDIR, "e", "", 0),
        (FileOperation.TRUNCATE, "b", "", 100),
        (FileOperation.CHMOD, "b", "", 0o640),
        (FileOperation.CHOWN, "b", "", 0),
        (FileOperation.TRUNCATE, own, "", 7),
        (FileOperation.CHMOD, own, "", 0o600),
    ]
