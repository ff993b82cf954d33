"""Small files that a setting names: read whole, and only if they are regular files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from receiver.errors import ConfigError
from receiver.text.printable import printable


def read_file(path: str | Path, limit: int, setting: str = "") -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises ConfigError, with the name of the setting if there is one.

    A FIFO, a device or a directory is refused before a byte is read: opening a FIFO waits for a
    writer, and /dev/zero has no end.
    """
    where = f"{setting}: " if setting else ""
    name = printable(str(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise ConfigError(f"{where}cannot read {name}: {error.strerror}") from None
    except ValueError:  # a NUL in the name
        raise ConfigError(f"{where}{name!r} is not the name of a file") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError(f"{where}{name} is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise ConfigError(f"{where}cannot read {name}: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise ConfigError(f"{where}{name} is larger than {limit >> 10} KiB")
    return content
