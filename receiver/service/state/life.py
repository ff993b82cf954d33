"""Until when a service was alive, and its items that were not exported: one block in one file,
rewritten at most once a second.

After a SIGKILL or a crash of the host, the next start reads it. A checksum detects a partial block.
It is written with one pwrite(2) and without fsync(2): the page cache outlives the process, and a
crash of the host costs the last seconds.
"""

from __future__ import annotations

import os
import zlib

import msgspec

from receiver.model import Gap, GapReason
from receiver.safe.directories import closing
from receiver.safe.files import open_own

NAME = "last-life"
BLOCK_BYTES = 512
REST_SECONDS = 5.0  # between two writes that only show that the service is alive


class Life(msgspec.Struct, frozen=True):
    """`unsent` counts items by signal: those in the queues while it runs, or those left by a
    shutdown if `ended`.
    """

    boot_id: str
    pid: int
    seen_unix_ns: int
    seen_boottime_ns: int
    unsent: dict[str, int]
    ended: bool = False


class LifeMark:
    """`last` is the mark of the previous service, if there was one."""

    def __init__(self, state_fd: int) -> None:
        """Raises OSError and RefusedError."""
        self._fd = open_own(NAME, state_fd, os.O_RDWR | os.O_CREAT)
        self.last = _read(os.pread(self._fd, BLOCK_BYTES, 0))
        self._written: Life | None = None

    def write(self, life: Life) -> None:
        """Raises OSError. A mark without news is written at most every REST_SECONDS."""
        before = self._written
        same = before is not None and (before.unsent, before.ended) == (life.unsent, life.ended)
        if (
            before is not None
            and same
            and life.seen_boottime_ns - before.seen_boottime_ns < REST_SECONDS * 1e9
        ):
            return
        body = msgspec.json.encode(life)
        block = b"%08x %s\n" % (zlib.crc32(body), body)
        if len(block) > BLOCK_BYTES:
            return
        os.pwrite(self._fd, block.ljust(BLOCK_BYTES), 0)
        self._written = life

    def close(self) -> None:
        os.close(self._fd)


def last_pid(state_fd: int) -> int:
    """The process that wrote the mark last; 0 when unknown. Changes nothing."""
    try:
        with closing(open_own(NAME, state_fd, os.O_RDONLY)) as fd:
            found = _read(os.pread(fd, BLOCK_BYTES, 0))
    except OSError:
        return 0
    return found.pid if found is not None else 0


def _read(block: bytes) -> Life | None:
    check, _, body = block.partition(b"\n")[0].partition(b" ")
    try:
        if int(check, 16) != zlib.crc32(body):
            return None
        return msgspec.json.decode(body, type=Life)
    except ValueError:
        return None


def gap_after(last: Life, boot_id: str, now_unix_ns: int, now_boottime_ns: int) -> Gap:
    """The unobserved time since then.

    The boot clock measures it within one boot, else the wall clock, which may be wrong.
    """
    same_boot = last.boot_id == boot_id
    length = (
        now_boottime_ns - last.seen_boottime_ns if same_boot else now_unix_ns - last.seen_unix_ns
    )
    reason: GapReason = "stopped" if last.ended else "killed" if same_boot else "host_restarted"
    unsent = tuple(sorted((signal, count) for signal, count in last.unsent.items() if count > 0))
    return Gap(reason, now_unix_ns - max(length, 0), now_unix_ns, unsent)
