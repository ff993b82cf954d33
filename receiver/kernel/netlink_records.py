"""Records of the fallback source. They have the layout of the BPF half's records."""

from __future__ import annotations

from typing import Any

import msgspec

from receiver.events import (
    Connection,
    Event,
    EventKind,
    Exec,
    Existing,
    Exit,
    Fork,
    OomKill,
    ProcessKey,
    ProcessSample,
    Title,
)
from receiver.kernel.proc import Image
from receiver.model import NOBODY


def _blank(kind: type[Any]) -> dict[str, Any]:
    defaults: dict[Any, Any] = {int: 0, str: "", ProcessKey: NOBODY}
    return {field.name: defaults.get(field.type, ()) for field in msgspec.structs.fields(kind)}


KINDS_MADE: dict[type, int] = {
    Fork: EventKind.FORK,
    Exec: EventKind.EXEC,
    Title: EventKind.TITLE,
    Exit: EventKind.EXIT,
    OomKill: EventKind.OOM_KILL,
    Existing: EventKind.EXISTING,
    ProcessSample: EventKind.PROCESS_SAMPLE,
    Connection: EventKind.CONNECTION,
}
_BLANK = {kind: _blank(kind) for kind in KINDS_MADE}


class Records:
    """Makes records and numbers them."""

    def __init__(self) -> None:
        self._sequence = 0

    def make(self, kind: type[Any], now: int, cpu: int, **fields: Any) -> Event:
        """A record. Fields without a value are zero or empty: this source does not know them."""
        self._sequence += 1
        head = {"time_boottime_ns": now, "sequence": self._sequence, "cpu": cpu}
        found: Event = kind(**(_BLANK[kind] | head | fields))
        return found

    def of_image(
        self,
        kind: type[Any],
        key: ProcessKey,
        *,
        parent: ProcessKey,
        image: Image,
        now: int,
        cpu: int,
    ) -> Event:
        """An Exec or Existing."""
        return self.make(
            kind,
            now,
            cpu,
            process=key,
            parent=parent,
            uid=image.uid,
            gid=image.gid,
            argc=len(image.argv),
            comm=image.comm,
            pid_namespace_pid=image.namespace_pid,
            executable=image.executable,
            working_directory=image.working_directory,
            memory_cgroup=image.memory_cgroup,
            argv=image.argv,
            environ=image.environ,
            stdin_inode=image.stdio[0],
            stdout_inode=image.stdio[1],
            stderr_inode=image.stdio[2],
        )
