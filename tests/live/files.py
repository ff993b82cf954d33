"""What was recorded of one process and one file, and of its failed calls."""

from __future__ import annotations

from pathlib import Path

from receiver.events import CallFailed, CallKind, FileClosed, FileOpened
from tests.live.conftest import Watched


def opened(watched: Watched, pid: int, path: Path | str) -> FileOpened:
    found = [e for e in watched.witness.of(pid, FileOpened) if e.path == str(path)]
    assert len(found) == 1, [e.path for e in watched.witness.of(pid, FileOpened)]
    return found[0]


def closed(watched: Watched, pid: int, path: Path | str) -> FileClosed:
    """All its closings, summed."""
    first = opened(watched, pid, path)
    found = [e for e in watched.witness.of(pid, FileClosed) if e.open_id == first.open_id]
    assert found, "never closed"
    assert all((e.device, e.inode) == (first.device, first.inode) for e in found)
    return found[-1]


def failures(watched: Watched, pid: int) -> list[CallFailed]:
    return [
        e
        for e in watched.witness.of(pid, CallFailed)
        if e.failures == 1 and e.call != CallKind.EXEC
    ]
