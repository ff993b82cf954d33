"""Which process read and wrote which file, and whether the content is complete: the basis of
lineage.

A file is keyed by (device, inode), which stays when the name changes. Its content has a *version*:
a new one begins when a writer truncates or creates the file. The state of a version describes what
a reader gets at that moment.
"""

from __future__ import annotations

import os
from collections import Counter, OrderedDict
from enum import StrEnum

import msgspec

from receiver.events import FileClosed, FileOpened, OpenedFlag, ProcessKey
from receiver.facts.tree import Process
from receiver.work.execution import Execution

VERSIONS = 32_768  # written files of the whole host; the one untouched for longest is evicted
USES_PER_PROCESS = 1024
READERS_PER_VERSION = 16
FileKey = tuple[int, int]  # device, inode


class State(StrEnum):
    IN_PROGRESS = "in_progress"
    COMPLETE = "complete"  # closed by its writer, or renamed into place
    PARTIAL = "partial"  # the writer died or was asked to stop, or a write failed
    SUPERSEDED = "superseded"  # written again since


class Version(msgspec.Struct, eq=False, kw_only=True):
    """The content that one writer put into a file. Mutable; owned by the table."""

    key: FileKey
    path: str
    writer: Process
    execution: Execution | None
    began_ns: int
    evidence: str  # id of the event that shows the writing
    opened: FileOpened | None = None  # that event
    state: State = State.IN_PROGRESS
    cause: str = ""  # why it is partial
    changed_ns: int = 0
    size_bytes: int = 0
    written_bytes: int = 0
    synced: bool = False
    commit: str = ""  # how it was put in place: rename, spark, duckdb, luigi
    deleted: bool = False
    # (process, open id): open for writing now
    writers: set[tuple[ProcessKey, int]] = msgspec.field(default_factory=set)
    # open for reading now; bounded
    readers: dict[ProcessKey, Process] = msgspec.field(default_factory=dict)


class Use(msgspec.Struct, eq=False, kw_only=True):
    """One file, as one process used it: all its openings together.

    Times are boot ns, 0 when unknown.
    """

    key: FileKey
    path: str
    writing: bool = False
    reading: bool = False
    created: bool = False
    append: bool = False
    inherited: bool = False  # inherited at the fork, or opened before the observer started
    read_bytes: int = 0
    read_calls: int = 0
    written_bytes: int = 0
    write_calls: int = 0
    size_at_open: int = 0
    size_bytes: int = 0
    first_ns: int = 0
    last_ns: int = 0
    open: int = 0
    closed_flags: int = 0
    version: Version | None = None
    told: bool = False  # a finding has reported that its input is not complete
    # the version that was read, when a watched process had written it
    source: Version | None = None
    # the state of that version at the first opening: in_progress while another process was writing
    # it
    source_state: str = ""
    cut: bool = False  # opened with O_TRUNC: a reader loses the earlier content
    opened: FileOpened | None = None  # the first opening
    closed: FileClosed | None = None  # the last close
    wrote: FileClosed | None = None  # the last close of an opening that wrote

    @property
    def state(self) -> str:
        return self.version.state.value if self.version is not None else ""


class FileTable:
    """Versions by file and by path, and uses by process.

    `drops` counts what was evicted, by reason.
    """

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self._versions: OrderedDict[FileKey, Version] = OrderedDict()
        self._by_path: dict[str, FileKey] = {}

    def __len__(self) -> int:
        return len(self._versions)

    def version(self, key: FileKey) -> Version | None:
        return self._versions.get(key)

    def at(self, path: str) -> Version | None:
        key = self._by_path.get(path)
        return self._versions.get(key) if key is not None else None

    def versions(self) -> list[Version]:
        return list(self._versions.values())

    def opened(self, process: Process, event: FileOpened) -> Use | None:
        """The process's use of that file, with the version that it will read or write; None, and
        counted, past the limit.
        """
        key = (event.device, event.inode)
        use = process.files.get(key)
        if use is None:
            if len(process.files) >= USES_PER_PROCESS:
                self.drops["too_many_files"] += 1
                return None
            use = process.files[key] = Use(
                key=key,
                path=event.path,
                first_ns=event.time_boottime_ns,
                size_at_open=event.size_bytes,
                opened=event,
            )
        mode = event.open_flags & os.O_ACCMODE
        use.open += 1
        use.reading |= mode in (os.O_RDONLY, os.O_RDWR)
        use.writing |= mode in (os.O_WRONLY, os.O_RDWR)
        use.inherited |= bool(event.opened_flags & OpenedFlag.INHERITED)
        use.append |= bool(event.open_flags & os.O_APPEND)
        use.cut |= bool(event.open_flags & os.O_TRUNC) and use.writing
        use.path = event.path or use.path
        use.size_bytes = event.size_bytes
        use.last_ns = event.time_boottime_ns
        return use

    def begin_writing(
        self, process: Process, use: Use, event: FileOpened, evidence: str
    ) -> Version:
        """The version that this opening writes into: a new one when the file is empty then (created
        or truncated), else the existing one.
        """
        version = self._versions.get(use.key)
        fresh = event.size_bytes == 0 and not event.opened_flags & OpenedFlag.INHERITED
        if version is not None and not (fresh and not version.writers):
            self._versions.move_to_end(use.key)
        else:
            if version is not None and version.state is not State.IN_PROGRESS:
                version.state = State.SUPERSEDED
            use.created |= fresh
            version = Version(
                key=use.key,
                path=use.path,
                writer=process,
                execution=process.working_for(event.thread, event.path),
                began_ns=event.time_boottime_ns,
                evidence=evidence,
                opened=event,
            )
            self._versions[use.key] = version
            if len(self._versions) > VERSIONS:
                self._forget()
        self._by_path[use.path] = use.key
        version.path = use.path
        version.writers.add((process.key, event.open_id))
        use.version = version
        return version

    def begin_reading(self, process: Process, use: Use) -> Version | None:
        """The version that a watched process wrote there, if any."""
        version = self._versions.get(use.key)
        if version is None or version.writer is process:
            return None
        use.source = version
        use.source_state = use.source_state or version.state.value
        if len(version.readers) < READERS_PER_VERSION:
            version.readers[process.key] = process
        return version

    def closed(self, process: Process, event: FileClosed) -> Use | None:
        key = (event.device, event.inode)
        use = process.files.get(key)
        if use is None:
            return None
        use.open = max(0, use.open - 1)
        use.closed = event
        use.wrote = event if event.written_bytes else use.wrote
        use.read_bytes += event.read_bytes
        use.read_calls += event.read_calls
        use.written_bytes += event.written_bytes
        use.write_calls += event.write_calls
        use.closed_flags |= event.closed_flags
        use.size_bytes = event.size_bytes or use.size_bytes
        use.last_ns = event.last_use_boottime_ns or use.last_ns
        if use.source is not None:
            use.source.readers.pop(process.key, None)
        return use

    def renamed(self, old: str, new: str, commit: str) -> tuple[list[Version], Version | None]:
        """The versions that have a new name now, and the one that was replaced.

        A rename of a directory moves all files below it.
        """
        replaced = self._versions.get(self._by_path.get(new, (0, 0)))
        key = self._by_path.pop(old, None)
        moved: list[Version] = []
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

    def _move(self, key: FileKey, path: str, commit: str, moved: list[Version]) -> None:
        version = self._versions.get(key)
        if version is None:
            return
        version.path, version.commit = path, version.commit or commit
        self._by_path[path] = key
        moved.append(version)

    def unlinked(self, path: str) -> Version | None:
        key = self._by_path.pop(path, None)
        version = self._versions.get(key) if key is not None else None
        if version is not None:
            version.deleted = True
        return version

    def forget_process(self, process: Process) -> None:
        """The process has ended, so it reads and writes nothing any more."""
        for use in process.files.values():
            if use.version is not None and use.version.writers:
                use.version.writers = {w for w in use.version.writers if w[0] != process.key}
            if use.source is not None:
                use.source.readers.pop(process.key, None)

    def _forget(self) -> None:
        _, oldest = self._versions.popitem(last=False)
        if self._by_path.get(oldest.path) == oldest.key:
            del self._by_path[oldest.path]
        self.drops["forgotten_file"] += 1
