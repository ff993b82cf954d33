"""Opens directories without following links that another user could have made."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from receiver.kernel.openat2 import open_without_links

_LINKS = 40  # on the way to one file, as many as the kernel follows (path_resolution(7))


class RefusedError(OSError):
    """A file that kwitness must not write, or no regular file.

    `strerror` is a clause: "it is a FIFO".
    """

    def __init__(self, why: str) -> None:
        super().__init__(errno.EPERM, why)


def open_directory(path: str, *, follow_trusted_links: bool = False) -> int:
    """Returns a descriptor for the `dir_fd` of other calls (O_PATH: the directory need not be
    readable).

    Raises OSError; ELOOP for a symbolic link that is not followed.
    """
    try:
        return open_without_links(path, os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.ELOOP):
            raise
        if error.errno == errno.ELOOP and not follow_trusted_links:
            raise
    return _walk(path, follow_trusted_links=follow_trusted_links)


def _walk(path: str, *, follow_trusted_links: bool) -> int:
    """Opens one component after the other, each with O_NOFOLLOW."""
    todo, links = _components(path), 0
    here = os.open("/" if path.startswith("/") else ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while todo:
            name = todo.pop(0)
            found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            status = os.fstat(found)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                with closing(found):
                    target = os.readlink("", dir_fd=found)
                if not follow_trusted_links or links > _LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                if not _is_trusted(status, os.fstat(here)):
                    raise RefusedError(
                        f"{name!r} on the way to it is a symbolic link that another user can change"
                    )
                todo = _components(target) + todo
                if target.startswith("/"):
                    os.close(here)
                    here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                continue
            os.close(here)
            here = found
        return os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(here)


def _components(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _is_trusted(link: os.stat_result, folder: os.stat_result) -> bool:
    """Whether only root and this user can have made this link, and only they can replace it."""
    ours = {0, os.geteuid()}
    return link.st_uid in ours and folder.st_uid in ours and not is_open_to_others(folder)


def is_open_to_others(folder: os.stat_result) -> bool:
    """Whether another user may rename entries of this directory (a sticky bit prevents that)."""
    return bool(folder.st_mode & 0o022) and not folder.st_mode & stat.S_ISVTX


@contextlib.contextmanager
def closing(fd: int) -> Iterator[int]:
    """Closes the descriptor at the end of the block."""
    try:
        yield fd
    finally:
        os.close(fd)
