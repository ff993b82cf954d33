"""Keeps one sample of the refused requests for each signal and reason, as a file that shows what
the server refused.

A sample holds the first items of a refused request as OTLP/JSON, and the server's answer. The items
were redacted before they were encoded; the answer is redacted here. A sample never contains request
headers, so it contains no token.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from receiver.export.otlp_json import to_json
from receiver.export.settings import SIGNALS, SignalName
from receiver.text.printable import printable
from receiver.text.redact import Redactor

log = logging.getLogger("kwitness.export")
FILES = 32
FILE_BYTES = 256 << 10
SAMPLE_BYTES = 32 << 10  # of encoded items; as JSON they are about four times as long
SCHEMA = "kwitness.rejected/1"
_ANSWER = 300  # characters
_CLOSE_SECONDS = 1.0
_NAME = re.compile(r"(?:traces|metrics|logs)-[a-z0-9_]{1,40}\.json")


class RejectedSamples:
    """Writes in a thread of its own, one sample at a time: a slow disk delays no export.

    `missed` counts samples that found it busy or could not be written; the next refusal for the
    same reason tries again.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.missed = 0
        self._folder = folder
        self._kept: set[str] = set()
        self._writer: threading.Thread | None = None

    def load(self) -> None:
        """Imports the modules that a sample needs.

        Call it before the change of user: another user may not be able to read them.
        """
        for signal in SIGNALS:
            _sample(signal, "", "", b"", 0)

    def keep_in(self, folder: Path | None) -> None:
        """Writes samples to this directory from now on. The first sample creates it."""
        self._folder = folder

    def wants(self, signal: SignalName, reason: str) -> bool:
        """Whether a sample for this reason is still missing.

        If not, the caller need not make one.
        """
        return (
            self._folder is not None
            and _name(signal, reason) not in self._kept
            and len(self._kept) < FILES
        )

    def keep(
        self, signal: SignalName, reason: str, answer: str, request: bytes, items: int
    ) -> None:
        """`request` is an encoded Export*ServiceRequest of the first of `items` items."""
        if not self.wants(signal, reason):
            return
        if self._writer is not None and self._writer.is_alive():
            self.missed += 1
            return
        name = _name(signal, reason)
        self._kept.add(name)
        # a daemon thread: a disk that hangs must not delay the exit of the process
        self._writer = threading.Thread(
            target=self._write,
            kwargs={
                "name": name,
                "signal": signal,
                "reason": reason,
                "answer": answer,
                "request": request,
                "items": items,
            },
            name="rejected",
            daemon=True,
        )
        self._writer.start()

    def close(self) -> None:
        """Waits at most one second for a sample that is being written."""
        if self._writer is not None:
            self._writer.join(_CLOSE_SECONDS)

    def _write(
        self,
        *,
        name: str,
        signal: SignalName,
        reason: str,
        answer: str,
        request: bytes,
        items: int,
    ) -> None:
        assert self._folder is not None
        try:
            write_sample(self._folder, name, _sample(signal, reason, answer, request, items))
        except (
            OSError,
            ValueError,
        ) as error:  # a full disk costs the sample; the lost items are counted elsewhere
            self._kept.discard(name)
            self.missed += 1
            log.debug("no sample of %s: %s", name, error)


def _name(signal: SignalName, reason: str) -> str:
    return f"{signal}-{re.sub('[^a-z0-9_]', '_', reason.lower())[:40] or 'unknown'}.json"


def _sample(signal: SignalName, reason: str, answer: str, request: bytes, items: int) -> bytes:
    """One JSON object on one line."""
    head = {
        "schema": SCHEMA,
        "time": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds"),
        "signal": signal,
        "reason": reason,
        "answer": Redactor("scrub").line(printable(answer)[:_ANSWER].encode("utf-8", "replace")),
        "items": items,
    }
    content: object = json.loads(to_json(signal, request))
    whole = json.dumps({**head, "request": content}, ensure_ascii=True).encode()
    if len(whole) > FILE_BYTES:
        whole = json.dumps({**head, "request": None, "request_bytes": len(request)}).encode()
    return whole + b"\n"


def write_sample(folder: Path, name: str, content: bytes) -> None:
    """Writes the whole file or nothing, readable by this user only, and touches nothing outside of
    the folder. Raises OSError.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(place)
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise PermissionError(f"{folder} belongs to another user or can be written by others")
        _make_room(place, name)
        temporary = f".{name}.tmp"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=place)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=place), "wb") as file:
            file.write(content)
        os.rename(temporary, name, src_dir_fd=place, dst_dir_fd=place)
    finally:
        os.close(place)


def _make_room(place: int, name: str) -> None:
    """Deletes the oldest samples of earlier runs, so that with the new one there are at most FILES.

    Touches no other files.
    """
    ages = []
    for found in os.listdir(place):
        if _NAME.fullmatch(found) and found != name:
            with contextlib.suppress(FileNotFoundError):
                ages.append(
                    (os.stat(found, dir_fd=place, follow_symlinks=False).st_mtime_ns, found)
                )
    for _, old in sorted(ages, reverse=True)[FILES - 1 :]:
        with contextlib.suppress(OSError):
            os.unlink(old, dir_fd=place)
