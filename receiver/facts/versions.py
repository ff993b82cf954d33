"""The content of written files: who wrote it, when, and whether it is complete.

A file is keyed by (device, inode), which stays when the name changes. Its content has a *version*:
a new one begins when a writer truncates or creates the file. The state of a version describes what
a reader gets at that moment.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from enum import StrEnum
from typing import Generic, TypeVar

import msgspec

from receiver.events import FileOpened, ProcessKey
from receiver.facts.process import Process

VERSIONS = 32_768  # written files of the whole host; the one untouched for longest is evicted
READERS_PER_VERSION = 16
FileKey = tuple[int, int]  # device, inode
W = TypeVar("W")  # a piece of work: facts know nothing of it


class VersionState(StrEnum):
    IN_PROGRESS = "in_progress"
    COMPLETE = "complete"  # closed by its writer, or renamed into place
    PARTIAL = "partial"  # the writer died or was asked to stop, or a write failed
    SUPERSEDED = "superseded"  # written again since


class Version(msgspec.Struct, Generic[W], eq=False, kw_only=True):
    """The content that one writer put into a file. Mutable; owned by the table.

    `work`: for which work it was written, as the caller of the table names it.
    """

    key: FileKey
    path: str
    writer: Process
    work: W | None
    began_ns: int
    evidence: str  # id of the event that shows the writing
    opened: FileOpened | None = None  # that event
    state: VersionState = VersionState.IN_PROGRESS
    cause: str = ""  # why it is partial
    changed_ns: int = 0
    size_bytes: int = 0
    written_bytes: int = 0
    commit: str = ""  # how it was put in place: rename, spark, duckdb, luigi
    deleted: bool = False
    # (process, open id): open for writing now
    writers: set[tuple[ProcessKey, int]] = msgspec.field(default_factory=set)
    # open for reading now; bounded
    readers: dict[ProcessKey, None] = msgspec.field(default_factory=dict)

    def read_by(self, key: ProcessKey) -> None:
        if len(self.readers) < READERS_PER_VERSION:
            self.readers[key] = None


class VersionTable(Generic[W]):
    """The present version of each written file, by file and by path.

    `drops` counts what was evicted, by reason.
    """

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self._versions: OrderedDict[FileKey, Version[W]] = OrderedDict()
        self._by_path: dict[str, FileKey] = {}

    def __len__(self) -> int:
        return len(self._versions)

    def get(self, key: FileKey) -> Version[W] | None:
        return self._versions.get(key)

    def reused(self, opened: FileOpened) -> None:
        """Forgets a version whose file is gone, if the opened file has its inode number now.

        Nobody may have seen the removal. The generation of the inode differs then. It is 0 where
        the file system keeps none.
        """
        key = (opened.device, opened.inode)
        version = self._versions.get(key)
        if version is None or version.opened is None:
            return
        before, now = version.opened.generation, opened.generation
        if before and now and before != now:
            version.deleted = True
            del self._versions[key]
            if self._by_path.get(version.path) == key:
                del self._by_path[version.path]

    def at(self, path: str) -> Version[W] | None:
        key = self._by_path.get(path)
        return self._versions.get(key) if key is not None else None

    def all(self) -> list[Version[W]]:
        return list(self._versions.values())

    def written(self, key: FileKey, *, fresh: bool) -> Version[W] | None:
        """The version that an opening for writing continues; None where it begins a new one.

        `fresh`: the file was empty when it was opened.
        """
        version = self._versions.get(key)
        if version is not None and not (fresh and not version.writers):
            self._versions.move_to_end(key)
            return version
        if version is not None and version.state is not VersionState.IN_PROGRESS:
            version.state = VersionState.SUPERSEDED
        return None

    def add(self, version: Version[W]) -> None:
        self._versions[version.key] = version
        if len(self._versions) > VERSIONS:
            self._forget()

    def set_path(self, version: Version[W], path: str) -> None:
        self._by_path[path] = version.key
        version.path = path

    def renamed(
        self, old: str, new: str, commit: str
    ) -> tuple[list[Version[W]], Version[W] | None]:
        """The versions that have a new name now, and the one that was replaced.

        A rename of a directory moves all files below it.
        """
        replaced = self._versions.get(self._by_path.get(new, (0, 0)))
        key = self._by_path.pop(old, None)
        moved: list[Version[W]] = []
        if key is not None:
            self._move(key, new, commit, moved)
        else:
            below = old.rstrip("/") + "/"
            for path in [p for p in self._by_path if p.startswith(below)]:
                self._move(
                    self._by_path.pop(path),
                    new.rstrip("/") + "/" + path[len(below) :],
                    commit,
                    moved,
                )
        if replaced in moved:
            replaced = None
        if replaced is not None and replaced.path == new:
            replaced.deleted = True
        return moved, replaced

    def _move(self, key: FileKey, path: str, commit: str, moved: list[Version[W]]) -> None:
        version = self._versions.get(key)
        if version is None:
            return
        version.path, version.commit = path, version.commit or commit
        self._by_path[path] = key
        moved.append(version)

    def unlinked(self, path: str) -> Version[W] | None:
        key = self._by_path.pop(path, None)
        version = self._versions.get(key) if key is not None else None
        if version is not None:
            version.deleted = True
        return version

    def _forget(self) -> None:
        _, oldest = self._versions.popitem(last=False)
        if self._by_path.get(oldest.path) == oldest.key:
            del self._by_path[oldest.path]
        self.drops["forgotten_file"] += 1
