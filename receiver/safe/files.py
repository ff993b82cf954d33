"""Opens the files that the user or the configuration names, without changing a file of anybody
else.

A file is written only if it is a regular file, has one name (no hard links), belongs to the user
who runs kwitness, and is neither set-user-ID nor set-group-ID. Any other file is refused with one
line and left unchanged: a device, a FIFO, a socket, a directory, a symbolic link, a file of another
user. All checks precede the first change, and they are made on the open descriptor. New files have
mode 0600.

On the way to a file, a symbolic link is followed only if it belongs to root or to the user who runs
kwitness (`/var/run` is one). On the way to a state directory, no link is followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import PurePath
from typing import BinaryIO

from receiver.safe.directories import RefusedError, closing, open_directory

_HEAD_BYTES = 128
_IN_PLACE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EBUSY,
}  # the directory refuses a second file; the existing file may still be writable
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a symbolic link",
}


def open_own(name: str, dir_fd: int, flags: int, *, mode: int = 0o600) -> int:
    """Opens or (with O_CREAT) creates a regular file of this user in a directory.

    Never truncates, never follows a link.

    Raises RefusedError for any other file, and OSError. The type is checked first, because opening
    a device or a FIFO can already have an effect. It is checked again on the descriptor, which must
    be the same file.
    """
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    for _ in range(3):  # the file may appear and vanish between two calls
        try:
            before = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
            with contextlib.suppress(FileExistsError):
                return os.open(name, flags | os.O_EXCL, mode, dir_fd=dir_fd)
            continue
        check_own(before)
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(name, flags & ~os.O_CREAT, dir_fd=dir_fd)
            try:
                after = os.fstat(fd)
                if (after.st_dev, after.st_ino) != (before.st_dev, before.st_ino):
                    raise RefusedError("it was replaced while it was being opened")
                check_own(after)
            except BaseException:
                os.close(fd)
                raise
            return fd
    raise RefusedError("it was replaced while it was being opened")


def check_own(status: os.stat_result) -> None:
    """Raises RefusedError unless it is a regular file of this user alone."""
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise RefusedError(f"it is {_KINDS.get(kind, 'a special file')}, not a regular file")
    if status.st_uid != os.geteuid():
        raise RefusedError(f"it belongs to another user (uid {status.st_uid})")
    if status.st_nlink > 1:
        raise RefusedError(f"it has {status.st_nlink} names (hard links)")
    if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        raise RefusedError("it is a set-user-ID or set-group-ID program")


def open_folder(parent_fd: int, name: str) -> int:
    """A directory of ours below another one of ours; made if it is not there.

    Raises RefusedError and OSError.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent_fd)
    try:
        fd = os.open(
            name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd
        )
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise RefusedError(f"{name} is not a directory") from None
        raise
    status = os.fstat(fd)
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        os.close(fd)
        raise RefusedError(f"{name} belongs to another user, or others can write to it")
    return fd


def is_foreign(name: str, dir_fd: int, is_ours: Callable[[bytes], bool]) -> bool:
    """Whether there is something of that name that is not ours to replace, by its owner and kind or
    by its first bytes.
    """
    try:
        fd = open_own(name, dir_fd, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    with closing(fd):
        return not is_ours(os.pread(fd, _HEAD_BYTES, 0))


def open_parent(path: str) -> tuple[int, str]:
    """A descriptor of the file's directory, and the file's name in it. Raises OSError."""
    if path in ("", "-") or path.endswith(("/", "/.", "/..")) or path in (".", ".."):
        raise RefusedError("a regular file must be named, and this names none")
    pure = PurePath(path)
    return open_directory(str(pure.parent), follow_trusted_links=True), pure.name


def replace(name: str, dir_fd: int, data: bytes) -> None:
    """Replaces a regular file of this user, or creates it. Raises RefusedError and OSError.

    If the directory refuses a second file (a single file that is mounted into a container), the
    file is written in place.
    """
    with contextlib.suppress(FileNotFoundError):
        check_own(os.stat(name, dir_fd=dir_fd, follow_symlinks=False))
    temporary = f".{name[:200]}.{secrets.token_hex(4)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(temporary, flags, 0o600, dir_fd=dir_fd)
    except OSError as error:
        _write_in_place(name, dir_fd, data, error)
        return
    try:
        with closing(fd):
            write_all(fd, data)
            os.fsync(
                fd
            )  # a crash of the host leaves the old content or the new one, not an empty file
        os.rename(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=dir_fd)
        if not isinstance(error, OSError):
            raise
        _write_in_place(name, dir_fd, data, error)


def _write_in_place(name: str, dir_fd: int, data: bytes, why: OSError) -> None:
    """Called after the replacement failed for `why`.

    Raises that error, unless only the directory refuses the second file.
    """
    if why.errno not in _IN_PLACE:
        raise why
    try:
        fd = open_own(name, dir_fd, os.O_WRONLY)
    except FileNotFoundError:
        raise why from None
    with closing(fd):
        os.ftruncate(fd, 0)
        os.fchmod(fd, 0o600)
        write_all(fd, data)


def write_all(fd: int, data: bytes) -> None:
    """Calls write(2) until everything is written. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def open_input(path: str) -> BinaryIO:
    """A regular file for reading; links are followed.

    A FIFO or a device is refused before it is opened: it could block forever, or have no end.
    Raises OSError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        kind = stat.S_IFMT(os.fstat(fd).st_mode)
        if kind != stat.S_IFREG:
            raise RefusedError(f"it is {_KINDS.get(kind, 'a special file')}, not a regular file")
        os.set_blocking(fd, True)
        return os.fdopen(fd, "rb")
    except BaseException:
        os.close(fd)
        raise
