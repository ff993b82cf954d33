"""What is in a directory, and the line that refuses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.errors import ConfigError
from receiver.kernel.privileges import UserIdentity
from receiver.service.state import StateDirectory


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
