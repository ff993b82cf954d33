"""What processes do with files."""

from __future__ import annotations

import os
from typing import Any

from receiver.events import (
    FileChanged,
    FileClosed,
    FileOpened,
    FileOperation,
    FileReason,
    OpenFile,
    ProcessKey,
)
from tests.story.teller import Teller


class Files(Teller):
    """Files are opened, used, closed, changed and left open."""

    def open_file(self, key: ProcessKey, path: str, **other: Any) -> None:
        values: dict[str, Any] = {
            "process": key,
            "inode": 42,
            "position_bytes": 4096,
            "size_bytes": 4096,
            "device": 1,
            "open_flags": os.O_WRONLY,
            "descriptor": 3,
            "reason": FileReason.DEATH,
            "signal": 0,
            "file_flags": 0,
            "path": path,
        }
        self.say(OpenFile, **(values | other))

    def opens(
        self,
        key: ProcessKey,
        path: str,
        mode: int = os.O_RDONLY,
        *,
        inode: int = 7,
        size: int = 0,
        **other: Any,
    ) -> int:
        """Gives the open id."""
        self.next_open += 1
        values = {
            "open_id": self.next_open,
            "inode": inode,
            "device": 1,
            "open_flags": mode,
            "size_bytes": size,
            "path": path,
        }
        self.fact(FileOpened, key, **(values | other))
        self.opened[(key.tgid, self.next_open)] = values
        return self.next_open

    def closes(
        self,
        key: ProcessKey,
        open_id: int,
        *,
        read: int = 0,
        written: int = 0,
        size: int = 0,
        **other: Any,
    ) -> None:
        values = self.opened[(key.tgid, open_id)]
        sums = {
            "open_id": open_id,
            "inode": values["inode"],
            "device": 1,
            "open_flags": values["open_flags"],
            "read_bytes": read,
            "read_calls": bool(read),
            "written_bytes": written,
            "write_calls": bool(written),
            "size_bytes": size or written,
            "last_use_boottime_ns": self.now,
        }
        self.fact(FileClosed, key, **(sums | other))

    def writes(self, key: ProcessKey, path: str, *, inode: int = 7, size: int = 100) -> None:
        """A whole output: opened, written, closed."""
        self.closes(key, self.opens(key, path, os.O_WRONLY | os.O_CREAT, inode=inode), written=size)

    def reads(self, key: ProcessKey, path: str, *, inode: int = 7, size: int = 100) -> None:
        self.closes(key, self.opens(key, path, inode=inode, size=size), read=size, size=size)

    def renames(self, key: ProcessKey, old: str, new: str) -> None:
        self.fact(FileChanged, key, operation=FileOperation.RENAME, path=old, new_path=new)
