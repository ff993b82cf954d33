"""Which process read and wrote which file: the basis of lineage."""

from __future__ import annotations

import os
from typing import Any, Generic

import msgspec

from receiver.events import FileChanged, FileClosed, FileOpened, FileTotals, OpenedFlag, ProcessKey
from receiver.facts.process import Process
from receiver.facts.table import Table
from receiver.facts.versions import FileKey, Version, VersionTable, W

USES_PER_PROCESS = 1024
KEPT_CHANGES = 64


class Use(msgspec.Struct, Generic[W], eq=False, kw_only=True):
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
    version: Version[W] | None = None
    reported: bool = False  # a finding has reported that its input is not complete
    # the version that was read, when a watched process had written it
    source: Version[W] | None = None
    # the state of that version at the first opening: in_progress while another process was writing
    # it
    source_state: str = ""
    cut: bool = False  # opened with O_TRUNC: a reader loses the earlier content
    opened: FileOpened | None = None  # the first opening
    # the last opening for writing that found it empty: it was new, or that opening cut it
    emptied: FileOpened | None = None
    closed: FileClosed | None = None  # the last close
    wrote: FileClosed | None = None  # the last close of an opening that wrote

    @property
    def state(self) -> str:
        return self.version.state.value if self.version is not None else ""


class Files(msgspec.Struct, Generic[W], eq=False, kw_only=True):
    """What one process did with files. Mutable; owned by the table."""

    uses: dict[FileKey, Use[W]] = msgspec.field(default_factory=dict)
    totals: FileTotals | None = None
    changes: tuple[FileChanged, ...] = ()  # names that it changed, the last ones


_NOTHING: Files[Any] = Files()


class FileTable(Table[Files[W]], Generic[W]):
    """The uses of files by process, and the versions that they read or write."""

    def __init__(self, keys: set[ProcessKey], versions: VersionTable[W]) -> None:
        super().__init__(keys)
        self.versions = versions

    def of(self, key: ProcessKey) -> Files[W]:
        """To be read only."""
        return self.rows.get(key, _NOTHING)

    def _row(self, key: ProcessKey) -> Files[W]:
        return self.rows.get(key) or self.put(key, Files())

    def opened(self, event: FileOpened) -> Use[W] | None:
        """The process's use of that file; None, and counted, past the limit."""
        key = (event.device, event.inode)
        self.versions.reused(event)
        uses = self._row(event.process).uses
        use = uses.get(key)
        if use is None:
            if len(uses) >= USES_PER_PROCESS:
                self.drops["too_many_files"] += 1
                return None
            use = uses[key] = Use(
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
        if mode != os.O_RDONLY and not event.size_bytes:
            use.emptied = event
        use.size_bytes = event.size_bytes
        use.last_ns = event.time_boottime_ns
        return use

    def begin_writing(
        self, process: Process, use: Use[W], event: FileOpened, *, evidence: str, work: W | None
    ) -> Version[W]:
        """The version that this opening writes into: a new one when the file is empty then (created
        or truncated), else the existing one.
        """
        fresh = event.size_bytes == 0 and not event.opened_flags & OpenedFlag.INHERITED
        version = self.versions.written(use.key, fresh=fresh)
        if version is None:
            use.created |= fresh
            version = Version(
                key=use.key,
                path=use.path,
                writer=process,
                work=work,
                began_ns=event.time_boottime_ns,
                evidence=evidence,
                opened=event,
            )
            self.versions.add(version)
        self.versions.set_path(version, use.path)
        version.writers.add((process.key, event.open_id))
        use.version = version
        return version

    def begin_reading(self, process: Process, use: Use[W]) -> Version[W] | None:
        """The version that a watched process wrote there, if any."""
        version = self.versions.get(use.key)
        if version is None or version.writer is process:
            return None
        use.source = version
        use.source_state = use.source_state or version.state.value
        version.read_by(process.key)
        return version

    def closed(self, event: FileClosed) -> Use[W] | None:
        use = self.of(event.process).uses.get((event.device, event.inode))
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
            use.source.readers.pop(event.process, None)
        return use

    def changed(self, event: FileChanged) -> None:
        row = self._row(event.process)
        if len(row.changes) == KEPT_CHANGES:
            self.drops["older_change"] += 1
        row.changes = (*row.changes[1 - KEPT_CHANGES :], event)

    def counted(self, event: FileTotals) -> None:
        self._row(event.process).totals = event

    def release(self, key: ProcessKey) -> None:
        """The process has ended, so it reads and writes nothing any more."""
        for use in self.of(key).uses.values():
            if use.version is not None and use.version.writers:
                use.version.writers = {w for w in use.version.writers if w[0] != key}
            if use.source is not None:
                use.source.readers.pop(key, None)

    def forget(self, key: ProcessKey) -> None:
        self.release(key)
        super().forget(key)
