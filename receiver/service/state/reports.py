"""Reports as JSON files of mode 0600, one per report, in a directory of the state directory.

The oldest are deleted first.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator

import msgspec

from receiver.errors import KwitnessError
from receiver.investigate.report import Report, to_json
from receiver.safe.directories import RefusedError
from receiver.safe.files import is_foreign, open_folder, open_own, replace
from receiver.units import MIB

log = logging.getLogger("kwitness.state")
KEPT_REPORTS = 500
REPORT_BYTES = 4 * MIB  # a larger file is not a report
_NAME = re.compile(r"^[0-9a-f]{16}\.json$")
_UNKNOWN = -1  # an earlier service wrote it
_HEAD = b'{"schema":"kwitness.report/'  # of every version
_TEMPORARY = re.compile(r"^\.[0-9a-f]{16}\.json\.[0-9a-f]{8}\.tmp$")


class ReportStore:
    """Files named ID.json. Other files in the directory are left alone."""

    def __init__(self, state_fd: int, name: str = "incidents") -> None:
        """Creates the directory if it is missing. Raises OSError."""
        self._name = name
        self._owners: dict[str, int] = {}  # of the files that this service has written
        self._folder = open_folder(state_fd, name)
        for left in os.listdir(self._folder):  # noqa: PTH208 (of a descriptor)
            if _TEMPORARY.match(left):  # from a service that was killed
                os.unlink(left, dir_fd=self._folder)

    def save(self, incident_id: str, report: Report, owner: int = _UNKNOWN) -> None:
        """Writes the whole file or nothing.

        `owner`: the user whose work it is about. Of too many, the oldest of the user who has most
        is deleted. Raises OSError; RefusedError where a file that is no report has this name.
        """
        name = f"{incident_id}.json"
        if self._is_foreign(name):
            raise RefusedError(f"{self._name}/{name} is not a report")
        replace(name, self._folder, to_json(report))
        self._owners[name] = owner
        names = (
            [name for name in self._names() if not self._is_foreign(name)]
            if self._is_full()
            else []
        )
        while len(names) > KEPT_REPORTS:
            held = Counter(self._owner(name) for name in names)
            most = held.most_common(1)[0][0]
            oldest = next(name for name in reversed(names) if self._owner(name) == most)
            names.remove(oldest)
            self._owners.pop(oldest, None)
            os.unlink(oldest, dir_fd=self._folder)

    def _is_full(self) -> bool:
        names = os.listdir(self._folder)  # noqa: PTH208 (of a descriptor)
        return sum(1 for name in names if _NAME.match(name)) > KEPT_REPORTS

    def _owner(self, name: str) -> int:
        return self._owners.get(name, _UNKNOWN)

    def _is_foreign(self, name: str) -> bool:
        start, own_id = b'{"schema":"kwitness.report/', b'"id":"%s"' % name[:16].encode()
        return is_foreign(
            name, self._folder, lambda head: head.startswith(start) and own_id in head
        )

    def _names(self) -> list[str]:
        """Latest first."""
        found = sorted(self._dated())
        return [name for _, name in found]

    def _dated(self) -> Iterator[tuple[int, str]]:
        for name in os.listdir(self._folder):  # noqa: PTH208 (of a descriptor)
            if _NAME.match(name):
                status = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield -status.st_mtime_ns, name

    def load(self) -> dict[str, Report]:
        """Oldest first. A file that is not a report is left alone and named in the log."""
        out: dict[str, Report] = {}
        for name in reversed(self._names()[:KEPT_REPORTS]):
            try:
                out[name[:16]] = msgspec.json.decode(self._read(name), type=Report)
            except (OSError, ValueError, RecursionError, KwitnessError):
                log.warning("%s/%s is not a report of this version", self._name, name)
        return out

    def _read(self, name: str) -> bytes:
        with os.fdopen(open_own(name, self._folder, os.O_RDONLY), "rb") as file:
            if os.fstat(file.fileno()).st_size > REPORT_BYTES:
                raise ValueError("too large")
            return file.read(REPORT_BYTES)

    def close(self) -> None:
        os.close(self._folder)
