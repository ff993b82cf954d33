"""Keeps one sample of the refused requests for each signal and reason, as a file that shows what
the server refused.

A sample holds the first items of a refused request as OTLP/JSON, and the server's answer. The items
were redacted before they were encoded; the answer is redacted here. A sample never contains request
headers, so it contains no token.
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
import threading
import time
from datetime import UTC, datetime

from receiver.export.options import SIGNALS, SignalName
from receiver.export.otlp_json import to_json
from receiver.safe.directories import RefusedError, closing
from receiver.safe.files import is_foreign, open_folder, replace
from receiver.text.printable import printable
from receiver.text.redact import Redactor
from receiver.units import KIB

log = logging.getLogger("kwitness.export")
FILES = 32
FILE_BYTES = 256 * KIB
SAMPLE_BYTES = 32 * KIB  # of encoded items; as JSON they are about four times as long
SCHEMA = "kwitness.rejected/1"
FOLDER = "rejected"
_ANSWER = 300  # characters
_READ = 4096  # of them are read
_CLOSE_SECONDS = 1.0
_BEGIN = f'{{"schema": "{SCHEMA}",'.encode()  # how each of our files begins
_NAME = re.compile(r"(?:traces|metrics|logs)-[a-z0-9_]{1,40}\.json")
_TEMPORARY = re.compile(rf"\.{_NAME.pattern}\.[0-9a-f]{{8}}\.tmp")  # see safe_files.replace


class RejectedSamples:
    """Writes in a thread of its own, one sample at a time: a slow disk delays no export.

    `missed` counts samples that found it busy or could not be written; the next refusal for the
    same reason tries again.
    """

    def __init__(self) -> None:
        self.missed = 0
        self._parent = -1
        self._kept: set[str] = set()
        self._writer: threading.Thread | None = None

    def load(self) -> None:
        """Imports the modules that a sample needs.

        Call it before the change of user: another user may not be able to read them.
        """
        for signal in SIGNALS:
            _sample(signal, "", "", b"", 0)

    def keep_in(self, parent_fd: int) -> None:
        """From now on samples are written into FOLDER of that directory, which is made with the
        first one. Raises OSError.
        """
        self._parent = os.dup(parent_fd)  # the writer may still be at work when its owner closes it

    def wants(self, signal: SignalName, reason: str) -> bool:
        """Whether a sample for this reason is still missing.

        If not, the caller need not make one.
        """
        return (
            self._parent >= 0
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
        """Waits for a sample that is being written, at most 1 s. None is kept afterwards."""
        if self._writer is not None:
            self._writer.join(_CLOSE_SECONDS)
        if self._parent >= 0 and not (self._writer is not None and self._writer.is_alive()):
            os.close(self._parent)
            self._parent = -1

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
        try:
            write_sample(self._parent, name, _sample(signal, reason, answer, request, items))
        except (
            OSError,
            ValueError,
        ) as error:  # a full disk costs the sample; the lost items are counted elsewhere
            self._kept.discard(name)
            self.missed += 1
            log.debug("no sample of %s: %s", name, error)


def _name(signal: SignalName, reason: str) -> str:
    return f"{signal}-{re.sub('[^a-z0-9_]', '_', reason.lower())[:40] or 'unknown'}.json"


def _plain(answer: str) -> str:
    """Redacted before it is cut: a secret must not lose the part by which it is recognised."""
    return Redactor("scrub").line(printable(answer[:_READ]).encode("utf-8", "replace"))[:_ANSWER]


def _sample(signal: SignalName, reason: str, answer: str, request: bytes, items: int) -> bytes:
    """One JSON object on one line."""
    head = {
        "schema": SCHEMA,
        "time": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds"),
        "signal": signal,
        "reason": reason,
        "answer": _plain(answer),
        "items": items,
    }
    content: object = json.loads(to_json(signal, request))
    whole = json.dumps({**head, "request": content}, ensure_ascii=True).encode()
    if len(whole) > FILE_BYTES:
        whole = json.dumps({**head, "request": None, "request_bytes": len(request)}).encode()
    return whole + b"\n"


def write_sample(parent_fd: int, name: str, content: bytes) -> None:
    """Writes the whole file or nothing; only this user may read it.

    A file that is no sample stays as it is. Raises OSError; RefusedError where such a file has this
    name.
    """
    with closing(open_folder(parent_fd, FOLDER)) as folder:
        if is_foreign(name, folder, _is_sample):
            raise RefusedError(f"{FOLDER}/{name} is not a sample")
        _make_room(folder, name)
        replace(name, folder, content)


def _is_sample(head: bytes) -> bool:
    return head.startswith(_BEGIN)


def _make_room(folder: int, name: str) -> None:
    """Deletes the oldest samples of earlier runs, so that with the new one there are at most FILES.

    Other files are not touched.
    """
    ages = []
    for found in os.listdir(folder):
        if _TEMPORARY.fullmatch(found):  # a service that was killed left it
            os.unlink(found, dir_fd=folder)
        elif _NAME.fullmatch(found) and found != name:
            status = os.stat(found, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                ages.append((status.st_mtime_ns, found))
    for _, old in sorted(ages, reverse=True)[FILES - 1 :]:
        if not is_foreign(old, folder, _is_sample):
            os.unlink(old, dir_fd=folder)
