"""The outputs that the user names: reports, pages, recordings, OTLP/JSON lines."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from receiver.errors import OutputError, UsageError
from receiver.safe.directories import RefusedError, closing
from receiver.safe.files import check_own, open_own, open_parent, replace


def open_output(path: str) -> BinaryIO:
    """An empty regular file of this user for writing, mode 0600: a new one, or one that is
    truncated after all checks.

    For files that are written step by step (recordings, OTLP/JSON lines). Raises OutputError.
    """
    try:
        folder, name = open_parent(path)
        with closing(folder):
            fd = open_own(name, folder, os.O_WRONLY | os.O_CREAT)
        try:
            os.ftruncate(fd, 0)
            os.fchmod(fd, 0o600)
            return os.fdopen(fd, "wb")
        except BaseException:
            os.close(fd)
            raise
    except (OSError, ValueError) as error:
        raise _output_error(path, error) from None


def check_distinct(files: Mapping[str, str | None]) -> None:
    """Raises UsageError when two options name one file: the second would destroy the content of the
    first.

    `files`: the path by option; None and "" where the option was not given. Call it before the
    first file is opened.
    """
    seen: dict[object, str] = {}
    for option, path in files.items():
        for identity in _identities(path) if path else ():
            if (other := seen.setdefault(identity, option)) != option:
                raise UsageError(
                    f"{other} and {option} are the same file, {path}: give each one of its own"
                )


def _identities(path: str) -> Iterator[object]:
    """Of a file that is there or not yet. None of a device and the like: they are refused
    anyway."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        yield os.path.realpath(path)
        return
    if stat.S_ISREG(status.st_mode):
        yield status.st_dev, status.st_ino


def close_output(output: BinaryIO) -> None:
    """Closes it in any case. Raises OutputError when the last writes could not be stored."""
    try:
        output.close()
    except OSError as error:
        raise OutputError(f"an output is not complete: {error.strerror}") from None


def check_output(path: str) -> None:
    """Raises the OutputError that `write_output` would raise now. Changes nothing."""
    try:
        folder, name = open_parent(path)
        with closing(folder):
            try:
                check_own(os.stat(name, dir_fd=folder, follow_symlinks=False))
            except FileNotFoundError:
                if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=True):
                    raise PermissionError(errno.EACCES, "its directory cannot be written") from None
    except (OSError, ValueError) as error:
        raise _output_error(path, error) from None


def write_output(path: str, data: bytes) -> None:
    """Writes a whole file, or leaves the old one unchanged. Raises OutputError."""
    try:
        folder, name = open_parent(path)
        with closing(folder):
            replace(name, folder, data)
    except (OSError, ValueError) as error:
        raise _output_error(path, error) from None


def _output_error(path: str, error: OSError | ValueError) -> OutputError:
    why = (
        error.strerror if isinstance(error, OSError) else str(error)
    )  # ValueError: a NUL in the path
    remedy = "; name a regular file of your own" if isinstance(error, RefusedError) else ""
    return OutputError(f"cannot write {path}: {why or 'it failed'}{remedy}")
