"""The state directory: the checks whether this service may use it, and the lock that excludes a
second service.

The service may use it if it made the directory. Otherwise the directory must belong to the
service's user, no other user may read or write it, and it must be empty or contain the marker. The
service never changes another directory, and never changes the owner or mode of a directory that it
did not just create. No symbolic link is followed on the way to it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
import weakref
from pathlib import Path

from receiver.errors import BusyError, ConfigError
from receiver.kernel.privileges import UserIdentity
from receiver.safe.directories import RefusedError, closing, is_open_to_others
from receiver.safe.files import open_own, write_all
from receiver.service.state.life import last_pid
from receiver.service.state.making import Maker, name_of
from receiver.service.state.mark import LOG_BYTES, PAGE_BYTES, is_history

MARKER = ".kwitness-state"
_MARK = (
    b"This is the state directory of a kwitness service. "
    b"Its files are changed by that service only.\n"
)
_LOCK_SECONDS = 2.0  # a service that was killed may still be exiting
_POLL_SECONDS = 0.05
_OF_0_1 = {
    "admin.token",
    "history.db",
    "history.db-wal",
    "history.db-shm",
    "history.db-journal",
    "incidents",
}
_UNREADABLE = "history.db.unreadable-"  # version 0.1's name for a history that it moved aside
_KEPT_OPEN: weakref.WeakSet[StateDirectory] = weakref.WeakSet()


class StateDirectory:
    """Open and locked from construction until `close`. `fd` is the `dir_fd` of all files in it."""

    def __init__(
        self, path: str, *, user: UserIdentity | None = None, follow_trusted_links: bool = False
    ) -> None:
        """`user`: the user that a service of root becomes; None if it does not change its user.

        `follow_trusted_links`: for a path from the service manager (systemd's /var/lib/NAME is a
        link with DynamicUser=). Raises ConfigError for a directory that it must not use, BusyError
        when another service uses it, and OSError when the disk is full or read-only.
        """
        self.path = Path(path)
        changes = user is not None and os.geteuid() == 0
        runs_as = user if user is not None and changes else UserIdentity(os.geteuid(), os.getegid())
        self.uid = runs_as.uid
        self._maker = Maker(runs_as, follow_trusted_links=follow_trusted_links)
        self.fd = self._lock = -1
        try:
            self._open()
        except RefusedError as error:
            self.close()
            raise ConfigError(f"state.directory {path}: {error.strerror}") from None
        except BaseException:
            self.close()
            raise
        _KEPT_OPEN.add(self)

    def _open(self) -> None:
        try:
            with self._maker.as_user():
                found = self._maker.find(str(self.path))
        except FileNotFoundError:
            found = self._maker.make(str(self.path))
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise RefusedError(
                    "a symbolic link is on the way to it: name the directory itself"
                ) from None
            if error.errno in (errno.ENOTDIR, errno.EACCES, errno.ENAMETOOLONG):
                raise RefusedError(f"{error.strerror}, for the user {name_of(self.uid)}") from None
            raise
        except ValueError as error:
            raise RefusedError(str(error)) from None
        with closing(found), self._maker.as_user():
            self._check(os.fstat(found))
            self.fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=found)
            self._claim()
            self._take_lock()

    def _check(self, status: os.stat_result) -> None:
        """Raises RefusedError unless it belongs to the service's user."""
        if status.st_uid != self.uid:
            raise RefusedError(
                f"it belongs to {name_of(status.st_uid)} and the service runs as "
                f"{name_of(self.uid)}: "
                "name a directory that is not there yet, or an empty one of that user"
            )
        if self.uid == 0:  # other users could replace the directory, and root would write there
            for above in self.path.absolute().parents:
                found = above.stat()
                if found.st_uid != 0 or is_open_to_others(found):
                    raise RefusedError(
                        f"another user can change {above}: a service that stays root needs a path "
                        "that only root can change"
                    )

    def _claim(self) -> None:
        """Raises RefusedError unless it is empty, marked, or a state directory of version 0.1."""
        names = set(os.listdir(self.fd))  # noqa: PTH208 (of a descriptor)
        marked = MARKER in names
        if not marked and names and not self._is_of_0_1(names):
            shown = ", ".join(repr(name) for name in sorted(names)[:3]) + (
                ", …" if len(names) > 3 else ""
            )
            raise RefusedError(
                f"it contains files that kwitness did not create ({shown}): set a directory that "
                "is empty or does not exist"
            )
        if os.fstat(self.fd).st_mode & 0o077:
            raise RefusedError(f"other users can read or write it: chmod 700 {self.path}")
        if marked:
            try:
                self._lock = open_own(MARKER, self.fd, os.O_RDONLY)
            except RefusedError as error:
                raise RefusedError(
                    f"its file {MARKER} is not one of kwitness: {error.strerror}"
                ) from None
            if os.pread(self._lock, len(_MARK), 0) not in (_MARK, b""):
                raise RefusedError(f"its file {MARKER} is not one of kwitness")
            return
        try:
            self._lock = os.open(
                MARKER, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self.fd
            )
        except OSError as error:
            if error.errno == errno.EROFS:
                raise RefusedError("it is on a file system that is mounted read-only") from None
            raise
        with contextlib.suppress(OSError):  # an empty marker is valid, too
            write_all(self._lock, _MARK)

    def _is_of_0_1(self, names: set[str]) -> bool:
        """Version 0.1 made no marker.

        Its directory is recognised by all names in it, their modes, and its database.
        """
        if not names >= {"admin.token", "history.db", "incidents"}:
            return False
        if any(name not in _OF_0_1 and not name.startswith(_UNREADABLE) for name in names):
            return False
        try:
            for name in names - {"incidents"}:
                os.close(open_own(name, self.fd, os.O_RDONLY))
            token = os.stat("admin.token", dir_fd=self.fd, follow_symlinks=False)
            reports = os.stat("incidents", dir_fd=self.fd, follow_symlinks=False)
            page, in_log = self._begin_of("history.db", PAGE_BYTES), b""
            if "history.db-wal" in names:
                in_log = self._begin_of("history.db-wal", LOG_BYTES)
        except OSError:
            return False
        private = (
            not token.st_mode & 0o077
            and stat.S_ISDIR(reports.st_mode)
            and reports.st_uid == self.uid
        )
        return private and is_history(page, in_log)

    def _begin_of(self, name: str, count: int) -> bytes:
        with closing(open_own(name, self.fd, os.O_RDONLY)) as fd:
            return os.pread(fd, count, 0)

    def _take_lock(self) -> None:
        """flock(2) on the marker: the kernel releases it when the process ends, for whatever
        reason.
        """
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(_POLL_SECONDS)
                    continue
                pid = last_pid(self.fd)
                who = f" (process {pid})" if pid else ""
                raise BusyError(
                    f"state.directory {self.path} is in use by another kwitness service{who}: stop "
                    "it, or name another directory"
                ) from None
            return

    def close_in_child(self) -> None:
        """A forked child must not keep the lock after its parent has ended."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def close(self) -> None:
        for fd in (self.fd, self._lock):
            if fd >= 0:
                os.close(fd)
        self.fd = self._lock = -1


def _close_in_child() -> None:
    for each in list(_KEPT_OPEN):
        each.close_in_child()


os.register_at_fork(after_in_child=_close_in_child)
