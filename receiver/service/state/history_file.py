"""The file of a history before SQLite opens it: checks that it is a history, and moves a damaged
one aside.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from receiver.safe.directories import RefusedError, closing, is_open_to_others
from receiver.safe.files import open_own, open_parent
from receiver.service.state.mark import LOG_BYTES, PAGE_BYTES, is_history
from receiver.units import SECOND

_SIDE_FILES = ("-wal", "-shm", "-journal")  # SQLite makes them beside the database, by name
_POLL_SECONDS = 0.05


class HistoryFile:
    """A descriptor of the file, which stays open as long as SQLite's: closing it would release
    SQLite's locks (fcntl(2)).
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError, and RefusedError if another user could replace files beside it."""
        self.path = path
        self._folder, self._name = open_parent(str(path))
        self._fd = -1
        try:
            self._check_folder()
        except BaseException:
            self.close()
            raise

    def _check_folder(self) -> None:
        """SQLite opens its log by name and follows links, so no other user may be able to create
        one there.
        """
        folder, why = os.fstat(self._folder), ""
        if folder.st_uid not in (0, os.geteuid()):
            why = f"its directory belongs to another user (uid {folder.st_uid})"
        elif folder.st_mode & 0o002 and (is_open_to_others(folder) or not _links_are_protected()):
            why = "every user can write to its directory"
        elif os.geteuid() == 0 and folder.st_mode & 0o020 and folder.st_gid != 0:
            why = f"a group (gid {folder.st_gid}) can write to its directory"
        if why:
            raise RefusedError(f"{why}: keep it in a directory of your own")

    def check(self, deadline: float) -> None:
        """Opens it, or creates an empty one.

        A file without the mark is refused before SQLite opens it.

        Call it while SQLite does not have it open. Raises RefusedError and OSError. `deadline`:
        monotonic seconds. Until then it is checked again, because another process may be about to
        write its first page.
        """
        for suffix in _SIDE_FILES:
            self._read_beside(suffix, 0)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = open_own(self._name, self._folder, os.O_RDWR | os.O_CREAT)
        while not self._is_ours():
            if time.monotonic() >= deadline or os.fstat(self._fd).st_size > PAGE_BYTES:
                raise RefusedError("it is not a history of kwitness: set another file")
            time.sleep(_POLL_SECONDS)

    def _is_ours(self) -> bool:
        """Whether it has the mark, or is empty and thus new."""
        in_log, journal = self._read_beside("-wal", LOG_BYTES), self._read_beside("-journal", 1)
        page = os.pread(self._fd, PAGE_BYTES, 0)
        if not page:
            return not in_log and not journal
        return is_history(page, in_log)

    def _read_beside(self, suffix: str, count: int) -> bytes:
        try:
            fd = open_own(self._name + suffix, self._folder, os.O_RDONLY)
        except FileNotFoundError:
            return b""
        with closing(fd):
            return os.pread(fd, count, 0)

    def is_what_was_opened(self) -> bool:
        """Whether SQLite's own descriptor is of the file that was checked: SQLite opens it
        by name.
        """
        wanted, found = os.fstat(self._fd), 0
        for entry in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                found += os.path.samestat(wanted, os.fstat(int(entry.name)))
        return found >= 2

    def move_aside(self) -> str:
        """Renames it and its log, to a name that marks it as damaged.

        Raises OSError. Returns the name.
        """
        aside = f"{self._name}.damaged-{time.time_ns() // SECOND}"
        while self._exists(aside):
            aside += "+"
        for suffix in (
            "",
            *_SIDE_FILES,
        ):  # the log belongs to it and must not be applied to the new file
            with contextlib.suppress(FileNotFoundError):
                name = self._name + suffix
                os.rename(name, aside + suffix, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        return aside

    def _exists(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def close(self) -> None:
        for fd in (self._fd, self._folder):
            if fd >= 0:
                os.close(fd)
        self._fd = self._folder = -1


def _links_are_protected() -> bool:
    """Whether the kernel refuses to follow another user's link in a sticky directory (proc(5),
    fs.protected_symlinks).
    """
    try:
        return Path("/proc/sys/fs/protected_symlinks").read_text().strip() == "1"
    except OSError:
        return False
