"""The token of the admin endpoint, in a file that only its owner can read."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from receiver.errors import ConfigError
from receiver.safe.directories import closing
from receiver.safe.files import open_own, write_all

NAME = "admin.token"
_BYTES = 4096


def make_token(state_fd: int) -> str:
    """The token in the state directory, created at the first start.

    Raises OSError, and ConfigError when others can read it.
    """
    with contextlib.suppress(FileExistsError):
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(NAME, flags, 0o600, dir_fd=state_fd)
        try:
            with closing(fd):
                write_all(fd, secrets.token_urlsafe(32).encode() + b"\n")
        except OSError:
            os.unlink(NAME, dir_fd=state_fd)
            raise
    with closing(open_own(NAME, state_fd, os.O_RDONLY)) as fd:
        return _read(fd, Path(NAME))


def read_token(path: Path) -> str:
    """The token in a file that the user names; links are followed.

    Raises ConfigError when others can read it.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from None
    with closing(fd):
        return _read(fd, path)


def _read(fd: int, path: Path) -> str:
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path} is not a regular file")
        if status.st_mode & 0o077:
            raise ConfigError(f"{path} can be read by others: chmod 600 it")
        return os.pread(fd, _BYTES, 0).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from None
